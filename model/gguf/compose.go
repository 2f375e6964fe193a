package gguf

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/model/arch"
)

// ConfigJSON composes the config.json of the model that the file holds, and says as which family. Metadata that the family's table has
// become the keys of config.json that it names; what is missing has llama.cpp's default; a key or a value that would change the arithmetic
// and is not known is an error.
func (f *File) ConfigJSON() ([]byte, *Family, error) {
	c := &composer{file: f, config: map[string]any{}}
	raw, err := c.compose()
	if err != nil {
		return nil, nil, fmt.Errorf("gguf: %s: %w", f.path, err)
	}
	return raw, c.family, nil
}

// composer makes a config.json out of metadata. It keeps the first error.
type composer struct {
	file   *File
	family *Family
	config map[string]any
	pairs  int // that are turned in a head, where these are not all
	err    error
}

func (c *composer) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *composer) compose() ([]byte, error) {
	if kind, ok := c.file.Value("general.type"); ok && kind != "model" {
		return nil, fmt.Errorf("general.type %s: not a language model", shown(kind))
	}
	name, _ := c.file.values["general.architecture"].(string)
	var err error
	if c.family, err = FindFamily(name); err != nil {
		return nil, err
	}
	architecture := c.family.Of[0]
	if n, ok := asInt(c.file.values[name+".expert_count"]); ok && n > 0 && c.family.Sparse != "" {
		architecture = c.family.Sparse
	}
	c.config["architectures"] = []string{architecture}
	for _, f := range arch.Families() {
		if f.Architecture == architecture {
			c.config["model_type"] = f.ModelType
		}
	}
	for _, p := range c.file.pairs {
		if key, own := strings.CutPrefix(p.Key, name+"."); own {
			c.key(key, p.Value)
		}
	}
	maps.Copy(c.config, c.family.Fixed)
	c.sizes()
	c.need()
	if name == "gemma2" || name == "gemma3" {
		c.config["query_pre_attn_scalar"] = gemmaScalar(name, c.size("block_count", 0), c.size("embedding_length", 0), c.size("attention.head_count", 0), c.headDim())
	}
	c.scaling()
	c.presence()
	for key, id := range map[string]string{"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"} {
		if n, ok := c.file.TokenID(id); ok {
			c.config[key] = n
		}
	}
	if c.err != nil {
		return nil, c.err
	}
	return plainJSON(c.config)
}

// shortest is a metadata value as JSON: a float32 with as few digits as tell it from others, so that 1e-05 is 1e-05 again.
func shortest(v any) any {
	if f, ok := v.(float32); ok {
		return json.Number(strconv.FormatFloat(float64(f), 'g', -1, 32))
	}
	return v
}

// key reads a key of the family's own.
func (c *composer) key(key string, v any) {
	if key == "attention.sliding_window_pattern" && c.pattern(v) {
		return
	}
	if same, ok := uniform(v); ok {
		v = same
	}
	if f, ok := v.(float32); ok && f-f != 0 {
		c.fail("%s.%s is %v", c.family.Name, key, f)
		return
	}
	if to := c.configKey(key); to == "sliding_window" && is(0)(c, v) { // it has none
		return
	} else if to != "" {
		switch v.(type) {
		case string, bool, float32, uint8, int8, uint16, int16, uint32, int32, uint64, int64:
			c.config[to] = shortest(v)
		default:
			c.fail("%s.%s is %s, expected one value for all layers", c.family.Name, key, shown(v))
		}
		return
	}
	if harmless, known := checked[key]; known {
		if !harmless(c, v) {
			c.fail("%s.%s is %s: not supported", c.family.Name, key, shown(v))
		}
		return
	}
	c.fail("%s.%s: a key that is not known, and may change what the model computes", c.family.Name, key)
}

// pattern reads which layers have a sliding window. A number is llama.cpp's own way to count them, which is not read.
func (c *composer) pattern(v any) bool {
	list, ok := v.([]bool)
	if !ok || len(list) != c.size("block_count", 0) {
		return false
	}
	var types []string
	for _, slides := range list {
		types = append(types, map[bool]string{true: "sliding_attention", false: "full_attention"}[slides])
	}
	c.config["layer_types"] = types
	return true
}

// configKey is the key of config.json that holds the same value: as the family's table says, or else that of llama, which has what all share.
func (c *composer) configKey(key string) string {
	for _, f := range []*Family{c.family, families[0]} {
		for _, k := range f.Keys {
			if k.Name == key && (k.Config != "" || f == c.family) {
				return k.Config
			}
		}
	}
	return ""
}

