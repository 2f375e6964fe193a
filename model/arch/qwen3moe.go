package arch

import (
	"encoding/json"
	"slices"
)

// Qwen3-MoE is a Qwen3 whose MLPs are mixtures of experts but for those that mlp_only_layers lists and those that decoder_sparse_step steps
// over. Its sliding window is that of every layer. Source: configuration_qwen3_moe.py and modeling_qwen3_moe.py of transformers 5.24.
var _ = register(Family{
	Architecture: "Qwen3MoeForCausalLM", ModelType: "qwen3_moe", MaxPosition: 32768,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{attentionBias: true, qkNorm: true, window: f.flag("use_sliding_window", false), kvHeads: 4})
		f.experts(c, 128, 8)
		c.Neurons = f.size("moe_intermediate_size", 1<<22, 768)
		c.Divide = f.flag("norm_topk_prob", false)
		f.denseLayers(c)
	},
	Top: llamaTop, Layer: append(slices.Clone(llamaLayer), canonical(Router, ExpertGate, ExpertUp, ExpertDown)...), Prefix: llamaPrefix,
	Anew: func(c *Config, keep []int) map[string][]byte {
		if c.Dense == nil {
			return nil
		}
		list := []int{}
		for i, l := range keep {
			if c.Dense[l] {
				list = append(list, i)
			}
		}
		value, err := json.Marshal(list)
		if err != nil {
			panic(err) // of ints only, it has none
		}
		return map[string][]byte{"mlp_only_layers": value, "decoder_sparse_step": []byte("1")}
	},
})

// denseLayers reads which layers have no experts.
func (f *Fields) denseLayers(c *Config) {
	step := f.size("decoder_sparse_step", 1<<14, 1)
	var only []int
	f.get("mlp_only_layers", &only)
	if f.err != nil {
		return
	}
	dense := make([]bool, c.Layers)
	for l := range dense {
		dense[l] = (l+1)%step != 0
	}
	for _, l := range only {
		if l >= 0 && l < c.Layers { // transformers looks at no others
			dense[l] = true
		}
	}
	if slices.Contains(dense, true) {
		c.Dense = dense
	}
}
