package arch

// StableLM has LayerNorms, turns a part of each head, and may have attention and MLP side by side. Source: configuration_stablelm.py and
// modeling_stablelm.py of transformers 5.24.
var _ = register(Family{
	Architecture: "StableLmForCausalLM", ModelType: "stablelm", MaxPosition: 4096,
	Read: func(f *Fields, c *Config) {
		if f.flag("qk_layernorm", false) {
			f.unsupported("qk_layernorm true: LayerNorms of queries and keys are not supported")
		}
		f.llama(c, dialect{kvHeads: 32, rotary: 0.25})
		f.noWindow(c)
		if c.HeadDim*c.Heads != c.HiddenSize {
			f.fail("head_dim %d: %d heads of it are not hidden_size %d", c.HeadDim, c.Heads, c.HiddenSize)
		}
		c.LayerNorm, c.RMSNormEps = true, f.number("layer_norm_eps", 1e-5)
		c.AttentionBias, c.Parallel = f.flag("use_qkv_bias", false), f.flag("use_parallel_residual", false)
	},
	Top: canonical(Embed, FinalNorm, FinalNormBias, Head), Prefix: llamaPrefix,
	Layer: canonical(InputNorm, InputNormBias, Q, K, V, QBias, KBias, VBias, O, PostNorm, PostNormBias, Gate, Up, Down),
})
