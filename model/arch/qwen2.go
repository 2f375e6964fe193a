package arch

// Qwen2 has biases on q, k and v and none elsewhere.
var _ = register(Family{
	Architecture: "Qwen2ForCausalLM", ModelType: "qwen2", MaxPosition: 32768,
	Read: func(f *Fields, c *Config) { f.llama(c, dialect{qkvBias: true, window: true, useWindow: true}) },
	Top:  llamaTop, Layer: llamaLayer, Prefix: llamaPrefix, PerLayer: fullBelow,
})
