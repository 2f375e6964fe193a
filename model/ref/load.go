package ref

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/x448/float16"
)

// LoadModel reads a Hugging Face folder of a Llama, Mistral, Qwen2, Qwen3, SmolLM3, Phi-3, Mixtral, Qwen3-MoE or OPT: config.json and model.safetensors, or the
// shards that model.safetensors.index.json names. It shares no code with the tool's reader, so that it can check what
// the tool writes; it trusts the folder to be sound, and holds all weights in memory as float64.
func LoadModel(dir string) (*Model, error) {
	var c config
	path := filepath.Join(dir, "config.json")
	if err := readJSON(path, &c); err != nil {
		return nil, err
	}
	absent := config{MaxWindowLayers: 28} // what transformers takes for absent keys
	if c.ModelType != "phi3" && c.ModelType != "mixtral" {
		absent.SlidingWindow = new(int)
		*absent.SlidingWindow = 4096
	}
	c = absent
	if err := readJSON(path, &c); err != nil {
		return nil, err
	}
	tensors, err := loadTensors(dir)
	if err != nil {
		return nil, err
	}
	n, tied := llamaNames, c.ModelType == "smollm3" || c.ModelType == "gemma2" || c.ModelType == "gemma3_text"
	if c.ModelType == "opt" {
		n, tied = optNames, true
		c.IntermediateSize = c.FFNDim
	}
	if c.TieWordEmbeddings != nil {
		tied = *c.TieWordEmbeddings
	}

	m := &Model{Config: c.arithmetic(), Layers: make([]Layer, c.NumHiddenLayers)}
	c.recipe(&m.Config, &n)
	find := &finder{dir: dir, tensors: tensors}
	if _, ok := tensors[n.top+"embed_tokens.weight"]; !ok {
		find.bare = true
	}
	query, kv := m.Heads*m.HeadDim, m.KVHeads*m.HeadDim
	m.Embed = find.matrix(n.top+"embed_tokens.weight", m.Vocab, m.Hidden)
	m.Norm = find.vector(n.top+n.norm+".weight", m.Hidden)
	m.NormBias = find.optional(n.top+n.norm+".bias", m.Hidden)
	if c.ModelType == "opt" {
		m.Positions = find.matrix(n.top+"embed_positions.weight", c.MaxPosition+positionOffset, m.Hidden)
	}
	if m.Head = m.Embed; !tied {
		m.Head = find.matrix("lm_head.weight", m.Vocab, m.Hidden)
	}
	if slices.Contains([]string{"phi3", "glm", "glm4", "granitemoehybrid"}, c.ModelType) {
		find.unfuse(len(m.Layers), [2]int{query, kv}, m.FFN)
	}
	normed := [2]int{m.HeadDim, m.HeadDim}
	if m.RowNorm {
		normed = [2]int{query, kv}
	}
	for i := range m.Layers {
		at := fmt.Sprintf("%slayers.%d.", n.top, i)
		attn := at + "self_attn."
		m.Layers[i] = Layer{
			InputNorm:     find.norm(at, n.inputNorm, m.Hidden),
			InputNormBias: find.optional(at+n.inputNorm+".bias", m.Hidden),
			AttentionNorm: find.norm(at, n.attentionNorm, m.Hidden),
			PostNorm:      find.norm(at, n.postNorm, m.Hidden),
			PostNormBias:  find.optional(at+n.postNorm+".bias", m.Hidden),
			FFNNorm:       find.norm(at, n.ffnNorm, m.Hidden),
			Q:             find.matrix(attn+"q_proj.weight", query, m.Hidden),
			K:             find.matrix(attn+"k_proj.weight", kv, m.Hidden),
			V:             find.matrix(attn+"v_proj.weight", kv, m.Hidden),
			O:             find.matrix(attn+n.o+".weight", m.Hidden, query),
			QBias:         find.optional(attn+"q_proj.bias", query),
			KBias:         find.optional(attn+"k_proj.bias", kv),
			VBias:         find.optional(attn+"v_proj.bias", kv),
			OBias:         find.optional(attn+n.o+".bias", m.Hidden),
			QNorm:         find.optional(attn+"q_norm.weight", normed[0]),
			KNorm:         find.optional(attn+"k_norm.weight", normed[1]),
			Window:        c.window(i),
			NoRope:        c.noRope(i),
			Local:         m.LocalTheta != 0 && c.slides(i),
		}
		c.mlp(find, n, m.Config, at, i, &m.Layers[i])
	}
	if find.err != nil {
		return nil, find.err
	}
	for name := range tensors {
		if !find.used[name] && (name != "lm_head.weight" || !tied) {
			return nil, fmt.Errorf("ref: %s: tensor %s has no place in the model", dir, name)
		}
	}
	return m, nil
}

