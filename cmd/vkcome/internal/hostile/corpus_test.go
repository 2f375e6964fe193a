//go:build unix

package hostile

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
)

func init() { kinds["corpus"] = corpusCases; kinds["tokens"] = tokenCases }

// compressed is so many times a text, as members or frames one after the other where a format has them.
func compressed(ending string, text []byte, times int) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	repeat := times
	switch ending {
	case ".gz":
		w = gzip.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	case ".br": // which has no members
		w, repeat = brotli.NewWriterLevel(&b, 1), 1
		text = bytes.Repeat(text, times)
	}
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return bytes.Repeat(b.Bytes(), repeat)
}

// mebibytes is how much there is in a format: brotli has no members to repeat, and takes long.
func mebibytes(ending string) int {
	if ending == ".br" {
		return 16
	}
	return 64
}

// bz2Blanks is 45 MB of blanks, by bzip2 -9.
const bz2Blanks = "QlpoOTFBWSZTWUYu4qMBWKsQIMAAEAAACCAAMMwFKaZSSFJsVJIUni7kinChIIxdxUY="

type textRow struct {
	Text string `parquet:"text"`
}

func corpusCases() (list []hostile) {
	base := clean().without("text.txt")
	add := func(file, name string, make func() []byte, more ...string) *hostile {
		list = append(list, hostile{name: file + ": " + name, ok: sane, make: func() input { return base.file(file, make()) },
			runs: [][]string{append([]string{"eval", "ppl", "model", "--text", file, "--window", "16", "--samples", "2", "--json", "-q"}, more...)}})
		return &list[len(list)-1]
	}
	text := func(s string) func() []byte { return func() []byte { return []byte(s) } }
	const row = `{"text":"The layers that they keep are the layers that matter, and those that do not are merged."}` + "\n"

	for _, ending := range []string{".gz", ".zst", ".br"} {
		for name, one := range map[string]string{"blanks": " ", "zeros": "\x00", "lines": "\n", "a": "a", "open lists": "[", "rows": row, "empty rows": `{"text":""}` + "\n", "null rows": `{"text":null}` + "\n"} {
			piece := strings.Repeat(one, (1<<20)/len(one))
			for _, file := range []string{"x.txt", "x.jsonl", "x.json", "x.csv"} {
				if file != "x.txt" && file != "x.jsonl" && name != "blanks" && name != "open lists" {
					continue
				}
				add(file+ending, fmt.Sprintf("%d MiB of %s", mebibytes(ending), name), func() []byte { return compressed(ending, []byte(piece), mebibytes(ending)) })
			}
		}
		whole := compressed(ending, []byte(strings.Repeat(row, 100)), 1)
		rng := random("corpus" + ending)
		for range 8 {
			at, bit := rng.IntN(len(whole)), rng.IntN(8)
			add("x.jsonl"+ending, fmt.Sprintf("bit %d of byte %d", bit, at), func() []byte { return flip(whole, at, bit) })
		}
		for range 3 {
			at := rng.IntN(len(whole))
			add("x.jsonl"+ending, fmt.Sprintf("cut at %d", at), func() []byte { return whole[:at] })
		}
		add("x.txt"+ending, "noise", func() []byte { return noise(5000) })
		add("x.txt"+ending, "nothing", text(""))
		// What is compressed twice is not read twice.
		add("x.txt"+ending, "compressed twice", func() []byte { return compressed(ending, compressed(ending, bytes.Repeat([]byte(" "), 1<<20), 64), 1) })
	}
	add("x.jsonl.gz", "512 MiB of lines", func() []byte { return compressed(".gz", bytes.Repeat([]byte("\n"), 16<<20), 32) })
	raw, err := base64.StdEncoding.DecodeString(bz2Blanks)
	if err != nil {
		panic(err)
	}
	for _, n := range []int{1, 2} {
		add("x.txt.bz2", fmt.Sprintf("%d times 45 MB of blanks", n), func() []byte { return bytes.Repeat(raw, n) })
		add("x.jsonl.bz2", fmt.Sprintf("%d times 45 MB of blanks", n), func() []byte { return bytes.Repeat(raw, n) })
	}
	rows := strings.Repeat(row, 30)
	for i, s := range []string{"", "\n\n\n", "{", "[", "null\n", "[null]", "[]", `{"text":1}` + "\n", `{"text":["a"]}` + "\n", `{"text":{"a":"b"}}` + "\n", `{"other":"x"}` + "\n", rows + `{"text":null}` + "\n", rows + "{\n", rows + "\x00\n", rows + `{"text":"` + "\xff\xfe" + `"}` + "\n",
		rows + `{"text":"\ud800"}` + "\n", rows + `{"text":"a","text":"b"}` + "\n", rows + `{"text":` + strings.Repeat("[", 100_000) + "\n", rows + `{"a":` + strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9001) + "\n", rows + `{"text":"` + strings.Repeat("x", 32<<20) + `"}` + "\n",
		strings.Repeat("{", 32<<20), strings.Repeat(`"`, 1<<20), "\ufeff" + rows, utf16(rows), rows + "// comment\n", rows + `{"text":"a"} {"text":"b"}` + "\n", strings.Repeat(`{"text":""}`+"\n", 200_000), rows + `{"text":"a"` + "\n", rows + "{'text':'a'}\n", `{"data":[` + strings.Repeat(`{"text":"a"},`, 50_000) + "]}"} {
		add("x.jsonl", fmt.Sprintf("%d %s", i, clip(s[max(0, len(s)-30):])), text(s))
		if i%2 == 0 {
			add("x.json", fmt.Sprintf("%d %s", i, clip(s[max(0, len(s)-30):])), text(s))
		}
	}
	lines := "text,other\n" + strings.Repeat("The layers that they keep are the layers,1\n", 30)
	for i, s := range []string{"", "text", "text\n", `text,other` + "\n" + `"unclosed,1`, lines + `"a"b,1` + "\n", lines + "a\n", lines + "a,b,c,d\n", lines + "\x00,\x00\n", lines + "\xff,1\n", "text,text\n" + "a,b\n", strings.Repeat("c,", 1<<20) + "text\n1\n", "text\n" + `"` + strings.Repeat("x\n", 8<<20), "text\n" + strings.Repeat(`"`, 1<<20),
		"\x1b[31m,other\na,b\n", "text\r\r\ra\r", "text\n" + strings.Repeat(",\n", 100_000), utf16(lines), "\ufeff" + lines} {
		add("x.csv", fmt.Sprintf("%d %s", i, clip(s[max(0, len(s)-30):])), text(s))
	}
	for i, s := range []string{"", "\xff\xfe\xfd", strings.Repeat("\xff", 1<<20), strings.Repeat("\x00", 4<<20), strings.Repeat("é", 1<<20), strings.Repeat("\xf0\x9f", 1<<19), strings.Repeat("a\u0300", 1<<19) + "b", "e" + strings.Repeat("\u0301", 1<<20), strings.Repeat("\ufdfa", 1<<18), "\ufeff", strings.Repeat("<s>", 1<<18), strings.Repeat("\r", 1<<20),
		strings.Repeat("\u2028", 1<<18), strings.Repeat("a", 16<<20)} {
		add("x.txt", fmt.Sprintf("%d %s", i, clip(s[:min(len(s), 6)])), text(s))
	}
	var b bytes.Buffer
	if err := parquet.Write(&b, slices.Repeat([]textRow{{"The layers that they keep are the layers that matter."}}, 40)); err != nil {
		panic(err)
	}
	whole, rng := b.Bytes(), random("parquet")
	for range 30 {
		at, bit := rng.IntN(len(whole)), rng.IntN(8)
		add("x.parquet", fmt.Sprintf("bit %d of byte %d", bit, at), func() []byte { return flip(whole, at, bit) })
	}
	for range 6 {
		at := rng.IntN(len(whole))
		add("x.parquet", fmt.Sprintf("cut at %d", at), func() []byte { return whole[:at] }).ok = never
	}
	for i, length := range []string{"\x00\x00\x00\x00", "\xff\xff\xff\x7f", "\xff\xff\xff\xff", "\x01\x00\x00\x00", "\x00\x00\x01\x00"} {
		add("x.parquet", fmt.Sprintf("a footer's length %d", i), func() []byte { return slices.Concat(whole[:len(whole)-8], []byte(length+"PAR1")) }).ok = never
	}
	foot := len(whole) - 8 - int(whole[len(whole)-8]) - int(whole[len(whole)-7])<<8
	for i, s := range []string{strings.Repeat("\x19\xfc\xff\xff\xff\xff\x0f", 30), strings.Repeat("\x1c", 5000), strings.Repeat("\xff", 300), strings.Repeat("\x00", 64), "\x15\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		add("x.parquet", fmt.Sprintf("a footer of rubbish %d", i), func() []byte {
			n := len(s)
			return slices.Concat(whole[:foot], []byte(s), []byte{byte(n), byte(n >> 8), 0, 0}, []byte("PAR1"))
		})
	}
	for name, field := range names {
		if name != "null" && name != "long" { // which no command line holds
			add("x.jsonl", "the field "+name, text(rows), "--field", field)
		}
	}
	slices.SortStableFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return list
}

