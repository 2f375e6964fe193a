package arch

// Models that compute what a Llama does, by another name or with one thing of other families. Sources: their configuration_*.py and
// modeling_*.py of transformers 5.24.

var _ = register(Family{
	Architecture: "SeedOssForCausalLM", ModelType: "seed_oss", MaxPosition: 524288,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{mlpBias: true, headDim: 128, kvHeads: 8})
		f.noWindow(c)
		c.AttentionBias, c.OutputBias = f.flag("attention_bias", true), f.flag("attention_out_bias", false)
	},
	Top: llamaTop, Layer: llamaLayer, Prefix: llamaPrefix,
})

// Helium turns neighbours together.
var _ = register(Family{
	Architecture: "HeliumForCausalLM", ModelType: "helium", MaxPosition: 4096,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{mlpBias: true, headDim: 128, kvHeads: 20, eps: 1e-8, ropeTheta: 100000})
		f.noWindow(c)
		if c.HeadDim*c.Heads != c.HiddenSize {
			f.fail("head_dim %d: %d heads of it are not hidden_size %d", c.HeadDim, c.Heads, c.HiddenSize)
		}
		c.AttentionBias, c.Interleaved = f.flag("attention_bias", false), true
	},
	Top: llamaTop, Layer: llamaLayer, Prefix: llamaPrefix,
})

// ERNIE 4.5 turns neighbours together, and has all biases or none.
var _ = register(Family{
	Architecture: "Ernie4_5ForCausalLM", ModelType: "ernie4_5", MaxPosition: 131072,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{tied: true, headDim: 128, kvHeads: 2, eps: 1e-5, ropeTheta: 500000})
		f.noWindow(c)
		bias := f.flag("use_bias", false)
		c.AttentionBias, c.OutputBias, c.MLPBias, c.Interleaved = bias, bias, bias, true
	},
	Top: llamaTop, Layer: llamaLayer, Prefix: llamaPrefix,
})

// Ministral is a Mistral whose layer_types say which layers have the window.
var _ = register(Family{
	Architecture: "MinistralForCausalLM", ModelType: "ministral", MaxPosition: 131072,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{kvHeads: 8})
		f.typedWindow(c, 4096, func(int) string { return sliding })
	},
	Top: llamaTop, Layer: llamaLayer, Prefix: llamaPrefix, PerLayer: layerTypes,
})

// Ministral 3 multiplies queries by 1 + beta·log(1 + ⌊position / original context⌋): by 1 within that context, where MaxPositionEmbeddings ends.
var _ = register(Family{
	Architecture: "Ministral3ForCausalLM", ModelType: "ministral3", MaxPosition: 262144,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{window: f.has("sliding_window"), headDim: 128, kvHeads: 8, eps: 1e-5, queryBeta: true})
		if c.RopeScaling.QueryBeta != 0 {
			c.MaxPositionEmbeddings = min(c.MaxPositionEmbeddings, c.RopeScaling.OriginalMaxPosition)
		}
	},
	Top: llamaTop, Layer: llamaLayer, Prefix: llamaPrefix,
})
