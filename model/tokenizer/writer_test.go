package tokenizer

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// every gives the tokenizers of the test data, the variations of folders among them.
func every(t *testing.T) map[string]*bpe {
	t.Helper()
	all := map[string]*bpe{"tiny12": tiny12(t).(*bpe)}
	for _, file := range must(filepath.Glob("testdata/*.json")) {
		if tok, err := ParseJSON(read(t, file), nil); err == nil {
			all[file] = tok.(*bpe)
		}
	}
	for _, file := range must(filepath.Glob("testdata/*.model")) {
		all[file] = must(Parse(Files{Model: read(t, file)})).(*bpe)
	}
	// The classes bring rules of their own.
	for _, class := range []string{"LlamaTokenizer", "GemmaTokenizer", "GPT2Tokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer", "Qwen3_5Tokenizer", "CohereTokenizer"} {
		config := []byte(`{"tokenizer_class": "` + class + `"}`)
		for _, file := range []string{"llama2.json", "llama3.json", "gpt2.json", "metaspace.json"} {
			if tok, err := ParseJSON(read(t, "testdata/"+file), config); err == nil {
				all[class+" of "+file] = tok.(*bpe)
			}
		}
	}
	vocab := `"model": {"vocab": {"a": 0, "b": 1, " ": 2, "\n": 3, "ab": 4, "▁": 5, "Ġ": 6, "Ċ": 7, "▁a": 8, "Ġa": 9, "。": 10, "字": 11, ".": 12, ",": 13, "<unk>": 14, "b ": 15, "b▁": 16, ". ": 17, "a\n": 18},
		"merges": [["a", "b"], ["▁", "a"], ["Ġ", "a"], ["b", " "], ["b", "▁"], [".", " "], ["a", "\n"]], "unk_token": "<unk>"}`
	for i, rules := range odd {
		tok, err := ParseJSON([]byte(`{`+vocab+`, `+rules+`}`), nil)
		if err != nil {
			t.Fatalf("%s: %v", rules, err)
		}
		all[fmt.Sprintf("odd %d: %.120s", i, rules)] = tok.(*bpe)
	}
	return all
}

func pre(parts ...string) string {
	return `"pre_tokenizer": {"type": "Sequence", "pretokenizers": [` + strings.Join(parts, ", ") + `]}`
}

func norms(parts ...string) string {
	return `"normalizer": {"type": "Sequence", "normalizers": [` + strings.Join(parts, ", ") + `]}`
}

func split(pattern, behavior string, invert bool) string {
	raw, _ := json.Marshal(pattern)
	return fmt.Sprintf(`{"type": "Split", "pattern": {"Regex": %s}, "behavior": %q, "invert": %v}`, raw, behavior, invert)
}

func added(content, flags string) string {
	set := map[string]bool{}
	for _, f := range strings.Fields(flags) {
		set[f] = true
	}
	raw, _ := json.Marshal(content)
	return fmt.Sprintf(`"added_tokens": [{"id": 20, "content": %s, "single_word": %v, "lstrip": %v, "rstrip": %v, "normalized": %v, "special": %v}]`,
		raw, set["single"], set["l"], set["r"], set["n"], set["s"])
}

