package arch

// Granite is a Llama with four factors. Source: configuration_granite.py and modeling_granite.py of transformers 5.24.
var _ = register(Family{
	Architecture: "GraniteForCausalLM", ModelType: "granite", MaxPosition: 2048,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{attentionBias: true, mlpBias: true})
		f.granite(c)
	},
	Top: llamaTop, Layer: llamaLayer, Prefix: llamaPrefix,
})

// Granite 4 without Mamba layers and experts is a Granite whose MLP is what was shared by the experts, and whose positions may count for
// nothing. Source: configuration_granitemoehybrid.py and modeling_granitemoehybrid.py of transformers 5.24.
var _ = register(Family{
	Architecture: "GraniteMoeHybridForCausalLM", ModelType: "granitemoehybrid", MaxPosition: 2048,
	Read: func(f *Fields, c *Config) {
		f.denseHybrid(c)
		f.llama(c, dialect{attentionBias: true, intermediate: "shared_intermediate_size"})
		f.granite(c)
	},
	Top: llamaTop, Prefix: llamaPrefix,
	Layer: Fuse(Fuse(canonical(InputNorm, Q, K, V, QBias, KBias, VBias, O, OBias, PostNorm, Gate, Up, Down), "shared_mlp.input_linear.weight", Gate, Up),
		"shared_mlp.output_linear.weight", Down),
})

// granite reads the factors.
func (f *Fields) granite(c *Config) {
	f.noWindow(c)
	c.EmbeddingScale, c.ResidualScale = f.scale("embedding_multiplier", 1), f.scale("residual_multiplier", 1)
	c.AttentionScale, c.LogitScale = f.scale("attention_multiplier", 1), 1/f.scale("logits_scaling", 1)
}

// denseHybrid refuses a hybrid's Mamba layers and experts, which it has unless the file says otherwise, and reads whether positions count.
func (f *Fields) denseHybrid(c *Config) {
	experts := 8
	if f.get("num_local_experts", &experts); experts != 0 {
		f.unsupported("num_local_experts %d: the experts of %s are not supported, 0 is", experts, c.Architecture)
	}
	if f.has("layers_block_type") {
		f.fail("layers_block_type: the kinds of layers are expected as layer_types")
	}
	var kinds []string
	if f.get("layer_types", &kinds); kinds == nil {
		f.unsupported("layer_types is missing: all layers are Mamba layers, which are not supported")
	}
	for l, kind := range kinds {
		if kind == "mamba" || kind == "linear_attention" {
			f.unsupported("layer_types: layer %d is %s: Mamba layers are not supported", l, kind)
		}
	}
	if f.text("position_embedding_type", "") != "rope" {
		for range c.Layers {
			c.NoRope = append(c.NoRope, true)
		}
	}
}
