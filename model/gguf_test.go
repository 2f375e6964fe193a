package model_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/gguf"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/safetensors"
)

// golden is what gguf/testdata/model.py says of tiny.gguf: what the Hugging Face folder of it holds, to the byte, and the ids of texts that
// llama.cpp gives.
type golden struct {
	Tensors map[string]struct {
		DType  string
		Shape  []int
		SHA256 string
	}
	Texts       []string
	IDs, Pieces [][]int
}

const tiny = "gguf/testdata/tiny.gguf"

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	raw, err := os.ReadFile("gguf/testdata/model.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGGUF writes the folder of a GGUF file and compares it with what the Python package gguf makes of the file.
func TestGGUF(t *testing.T) {
	want, m, dir := readGolden(t), modeltest.Open(t, tiny), t.TempDir()
	if err := m.Write(context.Background(), dir, 0); err != nil {
		t.Fatal(err)
	}
	files, err := safetensors.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if len(files.Names()) != len(want.Tensors) {
		t.Errorf("%d tensors, expected %d", len(files.Names()), len(want.Tensors))
	}
	for name, w := range want.Tensors {
		got, _ := files.Lookup(name)
		sum := sha256.Sum256(modeltest.Bytes(t, got))
		if got.DType != w.DType || !slices.Equal(got.Shape, w.Shape) || hex.EncodeToString(sum[:]) != w.SHA256 {
			t.Errorf("%s: %s %v, %x; gguf makes %s %v, %s", name, got.DType, got.Shape, sum[:4], w.DType, w.Shape, w.SHA256[:8])
		}
	}
	c := m.Config
	scaling := arch.RopeScaling{Type: arch.RopeLlama3, Factor: 32, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPosition: 8192}
	if c.Architecture != "LlamaForCausalLM" || c.Layers != 2 || c.HeadDim != 8 || c.KVHeads != 2 || c.VocabSize != 266 || c.RMSNormEps != 1e-5 || c.RopeTheta != 500000 ||
		c.MaxPositionEmbeddings != 128 || !c.TieWordEmbeddings || fmt.Sprint(c.RopeScaling) != fmt.Sprint(scaling) {
		t.Errorf("config %+v", c)
	}
	again := modeltest.Open(t, dir)
	for _, m := range []*model.Model{m, again} {
		tok, err := m.Tokenizer()
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range want.Texts {
			if got, err := tok.EncodeSpecial(text); err != nil || !slices.Equal(got, want.IDs[i]) {
				t.Errorf("%s: %q: ids %v, llama.cpp gives %v", m.Name, text, got, want.IDs[i])
			}
		}
		end, _ := tok.EOS()
		if prefix := tok.Prefix(); end != 262 || len(prefix) > 0 {
			t.Errorf("%s: EOS %d, a prefix: %v", m.Name, end, prefix)
		}
	}
	for name, text := range map[string]string{"generation_config.json": `"eos_token_id": [
    262,
    263
  ]`, "chat_template.jinja": "{{ messages[0].content }}", "tokenizer_config.json": `"eos_token": "<|end|>"`} {
		if raw, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Contains(raw, []byte(text)) {
			t.Errorf("%s: %s, %v", name, raw, err)
		}
	}
}

// TestGGUFRows reads weights in parts: each is that part of the whole.
func TestGGUFRows(t *testing.T) {
	m := modeltest.Open(t, tiny)
	for _, w := range m.AllWeights() {
		if w.IsZero() {
			continue
		}
		whole := make([]byte, 0, w.Size())
		if err := w.Pieces(func(at int64, data []byte) error {
			if at != int64(len(whole)) {
				t.Errorf("%s: a piece at %d after %d bytes", w.Name, at, len(whole))
			}
			whole = append(whole, data...)
			return nil
		}); err != nil || int64(len(whole)) != w.Size() {
			t.Fatalf("%s: %d bytes of %d, %v", w.Name, len(whole), w.Size(), err)
		}
		rowBytes, buf := w.Cols*w.DType.Size(), make([]byte, w.Size())
		for _, r := range [][2]int{{0, w.Rows}, {w.Rows / 3, w.Rows/3 + 1}, {w.Rows / 2, w.Rows}} {
			part := w.RowRange(r[0], r[1])
			some, err := w.ReadRows(buf, r[0], r[1])
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range [][]byte{some, modeltest.Bytes(t, part)} {
				if !bytes.Equal(got, whole[r[0]*rowBytes:r[1]*rowBytes]) {
					t.Errorf("%s: rows %v differ from those of the whole", w.Name, r)
				}
			}
		}
		if n, err := w.NonFinite(); err != nil || n != 0 || w.Made() {
			t.Errorf("%s: %d of its values are not finite, or it is made on the device", w.Name, n)
		}
	}
}

// TestGGUFFolder opens a folder by the one file that it holds.
func TestGGUFFolder(t *testing.T) {
	raw, err := os.ReadFile(tiny)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("a.gguf")
	put("mmproj-a.gguf")
	m := modeltest.Open(t, dir)
	hash, err := model.Hash(context.Background(), m.Files)
	if err != nil || m.GGUF() == nil {
		t.Fatalf("hash: %v, GGUF %v", err, m.GGUF())
	}
	listed, err := fs.Glob(m.Files, "*")
	if want := []string{"chat_template.jinja", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "a.gguf"}; err != nil || !slices.Equal(sorted(listed), sorted(want)) {
		t.Errorf("files %v, %v, expected %v", listed, err, want)
	}
	raw[len(raw)-1]++
	put("a.gguf")
	if other, err := model.Hash(context.Background(), modeltest.Open(t, dir).Files); err != nil || other == hash {
		t.Errorf("another file has the hash %s too, %v", hash, err)
	}
	put("b.gguf")
	if _, err := model.Open(dir); err == nil || !strings.Contains(err.Error(), "several models, name one of them: a.gguf, b.gguf") {
		t.Errorf("a folder of two: %v", err)
	}
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// TestGGUFRefused changes one thing of a file at a time into what cannot be read.
func TestGGUFRefused(t *testing.T) {
	f, err := gguf.Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	set := func(key string, value any) func([]gguf.Pair, []gguf.Info) ([]gguf.Pair, []gguf.Info) {
		return func(meta []gguf.Pair, infos []gguf.Info) ([]gguf.Pair, []gguf.Info) {
			meta = slices.DeleteFunc(meta, func(p gguf.Pair) bool { return p.Key == key })
			if value != nil {
				meta = append(meta, gguf.Pair{Key: key, Value: value})
			}
			return meta, infos
		}
	}
	add := func(info gguf.Info) func([]gguf.Pair, []gguf.Info) ([]gguf.Pair, []gguf.Info) {
		return func(meta []gguf.Pair, infos []gguf.Info) ([]gguf.Pair, []gguf.Info) {
			infos = slices.DeleteFunc(infos, func(i gguf.Info) bool { return i.Name == info.Name })
			if info.Shape != nil {
				infos = append(infos, info)
			}
			return meta, infos
		}
	}
	for _, c := range []struct {
		want string
		edit func([]gguf.Pair, []gguf.Info) ([]gguf.Pair, []gguf.Info)
	}{
		{"", set("llama.attention.head_count", []int32{4, 4})},
		{"", set("llama.expert_count", uint32(0))},
		{"", set("tokenizer.chat_template.../x", "a name that would be outside of the folder")},
		{`general.architecture "nonesuch" is not supported`, set("general.architecture", "nonesuch")},
		{"general.type mmproj: not a language model", set("general.type", "mmproj")},
		{"llama.block_count is missing", set("llama.block_count", nil)},
		{"llama.attention.layer_norm_rms_epsilon is missing", set("llama.attention.layer_norm_rms_epsilon", nil)},
		{"llama.block_count is -1, expected a positive integer", set("llama.block_count", int32(-1))},
		{"tensor blk.2.attn_norm.weight is missing", set("llama.block_count", uint32(3))},
		{"llama.attention.head_count is [4 2], expected a positive integer", set("llama.attention.head_count", []int32{4, 2})},
		{"tensor blk.0.ffn_gate_inp.weight is missing", set("llama.expert_count", uint32(8))},
		{"llama.attention.causal is false", set("llama.attention.causal", false)},
		{"llama.logit_scale: a key that is not known", set("llama.logit_scale", float32(2))},
		{"llama.rope.dimension_count is 4", set("llama.rope.dimension_count", uint32(4))},
		{"rope_freqs.weight beside rope.scaling.factor 2", set("llama.rope.scaling.factor", float32(2))},
		{"tensor blk.0.attn_k.bias is missing", add(gguf.Info{Name: "blk.0.attn_q.bias", Type: gguf.F32, Shape: []int{32}})},
		{"tensor blk.0.nonesuch.weight: not known of llama", add(gguf.Info{Name: "blk.0.nonesuch.weight", Type: gguf.F32, Shape: []int{32}})},
		{"tensor blk.1.ffn_up.weight is missing", add(gguf.Info{Name: "blk.1.ffn_up.weight"})},
		{"tensor blk.1.ffn_up.weight: shape [32 64], the metadata say [64 32]", add(gguf.Info{Name: "blk.1.ffn_up.weight", Type: gguf.F32, Shape: []int{32, 64}})},
		{"tensor blk.1.ffn_up.weight is IQ4_NL, supported are", add(gguf.Info{Name: "blk.1.ffn_up.weight", Type: 20, Shape: []int{64, 32}})},
		{"tensor output_norm.weight: a vector of Q8_0", add(gguf.Info{Name: "output_norm.weight", Type: gguf.Q8_0, Shape: []int{32}})},
		{"tensor rope_freqs.weight: F16 of shape [4]", add(gguf.Info{Name: "rope_freqs.weight", Type: gguf.F16, Shape: []int{4}})},
	} {
		path := filepath.Join(t.TempDir(), "m.gguf")
		var infos []gguf.Info
		for _, name := range f.Names() {
			tensor, _ := f.Lookup(name)
			infos = append(infos, tensor.Info)
		}
		meta, infos := c.edit(f.Pairs(), infos)
		write(t, path, meta, infos, f, nil)
		m, err := model.Open(path)
		switch {
		case err == nil:
			if err := m.Close(); c.want != "" || err != nil {
				t.Errorf("opened, expected %q; %v", c.want, err)
			}
		case c.want == "" || !strings.Contains(err.Error(), c.want):
			t.Errorf("%v, expected %q", err, c.want)
		}
	}
}

// write writes a file whose tensors have the given data, else those of another file, else zeros.
func write(t *testing.T, path string, meta []gguf.Pair, infos []gguf.Info, from *gguf.File, given map[string][]byte) {
	t.Helper()
	w, err := gguf.Create(path, meta, infos)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		n, err := i.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, n)
		if old, ok := from.Lookup(i.Name); ok {
			if err := old.Read(data[:min(n, old.Size())], 0); err != nil {
				t.Fatal(err)
			}
		}
		copy(data, given[i.Name])
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestGGUFFiles holds the files that are made against what a file system must be.
func TestGGUFFiles(t *testing.T) {
	f, err := gguf.Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var infos []gguf.Info
	for _, name := range f.Names() {
		tensor, _ := f.Lookup(name)
		infos = append(infos, tensor.Info)
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	write(t, path, append(f.Pairs(), gguf.Pair{Key: "tokenizer.chat_template.tool_use", Value: "tools"}), infos, f, nil)
	m, dir := modeltest.Open(t, path), t.TempDir()
	if err := fstest.TestFS(m.Files, "config.json", "m.gguf", "additional_chat_templates/tool_use.jinja"); err != nil {
		t.Error(err)
	}
	if err := m.Write(context.Background(), dir, 0); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "additional_chat_templates", "tool_use.jinja")); err != nil || string(raw) != "tools" {
		t.Errorf("the template of tools is %q, %v", raw, err)
	}
}

// TestGGUFRope reads the ways to stretch positions.
func TestGGUFRope(t *testing.T) {
	f, err := gguf.Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	factors := func(v ...float32) []byte {
		raw := make([]byte, 4*len(v))
		dtype.F32.Encode(raw, v)
		return raw
	}
	for _, c := range []struct {
		name    string
		meta    []gguf.Pair
		tensors map[string][]byte
		want    string
	}{
		{"none", nil, nil, `{"type":"none"}`},
		{"none by name", []gguf.Pair{{Key: "llama.rope.scaling.type", Value: "none"}, {Key: "llama.rope.scaling.factor", Value: float32(4)}}, nil, `{"type":"none"}`},
		{"linear", []gguf.Pair{{Key: "llama.rope.scaling.factor", Value: float32(4)}}, nil, `{"type":"linear","factor":4}`},
		{"linear of old", []gguf.Pair{{Key: "llama.rope.scale_linear", Value: float32(2.5)}}, nil, `{"type":"linear","factor":2.5}`},
		{"factors as given", nil, map[string][]byte{gguf.RopeFreqs: factors(1, 2, 3, 4.5)}, `{"type":"longrope","short":[1,2,3,4.5],"long":[1,2,3,4.5],"attention":1}`},
		{"longrope", []gguf.Pair{{Key: "llama.rope.scaling.attn_factor", Value: float32(1.25)}, {Key: "llama.rope.scaling.original_context_length", Value: uint32(64)}},
			map[string][]byte{gguf.RopeFactorsShort: factors(1, 1, 1, 2), gguf.RopeFactorsLong: factors(1, 2, 3, 4)}, `{"type":"longrope","short":[1,1,1,2],"long":[1,2,3,4],"attention":1.25,"original":64}`},
	} {
		path := filepath.Join(t.TempDir(), "m.gguf")
		var infos []gguf.Info
		for _, name := range f.Names() {
			if tensor, _ := f.Lookup(name); name != gguf.RopeFreqs {
				infos = append(infos, tensor.Info)
			}
		}
		for name := range c.tensors {
			infos = append(infos, gguf.Info{Name: name, Type: gguf.F32, Shape: []int{4}})
		}
		write(t, path, append(f.Pairs(), c.meta...), infos, f, c.tensors)
		s := modeltest.Open(t, path).Config.RopeScaling
		var want struct {
			Type              arch.RopeType
			Factor, Attention float64
			Original          int
			Short, Long       []float64
		}
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		if s.Type != want.Type || s.Factor != want.Factor && want.Type == arch.RopeLinear || !slices.Equal(s.Short, want.Short) || !slices.Equal(s.Long, want.Long) ||
			want.Attention != 0 && s.AttentionFactor != want.Attention || want.Original != 0 && s.OriginalMaxPosition != want.Original {
			t.Errorf("%s: %+v, expected %s", c.name, s, c.want)
		}
	}
}