// uniform is the value that all entries of an array have.
func uniform(v any) (any, bool) {
	switch list := v.(type) {
	case []uint32:
		return same(list)
	case []int32:
		return same(list)
	case []float32:
		return same(list)
	case []bool:
		return same(list)
	}
	return nil, false
}

func same[T comparable](list []T) (any, bool) {
	if len(list) == 0 || slices.ContainsFunc(list, func(v T) bool { return v != list[0] }) {
		return nil, false
	}
	return list[0], true
}

// checked are keys that no config.json has under another name, with what says whether a value changes nothing, or is read elsewhere.
var checked = map[string]func(c *composer, v any) bool{
	"vocab_size":                           ignored, // the embedding has so many rows
	"rope.dimension_count":                 (*composer).turned,
	"attention.value_length":               func(c *composer, v any) bool { return c.isHeadDim(v) },
	"attention.causal":                     is(true),
	"nextn_predict_layers":                 is(0),
	"attention.sliding_window":             is(0),
	"leading_dense_block_count":            is(0),
	"tensor_data_layout":                   func(_ *composer, v any) bool { return v == "Meta AI original pth" },
	"rope.scaling.finetuned":               ignored,
	"rope.scaling.type":                    inScaling,
	"rope.scaling.factor":                  inScaling,
	"rope.scale_linear":                    inScaling,
	"rope.scaling.attn_factor":             inScaling,
	"rope.scaling.yarn_beta_fast":          inScaling,
	"rope.scaling.yarn_beta_slow":          inScaling,
	"rope.scaling.yarn_ext_factor":         ignored,
	"rope.scaling.yarn_attn_factor":        inScaling,
	"rope.scaling.original_context_length": inScaling,
}

// inScaling is read by scaling; with what is ignored nothing is computed.
func inScaling(*composer, any) bool { return true }
func ignored(*composer, any) bool   { return true }

// is says whether a value is one: an integer, 0 for false too, or a truth.
func is[T int | bool](want T) func(*composer, any) bool {
	return func(_ *composer, v any) bool {
		switch want := any(want).(type) {
		case int:
			n, isInt := asInt(v)
			f, isFloat := v.(float32)
			return isInt && n == int64(want) || isFloat && f == float32(want)
		default:
			return v == want
		}
	}
}

// size is a metadata value of the family's own that must be a positive integer, or the fallback where it is missing.
func (c *composer) size(key string, fallback int) int {
	v, ok := c.file.Value(c.family.Name + "." + key)
	if one, same := uniform(v); same {
		v = one
	}
	n, isInt := asInt(v)
	switch {
	case !ok && fallback > 0:
		return fallback
	case !ok:
		c.fail("%s.%s is missing", c.family.Name, key)
		return 1
	case !isInt || n < 1 || n > 1<<30:
		c.fail("%s.%s is %s, expected a positive integer", c.family.Name, key, shown(v))
		return 1
	}
	return int(n)
}

func (c *composer) headDim() int {
	heads := c.size("attention.head_count", 0)
	return c.size("attention.key_length", max(1, c.size("embedding_length", 0)/heads))
}

// turned reads how many channels of a head are turned. llama.cpp turns all of a llama's.
func (c *composer) turned(v any) bool {
	n, ok := asInt(v)
	dim := c.headDim()
	if ok && n > 0 && n < int64(dim) && c.family.Name != "llama" {
		c.pairs = int(n / 2)
		c.config["partial_rotary_factor"] = float64(n) / float64(dim)
		return n%2 == 0
	}
	return ok && n == int64(dim)
}

func (c *composer) isHeadDim(v any) bool {
	n, ok := asInt(v)
	return ok && n == int64(c.headDim())
}

// needed are keys of config.json whose default is not llama.cpp's, or which llama.cpp has no default for.
var needed = []string{"rms_norm_eps", "layer_norm_eps", "attention_multiplier", "logits_scaling", "moe_intermediate_size"}

// need refuses a file that lacks a key of its family's which has no default.
func (c *composer) need() {
	for _, k := range c.family.Keys {
		if _, ok := c.config[k.Config]; !ok && slices.Contains(needed, k.Config) {
			c.fail("%s.%s is missing", c.family.Name, k.Name)
		}
	}
}

