//go:build unix

package hostile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

func init() { kinds["tokenizer"] = tokenizerCases }

const tokenizerFile = "model/tokenizer.json"

// vocabulary is a tokenizer.json with a vocabulary, merges and all other sections, whose parts are replaced by name.
func tokenizerJSON(parts map[string]string) []byte {
	vocab := map[string]int{}
	base := clean()
	var t struct {
		Model struct{ Vocab map[string]int }
	}
	if err := json.Unmarshal(base[tokenizerFile].data, &t); err != nil {
		panic(err)
	}
	maps.Copy(vocab, t.Model.Vocab)
	vocab["th"], vocab["he"] = 258, 259
	raw, err := json.Marshal(vocab)
	if err != nil {
		panic(err)
	}
	all := map[string]string{
		"version": `"1.0"`, "truncation": "null", "padding": "null", "normalizer": "null", "pre_tokenizer": `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}`,
		"post_processor": `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]}}}`,
		"decoder":        `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}`,
		"added_tokens":   `[{"id":0,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},{"id":1,"content":"</s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}]`,
		"vocab":          string(raw), "merges": `["t h",["h","e"]]`, "model": "",
	}
	maps.Copy(all, parts)
	m := all["model"]
	if m == "" {
		m = `{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":` + all["vocab"] + `,"merges":` + all["merges"] + `}`
	}
	var b bytes.Buffer
	b.WriteByte('{')
	for _, key := range []string{"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder"} {
		fmt.Fprintf(&b, "%q:%s,", key, all[key])
	}
	b.WriteString(`"model":` + m + "}")
	return b.Bytes()
}