// names are those of tensors that differ between model classes.
type names struct{ top, norm, inputNorm, attentionNorm, postNorm, ffnNorm, o, gate, up, down string }

var (
	llamaNames = names{"model.", "norm", "input_layernorm", "", "post_attention_layernorm", "", "o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}
	optNames   = names{"model.decoder.", "final_layer_norm", "self_attn_layer_norm", "", "final_layer_norm", "", "out_proj", "", "fc1", "fc2"}
)

// config is config.json; pointers tell an absent or null field from zero.
type config struct {
	ModelType         string   `json:"model_type"`
	HiddenSize        int      `json:"hidden_size"`
	IntermediateSize  int      `json:"intermediate_size"`
	FFNDim            int      `json:"ffn_dim"`
	NumHiddenLayers   int      `json:"num_hidden_layers"`
	NumAttentionHeads int      `json:"num_attention_heads"`
	NumKeyValueHeads  int      `json:"num_key_value_heads"`
	HeadDim           int      `json:"head_dim"`
	VocabSize         int      `json:"vocab_size"`
	RMSNormEps        *float64 `json:"rms_norm_eps"`
	RopeTheta         float64  `json:"rope_theta"`
	RopeScaling       *rope    `json:"rope_scaling"`
	RopeParameters    *rope    `json:"rope_parameters"` // transformers 5 joins the two above
	TieWordEmbeddings *bool    `json:"tie_word_embeddings"`
	SlidingWindow     *int     `json:"sliding_window"`
	UseSlidingWindow  *bool    `json:"use_sliding_window"`
	MaxWindowLayers   int      `json:"max_window_layers"`
	LayerTypes        []string `json:"layer_types"`
	NoRopeLayers      []int    `json:"no_rope_layers"`
	NoRopeInterval    *int     `json:"no_rope_layer_interval"`
	MaxPosition       int      `json:"max_position_embeddings"`
	Original          int      `json:"original_max_position_embeddings"`
	mixture
	recipeKeys
}

type rope struct {
	RopeType       string  `json:"rope_type"`
	Type           string  `json:"type"` // the older name
	RopeTheta      float64 `json:"rope_theta"`
	Factor         float64 `json:"factor"`
	LowFreqFactor  float64 `json:"low_freq_factor"`
	HighFreqFactor float64 `json:"high_freq_factor"`
	Original       int     `json:"original_max_position_embeddings"`

	ShortFactor     []float64 `json:"short_factor"`
	LongFactor      []float64 `json:"long_factor"`
	AttentionFactor float64   `json:"attention_factor"`

	BetaFast  float64 `json:"beta_fast"`
	BetaSlow  float64 `json:"beta_slow"`
	MScale    float64 `json:"mscale"`
	MScaleAll float64 `json:"mscale_all_dim"`
	Truncate  *bool   `json:"truncate"`
}

func (c *config) arithmetic() Config {
	a := Config{
		Hidden: c.HiddenSize, FFN: c.IntermediateSize, Vocab: c.VocabSize,
		Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		Eps: map[bool]float64{true: 1e-5, false: 1e-6}[c.ModelType == "phi3" || c.ModelType == "mixtral"], RopeTheta: c.RopeTheta, // what transformers takes for an absent rms_norm_eps
	}
	a.Experts = Mixture{c.PerToken, c.NormTopK || c.ModelType == "mixtral"}
	if c.RMSNormEps != nil {
		a.Eps = *c.RMSNormEps
	}
	if a.KVHeads == 0 {
		a.KVHeads = a.Heads
	}
	if a.HeadDim == 0 {
		a.HeadDim = a.Hidden / a.Heads
	}
	r := c.RopeScaling
	if r == nil {
		r = c.RopeParameters
	}
	if r != nil {
		a.RopeScaling = r.scaling(c)
		if r.RopeTheta != 0 {
			a.RopeTheta = r.RopeTheta
		}
	}
	if a.RopeTheta == 0 {
		a.RopeTheta = 10000
		if theta, ok := map[string]float64{"smollm3": 2e6, "mixtral": 1e6}[c.ModelType]; ok {
			a.RopeTheta = theta
		}
	}
	if c.ModelType == "opt" {
		a.RopeTheta, a.Eps = 0, 1e-5
	}
	return a
}

// scaling fills in what the file leaves to defaults.
func (r *rope) scaling(c *config) RopeScaling {
	s := RopeScaling{Type: r.RopeType, Factor: r.Factor, LowFreqFactor: r.LowFreqFactor, HighFreqFactor: r.HighFreqFactor, OriginalMaxPosition: r.Original,
		Short: r.ShortFactor, Long: r.LongFactor, AttentionFactor: r.AttentionFactor, BetaFast: r.BetaFast, BetaSlow: r.BetaSlow, Untruncated: r.Truncate != nil && !*r.Truncate}
	if s.Type == "" {
		s.Type = r.Type
	}
	if c.ModelType == "phi3" && (s.Type == "su" || s.Type == "yarn") {
		s.Type = "longrope"
	}
	if c.ModelType == "phi3" {
		s.OriginalMaxPosition = 4096
	}
	if s.OriginalMaxPosition == 0 {
		s.OriginalMaxPosition = c.MaxPosition
	}
	if c.Original != 0 {
		s.OriginalMaxPosition = c.Original
	}
	if s.Factor == 0 {
		s.Factor = float64(c.MaxPosition) / float64(s.OriginalMaxPosition)
	}
	if s.BetaFast == 0 {
		s.BetaFast = 32
	}
	if s.BetaSlow == 0 {
		s.BetaSlow = 1
	}
	grown := math.Log(math.Max(1, s.Factor))
	switch {
	case s.AttentionFactor != 0:
	case s.Type == "longrope":
		s.AttentionFactor = math.Sqrt(1 + grown/math.Log(float64(s.OriginalMaxPosition)))
	case s.Type == "yarn" && r.MScale != 0 && r.MScaleAll != 0:
		s.AttentionFactor = (1 + r.MScale*grown/10) / (1 + r.MScaleAll*grown/10)
	case s.Type == "yarn":
		s.AttentionFactor = 1 + grown/10
	}
	return s
}

// window is the sliding window of layer i: Mistral slides everywhere; Qwen only where it is told to, from layer
// max_window_layers on unless layer_types says it layer by layer.
func (c *config) window(i int) int {
	if c.ModelType == "ministral" || c.ModelType == "gemma2" || c.ModelType == "gemma3_text" {
		if c.SlidingWindow != nil && c.slides(i) {
			return *c.SlidingWindow
		}
		return 0
	}
	everywhere := slices.Contains([]string{"mistral", "phi3", "mixtral"}, c.ModelType)
	switch {
	case c.SlidingWindow == nil, c.ModelType == "opt",
		c.UseSlidingWindow != nil && !*c.UseSlidingWindow,
		c.UseSlidingWindow == nil && !everywhere,
		i < len(c.LayerTypes) && c.LayerTypes[i] != "sliding_attention",
		c.ModelType == "smollm3" && len(c.LayerTypes) == 0 && !c.noRope(i),
		c.ModelType != "smollm3" && c.ModelType != "qwen3_moe" && len(c.LayerTypes) == 0 && !everywhere && i < c.MaxWindowLayers:
		return 0
	}
	return *c.SlidingWindow
}

// slides says whether layer i of a model whose layer_types say it has a window: without these all of a Ministral have, of a Gemma 2 every other,
// of a Gemma 3 all but each sixth, or another number.
func (c *config) slides(i int) bool {
	pattern := 6
	if c.WindowPattern != nil {
		pattern = *c.WindowPattern
	}
	switch {
	case c.LayerTypes != nil:
		return c.LayerTypes[i] == "sliding_attention"
	case c.ModelType == "gemma2":
		return i%2 == 0
	case c.ModelType == "gemma3_text":
		return (i+1)%pattern != 0
	}
	return true
}

// noRope says whether layer i turns nothing: of a SmolLM3 where the list has 0, without one every fourth layer, or as the interval says; of a
// hybrid Granite all or none.
func (c *config) noRope(i int) bool {
	if c.ModelType != "smollm3" {
		return c.ModelType == "granitemoehybrid" && c.PositionType != "rope"
	}
	if c.NoRopeLayers != nil {
		return c.NoRopeLayers[i] == 0
	}
	interval := 4
	if c.NoRopeInterval != nil {
		interval = *c.NoRopeInterval
	}
	return (i+1)%interval == 0
}

// tensor is a tensor of a safetensors file, decoded.
type tensor struct {
	shape []int
	data  []float64
}

// finder takes tensors out of a model's files and keeps the first error.
type finder struct {
	dir     string
	tensors map[string]tensor
	used    map[string]bool
	bare    bool // names lack "model." in front
	err     error
}

func (f *finder) get(name string, shape ...int) []float64 {
	name = f.stored(name)
	t, ok := f.tensors[name]
	switch {
	case f.err != nil:
	case !ok:
		f.err = fmt.Errorf("ref: %s: no tensor %s", f.dir, name)
	case fmt.Sprint(t.shape) != fmt.Sprint(shape):
		f.err = fmt.Errorf("ref: %s: tensor %s: shape %v, config says %v", f.dir, name, t.shape, shape)
	}
	if f.used == nil {
		f.used = map[string]bool{}
	}
	f.used[name] = true
	return t.data
}

// unfuse cuts the fused tensors of a Phi-3 or a hybrid Granite into those of a Llama.
func (f *finder) unfuse(layers int, qkv [2]int, ffn int) {
	cut := func(from string, parts map[string][2]int) {
		t, ok := f.tensors[from]
		if !ok || len(t.shape) != 2 {
			return // what misses the parts says so
		}
		for name, rows := range parts {
			if rows[1] <= t.shape[0] {
				f.tensors[name] = tensor{[]int{rows[1] - rows[0], t.shape[1]}, t.data[rows[0]*t.shape[1] : rows[1]*t.shape[1]]}
			}
		}
		delete(f.tensors, from)
	}
	q, kv := qkv[0], qkv[1]
	for i := range layers {
		at := f.stored(fmt.Sprintf("model.layers.%d.", i))
		attn, mlp := at+"self_attn.", at+"mlp."
		cut(attn+"qkv_proj.weight", map[string][2]int{attn + "q_proj.weight": {0, q}, attn + "k_proj.weight": {q, q + kv}, attn + "v_proj.weight": {q + kv, q + 2*kv}})
		for _, fused := range []string{mlp + "gate_up_proj.weight", at + "shared_mlp.input_linear.weight"} {
			cut(fused, map[string][2]int{mlp + "gate_proj.weight": {0, ffn}, mlp + "up_proj.weight": {ffn, 2 * ffn}})
		}
	}
}

func (f *finder) stored(name string) string {
	if f.bare {
		return strings.TrimPrefix(name, "model.")
	}
	return name
}

func (f *finder) vector(name string, n int) []float64 { return f.get(name, n) }

// norm is the weights of one that some models lack: theirs has no name.
func (f *finder) norm(at, name string, n int) []float64 {
	if name == "" {
		return nil
	}
	return f.vector(at+name+".weight", n)
}

func (f *finder) matrix(name string, rows, cols int) Mat {
	return Mat{rows, cols, f.get(name, rows, cols)}
}

func (f *finder) optional(name string, n int) []float64 {
	if _, ok := f.tensors[f.stored(name)]; !ok {
		return nil
	}
	return f.get(name, n)
}

func loadTensors(dir string) (map[string]tensor, error) {
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	err := readJSON(filepath.Join(dir, "model.safetensors.index.json"), &index)
	if errors.Is(err, fs.ErrNotExist) {
		return readSafetensors(filepath.Join(dir, "model.safetensors"))
	}
	if err != nil {
		return nil, err
	}
	shards, all := map[string]map[string]tensor{}, map[string]tensor{}
	for name, file := range index.WeightMap {
		if shards[file] == nil {
			if shards[file], err = readSafetensors(filepath.Join(dir, file)); err != nil {
				return nil, err
			}
		}
		t, ok := shards[file][name]
		if !ok {
			return nil, fmt.Errorf("ref: %s: no tensor %s, which the index puts there", filepath.Join(dir, file), name)
		}
		all[name] = t
	}
	return all, nil
}

// readSafetensors decodes every tensor of a file: 8 bytes of header length, little-endian; the header, JSON; the data.
func readSafetensors(path string) (map[string]tensor, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ref: %w", err)
	}
	if len(file) < 8 || binary.LittleEndian.Uint64(file) > uint64(len(file)-8) {
		return nil, fmt.Errorf("ref: %s: %d bytes, shorter than its header", path, len(file))
	}
	data := file[8+binary.LittleEndian.Uint64(file):]
	var header map[string]json.RawMessage
	if err := json.Unmarshal(file[8:len(file)-len(data)], &header); err != nil {
		return nil, fmt.Errorf("ref: %s: header: %w", path, err)
	}
	delete(header, "__metadata__")
	tensors := map[string]tensor{}
	for name, entry := range header {
		var e struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(entry, &e); err != nil {
			return nil, fmt.Errorf("ref: %s: tensor %s: %w", path, name, err)
		}
		var size int
		var decode func([]byte) float64
		switch e.DType {
		case "F64":
			size, decode = 8, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }
		case "F32":
			size, decode = 4, func(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) }
		case "F16":
			size, decode = 2, func(b []byte) float64 {
				return float64(float16.Frombits(binary.LittleEndian.Uint16(b)).Float32())
			}
		case "BF16":
			size, decode = 2, func(b []byte) float64 {
				return float64(math.Float32frombits(uint32(b[0])<<16 | uint32(b[1])<<24))
			}
		default:
			return nil, fmt.Errorf("ref: %s: tensor %s: dtype %s, expected F64, F32, F16 or BF16", path, name, e.DType)
		}
		n := 1
		for _, d := range e.Shape {
			n *= d
		}
		first, last := e.Offsets[0], e.Offsets[1]
		if first < 0 || last > len(data) || n < 0 || last-first != n*size {
			return nil, fmt.Errorf("ref: %s: tensor %s: bytes [%d, %d) of %d, shape %v of %s", path, name, first, last, len(data), e.Shape, e.DType)
		}
		t := tensor{e.Shape, make([]float64, n)}
		for i := range t.data {
			t.data[i] = decode(data[first+i*size:])
		}
		tensors[name] = t
	}
	return tensors, nil
}

func readJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("ref: %w", err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("ref: %s: %w", path, err)
	}
	return nil
}
