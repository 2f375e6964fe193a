package model_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/safetensors"
)

func TestSaveLayer(t *testing.T) {
	for _, spec := range []modeltest.Spec{
		{Hidden: 20, Intermediate: 36, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 40, Context: 16, DType: dtype.BF16},
		{Architecture: "Qwen2ForCausalLM", Hidden: 24, Intermediate: 20, Layers: 2, Heads: 3, KVHeads: 1, HeadDim: 8, Vocab: 40, Context: 16, DType: dtype.F32, AttentionBias: true},
		{Architecture: "OPTForCausalLM", Hidden: 24, Intermediate: 20, Layers: 2, Heads: 3, KVHeads: 3, HeadDim: 8, Vocab: 40, Context: 16, DType: dtype.F16},
		{Architecture: "Olmo2ForCausalLM", Hidden: 24, Intermediate: 20, Layers: 2, Heads: 3, KVHeads: 1, HeadDim: 8, Vocab: 40, Context: 16, DType: dtype.BF16},
		{Architecture: "Qwen3ForCausalLM", Hidden: 24, Intermediate: 20, Layers: 2, Heads: 3, KVHeads: 1, HeadDim: 20, Vocab: 40, Context: 16, DType: dtype.F16},
	} {
		m, _ := spec.Open(t)
		dir := t.TempDir()
		path := filepath.Join(dir, "layer.safetensors")
		if err := os.WriteFile(path+".tmp", []byte("of a crash"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, l := range m.Layers { // the second replaces the first
			if err := model.SaveLayer(path, l); err != nil {
				t.Fatal(err)
			}
		}
		got, file, err := model.LoadLayer(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		for p, want := range m.Layers[1].Weights {
			w := got.Weights[p]
			if w.Name != want.Name || w.DType != want.DType || w.Rows != want.Rows || w.Cols != want.Cols || !bytes.Equal(modeltest.Bytes(t, w), modeltest.Bytes(t, want)) {
				t.Errorf("part %d: %s %v [%d %d], saved %s %v [%d %d], or other values", p, w.Name, w.DType, w.Rows, w.Cols, want.Name, want.DType, want.Rows, want.Cols)
			}
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
			t.Errorf("beside the file: %v %v", list, err)
		}
	}
}

func TestLayerFileErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, entries ...safetensors.Entry) string {
		path := filepath.Join(dir, name)
		w, err := safetensors.Create(path, entries, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			n, err := e.Size()
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(e.Name, make([]byte, n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ path, message string }{
		{write("foreign", safetensors.Entry{Name: "model.norm.weight", DType: "F32", Shape: []int{4}}), "SaveLayer did not write it"},
		{write("empty"), "SaveLayer did not write it"},
		{write("vector", safetensors.Entry{Name: "input_layernorm.weight", DType: "F32", Shape: []int{4}}), "expected [rows cols]"},
		{write("integers", safetensors.Entry{Name: "input_layernorm.weight", DType: "I32", Shape: []int{1, 4}}), "I32"},
		{filepath.Join(dir, "missing"), "no such file"},
	} {
		if _, _, err := model.LoadLayer(c.path); err == nil || !strings.Contains(err.Error(), c.message) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v, expected %q", c.path, err, c.message)
		}
	}
	m, err := model.Synthetic("tiny")
	if err != nil {
		t.Fatal(err)
	}
	if err := model.SaveLayer(filepath.Join(dir, "synthetic"), m.Layers[0]); err == nil || !strings.Contains(err.Error(), "no values to save") {
		t.Errorf("a synthetic layer: %v", err)
	}
	real, _ := modeltest.Spec{Hidden: 8, Intermediate: 8, Layers: 1, Heads: 1, KVHeads: 1, HeadDim: 8, Vocab: 8, Context: 8}.Open(t)
	if err := model.SaveLayer(filepath.Join(dir, "no folder", "layer"), real.Layers[0]); err == nil {
		t.Error("a folder that is not there")
	}
}
