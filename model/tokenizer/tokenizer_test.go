package tokenizer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Every text comes back from a byte-level vocabulary, whatever is in it.
func TestRoundTrip(t *testing.T) {
	tok := tiny12(t)
	for _, text := range []string{"", " ", "\x00\r\n", "<|endoftext|>", "a\u0300\u0085\u2028\ufeff", "😀👩‍👩‍👧‍👦 \U0010ffff", strings.Repeat("Ġ ▁", 99)} {
		if got := tok.Decode(must(tok.Encode(text))); got != text {
			t.Errorf("%q came back as %q", text, got)
		}
	}
	if got := tok.Decode(must(tok.Encode("a\xff\xe2\x82b"))); got != "a\ufffd\ufffd\ufffdb" {
		t.Errorf("bad UTF-8 came back as %q", got)
	}
	if got := tok.Decode([]int{-1, 1 << 40, 98}); got != "a" {
		t.Errorf("ids beyond the vocabulary: %q", got)
	}
}

func TestTiny12(t *testing.T) {
	tok := tiny12(t)
	bos, okBOS := tok.BOS()
	eos, okEOS := tok.EOS()
	if bos != 0 || eos != 0 || !okBOS || !okEOS || !tok.AddBOS() || tok.VocabSize() != 2048 {
		t.Errorf("BOS %d %v, EOS %d %v, add %v, size %d", bos, okBOS, eos, okEOS, tok.AddBOS(), tok.VocabSize())
	}
	ids := must(tok.EncodeSpecial("a<|endoftext|>a"))
	if !slices.Equal(ids, []int{98, 0, 98}) || tok.Decode(ids) != "a<|endoftext|>a" || tok.DecodeSkipSpecial(ids) != "aa" {
		t.Errorf("special token: %v, %q, %q", ids, tok.Decode(ids), tok.DecodeSkipSpecial(ids))
	}
	if token, ok := tok.Token(504); token != "The" || !ok {
		t.Errorf("token 504 is %q", token)
	}
	if id, ok := tok.ID("<|endoftext|>"); id != 0 || !ok {
		t.Errorf("<|endoftext|> is %d", id)
	}
	if _, ok := tok.Token(2048); ok {
		t.Error("token 2048 exists")
	}
}

// madePiece is an entry of a SentencePiece model made by hand.
type madePiece struct {
	text  string
	score float32
	kind  pieceKind
}

// proto writes a BPE model; trainer and normalizer are extra fields as number, value, ….
func proto(pieces []madePiece, trainer, normalizer []uint64) []byte {
	varints := func(raw []byte, fields []uint64) []byte {
		for i := 0; i < len(fields); i += 2 {
			raw = protowire.AppendVarint(protowire.AppendTag(raw, protowire.Number(fields[i]), protowire.VarintType), fields[i+1])
		}
		return raw
	}
	field := func(raw []byte, number protowire.Number, message []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(raw, number, protowire.BytesType), message)
	}
	var out []byte
	for _, p := range pieces {
		message := field(nil, 1, []byte(p.text))
		message = protowire.AppendFixed32(protowire.AppendTag(message, 2, protowire.Fixed32Type), math.Float32bits(p.score))
		out = field(out, 1, varints(message, []uint64{3, uint64(p.kind)}))
	}
	out = field(out, 2, varints(nil, append([]uint64{3, 2}, trainer...)))
	return field(out, 3, varints(nil, append([]uint64{4, 0}, normalizer...)))
}

func handmade(withBytes bool) []madePiece {
	list := []madePiece{{"<unk>", 0, unknown}, {"<s>", 0, control}, {"</s>", 0, control}}
	for b := 0; withBytes && b < 256; b++ {
		list = append(list, madePiece{fmt.Sprintf("<0x%02X>", b), 0, byteValue})
	}
	for i, text := range []string{"▁a", "ab", "▁ab", "▁", "a", "b"} {
		list = append(list, madePiece{text, -float32(i), normal})
	}
	return list
}

