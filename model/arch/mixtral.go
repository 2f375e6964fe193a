package arch

// Mixtral is a Mistral whose MLPs are mixtures of experts, stored one by one: w1 is the gate, w3 up and w2 down. Source:
// configuration_mixtral.py and modeling_mixtral.py of transformers 5.24, whose save_pretrained writes these names too.
var _ = register(Family{
	Architecture: "MixtralForCausalLM", ModelType: "mixtral", MaxPosition: 131072,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{window: f.has("sliding_window"), eps: 1e-5, ropeTheta: 1e6, kvHeads: 8})
		f.experts(c, 8, 2)
		c.Neurons, c.Divide = c.IntermediateSize, true
	},
	Top: llamaTop,
	Layer: append(canonical(InputNorm, Q, K, V, O, PostNorm), Named(map[Role]string{
		Router: "block_sparse_moe.gate.weight", ExpertGate: "block_sparse_moe.experts.%d.w1.weight", ExpertUp: "block_sparse_moe.experts.%d.w3.weight",
		ExpertDown: "block_sparse_moe.experts.%d.w2.weight",
	})...),
	Prefix: llamaPrefix,
})
