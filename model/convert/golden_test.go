package convert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/gguf"
	"github.com/vkcome/vkcome/model/modeltest"
)

var folders = flag.String("folders", "", "write the models of TestConverter into this folder, for testdata/golden.py")

// golden is a model that llama.cpp's converter has converted too.
type golden struct {
	Name      string   `json:"name"` // the folder's, from which the converter makes general.name
	Types     []string `json:"types"`
	Pre       string   `json:"pre"` // what the converter is told
	base      string   // of modeltest
	change    func(s *modeltest.Spec)
	tokenizer string            // a file of model/tokenizer/testdata
	files     map[string]string // besides
}

const (
	someTemplate = `{% for m in messages %}<|im_start|>{{ m['role'] }}{% endfor %}`
	gptConfig    = `{"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|im_start|>", "eos_token": {"__type": "AddedToken", "content": "<|im_end|>"}, "add_bos_token": true}`
	fastConfig   = `{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "chat_template": "` + someTemplate + `"}`
	somePlainCfg = `{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}`
	glmConfig    = `{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "added_tokens_decoder": {"426": {"content": "<|endoftext|>", "special": true},
		"427": {"content": "<|user|>", "special": true}}}`
	gemmaConfig = `{"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true, "add_prefix_space": false}`
	spConfig    = `{"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": true, "add_eos_token": false,
		"added_tokens_decoder": {"520": {"content": "<|word|>", "special": false}, "521": {"content": "▁▁▁▁", "special": false}, "522": {"content": "<|im_start|>", "special": true}}}`
	someCard = "---\nlicense: apache-2.0\nlanguage:\n- en\n- no\ntags:\n- test\npipeline_tag: text-generation\nbase_model: vkcome/tiny-Llama-7b-chat\n" +
		"datasets:\n- org/data-v2\n- https://huggingface.co/a/b\nmodel_creator: someone\n---\n# A model\n"
	someSampling = `{"temperature": 0.6, "top_k": 20, "top_p": 0.95, "repetition_penalty": 1.05, "eos_token_id": [1, 2]}`
)

var yarn = map[string]any{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 32, "beta_slow": 1}

