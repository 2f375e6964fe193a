//go:build unix

package hostile

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
)

// seed is that of every choice: the same seed makes the same inputs.
const seed = 16

// verdict is what a run that ends well must have given.
type verdict int

const (
	// same: if it does not refuse the input, it gives what the clean input gives.
	same verdict = iota
	// never: it refuses the input.
	never
	// sane: the input means something else than the clean one; numbers are finite, and a model that is written can be read.
	sane
)

// hostile is one case.
type hostile struct {
	kind, name string
	make       func() input // what lies in the folder, the same each time
	clean      func() input // what it was made of, for verdict same
	runs       [][]string   // command lines, run in that folder, one after the other up to the first that is refused
	env        []string
	ok         verdict
	want       string // a part of the error
	interrupt  bool   // it is interrupted at some moment
	stdin      string
}

// entry is a file of an input. One without a mode is a regular file.
type entry struct {
	data []byte
	size int64       // beyond data: the file is sparse
	mode fs.FileMode // ModeDir, ModeNamedPipe, ModeSymlink
	to   string      // of a link
}

// input is what lies in a folder, by path with slashes.
type input map[string]entry

func (in input) with(name string, e entry) input {
	out := maps.Clone(in)
	out[name] = e
	return out
}

func (in input) file(name string, data []byte) input { return in.with(name, entry{data: data}) }

func (in input) without(name string) input {
	out := maps.Clone(in)
	delete(out, name)
	return out
}

