package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// perLayer are keys of arrays with one entry a layer whose names lack the word "layer". Any other key must have it: an
// array may have as many entries as there are layers by chance, as eos_token_id.
var perLayer = []string{"sliding_window_pattern", "attention_types", "attn_types", "rope_types", "no_rope_pattern"}

// layerLists are keys that have the word, but hold indices of layers.
var layerLists = []string{"mlp_only_layers", "full_attn_layers", "cross_attention_layers"}

// depths are keys that count layers in other families: in this one's files they may say the same as num_hidden_layers.
var depths = []string{"num_layers", "n_layer", "n_layers", "decoder_layers", "num_decoder_layers"}

// corrected says whether withLayers looks at a key.
func corrected(key string, value []byte) bool {
	return key == "num_hidden_layers" || key == "max_window_layers" || slices.Contains(depths, key) || value[0] == '[' && describesLayers(key)
}

// JSON is the config.json that the Config was parsed from.
func (c *Config) JSON() []byte { return bytes.Clone(c.raw) }

// WithLayers gives the config.json of a model made of the listed layers, in this order: the original text with
// num_hidden_layers, other families' keys for it, every array with one entry a layer and max_window_layers changed, and nothing else, unknown keys
// and formatting included; an array that the file leaves to a default which counts layers is added. An empty list, a layer that the model lacks or an order in which layers cannot keep their
// sliding windows is an error.
func (c *Config) WithLayers(keep []int) ([]byte, error) {
	if len(keep) == 0 {
		return nil, fmt.Errorf("model: %s: no layers to keep", c.name)
	}
	for _, l := range keep {
		if l < 0 || l >= c.Layers {
			return nil, fmt.Errorf("model: %s: layer %d of %d", c.name, l, c.Layers)
		}
	}
	out, err := c.withLayers(keep)
	if err == nil {
		var got *Config
		if got, err = parseConfig(out); err == nil && got.Layers != len(keep) {
			err = fmt.Errorf("num_hidden_layers could not be changed")
		}
		for i, l := range keep {
			if err != nil {
				break
			}
			switch is, was := AttentionOf(got, i), AttentionOf(c, l); {
			case is == was:
			case is.Window != was.Window:
				err = fmt.Errorf("layer %d as layer %d would lose its sliding window", l, i)
			case is.Rotary != was.Rotary:
				err = fmt.Errorf("layer %d as layer %d would change whether its positions are rotary", l, i)
			default:
				err = fmt.Errorf("layer %d as layer %d would have rotary positions of another kind", l, i)
			}
			if err == nil && got.Sparse(i) != c.Sparse(l) {
				err = fmt.Errorf("layer %d as layer %d would change whether it has experts", l, i)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("model: %s: %w", c.name, err)
	}
	return out, nil
}

func (c *Config) withLayers(keep []int) ([]byte, error) {
	spans, err := objectSpans(c.raw)
	if err != nil {
		return nil, err
	}
	key, chosen, own := "", []byte(nil), false // the array that the family knows of
	if c.family.PerLayer != nil {
		key, chosen, own = c.family.PerLayer(c, keep)
	}
	implied := "" // it, where the file leaves it to a default
	if own && !slices.ContainsFunc(spans, func(s span) bool { return s.key == key }) {
		implied = fmt.Sprintf(", %q: %s", key, chosen)
	}
	var anew map[string][]byte
	if c.family.Anew != nil {
		anew = c.family.Anew(c, keep)
	}
	for _, key := range slices.Sorted(maps.Keys(anew)) {
		if !slices.ContainsFunc(spans, func(s span) bool { return s.key == key }) {
			implied += fmt.Sprintf(", %q: %s", key, anew[key])
		}
	}
	var out []byte
	at := 0
	for _, s := range spans {
		value := c.raw[s.begin:s.end]
		switch {
		case anew[s.key] != nil:
			value = anew[s.key]
		case s.key == "num_hidden_layers":
			value = fmt.Append(nil, len(keep), implied)
		case s.key == "max_window_layers":
			most := c.MaxWindowLayers
			if json.Unmarshal(value, &most) == nil && (string(value) != "null" || c.SlidingWindow > 0) {
				value = fmt.Append(nil, below(keep, most))
			}
		case own && s.key == key && string(value) == "null":
			value = chosen
		case slices.Contains(depths, s.key):
			if string(value) == fmt.Sprint(c.Layers) {
				value = fmt.Append(nil, len(keep))
			}
		case value[0] == '[' && describesLayers(s.key):
			cut, by, err := cutArray(value, c.Layers, keep)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.key, err)
			}
			if value = cut; !by && own && s.key == key { // it has more entries than there are layers
				value = chosen
			}
		}
		out = append(append(out, c.raw[at:s.begin]...), value...)
		at = s.end
	}
	return append(out, c.raw[at:]...), nil
}

// below counts the layers of a choice that lie below one. Source of its use: the layers below max_window_layers attend fully, and counting
// those that stay keeps each layer's attention what it was.
func below(keep []int, most int) (n int) {
	for _, l := range keep {
		if l < most {
			n++
		}
	}
	return n
}

func describesLayers(key string) bool {
	return slices.Contains(perLayer, key) || strings.Contains(key, "layer") && !slices.Contains(layerLists, key)
}

// span is where a value lies in its text.
type span struct {
	key        string // empty in an array
	begin, end int
}

// objectSpans finds the values of a JSON object.
func objectSpans(text []byte) ([]span, error) {
	return spans(text, func(dec *json.Decoder) (string, error) {
		key, err := dec.Token()
		name, _ := key.(string)
		return name, err
	})
}

// spans finds the values of a JSON object or array; key reads what stands before each.
func spans(text []byte, key func(*json.Decoder) (string, error)) ([]span, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	var list []span
	for dec.More() {
		name, err := key(dec)
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		end := int(dec.InputOffset())
		begin := end - len(value)
		if !bytes.Equal(text[begin:end], value) {
			return nil, errors.New("JSON value is not where it was read")
		}
		list = append(list, span{name, begin, end})
	}
	return list, nil
}

// cutArray keeps the listed elements of a JSON array with one entry a layer, with the spacing that it had. An array of another length comes
// back unchanged, and by says no.
func cutArray(text []byte, layers int, keep []int) (out []byte, by bool, err error) {
	elements, err := spans(text, func(*json.Decoder) (string, error) { return "", nil })
	if err != nil || len(elements) != layers {
		return text, false, err
	}
	separator := []byte(", ")
	if layers > 1 {
		separator = text[elements[0].end:elements[1].begin]
	}
	out = slices.Clone(text[:elements[0].begin])
	for i, l := range keep {
		if i > 0 {
			out = append(out, separator...)
		}
		out = append(out, text[elements[l].begin:elements[l].end]...)
	}
	return append(out, text[elements[layers-1].end:]...), true, nil
}

// Choose is the Config of a model made of the listed layers: what WithLayers gives, parsed.
func (c *Config) Choose(keep []int) (*Config, error) {
	raw, err := c.WithLayers(keep)
	if err != nil {
		return nil, err
	}
	got, err := ParseConfig(c.name, raw)
	if err != nil {
		return nil, err
	}
	return got.WithDType(c.DType), nil
}
