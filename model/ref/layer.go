package ref

// Config is what the arithmetic of a model needs to know besides its weights.
type Config struct {
	Hidden, FFN, Vocab      int
	Heads, KVHeads, HeadDim int
	Eps                     float64 // of every norm
	RopeTheta               float64 // 0: nothing is turned
	RopeScaling             RopeScaling
	Experts                 Mixture
}

// Mixture is how a router's products choose experts, where layers have some.
type Mixture struct {
	PerToken int
	Divide   bool // shares are divided by their sum
}

// Group is the number of query heads that share a key/value head.
func (c Config) Group() int { return c.Heads / c.KVHeads }

// Layer holds the weights of one decoder layer. Slices that the architecture lacks are nil.
type Layer struct {
	InputNorm, PostNorm         []float64 // [hidden], before attention and before the FFN
	InputNormBias, PostNormBias []float64 // LayerNorm has them, RMSNorm does not

	Q, K, V, O                 Mat       // [heads·headDim, hidden], twice [kvHeads·headDim, hidden], [hidden, heads·headDim]
	QBias, KBias, VBias, OBias []float64 // Qwen2 has the first three
	QNorm, KNorm               []float64 // [headDim], Qwen3

	Gate, Up, Down             Mat // twice [ffn, hidden], [hidden, ffn]; without Gate the FFN is Down · relu(Up · x)
	GateBias, UpBias, DownBias []float64

	Router Mat // [experts, hidden]: Gate, Up and Down are then those of all experts, one behind the other

	Window int  // sliding attention window, 0 = none
	NoRope bool // queries and keys are not turned by their positions
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

	n := norm(x, l.InputNorm, l.InputNormBias, c.Eps)
	q, k, v := Linear(n, l.Q, l.QBias), Linear(n, l.K, l.KBias), Linear(n, l.V, l.VBias)
	if l.QNorm != nil {
		q = HeadNorm(q, l.QNorm, c.HeadDim, c.Eps)
	}
	if l.KNorm != nil {
		k = HeadNorm(k, l.KNorm, c.HeadDim, c.Eps)
	}
	if c.RopeTheta != 0 && !l.NoRope {
		freqs := RopeFrequencies(c.HeadDim, c.RopeTheta, c.RopeScaling.For(cache.K.Rows+x.Rows))
		q, k = RoPE(q, c.HeadDim, positions, freqs), RoPE(k, c.HeadDim, positions, freqs)
		if scale := c.RopeScaling.AttentionFactor; scale != 0 {
			q, k = Scale(q, scale), Scale(k, scale)
		}
	}
	if cache.K.Rows > 0 {
		k, v = ConcatRows(cache.K, k), ConcatRows(cache.V, v)
	}
	cache.K, cache.V = k, v
	o := Attention(q, k, v, c.Heads, c.KVHeads, c.HeadDim, l.Window)
	x = Add(x, Linear(o, l.O, l.OBias))

	n = norm(x, l.PostNorm, l.PostNormBias, c.Eps)
	if l.Router.Rows > 0 {
		y, gates := Experts(n, x, l.Router, l.Gate, l.Up, l.Down, c.Experts.PerToken, c.Experts.Divide)
		return y, Taps{Attention: o, FFN: gates}
	}
	a := Linear(n, l.Up, l.UpBias)
	if l.Gate.Rows == 0 {
		a = ReLU(a)
	} else {
		a = SwiGLU(Linear(n, l.Gate, l.GateBias), a)
	}
	return Add(x, Linear(a, l.Down, l.DownBias)), Taps{Attention: o, FFN: a}
}

// norm is LayerNorm where there is a bias, else RMSNorm.
func norm(x Mat, w, bias []float64, eps float64) Mat {
	if bias == nil {
		return RMSNorm(x, w, eps)
	}
	return LayerNorm(x, w, bias, eps)
}
