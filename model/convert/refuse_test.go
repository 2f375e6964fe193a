package convert

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/gguf"
	"github.com/vkcome/vkcome/model/modeltest"
)

// What llama.cpp would read otherwise is refused with its reason, and nothing is left of it.
func TestRefuses(t *testing.T) {
	llama := golden{base: "llama", tokenizer: "llama3.json"}
	edit := func(old, new string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, "tokenizer.json")
			raw, err := os.ReadFile(path)
			if err == nil && !strings.Contains(string(raw), old) {
				t.Fatalf("the fixture lacks %s", old)
			}
			if err == nil {
				err = os.WriteFile(path, []byte(strings.Replace(string(raw), old, new, 1)), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name, want string
		of         golden
		edit       func(t *testing.T, dir string)
	}{
		{"architecture", "no architecture for OPTForCausalLM", golden{base: "opt", tokenizer: "llama3.json"}, nil},
		{"no tokenizer", "a GGUF holds a tokenizer", llama, func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "tokenizer.json")); err != nil {
				t.Fatal(err)
			}
		}},
		{"pattern", `{1,2}`, llama, edit(`\\p{N}{1,3}`, `\\p{N}{1,2}`)},
		{"prefix", "add_prefix_space", golden{base: "llama", tokenizer: "gpt2.json"}, edit(`"NFKC"`, `"NFC"`)},
		{"normalizer", `"NFKC", which llama.cpp lacks`, golden{base: "llama", tokenizer: "gpt2.json"}, nil},
		{"vocabulary", "config.json a vocabulary of 300", golden{base: "llama", tokenizer: "llama3.json", change: func(s *modeltest.Spec) { s.Vocab = 300 }}, nil},
		{"smollm3", "layer 1 of 2 has rotary positions: false", golden{base: "smollm3", tokenizer: "llama3.json"}, nil},
		{"yarn", "beta_fast 16", golden{base: "qwen2", tokenizer: "llama3.json", change: func(s *modeltest.Spec) {
			s.Extra = map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 16}}
		}}, nil},
		{"llama3 rope", "lacks in its qwen2", golden{base: "qwen2", tokenizer: "llama3.json", change: func(s *modeltest.Spec) {
			s.Extra = map[string]any{"rope_scaling": map[string]any{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}}
		}}, nil},
		{"dense layers", "layer 0 has no experts", golden{base: "qwen3-moe-dense", tokenizer: "llama3.json"}, nil},
		{"shares of experts", "norm_topk_prob", golden{base: "qwen3-moe", tokenizer: "llama3.json", change: func(s *modeltest.Spec) { s.Extra["norm_topk_prob"] = false }}, nil},
		{"biases of an ERNIE", "llama.cpp's ernie4_5 has those of q, k and v only", golden{base: "ernie4_5", tokenizer: "llama3.json"}, nil},
		{"heads of a Qwen2", "head_dim 20, and llama.cpp's qwen2 has hidden_size / num_attention_heads", golden{base: "qwen2", tokenizer: "llama3.json"}, nil},
		{"heads of an OLMo 2", "head_dim 24, and llama.cpp's olmo2", golden{base: "olmo2", tokenizer: "llama3.json", change: func(s *modeltest.Spec) { s.HeadDim = 24 }}, nil},
		{"heads of a Phi-3", "head_dim 24, and llama.cpp's phi3", golden{base: "phi3", tokenizer: "llama3.json", change: func(s *modeltest.Spec) { s.HeadDim = 24 }}, nil},
		{"scale of a Gemma", "query_pre_attn_scalar is 30", golden{base: "gemma3", tokenizer: "llama3.json"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, to := t.TempDir(), t.TempDir()
			c.of.files = map[string]string{}
			c.of.write(t, dir)
			if c.edit != nil {
				c.edit(t, dir)
			}
			_, err := To(context.Background(), modeltest.Open(t, dir), filepath.Join(to, "m.gguf"), Options{Type: gguf.F16})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, expected %q in it", err, c.want)
			}
			empty(t, to)
		})
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left in the folder: %v, error %v", entries, err)
	}
}