var goldens = []golden{
	{Name: "llama-test-v1.0", Types: []string{"f32", "f16", "bf16", "q8_0"}, Pre: "llama-bpe", base: "llama", tokenizer: "llama3.json",
		change: func(s *modeltest.Spec) { s.Hidden, s.Intermediate = 64, 96 }, // q8_0 has blocks of 32
		files:  map[string]string{"tokenizer_config.json": fastConfig, "README.md": someCard, "generation_config.json": someSampling}},
	{Name: "llama3.1", Types: []string{"f16", "q8_0"}, Pre: "llama-bpe", base: "llama3.1", tokenizer: "llama3.json", files: map[string]string{"tokenizer_config.json": fastConfig}},
	{Name: "Llama-Biases-2b-Instruct", Types: []string{"q8_0"}, Pre: "qwen2", base: "llama", tokenizer: "qwen2.json",
		change: func(s *modeltest.Spec) { s.AttentionBias, s.MLPBias = true, true }, files: map[string]string{"tokenizer_config.json": somePlainCfg, "chat_template.jinja": someTemplate}},
	{Name: "llama yarn", Types: []string{"f16"}, Pre: "qwen2", base: "llama", tokenizer: "qwen2.json",
		change: func(s *modeltest.Spec) { s.Extra = map[string]any{"rope_scaling": yarn} }, files: map[string]string{"tokenizer_config.json": somePlainCfg}},
	{Name: "mistral", Types: []string{"bf16"}, Pre: "default", base: "mistral", tokenizer: "sp_bytes.model", files: map[string]string{"tokenizer_config.json": spConfig}},
	{Name: "qwen2", Types: []string{"f16"}, Pre: "qwen2", base: "qwen2", tokenizer: "qwen2.json",
		// llama.cpp loads no Qwen2 whose heads are not as wide as its hidden state
		change: func(s *modeltest.Spec) { s.Heads, s.HeadDim = 4, 14 },
		files:  map[string]string{"tokenizer_config.json": strings.Replace(fastConfig, "{", `{"unk_token": "<|word|>", `, 1)}}, // else transformers adds one
	{Name: "qwen3", Types: []string{"f32"}, Pre: "qwen2", base: "qwen3", tokenizer: "qwen2.json", files: map[string]string{"tokenizer_config.json": fastConfig}},
	{Name: "smollm3", Types: []string{"f16"}, Pre: "llama-bpe", base: "smollm3", tokenizer: "llama3.json",
		change: func(s *modeltest.Spec) {
			s.Layers = 5
			s.Extra = map[string]any{"pad_token_id": 1}
		}, files: map[string]string{"tokenizer_config.json": somePlainCfg}},
	{Name: "mixtral", Types: []string{"q8_0"}, Pre: "llama-bpe", base: "mixtral", tokenizer: "llama3.json",
		change: func(s *modeltest.Spec) { s.Hidden, s.Intermediate = 64, 96 }, files: map[string]string{"tokenizer_config.json": somePlainCfg}},
	{Name: "qwen3-moe", Types: []string{"bf16"}, Pre: "qwen2", base: "qwen3-moe", tokenizer: "qwen2.json", files: map[string]string{"tokenizer_config.json": somePlainCfg}},
	{Name: "granite", Types: []string{"f16"}, Pre: "qwen2", base: "granite", tokenizer: "qwen2.json", files: map[string]string{"tokenizer_config.json": somePlainCfg}},
	{Name: "olmo2", Types: []string{"f16"}, Pre: "llama-bpe", base: "olmo2", tokenizer: "llama3.json", files: map[string]string{"tokenizer_config.json": somePlainCfg}},
	{Name: "glm4", Types: []string{"bf16"}, Pre: "glm4", base: "glm4", tokenizer: "llama3.json", files: map[string]string{"tokenizer_config.json": glmConfig}},
	{Name: "seed-oss", Types: []string{"bf16"}, Pre: "qwen2", base: "seed_oss", tokenizer: "qwen2.json", files: map[string]string{"tokenizer_config.json": somePlainCfg}},
	{Name: "ernie4_5", Types: []string{"bf16"}, Pre: "default", base: "ernie4_5", tokenizer: "sp_bytes.model",
		change: func(s *modeltest.Spec) { s.Extra["use_bias"] = false }, files: map[string]string{"tokenizer_config.json": spConfig}},
	{Name: "stablelm", Types: []string{"f16"}, Pre: "stablelm2", base: "stablelm", tokenizer: "qwen2.json", files: map[string]string{"tokenizer_config.json": somePlainCfg}},
	{Name: "phi4-mini", Types: []string{"f16"}, Pre: "qwen2", base: "phi4-mini", tokenizer: "qwen2.json", files: map[string]string{"tokenizer_config.json": gptConfig}},
	{Name: "gemma2", Types: []string{"bf16"}, Pre: "default", base: "gemma2", tokenizer: "sp_user.model",
		change: func(s *modeltest.Spec) {
			s.Vocab, s.Layers = 600, 4
			s.Extra["query_pre_attn_scalar"], s.Extra["bos_token_id"], s.Extra["eos_token_id"] = s.HeadDim, 1, 2
		}, files: map[string]string{"tokenizer_config.json": gemmaConfig}},
	{Name: "gemma3", Types: []string{"f16"}, Pre: "default", base: "gemma3", tokenizer: "sp_user.model",
		change: func(s *modeltest.Spec) {
			s.Vocab, s.Layers, s.Extra = 600, 7, map[string]any{"sliding_window": 5, "query_pre_attn_scalar": s.HeadDim, "bos_token_id": 1, "eos_token_id": 2}
		}, files: map[string]string{"tokenizer_config.json": gemmaConfig}},
	{Name: "phi3", Types: []string{"f16"}, Pre: "qwen2", base: "phi3", tokenizer: "qwen2.json", files: map[string]string{"tokenizer_config.json": gptConfig}},
	{Name: "phi3-long", Types: []string{"f16"}, Pre: "qwen2", base: "phi3-long", tokenizer: "qwen2.json", files: map[string]string{"tokenizer_config.json": gptConfig}},
}

const goldenVocab = 530 // more than the fixtures' tokenizers have, so that there are ids without a token

