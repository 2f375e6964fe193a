package model

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
)

// synthetics are the shapes of models that benchmarks are usually run on: keys of config.json.
var synthetics = map[string]map[string]any{
	"llama-2-7b": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
		"vocab_size": 32000, "max_position_embeddings": 4096},
	"llama-3-8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
		"vocab_size": 128256, "max_position_embeddings": 8192, "rope_theta": 500000.0},
	"qwen3-4b": {"architectures": []string{"Qwen3ForCausalLM"}, "model_type": "qwen3", "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36,
		"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 40960, "rope_theta": 1000000.0,
		"tie_word_embeddings": true},
	"32m": {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 8192,
		"max_position_embeddings": 2048},
	"tiny": {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 12, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 2048,
		"max_position_embeddings": 256},
}

// SyntheticNames lists what Synthetic knows.
func SyntheticNames() []string { return slices.Sorted(maps.Keys(synthetics)) }

// Synthetic makes a model of a well-known shape for benchmarks, in F16. The matrices of its layers and its LM head hold random numbers that
// are made on the device each time they go there, and are never in host memory; norms are ones. It has no files: it can be run, scored
// and merged, and not written.
func Synthetic(name string) (*Model, error) {
	shape, ok := synthetics[name]
	if !ok {
		return nil, fmt.Errorf("model: no synthetic model %q: there are %s", name, strings.Join(SyntheticNames(), ", "))
	}
	keys := map[string]any{"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
		"hidden_act": "silu", "torch_dtype": "float16", "tie_word_embeddings": false}
	maps.Copy(keys, shape)
	raw, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	c, err := arch.ParseConfig(name, raw)
	if err != nil {
		return nil, err
	}
	m := &Model{Config: c, Name: "synthetic:" + name, Files: noFiles{}}
	seed := uint32(1)
	add := func(tensors []arch.Tensor, weights []Weight) {
		for _, t := range tensors {
			if t.Part > 0 { // the first stands for all
				continue
			}
			for _, r := range t.Roles {
				rows, cols := c.Shape(r)
				w := Weight{Name: t.Name, DType: dtype.F16, Rows: rows, Cols: cols, Seed: seed}
				w.Scale = float32(math.Sqrt(12 / float64(cols))) // a standard deviation of 1/√in keeps activations at their size
				seed += uint32(rows) * uint32(cols)
				switch {
				case r.Info().Vector():
					ones(&w)
				case r == arch.Embed:
					random(&w) // the host looks rows up
				}
				weights[r] = w
			}
		}
	}
	add(c.TopTensors(), m.Top[:])
	if c.TieWordEmbeddings {
		m.Top[arch.Head] = m.Top[arch.Embed]
	}
	for l := range c.Layers {
		layer := &Layer{}
		add(c.LayerTensors(l), layer.Weights[:])
		m.Layers = append(m.Layers, layer)
	}
	return m, nil
}

// ones and random give a weight values in host memory.
func ones(w *Weight) { fill(w, func(int) float32 { return 1 }) }

func random(w *Weight) {
	state := w.Seed
	fill(w, func(int) float32 {
		state = state*747796405 + 2891336453
		return float32(int32(state)>>8) / (1 << 24)
	})
}

func fill(w *Weight, value func(i int) float32) {
	row := make([]float32, w.Cols)
	w.Data = make([]byte, w.Size())
	rowBytes := w.Cols * w.DType.Size()
	for r := range w.Rows {
		for i := range row {
			row[i] = value(i)
		}
		w.DType.Encode(w.Data[r*rowBytes:(r+1)*rowBytes], row)
	}
}

// noFiles is a folder without files.
type noFiles struct{}

func (noFiles) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
