package arch

import "math"

// Gemma 2 norms what attention and MLP read and what they give, has GELU, embeddings times √hidden, capped logits, and a window in every other
// layer. Source: configuration_gemma2.py and modeling_gemma2.py of transformers 5.24; Gemma Team 2024, arXiv 2408.00118.
var _ = register(Family{
	Architecture: "Gemma2ForCausalLM", ModelType: "gemma2", MaxPosition: 8192,
	Read: func(f *Fields, c *Config) {
		f.gemma(c, dialect{})
		f.typedWindow(c, defaultWindow, func(layer int) string { return map[bool]string{true: sliding, false: full}[layer%2 == 0] })
		c.AttentionCap, c.LogitCap = f.cap("attn_logit_softcapping", 50), f.cap("final_logit_softcapping", 30)
	},
	Top: llamaTop, Layer: gemmaLayer, Prefix: llamaPrefix, PerLayer: layerTypes,
})

// Gemma 3 normalizes queries and keys per head, and turns them otherwise in layers with a window, which are five of six. Source:
// configuration_gemma3.py and modeling_gemma3.py of transformers 5.24, of the text model; Gemma Team 2025, arXiv 2503.19786.
var _ = register(Family{
	Architecture: "Gemma3ForCausalLM", ModelType: "gemma3_text", MaxPosition: 131072,
	Read: func(f *Fields, c *Config) {
		f.gemma(c, dialect{qkNorm: true, ropeTheta: 1e6, localTheta: 10000})
		pattern := f.size("sliding_window_pattern", 1<<14, 6)
		f.typedWindow(c, defaultWindow, func(layer int) string { return map[bool]string{true: full, false: sliding}[(layer+1)%pattern == 0] })
		c.LogitCap = f.cap("final_logit_softcapping", 0)
	},
	Top: llamaTop, Layer: gemmaLayer, Prefix: llamaPrefix, PerLayer: layerTypes,
})

// gemmaLayer has four norms.
var gemmaLayer = func() []Stored {
	list := canonical(InputNorm, Q, K, V, QBias, KBias, VBias, QNorm, KNorm, O, OBias, AttentionNorm, PostNorm, Gate, Up, Down, MLPNorm)
	for i, s := range list {
		switch s.Roles[0] {
		case AttentionNorm:
			list[i].Name = "post_attention_layernorm.weight"
		case PostNorm:
			list[i].Name = "pre_feedforward_layernorm.weight"
		case MLPNorm:
			list[i].Name = "post_feedforward_layernorm.weight"
		}
	}
	return list
}()

// gemma reads what both have.
func (f *Fields) gemma(c *Config, d dialect) {
	d.attentionBias, d.gelu, d.tied, d.headDim, d.kvHeads = true, true, true, 256, 4
	f.llama(c, d)
	if f.flag("use_bidirectional_attention", false) {
		f.unsupported("use_bidirectional_attention true: attention to later tokens is not supported")
	}
	c.OutputNorms, c.NormPlusOne = true, true
	c.EmbeddingScale, c.AttentionScale = math.Sqrt(float64(c.HiddenSize)), 1/math.Sqrt(f.scale("query_pre_attn_scalar", 256))
}