// write makes the files of an input. Names that end in a slash are folders.
func (in input) write(dir string) error {
	for _, name := range slices.Sorted(maps.Keys(in)) {
		e, path := in[name], filepath.Join(dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err != nil {
			return err
		}
		switch e.mode {
		case fs.ModeDir:
			err = os.MkdirAll(path, 0o755)
		case fs.ModeNamedPipe:
			err = syscall.Mkfifo(path, 0o644)
		case fs.ModeSymlink:
			err = os.Symlink(e.to, path)
		default:
			if err = os.WriteFile(path, e.data, 0o644); err == nil && e.size > 0 {
				err = os.Truncate(path, e.size)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sum is a hash of all that makes a case what it is.
func (c hostile) sum() [32]byte {
	h := sha256.New()
	c.make().hash(h)
	fmt.Fprintf(h, "%q %q %q %v", c.runs, c.env, c.stdin, c.interrupt)
	return [32]byte(h.Sum(nil))
}

func (in input) hash(h hash.Hash) {
	for _, name := range slices.Sorted(maps.Keys(in)) {
		e := in[name]
		fmt.Fprintf(h, "%q %d %v %q %x\n", name, e.size, e.mode, e.to, sha256.Sum256(e.data))
	}
}

// special are what may stand where a file is expected.
func special() map[string]entry {
	return map[string]entry{
		"pipe":               {mode: fs.ModeNamedPipe},
		"folder":             {mode: fs.ModeDir},
		"circle of links":    {mode: fs.ModeSymlink, to: "loop"},
		"link to /dev/zero":  {mode: fs.ModeSymlink, to: "/dev/zero"},
		"link to /dev/stdin": {mode: fs.ModeSymlink, to: "/dev/stdin"},
		"link to nothing":    {mode: fs.ModeSymlink, to: "nothing"},
		"link to itself":     {mode: fs.ModeSymlink, to: "."},
		"empty":              {},
		"sparse":             {size: 20 << 30},
		"blanks":             {data: bytes.Repeat([]byte(" "), 1<<20)},
		"noise":              {data: noise(4096)},
		"pointer":            {data: []byte("version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("ab", 32) + "\nsize 12345\n")},
	}
}

func noise(n int) []byte {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte(rng.UintN(256))
	}
	return raw
}

// random is a generator for a kind, so that cases of one kind do not depend on those of another.
func random(kind string) *rand.Rand {
	var s [32]byte = sha256.Sum256(fmt.Append(nil, seed, kind))
	return rand.New(rand.NewChaCha8(s))
}

// names are texts that do harm where a name is printed, or copied into a message.
var names = map[string]string{
	"escape": "\x1b[31m\x1b]0;owned\x07", "bidi": "a\u202egnp.exe", "isolate": "\u2066x\u2069", "line": "a\nb", "return": "a\rb", "null": "a\x00b", "c1": "a\u009b31mb",
	"separator": "a\u2028b", "long": strings.Repeat("n", 1<<20), "invalid": "a\xff\xfeb", "empty": "", "up": "../../../etc/passwd", "absolute": "/etc/passwd",
	"verbs": "%s%s%n%!d(MISSING)", "dots": "..", "go": "prune.Output.Force",
}

// values are texts of JSON that do harm where another value is expected.
var values = map[string]string{
	"null": "null", "zero": "0", "minus one": "-1", "one": "1", "huge": "9007199254740993", "int64": "9223372036854775807", "past int64": "9223372036854775808",
	"int32": "2147483648", "1e308": "1e308", "1e999": "1e999", "tiny": "1e-320", "half": "0.5", "minus zero": "-0.0", "NaN": "NaN", "Infinity": "-Infinity",
	"true": "true", "text": `"x"`, "empty text": `""`, "escape": `"\u001b[31m\u009b"`, "bidi": `"\u202ea"`, "surrogate": `"\ud800"`, "null byte": `"\u0000"`,
	"empty list": "[]", "null list": "[null]", "empty object": "{}", "nested object": `{"a":{"a":{"a":null}}}`, "long text": `"` + strings.Repeat("x", 1<<20) + `"`,
	"deep list": strings.Repeat("[", 9900) + strings.Repeat("]", 9900), "deeper list": strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000),
	"deep object": strings.Repeat(`{"a":`, 9900) + "1" + strings.Repeat("}", 9900), "long list": "[" + strings.Repeat("0,", 1<<20) + "0]",
	"half a list": "[1,", "words": "x y", "control": "\"a\x01b\"", "invalid": "\"\xff\xfe\"",
}

// valueNames are the names of values in order.
var valueNames = slices.Sorted(maps.Keys(values))

// clip shortens a name of a case.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '/' {
			return '.'
		}
		return r
	}, s)
	return s[:min(len(s), 60)]
}

// place is a value in a text of JSON.
type place struct {
	path       string
	begin, end int
}

// places lists all values of a text of JSON, and the pairs of its objects.
func places(raw []byte) (values, pairs []place) {
	d := json.NewDecoder(bytes.NewReader(raw))
	var walk func(path string)
	start := func() int { // of the next value
		at := int(d.InputOffset())
		for bytes.IndexByte([]byte(" \t\r\n,:"), raw[at]) >= 0 {
			at++
		}
		return at
	}
	walk = func(path string) {
		begin := start()
		t, err := d.Token()
		if err != nil {
			panic(err) // of a valid text, there is none
		}
		switch t {
		case json.Delim('['):
			for i := 0; d.More(); i++ {
				walk(fmt.Sprintf("%s[%d]", path, i))
			}
			_, err = d.Token()
		case json.Delim('{'):
			for d.More() {
				at := start()
				key, err := d.Token()
				if err != nil {
					panic(err)
				}
				p := fmt.Sprintf("%s.%v", path, key)
				walk(p)
				pairs = append(pairs, place{p, at, int(d.InputOffset())})
			}
			_, err = d.Token()
		}
		if err != nil {
			panic(err)
		}
		values = append(values, place{path, begin, int(d.InputOffset())})
	}
	walk("")
	return values, pairs
}

func splice(raw []byte, p place, with string) []byte {
	return slices.Concat(raw[:p.begin], []byte(with), raw[p.end:])
}

// change is a text made hostile in one place.
type change struct {
	name string
	make func() []byte
}

// changes gives n texts with one value replaced, left out, or twice there, chosen by a seed; those of the same place and value once.
func changes(rng *rand.Rand, raw []byte, n int) (list []change) {
	all, pairs := places(raw)
	seen := map[string]bool{}
	for tries := 0; len(list) < n && tries < 20*n; tries++ {
		var c change
		switch k := rng.IntN(20); {
		case k == 0 && len(pairs) > 0:
			p := pairs[rng.IntN(len(pairs))]
			c = change{p.path + " twice", func() []byte {
				return splice(raw, p, string(raw[p.begin:p.end])+","+string(raw[p.begin:p.end]))
			}}
		case k == 1 && len(pairs) > 0:
			p := pairs[rng.IntN(len(pairs))]
			c = change{p.path + " left out", func() []byte { return splice(raw, p, `"_":0`) }}
		case k == 2 && len(pairs) > 0:
			p, name := pairs[rng.IntN(len(pairs))], slices.Sorted(maps.Keys(names))[rng.IntN(len(names))]
			c = change{p.path + " beside a key of " + name, func() []byte {
				key, err := json.Marshal(names[name])
				if err != nil {
					panic(err) // of a text, there is none
				}
				return splice(raw, p, string(raw[p.begin:p.end])+","+string(key)+":0")
			}}
		case k == 3:
			at := rng.IntN(len(raw))
			c = change{fmt.Sprintf("cut at %d", at), func() []byte { return raw[:at] }}
		case k == 4:
			at, bit := rng.IntN(len(raw)), rng.IntN(8)
			c = change{fmt.Sprintf("bit %d of byte %d", bit, at), func() []byte { return flip(raw, at, bit) }}
		default:
			p, v := all[rng.IntN(len(all))], valueNames[rng.IntN(len(valueNames))]
			c = change{p.path + " is " + v, func() []byte { return splice(raw, p, values[v]) }}
		}
		if !seen[c.name] {
			seen[c.name] = true
			list = append(list, c)
		}
	}
	return list
}

func flip(raw []byte, at, bit int) []byte {
	out := bytes.Clone(raw)
	out[at] ^= 1 << bit
	return out
}

// folder reads a folder into an input, below a name.
func folder(dir, as string) (input, error) {
	in := input{}
	return in, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		in[as+"/"+filepath.ToSlash(name)] = entry{data: raw}
		return err
	})
}