func TestHandmadeSentencePiece(t *testing.T) {
	const base = 3 + 256 // the id of ▁a with bytes
	for _, c := range []struct {
		name string
		raw  []byte
		text string
		want []int
		back string
	}{
		{"dummy prefix", proto(handmade(true), []uint64{35, 1}, nil), "ab b", []int{base + 2, base + 3, base + 5}, "ab b"},
		{"no dummy prefix", proto(handmade(true), []uint64{35, 1}, []uint64{3, 0}), "ab b", []int{base + 1, base + 3, base + 5}, "ab b"},
		{"byte fallback", proto(handmade(true), []uint64{35, 1}, nil), "é", []int{base + 3, 3 + 0xc3, 3 + 0xa9}, "é"},
		{"unknown", proto(handmade(false), nil, nil), "aéüb", []int{3, 0, 8}, "ab"},
		{"empty", proto(handmade(false), nil, nil), "", nil, ""},
		{"special as text", proto(handmade(true), []uint64{35, 1}, nil), "<s>", []int{base + 3, 3 + '<', 3 + 's', 3 + '>'}, "<s>"},
	} {
		tok, err := Parse(Files{Model: c.raw})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := must(tok.Encode(c.text)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v %s, want %v %s", c.name, got, spell(tok, got), c.want, spell(tok, c.want))
		}
		if got := tok.DecodeSkipSpecial(c.want); got != c.back {
			t.Errorf("%s: decoded %q, want %q", c.name, got, c.back)
		}
	}
}

func TestSentencePieceConfig(t *testing.T) {
	config := `{"add_bos_token": true, "eos_token": {"__type": "AddedToken", "content": "<|end|>"}, "added_tokens_decoder": {"1": {"content": "<s>", "special": true}, "9": {"content": "<|end|>", "special": true}}}`
	tok, err := Parse(Files{Model: proto(handmade(false), nil, nil), Config: []byte(config)})
	if err != nil {
		t.Fatal(err)
	}
	bos, _ := tok.BOS()
	eos, _ := tok.EOS()
	if bos != 1 || eos != 9 || !tok.AddBOS() || tok.VocabSize() != 10 || !slices.Equal(tok.Prefix(), []int{1}) || tok.Suffix() != nil {
		t.Errorf("BOS %d, EOS %d, add %v, size %d, around %v %v", bos, eos, tok.AddBOS(), tok.VocabSize(), tok.Prefix(), tok.Suffix())
	}
	ids := must(tok.EncodeSpecial("<s>ab<|end|>"))
	if !slices.Equal(ids, []int{1, 5, 9}) || tok.Decode(ids) != "<s> ab<|end|>" || tok.DecodeSkipSpecial(ids) != "ab" {
		t.Errorf("%v, %q, %q", ids, tok.Decode(ids), tok.DecodeSkipSpecial(ids))
	}
}

