package corpus

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/pierrec/lz4/v4"
)

// collected is a sink that takes every document but those that skip names.
type collected struct {
	texts []string
	skip  func(n int) bool
	seen  int
	nulls int
	stop  int // at so many documents, if not 0
	begun string
}

func (c *collected) more(text string) error {
	c.begun += text
	return nil
}

func (c *collected) null() { c.nulls++ }

func (c *collected) want() (bool, error) {
	if c.stop > 0 && c.seen == c.stop {
		return false, errEnough
	}
	c.seen++
	return c.skip == nil || !c.skip(c.seen-1), nil
}

func (c *collected) take(text string) error {
	c.texts, c.begun = append(c.texts, c.begun+text), ""
	return nil
}

// put writes a file and returns its path.
func put(t testing.TB, dir, name string, raw []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func gzipped(t testing.TB, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(raw)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t testing.TB, raw []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(raw, nil)
}

func lz4ed(t testing.TB, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := lz4.NewWriter(&b)
	_, err := w.Write(raw)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func brotlied(t testing.TB, raw []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := brotli.NewWriter(&b)
	_, err := w.Write(raw)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bzip2ed is "a\nb" as bzip2 1.0.8 writes it.
func bzip2ed(t testing.TB) []byte {
	t.Helper()
	raw, err := hex.DecodeString("425a68393141592653598be0bffc000000c1000010300020002198198161772453850908be0bffc0")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// parquetOf writes rows as parquet-go does.
func parquetOf[T any](t testing.TB, rows []T, options ...parquet.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, options...)
	_, err := w.Write(rows)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type textRow struct {
	Text string `parquet:"text"`
	URL  string `parquet:"url,plain"`
}

func TestFormats(t *testing.T) {
	dir := t.TempDir()
	lines := []byte("{\"text\": \"one\", \"url\": \"a\"}\r\n\n  {\"url\": \"b\", \"text\": \"zw\\u00f6\\nlf\"}\n{\"text\":\"\"}")
	array := []byte("\n [{\"text\": \"one\"}, {\"text\": \"zwö\\nlf\"},\n{\"text\":\"\"}] \n")
	want := []string{"one", "zwö\nlf", ""}
	rows := []textRow{{"one", "a"}, {"zwö\nlf", "b"}, {"", "c"}}
	for name, raw := range map[string][]byte{
		"a.jsonl": lines, "b.json": lines, "c.ndjson": lines, "d.json": array, "bom.jsonl": append([]byte("\ufeff"), lines...),
		"a.json.gz": gzipped(t, lines), "b.jsonl.gz": gzipped(t, lines), "c.JSON.GZ": gzipped(t, array), "twice.jsonl.gz": append(gzipped(t, lines[:30]), gzipped(t, lines[30:])...),
		"a.json.zst": zstded(t, array), "b.jsonl.zst": zstded(t, lines), "a.jsonl.lz4": lz4ed(t, lines), "a.jsonl.br": brotlied(t, lines),
		"a.parquet": parquetOf(t, rows, parquet.DataPageVersion(1)),
	} {
		var c collected
		if err := read(t.Context(), put(t, dir, name, raw), oneField("text"), &c); err != nil || !slices.Equal(c.texts, want) {
			t.Errorf("%s: %q, %v; want %q", name, c.texts, err, want)
		}
		c = collected{skip: func(n int) bool { return n != 1 }}
		if err := read(t.Context(), filepath.Join(dir, name), oneField("text"), &c); err != nil || !slices.Equal(c.texts, want[1:2]) || c.seen != 3 {
			t.Errorf("%s: %q of %d, %v; want the second of 3", name, c.texts, c.seen, err)
		}
		c = collected{stop: 2}
		if err := read(t.Context(), filepath.Join(dir, name), oneField("text"), &c); !errors.Is(err, errEnough) || len(c.texts) != 2 {
			t.Errorf("%s: %q, %v; want two", name, c.texts, err)
		}
	}
	for name, raw := range map[string][]byte{
		"a.txt": []byte("a\nb"), "b.txt.gz": gzipped(t, []byte("a\nb")), "c.txt.zst": zstded(t, []byte("a\nb")), "README": []byte("a\nb"),
		"d.txt.lz4": lz4ed(t, []byte("a\nb")), "e.txt.br": brotlied(t, []byte("a\nb")), "f.TXT.BZ2": bzip2ed(t),
	} {
		var c collected
		if err := read(t.Context(), put(t, dir, name, raw), oneField("text"), &c); err != nil || !slices.Equal(c.texts, []string{"a\nb"}) {
			t.Errorf("%s: %q, %v", name, c.texts, err)
		}
	}
}

// TestParquet writes what parquet-go can write and compares.
func TestParquet(t *testing.T) {
	type row struct {
		Plain    string   `parquet:"plain,plain"`
		Dict     string   `parquet:"dict,dict"`
		Optional *string  `parquet:"optional,optional,dict"`
		List     []string `parquet:"list,list"`
		Bare     []string `parquet:"bare,plain"`
		Int      int64    `parquet:"int,plain"`
		Small    int32    `parquet:"small,optional,dict"`
		Delta    int64    `parquet:"delta,delta"`
	}
	rows := make([]row, 5000)
	var want []string
	line := func(v []any) (string, error) { return fmt.Sprint(v...), nil }
	for i := range rows {
		r := row{Plain: strings.Repeat("ä", i%90), Dict: fmt.Sprint("d", i%37), Int: int64(i) << 30, Small: int32(i%3) - 1, Delta: int64(i*i*i) << (i % 40)}
		values := []any{r.Plain, r.Dict, any(nil), nil, nil, r.Int, int64(r.Small), r.Delta}
		if i%3 > 0 {
			s := fmt.Sprint("o", i)
			r.Optional, values[2] = &s, s
		}
		if r.Small == 0 { // how parquet-go writes a zero value that is optional
			values[6] = nil
		}
		list := []string{}
		for k := range i % 5 {
			list = append(list, fmt.Sprint("l", k))
		}
		r.List, r.Bare, values[3], values[4] = list, list, list, list
		rows[i] = r
		text, err := line(values)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, text)
	}
	f := form{fields: []string{"plain", "dict", "optional", "list", "bare", "int", "small", "delta"}, text: line}
	for _, codec := range []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Gzip, &parquet.Zstd} {
		for version := range 2 {
			for _, group := range []int64{10_000, 701} {
				raw := parquetOf(t, rows, parquet.Compression(codec), parquet.DataPageVersion(version+1), parquet.MaxRowsPerRowGroup(group), parquet.PageBufferSize(3000))
				var c collected
				if err := readParquet(bytes.NewReader(raw), int64(len(raw)), f, &c); err != nil || !slices.Equal(c.texts, want) {
					t.Errorf("%s, pages version %d, row groups of %d: %d of %d texts, %v", codec, version+1, group, len(c.texts), len(want), err)
				}
				c = collected{skip: func(n int) bool { return n%100 != 7 }}
				var some []string
				for i := 7; i < len(want); i += 100 {
					some = append(some, want[i])
				}
				if err := readParquet(bytes.NewReader(raw), int64(len(raw)), f, &c); err != nil || !slices.Equal(c.texts, some) {
					t.Errorf("%s, every hundredth: %d of %d texts, %v", codec, len(c.texts), len(some), err)
				}
			}
		}
	}
}

// TestJSONShapes reads objects however they are laid out.
func TestJSONShapes(t *testing.T) {
	for raw, want := range map[string][]string{
		``:              nil,
		`{"text": "a"}`: {"a"},
		"{\n \"text\": \"a\",\n \"tags\": [{\"k\": 1}]\n}":                                                                      {"a"},
		"{\n \"text\": \"a\"\n}\n{\n \"text\": \"b\"\n}\n":                                                                      {"a", "b"},
		`{"version": "1", "list": [1, "]"], "data": [{"text": "a"}, {"text": "b,]}\""}], "n": {"x": []}, "e": [], "z": -1.5e3}`: {"a", `b,]}"`},
		"{\"data\":\n[\n{\"text\":\"a\"}\n,\n{\"text\":\"b\"}]}":                                                                {"a", "b"},
		"{\"text\": \"a\", \"m\": [{\"text\": \"x\"}]}\n{\"text\": \"b\", \"m\": [{\"text\": \"x\"}]}":                          {"a", "b"},
		`[]`: nil,
		"[\n\n{\"text\": \"a\"},{\"text\":null}]": {"a"},
	} {
		var c collected
		f := oneField("text")
		if err := readJSON(strings.NewReader(raw), f.fields, func(raw []byte) error { return f.document(raw, &c) }); err != nil || !slices.Equal(c.texts, want) {
			t.Errorf("%s: %q, %v; want %q", raw, c.texts, err, want)
		}
	}
}

// TestCSV reads what pandas 3.1.1 reads the same way (pandas.read_csv, null for NaN).
func TestCSV(t *testing.T) {
	for raw, want := range map[string]string{
		"": "", "text\n": "", "\ufefftext\nx\n": `"x"`,
		"text,n\n\"a\r\nb\",1\nx\"y,2\n\"q\"\"r\",3\n\"s\"t,4\n\n   \n\"\",5\nNA,6\n\"NA\",7\n\" \",8\nlast,9": `"a\r\nb" "x\"y" "q\"r" "st" null null null " " "last"`,
		"text\rx\ry\r":           `"x" "y"`,
		"text\n\" \"\n\nb\n":     `" " "b"`,
		"n,text\n\n,\n\"\",\n,c": `null null "c"`,
		"text\n  a  \n\ta\n":     `"  a  " "\ta"`,
		"n,text\n1\n":            `null`,
		"text\n\"\"\nb\n":        `null "b"`,
		"text\n\"a\" \nb":        `"a " "b"`,
		"text,n\nx,\ny,":         `"x" "y"`,
	} {
		var got []string
		f := form{fields: []string{"text"}, text: func(v []any) (string, error) { raw, err := json.Marshal(v[0]); return string(raw), err }}
		var c collected
		err := readCSV(strings.NewReader(raw), ',', func(names []string, values []any) error { return f.csvRow(names, values, &c) })
		if got = c.texts; err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %s, %v; want %s", raw, strings.Join(got, " "), err, want)
		}
	}
	dir := t.TempDir()
	var c collected
	if err := read(t.Context(), put(t, dir, "a.tsv.gz", gzipped(t, []byte("n\ttext\n1\ta, b\n2\tNA\n"))), oneField("text"), &c); err != nil || !slices.Equal(c.texts, []string{"a, b"}) || c.nulls != 1 {
		t.Errorf("%q, %d, %v", c.texts, c.nulls, err)
	}
	if rows := rowsOf(t, put(t, dir, "a.csv", []byte("a,b\n1,\n"))); !reflect.DeepEqual(rows, []Record{{{"a", "1"}, {"b", nil}}}) {
		t.Errorf("%v", rows)
	}
}

func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"text,n\n\"a\r\nb\",1\nx\"y,2\n", "text\n\"", "\r\r\n,", "a,b\n1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		size := 0
		err := readCSV(bytes.NewReader(raw), ',', func(names []string, values []any) error {
			if len(values) != len(names) {
				t.Errorf("%d values of %d columns", len(values), len(names))
			}
			for _, v := range values {
				text, _ := v.(string)
				size += len(text)
			}
			return nil
		})
		if size > len(raw) || err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%d bytes of %d, %v", size, len(raw), err)
		}
	})
}

