package arch

const (
	optEps = 1e-5 // of PyTorch's LayerNorm
	// PositionOffset is the first row of a table of learned positions that is one. Source: modeling_opt.py of transformers.
	PositionOffset = 2
)

// OPT has LayerNorms with biases, learned positions, ReLU without a gate, and names of its own.
var _ = register(Family{
	Architecture: "OPTForCausalLM", ModelType: "opt", MaxPosition: 2048,
	Read: readOPT,
	Top: Named(map[Role]string{
		Embed: "model.decoder.embed_tokens.weight", Positions: "model.decoder.embed_positions.weight",
		FinalNorm: "model.decoder.final_layer_norm.weight", FinalNormBias: "model.decoder.final_layer_norm.bias", Head: "lm_head.weight",
	}),
	Layer: Named(map[Role]string{
		InputNorm: "self_attn_layer_norm.weight", InputNormBias: "self_attn_layer_norm.bias", Q: "self_attn.q_proj.weight", K: "self_attn.k_proj.weight",
		V: "self_attn.v_proj.weight", QBias: "self_attn.q_proj.bias", KBias: "self_attn.k_proj.bias", VBias: "self_attn.v_proj.bias",
		O: "self_attn.out_proj.weight", OBias: "self_attn.out_proj.bias", PostNorm: "final_layer_norm.weight", PostNormBias: "final_layer_norm.bias",
		Up: "fc1.weight", UpBias: "fc1.bias", Down: "fc2.weight", DownBias: "fc2.bias",
	}),
	Prefix: "model.decoder.layers.%d.",
})

// readOPT reads what OPT has. Source: configuration_opt.py and modeling_opt.py of transformers.
func readOPT(f *Fields, c *Config) {
	for _, k := range []struct {
		key       string
		supported bool
		fallback  bool
		what      string
	}{
		{"do_layer_norm_before", true, true, "norms behind attention and MLP, as of opt-350m, are not supported"},
		{"layer_norm_elementwise_affine", true, true, "norms without weights are not supported"},
		{"_remove_final_layer_norm", false, false, "models without a final norm are not supported"},
	} {
		if v := f.flag(k.key, k.fallback); v != k.supported {
			f.fail("%s %v: %s", k.key, v, k.what)
		}
	}
	if n := f.size("word_embed_proj_dim", 1<<20, c.HiddenSize); n != c.HiddenSize {
		f.unsupported("word_embed_proj_dim %d, hidden_size %d: embeddings of another size, as of opt-350m, are not supported", n, c.HiddenSize)
	}
	if act := f.text("activation_function", "relu"); act != "relu" {
		f.fail("activation_function %q, supported is relu", act)
	}
	if c.HiddenSize%c.Heads != 0 {
		f.fail("hidden_size %d is no multiple of num_attention_heads %d", c.HiddenSize, c.Heads)
	}
	c.IntermediateSize = f.size("ffn_dim", 1<<22, required)
	c.KVHeads, c.HeadDim, c.RMSNormEps = c.Heads, c.HiddenSize/c.Heads, optEps
	c.LayerNorm, c.LearnedPositions, c.ReLU = true, true, true
	c.TieWordEmbeddings = f.flag("tie_word_embeddings", true)
	bias := f.flag("enable_bias", true)
	c.AttentionBias, c.OutputBias, c.MLPBias = bias, bias, bias
	c.RopeScaling.Type = RopeNone
}
