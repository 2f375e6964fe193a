package arch

var _ = register(Family{
	Architecture: "MistralForCausalLM", ModelType: "mistral", MaxPosition: 131072,
	Read: func(f *Fields, c *Config) { f.llama(c, dialect{window: true}) },
	Top:  llamaTop, Layer: llamaLayer, Prefix: llamaPrefix,
})
