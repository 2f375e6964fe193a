package arch

import (
	"fmt"
	"slices"
)

const (
	defaultWindow          = 4096 // sliding_window of Mistral and Qwen where the file lacks the key
	defaultMaxWindowLayers = 28   // max_window_layers of Qwen
)

// window reads the sliding window, 0 when no query can reach its end.
func (f *Fields) window(c *Config, d dialect) {
	f.get("layer_types", &c.LayerTypes)
	if c.LayerTypes != nil && len(c.LayerTypes) != c.Layers {
		f.fail("layer_types has %d entries, num_hidden_layers is %d", len(c.LayerTypes), c.Layers)
	}
	for i, kind := range c.LayerTypes {
		if kind == "attention" { // its older name
			kind, c.LayerTypes[i] = "full_attention", "full_attention"
		}
		if kind != "full_attention" && kind != "sliding_attention" {
			f.fail("layer_types: layer %d is %q, supported are full_attention, sliding_attention", i, kind)
		}
	}
	if d.useWindow {
		c.MaxWindowLayers = defaultMaxWindowLayers
		f.get("max_window_layers", &c.MaxWindowLayers)
	}
	if d.window && (!d.useWindow || f.flag("use_sliding_window", false)) {
		c.SlidingWindow = defaultWindow
		if _, there := f.values["sliding_window"]; there { // null is none
			c.SlidingWindow = 0
			f.get("sliding_window", &c.SlidingWindow)
			if f.has("sliding_window") && c.SlidingWindow < 1 {
				f.fail("sliding_window %d, expected 1 or more, or null", c.SlidingWindow)
			}
		}
	}
	switch full, sliding := slices.Index(c.LayerTypes, "full_attention"), slices.Index(c.LayerTypes, "sliding_attention"); {
	case !d.useWindow && c.SlidingWindow > 0 && full >= 0:
		f.fail("layer_types: layer %d is full_attention, the sliding_window of %s is that of every layer", full, c.Architecture)
	case d.useWindow && c.SlidingWindow == 0 && sliding >= 0:
		f.fail("layer_types: layer %d is sliding_attention, without sliding_window and use_sliding_window", sliding)
	}
	if c.SlidingWindow >= c.MaxPositionEmbeddings {
		c.SlidingWindow = 0
	}
}

// noWindow refuses a window that transformers' class does not look at, but its cache of keys and values does: tokens that it generates would
// see less than the same tokens of a text.
func (f *Fields) noWindow(c *Config) {
	window := c.MaxPositionEmbeddings
	if f.get("sliding_window", &window); window < c.MaxPositionEmbeddings {
		f.fail("sliding_window %d: %s has none, though transformers forgets what lies before it when it generates: set it to null", window, c.Architecture)
	}
	if i := slices.Index(c.LayerTypes, "sliding_attention"); i >= 0 {
		f.fail("layer_types: layer %d is sliding_attention, %s has no windows", i, c.Architecture)
	}
}

// Window is the number of positions that a query of the layer sees, itself included; 0 means all.
func (c *Config) Window(layer int) int {
	switch {
	case c.LayerTypes != nil && c.LayerTypes[layer] == "full_attention":
		return 0
	case c.LayerTypes == nil && layer < c.MaxWindowLayers:
		return 0
	}
	return c.SlidingWindow
}

// fullBelow is the Family.PerLayer of families whose first max_window_layers layers attend fully.
func fullBelow(c *Config, keep []int) (key string, value []byte, ok bool) {
	return "max_window_layers", fmt.Append(nil, below(keep, c.MaxWindowLayers)), c.LayerTypes == nil && c.SlidingWindow > 0 && c.MaxWindowLayers > 0
}