// tokenCases are lists of token ids. One that is none fails also where no window holds it.
func tokenCases() (list []hostile) {
	base := clean()
	good := "[" + strings.Repeat("2,3,4,5,", 16) + "6]"
	add := func(name, text, want string, ok verdict) {
		for _, verb := range []struct {
			name string
			args []string
		}{{"eval ppl", ppl()}, {"prune", prune()}} {
			list = append(list, hostile{name: verb.name + ": " + name, ok: ok, want: want, runs: [][]string{verb.args}, make: func() input { return base.file("ids.json", []byte(text)) }})
		}
	}
	for _, id := range []string{"null", "99999", "260", "-1", "0.5", "1e3", `"1"`, "[1]", "true", "{}", "4294967296", "4294967298", "18446744073709551618", "1e400", "00", "+1", "0x1", "NaN"} {
		for where, text := range map[string]string{"first": "[" + id + "," + good[1:], "last": good[:len(good)-1] + "," + id + "]", "alone": "[" + id + "]", "in the middle": good[:len(good)-1] + "," + id + "," + good[1:]} {
			if ok := never; where != "alone" || id != "1e3" {
				add(id+" "+where, text, "token", ok)
			}
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "an object": "{}", "null": "null", "a number": "1", "a text": `"1,2"`, "an open list": "[1,2", "two lists": good + good, "rubbish behind it": good + "x", "a comma": "[1,]", "deep": strings.Repeat("[", 100_000), "bars": strings.Repeat("[1],", 1000),
		"zeros": good + "\x00", "a mark": "\ufeff" + good, "UTF-16": utf16(good), "a comment": "//\n" + good, "a long number": "[" + strings.Repeat("9", 1<<20) + "]", "blanks": strings.Repeat(" ", 8<<20),
	} {
		add(name, text, "token", never)
	}
	add("none", "[]", "empty", never)
	add("two million", "["+strings.Repeat("2,", 2_000_000)+"3]", "", sane)
	slices.SortStableFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return list
}
