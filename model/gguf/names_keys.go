package gguf

import (
	"encoding/json"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model/arch"
)

// Values is what the values of keys are read from: a config, and its config.json where llama.cpp's converter goes by the text.
type Values struct {
	*arch.Config
	file map[string]json.RawMessage
}

// ValuesOf reads a config's.
func ValuesOf(c *arch.Config) (*Values, error) {
	v := &Values{Config: c}
	return v, json.Unmarshal(c.JSON(), &v.file)
}

// stated is a number of config.json as it stands there, else 0.
func (v *Values) stated(key string) (n float64) {
	if json.Unmarshal(v.file[key], &n) != nil {
		return 0
	}
	return n
}

func (v *Values) has(key string) bool {
	raw, ok := v.file[key]
	return ok && string(raw) != "null"
}

// number makes a key of a size.
func number(name, config string, value func(c *Values) int) Key {
	return Key{name, config, func(c *Values) any { return uint32(value(c)) }}
}

// real makes a key of a number with a fraction.
func real(name, config string, value func(c *Values) float64) Key {
	return Key{name, config, func(c *Values) any { return float32(value(c)) }}
}

// stated makes a key of a number of config.json as it stands there, or a fallback.
func stated(name, config string, fallback float64) Key {
	return real(name, config, func(c *Values) float64 {
		if !c.has(config) {
			return fallback
		}
		return c.stated(config)
	})
}

// unlessZero makes a key that is written only where its value is not zero.
func unlessZero(k Key) Key {
	value := k.Value
	k.Value = func(c *Values) any {
		if v := value(c); v != any(uint32(0)) && v != any(float32(0)) {
			return v
		}
		return nil
	}
	return k
}

// The keys that families share.
var (
	blockCount    = number("block_count", "num_hidden_layers", func(c *Values) int { return c.Layers })
	contextLength = number("context_length", "max_position_embeddings", func(c *Values) int { return c.MaxPositionEmbeddings })
	embedding     = number("embedding_length", "hidden_size", func(c *Values) int { return c.HiddenSize })
	feedForward   = number("feed_forward_length", "intermediate_size", func(c *Values) int { return c.IntermediateSize })
	headCount     = number("attention.head_count", "num_attention_heads", func(c *Values) int { return c.Heads })
	headCountKV   = number("attention.head_count_kv", "num_key_value_heads", func(c *Values) int { return c.KVHeads })
	freqBase      = real("rope.freq_base", "rope_theta", func(c *Values) float64 { return c.RopeTheta })
	rmsEps        = real("attention.layer_norm_rms_epsilon", "rms_norm_eps", func(c *Values) float64 { return c.RMSNormEps })
	keyLength     = number("attention.key_length", "head_dim", func(c *Values) int { return c.HeadDim })
	valueLength   = number("attention.value_length", "", func(c *Values) int { return c.HeadDim })
	expertCount   = unlessZero(number("expert_count", "num_local_experts", func(c *Values) int { return c.Experts }))
	expertsUsed   = unlessZero(number("expert_used_count", "num_experts_per_tok", func(c *Values) int { return c.PerToken }))
	vocabSize     = number("vocab_size", "vocab_size", func(c *Values) int { return c.VocabSize })
	ropeDimension = number("rope.dimension_count", "", func(c *Values) int { return c.Rotated(c.HeadDim) })
)

// ropeScaling are the keys of stretched positions. Those of llama3 and longrope lie in tensors, and dynamic ones need none.
var ropeScaling = []Key{
	{"rope.scaling.type", "", func(c *Values) any {
		if t := c.RopeScaling.Type; t == arch.RopeLinear || t == arch.RopeYarn {
			return string(t)
		}
		return nil
	}},
	unlessZero(real("rope.scaling.factor", "", func(c *Values) float64 {
		if t := c.RopeScaling.Type; t == arch.RopeLinear || t == arch.RopeYarn {
			return c.RopeScaling.Factor
		}
		return 0
	})),
	yarn(number("rope.scaling.original_context_length", "", func(c *Values) int { return c.RopeScaling.OriginalMaxPosition })),
	yarn(real("rope.scaling.yarn_beta_fast", "", func(c *Values) float64 { return c.ropeNumber("beta_fast") })),
	yarn(real("rope.scaling.yarn_beta_slow", "", func(c *Values) float64 { return c.ropeNumber("beta_slow") })),
	yarn(real("rope.scaling.yarn_attn_factor", "", func(c *Values) float64 { return c.ropeNumber("attention_factor") })),
	// What llama.cpp multiplies its own factor by: the key before this one is for people.
	yarn(real("rope.scaling.attn_factor", "", func(c *Values) float64 {
		own := 1.0
		if f := c.RopeScaling.Factor; f > 1 {
			own = 1 + 0.1*math.Log(f)
		}
		if ratio := c.RopeScaling.AttentionFactor / own; math.Abs(ratio-1) > 1e-6 {
			return ratio
		}
		return 0
	})),
}

// yarn makes a key that is written of yarn only, where its value is not zero.
func yarn(k Key) Key {
	k = unlessZero(k)
	value := k.Value
	k.Value = func(c *Values) any {
		if c.RopeScaling.Type != arch.RopeYarn {
			return nil
		}
		return value(c)
	}
	return k
}

// ropeNumber is a number of rope_scaling or rope_parameters as it stands there, else 0.
func (v *Values) ropeNumber(key string) (n float64) {
	for _, name := range []string{"rope_scaling", "rope_parameters"} {
		var in map[string]json.RawMessage
		if json.Unmarshal(v.file[name], &in) == nil && len(in) > 0 {
			if json.Unmarshal(in[key], &n) != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

// lengths are key_length and value_length: of a class that has head_dim always, of another where config.json has it.
func lengths(classes ...string) []Key {
	keys := []Key{keyLength, valueLength}
	for i, k := range keys {
		keys[i].Value = func(c *Values) any {
			if !slices.Contains(classes, c.Architecture) && !c.has("head_dim") {
				return nil
			}
			return k.Value(c)
		}
	}
	return keys
}

// keys joins lists of keys.
func keys(lists ...any) (out []Key) {
	for _, l := range lists {
		switch l := l.(type) {
		case Key:
			out = append(out, l)
		case []Key:
			out = append(out, l...)
		}
	}
	return out
}
