package arch

// Phi-3 stores queries, keys and values as one tensor, and so gate and up. Phi-4-mini turns a part of each head. Its sliding window is that of every layer, and there is none where
// the file has none. Source: configuration_phi3.py and modeling_phi3.py of transformers 5.24; "su" and "yarn" are what older files call
// longrope.
var _ = register(Family{
	Architecture: "Phi3ForCausalLM", ModelType: "phi3", MaxPosition: 4096,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{window: f.has("sliding_window"), rotary: 1, eps: 1e-5, longRope: true, originalMax: 4096, ropeNames: map[RopeType]RopeType{"su": RopeLong, "yarn": RopeLong}})
	},
	Top:    llamaTop,
	Layer:  Fuse(Fuse(llamaLayer, "self_attn.qkv_proj.weight", Q, K, V), "mlp.gate_up_proj.weight", Gate, Up),
	Prefix: llamaPrefix,
})
