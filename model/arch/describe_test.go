package arch

import (
	"fmt"
	"reflect"
	"testing"
)

func TestFacts(t *testing.T) {
	type keys = map[string]any
	for _, c := range []struct {
		keys keys
		want string
	}{
		{nil, "[{norms RMSNorm, ε 1e-05} {MLP down · (silu(gate · x) · (up · x))} {biases none} {positions rotary, theta 10000} {windows none}]"},
		{optKeys(nil), "[{norms LayerNorm, ε 1e-05} {MLP down · relu(up · x)} {biases q, k, v, o, MLP} {positions learned} {windows none}]"},
		{keys{"architectures": []string{"SmolLM3ForCausalLM"}, "use_sliding_window": true, "sliding_window": 9, "rope_scaling": keys{"type": "yarn", "factor": 4, "original_max_position_embeddings": 64}},
			"[{norms RMSNorm, ε 1e-05} {MLP down · (silu(gate · x) · (up · x))} {biases none} {positions rotary, theta 10000, yarn: by 4 from 64 tokens, betas 32 and 1, cosines and sines by 1.13863; " +
				"none in layers 3, 7, 11} {windows 9 tokens in layers 3, 7, 11}]"},
		{keys{"architectures": []string{"Qwen3ForCausalLM"}, "use_sliding_window": true, "sliding_window": 9, "max_window_layers": 3, "attention_bias": true, "rope_scaling": keys{"type": "linear", "factor": 2}},
			"[{norms RMSNorm, ε 1e-05, q and k normed per head} {MLP down · (silu(gate · x) · (up · x))} {biases q, k, v, o} {positions rotary, theta 10000, linear: divided by 2} {windows 9 tokens in layers 3-11}]"},
		{keys{"rope_scaling": keys{"type": "longrope", "short_factor": eights(1), "long_factor": eights(2), "original_max_position_embeddings": 32}},
			"[{norms RMSNorm, ε 1e-05} {MLP down · (silu(gate · x) · (up · x))} {biases none} {positions rotary, theta 10000, longrope: other factors beyond 32 tokens, cosines and sines by 1.26491} {windows none}]"},
		{keys{"architectures": []string{"Ministral3ForCausalLM"}, "rope_scaling": keys{"type": "yarn", "factor": 4, "original_max_position_embeddings": 64, "attention_factor": 1, "llama_4_scaling_beta": 0.1}},
			"[{norms RMSNorm, ε 1e-05} {MLP down · (silu(gate · x) · (up · x))} {biases none} {positions rotary, theta 10000, yarn: by 4 from 64 tokens, betas 32 and 1, cosines and sines by 1; " +
				"queries grow beyond 64 tokens, where the context ends: that is not supported} {windows none}]"},
		{keys{"architectures": []string{"GraniteMoeHybridForCausalLM"}, "num_local_experts": 0, "num_hidden_layers": 1, "layer_types": []string{"attention"}, "shared_intermediate_size": 8},
			"[{norms RMSNorm, ε 1e-05} {MLP down · (silu(gate · x) · (up · x))} {biases none} {positions none} {windows none} " +
				"{factors embeddings by 1, what attention and MLP give by 1, attention's logits by 1, logits by 1}]"},
		{keys{"rope_scaling": keys{"type": "dynamic", "factor": 2}},
			"[{norms RMSNorm, ε 1e-05} {MLP down · (silu(gate · x) · (up · x))} {biases none} {positions rotary, theta 10000, dynamic: as they are up to 256 tokens} {windows none}]"},
		{keys{"rope_scaling": keys{"type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}},
			"[{norms RMSNorm, ε 1e-05} {MLP down · (silu(gate · x) · (up · x))} {biases none} {positions rotary, theta 10000, llama3: by 8 from 256 tokens, frequency factors 1 and 4} {windows none}]"},
	} {
		config, err := ParseConfig("x", edited(c.keys))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(config.Facts()); got != c.want {
			t.Errorf("%v: %s\nwant %s", c.keys, got, c.want)
		}
	}
}

// Every key of a file has a use, and those that other families read are listed.
func TestKeys(t *testing.T) {
	c, err := ParseConfig("x", []byte(`{"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "vocab_size": 100, "residual_multiplier": 0.2,
		"use_cache": true, "attention_dropout": 0.1, "rope_scaling": {"type": "linear", "factor": 2, "beta_fast": 3}, "rope_parameters": {"rope_theta": 2}, "hidden_size_new": null}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Key{{"attention_dropout", Copied}, {"hidden_size", Used}, {"hidden_size_new", Copied}, {"intermediate_size", Used}, {"model_type", Used}, {"num_attention_heads", Used}, {"num_hidden_layers", Corrected},
		{"residual_multiplier", Ignored}, {"rope_parameters", Ignored}, {"rope_scaling", Used}, {"use_cache", Copied}, {"vocab_size", Used},
		{"rope_scaling.beta_fast", Ignored}, {"rope_scaling.factor", Used}, {"rope_scaling.type", Used}}
	if got := c.Keys(); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for key := range copiedKeys {
		if otherKeys[key] || refusedKeys[key].why != "" {
			t.Errorf("%s is in two tables", key)
		}
	}
	for key := range refusedKeys {
		if otherKeys[key] {
			t.Errorf("%s is in two tables", key)
		}
	}
}
