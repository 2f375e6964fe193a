package gguf

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/arch"
)

// file is a file of metadata and tensors, whose data are zeros.
func file(t testing.TB, meta []Pair, tensors ...Info) []byte {
	t.Helper()
	raw, err := header(meta, tensors)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range tensors {
		n, err := i.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, make([]byte, padding(int64(len(raw)))+int64(n))...)
	}
	return raw
}

func TestOpenBytes(t *testing.T) {
	meta := []Pair{
		{"a.text", "x y"}, {"a.u32", uint32(7)}, {"a.i32", int32(-7)}, {"a.f32", float32(0.5)}, {"a.bool", true},
		{"a.texts", []string{"", "é"}}, {"a.ints", []int32{-1, 2}}, {"a.floats", []float32{1, 2}}, {"a.bools", []bool{true, false}},
	}
	f, err := OpenBytes("test", file(t, meta, Info{"m", Q8_0, []int{2, 32}}, Info{"v", F32, []int{3}}))
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Pairs(); len(got) != len(meta) || got[0] != meta[0] || !slices.Equal(got[5].Value.([]string), []string{"", "é"}) || !slices.Equal(got[8].Value.([]bool), []bool{true, false}) {
		t.Errorf("metadata %v", got)
	}
	m, _ := f.Lookup("m")
	v, ok := f.Lookup("v")
	if !slices.Equal(f.Names(), []string{"m", "v"}) || !ok || m.Size() != 68 || v.Size() != 12 || !slices.Equal(m.Shape, []int{2, 32}) || m.Type != Q8_0 {
		t.Errorf("tensors %v: %v, %v", f.Names(), m.Info, v.Info)
	}
}

// TestRefused puts one thing at a time into a good file that cannot be.
func TestRefused(t *testing.T) {
	le := binary.LittleEndian
	one := func(edit func(raw []byte)) []byte {
		raw := file(t, nil, Info{"w", F32, []int{4}})
		edit(raw)
		return raw
	}
	const dims, extent, kindAt, offset = 24 + 8 + 1, 24 + 8 + 1 + 4, 24 + 8 + 1 + 4 + 8, 24 + 8 + 1 + 4 + 8 + 4
	for _, c := range []struct {
		name, want string
		raw        []byte
	}{
		{"empty", `begins with ""`, nil},
		{"another format", `begins with "PK\x03\x04"`, []byte("PK\x03\x04aaaa")},
		{"a pointer", "git-lfs pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")},
		{"GGML", "before GGUF", []byte("tjgg\x03\x00\x00\x00")},
		{"version 1", "version 1 of GGUF, supported are 2 and 3", one(func(raw []byte) { le.PutUint32(raw[4:], 1) })},
		{"version 4", "version 4 of GGUF", one(func(raw []byte) { le.PutUint32(raw[4:], 4) })},
		{"big-endian", "big-endian", one(func(raw []byte) { binary.BigEndian.PutUint32(raw[4:], 3) })},
		{"cut", "the file has 20 bytes", one(func([]byte) {})[:20]},
		{"cut data", "truncated: tensor w", one(func([]byte) {})[:70]},
		{"many tensors", "tensors at byte 8", one(func(raw []byte) { le.PutUint64(raw[8:], 1<<60) })},
		{"many values", "metadata values at byte 16", one(func(raw []byte) { le.PutUint64(raw[16:], 1<<60) })},
		{"long name", "bytes of text", one(func(raw []byte) { le.PutUint64(raw[24:], 1<<40) })},
		{"no dimensions", "0 dimensions", one(func(raw []byte) { le.PutUint32(raw[dims:], 0) })},
		{"five dimensions", "5 dimensions", one(func(raw []byte) { le.PutUint32(raw[dims:], 5) })},
		{"a negative extent", "a dimension of 18446744073709551615", one(func(raw []byte) { le.PutUint64(raw[extent:], 1<<64-1) })},
		{"a large extent", "truncated: tensor w", one(func(raw []byte) { le.PutUint64(raw[extent:], 1<<40) })},
		{"an unknown type", "type 99", one(func(raw []byte) { le.PutUint32(raw[kindAt:], 99) })},
		{"half a block", "a multiple of 32", one(func(raw []byte) { le.PutUint32(raw[kindAt:], uint32(Q8_0)) })},
		{"between two places", "alignment 32", one(func(raw []byte) { le.PutUint64(raw[offset:], 8) })},
		{"beyond the end", "truncated: tensor w", one(func(raw []byte) { le.PutUint64(raw[offset:], 1<<63) })},
		{"a control character", "control characters", one(func(raw []byte) { raw[32] = 7 })},
		{"alignment", "general.alignment 3", file(t, []Pair{{alignmentKey, uint32(3)}})},
		{"alignment 0", "general.alignment 0", file(t, []Pair{{alignmentKey, uint32(0)}})},
		{"a key twice", "a: it is there twice", file(t, []Pair{{"a", "x"}, {"a", "y"}})},
		{"an empty key", "empty", file(t, []Pair{{"", "x"}})},
		{"a tensor twice", "named twice", file(t, nil, Info{"w", F32, []int{1}}, Info{"w", F32, []int{1}})},
		{"an array of arrays", "array of arrays", nested(t)},
		{"a truth of 2", "truth value", truth(t)},
		{"a part", "part of 3", file(t, []Pair{{splitCount, uint32(3)}, {splitNo, uint32(0)}})},
	} {
		if _, err := OpenBytes("test", c.raw); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, expected %q", c.name, err, c.want)
		}
	}
	overlap := file(t, nil, Info{"a", F32, []int{16}}, Info{"b", F32, []int{16}})
	le.PutUint64(overlap[24+8+1+4+8+4+8+8+1+4+8+4:], 32)
	if _, err := OpenBytes("test", overlap); err == nil || !strings.Contains(err.Error(), "tensor b: overlaps tensor a") {
		t.Errorf("overlap: %v", err)
	}
}