// made keeps what is made once, by name.
var made sync.Map

func once[T any](name string, make func() (T, error)) T {
	f, _ := made.LoadOrStore(name, sync.OnceValue(func() T {
		v, err := make()
		if err != nil {
			panic(fmt.Errorf("%s: %w", name, err))
		}
		return v
	}))
	return f.(func() T)()
}

// tiny is the model that most inputs are made of: a Llama with a tokenizer of bytes.
var tiny = modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 260, Context: 64, DType: dtype.BF16}

// model is a model in a folder "model", beside token ids and a text.
func model(name string, spec modeltest.Spec) input {
	return once("model "+name, func() (input, error) {
		dir, err := os.MkdirTemp("", "hostile-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		if err := spec.WriteTo(dir); err != nil {
			return nil, err
		}
		in, err := folder(dir, "model")
		if err != nil {
			return nil, err
		}
		rng, ids := random("ids"), []int{}
		for range 128 {
			ids = append(ids, 2+rng.IntN(spec.Vocab-2))
		}
		raw, err := json.Marshal(ids)
		in["ids.json"] = entry{data: raw}
		in["text.txt"] = entry{data: bytes.Repeat([]byte("The layers that they keep are the layers that matter. "), 20)}
		return in, err
	})
}

// clean is the tiny model with all small files that a folder may hold.
func clean() input {
	in := maps.Clone(model("tiny", tiny))
	for name, text := range map[string]string{
		"generation_config.json":  `{"bos_token_id":0,"eos_token_id":[1],"max_length":64,"temperature":0.7,"top_p":0.9,"do_sample":true,"repetition_penalty":1.1,"no_repeat_ngram_size":3,"min_length":1,"suppress_tokens":[5],"begin_suppress_tokens":[6]}`,
		"tokenizer_config.json":   `{"tokenizer_class":"PreTrainedTokenizerFast","bos_token":"<s>","eos_token":{"__type":"AddedToken","content":"</s>","lstrip":false,"normalized":false,"rstrip":false,"single_word":false,"special":true},"model_max_length":64,"added_tokens_decoder":{"0":{"content":"<s>","special":true},"1":{"content":"</s>","special":true}}}`,
		"special_tokens_map.json": `{"bos_token":"<s>","eos_token":{"content":"</s>","lstrip":false,"normalized":false,"rstrip":false,"single_word":false}}`,
		"chat_template.jinja":     `{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}{% if add_generation_prompt %}<s>assistant: {% endif %}`,
		"README.md":               "# A model\n",
	} {
		in["model/"+name] = entry{data: []byte(text)}
	}
	return in
}

// Command lines.
func inspect() []string { return []string{"inspect", "model", "--json", "-q"} }
func ppl() []string {
	return []string{"eval", "ppl", "model", "--tokens", "ids.json", "--window", "16", "--samples", "2", "--json", "-q"}
}
func pplText(more ...string) []string {
	return append([]string{"eval", "ppl", "model", "--text", "text.txt", "--window", "16", "--samples", "2", "--json", "-q"}, more...)
}
func prune(more ...string) []string {
	return append([]string{"prune", "model", "out", "-m", "shortgpt", "--tokens", "ids.json", "--window", "16", "--samples", "2", "--target-layers", "2", "--json", "-q"}, more...)
}
func tokenize() []string {
	return []string{"tokenize", "model", "--file", "text.txt", "--special", "-q"}
}
func generate() []string {
	return []string{"generate", "model", "-p", "The", "-n", "2", "--json", "-q"}
}
