package arch

import (
	"encoding/json"
	"fmt"
	"slices"
)

const (
	full, sliding          = "full_attention", "sliding_attention" // of layer_types
	defaultWindow          = 4096                                  // sliding_window of Mistral and Qwen where the file lacks the key
	defaultMaxWindowLayers = 28                                    // max_window_layers of Qwen
)

// window reads the sliding window, 0 when no query can reach its end.
func (f *Fields) window(c *Config, d dialect) {
	f.get("layer_types", &c.LayerTypes)
	if c.LayerTypes != nil && len(c.LayerTypes) != c.Layers {
		f.fail("layer_types has %d entries, num_hidden_layers is %d", len(c.LayerTypes), c.Layers)
	}
	for i, kind := range c.LayerTypes {
		if kind == "attention" { // its older name
			kind, c.LayerTypes[i] = full, full
		}
		if kind != full && kind != sliding {
			f.unsupported("layer_types: layer %d is %q, supported are full_attention, sliding_attention", i, kind)
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
	switch fullAt, slidingAt := slices.Index(c.LayerTypes, full), slices.Index(c.LayerTypes, sliding); {
	case !d.useWindow && c.SlidingWindow > 0 && fullAt >= 0:
		f.fail("layer_types: layer %d is full_attention, the sliding_window of %s is that of every layer", fullAt, c.Architecture)
	case d.useWindow && c.SlidingWindow == 0 && slidingAt >= 0:
		f.fail("layer_types: layer %d is sliding_attention, without sliding_window and use_sliding_window", slidingAt)
	}
	if c.SlidingWindow >= c.MaxPositionEmbeddings {
		c.SlidingWindow = 0
	}
}

// typedWindow reads the sliding window of the layers that layer_types says have it, or else kind of a layer's number. A window is fallback where
// the file has none, and none where it has null.
func (f *Fields) typedWindow(c *Config, fallback int, kind func(layer int) string) {
	window, ok := fallback, true
	if v, there := f.values["sliding_window"]; there {
		f.get("sliding_window", &window)
		if ok = string(v) != "null"; ok && window < 1 {
			f.fail("sliding_window %d, expected 1 or more, or null", window)
		}
	}
	if !ok && slices.Contains(c.LayerTypes, sliding) {
		f.fail("layer_types: layer %d is sliding_attention, without sliding_window", slices.Index(c.LayerTypes, sliding))
	}
	if c.SlidingWindow = window; !ok {
		c.SlidingWindow = 0
	}
	for l := len(c.LayerTypes); l < c.Layers; l++ {
		c.LayerTypes = append(c.LayerTypes, kind(l))
	}
	if c.SlidingWindow >= c.MaxPositionEmbeddings {
		c.SlidingWindow = 0
	}
}

// layerTypes is the Family.PerLayer of families whose files may leave layer_types to the layers' numbers.
func layerTypes(c *Config, keep []int) (key string, value []byte, ok bool) {
	var list []string
	for _, l := range keep {
		list = append(list, c.LayerTypes[l])
	}
	value, err := json.Marshal(list)
	return "layer_types", value, err == nil
}

// noWindow refuses a window that transformers' class does not look at, but its cache of keys and values does: tokens that it generates would
// see less than the same tokens of a text.
func (f *Fields) noWindow(c *Config) {
	window := c.MaxPositionEmbeddings
	if f.get("sliding_window", &window); window < c.MaxPositionEmbeddings {
		f.fail("sliding_window %d: %s has none, though transformers forgets what lies before it when it generates: set it to null", window, c.Architecture)
	}
	if i := slices.Index(c.LayerTypes, sliding); i >= 0 {
		f.fail("layer_types: layer %d is sliding_attention, %s has no windows", i, c.Architecture)
	}
}

// Window is the number of positions that a query of the layer sees, itself included; 0 means all.
func (c *Config) Window(layer int) int {
	switch {
	case c.LayerTypes != nil && c.LayerTypes[layer] == full:
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
