package arch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
)

const tinyConfig = `{
  "architectures": [
    "LlamaForCausalLM"
  ],
  "model_type": "llama",
  "hidden_size": 128,
  "intermediate_size": 384,
  "num_hidden_layers": 12,
  "num_attention_heads": 8,
  "num_key_value_heads": 4,
  "head_dim": 16,
  "vocab_size": 2048,
  "max_position_embeddings": 256,
  "rms_norm_eps": 1e-05,
  "rope_theta": 10000.0,
  "tie_word_embeddings": false,
  "hidden_act": "silu",
  "attention_bias": false,
  "mlp_bias": false,
  "bos_token_id": 0,
  "eos_token_id": 0,
  "torch_dtype": "bfloat16",
  "rope_scaling": null
}`

// edited is tinyConfig with keys set, or removed by a nil.
func edited(keys map[string]any) []byte {
	var all map[string]any
	if err := json.Unmarshal([]byte(tinyConfig), &all); err != nil {
		panic(err)
	}
	if names, ok := keys["architectures"].([]string); ok { // the family's type goes with them
		for _, f := range Families() {
			if slices.Contains(names, f.Architecture) {
				all["model_type"] = f.ModelType
			}
		}
	}
	for k, v := range keys {
		if all[k] = v; v == nil {
			delete(all, k)
		}
	}
	out, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return out
}

func eights(v float64) []float64 { return slices.Repeat([]float64{v}, 8) }

func tiny() *Config {
	return &Config{
		Architecture: "LlamaForCausalLM", ModelType: "llama", HiddenSize: 128, IntermediateSize: 384, Layers: 12, Heads: 8, KVHeads: 4,
		HeadDim: 16, VocabSize: 2048, MaxPositionEmbeddings: 256, RMSNormEps: 1e-5, RopeTheta: 10000,
		RopeScaling: RopeScaling{Type: RopeNone}, BOS: []int{0}, EOS: []int{0}, DType: dtype.BF16, family: llama,
	}
}

// optKeys are those of tinyConfig that an OPT has in its place, and others.
func optKeys(more map[string]any) map[string]any {
	keys := map[string]any{"architectures": []string{"OPTForCausalLM"}, "model_type": "opt", "intermediate_size": nil, "num_key_value_heads": nil, "head_dim": nil,
		"rms_norm_eps": nil, "rope_theta": nil, "rope_scaling": nil, "hidden_act": nil, "attention_bias": nil, "mlp_bias": nil, "tie_word_embeddings": nil,
		"ffn_dim": 500, "word_embed_proj_dim": 128, "do_layer_norm_before": true, "activation_function": "relu"}
	maps.Copy(keys, more)
	return keys
}

