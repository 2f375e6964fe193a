// Package model opens Hugging Face decoders, of the Llama family and OPT, and runs them.
package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/vkcome/vkcome/model/dtype"
)

const (
	configFile = "config.json"
	maxConfig  = 4 << 20 // bytes; real ones have a few thousand
)

// Config is what config.json says of a model, under the names that Hugging Face uses. All sizes are positive and small
// enough that the product of any two fits an int.
type Config struct {
	Architecture string // LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM or OPTForCausalLM
	ModelType    string // llama, mistral, qwen2, qwen3 or opt

	HiddenSize            int
	IntermediateSize      int // ffn_dim of an OPT
	Layers                int // num_hidden_layers
	Heads                 int // num_attention_heads, a multiple of KVHeads
	KVHeads               int // num_key_value_heads
	HeadDim               int // even
	VocabSize             int
	MaxPositionEmbeddings int
	RMSNormEps            float64 // of LayerNorm too

	RopeTheta   float64 // 0 where positions are learned
	RopeScaling RopeScaling

	LayerNorm        bool // norms take the mean away and have biases; else they are RMSNorm
	LearnedPositions bool // rows of a table are added to the embeddings; else q and k are turned
	ReLU             bool // the MLP is down · relu(up · x); else down · (silu(gate · x) · (up · x))

	TieWordEmbeddings bool // the LM head is the embedding
	AttentionBias     bool // q, k and v have biases
	OutputBias        bool // o has one
	MLPBias           bool // gate, up and down have; fc1 and fc2 of an OPT
	QKNorm            bool // q and k are normalized per head before RoPE

	SlidingWindow   int      // positions that a query sees, itself included; 0 means all
	MaxWindowLayers int      // without LayerTypes, the first layer that has the window
	LayerTypes      []string // per layer full_attention or sliding_attention; nil if the file has none

	BOS, EOS []int       // token ids; empty when the file gives none
	DType    dtype.DType // of the weights, as torch_dtype or dtype says; F32 when neither is there

	name string
	raw  []byte
}

// RopeType says how rotary positions are stretched beyond the context that a model was first trained on.
type RopeType string

const (
	RopeNone   RopeType = "none"
	RopeLinear RopeType = "linear" // positions divided by Factor
	RopeLlama3 RopeType = "llama3" // low frequencies divided by Factor, high ones kept, a ramp between
)

// RopeScaling holds rope_scaling. Fields that the type does not use are zero.
type RopeScaling struct {
	Type                RopeType
	Factor              float64
	LowFreqFactor       float64
	HighFreqFactor      float64
	OriginalMaxPosition int
}

// architecture is what a model class fixes in code rather than in config.json.
type architecture struct {
	name, modelType string
	qkvBias         bool // always, whatever attention_bias says
	attentionBias   bool // attention_bias counts, for q, k, v and o
	mlpBias         bool // mlp_bias counts
	qkNorm          bool
	useWindow       bool // sliding_window counts only under use_sliding_window
	window          bool // sliding_window counts
	headDim         int  // when the file has none; 0 means hidden / heads
	maxPosition     int  // when the file has none
	opt             bool // has the keys and tensors of OPT
}

// Source: configuration_*.py and modeling_*.py of transformers 4.45 to 5.
var architectures = []architecture{
	{name: "LlamaForCausalLM", modelType: "llama", attentionBias: true, mlpBias: true, maxPosition: 2048},
	{name: "MistralForCausalLM", modelType: "mistral", window: true, maxPosition: 131072},
	{name: "Qwen2ForCausalLM", modelType: "qwen2", qkvBias: true, window: true, useWindow: true, maxPosition: 32768},
	{name: "Qwen3ForCausalLM", modelType: "qwen3", attentionBias: true, qkNorm: true, window: true, useWindow: true, headDim: 128, maxPosition: 32768},
	{name: "OPTForCausalLM", modelType: "opt", maxPosition: 2048, opt: true},
}

const (
	defaultWindow          = 4096 // sliding_window of Mistral and Qwen where the file lacks the key
	defaultMaxWindowLayers = 28   // max_window_layers of Qwen
	optEps                 = 1e-5 // of PyTorch's LayerNorm
	positionOffset         = 2    // the first row of OPT's table of positions that is one
)