// sizes sets what llama.cpp has another default for than config.json, and what it reads from tensors.
func (c *composer) sizes() {
	for _, key := range []string{"block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count"} {
		c.size(key, 0)
	}
	if _, ok := c.file.Value(c.family.Name + ".attention.key_length"); !ok && c.size("embedding_length", 0)%c.size("attention.head_count", 0) != 0 {
		c.fail("%[1]s.attention.key_length is missing, and %[1]s.embedding_length is no multiple of %[1]s.attention.head_count", c.family.Name)
	}
	c.config["head_dim"] = c.headDim()
	c.config["num_key_value_heads"] = c.size("attention.head_count_kv", c.size("attention.head_count", 0))
	if _, ok := c.config["rope_theta"]; !ok {
		c.config["rope_theta"] = 10000
	}
	embed, ok := c.file.Lookup("token_embd.weight")
	if !ok || len(embed.Shape) != 2 {
		c.fail("tensor token_embd.weight: missing, or no matrix")
		return
	}
	c.config["vocab_size"] = embed.Shape[0]
}

// presence sets what only the tensors tell: a head of the model's own, biases, and the dtype.
func (c *composer) presence() {
	has := func(name string) bool { _, ok := c.file.Lookup(name); return ok }
	c.config["tie_word_embeddings"] = !has("output.weight")
	for _, b := range []struct{ key, tensor string }{{c.family.biasKey(), "blk.0.attn_q.bias"}, {"mlp_bias", "blk.0.ffn_up.bias"}} {
		if b.key != "" && has(b.tensor) {
			c.config[b.key] = true
		}
	}
	c.config["dtype"] = "float16"
	if t, ok := c.file.Lookup("blk.0.ffn_down.weight"); ok {
		if name, wide := map[Type]string{F32: "float32", BF16: "bfloat16"}[t.Type]; wide {
			c.config["dtype"] = name
		}
	}
}

// biasKey is the key of config.json that says that queries, keys and values have biases; "": they always have, or never.
func (f *Family) biasKey() string {
	switch f.Name {
	case "qwen2", "phi3":
		return ""
	case "stablelm":
		return "use_qkv_bias"
	}
	return "attention_bias"
}

// float is a metadata value of the family's own that must be a positive number, or the fallback where it is missing.
func (c *composer) float(key string, fallback float64) float64 {
	v, ok := c.file.Value(c.family.Name + "." + key)
	if !ok {
		return fallback
	}
	f, isFloat := v.(float32)
	if !isFloat || !(f > 0 && f <= 1e9) {
		c.fail("%s.%s is %s, expected a positive number", c.family.Name, key, shown(v))
		return 1
	}
	n, _ := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	return n
}

