package arch

import (
	"encoding/json"
	"slices"
)

// SmolLM3 is a Llama some of whose layers do not turn queries and keys by their positions: no_rope_layers has 0 for these, and without it
// every fourth layer is one. Source: configuration_smollm3.py and modeling_smollm3.py of transformers 5.24.
var _ = register(Family{
	Architecture: "SmolLM3ForCausalLM", ModelType: "smollm3", MaxPosition: 32768,
	Read: func(f *Fields, c *Config) {
		f.llama(c, dialect{attentionBias: true, mlpBias: true, tied: true, ropeTheta: 2e6})
		f.noRope(c)
		f.chosenWindow(c)
	},
	Top: llamaTop, Layer: llamaLayer, Prefix: llamaPrefix,
	PerLayer: func(c *Config, keep []int) (key string, value []byte, ok bool) {
		var list []int
		for _, l := range keep {
			list = append(list, map[bool]int{true: 1, false: 0}[c.Rotary(l)])
		}
		value, err := json.Marshal(list)
		return "no_rope_layers", value, err == nil
	},
})

// noRope reads which layers turn nothing.
func (f *Fields) noRope(c *Config) {
	interval := f.size("no_rope_layer_interval", 1<<14, 4)
	var list []int
	f.get("no_rope_layers", &list)
	if list == nil {
		for l := range c.Layers {
			list = append(list, min(1, (l+1)%interval))
		}
	}
	if len(list) < c.Layers { // it may have more, as in transformers
		f.fail("no_rope_layers has %d entries, num_hidden_layers is %d", len(list), c.Layers)
	}
	for _, rotary := range list[:min(len(list), c.Layers)] {
		c.NoRope = append(c.NoRope, rotary == 0)
	}
}

// chosenWindow reads the sliding window of the layers that layer_types says have it, or else of those that turn nothing.
func (f *Fields) chosenWindow(c *Config) {
	if at := slices.Index(c.LayerTypes, sliding); !f.flag("use_sliding_window", false) || !f.has("sliding_window") {
		if at >= 0 {
			f.fail("layer_types: layer %d is sliding_attention, without sliding_window and use_sliding_window", at)
		}
		return
	}
	if c.SlidingWindow = f.size("sliding_window", 1<<30, required); c.SlidingWindow >= c.MaxPositionEmbeddings {
		c.SlidingWindow = 0
	}
	if c.LayerTypes == nil {
		for _, slides := range c.NoRope {
			c.LayerTypes = append(c.LayerTypes, map[bool]string{true: sliding, false: full}[slides])
		}
	}
}