// odd are rules that look across what others part, put together in many ways.
var odd = []string{
	pre(`{"type": "ByteLevel", "add_prefix_space": true}`),
	pre(`{"type": "ByteLevel", "add_prefix_space": true, "use_regex": false}`),
	pre(`{"type": "ByteLevel", "use_regex": false}`, `{"type": "ByteLevel"}`),
	pre(`{"type": "WhitespaceSplit"}`, `{"type": "ByteLevel", "add_prefix_space": true}`),
	pre(`{"type": "Whitespace"}`),
	pre(`{"type": "CharDelimiterSplit", "delimiter": " "}`),
	pre(`{"type": "CharDelimiterSplit", "delimiter": "a"}`),
	pre(`{"type": "Punctuation", "behavior": "MergedWithNext"}`, `{"type": "WhitespaceSplit"}`),
	pre(`{"type": "Punctuation"}`, `{"type": "Digits"}`, `{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}`),
	pre(`{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}`),
	pre(`{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": false}`),
	pre(`{"type": "Metaspace", "replacement": "a", "prepend_scheme": "always"}`),
	pre(split(`\s+`, "MergedWithPrevious", false)),
	pre(split(`\s+`, "MergedWithNext", false)),
	pre(split(`\s+`, "Contiguous", false)),
	pre(split(`\s+`, "Isolated", false)),
	pre(split(`\s+`, "Removed", false)),
	pre(split(`[a-z]+`, "Removed", true)),
	pre(split(`[a-z]+`, "Isolated", true)),
	pre(split(`\w+ ?`, "Isolated", false)),
	pre(split(`[a-z]+ [a-z]+`, "Isolated", false)),
	pre(split(`[a-z]+(?= b)|\s`, "Isolated", false)),
	pre(split(`(?<=a) b|\p{L}+|\s`, "Isolated", false)),
	pre(split(`\bb+|.`, "Isolated", false)),
	pre(split(`^ a|\p{L}+| `, "Isolated", false)),
	pre(split(`\A a|\p{L}+| `, "Isolated", false)),
	pre(split(`\p{L}+$|\p{L}|\s+`, "Isolated", false)),
	pre(split(`\p{L}*`, "Isolated", false)),
	pre(split(`[^\n]+`, "Isolated", false)),
	pre(split(`.+`, "Isolated", false)),
	pre(split(`(?:ab?)+|\s|[^b]`, "Isolated", false)),
	pre(split(`\p{L}++|\s++(?!\S)|\s+|[.,。]`, "Isolated", false)),
	pre(split(`(?:b\n)++|\p{L}|\s|.`, "Isolated", false)),
	pre(split(`[[:space:]]|[a[b ]]+`, "Isolated", false)),
	pre(split(`(?i:B A)|\p{L}+|\s`, "Isolated", false)),
	pre(split(`\p{L}{1,3}|\s{1}|a{,3} `, "Isolated", false)),
	norms(`{"type": "Strip", "strip_left": true, "strip_right": true}`) + ", " + pre(split(`\s`, "Isolated", false)),
	norms(`{"type": "Prepend", "prepend": "▁"}`, `{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}`) + ", " + pre(split(`▁`, "Isolated", false)),
	norms(`{"type": "Replace", "pattern": {"String": "a "}, "content": "b"}`) + ", " + pre(split(`\s+|\p{L}+`, "Isolated", false)),
	norms(`{"type": "Replace", "pattern": {"String": " "}, "content": ""}`) + ", " + pre(split(`\s+|\p{L}+`, "Isolated", false)),
	norms(`{"type": "Replace", "pattern": {"Regex": "b\\s"}, "content": ""}`) + ", " + pre(split(`\s+|\p{L}+`, "Isolated", false)),
	norms(`{"type": "NFKC"}`, `{"type": "Lowercase"}`) + ", " + pre(split(`\s+|\p{L}+`, "Isolated", false)),
	added("b a", "") + ", " + pre(split(`\s+|\p{L}+`, "Isolated", false)),
	added("ab", "r s") + ", " + pre(split(`\s+|\p{L}+`, "Isolated", false)),
	added("a", "l s") + ", " + pre(split(`\s+|\p{L}+`, "Isolated", false)),
	added(" a", "single n") + ", " + pre(split(`\s+|\p{L}+`, "Isolated", false)),
	added("\n", "l r") + ", " + pre(split(`\s+|\p{L}+`, "Isolated", false)),
	added("B ", "n") + ", " + norms(`{"type": "Lowercase"}`) + ", " + pre(split(`\s+|\p{L}+`, "Isolated", false)),
}

