package ref

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/x448/float16"
)

// small is a model of everything that tiny12 lacks: biases, q and k norm, a head size of its own, llama3 RoPE.
func small(layers int) *Model {
	c := Config{
		Hidden: 10, FFN: 12, Vocab: 17, Heads: 6, KVHeads: 3, HeadDim: 4, Eps: 1e-5, RopeTheta: 1000,
		RopeScaling: RopeScaling{Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPosition: 64},
	}
	seed := 100
	next := func(rows, cols int) Mat {
		seed++
		m := GatherRows(random(seed, cols), sequence(seed-rows, rows))
		for i := range m.Data {
			m.Data[i] = RoundBF16(m.Data[i] / 4)
		}
		return m
	}
	vector := func(n int) []float64 { return next(1, n).Data }
	m := &Model{Config: c, Embed: next(c.Vocab, c.Hidden), Norm: vector(c.Hidden), Head: next(c.Vocab, c.Hidden)}
	query, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	for range layers {
		m.Layers = append(m.Layers, Layer{
			InputNorm: vector(c.Hidden), PostNorm: vector(c.Hidden),
			Q: next(query, c.Hidden), K: next(kv, c.Hidden), V: next(kv, c.Hidden), O: next(c.Hidden, query),
			QBias: vector(query), KBias: vector(kv), VBias: vector(kv), OBias: vector(c.Hidden),
			QNorm: vector(c.HeadDim), KNorm: vector(c.HeadDim),
			Gate: next(c.FFN, c.Hidden), Up: next(c.FFN, c.Hidden), Down: next(c.Hidden, c.FFN),
			GateBias: vector(c.FFN), UpBias: vector(c.FFN), DownBias: vector(c.Hidden),
		})
	}
	return m
}

var text = [][]int{{1, 2, 3, 4, 5, 6}, {9, 8, 7, 16, 0, 3}, {4, 4, 4, 1, 2, 11}}

// TestCache gives the tokens to a layer at once and in two parts, with and without a sliding window.
func TestCache(t *testing.T) {
	m := small(1)
	x := Embedding(m.Embed, text[0])
	for _, m.Layers[0].Window = range []int{0, 3} {
		want, _ := m.Layers[0].Forward(m.Config, x)
		var cache Cache
		first, _ := m.Layers[0].Continue(m.Config, GatherRows(x, []int{0, 1}), &cache)
		rest, _ := m.Layers[0].Continue(m.Config, GatherRows(x, []int{2, 3, 4, 5}), &cache)
		equal(t, "in two parts", ConcatRows(first, rest).Data, want.Data)
	}
}

// TestMergeOfOne merges a layer with itself: all of one and nothing of the other must be the layer, half of each must be
// what its kept units say.
func TestMergeOfOne(t *testing.T) {
	m := small(1)
	l := m.Layers[0]
	all := Merge(m.Config, []Layer{l, l}, [][]int{{0, 1, 2}, {}}, [][]int{sequence(0, 12), {}}, []float64{1, 0}, false)
	x := Embedding(m.Embed, text[0])
	want, _ := l.Forward(m.Config, x)
	got, _ := all.Forward(m.Config, x)
	equal(t, "all of the first", got.Data, want.Data)

	kvHeads, neurons := [][]int{{2}, {0, 1}}, [][]int{{11}, sequence(0, 11)}
	turned := Merge(m.Config, []Layer{l, l}, kvHeads, neurons, []float64{0.3, 0.7}, false)
	got, _ = turned.Forward(m.Config, x)
	equal(t, "another order", got.Data, want.Data) // attention and FFN are sums over their units

	// Each query head holds 4 rows: correct are heads 4, 5 for KV head 2, the tiled mask takes 2, 5.
	equal(t, "query heads", GatherRows(turned.Q, sequence(0, 8)).Data, GatherRows(l.Q, sequence(16, 8)).Data)
	tiled := Merge(m.Config, []Layer{l, l}, kvHeads, neurons, []float64{0.3, 0.7}, true)
	equal(t, "tiled query heads", GatherRows(tiled.Q, sequence(0, 8)).Data,
		ConcatRows(GatherRows(l.Q, sequence(8, 4)), GatherRows(l.Q, sequence(20, 4))).Data)
	equal(t, "tiled KV heads", tiled.K.Data, turned.K.Data)
}

func TestCoMe(t *testing.T) {
	m := small(6)
	p, err := CoMe(m, text, Options{TargetLayers: 3, LayersPerMerge: 3})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Model.Layers) != 3 || len(p.Steps) != 2 || len(p.Steps[1].MergeList) != 2 {
		t.Errorf("tree %v in %d steps", p.Tree, len(p.Steps))
	}
	for i, s := range p.Steps {
		if n := len(slices.Concat(s.KVHeads...)); n != m.KVHeads {
			t.Errorf("step %d keeps %d KV heads", i, n)
		}
		if n := len(slices.Concat(s.Neurons...)); n != m.FFN {
			t.Errorf("step %d keeps %d neurons", i, n)
		}
	}
	near(t, "loss", []float64{p.Calibration.Loss()}, []float64{p.Model.Loss(text)}, 1e-12)
	fresh, _ := json.Marshal(Calibrate(p.Model, text).Scores(2))
	kept, _ := json.Marshal(p.Calibration.Scores(2))
	if string(fresh) != string(kept) {
		t.Errorf("scores of the states kept %s, of a fresh pass %s", kept, fresh)
	}

	if _, err := CoMe(m, text, Options{TargetLayers: 1}); err == nil || !strings.Contains(err.Error(), "layers are as few as") {
		t.Errorf("one layer without a repeat: %v", err)
	}
	if p, err := CoMe(m, text, Options{TargetLayers: 1, Repeat: true}); err != nil || p.Tree[0].Originals() != 6 {
		t.Errorf("repeated down to %v: %v", p.Tree, err)
	}
}