// endless is an object with an array of objects that has no end, on one line.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	const head, element = `{"data":[`, `{"text":"of a text that goes on for a while, as texts do"},`
	for i := range b {
		if e.read < len(head) {
			b[i] = head[e.read]
		} else {
			b[i] = element[(e.read-len(head))%len(element)]
		}
		e.read++
	}
	return len(b), nil
}

// TestJSONStreams: an array of any size takes the memory of an element and of the first line.
func TestJSONStreams(t *testing.T) {
	e, enough := &endless{}, errors.New("enough")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	n := 0
	err := readJSON(e, []string{"text"}, func(raw []byte) error {
		if n++; n%100_000 == 0 {
			runtime.ReadMemStats(&after)
			peak = max(peak, after.HeapAlloc-min(before.HeapAlloc, after.HeapAlloc))
		}
		if e.read > 16*maxFirstLine {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || peak > 4*maxFirstLine {
		t.Errorf("%v; %d elements, %d MiB held", err, n, peak>>20)
	}
}

func TestReadErrors(t *testing.T) {
	dir := t.TempDir()
	long := bytes.Repeat([]byte("a"), maxDocument+1<<20)
	good := parquetOf(t, []textRow{{"one", "a"}, {"two", "b"}}, parquet.Compression(&parquet.Zstd))
	type deep struct {
		Meta struct{ A, B string } `parquet:"meta"`
		Size float64               `parquet:"size"`
		Text string                `parquet:"body,delta"`
		Many []struct {
			Deep []string `parquet:"deep"`
		} `parquet:"many"`
	}
	nested := parquetOf(t, []deep{{Text: "a"}})
	type listRow struct {
		Text []string `parquet:"text,list,dict"`
	}
	endless := parquetOf(t, []listRow{{slices.Repeat([]string{strings.Repeat("a", 1<<16)}, 1<<11)}})
	for _, c := range []struct {
		name, field, want string
		raw               []byte
	}{
		{"a.jsonl", "text", `a.jsonl: line 3: no field "text"; choose one with corpus.Options.Field, there are: body, url`, []byte("{\"text\":\"x\"}\n\n{\"url\":1,\"body\":\"\"}\n")},
		{"b.jsonl", "text", "line 2: field \"text\" is a number", []byte("{\"text\":\"x\"}\n{\"text\":1}\n")},
		{"c.arrow", "text", "c.arrow: files in .arrow are not read: write it as Parquet", []byte("ARROW1")},
		{"c.csv", "text", "c.csv: line 3: a quote has no end", []byte("text\nx\n\"y\n")},
		{"d.csv", "text", "d.csv: line 3: 3 fields, the first line has 2", []byte("text,n\nx,1\nx,1,2\n")},
		{"e.csv", "body", `e.csv: line 2: no field "body"; choose one with corpus.Options.Field, there are: n, text`, []byte("text,n\nx,1\n")},
		{"f.csv", "text", "f.csv: line 2: not UTF-8", []byte("text\n\xff\n")},
		{"g.csv", "text", "g.csv: line 2: longer than 64 MiB", append([]byte("text\n"), long...)},
		{"c.parquet", "text", "c.parquet: git left a pointer to the file in its place; get it with: git lfs pull", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4665a5ea423c2713d436b5ee50593a9640e0018c1550b5a0002f74190d6caea8\nsize 12\n")},
		{"d.jsonl", "text", "line 1: unexpected EOF", []byte("{\"text\":\n\"a\"\n")},
		{"d.json", "text", "line 5: there is more after the object", []byte("{\n\"data\": [{\"text\": \"a\"}]\n}\n\n{\"text\": \"b\"}")},
		{"d.json", "text", `line 1: it holds two lists, "a" and "b"`, []byte(`{"a": [{"text": "a"}], "b": [{"text": "b"}]}`)},
		{"d.json", "text", `line 1: it has a field "text" and the list "a"`, []byte(`{"a": [{"text": "a"}], "text": "b"}`)},
		{"d.json", "text", `element 2: no field "text"; choose one with corpus.Options.Field, there are: body`, []byte(`{"a": [{"text": "a"}, {"body": "b"}]}`)},
		{"d.json", "text", `line 1: no field "text"; choose one with corpus.Options.Field, there are: a`, []byte(`{"a": [1, 2]}`)},
		{"d.json", "text", `line 1: invalid character '1' where a name`, []byte(`{1: 2}`)},
		{"d.json", "text", `line 1: invalid character '"' after the value of "a"`, []byte(`{"a": 2 "b": 3}`)},
		{"d.json", "text", `line 1: longer than 64 MiB`, append([]byte("{\"a\":\n\""), long...)},
		{"e.jsonl", "text", "line 1: not UTF-8", []byte("{\"text\":\"\xff\"}\n")},
		{"f.jsonl.gz", "text", "line 2: longer than 64 MiB", gzipped(t, append([]byte("{\"text\":\"x\"}\n{\"text\":\""), long...))},
		{"g.json.zst", "text", "element 2: longer than 64 MiB", zstded(t, append([]byte("[{\"text\":\"x\"},{\"text\":\""), long...))},
		{"h.json", "text", "element 1: expected an object", []byte("[1,2,3]")},
		{"i.json", "text", "element 2: unexpected", []byte("[{\"text\":\"x\"},{\"te")},
		{"j.json", "text", "element 1: the array has no end", []byte("[{\"text\":\"x\"}")},
		{"k.json", "text", "more after the array", []byte("[{\"text\":\"x\"}] {}")},
		{"l.json", "text", "line 1: invalid character", []byte("hello")},
		{"m.json.gz", "text", "gzip", []byte("hello, this is not gzip")},
		{"n.jsonl.gz", "text", "unexpected EOF", gzipped(t, []byte("{\"text\":\"x\"}\n"))[:20]},
		{"o.txt", "text", "o.txt: not UTF-8", []byte("\xff")},
		{"p.parquet", "body", `p.parquet: no field "body"; choose one with corpus.Options.Field, there are: text, url`, good},
		{"q.parquet", "text", "not a Parquet file", good[:len(good)-1]},
		{"r.parquet", "text", "not a Parquet file", nil},
		{"s.parquet", "meta", `column "meta" holds a struct, expected text`, nested},
		{"t.parquet", "size", `column "size" holds DOUBLE`, nested},
		{"v.parquet", "many", "lists of lists", nested},
		{"x.parquet", "text", `row 1: column "text": longer than 64 MiB`, endless},
	} {
		err := read(t.Context(), put(t, dir, c.name, c.raw), oneField(c.field), &collected{})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestExpand(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b/2.jsonl.gz", "b/1.parquet", "a.txt", "c.json.zst", "README.md", ".hidden.txt", ".git/x.txt", "b/notes", "LICENSE.txt", "s/train.txt", "s/test.txt", "s/c.txt"} {
		put(t, dir, name, nil)
	}
	if err := os.Symlink(filepath.Join(dir, "b/1.parquet"), filepath.Join(dir, "d.parquet")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"b":           "b/1.parquet b/2.jsonl.gz",
		"b/notes":     "b/notes",
		"*.md":        "README.md",
		"b/*":         "b/1.parquet b/2.jsonl.gz b/notes",
		"[bs]":        "b/1.parquet b/2.jsonl.gz s/train.txt -s/c.txt",
		"[ac].*":      "a.txt c.json.zst",
		".hidden.txt": ".hidden.txt",
		"s":           "s/train.txt -s/c.txt",
		"s:test":      "s/test.txt -s/c.txt",
		"s/*":         "s/c.txt s/test.txt s/train.txt",
	} {
		f, err := expand(filepath.Join(dir, path), false)
		if err != nil {
			t.Errorf("%q: %v", path, err)
			continue
		}
		var got []string
		for _, file := range f.files {
			rel, _ := filepath.Rel(dir, file)
			got = append(got, rel)
		}
		for _, file := range f.left {
			rel, _ := filepath.Rel(dir, file)
			got = append(got, "-"+rel)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %v; want %s", path, got, want)
		}
	}
	put(t, dir, "arrow/train/data-00000-of-00001.arrow", nil)
	put(t, dir, "arrow/dataset_dict.json", nil)
	if err := os.MkdirAll(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"none": "no such file", "*.none": "no such file", ".git/*.none": "no such file", "[": "syntax error", "empty": ".parquet", "none:test": "no such file",
		"s:validation": `no split "validation"; it has test, train`, "arrow": "it has files in .arrow, which are not read: write it as Parquet",
	} {
		if f, err := expand(filepath.Join(dir, path), false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", path, f, err, want)
		}
	}
}

// TestHostile holds the memory that small files with large claims may take.
func TestHostile(t *testing.T) {
	rows := make([]textRow, 2400)
	for i := range rows {
		rows[i].Text = strings.Repeat("a", 1<<16)
	}
	bomb := parquetOf(t, rows, parquet.Compression(&parquet.Zstd), parquet.PageBufferSize(maxPage))
	good := parquetOf(t, []textRow{{"one", "a"}}, parquet.Compression(&parquet.Snappy))
	footer := bytes.Clone(good)
	copy(footer[len(footer)-8:], []byte{0, 0, 0, 0x7f})
	list := append([]byte("PAR1\x29\xfc\xff\xff\xff\xff\x07"), 7, 0, 0, 0, 'P', 'A', 'R', '1') // a schema of 2^31-1 columns
	for name, raw := range map[string][]byte{"a footer of": footer, "footer: it breaks off": list, "bytes that becomes": bomb} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := readParquet(bytes.NewReader(raw), int64(len(raw)), oneField("text"), &collected{})
		runtime.ReadMemStats(&after)
		if taken := after.TotalAlloc - before.TotalAlloc; err == nil || !strings.Contains(err.Error(), name) || taken > 1<<20 {
			t.Errorf("%v with %d bytes taken, want %q and less than 1 MiB", err, taken, name)
		}
	}
}

// TestMutated changes bytes of files of every encoding and compression: what is read may be wrong, but takes no more memory than a file of
// such a size can hold, and nothing panics.
func TestMutated(t *testing.T) {
	files, err := filepath.Glob("testdata/parquet/*.parquet")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, file := range files {
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			raw := bytes.Clone(whole)
			for range 1 + random.IntN(3) {
				raw[random.IntN(len(raw))] = byte(random.Uint32())
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_ = parquetRecords(bytes.NewReader(raw), int64(len(raw)), func(Record) error { return nil })
			runtime.ReadMemStats(&after)
			if taken := after.TotalAlloc - before.TotalAlloc; taken > 2*maxBomb {
				t.Errorf("%s: %d MiB for %d bytes", file, taken>>20, len(raw))
			}
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{"{\"text\":\"a\"}\n{\"text\":\"b\"}", "[{\"text\":\"a\"}]", "\ufeff\n[", "[[[[", "{}", "{\"text\":[\"a\",1]}", "{\"n\": 1,\n\"data\": [{\"text\": \"a\\\"\"}, {\"text\": null}]}", "{\n\"text\": \"a\"\n}\n{\n\"text\": \"b\"\n}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var c collected
		f := oneField("text")
		if err := readJSON(bytes.NewReader(raw), f.fields, func(raw []byte) error { return f.document(raw, &c) }); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q", err)
		}
		if _, err := jsonRecord(raw); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q", err)
		}
		var all []map[string]any
		if json.Unmarshal(raw, &all) == nil && utf8.Valid(raw) {
			var want []string
			for _, row := range all {
				text, ok := row["text"].(string)
				if row["text"] != nil && !ok {
					return
				}
				if ok {
					want = append(want, text)
				}
			}
			if !slices.Equal(c.texts, want) && len(c.texts)+c.nulls == len(all) {
				t.Errorf("%q, want %q", c.texts, want)
			}
		}
		size := 0
		for _, text := range c.texts {
			size += len(text)
		}
		if size > 3*len(raw) { // an escape never makes more
			t.Errorf("%d bytes of %d", size, len(raw))
		}
	})
}

func FuzzParquet(f *testing.F) {
	rows := []textRow{{"one", "a"}, {"two", "a"}, {"", "b"}}
	for _, codec := range []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Zstd, &parquet.Gzip} {
		f.Add(parquetOf(f, rows, parquet.Compression(codec), parquet.DataPageVersion(1)))
		f.Add(parquetOf(f, rows, parquet.Compression(codec), parquet.DataPageVersion(2)))
	}
	type listRow struct {
		Text []string `parquet:"text,list"`
		URL  string   `parquet:"url,dict"`
	}
	f.Add(parquetOf(f, []listRow{{[]string{"a", "b"}, "c"}, {nil, "c"}}))
	files, err := filepath.Glob("testdata/parquet/*.parquet")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := &collected{stop: 10_000}
		for _, field := range []string{"text", "url"} {
			any := form{fields: []string{field}, text: func(v []any) (string, error) { return fmt.Sprint(v...), nil }}
			if err := readParquet(bytes.NewReader(raw), int64(len(raw)), any, c); err != nil && errors.Is(err, io.ErrNoProgress) {
				t.Error(err)
			}
		}
		left := 10_000
		_ = parquetRecords(bytes.NewReader(raw), int64(len(raw)), func(Record) error {
			if left--; left == 0 {
				return errEnough
			}
			return nil
		})
	})
}
