// Package modeltest writes small random models of every supported architecture for tests.
package modeltest

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/safetensors"
)

// Spec is the shape of a random model.
type Spec struct {
	Architecture                                 string // "" is LlamaForCausalLM
	Hidden, Intermediate, Layers, Heads, KVHeads int
	HeadDim, Vocab, Context                      int
	Tied, AttentionBias, MLPBias                 bool
	DType                                        dtype.DType
	Extra                                        map[string]any // further keys of config.json
	ShardBytes                                   int            // 0 is one file
}

var names = map[string]string{"LlamaForCausalLM": "llama", "MistralForCausalLM": "mistral", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}
var torch = map[dtype.DType]string{dtype.F32: "float32", dtype.F16: "float16", dtype.BF16: "bfloat16"}

// Config is the model's config.json.
func (s Spec) Config(t testing.TB) []byte {
	t.Helper()
	if s.Architecture == "" {
		s.Architecture = "LlamaForCausalLM"
	}
	c := map[string]any{
		"architectures": []string{s.Architecture}, "model_type": names[s.Architecture], "hidden_size": s.Hidden, "intermediate_size": s.Intermediate,
		"num_hidden_layers": s.Layers, "num_attention_heads": s.Heads, "num_key_value_heads": s.KVHeads, "head_dim": s.HeadDim, "vocab_size": s.Vocab,
		"max_position_embeddings": s.Context, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": s.Tied, "hidden_act": "silu",
		"attention_bias": s.AttentionBias, "mlp_bias": s.MLPBias, "bos_token_id": 0, "eos_token_id": 1, "torch_dtype": torch[s.DType],
	}
	for k, v := range s.Extra {
		c[k] = v
	}
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// create writes config.json and begins the weights; the tensors come in the order of shapes.
func (s Spec) create(t testing.TB, dir string) (shapes []model.TensorShape, w *safetensors.Writer) {
	t.Helper()
	raw := s.Config(t)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := model.ParseConfig("config.json", raw)
	if err != nil {
		t.Fatal(err)
	}
	shapes = c.TopTensors()
	for l := range c.Layers {
		shapes = append(shapes, c.LayerTensors(l)...)
	}
	var entries []safetensors.Entry
	for _, sh := range shapes {
		entries = append(entries, safetensors.Entry{Name: sh.Name, DType: s.DType.String(), Shape: sh.Shape})
	}
	if w, err = safetensors.CreateSharded(dir, entries, s.ShardBytes); err != nil {
		t.Fatal(err)
	}
	return shapes, w
}

// Write writes a model with random weights into dir: norms around one, matrices scaled so that activations keep their size.
func (s Spec) Write(t testing.TB, dir string) {
	t.Helper()
	shapes, w := s.create(t, dir)
	rng := rand.New(rand.NewPCG(uint64(s.Hidden), uint64(s.Layers)))
	for _, sh := range shapes {
		n, scale := 1, 0.3
		for _, d := range sh.Shape {
			n *= d
		}
		if len(sh.Shape) == 2 {
			scale = 1 / math.Sqrt(float64(sh.Shape[1]))
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(rng.NormFloat64() * scale)
			if strings.Contains(sh.Name, "norm") {
				values[i]++
			}
		}
		data := make([]byte, n*s.DType.Size())
		s.DType.Encode(data, values)
		if err := w.Write(sh.Name, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// Open writes the model into a temporary folder and opens it.
func (s Spec) Open(t testing.TB) (*model.Model, string) {
	t.Helper()
	dir := t.TempDir()
	s.Write(t, dir)
	m, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m, dir
}

// Windows makes n windows of random tokens.
func Windows(vocab, n, window int) [][]uint32 {
	rng := rand.New(rand.NewPCG(uint64(vocab), uint64(n)))
	out := make([][]uint32, n)
	for i := range out {
		for range window {
			out[i] = append(out[i], uint32(rng.IntN(vocab)))
		}
	}
	return out
}
