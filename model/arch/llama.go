package arch

import "cmp"

// Source of this family and its relatives: configuration_*.py and modeling_*.py of transformers 4.45 to 5.
var llama = register(Family{
	Architecture: "LlamaForCausalLM", ModelType: "llama", MaxPosition: 2048,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{attentionBias: true, mlpBias: true})
		f.noWindow(c)
	},
	Top: llamaTop, Layer: llamaLayer, Prefix: llamaPrefix,
})

const llamaPrefix = "model.layers.%d."

// llamaTop and llamaLayer name the tensors of the Llama family, whose names are those of the table of roles.
var (
	llamaTop   = canonical(Embed, FinalNorm, Head)
	llamaLayer = canonical(InputNorm, Q, K, V, QBias, KBias, VBias, QNorm, KNorm, O, OBias, PostNorm, Gate, GateBias, Up, UpBias, Down, DownBias)
)

func canonical(list ...Role) []Stored {
	names := map[Role]string{}
	for _, r := range list {
		names[r] = r.Info().Name
	}
	return Named(names)
}

// dialect is what sets a family with Llama's keys apart from others.
type dialect struct {
	qkvBias       bool // always, whatever attention_bias says
	attentionBias bool // attention_bias counts, for q, k, v and o
	mlpBias       bool // mlp_bias counts
	qkNorm        bool
	gelu          bool                  // hidden_activation counts, and is GELU by tanh
	localTheta    float64               // rope_local_base_freq when the file has none; 0: all layers have the same rotary positions
	useWindow     bool                  // sliding_window counts only under use_sliding_window
	window        bool                  // sliding_window counts
	headDim       int                   // when the file has none; 0 means hidden / heads
	eps           float64               // rms_norm_eps when the file has none; 0 means 1e-6
	tied          bool                  // when the file does not say
	kvHeads       int                   // num_key_value_heads when the file has none; 0 means as many as heads
	ropeTheta     float64               // when the file has none; 0 means 10000
	rotary        float64               // partial_rotary_factor when the file has none; 0: it must be 1
	ropeNames     map[RopeType]RopeType // what types of rotary positions are called besides
	longRope      bool                  // no other type of rope_scaling is
	intermediate  string                // the key of the MLP's size, if it is not intermediate_size
	queryBeta     bool                  // rope_scaling is yarn, with llama_4_scaling_beta
	originalMax   int                   // original_max_position_embeddings when the file has none; 0 means max_position_embeddings
}

// llama reads what the families with Llama's keys have.
func (f *Fields) llama(c *Config, d dialect) {
	if d.gelu {
		if act := f.text("hidden_activation", "gelu_pytorch_tanh"); act != "gelu_pytorch_tanh" {
			f.fail("hidden_activation %q, supported is gelu_pytorch_tanh", act)
		}
		c.GELU = true
	} else if act := f.text("hidden_act", "silu"); act != "silu" && act != "swish" { // one function with two names
		f.unsupported("hidden_act %q, supported are silu and swish", act)
	}
	c.QKNorm = d.qkNorm
	c.IntermediateSize = f.size(cmp.Or(d.intermediate, "intermediate_size"), 1<<22, required)
	kvHeads := cmp.Or(d.kvHeads, c.Heads)
	if _, there := f.values["num_key_value_heads"]; there { // null is as many as heads
		kvHeads = c.Heads
	}
	c.KVHeads = f.size("num_key_value_heads", 1<<14, kvHeads)
	c.RMSNormEps = f.number("rms_norm_eps", cmp.Or(d.eps, 1e-6))
	c.TieWordEmbeddings = f.flag("tie_word_embeddings", d.tied)
	bias := d.attentionBias && f.flag("attention_bias", false)
	c.AttentionBias, c.OutputBias = d.qkvBias || bias, bias
	c.MLPBias = d.mlpBias && f.flag("mlp_bias", false)
	headDim := d.headDim
	if headDim == 0 && !f.has("head_dim") {
		if c.HiddenSize%c.Heads != 0 {
			f.fail("hidden_size %d is no multiple of num_attention_heads %d, and head_dim is not given", c.HiddenSize, c.Heads)
		}
		headDim = c.HiddenSize / c.Heads
	}
	c.HeadDim = f.size("head_dim", 1<<14, headDim)
	if d.localTheta > 0 {
		f.ropesByKind(c, d)
	} else {
		f.rope(c, d)
	}
	f.window(c, d)
}