// LoadConfig reads config.json in a Hugging Face folder.
func LoadConfig(dir string) (*Config, error) {
	path := filepath.Join(dir, configFile)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxConfig+1)) // ParseConfig refuses the extra byte
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	return ParseConfig(path, raw)
}

// ParseConfig reads and checks a config.json; name stands for it in messages, each of which names the key, what it
// holds and what was expected. Whatever would change the arithmetic and is not supported is an error, not a guess.
func ParseConfig(name string, raw []byte) (*Config, error) {
	c, err := parseConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("model: %s: %w", name, err)
	}
	c.name = name
	return c, nil
}

func parseConfig(raw []byte) (*Config, error) {
	if len(raw) > maxConfig {
		return nil, fmt.Errorf("larger than %d bytes", maxConfig)
	}
	f := fields{}
	if err := json.Unmarshal(raw, &f.values); err != nil {
		return nil, err
	}
	arch, err := findArchitecture(&f)
	if err != nil {
		return nil, err
	}
	if f.has("quantization_config") {
		var q struct {
			Method string `json:"quant_method"`
		}
		f.get("quantization_config", &q)
		return nil, fmt.Errorf("quantization_config %q: quantized weights are not supported", q.Method)
	}
	c := &Config{Architecture: arch.name, ModelType: arch.modelType, QKNorm: arch.qkNorm, raw: bytes.Clone(raw)}
	c.HiddenSize = f.size("hidden_size", 1<<20, required)
	c.Layers = f.size("num_hidden_layers", 1<<14, required)
	c.Heads = f.size("num_attention_heads", 1<<14, required)
	c.VocabSize = f.size("vocab_size", 1<<24, required)
	c.MaxPositionEmbeddings = f.size("max_position_embeddings", 1<<30, arch.maxPosition)
	c.BOS, c.EOS = f.ids("bos_token_id"), f.ids("eos_token_id")
	f.weights(c)
	if f.err != nil {
		return nil, f.err
	}
	if arch.opt {
		f.opt(c)
	} else {
		f.llama(c, arch)
	}
	if f.err != nil {
		return nil, f.err
	}
	switch {
	case c.Heads%c.KVHeads != 0:
		return nil, fmt.Errorf("num_attention_heads %d is no multiple of num_key_value_heads %d", c.Heads, c.KVHeads)
	case c.HeadDim%2 != 0:
		return nil, fmt.Errorf("head_dim %d is odd, supported are even ones", c.HeadDim)
	case c.RMSNormEps < 0 || c.RMSNormEps > 1:
		return nil, fmt.Errorf("rms_norm_eps %v, expected 0 to 1", c.RMSNormEps)
	}
	return c, nil
}

// llama reads what the architectures of the Llama family have.
func (f *fields) llama(c *Config, arch architecture) {
	if act := f.text("hidden_act", "silu"); act != "silu" {
		f.fail("hidden_act %q, supported is silu", act)
	}
	c.IntermediateSize = f.size("intermediate_size", 1<<22, required)
	c.KVHeads = f.size("num_key_value_heads", 1<<14, c.Heads)
	c.RMSNormEps = f.number("rms_norm_eps", 1e-6)
	c.TieWordEmbeddings = f.flag("tie_word_embeddings", false)
	bias := arch.attentionBias && f.flag("attention_bias", false)
	c.AttentionBias, c.OutputBias = arch.qkvBias || bias, bias
	c.MLPBias = arch.mlpBias && f.flag("mlp_bias", false)
	headDim := arch.headDim
	if headDim == 0 && !f.has("head_dim") {
		if c.HiddenSize%c.Heads != 0 {
			f.fail("hidden_size %d is no multiple of num_attention_heads %d, and head_dim is not given", c.HiddenSize, c.Heads)
		}
		headDim = c.HiddenSize / c.Heads
	}
	c.HeadDim = f.size("head_dim", 1<<14, headDim)
	f.rope(c)
	f.window(c, arch)
}

