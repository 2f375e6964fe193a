package arch

// GLM-4 norms what attention and MLP read and what they give, turns half of each head, neighbours together, and stores gate and up as one
// tensor. Source: configuration_glm4.py and modeling_glm4.py of transformers 5.24.
var _ = register(Family{
	Architecture: "Glm4ForCausalLM", ModelType: "glm4", MaxPosition: 131072,
	Read: func(f *Fields, c *Config) {
		f.glm(c)
		c.OutputNorms = true
	},
	Top: llamaTop, Prefix: llamaPrefix,
	Layer: Fuse(canonical(InputNorm, Q, K, V, QBias, KBias, VBias, O, AttentionNorm, PostNorm, Gate, Up, Down, MLPNorm), "mlp.gate_up_proj.weight", Gate, Up),
})

// GLM is the same without norms of what attention and MLP give.
var _ = register(Family{
	Architecture: "GlmForCausalLM", ModelType: "glm", MaxPosition: 131072,
	Read: func(f *Fields, c *Config) { f.glm(c) },
	Top:  llamaTop, Prefix: llamaPrefix,
	Layer: Fuse(canonical(InputNorm, Q, K, V, QBias, KBias, VBias, O, PostNorm, Gate, Up, Down), "mlp.gate_up_proj.weight", Gate, Up),
})

func (f *Fields) glm(c *Config) {
	f.llama(c, dialect{headDim: 128, kvHeads: 2, rotary: 0.5, eps: 1.5625e-7})
	f.noWindow(c)
	c.AttentionBias, c.Interleaved = f.flag("attention_bias", true), true
}