// An output that exists stays what it is, and a conversion that is stopped leaves nothing.
func TestTo(t *testing.T) {
	dir, to := t.TempDir(), t.TempDir()
	g := golden{base: "llama", tokenizer: "llama3.json", files: map[string]string{model.Lineage: `{"tree": []}`}}
	g.write(t, dir)
	m := modeltest.Open(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	out := filepath.Join(to, "m.gguf")
	if _, err := To(ctx, m, out, Options{Type: gguf.F16, Progress: func(int64, int64) { cancel() }}); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: error %v", err)
	}
	empty(t, to)
	r, err := To(context.Background(), m, out, Options{Type: gguf.Q8_0})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(out)
	if err != nil || info.Size() != r.Bytes || r.Type != "q8_0" || r.Path != out {
		t.Errorf("result %+v, the file %v, error %v", r, info, err)
	}
	if _, err := To(context.Background(), m, out, Options{Type: gguf.F16}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("an output that exists: error %v", err)
	}
	back := filepath.Join(to, "folder")
	if _, err := To(context.Background(), modeltest.Open(t, out), back, Options{}); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(back, model.Lineage)); err != nil || string(raw) != g.files[model.Lineage] {
		t.Errorf("the lineage after both: %q, error %v", raw, err)
	}
	if n := modeltest.Open(t, back).Parameters(); n != m.Parameters() {
		t.Errorf("%d parameters after both, were %d", n, m.Parameters())
	}
}

// Names are taken apart as metadata.py of gguf-py 0.19 does (get_model_id_components and id_to_title, of 7e9 parameters).
func TestNames(t *testing.T) {
	for _, c := range []struct {
		id   string
		want nameParts
	}{
		{"Mistral/Mixtral-8x7B-Instruct-v0.1", nameParts{"Mixtral-8x7B-Instruct-v0.1", "Mistral", "Mixtral", "8x7B", "Instruct", "v0.1"}},
		{"./Mixtral-8x7B-Instruct-v0.1", nameParts{"Mixtral-8x7B-Instruct-v0.1", "", "Mixtral", "8x7B", "Instruct", "v0.1"}},
		{"Mixtral-8x7B", nameParts{"Mixtral-8x7B", "", "Mixtral", "8x7B", "", ""}},
		{"Mixtral", nameParts{"Mixtral", "", "", "", "", ""}},
		{"NousResearch/Meta-Llama-3-8B", nameParts{"Meta-Llama-3-8B", "NousResearch", "Meta-Llama-3", "8B", "", ""}},
		{"a sentence of words", nameParts{"a sentence of words", "", "", "", "", ""}},
		{"Llama-2-7b-hf", nameParts{"Llama-2-7b-hf", "", "Llama-2", "7B", "hf", ""}},
		{"bloom-7b1", nameParts{"bloom-7b1", "", "bloom", "7.1B", "", ""}},
		{"Yi-6B-200K", nameParts{"Yi-6B-200K", "", "Yi", "6B", "200k", ""}},
		{"model-v1.0", nameParts{"model-v1.0", "", "model", "", "", "v1.0"}},
	} {
		if got := partsOf(c.id, 7e9); got != c.want {
			t.Errorf("%s: %+v, expected %+v", c.id, got, c.want)
		}
	}
	for name, want := range map[string]string{"meta-llama-3-8B": "Meta Llama 3 8B", "v1.0-beta": "v1.0 Beta", "SmolLM2": "SmolLM2", "llama3.1": "Llama3.1"} {
		if got := title(name); got != want {
			t.Errorf("title of %s: %q, expected %q", name, got, want)
		}
	}
	for n, want := range map[int64]string{999: "1.0K", 303_000: "303K", 134_515_008: "135M", 6_738_415_616: "6.7B", 1_500: "1.5K", 2_500_000_000_000: "2.5T"} {
		if got := sizeLabel(n, 0, 0, 0); got != want {
			t.Errorf("%d parameters: %q, expected %q", n, got, want)
		}
	}
}