// nested puts so many of a part into one another, or beside one another.
func nested(n int, list, one string) string {
	return strings.Repeat(`{"type":"Sequence","`+list+`":[`, n) + one + strings.Repeat("]}", n)
}
func beside(n int, list, one string) string {
	return `{"type":"Sequence","` + list + `":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + "]}"
}

func replaced(pattern, with string) string {
	raw, err := json.Marshal(map[string]any{"type": "Replace", "pattern": map[string]string{"String": pattern}, "content": with})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// patterns are regular expressions that take long on a text that is long, or stand for much.
var patterns = []string{`(a+)+$`, `(a|a)*$`, `(a|aa)+$`, `(.*)*x`, `(\\w+\\s?)+$`, `^(([a-z])+.)+[A-Z]([a-z])+$`, `(a{1,1000}){1,1000}`, `(((a{1,60}){1,60}){1,60}){1,60}b`, `(?=(a+))*b`, `(a)\\1+\\1+b`,
	`(?<=a+)b`, `(?<n>a)(\\k<n>*)*b`, `(x+x+)+y`, `([a-zA-Z]+)*!`, `(`, `[`, `a{99999999999}`, `(?#`, `\\`, `(?P<a>a)(?P<a>b)`, `\\p{NoSuch}`, `(?i:` + strings.Repeat("(", 5000) + strings.Repeat(")", 5000) + `)`, ``, `()`, `^`, `$`, `\\b`, `(?!)`, `\\u001b[31m`, `a*`, `(a*)*`, strings.Repeat("a?", 500) + strings.Repeat("a", 500)}

func tokenizerCases() (list []hostile) {
	base := clean()
	as := bytes.Repeat([]byte("a"), 20_000)
	add := func(name string, make func() []byte) *hostile {
		list = append(list, hostile{name: name, ok: sane, runs: [][]string{tokenize(), pplText()}, make: func() input {
			return base.file(tokenizerFile, make()).file("text.txt", slices.Concat(as, []byte("b c!\n"), base["text.txt"].data))
		}})
		return &list[len(list)-1]
	}
	part := func(name string, parts map[string]string) *hostile {
		return add(name, func() []byte { return tokenizerJSON(parts) })
	}

	const level = `{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":false}`
	for _, n := range []int{2, 26, 64, 1000, 100_000} {
		part(fmt.Sprintf("%d ByteLevel beside one another", n), map[string]string{"pre_tokenizer": beside(n, "pretokenizers", level)})
		part(fmt.Sprintf("ByteLevel %d deep", n), map[string]string{"pre_tokenizer": nested(n, "pretokenizers", level)})
		part(fmt.Sprintf("%d normalizers that double a text", n), map[string]string{"normalizer": beside(n, "normalizers", replaced("a", "aa"))})
		part(fmt.Sprintf("%d normalizers that prepend", n), map[string]string{"normalizer": beside(n, "normalizers", `{"type":"Prepend","prepend":"`+strings.Repeat("p", 1000)+`"}`)})
		part(fmt.Sprintf("normalizers %d deep", n), map[string]string{"normalizer": nested(n, "normalizers", `{"type":"NFC"}`)})
		part(fmt.Sprintf("decoders %d deep", n), map[string]string{"decoder": nested(n, "decoders", `{"type":"Fuse"}`)})
		part(fmt.Sprintf("a template of %d tokens", n), map[string]string{"post_processor": `{"type":"TemplateProcessing","single":[` + strings.Repeat(`{"SpecialToken":{"id":"<s>","type_id":0}},`, n) + `{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]}}}`})
		part(fmt.Sprintf("%d merges of one pair", n), map[string]string{"merges": "[" + strings.Repeat(`"t h",`, n) + `"h e"]`})
		part(fmt.Sprintf("%d empty added tokens", n*20), map[string]string{"added_tokens": "[" + strings.Repeat(`{"id":0,"content":"","special":true},`, n*20) + `{"id":1,"content":"</s>"}]`})
	}
	for _, pattern := range []string{"", "a", " ", "\n", "\x00", "aaaa"} {
		for _, n := range []int{0, 1, 4090, 1 << 20} {
			part(fmt.Sprintf("%q replaced by %d characters", pattern, n), map[string]string{"normalizer": replaced(pattern, strings.Repeat("x", n))})
		}
	}
	for i, pattern := range patterns {
		for _, behavior := range []string{"Isolated", "Removed", "MergedWithPrevious", "Contiguous"} {
			if i%2 == 0 && behavior != "Isolated" { // all ways for every second one
				continue
			}
			part(fmt.Sprintf("split by %d %s, %s", i, pattern, behavior), map[string]string{"pre_tokenizer": `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"` + pattern + `"},"behavior":"` + behavior + `","invert":false},` + level + `]}`})
		}
		part(fmt.Sprintf("replace by %d %s", i, pattern), map[string]string{"normalizer": `{"type":"Replace","pattern":{"Regex":"` + pattern + `"},"content":"aa"}`})
	}
	for name, merges := range map[string]string{
		"cyclic": `["t h","h t","th th"]`, "unknown": `["q zz"]`, "numbers": `[1,2]`, "triples": `[["a","b","c"]]`, "empty": `[""]`, "blanks": `["  ","   "]`, "halves": `["t"]`, "null": "null", "an object": "{}",
		"huge": `["` + strings.Repeat("a", 1<<20) + " " + strings.Repeat("b", 1<<20) + `"]`, "a line": `["t h\n"]`, "nulls": `[null,null]`,
	} {
		part("merges are "+name, map[string]string{"merges": merges})
	}
	for name, vocab := range map[string]string{
		"empty": "{}", "twice": `{"a":0,"a":1}`, "one id": `{"a":0,"b":0}`, "negative": `{"a":-1}`, "huge id": `{"a":9223372036854775807}`, "2^32": `{"a":4294967296}`, "fractions": `{"a":0.5}`, "texts": `{"a":"0"}`, "nulls": `{"a":null}`, "a list": `["a"]`,
		"escape": `{"\u001b[31m":0,"a":1}`, "bidi": `{"\u202e":0,"a":1}`, "invalid": "{\"\xff\":0,\"a\":1}", "gaps": `{"a":0,"b":1000000000}`,
	} {
		part("the vocabulary is "+name, map[string]string{"vocab": vocab, "merges": "[]"})
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		token, _ := json.Marshal(names[name])
		part("an added token called "+name, map[string]string{"added_tokens": `[{"id":2,"content":` + string(token) + `,"special":true,"lstrip":true,"rstrip":true},{"id":1,"content":"</s>"}]`})
		part("a model of type "+name, map[string]string{"model": `{"type":` + string(token) + `,"vocab":{}}`}).ok = never
	}
	for name, m := range map[string]string{"Unigram": `{"type":"Unigram","unk_id":0,"vocab":[["a",-1e400],["b",0]]}`, "WordPiece": `{"type":"WordPiece","vocab":{"a":0}}`, "WordLevel": `{"type":"WordLevel","vocab":{"a":0},"unk_token":"b"}`} {
		part(name, map[string]string{"model": m})
	}
	for _, c := range changes(random("tokenizer"), tokenizerJSON(nil), 70) {
		add(c.name, c.make)
	}
	for _, file := range []string{"tokenizer_config.json", "special_tokens_map.json"} {
		for _, c := range changes(random(file), base["model/"+file].data, 30) {
			list = append(list, hostile{name: file + ": " + c.name, ok: sane, runs: [][]string{tokenize(), pplText()}, make: func() input { return base.file("model/"+file, c.make()) }})
		}
	}
	for _, file := range []string{"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model"} {
		for name, e := range special() {
			list = append(list, hostile{name: file + " is " + name, ok: sane, runs: [][]string{tokenize()}, make: func() input {
				return base.with("model/"+file, e).with("model/loop", entry{mode: fs.ModeSymlink, to: file})
			}})
		}
	}
	slices.SortStableFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return list
}