// nested is a file whose value is an array of arrays.
func nested(t *testing.T) []byte {
	raw := file(t, []Pair{{"a", []int32{1}}})
	binary.LittleEndian.PutUint32(raw[24+8+1+4:], uint32(kindArray))
	return raw
}

func truth(t *testing.T) []byte {
	raw := file(t, []Pair{{"a", true}})
	raw[24+8+1+4] = 2
	return raw
}

// TestSplit reads parts as one file, by the name of any of them.
func TestSplit(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, raw []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	split := func(no, count uint32, more ...Pair) []Pair {
		return append([]Pair{{splitNo, no}, {splitCount, count}}, more...)
	}
	first := write("m-00001-of-00002.gguf", file(t, split(0, 2, Pair{splitTensors, int32(2)}, Pair{"a", "x"}), Info{"a", F32, []int{1}}))
	if _, err := Open(first); err == nil || !strings.Contains(err.Error(), "missing part m-00002-of-00002.gguf") {
		t.Errorf("a part is missing: %v", err)
	}
	second := write("m-00002-of-00002.gguf", file(t, split(1, 2), Info{"b", F32, []int{1}}))
	for _, path := range []string{first, second} {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		v, _ := f.Value("a")
		if b, _ := f.Lookup("b"); !slices.Equal(f.Names(), []string{"a", "b"}) || v != "x" || b.File != second || f.Path() != first {
			t.Errorf("%s: %v, %v", path, f.Names(), v)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		want string
		raw  []byte
	}{
		{"split.no is 0, by its name it is 1", file(t, split(0, 2), Info{"b", F32, []int{1}})},
		{"split.count is 3", file(t, split(1, 3), Info{"b", F32, []int{1}})},
		{"named twice", file(t, split(1, 2), Info{"a", F32, []int{1}})},
		{"hold 1 tensors", file(t, split(1, 2))},
	} {
		write("m-00002-of-00002.gguf", c.raw)
		if _, err := Open(first); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, expected %q", err, c.want)
		}
	}
	if _, err := Open(write("renamed.gguf", file(t, split(0, 2)))); err == nil || !strings.Contains(err.Error(), "-00001-of-00002.gguf") {
		t.Errorf("a part under another name: %v", err)
	}
	if _, err := Open(write("none.gguf", nil)); err == nil {
		t.Error("an empty file opens")
	}
}

func FuzzFile(f *testing.F) {
	f.Add(file(f, []Pair{{"a", "b"}, {"c", []float32{1}}}, Info{"w", Q4_0, []int{2, 32}}))
	f.Add(file(f, []Pair{
		{"general.architecture", "llama"}, {"llama.block_count", uint32(1)}, {"llama.context_length", uint32(8)}, {"llama.embedding_length", uint32(4)},
		{"llama.feed_forward_length", uint32(4)}, {"llama.attention.head_count", []int32{2}}, {"llama.attention.layer_norm_rms_epsilon", float32(1e-5)},
		{"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", "gpt-2"}, {"tokenizer.ggml.tokens", []string{"a", "b", "ab", "<s>"}},
		{"tokenizer.ggml.token_type", []int32{1, 1, 1, 3}}, {"tokenizer.ggml.merges", []string{"a b"}}, {"tokenizer.ggml.bos_token_id", uint32(3)},
	}, Info{"token_embd.weight", F16, []int{4, 4}}, Info{RopeFreqs, F32, []int{1}}))
	f.Add(file(f, []Pair{{"tokenizer.ggml.model", "llama"}, {"tokenizer.ggml.tokens", []string{"<unk>", "a", "b", "ab"}}, {"tokenizer.ggml.scores", []float32{0, 0, 0, -1}},
		{"tokenizer.ggml.token_type", []int32{2, 1, 1, 1}}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := OpenBytes("fuzz", raw)
		if err != nil {
			return
		}
		for _, name := range file.Names() {
			tensor, _ := file.Lookup(name)
			if n, err := tensor.Bytes(); err != nil || n != tensor.Size() || n > len(raw) {
				t.Errorf("tensor %v: %d bytes, %v", tensor.Info, tensor.Size(), err)
			}
			if err := tensor.Read(make([]byte, tensor.Size()), 0); err != nil {
				t.Errorf("tensor %v: %v", tensor.Info, err)
			}
		}
		_, _ = file.TokenizerJSON()
		_, _ = file.TokenizerConfigJSON()
		_, _ = file.GenerationJSON()
		if config, family, err := file.ConfigJSON(); err == nil {
			if c, err := arch.ParseConfig("fuzz", config); err == nil && c.Layers < 100 {
				_ = file.Check(family, c)
			}
		}
	})
}