// bits of texts that rules meet at.
var bits = []string{"a", "b", "ab", " ", "  ", "\n", "\r\n", ".", ", ", ". ", "。", "字", "字 ", "\t", "1", "12 ", "'s", "'s ", "é", "e\u0301", "\u0301", "▁", "a ", "b ", "b\n", "<s>", "</s>", "<|endoftext|>", "<unk>", "The ", "layers ", "that ",
	"keep\n", "\xff", "\xe2\x82", "😀", "Ｆｕｌｌ ", "ﷺ", "A", "B ", "-", "字。", "word.\n", "\u00a0", "\u2028", "ſ", "İ ", "\ua7cb "}

// TestWindows: the tokens of the windows of a text are those of the text encoded in one piece, and so are their places, for every tokenizer of
// the test data, windows of many sizes, and parts that end anywhere.
func TestWindows(t *testing.T) {
	rnd := rand.New(rand.NewPCG(16, 5))
	cut := map[string]int{}
	for name, tok := range every(t) {
		for round := range 60 {
			var b strings.Builder
			for range 1 + rnd.IntN(120) {
				b.WriteString(bits[rnd.IntN(len(bits))])
			}
			text, special := b.String(), rnd.IntN(2) > 0
			whole := &encoder{t: tok, seen: cache{}, places: true}
			if err := whole.window(text, true, special && !tok.plain); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var ids []int
			var spans []Span
			windows := 0
			places := round%2 > 0
			w := tok.writer(t.Context(), special && !tok.plain, places, func(some []int, at []Span) error {
				ids, spans = append(ids, some...), append(spans, at...)
				windows++
				return nil
			})
			w.size = 1 + rnd.IntN(40)
			for rest := text; rest != ""; {
				n := 1 + rnd.IntN(min(len(rest), 50))
				if err := w.WriteString(rest[:n]); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				rest = rest[n:]
			}
			if err := w.Close(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !slices.Equal(ids, whole.ids) || places && !slices.Equal(spans, whole.spans) {
				t.Fatalf("%s: %q in %d windows of %d bytes:\ngot  %v %q\nwant %v %q", name, text, windows, w.size, ids, spell(tok, ids), whole.ids, spell(tok, whole.ids))
			}
			cut[name] += windows - 1
		}
	}
	// The tokenizers of real models must have places to cut.
	for _, name := range []string{"tiny12", "testdata/gpt2.json", "testdata/llama3.json", "testdata/qwen2.json", "testdata/metaspace_split.json",
		"LlamaTokenizer of llama2.json", "GemmaTokenizer of llama2.json", "Qwen2Tokenizer of llama3.json", "Qwen3_5Tokenizer of llama3.json", "GPTNeoXTokenizer of gpt2.json", "CohereTokenizer of gpt2.json"} {
		if n, ok := cut[name]; !ok || n == 0 {
			t.Errorf("%s: no text was cut", name)
		}
	}
}

// TestGrowth: rules that make a text grow end the encoding, and small texts are encoded in little time and memory whatever their rules do.
func TestGrowth(t *testing.T) {
	nested := func(n int) string {
		return pre(slices.Repeat([]string{`{"type": "ByteLevel", "use_regex": false, "add_prefix_space": false}`}, n)...)
	}
	replace := func(pattern, content string) string {
		raw, _ := json.Marshal(pattern)
		return fmt.Sprintf(`{"type": "Replace", "pattern": {"Regex": %s}, "content": %q}`, raw, content)
	}
	for _, c := range []struct {
		rules, text string
		grows       bool
	}{
		{nested(1), "aé", false},
		{nested(8), "aé", false},
		{nested(26), "é", true},
		{nested(63), "é", true},
		{nested(63), strings.Repeat("é a", 10_000), true},
		{norms(replace("", strings.Repeat("x", 4090))), strings.Repeat("a", 20<<10), true},
		{norms(replace("", strings.Repeat("x", 40))), strings.Repeat("a b", 100_000), true},
		{norms(replace("a*", strings.Repeat("b", 50)), replace("b", strings.Repeat("x", 50))), strings.Repeat("c", 9000), true},
		{norms(`{"type": "Prepend", "prepend": "` + strings.Repeat("x", 4000) + `"}`), "a b", false},
		{norms(`{"type": "Prepend", "prepend": "`+strings.Repeat("x", 4000)+`"}`) + ", " + added("<s>", ""), strings.Repeat("a<s>", 10_000), true},
		{norms(`{"type": "NFKD"}`, `{"type": "NFKD"}`), strings.Repeat("ﷺ ", 100_000), false},
		{norms(`{"type": "NFKD"}`), strings.Repeat("ﷺ", 100_000), false},
		{pre(`{"type": "Metaspace", "replacement": "▁"}`, `{"type": "ByteLevel"}`), strings.Repeat(" ", 100_000), false},
		{pre(slices.Repeat([]string{`{"type": "Punctuation"}`, `{"type": "Metaspace", "replacement": "😀"}`, `{"type": "ByteLevel"}`}, 20)...), strings.Repeat("! ", 5_000), true},
	} {
		tok, err := ParseJSON([]byte(`{"model": {"vocab": {"a": 0, "x": 1}}, `+c.rules+`}`), nil)
		if err != nil {
			t.Errorf("%.100s: %v", c.rules, err)
			continue
		}
		begun := time.Now()
		_, err = tok.Encode(c.text)
		if c.grows != errors.Is(err, errGrown) || !c.grows && err != nil || time.Since(begun) > 10*time.Second {
			t.Errorf("%.100s: %.10q: %v after %v", c.rules, c.text, err, time.Since(begun))
		}
	}
	// An added token's normalized form is a text too.
	for _, raw := range []string{
		`{"model": {"vocab": {"a": 0}}, ` + added(strings.Repeat("a", 1000), "n") + ", " + norms(replace("", strings.Repeat("x", 4090))) + `}`,
		`{"model": {"vocab": {"a": 0}}, ` + added(strings.Repeat("a", 2000), "") + `}`,
		`{"model": {"vocab": {"a": 0}}, ` + added("aaa", "n") + ", " + norms(replace("", strings.Repeat("x", 4000))) + `}`,
	} {
		if _, err := ParseJSON([]byte(raw), nil); err == nil || len(err.Error()) > 300 {
			t.Errorf("%.100s: %.400v", raw, err)
		}
	}
}

// TestCounts: files of many parts are refused before there is room for the parts, in a second.
func TestCounts(t *testing.T) {
	model := `"model": {"vocab": {"a": 0}}`
	many := func(n int, part string) string { return strings.Repeat(part+",", n-1) + part }
	token := `{"id":0,"content":"","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":false}`
	flags := `{"content":"x"}`
	for name, f := range map[string]Files{
		"empty added tokens":     {JSON: []byte(`{` + model + `, "added_tokens": [` + many(500_000, token) + `]}`)},
		"a vocabulary":           {JSON: []byte(`{"model": {"vocab": {` + many(maxVocab+1, `"":0`) + `}}}`)},
		"merges":                 {JSON: []byte(`{"model": {"vocab": {"a": 0}, "merges": [` + many(maxMerges+1, `"a b"`) + `]}}`)},
		"pairs":                  {JSON: []byte(`{"model": {"vocab": {"a": 0}, "merges": [` + many(maxMerges+1, `["a","b"]`) + `]}}`)},
		"steps":                  {JSON: []byte(`{` + model + `, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [` + many(500_000, `{"type":"Digits"}`) + `]}}`)},
		"nested steps":           {JSON: []byte(`{` + model + `, "pre_tokenizer": ` + strings.Repeat(`{"type": "Sequence", "pretokenizers": [`, 4000) + strings.Repeat("]}", 4000) + `}`)},
		"keys":                   {JSON: []byte(`{` + model + `}`), Config: []byte(`{` + manyKeys(200_000, `[]`) + `}`)},
		"decoder tokens":         {JSON: []byte(`{` + model + `}`), Config: []byte(`{"added_tokens_decoder": {` + manyKeys(200_000, flags) + `}}`)},
		"extra tokens":           {JSON: []byte(`{` + model + `}`), Config: []byte(`{"extra_special_tokens": [` + many(200_000, `"x"`) + `]}`)},
		"a template":             {JSON: []byte(`{` + model + `, "post_processor": {"type": "TemplateProcessing", "single": [` + many(10_000, `{"SpecialToken": {"id": "a"}}`) + `], "special_tokens": {"a": {"ids": [` + many(10_000, "0") + `]}}}}`)},
		"lines of merges":        {Vocab: []byte(`{"a": 0}`), Merges: []byte(strings.Repeat("\n", maxMerges+2)), Config: []byte(`{"tokenizer_class": "GPT2Tokenizer"}`)},
		"pieces of nothing":      {Model: []byte(strings.Repeat("\x0a\x00", 20_000_000))},
		"pieces of one letter":   {Model: []byte(strings.Repeat("\x0a\x03\x0a\x01a", maxVocab+1))},
		"pieces without content": {Model: []byte(strings.Repeat("\x0a\x05\x15\x00\x00\x00\x00", 5_000_000))},
	} {
		begun := time.Now()
		_, err := Parse(f)
		if err == nil || len(err.Error()) > 300 || time.Since(begun) > 20*time.Second {
			t.Errorf("%s: %.400v after %v", name, err, time.Since(begun))
		}
	}
}

func manyKeys(n int, value string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%d":%s`, i, value)
	}
	return b.String()[1:]
}

