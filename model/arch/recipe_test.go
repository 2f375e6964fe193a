package arch

import (
	"slices"
	"strings"
	"testing"
)

// set is keys of a config.json.
type set = map[string]any

// A model of some layers of one whose layers differ keeps for each what its attention was, whether the file lists them or leaves them to a
// default that counts.
func TestWithLayersKinds(t *testing.T) {
	for name, with := range map[string]set{
		"gemma2, by default":    {"architectures": []string{"Gemma2ForCausalLM"}},
		"gemma2, listed":        {"architectures": []string{"Gemma2ForCausalLM"}, "layer_types": []string{full, full, sliding, full, sliding, sliding}},
		"gemma3, by default":    {"architectures": []string{"Gemma3ForCausalLM"}},
		"gemma3, another":       {"architectures": []string{"Gemma3ForCausalLM"}, "sliding_window_pattern": 2},
		"gemma3, long windows":  {"architectures": []string{"Gemma3ForCausalLM"}, "sliding_window": 1 << 20},
		"ministral, by default": {"architectures": []string{"MinistralForCausalLM"}},
	} {
		all := map[string]any{"num_hidden_layers": 6, "sliding_window": 4}
		for k, v := range with {
			all[k] = v
		}
		c, err := ParseConfig("config.json", edited(all))
		if err != nil {
			t.Fatal(name, err)
		}
		for _, keep := range [][]int{{0, 1, 2, 3, 4, 5}, {0, 5}, {1, 3, 5}, {0, 2, 4}, {5}, {2, 3}} {
			less, err := c.Choose(keep)
			if err != nil {
				t.Errorf("%s: layers %v: %v", name, keep, err)
				continue
			}
			var is, was []Attention
			for i, l := range keep {
				is, was = append(is, AttentionOf(less, i)), append(was, AttentionOf(c, l))
			}
			if !slices.Equal(is, was) {
				t.Errorf("%s: layers %v have attention %+v, had %+v", name, keep, is, was)
			}
		}
	}
}

// What a recipe does not allow is an error that names the key.
func TestRecipeErrors(t *testing.T) {
	for want, with := range map[string]set{
		"embedding_multiplier 0, expected more than 0":                                 {"architectures": []string{"GraniteForCausalLM"}, "embedding_multiplier": 0},
		"partial_rotary_factor 0.1: 1 channels of 16 are turned":                       {"architectures": []string{"Glm4ForCausalLM"}, "partial_rotary_factor": 0.1},
		"final_logit_softcapping -1, expected more than 0":                             {"architectures": []string{"Gemma2ForCausalLM"}, "final_logit_softcapping": -1},
		"rope_parameters.sliding_attention: type \"linear\", supported is default":     {"architectures": []string{"Gemma3ForCausalLM"}, "rope_parameters": set{sliding: set{"rope_type": "linear", "factor": 2}}},
		"rope_parameters.rope_theta 5: expected full_attention and sliding_attention":  {"architectures": []string{"Gemma3ForCausalLM"}, "rope_parameters": set{"rope_theta": 5}},
		"rope_parameters.full_attention.beta 2: an unknown key":                        {"architectures": []string{"Gemma3ForCausalLM"}, "rope_parameters": set{full: set{"beta": 2}}},
		"layer_types: layer 0 is sliding_attention, without sliding_window":            {"architectures": []string{"MinistralForCausalLM"}, "layer_types": []string{sliding, full, full}, "sliding_window": nil},
		"use_bidirectional_attention true: attention to later tokens is not supported": {"architectures": []string{"Gemma3ForCausalLM"}, "use_bidirectional_attention": true},
		"head_dim 32: 8 heads of it are not hidden_size 128":                           {"architectures": []string{"StableLmForCausalLM"}, "head_dim": 32},
	} {
		all := map[string]any{"num_hidden_layers": 3}
		for k, v := range with {
			all[k] = v
		}
		raw := edited(all)
		if v, there := with["sliding_window"]; there && v == nil { // edited leaves out what is nil
			raw = []byte(strings.Replace(string(raw), "{", `{"sliding_window": null,`, 1))
		}
		if _, err := ParseConfig("config.json", raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", with, err, want)
		}
	}
}