// opt reads what OPT has. Source: configuration_opt.py and modeling_opt.py of transformers.
func (f *fields) opt(c *Config) {
	for _, k := range []struct {
		key       string
		supported bool
		fallback  bool
		what      string
	}{
		{"do_layer_norm_before", true, true, "norms behind attention and MLP, as of opt-350m, are not supported"},
		{"layer_norm_elementwise_affine", true, true, "norms without weights are not supported"},
		{"_remove_final_layer_norm", false, false, "models without a final norm are not supported"},
	} {
		if v := f.flag(k.key, k.fallback); v != k.supported {
			f.fail("%s %v: %s", k.key, v, k.what)
		}
	}
	if n := f.size("word_embed_proj_dim", 1<<20, c.HiddenSize); n != c.HiddenSize {
		f.fail("word_embed_proj_dim %d, hidden_size %d: embeddings of another size, as of opt-350m, are not supported", n, c.HiddenSize)
	}
	if act := f.text("activation_function", "relu"); act != "relu" {
		f.fail("activation_function %q, supported is relu", act)
	}
	if c.HiddenSize%c.Heads != 0 {
		f.fail("hidden_size %d is no multiple of num_attention_heads %d", c.HiddenSize, c.Heads)
	}
	c.IntermediateSize = f.size("ffn_dim", 1<<22, required)
	c.KVHeads, c.HeadDim, c.RMSNormEps = c.Heads, c.HiddenSize/c.Heads, optEps
	c.LayerNorm, c.LearnedPositions, c.ReLU = true, true, true
	c.TieWordEmbeddings = f.flag("tie_word_embeddings", true)
	bias := f.flag("enable_bias", true)
	c.AttentionBias, c.OutputBias, c.MLPBias = bias, bias, bias
	c.RopeScaling.Type = RopeNone
}

func findArchitecture(f *fields) (architecture, error) {
	var names []string
	f.get("architectures", &names)
	modelType := f.text("model_type", "")
	if f.err != nil {
		return architecture{}, f.err
	}
	for _, a := range architectures {
		if slices.Contains(names, a.name) || len(names) == 0 && modelType == a.modelType {
			return a, nil
		}
	}
	what := "architecture " + clip(strings.Join(names, ", "))
	switch {
	case len(names) == 0 && modelType == "":
		what = "no architectures and no model_type"
	case len(names) == 0:
		what = fmt.Sprintf("model_type %q", modelType)
	}
	var supported []string
	for _, a := range architectures {
		supported = append(supported, a.name)
	}
	return architecture{}, fmt.Errorf("%s, supported are %s", what, strings.Join(supported, ", "))
}

// fields reads values by their exact name and keeps the first error.
type fields struct {
	values map[string]json.RawMessage
	err    error
}

const required = 0 // the fallback of a size that must be there

func (f *fields) has(key string) bool {
	v, ok := f.values[key]
	return ok && string(v) != "null"
}

