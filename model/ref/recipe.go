package ref

import "math"

// recipeKeys are the keys of config.json for what models compute otherwise than Llama's.
type recipeKeys struct {
	EmbeddingMultiplier float64 `json:"embedding_multiplier"`
	ResidualMultiplier  float64 `json:"residual_multiplier"`
	AttentionMultiplier float64 `json:"attention_multiplier"`
	LogitsScaling       float64 `json:"logits_scaling"`

	SharedFFN    int    `json:"shared_intermediate_size"`
	PositionType string `json:"position_embedding_type"`

	PartialRotary float64  `json:"partial_rotary_factor"`
	LayerNormEps  *float64 `json:"layer_norm_eps"`
	QueryScalar   float64  `json:"query_pre_attn_scalar"`
	AttentionCap  *float64 `json:"attn_logit_softcapping"`
	LogitCap      *float64 `json:"final_logit_softcapping"`
	LocalTheta    float64  `json:"rope_local_base_freq"`
	WindowPattern *int     `json:"sliding_window_pattern"`
	Parallel      bool     `json:"use_parallel_residual"`
}

// recipe fills in what the model's class computes otherwise than Llama's, and how it names its tensors.
func (c *config) recipe(a *Config, n *names) {
	switch c.ModelType {
	case "granite", "granitemoehybrid":
		if c.ModelType == "granitemoehybrid" {
			a.FFN, n.down = c.SharedFFN, "shared_mlp.output_linear"
		}
		a.EmbeddingScale, a.ResidualScale, a.LogitScale = c.EmbeddingMultiplier, c.ResidualMultiplier, 1/c.LogitsScaling
		a.Logits.Scale = c.AttentionMultiplier
	case "stablelm":
		a.RotaryDim, a.Parallel, a.Eps = a.part(c.PartialRotary, 0.25), c.Parallel, 1e-5
		if c.LayerNormEps != nil {
			a.Eps = *c.LayerNormEps
		}
		if c.Parallel {
			n.postNorm = ""
		}
	case "glm4":
		a.RotaryDim, a.Interleaved = a.part(c.PartialRotary, 0.5), true
		n.attentionNorm, n.ffnNorm = "post_self_attn_layernorm", "post_mlp_layernorm"
	case "glm":
		a.RotaryDim, a.Interleaved = a.part(c.PartialRotary, 0.5), true
	case "phi3":
		a.RotaryDim = a.part(c.PartialRotary, 1)
	case "helium", "ernie4_5":
		a.Interleaved = true
	case "gemma2", "gemma3_text":
		n.attentionNorm, n.postNorm, n.ffnNorm = "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"
		a.PlusOne, a.GELU, a.EmbeddingScale, a.Logits.Scale = true, true, math.Sqrt(float64(a.Hidden)), 1/math.Sqrt(c.QueryScalar)
		if c.LogitCap != nil {
			a.LogitCap = *c.LogitCap
		} else if c.ModelType == "gemma2" {
			a.LogitCap = 30
		}
		if c.ModelType == "gemma3_text" {
			a.LocalTheta = c.LocalTheta
		} else if a.Logits.Cap = 50; c.AttentionCap != nil {
			a.Logits.Cap = *c.AttentionCap
		}
	case "olmo2":
		a.RowNorm = true
		n.inputNorm, n.attentionNorm, n.postNorm, n.ffnNorm = "", "post_attention_layernorm", "", "post_feedforward_layernorm"
	}
}

// part is how many channels of a head a share of them is.
func (a *Config) part(share, absent float64) int {
	if share == 0 {
		share = absent
	}
	return int(float64(a.HeadDim) * share)
}