// A post-processor decides what goes around a text, and names no BOS by it.
func TestTemplate(t *testing.T) {
	raw := read(t, "testdata/llama3.json")
	for _, c := range []struct {
		config string
		add    bool
	}{{"{}", false}, {`{"bos_token": "<|im_start|>"}`, true}, {`{"add_bos_token": false, "bos_token": "<|im_start|>"}`, true}, {`{"add_bos_token": true, "bos_token": "a"}`, true}} {
		tok, err := ParseJSON(raw, []byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := tok.BOS(); !slices.Equal(tok.Prefix(), []int{422}) || tok.AddBOS() != c.add || ok != c.add {
			t.Errorf("config %s: prefix %v, BOS %v, add %v", c.config, tok.Prefix(), ok, tok.AddBOS())
		}
		if _, ok := tok.EOS(); ok {
			t.Error("an EOS out of nowhere")
		}
	}
}

func TestErrors(t *testing.T) {
	model := func(rest string) string {
		return `{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}` + rest + `}`
	}
	if _, err := ParseJSON([]byte(model("")), nil); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ raw, config, want string }{
		{`{`, "", "byte 1: unexpected end"},
		{`{"model": {"type": "Unigram", "vocab": [["a", 0.5]]}}`, "", `model type "Unigram" is not supported, only BPE`},
		{`{"model": {"type": "WordPiece", "vocab": {"a": 0}}}`, "", `model type "WordPiece" is not supported, only BPE`},
		{`{"model": {"type": "BPE"}}`, "", "model: no vocabulary"},
		{`{"model": {"vocab": {"a": -1}}}`, "", `model: token "a": id -1, expected 0 to 16777215`},
		{`{"model": {"vocab": {"a": 99999999}}}`, "", `model: token "a": id 99999999, expected 0 to 16777215`},
		{`{"model": {"vocab": {"a": 0}, "merges": ["a b"]}}`, "", `model: merge 0: "a" + "b": part or whole is not in the vocabulary`},
		{`{"model": {"vocab": {"a": 0}, "merges": ["a b c"]}}`, "", `merge 0: "a b c" is not a pair`},
		{`{"model": {"vocab": {"a": 0}, "merges": [["a"]]}}`, "", `merge 0: "a" is not a pair`},
		{`{"model": {"vocab": {"a": 0}, "unk_token": "?"}}`, "", `model: unk_token "?" is not in the vocabulary`},
		{`{"model": {"vocab": {"a": 0}, "end_of_word_suffix": "</w>"}}`, "", `model: end_of_word_suffix "</w>" is not supported`},
		{`{"model": {"vocab": {"a": 0}, "dropout": 0.1}}`, "", "model: dropout 0.1 is not supported"},
		{model(`, "normalizer": {"type": "BertNormalizer"}`), "", `normalizer: type "BertNormalizer" is not supported`},
		{model(`, "normalizer": {"type": "Replace", "content": "x"}`), "", "normalizer: no pattern in a Replace"},
		{model(`, "normalizer": {"type": "Sequence", "normalizers": [` + strings.Repeat(`{"type": "NFKC"},`, 3) + `{"type": "NFC"}]}`), "", "normalizer: a text could grow without measure"},
		{model(`, "pre_tokenizer": {"type": "BertPreTokenizer"}`), "", `pre_tokenizer: type "BertPreTokenizer" is not supported`},
		{model(`, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}`), "", `pre_tokenizer: pattern "(": missing closing )`},
		{model(`, "pre_tokenizer": {"type": "Split", "pattern": {"String": "x"}, "behavior": "Mixed"}`), "", `pre_tokenizer: split behavior "Mixed" is not supported`},
		{model(`, "pre_tokenizer": ` + strings.Repeat(`{"type": "Sequence", "pretokenizers": [`, 10) + strings.Repeat("]}", 10)), "", "pre_tokenizer: too many parts"},
		{model(`, "decoder": {"type": "CTC"}`), "", `decoder: type "CTC" is not supported`},
		{model(`, "added_tokens": [{"id": -5, "content": "<x>"}]`), "", `added_tokens: token "<x>": id -5, expected 0 to 16777215`},
		{model(`, "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"x": {"ids": [7]}}}`), "",
			"post_processor: id 7 is not in the vocabulary"},
		{model(`, "post_processor": {"type": "TemplateProcessing", "single": []}`), "", "post_processor: the template of a single text has no text in it"},
		{model(`, "decoder": {"type": "Fuse", "how": 1}`), "", `decoder: Fuse: key "how" is not known`},
		{model(`, "more": 1`), "", `tokenizer.json: key "more" is not known`},
		{`{"model": {"type": "BPE", "vocab": {"a": 0}, "more": 1}}`, "", `model: key "more" is not known`},
	} {
		var config []byte
		if c.config != "" {
			config = []byte(c.config)
		}
		_, err := ParseJSON([]byte(c.raw), config)
		if want := "tokenizer: tokenizer.json: " + c.want; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", c.raw, err, want)
		}
	}

	for _, c := range []struct{ config, want string }{
		{`{"bos_token": 3}`, "bos_token is neither text nor an added token: 3"},
		{`{"bos_token": {"content": "a"}}`, `bos_token is neither text nor an added token: {"content": "a"}`},
		{`{"fix_mistral_regex": true}`, "tokenizer_config: fix_mistral_regex is not supported"},
		{`{"add_strange_prefix": true}`, `tokenizer_config: key "add_strange_prefix" is not known`},
		{`{"tokenizer_class": "BertTokenizer"}`, `tokenizer_class "BertTokenizer" is not supported; if tokenizer.json holds all, name PreTrainedTokenizerFast`},
		{`{"auto_map": {"AutoTokenizer": ["a.B", null]}}`, "auto_map asks for a program of the model's own, which is not run; where tokenizer.json holds all, delete auto_map"},
		{`{"added_tokens_decoder": {"x": {"content": "a"}}}`, `added_tokens_decoder: key "x" is not an id`},
		{`{"added_tokens_decoder": {"0": {"content": "a", "more": 1}}}`, `added_tokens_decoder: 0: added token: key "more" is not known`},
		{`{"extra_special_tokens": 3}`, "extra_special_tokens: neither a list of tokens nor tokens by name"},
	} {
		_, err := ParseJSON([]byte(model("")), []byte(c.config))
		if want := "tokenizer: tokenizer_config.json: " + c.want; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if _, err := ParseJSON([]byte(model("")), []byte(`{"odd": {"unknown": [1]}, "max_length": 3}`)); err != nil {
		t.Error(err)
	}

	unigram := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), []byte{3 << 3, 1})
	for _, c := range []struct {
		raw  []byte
		want string
	}{
		{[]byte{0xff}, "protobuf: unexpected EOF"},
		{[]byte{}, "model type is not supported, only bpe"},
		{unigram, "model type is not supported, only bpe"},
		{proto(nil, nil, nil), "no pieces"},
		{proto(handmade(false)[1:], nil, nil), `model: unk_token "<unk>" is not in the vocabulary`},
		{proto(handmade(false), []uint64{24, 1}, nil), "treat_whitespace_as_suffix is not supported"},
		{proto([]madePiece{{"\xff", 0, normal}}, nil, nil), `piece 0: "\xff" is not UTF-8`},
		{proto([]madePiece{{"a", float32(math.NaN()), normal}}, nil, nil), `piece "a": score NaN`},
		{proto([]madePiece{{"", 0, normal}}, nil, nil), "piece 0 is empty"},
		{proto([]madePiece{{strings.Repeat("a", 513), 0, normal}}, nil, nil), "piece 0 has 513 bytes, the limit is 512"},
		{proto([]madePiece{{"a", 0, 9}}, nil, nil), `piece "a": type 9 is not supported`},
	} {
		_, err := Parse(Files{Model: c.raw})
		if want := "tokenizer: tokenizer.model: " + c.want; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, modelFile), proto(handmade(false), nil, nil), 0o644); err != nil {
		t.Fatal(err)
	}
	if tok, err := Load(dir); err != nil || tok.VocabSize() != 9 {
		t.Errorf("tokenizer.model: %v", err)
	}
	path := filepath.Join(dir, jsonFile)
	if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || err.Error() != "tokenizer: "+path+": model: no vocabulary" {
		t.Errorf("tokenizer.json goes first: %v", err)
	}
}

