package arch

import "math"

// Recipe is what the models of some families compute otherwise than Llama's. Its zero value is Llama's.
type Recipe struct {
	NoInputNorms bool // attention and MLP read the residual stream as it is
	OutputNorms  bool // what attention and MLP give is normed before it is added to the residual stream
	Parallel     bool // attention and MLP read the same normed states, those of InputNorm, and both are added to these states' origin
	NormPlusOne  bool // norms multiply by 1 more than the weights that are stored, but those of a LayerNorm
	GELU         bool // the gate's function is GELU by tanh, else SiLU; of an MLP with a gate
	RowNorm      bool // QKNorm is over all heads of a token together, else over each

	EmbeddingScale float64 // of embeddings; 0 is 1. It is not rounded to the weights' dtype, as transformers does where it computes in that
	ResidualScale  float64 // of what attention and MLP give; 0 is 1
	AttentionScale float64 // of products of queries and keys; 0 is 1/√head_dim
	AttentionCap   float64 // these become cap·tanh(these/cap); 0: they stay
	LogitScale     float64 // of products with the LM head; 0 is 1
	LogitCap       float64 // these become cap·tanh(these/cap); 0: they stay

	RotaryDim   int  // how many channels of a head are turned, the first; 0 is all
	Interleaved bool // of these 2i and 2i+1 are turned together, else i and i + half of them

	// LocalTheta is rope_theta of the layers of LayerTypes that are sliding_attention, which have no RopeScaling; 0: theirs are the others'.
	LocalTheta float64
}

// Rotated is how many channels of a head of so many are turned.
func (r Recipe) Rotated(headDim int) int {
	if r.RotaryDim > 0 {
		return r.RotaryDim
	}
	return headDim
}

// The kinds of rotary positions that layers of one model can have.
const (
	GlobalRope = iota // of RopeTheta and RopeScaling
	LocalRope         // of LocalTheta
)

// Ropes is how many kinds of rotary positions the model's layers have: 1 or 2.
func (r Recipe) Ropes() int {
	if r.LocalTheta > 0 {
		return 2
	}
	return 1
}

// rope is the kind of a layer's rotary positions.
func (c *Config) rope(layer int) int {
	if c.LocalTheta > 0 && c.LayerTypes[layer] == sliding {
		return LocalRope
	}
	return GlobalRope
}

// Attention is what a layer's attention is besides its weights: layers of which it differs cannot take each other's place.
type Attention struct {
	Window int  // see Config.Window
	Rotary bool // see Config.Rotary
	Rope   int  // the kind of its rotary positions, GlobalRope or LocalRope
}

// AttentionOf is a layer's.
func AttentionOf(c *Config, layer int) Attention {
	return Attention{c.Window(layer), c.Rotary(layer), c.rope(layer)}
}

// scale reads a factor of more than 0.
func (f *Fields) scale(key string, fallback float64) float64 {
	v := f.number(key, fallback)
	if !(v > 0 && v <= 1e6) || math.IsInf(1/v, 0) {
		f.fail("%s %v, expected more than 0", key, v)
	}
	return v
}

// cap reads the size that logits do not exceed; null is none, and so is a key that is absent where fallback is 0.
func (f *Fields) cap(key string, fallback float64) float64 {
	if v, there := f.values[key]; !there && fallback == 0 || there && string(v) == "null" {
		f.get(key, &fallback)
		return 0
	}
	return f.scale(key, fallback)
}