// write makes the model's folder.
func (g golden) write(t *testing.T, dir string) {
	s, err := modeltest.Named(g.base)
	if err != nil {
		t.Fatal(err)
	}
	s.Vocab, s.Layers, s.DType = goldenVocab, 2, dtype.BF16
	if g.change != nil {
		g.change(&s)
	}
	s.Write(t, dir)
	raw, err := os.ReadFile(filepath.Join("../tokenizer/testdata", g.tokenizer))
	if err != nil {
		t.Fatal(err)
	}
	name := "tokenizer.json"
	if strings.HasSuffix(g.tokenizer, ".model") {
		name = "tokenizer.model"
		if err := os.Remove(filepath.Join(dir, "tokenizer.json")); err != nil {
			t.Fatal(err)
		}
	}
	files := maps.Clone(g.files)
	files[name] = string(raw)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The files have the keys, the values and the bytes of those of llama.cpp's converter: testdata/golden.py.
func TestConverter(t *testing.T) {
	if *folders != "" {
		for _, g := range goldens {
			dir := filepath.Join(*folders, g.Name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			g.write(t, dir)
		}
		raw, err := json.Marshal(goldens)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*folders, "cases.json"), raw, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	raw, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]struct {
		Keys    map[string][2]any `json:"keys"`
		Tensors map[string]string `json:"tensors"`
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, g := range goldens {
		t.Run(g.Name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), g.Name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			g.write(t, dir)
			m, err := model.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			for _, kind := range g.Types {
				count++
				w, ok := want[g.Name+" "+kind]
				if !ok {
					t.Fatalf("golden.json lacks %s %s", g.Name, kind)
				}
				keys, tensors := described(t, converted(t, m, kind))
				for _, k := range slices.Sorted(maps.Keys(union(keys, w.Keys))) {
					if !reflect.DeepEqual(keys[k], w.Keys[k]) {
						t.Errorf("%s: %s: %v, the converter's is %v", kind, k, keys[k], w.Keys[k])
					}
				}
				for _, k := range slices.Sorted(maps.Keys(union(tensors, w.Tensors))) {
					if tensors[k] != w.Tensors[k] {
						t.Errorf("%s: tensor %s: %q, the converter's is %q", kind, k, tensors[k], w.Tensors[k])
					}
				}
			}
		})
	}
	if count != len(want) {
		t.Errorf("%d files compared, golden.json has %d", count, len(want))
	}
}

func union[V any](a, b map[string]V) map[string]V {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// converted writes a model as a type and opens the file.
func converted(t *testing.T, m *model.Model, kind string) *gguf.File {
	t.Helper()
	of, err := ParseType(kind)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.gguf")
	if _, err := To(context.Background(), m, out, Options{Type: of}); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// described is a file as golden.py has it.
func described(t *testing.T, f *gguf.File) (keys map[string][2]any, tensors map[string]string) {
	keys, tensors = map[string][2]any{}, map[string]string{}
	short := func(data []byte) string {
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:8])
	}
	names := map[reflect.Kind]string{reflect.Float32: "float32", reflect.Int32: "int32", reflect.Uint32: "uint32", reflect.Bool: "bool", reflect.String: "string"}
	for _, p := range f.Pairs() {
		of := reflect.TypeOf(p.Value)
		name := ""
		if of.Kind() == reflect.Slice {
			name, of = "array ", of.Elem()
		}
		var text strings.Builder
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(wide(p.Value)); err != nil {
			t.Fatal(err)
		}
		var value any
		if err := json.Unmarshal([]byte(text.String()), &value); err != nil {
			t.Fatal(err)
		}
		if list, ok := value.([]any); ok && len(list) > 8 {
			value = short([]byte(strings.TrimSpace(text.String())))
		}
		keys[p.Key] = [2]any{name + names[of.Kind()], value}
	}
	for _, name := range f.Names() {
		info, _ := f.Lookup(name)
		data := make([]byte, info.Size())
		if err := info.Read(data, 0); err != nil {
			t.Fatal(err)
		}
		shape := strings.ReplaceAll(fmt.Sprint(info.Shape), " ", ", ")
		tensors[name] = fmt.Sprintf("%v %s %s", info.Type, shape, short(data))
	}
	return keys, tensors
}

// wide makes a float32 a float64, as Python has them, and those of arrays their bits.
func wide(v any) any {
	switch v := v.(type) {
	case float32:
		return float64(v)
	case []float32:
		out := make([]uint32, len(v))
		for i := range v {
			out[i] = math.Float32bits(v[i])
		}
		return out
	}
	return v
}
