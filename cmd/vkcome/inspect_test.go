package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/safetensors"
	"github.com/vkcome/vkcome/prune"
)

func TestInspectFiles(t *testing.T) {
	spec := modeltest.Spec{Architecture: "Qwen2ForCausalLM", Hidden: 24, Intermediate: 40, Layers: 4, Heads: 3, KVHeads: 1, HeadDim: 8, Vocab: 300, Context: 64, DType: dtype.BF16, NormsF32: true,
		Wide: "model.layers.1.self_attn.k_proj.weight", Extra: map[string]any{"residual_multiplier": 0.5, "use_sliding_window": true, "sliding_window": 9, "max_window_layers": 1}}
	dir := t.TempDir()
	if err := spec.WriteTo(dir); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("generation_config.json", `{"eos_token_id": [1, 7], "repetition_penalty": 1.5}`)
	write("chat_template.jinja", `{{ messages }}`)
	withMore(t, filepath.Join(dir, "model.safetensors"), "a.scale", "model.layers.9.x")
	text := string(vkcome(t, "inspect", dir))
	for _, want := range []string{
		"weights            F32 and BF16 (self_attn.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj, model.embed_tokens, lm_head), ",
		"converted          23 tensors, to be of one dtype with others: model.layers.0.self_attn.q_proj.weight from BF16 to F32; ", "unused             a.scale, model.layers.9.x\n", "biases             q, k, v\n", "windows            9 tokens in layers 1-3\n",
		"positions          rotary, theta 10000\n", `end of text        1 "</s>", 7 "ą", says generation_config.json`, "generation         repetition_penalty 1.5\n",
		"tokenizer          259 tokens, 3 of them added, BOS none, EOS 258 \"<|endoftext|>\", before a text none, after it none\n", "chat template      chat_template.jinja\n", "ignored keys       attention_bias, mlp_bias, residual_multiplier: they change other families\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	var got prune.Inspection
	parseJSON(t, vkcome(t, "inspect", dir, "--json"), &got)
	if !reflect.DeepEqual(got.Generation, prune.InspectedGeneration{File: "generation_config.json", BOS: []int{}, EOS: []int{1, 7}, Rules: "repetition_penalty 1.5"}) || got.Keys["residual_multiplier"] != "ignored" || got.Keys["hidden_size"] != "used" {
		t.Errorf("%+v, keys %v", got.Generation, got.Keys)
	}

	// Files that generation or a tokenizer cannot use do not keep the rest from being shown.
	write("generation_config.json", `{"num_beams": 4}`)
	write("tokenizer.json", `{`)
	text = string(vkcome(t, "inspect", dir))
	for _, want := range []string{"generation_config.json: num_beams 4: not supported", "tokenizer          tokenizer: ", "layers             4\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, name := range []string{"tokenizer.json", "chat_template.jinja"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write("tokenizer_config.json", `{"chat_template": "{{ messages }}"}`)
	text = string(vkcome(t, "inspect", dir))
	for _, want := range []string{"tokenizer          none\n", "chat template      tokenizer_config.json\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// withMore adds tensors of one number to a file.
func withMore(t *testing.T, path string, names ...string) {
	t.Helper()
	in, err := safetensors.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var entries []safetensors.Entry
	for _, name := range in.Names() {
		w, _ := in.Lookup(name)
		entries = append(entries, safetensors.Entry{Name: name, DType: w.DType, Shape: w.Shape})
	}
	for _, name := range names {
		entries = append(entries, safetensors.Entry{Name: name, DType: "F32", Shape: []int{1}})
	}
	out, err := safetensors.Create(path+".tmp", entries, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data := make([]byte, 4)
		if w, ok := in.Lookup(e.Name); ok {
			if data, err = w.Bytes(); err != nil {
				t.Fatal(err)
			}
		}
		if err := out.Write(e.Name, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Close(), os.Rename(path+".tmp", path)); err != nil {
		t.Fatal(err)
	}
}