// A megabyte in one piece takes about a second; anything quadratic would take hours.
func TestLongPieces(t *testing.T) {
	const n = 1 << 20
	llama3, err := ParseJSON(read(t, "testdata/llama3.json"), nil)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := Parse(Files{Model: read(t, "testdata/sp_user.model")})
	if err != nil {
		t.Fatal(err)
	}
	for _, tok := range []Tokenizer{llama3, bytes} {
		for _, unit := range []string{"a", "the", " ", "!", "\n", "é"} {
			text := strings.Repeat(unit, n/len(unit))
			if got := tok.Decode(must(tok.Encode(text))); got != text {
				t.Errorf("%d times %q came back different", n/len(unit), unit)
			}
		}
	}
}

// A pattern that would run for ages ends the encoding at its time limit with an error that names it, however many words there are.
func TestHostilePattern(t *testing.T) {
	for pattern, n := range map[string]int{`(?:(?:a|aa)+)+b`: 100, `(a|aa)+$`: 100, `(a+)+$`: 300_000, `a*b`: 300_000, `(a|aa)*c` + strings.Repeat("|x", 99): 100} {
		r, err := newRegex(pattern)
		if err != nil {
			t.Fatal(err)
		}
		r.re.MatchTimeout = 1e8 // 0.1 s
		e := &encoder{}
		e.limit(100)
		text := strings.Repeat("a", n) + "!"
		if got := r.split(e, text); got != nil || e.err == nil || !strings.Contains(e.err.Error(), pattern[:min(len(pattern), 40)]) || len(e.err.Error()) > 200 {
			t.Errorf("%s: %v, %v", pattern, got, e.err)
		}
	}
	// The whole way, and with a context that ends before the pattern's time does.
	text := strings.Repeat("a", 200_000) + "!"
	for i, part := range []string{
		`"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}`,
		`"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"}`,
	} {
		tok, err := ParseJSON([]byte(`{"model": {"vocab": {"a": 0, "!": 1}}, `+part+`}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		w := tok.Writer(ctx, false, func([]int) error { return errors.New("there are tokens") })
		begun := time.Now()
		time.AfterFunc(200*time.Millisecond, cancel)
		err = cmp.Or(w.WriteString(text), w.Close())
		if !errors.Is(err, context.Canceled) || time.Since(begun) > 2*time.Second {
			t.Errorf("%s: cancelled: %v after %v", part, err, time.Since(begun))
		}
		if i > 0 {
			continue
		}
		if ids, err := tok.Encode(text); err == nil || !strings.Contains(err.Error(), `pattern "(a+)+$"`) {
			t.Errorf("%s: %d ids, %v", part, len(ids), err)
		}
	}
}

func TestStream(t *testing.T) {
	toks := map[string]Tokenizer{"tiny12": tiny12(t)}
	for _, file := range []string{"llama2.json", "metaspace_split.json"} {
		tok, err := ParseJSON(read(t, "testdata/"+file), nil)
		if err != nil {
			t.Fatal(err)
		}
		toks[file] = tok
	}
	for _, file := range []string{"sp_bytes.model", "sp_user.model"} {
		tok, err := Parse(Files{Model: read(t, "testdata/"+file)})
		if err != nil {
			t.Fatal(err)
		}
		toks[file] = tok
	}
	for name, tok := range toks {
		prompt := must(tok.Encode("The layers"))
		for _, text := range []string{" that keep", "é 😀👍🏽 字\n", "  two  spaces"} {
			if name == "metaspace_split.json" {
				text = " that keep" // without bytes the rest is unknown
			}
			all := must(tok.Encode("The layers" + text))
			if !slices.Equal(all[:len(prompt)], prompt) {
				continue
			}
			s := NewStream(tok, false, prompt)
			var got strings.Builder
			for _, id := range all[len(prompt):] {
				part := s.Next(id)
				if strings.Contains(part, "\ufffd") {
					t.Errorf("%s: %q came in halves", name, part)
				}
				got.WriteString(part)
			}
			got.WriteString(s.Flush())
			if got.String() != text {
				t.Errorf("%s: got %q, want %q", name, got.String(), text)
			}
		}
	}
	s := NewStream(tiny12(t), true, nil)
	if got := s.Next(0) + s.Next(241) + s.Flush() + s.Flush() + s.Next(98); got != "\ufffda" {
		t.Errorf("a character that breaks off: %q", got)
	}
}

func BenchmarkEncode(b *testing.B) {
	text := strings.Repeat("The layers that they keep are the layers that matter, 1234 of them.\n", 1000)
	tok := tiny12(b)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		must(tok.Encode(text))
	}
}

func FuzzTokenizerJSON(f *testing.F) {
	// Small seeds: with the vocabularies of testdata the fuzzer spends its time on making them smaller.
	const rest = `"added_tokens":[{"id":9,"content":"<x>","special":true,"lstrip":true},{"id":8,"content":"é","normalized":true,"single_word":true,"rstrip":true}],`
	for _, parts := range []string{
		`"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"Ġ":3,"Ġab":4},"merges":[["a","b"],["Ġ","ab"]],"ignore_merges":true},` +
			`"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s|'t)|\\p{L}+|\\s+(?!\\S)|\\s+"},` +
			`"behavior":"Isolated"},{"type":"ByteLevel","use_regex":false}]},"decoder":{"type":"ByteLevel"},` +
			`"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<x>"}}],"special_tokens":{"<x>":{"ids":[9]}}}`,
		`"model":{"vocab":{"a":0,"b":1,"ab":2,"▁":3,"▁ab":4,"<0xC3>":5,"<0xA9>":6,"<unk>":7},"merges":["a b","▁ ab"],"byte_fallback":true,"fuse_unk":true,"unk_token":"<unk>"},` +
			`"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},` +
			`"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1}]}`,
		`"model":{"vocab":{"a":0,"▁":3,"1":4}},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"Split","pattern":{"String":"b"},` +
			`"behavior":"MergedWithNext","invert":true},{"type":"Metaspace","replacement":"▁","prepend_scheme":"first"}]},"decoder":{"type":"Metaspace","replacement":"▁"}`,
	} {
		f.Add([]byte("{"+rest+parts+"}"), "ab é's 12\n <x> b")
	}
	f.Add([]byte(`{"model":{"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a|b*)+"},"behavior":"Contiguous"},`+
		`"normalizer":{"type":"Replace","pattern":{"Regex":"x*"},"content":"a"},"decoder":{"type":"Strip","content":"a","start":1}}`), "aabb")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		tok, err := ParseJSON(raw, nil)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		for _, ids := range [][]int{must(tok.Encode(text)), must(tok.EncodeSpecial(text))} {
			for _, id := range ids {
				if _, ok := tok.Token(id); !ok || id >= tok.VocabSize() {
					t.Errorf("id %d is not in the vocabulary", id)
				}
			}
			tok.Decode(ids)
			tok.DecodeSkipSpecial(ids)
		}
	})
}

