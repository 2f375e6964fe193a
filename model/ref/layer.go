package ref

import "slices"

// Config is what the arithmetic of a model needs to know besides its weights.
type Config struct {
	Hidden, FFN, Vocab      int
	Heads, KVHeads, HeadDim int
	Eps                     float64 // of every norm
	RopeTheta               float64 // 0: nothing is turned
	RopeScaling             RopeScaling
	Experts                 Mixture

	PlusOne        bool    // norms multiply by their weights and 1
	RowNorm        bool    // norms of queries and keys are over all heads together
	Parallel       bool    // the MLP reads what attention reads
	GELU           bool    // of the gate, by tanh, in place of SiLU
	EmbeddingScale float64 // 0: 1
	ResidualScale  float64 // of what attention and FFN give; 0: 1
	Logits         LogitOptions
	LogitScale     float64 // of the LM head's products; 0: 1
	LogitCap       float64 // 0: none
	RotaryDim      int     // channels of a head that are turned; 0: all
	Interleaved    bool    // neighbours are turned together
	LocalTheta     float64 // in place of RopeTheta and RopeScaling in layers that say so; 0: there are none
}

// Mixture is how a router's products choose experts, where layers have some.
type Mixture struct {
	PerToken int
	Divide   bool // shares are divided by their sum
}

// rms is RMSNorm as the model has it.
func (c Config) rms(x Mat, w []float64, width int) Mat {
	if c.PlusOne {
		w = slices.Clone(w)
		for i := range w {
			w[i]++
		}
	}
	return HeadNorm(x, w, width, c.Eps)
}

// Group is the number of query heads that share a key/value head.
func (c Config) Group() int { return c.Heads / c.KVHeads }

// Layer holds the weights of one decoder layer. Slices that the architecture lacks are nil.
type Layer struct {
	InputNorm, PostNorm         []float64 // [hidden], before attention and before the FFN
	InputNormBias, PostNormBias []float64 // LayerNorm has them, RMSNorm does not

	Q, K, V, O                 Mat       // [heads·headDim, hidden], twice [kvHeads·headDim, hidden], [hidden, heads·headDim]
	QBias, KBias, VBias, OBias []float64 // Qwen2 has the first three
	QNorm, KNorm               []float64 // [headDim], Qwen3; [columns of q, k], OLMo 2
	AttentionNorm, FFNNorm     []float64 // [hidden], of what attention and FFN give

	Gate, Up, Down             Mat // twice [ffn, hidden], [hidden, ffn]; without Gate the FFN is Down · relu(Up · x)
	GateBias, UpBias, DownBias []float64

	Router Mat // [experts, hidden]: Gate, Up and Down are then those of all experts, one behind the other

	Window int  // sliding attention window, 0 = none
	NoRope bool // queries and keys are not turned by their positions
	Local  bool // they are turned by LocalTheta
}

// Taps are the activations that the sensitivities of ALGORITHM §1 look at.
type Taps struct {
	Attention Mat // [tokens, heads·headDim], what enters the output projection
	FFN       Mat // [tokens, ffn], what enters the down projection; [tokens, experts] of shares where there are experts
}

// Cache holds the rotated keys and the values of the tokens seen so far.
type Cache struct{ K, V Mat }

// Forward passes one sequence from its first token through the layer.
//
//	x, result [tokens, hidden]
func (l *Layer) Forward(c Config, x Mat) (Mat, Taps) {
	return l.Continue(c, x, new(Cache))
}

// Continue is Forward for tokens that follow those in the cache, and adds them to it.
func (l *Layer) Continue(c Config, x Mat, cache *Cache) (Mat, Taps) {
	positions := make([]int, x.Rows)
	for t := range positions {
		positions[t] = cache.K.Rows + t
	}

	n := c.norm(x, l.InputNorm, l.InputNormBias)
	read := n
	q, k, v := Linear(n, l.Q, l.QBias), Linear(n, l.K, l.KBias), Linear(n, l.V, l.VBias)
	if l.QNorm != nil {
		q, k = c.rms(q, l.QNorm, len(l.QNorm)), c.rms(k, l.KNorm, len(l.KNorm))
	}
	if c.RopeTheta != 0 && !l.NoRope {
		q, k = c.turn(l, q, positions, cache.K.Rows+x.Rows), c.turn(l, k, positions, cache.K.Rows+x.Rows)
	}
	if cache.K.Rows > 0 {
		k, v = ConcatRows(cache.K, k), ConcatRows(cache.V, v)
	}
	cache.K, cache.V = k, v
	o := Attention(q, k, v, c.Heads, c.KVHeads, c.HeadDim, l.Window, c.Logits)
	x = c.add(x, Linear(o, l.O, l.OBias), l.AttentionNorm)

	if n = c.norm(x, l.PostNorm, l.PostNormBias); c.Parallel {
		n = read
	}
	if l.Router.Rows > 0 {
		y, gates := Experts(n, x, l.Router, l.Gate, l.Up, l.Down, c.Experts.PerToken, c.Experts.Divide)
		return y, Taps{Attention: o, FFN: gates}
	}
	a := Linear(n, l.Up, l.UpBias)
	switch {
	case l.Gate.Rows == 0:
		a = ReLU(a)
	case c.GELU:
		a = GeGLU(Linear(n, l.Gate, l.GateBias), a)
	default:
		a = SwiGLU(Linear(n, l.Gate, l.GateBias), a)
	}
	return c.add(x, Linear(a, l.Down, l.DownBias), l.FFNNorm), Taps{Attention: o, FFN: a}
}

// turn is RoPE of queries or keys of a layer, of a sequence of so many tokens.
func (c Config) turn(l *Layer, x Mat, positions []int, length int) Mat {
	dim, theta, scaling := c.HeadDim, c.RopeTheta, c.RopeScaling.For(length)
	if c.RotaryDim != 0 {
		dim = c.RotaryDim
	}
	if l.Local {
		theta, scaling = c.LocalTheta, RopeScaling{}
	}
	x = RoPE(x, c.HeadDim, positions, RopeFrequencies(dim, theta, scaling), c.Interleaved)
	if scale := scaling.AttentionFactor; scale != 0 { // of the channels that are turned
		for i := range x.Data {
			if i%c.HeadDim < dim {
				x.Data[i] *= scale
			}
		}
	}
	return x
}

// add is x and what attention or FFN gives, normed where there are weights for that.
func (c Config) add(x, y Mat, w []float64) Mat {
	if w != nil {
		y = c.rms(y, w, len(w))
	}
	if c.ResidualScale != 0 {
		y = Scale(y, c.ResidualScale)
	}
	return Add(x, y)
}

// norm is LayerNorm where there is a bias, RMSNorm where there are only weights, else nothing.
func (c Config) norm(x Mat, w, bias []float64) Mat {
	switch {
	case w == nil:
		return x
	case bias == nil:
		return c.rms(x, w, len(w))
	}
	return LayerNorm(x, w, bias, c.Eps)
}