func TestParseConfig(t *testing.T) {
	type keys = map[string]any
	llama3 := keys{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
	scaled := RopeScaling{Type: RopeLlama3, Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPosition: 8192}
	opt := func(c *Config) {
		c.Architecture, c.ModelType, c.IntermediateSize, c.KVHeads, c.RopeTheta = "OPTForCausalLM", "opt", 500, 8, 0
		c.LayerNorm, c.LearnedPositions, c.ReLU, c.AttentionBias, c.OutputBias, c.MLPBias, c.TieWordEmbeddings = true, true, true, true, true, true, true
	}
	for _, c := range []struct {
		name string
		keys keys
		want func(c *Config)
	}{
		{"as it is", nil, func(c *Config) {}},
		{"one KV head a head", keys{"num_key_value_heads": nil}, func(c *Config) { c.KVHeads = 8 }},
		{"derived head_dim", keys{"head_dim": nil, "num_attention_heads": 4}, func(c *Config) { c.Heads, c.HeadDim = 4, 32 }},
		{"head_dim of its own", keys{"head_dim": 24, "hidden_size": 100}, func(c *Config) { c.HeadDim, c.HiddenSize = 24, 100 }},
		{"Llama biases", keys{"attention_bias": true, "mlp_bias": true}, func(c *Config) { c.AttentionBias, c.OutputBias, c.MLPBias = true, true, true }},
		{"defaults", keys{"rms_norm_eps": nil, "rope_theta": nil, "max_position_embeddings": nil, "torch_dtype": nil, "hidden_act": nil, "bos_token_id": nil},
			func(c *Config) { c.RMSNormEps, c.MaxPositionEmbeddings, c.DType, c.BOS = 1e-6, 2048, dtype.F32, nil }},
		{"dtype", keys{"torch_dtype": nil, "dtype": "torch.float16"}, func(c *Config) { c.DType = dtype.F16 }},
		{"several ends", keys{"eos_token_id": []int{7, 9}, "tie_word_embeddings": true}, func(c *Config) { c.EOS, c.TieWordEmbeddings = []int{7, 9}, true }},
		{"an end that is none", keys{"eos_token_id": []int{7, -1}, "bos_token_id": -1}, func(c *Config) { c.EOS, c.BOS = []int{7}, []int{} }},
		{"the type counts", keys{"architectures": []string{"MistralForCausalLM"}, "model_type": "llama", "hidden_act": "swish", "torch_dtype": "auto"}, func(c *Config) { c.DType = dtype.F32 }},
		{"no type", keys{"model_type": nil}, func(c *Config) {}},
		{"no architectures", keys{"architectures": nil}, func(c *Config) {}},
		{"an unknown architecture of a known type", keys{"architectures": []string{"LlamaModel"}}, func(c *Config) {}},
		{"linear rope", keys{"rope_scaling": keys{"type": "linear", "factor": 2}}, func(c *Config) { c.RopeScaling = RopeScaling{Type: RopeLinear, Factor: 2} }},
		{"longrope", keys{"max_position_embeddings": 1024, "rope_scaling": keys{"type": "longrope", "short_factor": eights(1), "long_factor": eights(2), "original_max_position_embeddings": 32}}, func(c *Config) {
			c.MaxPositionEmbeddings = 1024
			c.RopeScaling = RopeScaling{Type: RopeLong, Factor: 32, Short: eights(1), Long: eights(2), OriginalMaxPosition: 32, AttentionFactor: math.Sqrt(2)}
		}},
		{"longrope of a context of its own", keys{"original_max_position_embeddings": 16, "rope_scaling": keys{"rope_type": "longrope", "short_factor": eights(1), "long_factor": eights(2), "attention_factor": 1.5,
			"original_max_position_embeddings": 32}}, func(c *Config) {
			c.RopeScaling = RopeScaling{Type: RopeLong, Factor: 16, Short: eights(1), Long: eights(2), OriginalMaxPosition: 16, AttentionFactor: 1.5}
		}},
		{"dynamic rope", keys{"rope_scaling": keys{"type": "dynamic", "factor": 2}}, func(c *Config) { c.RopeScaling = RopeScaling{Type: RopeDynamic, Factor: 2} }},
		{"yarn", keys{"rope_scaling": keys{"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64}}, func(c *Config) {
			c.RopeScaling = RopeScaling{Type: RopeYarn, Factor: 4, OriginalMaxPosition: 64, BetaFast: 32, BetaSlow: 1, AttentionFactor: 0.1*math.Log(4) + 1}
		}},
		{"yarn with all keys", keys{"rope_scaling": keys{"rope_type": "yarn", "factor": nil, "original_max_position_embeddings": 64, "beta_fast": 16, "beta_slow": 2, "mscale": 1, "mscale_all_dim": 2, "truncate": false},
			"original_max_position_embeddings": 32}, func(c *Config) {
			c.RopeScaling = RopeScaling{Type: RopeYarn, Factor: 8, OriginalMaxPosition: 32, BetaFast: 16, BetaSlow: 2, Untruncated: true, AttentionFactor: (0.1*math.Log(8) + 1) / (0.2*math.Log(8) + 1)}
		}},
		{"Ministral 3, up to its original context", keys{"architectures": []string{"Ministral3ForCausalLM"}, "rope_parameters": keys{"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64,
			"max_position_embeddings": 256, "mscale": 1, "mscale_all_dim": 1, "llama_4_scaling_beta": 0.25}}, func(c *Config) {
			c.Architecture, c.ModelType, c.MaxPositionEmbeddings = "Ministral3ForCausalLM", "ministral3", 64
			c.RopeScaling = RopeScaling{Type: RopeYarn, Factor: 4, OriginalMaxPosition: 64, BetaFast: 32, BetaSlow: 1, AttentionFactor: 1, QueryBeta: 0.25}
		}},
		{"Ministral 3 whose queries do not grow", keys{"architectures": []string{"Ministral3ForCausalLM"}, "rope_parameters": keys{"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 64,
			"attention_factor": 1, "llama_4_scaling_beta": 0}}, func(c *Config) {
			c.Architecture, c.ModelType = "Ministral3ForCausalLM", "ministral3"
			c.RopeScaling = RopeScaling{Type: RopeYarn, Factor: 4, OriginalMaxPosition: 64, BetaFast: 32, BetaSlow: 1, AttentionFactor: 1}
		}},
		{"rope_scaling wins", keys{"rope_theta": nil, "rope_scaling": keys{"type": "linear", "factor": 2}, "rope_parameters": keys{"rope_theta": 5e5, "rope_type": "default"}},
			func(c *Config) { c.RopeScaling = RopeScaling{Type: RopeLinear, Factor: 2} }},
		{"llama3 rope", keys{"rope_scaling": llama3}, func(c *Config) { c.RopeScaling = scaled }},
		{"rope_parameters", keys{"rope_theta": nil, "rope_parameters": keys{"rope_theta": 5e5, "rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
			"high_freq_factor": 4, "original_max_position_embeddings": 8192}}, func(c *Config) { c.RopeTheta, c.RopeScaling = 5e5, scaled }},
		{"default rope", keys{"rope_parameters": keys{"rope_theta": 1e6, "rope_type": "default"}}, func(c *Config) { c.RopeTheta = 1e6 }},
		{"a window of all for Llama", keys{"sliding_window": 256}, func(c *Config) {}},
		{"Mistral", keys{"architectures": []string{"MistralForCausalLM"}, "sliding_window": 64, "attention_bias": true},
			func(c *Config) { c.Architecture, c.ModelType, c.SlidingWindow = "MistralForCausalLM", "mistral", 64 }},
		{"Mistral's window is the context", keys{"architectures": []string{"MistralForCausalLM"}, "sliding_window": 256},
			func(c *Config) { c.Architecture, c.ModelType = "MistralForCausalLM", "mistral" }},
		{"Qwen2", keys{"architectures": []string{"Qwen2ForCausalLM"}, "sliding_window": 64, "use_sliding_window": false, "max_window_layers": 10},
			func(c *Config) {
				c.Architecture, c.ModelType, c.AttentionBias, c.MaxWindowLayers = "Qwen2ForCausalLM", "qwen2", true, 10
			}},
		{"Qwen2 with window", keys{"architectures": []string{"Qwen2ForCausalLM"}, "sliding_window": 64, "use_sliding_window": true, "max_window_layers": 10},
			func(c *Config) {
				c.Architecture, c.ModelType, c.AttentionBias, c.MaxWindowLayers, c.SlidingWindow = "Qwen2ForCausalLM", "qwen2", true, 10, 64
			}},
		{"Qwen3", keys{"architectures": []string{"Qwen3ForCausalLM"}, "head_dim": nil},
			func(c *Config) {
				c.Architecture, c.ModelType, c.QKNorm, c.HeadDim, c.MaxWindowLayers = "Qwen3ForCausalLM", "qwen3", true, 128, 28
			}},
		{"Mistral's default window", keys{"architectures": []string{"MistralForCausalLM"}, "max_position_embeddings": 8192},
			func(c *Config) {
				c.Architecture, c.ModelType, c.SlidingWindow, c.MaxPositionEmbeddings = "MistralForCausalLM", "mistral", 4096, 8192
			}},
		{"Mistral without window", keys{"architectures": []string{"MistralForCausalLM"}, "max_position_embeddings": 8192, "sliding_window": json.RawMessage("null")},
			func(c *Config) {
				c.Architecture, c.ModelType, c.MaxPositionEmbeddings = "MistralForCausalLM", "mistral", 8192
			}},
		{"Qwen3's default window", keys{"architectures": []string{"Qwen3ForCausalLM"}, "head_dim": nil, "use_sliding_window": true, "max_position_embeddings": 8192},
			func(c *Config) {
				c.Architecture, c.ModelType, c.QKNorm, c.HeadDim, c.MaxWindowLayers, c.SlidingWindow, c.MaxPositionEmbeddings = "Qwen3ForCausalLM", "qwen3", true, 128, 28, 4096, 8192
			}},
		{"Phi-3", keys{"architectures": []string{"Phi3ForCausalLM"}, "rms_norm_eps": nil, "max_position_embeddings": nil, "rope_scaling": keys{"type": "su", "short_factor": eights(1), "long_factor": eights(2)}},
			func(c *Config) {
				c.Architecture, c.ModelType, c.RMSNormEps, c.MaxPositionEmbeddings = "Phi3ForCausalLM", "phi3", 1e-5, 4096
				c.RopeScaling = RopeScaling{Type: RopeLong, Factor: 1, Restarts: true, Short: eights(1), Long: eights(2), OriginalMaxPosition: 4096, AttentionFactor: 1}
			}},
		{"Phi-3 with window", keys{"architectures": []string{"Phi3ForCausalLM"}, "sliding_window": 64},
			func(c *Config) { c.Architecture, c.ModelType, c.SlidingWindow = "Phi3ForCausalLM", "phi3", 64 }},
		{"SmolLM3", keys{"architectures": []string{"SmolLM3ForCausalLM"}, "num_hidden_layers": 5, "tie_word_embeddings": nil, "rope_theta": nil, "sliding_window": 4}, func(c *Config) {
			c.Architecture, c.ModelType, c.Layers, c.TieWordEmbeddings, c.RopeTheta = "SmolLM3ForCausalLM", "smollm3", 5, true, 2e6
			c.NoRope = []bool{false, false, false, true, false}
		}},
		{"OPT", optKeys(nil), opt},
		{"OPT without biases", optKeys(keys{"enable_bias": false, "tie_word_embeddings": false, "word_embed_proj_dim": nil}), func(c *Config) {
			opt(c)
			c.AttentionBias, c.OutputBias, c.MLPBias, c.TieWordEmbeddings = false, false, false, false
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseConfig("config.json", edited(c.keys))
			if err != nil {
				t.Fatal(err)
			}
			want := tiny()
			c.want(want)
			want.name, want.raw, want.family, want.keys = got.name, got.raw, got.family, got.keys
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	type keys = map[string]any
	var names []string
	for _, f := range Families() {
		names = append(names, f.Architecture)
	}
	supported := "supported are " + strings.Join(names, ", ")
	for _, c := range []struct {
		keys keys
		want string
	}{
		{keys{"architectures": []string{"GPT2LMHeadModel"}, "model_type": "gpt2"}, `architecture GPT2LMHeadModel of model_type "gpt2", ` + supported},
		{keys{"architectures": []string{"A\nB\x1b"}, "model_type": nil}, "architecture A B, " + supported},
		{keys{"architectures": nil, "model_type": "mamba"}, `model_type "mamba", ` + supported},
		{keys{"architectures": nil, "model_type": nil}, "no architectures and no model_type, " + supported},
		{keys{"architectures": []string{"Gemma3ForConditionalGeneration"}, "model_type": "gemma3", "vision_config": keys{}, "text_config": keys{"model_type": "gemma3_text"}},
			`architecture Gemma3ForConditionalGeneration of model_type "gemma3" has a vision tower (vision_config), which is not supported: take its model of text (model_type "gemma3_text"), saved by itself`},
		{keys{"architectures": []string{"Gemma3nForConditionalGeneration"}, "model_type": "gemma3n", "vision_config": keys{}, "audio_config": keys{}},
			`architecture Gemma3nForConditionalGeneration of model_type "gemma3n" has a vision tower (vision_config) and an audio tower (audio_config), which is not supported: take its model of text, saved by itself`},
		{keys{"architectures": nil, "model_type": "any", "text_config": keys{"model_type": "a\nb"}},
			`model_type "any" has a model of text (text_config) beside other parts, which is not supported: take its model of text (model_type "a b"), saved by itself`},
		{keys{"vision_config": keys{}}, `model_type "llama" has a vision tower (vision_config), which is not supported: take its model of text, saved by itself`},
		{keys{"text_config": 7}, "text_config 7: json: cannot unmarshal number into Go value of type map[string]json.RawMessage"},
		{keys{"hidden_size": nil}, "hidden_size is missing"},
		{keys{"hidden_size": -1}, "hidden_size -1, expected 1 to 1048576"},
		{keys{"hidden_size": 1 << 40}, "hidden_size 1099511627776, expected 1 to 1048576"},
		{keys{"hidden_size": "big"}, `hidden_size "big": json: cannot unmarshal string into Go value of type int`},
		{keys{"num_hidden_layers": 0}, "num_hidden_layers 0, expected 1 to 16384"},
		{keys{"num_key_value_heads": 3}, "num_attention_heads 8 is no multiple of num_key_value_heads 3"},
		{keys{"head_dim": nil, "hidden_size": 100}, "hidden_size 100 is no multiple of num_attention_heads 8, and head_dim is not given"},
		{keys{"head_dim": 15}, "head_dim 15 is odd, supported are even ones"},
		{keys{"head_dim": nil, "hidden_size": 4}, "hidden_size 4 is no multiple of num_attention_heads 8, and head_dim is not given"},
		{keys{"hidden_act": "gelu"}, `hidden_act "gelu", supported are silu and swish`},
		{keys{"torch_dtype": "int8"}, `torch_dtype "int8", supported are float32, float16, bfloat16`},
		{keys{"rms_norm_eps": -1}, "rms_norm_eps -1, expected 0 to 1"},
		{keys{"rope_theta": 0}, "rope_theta 0, expected 1 to 1e12"},
		{keys{"rope_scaling": keys{"type": "su", "factor": 4}}, `rope_scaling type "su", supported are default, linear, dynamic, llama3, yarn, longrope`},
		{keys{"rope_scaling": keys{"type": "yarn", "factor": 4, "beta_fast": -1}}, "rope_scaling: beta_fast -1, beta_slow 1, expected more than 0"},
		{keys{"rope_scaling": keys{"type": "yarn", "factor": 4}, "rope_theta": 1}, "rope_scaling: yarn with rope_theta 1: all pairs turn alike, and none is the first to be stretched"},
		{keys{"rope_scaling": keys{"type": "yarn", "factor": 4, "beta": 2}}, "rope_scaling.beta 2: an unknown key, which may change what the model computes: remove it if it does not"},
		{keys{"architectures": []string{"Ministral3ForCausalLM"}}, `rope_parameters type "default", supported of Ministral3ForCausalLM is yarn`},
		{keys{"architectures": []string{"Ministral3ForCausalLM"}, "rope_parameters": keys{"rope_type": "yarn", "factor": 4}}, "rope_parameters: llama_4_scaling_beta is missing"},
		{keys{"architectures": []string{"GraniteMoeHybridForCausalLM"}}, "num_local_experts 8: the experts of GraniteMoeHybridForCausalLM are not supported, 0 is"},
		{keys{"architectures": []string{"GraniteMoeHybridForCausalLM"}, "num_local_experts": 0}, "layer_types is missing: all layers are Mamba layers, which are not supported"},
		{keys{"architectures": []string{"GraniteMoeHybridForCausalLM"}, "num_local_experts": 0, "layer_types": []string{"attention", "linear_attention"}}, "layer_types: layer 1 is linear_attention: Mamba layers are not supported"},
		{keys{"architectures": []string{"GraniteMoeHybridForCausalLM"}, "num_local_experts": 0, "layers_block_type": []string{"attention"}}, "layers_block_type: the kinds of layers are expected as layer_types"},
		{keys{"architectures": []string{"GraniteMoeHybridForCausalLM"}, "num_local_experts": 0, "layer_types": []string{"attention"}}, "shared_intermediate_size is missing"},
		{keys{"sliding_window": 64}, "sliding_window 64: LlamaForCausalLM has none, though transformers forgets what lies before it when it generates: set it to null"},
		{keys{"num_hidden_layers": 1, "layer_types": []string{"sliding_attention"}}, "layer_types: layer 0 is sliding_attention, LlamaForCausalLM has no windows"},
		{keys{"architectures": []string{"MistralForCausalLM"}, "sliding_window": 0}, "sliding_window 0, expected 1 or more, or null"},
		{keys{"a_new_multiplier": 0.5}, "a_new_multiplier 0.5: an unknown key, which may change what the model computes: remove it if it does not"},
		{keys{"per_layer_config": keys{}}, "per_layer_config {}: layers of different shapes are not supported"},
		{keys{"is_causal": false}, "is_causal false: attention to later tokens is not supported"},
		{keys{"rope_parameters": keys{"rope_type": "longrope"}}, "rope_parameters: short_factor has 0 numbers, expected 8"},
		{keys{"rope_scaling": keys{"type": "longrope", "short_factor": eights(1), "long_factor": eights(-1)}}, "rope_scaling: long_factor: number 0 is -1, expected more than 0"},
		{keys{"rope_scaling": keys{"type": "longrope", "short_factor": eights(1), "long_factor": eights(2), "attention_factor": -1}}, "rope_scaling: attention_factor -1, expected more than 0"},
		{keys{"rope_scaling": keys{"type": "linear"}}, "rope_scaling: factor 0, expected more than 0"},
		{keys{"rope_scaling": keys{"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}}, "rope_scaling: high_freq_factor 4 is not above low_freq_factor 4"},
		{keys{"rope_parameters": keys{"full_attention": keys{"rope_type": "default"}}}, "rope_parameters has rotary positions of their own for full_attention, which is not supported"},
		{keys{"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5, supported is 1"},
		{keys{"quantization_config": keys{"quant_method": "gptq"}}, `quantization_config "gptq": quantized weights are not supported`},
		{keys{"layer_types": []string{"full_attention"}}, "layer_types has 1 entries, num_hidden_layers is 12"},
		{keys{"num_hidden_layers": 1, "layer_types": []string{"mamba"}}, `layer_types: layer 0 is "mamba", supported are full_attention, sliding_attention`},
		{keys{"architectures": []string{"MistralForCausalLM"}, "num_hidden_layers": 1, "sliding_window": 9, "layer_types": []string{"full_attention"}},
			"layer_types: layer 0 is full_attention, the sliding_window of MistralForCausalLM is that of every layer"},
		{keys{"architectures": []string{"Qwen2ForCausalLM"}, "num_hidden_layers": 1, "sliding_window": 9, "layer_types": []string{"sliding_attention"}},
			"layer_types: layer 0 is sliding_attention, without sliding_window and use_sliding_window"},
		{keys{"architectures": []string{"SmolLM3ForCausalLM"}, "no_rope_layers": []int{1}}, "no_rope_layers has 1 entries, num_hidden_layers is 12"},
		{keys{"architectures": []string{"SmolLM3ForCausalLM"}, "num_hidden_layers": 1, "layer_types": []string{"sliding_attention"}}, "layer_types: layer 0 is sliding_attention, without sliding_window and use_sliding_window"},
		{optKeys(keys{"do_layer_norm_before": false, "word_embed_proj_dim": 64}), "do_layer_norm_before false: norms behind attention and MLP, as of opt-350m, are not supported"},
		{optKeys(keys{"word_embed_proj_dim": 64}), "word_embed_proj_dim 64, hidden_size 128: embeddings of another size, as of opt-350m, are not supported"},
		{optKeys(keys{"layer_norm_elementwise_affine": false}), "layer_norm_elementwise_affine false: norms without weights are not supported"},
		{optKeys(keys{"_remove_final_layer_norm": true}), "_remove_final_layer_norm true: models without a final norm are not supported"},
		{optKeys(keys{"activation_function": "gelu"}), `activation_function "gelu", supported is relu`},
		{optKeys(keys{"ffn_dim": nil}), "ffn_dim is missing"},
		{optKeys(keys{"num_attention_heads": 7}), "hidden_size 128 is no multiple of num_attention_heads 7"},
	} {
		_, err := ParseConfig("dir/config.json", edited(c.keys))
		if want := "model: dir/config.json: " + c.want; err == nil || err.Error() != want {
			t.Errorf("%v: got  %v\nwant %s", c.keys, err, want)
		}
	}
	if _, err := ParseConfig("x", make([]byte, MaxConfig+1)); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("huge file: %v", err)
	}
	if _, err := ParseConfig("x", []byte(`{"a":`)); err == nil || err.Error() != "model: x: unexpected end of JSON input" {
		t.Errorf("cut file: %v", err)
	}
	if _, err := LoadConfig(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestLoadConfig(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(tinyConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := tiny()
	want.name, want.raw, want.family, want.keys = got.name, got.raw, got.family, got.keys
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestWithLayers(t *testing.T) {
	const in = `{
	"architectures" : ["Qwen2ForCausalLM", "x", "y", "z"],  "num_hidden_layers": 4 ,
  "eos_token_id": [1,2,3,4], "task_specific_params": {"num_hidden_layers": 4, "é": 1e5},
  "layer_types": [
    "full_attention",
    "sliding_attention", "full_attention",
    "sliding_attention"
  ],
  "no_rope_layers":[1,0 ,1,{"a": [ ]}], "_layer_list": [1,2,3], "mlp_only_layers": [0,1,2,3], "sliding_window_pattern": [ 1, 2, 3, 4 ],
  "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "vocab_size": 5, "max_window_layers":3,"_layers":4, "n_layer": 4, "num_layers": 5, "use_sliding_window":true, "sliding_window": 5
}
`
	const want = `{
	"architectures" : ["Qwen2ForCausalLM", "x", "y", "z"],  "num_hidden_layers": 2 ,
  "eos_token_id": [1,2,3,4], "task_specific_params": {"num_hidden_layers": 4, "é": 1e5},
  "layer_types": [
    "full_attention",
    "sliding_attention"
  ],
  "no_rope_layers":[1,{"a": [ ]}], "_layer_list": [1,2,3], "mlp_only_layers": [0,1,2,3], "sliding_window_pattern": [ 1, 4 ],
  "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "vocab_size": 5, "max_window_layers":1,"_layers":4, "n_layer": 2, "num_layers": 5, "use_sliding_window":true, "sliding_window": 5
}
`
	c, err := ParseConfig("config.json", []byte(in))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.WithLayers([]int{0, 3})
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if all, err := ParseConfig("again", got); err != nil || len(all.LayerTypes) != 2 || all.LayerTypes[1] != "sliding_attention" {
		t.Errorf("reads back as %+v, %v", all, err)
	}
	for _, bad := range [][]int{nil, {4}, {-1}} {
		if _, err := c.WithLayers(bad); err == nil {
			t.Errorf("accepted layers %v", bad)
		}
	}
}

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   []int
	}{
		{Config{Layers: 3}, []int{0, 0, 0}},
		{Config{Layers: 3, SlidingWindow: 64}, []int{64, 64, 64}},
		{Config{Layers: 3, SlidingWindow: 64, MaxWindowLayers: 2}, []int{0, 0, 64}},
		{Config{Layers: 3, SlidingWindow: 64, MaxWindowLayers: 3, LayerTypes: []string{"sliding_attention", "full_attention", "sliding_attention"}}, []int{64, 0, 64}},
	} {
		for l, want := range c.want {
			if got := c.config.Window(l); got != want {
				t.Errorf("%+v: layer %d has window %d, want %d", c.config, l, got, want)
			}
		}
	}
}

// TestRoleNames wants a name of its own for each role: files of single layers go by it.
func TestRoleNames(t *testing.T) {
	seen := map[string]Role{}
	for r := range NumRoles {
		name := r.Info().Name
		if other, twice := seen[name]; twice {
			t.Errorf("roles %d and %d are both %s", other, r, name)
		}
		seen[name] = r
	}
}

func TestTensorShapes(t *testing.T) {
	c := tiny()
	c.AttentionBias, c.OutputBias, c.MLPBias, c.QKNorm, c.HeadDim = true, true, true, true, 24
	list := func(tensors []Tensor) string {
		var text []string
		for _, t := range tensors {
			text = append(text, fmt.Sprintf("{%s %v}", t.Name, t.Shape))
		}
		return fmt.Sprint(text)
	}
	got := list(c.LayerTensors(3))
	want := "[{input_layernorm.weight [128]} {self_attn.q_proj.weight [192 128]} {self_attn.k_proj.weight [96 128]} {self_attn.v_proj.weight [96 128]}" +
		" {self_attn.q_proj.bias [192]} {self_attn.k_proj.bias [96]} {self_attn.v_proj.bias [96]} {self_attn.q_norm.weight [24]} {self_attn.k_norm.weight [24]}" +
		" {self_attn.o_proj.weight [128 192]} {self_attn.o_proj.bias [128]} {post_attention_layernorm.weight [128]} {mlp.gate_proj.weight [384 128]} {mlp.gate_proj.bias [384]}" +
		" {mlp.up_proj.weight [384 128]} {mlp.up_proj.bias [384]} {mlp.down_proj.weight [128 384]} {mlp.down_proj.bias [128]}]"
	if want = strings.ReplaceAll(want, "{", "{model.layers.3."); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if n := len(tiny().LayerTensors(0)); n != 9 {
		t.Errorf("a plain layer has %d tensors, want 9", n)
	}
	if got, want := list(tiny().TopTensors()), "[{model.embed_tokens.weight [2048 128]} {model.norm.weight [128]} {lm_head.weight [2048 128]}]"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	tied := tiny()
	tied.TieWordEmbeddings = true
	if n := len(tied.TopTensors()); n != 2 {
		t.Errorf("a tied model has %d tensors on top, want 2", n)
	}
}

// Layers keep their windows where the file says nothing of max_window_layers, and are refused where they cannot.
func TestWithLayersWindows(t *testing.T) {
	qwen := map[string]any{"architectures": []string{"Qwen2ForCausalLM"}, "num_hidden_layers": 31, "use_sliding_window": true, "sliding_window": 9}
	c, err := ParseConfig("config.json", edited(qwen))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.WithLayers([]int{0, 1, 2, 28, 30})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseConfig("config.json", raw)
	if err != nil {
		t.Fatal(err)
	}
	for l, want := range []int{0, 0, 0, 9, 9} {
		if got.Window(l) != want {
			t.Errorf("layer %d has window %d, want %d: %s", l, got.Window(l), want, raw)
		}
	}
	if _, err := c.WithLayers([]int{0, 30, 1}); err == nil || !strings.Contains(err.Error(), "layer 30 as layer 1 would lose its sliding window") {
		t.Errorf("layers of full attention behind one with a window: %v", err)
	}
}

func ExampleConfig_WithLayers() {
	c, err := ParseConfig("config.json", []byte(`{"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64,
 "intermediate_size": 128, "num_attention_heads": 4, "vocab_size": 100, "_layer_notes": ["a", "b", "c", "d"]}`))
	if err != nil {
		panic(err)
	}
	pruned, err := c.WithLayers([]int{0, 1, 3})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(pruned))
	// Output:
	// {"model_type": "llama", "num_hidden_layers": 3, "hidden_size": 64,
	//  "intermediate_size": 128, "num_attention_heads": 4, "vocab_size": 100, "_layer_notes": ["a", "b", "d"]}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(tinyConfig))
	f.Add(edited(map[string]any{"architectures": []string{"Qwen2ForCausalLM"}, "sliding_window": 4, "use_sliding_window": true, "num_hidden_layers": 2, "layer_types": []string{"full_attention", "sliding_attention"}}))
	f.Add(edited(optKeys(nil)))
	f.Add(edited(map[string]any{"architectures": []string{"Qwen3ForCausalLM"}, "use_sliding_window": true, "num_hidden_layers": 40, "max_window_layers": json.RawMessage("null")}))
	f.Add(edited(map[string]any{"rope_scaling": map[string]any{"type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseConfig("fuzz", raw)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		c.LayerTensors(0)
		c.TopTensors()
		c.Window(c.Layers - 1)
		out, err := c.WithLayers([]int{c.Layers - 1})
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if again, err := ParseConfig("fuzz", out); err != nil || again.Layers != 1 {
			t.Errorf("%s became %s: %v", raw, out, err)
		}
	})
}

// A choice of SmolLM3's layers keeps which of them turn queries and keys, whether the file lists them or leaves them to the default.
func TestWithLayersNoRope(t *testing.T) {
	for _, list := range []any{nil, json.RawMessage("null"), []int{1, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0}, []int{1, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0}} {
		c, err := ParseConfig("config.json", edited(map[string]any{"architectures": []string{"SmolLM3ForCausalLM"}, "no_rope_layers": list, "use_sliding_window": true, "sliding_window": 7}))
		if err != nil {
			t.Fatal(err)
		}
		keep := []int{0, 1, 3, 4, 8, 11}
		got, err := c.Choose(keep)
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range keep {
			if got.Rotary(i) != c.Rotary(l) || got.Window(i) != c.Window(l) {
				t.Errorf("%v: layer %d became %d: rotary %v, window %d, want %v, %d", list, l, i, got.Rotary(i), got.Window(i), c.Rotary(l), c.Window(l))
			}
		}
	}
}