// The files beside a vocabulary, which nobody checks but this package.
func FuzzFolder(f *testing.F) {
	f.Add([]byte(`{"added_tokens_decoder":{"9":{"content":"<x>","special":true,"lstrip":true}},"pad_token":{"__type":"AddedToken","content":"é"},"image_token":"<y>"}`), []byte(nil), []byte(nil), "ab <x>é<y>")
	f.Add([]byte(`{"extra_special_tokens":["b"],"add_bos_token":true,"bos_token":"a"}`), []byte(`{"eos_token":{"content":"<x>","normalized":true},"extra_special_tokens":[{"content":"<y>"}]}`), []byte(`{"<z>":7,"<y>":3}`), "ab<z>")
	vocab, lines := []byte(`{"a":0,"b":1,"ab":2,"Ġ":3}`), []byte("#version: 0.2\na b\n")
	f.Fuzz(func(t *testing.T, config, special, added []byte, text string) {
		for _, files := range []Files{
			{JSON: []byte(`{"model":{"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`), Config: config, Special: special, Added: added},
			{Vocab: vocab, Merges: lines, Config: config, Special: special, Added: added, Arch: []byte(`{"model_type":"opt"}`)},
		} {
			tok, err := Parse(files)
			if err != nil {
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("an error of several lines: %q", err)
				}
				continue
			}
			for _, id := range must(tok.EncodeSpecial(text)) {
				if _, ok := tok.Token(id); !ok || id >= tok.VocabSize() {
					t.Errorf("id %d is not in the vocabulary", id)
				}
			}
			tok.DecodeSkipSpecial(must(tok.Encode(text)))
		}
	})
}

func FuzzSentencePiece(f *testing.F) {
	f.Add(proto(handmade(true), []uint64{35, 1}, nil), "ab é")
	f.Add(proto([]madePiece{{"<unk>", 0, unknown}, {"<s>", 0, control}, {"▁a", 3, userDefined}, {"ab", 2, unused}, {"a", 0, normal}, {"b", 0, normal}, {"abb", 1, normal}}, nil, []uint64{4, 1}), "a  abab abb")
	f.Fuzz(func(t *testing.T, raw []byte, text string) {
		tok, err := Parse(Files{Model: raw})
		if err != nil {
			return
		}
		tok.DecodeSkipSpecial(must(tok.EncodeSpecial(text)))
	})
}