// scaling sets how rotary positions are stretched.
func (c *composer) scaling() {
	kind, _ := c.file.values[c.family.Name+".rope.scaling.type"].(string)
	factor := c.float("rope.scaling.factor", c.float("rope.scale_linear", 1))
	context := c.size("context_length", 0)
	original := c.size("rope.scaling.original_context_length", context)
	long, isLong := c.file.Lookup(RopeFactorsLong)
	freqs, hasFreqs := c.file.Lookup(RopeFreqs)
	var s map[string]any
	switch {
	case isLong:
		short, _ := c.file.Lookup(RopeFactorsShort)
		s = map[string]any{"rope_type": string(arch.RopeLong), "long_factor": c.factors(long), "short_factor": c.factors(short)}
		s["attention_factor"] = c.float("rope.scaling.attn_factor", 1)
		s["original_max_position_embeddings"] = original
		c.config["original_max_position_embeddings"] = original
	case hasFreqs && factor == 1:
		s = c.frequencies(c.factors(freqs), context)
	case hasFreqs:
		c.fail("tensor %s beside rope.scaling.factor %v: not supported", RopeFreqs, factor)
	case factor == 1 || kind == "none":
	case kind == "linear" || kind == "":
		s = map[string]any{"rope_type": string(arch.RopeLinear), "factor": factor}
	case kind == "yarn":
		s = map[string]any{"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
		plain := 0.1*math.Log(factor) + 1 // what it is where a file has none
		attention := c.float("rope.scaling.attn_factor", 1) * c.float("rope.scaling.yarn_attn_factor", plain)
		if attention != plain {
			s["attention_factor"] = attention
		}
		s["beta_fast"], s["beta_slow"] = c.float("rope.scaling.yarn_beta_fast", 32), c.float("rope.scaling.yarn_beta_slow", 1)
	default:
		c.fail("%s.rope.scaling.type %.60q: not supported", c.family.Name, kind)
	}
	if s != nil {
		c.config["rope_scaling"] = s
	}
}

// factors are the values of a tensor of one number for each pair that is turned.
func (c *composer) factors(t Tensor) (out []float64) {
	want := cmp.Or(c.pairs, c.headDim()/2)
	if t.Type != F32 || len(t.Shape) != 1 || t.Shape[0] != want {
		c.fail("tensor %s: %v of shape %v, expected F32 of [%d]", t.Name, t.Type, t.Shape, want)
		return nil
	}
	list, raw := make([]float32, want), make([]byte, t.Size())
	if err := t.Read(raw, 0); err != nil {
		c.fail("%w", err)
		return nil
	}
	F32.Decode(list, raw)
	for _, v := range list {
		if !(v > 0 && v <= 1e9) {
			c.fail("tensor %s: a factor of %v, expected more than 0", t.Name, v)
		}
		out = append(out, float64(v))
	}
	return out
}

// frequencies is the scaling that divides each pair's frequency by a factor: that of Llama 3 where it gives these factors, in the form that
// every published model has it; else the factors as they are.
func (c *composer) frequencies(factors []float64, context int) map[string]any {
	if c.err != nil {
		return nil
	}
	const low, high, original = 1, 4, 8192
	s := arch.RopeScaling{Type: arch.RopeLlama3, Factor: slices.Max(factors), LowFreqFactor: low, HighFreqFactor: high, OriginalMaxPosition: original}
	theta, _ := strconv.ParseFloat(fmt.Sprint(c.config["rope_theta"]), 64)
	plain, scaled := arch.RopeFrequencies(2*len(factors), theta, arch.RopeScaling{}, context), arch.RopeFrequencies(2*len(factors), theta, s, context)
	for i, f := range factors {
		if math.Abs(plain[i]/scaled[i]-f) > 1e-5*f { // the converter computes in float32
			return map[string]any{"rope_type": string(arch.RopeLong), "long_factor": factors, "short_factor": factors, "attention_factor": 1.0,
				"original_max_position_embeddings": context}
		}
	}
	return map[string]any{"rope_type": string(arch.RopeLlama3), "factor": s.Factor, "low_freq_factor": float64(low), "high_freq_factor": float64(high),
		"original_max_position_embeddings": original}
}

// extra are tensors that are read into the config.
var extra = map[string]bool{RopeFreqs: true, RopeFactorsLong: true, RopeFactorsShort: true}

// flat is a shape of matrices one behind the other, those of experts, as one matrix.
func flat(shape []int) []int {
	if len(shape) != 3 {
		return shape
	}
	return []int{shape[0] * shape[1], shape[2]}
}

// Check compares the tensors of the file with those that the family has for a config: all must be there, in their shapes and of a type that
// can be read, and no other, which might change what the model computes.
func (f *File) Check(family *Family, c *arch.Config) error {
	known := maps.Clone(extra)
	want := family.TopTensors(c)
	for l := range c.Layers {
		want = append(want, family.LayerTensors(c, l)...)
	}
	for _, w := range want {
		known[w.Name] = true
		t, ok := f.Lookup(w.Name)
		switch {
		case !ok:
			return fmt.Errorf("gguf: %s: tensor %s is missing, the metadata promise it with shape %v", f.path, w.Name, w.Shape)
		case !slices.Equal(flat(t.Shape), w.Shape):
			return fmt.Errorf("gguf: %s: tensor %s: shape %v, the metadata say %v", t.File, t.Name, t.Shape, w.Shape)
		case len(t.Shape) == 1 && types[t.Type].block > 1:
			return fmt.Errorf("gguf: %s: tensor %s: a vector of %v, which llama.cpp does not write", t.File, t.Name, t.Type)
		case !t.Type.Readable():
			return fmt.Errorf("gguf: %s: tensor %s is %v, supported are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 and Q2_K to Q6_K", t.File, t.Name, t.Type)
		}
	}
	for _, name := range f.Names() {
		if !known[name] {
			return fmt.Errorf("gguf: %s: tensor %s: not known of %s, and it may change what the model computes", f.tensors[name].File, name, family.Name)
		}
	}
	return nil
}
