package arch

// Granite is a Llama with four factors. Source: configuration_granite.py and modeling_granite.py of transformers 5.24.
var _ = register(Family{
	Architecture: "GraniteForCausalLM", ModelType: "granite", MaxPosition: 2048,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{attentionBias: true, mlpBias: true})
		f.noWindow(c)
		c.EmbeddingScale, c.ResidualScale = f.scale("embedding_multiplier", 1), f.scale("residual_multiplier", 1)
		c.AttentionScale, c.LogitScale = f.scale("attention_multiplier", 1), 1/f.scale("logits_scaling", 1)
	},
	Top: llamaTop, Layer: llamaLayer, Prefix: llamaPrefix,
})
