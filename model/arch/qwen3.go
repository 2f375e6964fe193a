package arch

// Qwen3 normalizes each head's queries and keys before they are turned.
var _ = register(Family{
	Architecture: "Qwen3ForCausalLM", ModelType: "qwen3", MaxPosition: 32768,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{attentionBias: true, qkNorm: true, window: true, useWindow: true, headDim: 128})
	},
	Top: llamaTop, Layer: llamaLayer, Prefix: llamaPrefix, PerLayer: fullBelow,
})
