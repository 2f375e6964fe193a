package arch

import (
	"fmt"
	"strings"
	"testing"
)

// What stretches positions, without the type that says how, is an error that names both: transformers 4 raises one too, and 5 drops the
// factor in silence.
func TestScalingWithoutType(t *testing.T) {
	values := map[string]string{"short_factor": "[1, 1]", "long_factor": "[2, 2]"}
	for _, object := range []string{"rope_scaling", "rope_parameters"} {
		for _, key := range stretching {
			value := values[key]
			if value == "" {
				value = "2"
			}
			for _, none := range []string{"", `, "type": null`, `, "rope_type": null`, `, "rope_theta": 10000`} {
				raw := fmt.Sprintf(`{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
					"num_attention_heads": 4, "vocab_size": 100, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, %q: {%q: %s%s}}`, object, key, value, none)
				_, err := ParseConfig("config.json", []byte(raw))
				if want := object + ": " + key + " is there and rope_type, which says what it means, is missing"; err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: {%s: %s%s}: %v, expected %q", object, key, value, none, err, want)
				}
				raw = strings.Replace(raw, fmt.Sprintf("{%q:", key), fmt.Sprintf(`{"rope_type": "default", %q:`, key), 1)
				if _, err := ParseConfig("config.json", []byte(raw)); none == "" && err != nil {
					t.Errorf("%s with a type: %v", key, err)
				}
			}
		}
	}
}