// get decodes a value, leaving dst as it is when the key is missing or null.
func (f *fields) get(key string, dst any) {
	if f.err == nil && f.has(key) {
		if err := json.Unmarshal(f.values[key], dst); err != nil {
			f.fail("%s %s: %w", key, clip(string(f.values[key])), err)
		}
	}
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// clip makes a stranger's text fit for a message: short, of one line, without control characters.
func clip(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(text) > 60 {
		return strings.ToValidUTF8(text[:60], "") + "…"
	}
	return text
}

// size reads an integer of 1 to most.
func (f *fields) size(key string, most, fallback int) int {
	n := fallback
	f.get(key, &n)
	if n < 1 || n > most {
		if !f.has(key) {
			f.fail("%s is missing", key)
		}
		f.fail("%s %d, expected 1 to %d", key, n, most)
	}
	return n
}

func (f *fields) number(key string, fallback float64) float64 {
	f.get(key, &fallback)
	return fallback
}

func (f *fields) text(key, fallback string) string {
	f.get(key, &fallback)
	return fallback
}

func (f *fields) flag(key string, fallback bool) bool {
	f.get(key, &fallback)
	return fallback
}

// ids reads a token id or an array of them.
func (f *fields) ids(key string) []int {
	if !f.has(key) {
		return nil
	}
	var many []int
	if f.values[key][0] == '[' {
		f.get(key, &many)
	} else {
		many = []int{0}
		f.get(key, &many[0])
	}
	for _, id := range many {
		if id < 0 {
			f.fail("%s %d is negative", key, id)
		}
	}
	return many
}

func (f *fields) weights(c *Config) {
	name := strings.TrimPrefix(f.text("torch_dtype", f.text("dtype", "float32")), "torch.")
	switch name {
	case "float32":
		c.DType = dtype.F32
	case "float16":
		c.DType = dtype.F16
	case "bfloat16":
		c.DType = dtype.BF16
	default:
		f.fail("torch_dtype %q, supported are float32, float16, bfloat16", name)
	}
}

// rope reads rope_theta with rope_scaling, or the rope_parameters of transformers 5 that hold both.
func (f *fields) rope(c *Config) {
	key := "rope_scaling"
	if f.has("rope_parameters") {
		key = "rope_parameters"
	}
	in := fields{err: f.err}
	f.get(key, &in.values)

	c.RopeTheta = in.number("rope_theta", f.number("rope_theta", 10000))
	if !(c.RopeTheta >= 1 && c.RopeTheta <= 1e12) {
		f.fail("rope_theta %v, expected 1 to 1e12", c.RopeTheta)
	}
	if part := in.number("partial_rotary_factor", f.number("partial_rotary_factor", 1)); part != 1 {
		f.fail("partial_rotary_factor %v, supported is 1", part)
	}
	for _, name := range slices.Sorted(maps.Keys(in.values)) {
		if in.values[name][0] == '{' {
			f.fail("%s has rotary positions of their own for %s, which is not supported", key, clip(name))
		}
	}
	s := RopeScaling{Type: RopeType(in.text("rope_type", in.text("type", "default")))}
	positive := func(name string, fallback float64) float64 {
		v := in.number(name, fallback)
		if in.err == nil && !(v > 0 && v <= 1e9) {
			in.fail("%s: %s %v, expected more than 0", key, name, v)
		}
		return v
	}
	switch s.Type {
	case "default", "none":
		s.Type = RopeNone
	case RopeLinear:
		s.Factor = positive("factor", 0)
	case RopeLlama3:
		s.Factor = positive("factor", 0)
		s.LowFreqFactor = positive("low_freq_factor", 0)
		s.HighFreqFactor = positive("high_freq_factor", 0)
		s.OriginalMaxPosition = in.size("original_max_position_embeddings", 1<<30, c.MaxPositionEmbeddings)
		if s.HighFreqFactor <= s.LowFreqFactor {
			in.fail("%s: high_freq_factor %v is not above low_freq_factor %v", key, s.HighFreqFactor, s.LowFreqFactor)
		}
	default:
		in.fail("%s type %q, supported are default, linear, llama3", key, s.Type)
	}
	if in.err != nil {
		f.fail("%w", in.err)
	}
	c.RopeScaling = s
}

// window reads the sliding window, 0 when no query can reach its end.
func (f *fields) window(c *Config, arch architecture) {
	f.get("layer_types", &c.LayerTypes)
	if c.LayerTypes != nil && len(c.LayerTypes) != c.Layers {
		f.fail("layer_types has %d entries, num_hidden_layers is %d", len(c.LayerTypes), c.Layers)
	}
	for i, kind := range c.LayerTypes {
		if kind != "full_attention" && kind != "sliding_attention" {
			f.fail("layer_types: layer %d is %q, supported are full_attention, sliding_attention", i, kind)
		}
	}
	if arch.useWindow {
		c.MaxWindowLayers = defaultMaxWindowLayers
		f.get("max_window_layers", &c.MaxWindowLayers)
	}
	if arch.window && (!arch.useWindow || f.flag("use_sliding_window", false)) {
		c.SlidingWindow = defaultWindow
		if _, there := f.values["sliding_window"]; there { // null is none
			c.SlidingWindow = 0
			f.get("sliding_window", &c.SlidingWindow)
		}
	}
	if c.SlidingWindow < 0 {
		f.fail("sliding_window %d is negative", c.SlidingWindow)
	}
	switch full, sliding := slices.Index(c.LayerTypes, "full_attention"), slices.Index(c.LayerTypes, "sliding_attention"); {
	case !arch.useWindow && c.SlidingWindow > 0 && full >= 0:
		f.fail("layer_types: layer %d is full_attention, the sliding_window of %s is that of every layer", full, arch.name)
	case arch.useWindow && c.SlidingWindow == 0 && sliding >= 0:
		f.fail("layer_types: layer %d is sliding_attention, without sliding_window and use_sliding_window", sliding)
	}
	if c.SlidingWindow >= c.MaxPositionEmbeddings {
		c.SlidingWindow = 0
	}
}

// Window is the number of positions that a query of the layer sees, itself included; 0 means all.
func (c *Config) Window(layer int) int {
	switch {
	case c.LayerTypes != nil && c.LayerTypes[layer] == "full_attention":
		return 0
	case c.LayerTypes == nil && layer < c.MaxWindowLayers:
		return 0
	}
	return c.SlidingWindow
}

// TensorShape names a tensor as Hugging Face does and gives its shape; a matrix is [out, in].
type TensorShape struct {
	Name  string
	Shape []int
}

// isOPT says whether tensors have the names of OPT, rather than those of Llama.
func (c *Config) isOPT() bool { return c.ModelType == "opt" }

// topNames names the tensors outside the layers in the order of Model.top: embedding, positions, final norm and its bias, LM head.
// Those that a model lacks are empty.
func (c *Config) topNames() [numTop]string {
	names := [numTop]string{topEmbed: "model.embed_tokens.weight", topNorm: "model.norm.weight", topHead: "lm_head.weight"}
	if c.isOPT() {
		names = [numTop]string{topEmbed: "model.decoder.embed_tokens.weight", topPositions: "model.decoder.embed_positions.weight",
			topNorm: "model.decoder.final_layer_norm.weight", topNormBias: "model.decoder.final_layer_norm.bias", topHead: "lm_head.weight"}
	}
	if c.TieWordEmbeddings {
		names[topHead] = ""
	}
	return names
}

// TopTensors lists the tensors outside the layers: embedding, learned positions if there are, final norm and, unless it is tied, the
// LM head.
func (c *Config) TopTensors() []TensorShape {
	vocab := []int{c.VocabSize, c.HiddenSize}
	shapes := [numTop][]int{topEmbed: vocab, topPositions: {c.MaxPositionEmbeddings + positionOffset, c.HiddenSize}, topNorm: {c.HiddenSize}, topNormBias: {c.HiddenSize}, topHead: vocab}
	var list []TensorShape
	for i, name := range c.topNames() {
		if name != "" {
			list = append(list, TensorShape{name, shapes[i]})
		}
	}
	return list
}

// LayerTensors lists the tensors of one layer in the order of their parts, biases and norms only where the model has them.
func (c *Config) LayerTensors(layer int) []TensorShape {
	var list []TensorShape
	for p := range NumParts {
		if shape := c.partShape(p); shape != nil {
			list = append(list, TensorShape{c.TensorName(layer, p), shape})
		}
	}
	return list
}

// partShape is the shape of a part, nil where the model lacks it.
func (c *Config) partShape(p Part) []int {
	hidden, q, kv, ffn := c.HiddenSize, c.Heads*c.HeadDim, c.KVHeads*c.HeadDim, c.IntermediateSize
	there, shape := true, []int(nil)
	switch p {
	case InputNorm, PostNorm:
		shape = []int{hidden}
	case InputNormBias, PostNormBias:
		there, shape = c.LayerNorm, []int{hidden}
	case Q:
		shape = []int{q, hidden}
	case K, V:
		shape = []int{kv, hidden}
	case QBias:
		there, shape = c.AttentionBias, []int{q}
	case KBias, VBias:
		there, shape = c.AttentionBias, []int{kv}
	case QNorm, KNorm:
		there, shape = c.QKNorm, []int{c.HeadDim}
	case O:
		shape = []int{hidden, q}
	case OBias:
		there, shape = c.OutputBias, []int{hidden}
	case Gate:
		there, shape = !c.ReLU, []int{ffn, hidden}
	case GateBias:
		there, shape = c.MLPBias && !c.ReLU, []int{ffn}
	case Up:
		shape = []int{ffn, hidden}
	case UpBias:
		there, shape = c.MLPBias, []int{ffn}
	case Down:
		shape = []int{hidden, ffn}
	case DownBias:
		there, shape = c.MLPBias, []int{hidden}
	}
	if !there {
		return nil
	}
	return shape
}

// perLayer are keys of arrays with one entry a layer whose names lack the word "layer". Any other key must have it: an
// array may have as many entries as there are layers by chance, as eos_token_id.
var perLayer = []string{"sliding_window_pattern", "attention_types", "attn_types", "rope_types", "no_rope_pattern"}

// layerLists are keys that have the word, but hold indices of layers.
var layerLists = []string{"mlp_only_layers", "full_attn_layers", "cross_attention_layers"}

// JSON is the config.json that the Config was parsed from.
func (c *Config) JSON() []byte { return bytes.Clone(c.raw) }

// WithLayers gives the config.json of a model made of the listed layers, in this order: the original text with
// num_hidden_layers, every array with one entry a layer and max_window_layers changed, and nothing else, unknown keys
// and formatting included. An empty list, a layer that the model lacks or an order in which layers cannot keep their
// sliding windows is an error.
func (c *Config) WithLayers(keep []int) ([]byte, error) {
	if len(keep) == 0 {
		return nil, fmt.Errorf("model: %s: no layers to keep", c.name)
	}
	for _, l := range keep {
		if l < 0 || l >= c.Layers {
			return nil, fmt.Errorf("model: %s: layer %d of %d", c.name, l, c.Layers)
		}
	}
	out, err := c.withLayers(keep)
	if err == nil {
		var got *Config
		if got, err = parseConfig(out); err == nil && got.Layers != len(keep) {
			err = fmt.Errorf("num_hidden_layers could not be changed")
		}
		for i, l := range keep {
			if err == nil && got.Window(i) != c.Window(l) {
				err = fmt.Errorf("layer %d as layer %d would lose its sliding window", l, i)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("model: %s: %w", c.name, err)
	}
	return out, nil
}

func (c *Config) withLayers(keep []int) ([]byte, error) {
	spans, err := objectSpans(c.raw)
	if err != nil {
		return nil, err
	}
	// The layers below max_window_layers attend fully. Counting those that stay keeps each layer's attention what it was.
	below := func(most int) (n int) {
		for _, l := range keep {
			if l < most {
				n++
			}
		}
		return n
	}
	windows := "" // where the file relies on the default
	if c.LayerTypes == nil && c.SlidingWindow > 0 && c.MaxWindowLayers > 0 && !slices.ContainsFunc(spans, func(s span) bool { return s.key == "max_window_layers" }) {
		windows = fmt.Sprintf(", \"max_window_layers\": %d", below(c.MaxWindowLayers))
	}
	var out []byte
	at := 0
	for _, s := range spans {
		value := c.raw[s.begin:s.end]
		switch {
		case s.key == "num_hidden_layers":
			value = fmt.Append(nil, len(keep), windows)
		case s.key == "max_window_layers":
			most := c.MaxWindowLayers
			if json.Unmarshal(value, &most) == nil && (string(value) != "null" || c.SlidingWindow > 0) {
				value = fmt.Append(nil, below(most))
			}
		case value[0] == '[' && describesLayers(s.key):
			if value, err = cutArray(value, c.Layers, keep); err != nil {
				return nil, fmt.Errorf("%s: %w", s.key, err)
			}
		}
		out = append(append(out, c.raw[at:s.begin]...), value...)
		at = s.end
	}
	return append(out, c.raw[at:]...), nil
}

func describesLayers(key string) bool {
	return slices.Contains(perLayer, key) || strings.Contains(key, "layer") && !slices.Contains(layerLists, key)
}

// span is where a value lies in its text.
type span struct {
	key        string // empty in an array
	begin, end int
}

// objectSpans finds the values of a JSON object.
func objectSpans(text []byte) ([]span, error) {
	return spans(text, func(dec *json.Decoder) (string, error) {
		key, err := dec.Token()
		name, _ := key.(string)
		return name, err
	})
}

// spans finds the values of a JSON object or array; key reads what stands before each.
func spans(text []byte, key func(*json.Decoder) (string, error)) ([]span, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	var list []span
	for dec.More() {
		name, err := key(dec)
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		end := int(dec.InputOffset())
		begin := end - len(value)
		if !bytes.Equal(text[begin:end], value) {
			return nil, errors.New("JSON value is not where it was read")
		}
		list = append(list, span{name, begin, end})
	}
	return list, nil
}

// cutArray keeps the listed elements of a JSON array of the given length, with the spacing that it had; an array of
// another length comes back unchanged.
func cutArray(text []byte, length int, keep []int) ([]byte, error) {
	elements, err := spans(text, func(*json.Decoder) (string, error) { return "", nil })
	if err != nil || len(elements) != length {
		return text, err
	}
	separator := []byte(", ")
	if length > 1 {
		separator = text[elements[0].end:elements[1].begin]
	}
	out := slices.Clone(text[:elements[0].begin])
	for i, l := range keep {
		if i > 0 {
			out = append(out, separator...)
		}
		out = append(out, text[elements[l].begin:elements[l].end]...)
	}
	return append(out, text[elements[length-1].end:]...), nil
}
