package arch

// OLMo 2 norms what attention and MLP give in place of what they read, and queries and keys over all heads. Source: configuration_olmo2.py and
// modeling_olmo2.py of transformers 5.24.
var _ = register(Family{
	Architecture: "Olmo2ForCausalLM", ModelType: "olmo2", MaxPosition: 2048,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{attentionBias: true, qkNorm: true, eps: 1e-5})
		f.noWindow(c)
		c.NoInputNorms, c.OutputNorms, c.RowNorm = true, true, true
	},
	Top: llamaTop, Prefix: llamaPrefix,
	Layer: Named(map[Role]string{
		Q: Q.Info().Name, K: K.Info().Name, V: V.Info().Name, O: O.Info().Name, QBias: QBias.Info().Name, KBias: KBias.Info().Name, VBias: VBias.Info().Name,
		OBias: OBias.Info().Name, QRowNorm: QNorm.Info().Name, KRowNorm: KNorm.Info().Name, AttentionNorm: "post_attention_layernorm.weight",
		Gate: Gate.Info().Name, Up: Up.Info().Name, Down: Down.Info().Name, MLPNorm: "post_feedforward_layernorm.weight",
	}),
})