// TestLoadModel writes a model as one file and as shards, in every dtype, and reads it back.
func TestLoadModel(t *testing.T) {
	m := small(2)
	config := `{"model_type": "qwen3", "hidden_size": 10, "intermediate_size": 12, "num_hidden_layers": 2,
		"num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 4, "vocab_size": 17, "rms_norm_eps": 1e-5, "rope_theta": 1000,
		"sliding_window": 4096, "use_sliding_window": false, "rope_scaling": {"rope_type": "llama3", "factor": 8,
		"low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64}}`
	write := func(dtype string, shards int, config string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		save(t, dir, m, dtype, shards)
		return dir
	}
	want := m.Logits(text[0]).Data
	for _, dtype := range []string{"F64", "F32", "F16", "BF16"} {
		for _, shards := range []int{1, 3} {
			got, err := LoadModel(write(dtype, shards, config))
			if err != nil {
				t.Fatal(err)
			}
			equal(t, fmt.Sprintf("logits of %s in %d files", dtype, shards), got.Logits(text[0]).Data, want)
		}
	}
	tied, err := LoadModel(write("F32", 1, strings.Replace(config, "{", `{"tie_word_embeddings": true,`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "tied head", tied.Head.Data, m.Embed.Data)

	for from, to := range map[string]string{
		`"hidden_size": 10`:       `"hidden_size": 11`, // every shape is wrong
		`"num_hidden_layers": 2`:  `"num_hidden_layers": 3`,
		`"num_hidden_layers": 2,`: `"num_hidden_layers": 1,`, // the second layer's tensors are left over
	} {
		if _, err := LoadModel(write("F32", 1, strings.Replace(config, from, to, 1))); err == nil {
			t.Errorf("no error for %s", to)
		} else {
			t.Log(err)
		}
	}
	if _, err := LoadModel(t.TempDir()); err == nil {
		t.Error("no error for an empty folder")
	}
}

// save writes the weights of m; shard i of n holds every n-th tensor.
func save(t *testing.T, dir string, m *Model, dtype string, n int) {
	t.Helper()
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	headers, data, weightMap := make([]map[string]entry, n), make([][]byte, n), map[string]string{}
	file := func(i int) string {
		if n == 1 {
			return "model.safetensors"
		}
		return fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, n)
	}
	put := func(name string, values []float64, shape ...int) {
		i := len(weightMap) % n
		weightMap[name] = file(i)
		first := len(data[i])
		for _, v := range values {
			switch dtype {
			case "F64":
				data[i] = binary.LittleEndian.AppendUint64(data[i], math.Float64bits(v))
			case "F32":
				data[i] = binary.LittleEndian.AppendUint32(data[i], math.Float32bits(float32(v)))
			case "F16":
				data[i] = binary.LittleEndian.AppendUint16(data[i], float16.Fromfloat32(float32(v)).Bits())
			case "BF16":
				data[i] = binary.LittleEndian.AppendUint16(data[i], uint16(math.Float32bits(float32(v))>>16))
			}
		}
		if headers[i] == nil {
			headers[i] = map[string]entry{}
		}
		headers[i][name] = entry{dtype, shape, [2]int{first, len(data[i])}}
	}
	vector := func(name string, v []float64) { put(name, v, len(v)) }
	matrix := func(name string, w Mat) { put(name, w.Data, w.Rows, w.Cols) }
	matrix("model.embed_tokens.weight", m.Embed)
	vector("model.norm.weight", m.Norm)
	matrix("lm_head.weight", m.Head)
	for i, l := range m.Layers {
		at := fmt.Sprintf("model.layers.%d.", i)
		vector(at+"input_layernorm.weight", l.InputNorm)
		vector(at+"post_attention_layernorm.weight", l.PostNorm)
		vector(at+"self_attn.q_norm.weight", l.QNorm)
		vector(at+"self_attn.k_norm.weight", l.KNorm)
		for _, p := range []struct {
			name string
			w    Mat
			bias []float64
		}{
			{"self_attn.q_proj", l.Q, l.QBias}, {"self_attn.k_proj", l.K, l.KBias}, {"self_attn.v_proj", l.V, l.VBias}, {"self_attn.o_proj", l.O, l.OBias},
			{"mlp.gate_proj", l.Gate, l.GateBias}, {"mlp.up_proj", l.Up, l.UpBias}, {"mlp.down_proj", l.Down, l.DownBias},
		} {
			matrix(at+p.name+".weight", p.w)
			vector(at+p.name+".bias", p.bias)
		}
	}
	for i := range n {
		header, err := json.Marshal(headers[i])
		if err != nil {
			t.Fatal(err)
		}
		content := slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header, data[i])
		if err := os.WriteFile(filepath.Join(dir, file(i)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n > 1 {
		index, err := json.Marshal(map[string]any{"weight_map": weightMap})
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), index, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