// TestNullIDs: null is no id, where json would take it for 0, and no flag.
func TestNullIDs(t *testing.T) {
	for _, raw := range []string{
		`{"model": {"vocab": {"a": null}}}`,
		`{"model": {"vocab": {"a": 0.5}}}`,
		`{"model": {"vocab": {"a": "0"}}}`,
		`{"model": {"vocab": {"a": 0}, "merges": [[null, "a"]]}}`,
		`{"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": null, "content": "b", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false}]}`,
		`{"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 1, "content": null, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false}]}`,
		`{"model": {"vocab": {"a": 0}}, "post_processor": {"type": "BertProcessing", "cls": ["a", null], "sep": ["a", 0]}}`,
		`{"model": {"vocab": {"a": 0}}, "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "a"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"a": {"ids": [null]}}}}`,
	} {
		_, err := ParseJSON([]byte(raw), nil)
		if err == nil || strings.Contains(err.Error(), "Go ") || strings.Contains(err.Error(), "tokenID") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// TestLongWrite: a long text is encoded in windows, and a context that ends ends it, in whatever step it is.
func TestLongWrite(t *testing.T) {
	unit := "The layers that keep their own are the ones that matter, 1234 of them.\n"
	for _, name := range []string{"testdata/llama3.json", "testdata/llama2.json", "testdata/sp_user.model"} {
		tok := every(t)[name]
		ctx, cancel := context.WithCancel(t.Context())
		w := tok.Writer(ctx, false, func([]int) error { return nil })
		time.AfterFunc(100*time.Millisecond, cancel)
		begun := time.Now()
		var err error
		for i := 0; i < 1<<20 && err == nil; i++ {
			err = w.WriteString(unit)
		}
		if err = cmp.Or(err, w.Close()); err == nil || time.Since(begun) > 3*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(begun))
		}
	}
	tok := tiny12(t)
	w := tok.Writer(t.Context(), false, func([]int) error { return nil })
	var err error
	for i := 0; i < 10 && err == nil; i++ {
		err = w.WriteString(strings.Repeat(" ", 1<<20))
	}
	if err == nil || !strings.Contains(err.Error(), "more than 6 MiB of text that its tokenizer encodes in one piece") {
		t.Error(err)
	}
}
