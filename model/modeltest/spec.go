package modeltest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/safetensors"
)

// Spec is the shape of a random model.
type Spec struct {
	Architecture                                 string // "" is LlamaForCausalLM
	Hidden, Intermediate, Layers, Heads, KVHeads int    // an OPT has as many KV heads as heads
	HeadDim, Vocab, Context                      int    // Hidden is Heads·HeadDim where Square says so
	Tied, AttentionBias, MLPBias                 bool   // of an OPT AttentionBias stands for all biases
	DType                                        dtype.DType
	Extra                                        map[string]any // further keys of config.json
	LongRope                                     int            // original_max_position_embeddings of longrope; 0 is none of it
	ShardBytes                                   int            // 0 is one file
	Seed                                         uint64

	NormsF32   bool   // norms are F32, whatever DType says
	Wide       string // a tensor that is
	Bare       bool   // tensors are named without "model." in front
	StoredHead bool   // a tied model's LM head is stored all the same
	Relative   bool   // it computes what others of named do: its logits are compared, and that is all
}

var torch = map[dtype.DType]string{dtype.F32: "float32", dtype.F16: "float16", dtype.BF16: "bfloat16"}

const opt = "OPTForCausalLM"

// named are models of each architecture as they are found: windows are shorter than the context.
var named = map[string]Spec{
	"llama": {Architecture: "LlamaForCausalLM", Hidden: 48, Intermediate: 112, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 20, Vocab: 1999, Context: 64},
	"llama3.1": {Architecture: "LlamaForCausalLM", Hidden: 64, Intermediate: 96, Layers: 4, Heads: 4, KVHeads: 1, HeadDim: 24, Vocab: 1999, Context: 128,
		Extra: map[string]any{"rope_theta": 500000.0, "rope_scaling": map[string]any{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}},
	"mistral": {Architecture: "MistralForCausalLM", Hidden: 64, Intermediate: 96, Layers: 4, Heads: 8, KVHeads: 2, HeadDim: 8, Vocab: 1999, Context: 64,
		Extra: map[string]any{"sliding_window": 7}},
	"qwen2": {Architecture: "Qwen2ForCausalLM", Hidden: 56, Intermediate: 100, Layers: 4, Heads: 8, KVHeads: 1, HeadDim: 20, Vocab: 1999, Context: 64, Tied: true},
	"qwen2-window": {Architecture: "Qwen2ForCausalLM", Hidden: 56, Intermediate: 100, Layers: 4, Heads: 4, KVHeads: 4, HeadDim: 24, Vocab: 1999, Context: 64,
		Extra: map[string]any{"use_sliding_window": true, "sliding_window": 5, "max_window_layers": 2}},
	"qwen3": {Architecture: "Qwen3ForCausalLM", Hidden: 48, Intermediate: 96, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 64, Vocab: 1999, Context: 64},
	"qwen3-window": {Architecture: "Qwen3ForCausalLM", Hidden: 48, Intermediate: 96, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 20, Vocab: 1999, Context: 64, Tied: true,
		Extra: map[string]any{"use_sliding_window": true, "sliding_window": 6, "layer_types": []string{"sliding_attention", "full_attention", "sliding_attention", "full_attention"}}},
	"smollm3": {Architecture: "SmolLM3ForCausalLM", Hidden: 48, Intermediate: 104, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 12, Vocab: 1999, Context: 64, Tied: true,
		Extra: map[string]any{"no_rope_layers": []int{1, 0, 1, 0}, "pad_token_id": 1}},
	"smollm3-window": {Architecture: "SmolLM3ForCausalLM", Hidden: 40, Intermediate: 96, Layers: 4, Heads: 4, KVHeads: 4, HeadDim: 20, Vocab: 1999, Context: 64, Tied: true,
		Extra: map[string]any{"pad_token_id": 1, "no_rope_layer_interval": 2, "use_sliding_window": true, "sliding_window": 6}},
	"phi3": {Architecture: "Phi3ForCausalLM", Hidden: 48, Intermediate: 104, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 12, Vocab: 1999, Context: 64,
		Extra: map[string]any{"pad_token_id": 1, "sliding_window": 9}},
	"phi3-long": {Architecture: "Phi3ForCausalLM", Hidden: 48, Intermediate: 104, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 12, Vocab: 1999, Context: 128,
		LongRope: 24, Extra: map[string]any{"pad_token_id": 1}},
	"mixtral": {Architecture: "MixtralForCausalLM", Hidden: 48, Intermediate: 40, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 12, Vocab: 1999, Context: 64,
		Extra: map[string]any{"num_local_experts": 5, "num_experts_per_tok": 2}},
	"qwen3-moe": {Architecture: "Qwen3MoeForCausalLM", Hidden: 48, Intermediate: 104, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 20, Vocab: 1999, Context: 64,
		Extra: map[string]any{"num_experts": 7, "num_experts_per_tok": 3, "moe_intermediate_size": 24, "norm_topk_prob": true}},
	"qwen3-moe-dense": {Architecture: "Qwen3MoeForCausalLM", Hidden: 40, Intermediate: 72, Layers: 4, Heads: 4, KVHeads: 1, HeadDim: 12, Vocab: 1999, Context: 64, Tied: true,
		Extra: map[string]any{"num_experts": 6, "num_experts_per_tok": 4, "moe_intermediate_size": 20, "decoder_sparse_step": 2, "use_sliding_window": true, "sliding_window": 6}},
	"granite": {Architecture: "GraniteForCausalLM", Hidden: 40, Intermediate: 96, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 10, Vocab: 1999, Context: 64, Tied: true,
		Extra: map[string]any{"embedding_multiplier": 3.0, "residual_multiplier": 0.6, "attention_multiplier": 0.4, "logits_scaling": 1.75}},
	"olmo2": {Architecture: "Olmo2ForCausalLM", Hidden: 48, Intermediate: 104, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 12, Vocab: 1999, Context: 64,
		Extra: map[string]any{"pad_token_id": 1}},
	"phi4-mini": {Architecture: "Phi3ForCausalLM", Hidden: 64, Intermediate: 104, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 1999, Context: 128, Tied: true,
		LongRope: 24, Extra: map[string]any{"pad_token_id": 1, "partial_rotary_factor": 0.75}},
	"stablelm": {Architecture: "StableLmForCausalLM", Hidden: 64, Intermediate: 104, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 1999, Context: 64,
		Extra: map[string]any{"pad_token_id": 1, "use_qkv_bias": true}},
	"stablelm-parallel": {Architecture: "StableLmForCausalLM", Hidden: 48, Intermediate: 96, Layers: 4, Heads: 4, KVHeads: 4, HeadDim: 12, Vocab: 1999, Context: 64,
		Extra: map[string]any{"pad_token_id": 1, "use_parallel_residual": true, "partial_rotary_factor": 0.5}},
	"glm4": {Architecture: "Glm4ForCausalLM", Hidden: 48, Intermediate: 104, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 1999, Context: 64,
		AttentionBias: true, Extra: map[string]any{"pad_token_id": 1}},
	"glm": {Architecture: "GlmForCausalLM", Hidden: 48, Intermediate: 104, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 20, Vocab: 1999, Context: 64,
		AttentionBias: true, Relative: true, Extra: map[string]any{"pad_token_id": 1}},
	"seed_oss": {Architecture: "SeedOssForCausalLM", Hidden: 48, Intermediate: 104, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 20, Vocab: 1999, Context: 64,
		AttentionBias: true, Relative: true, Extra: map[string]any{"pad_token_id": 1}},
	"helium": {Architecture: "HeliumForCausalLM", Hidden: 48, Intermediate: 104, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 12, Vocab: 1999, Context: 64,
		Relative: true, Extra: map[string]any{"pad_token_id": 1}},
	"ernie4_5": {Architecture: "Ernie4_5ForCausalLM", Hidden: 48, Intermediate: 104, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 20, Vocab: 1999, Context: 64, Tied: true,
		Relative: true, Extra: map[string]any{"pad_token_id": 1, "use_bias": true}},
	"ministral": {Architecture: "MinistralForCausalLM", Hidden: 48, Intermediate: 104, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 20, Vocab: 1999, Context: 64,
		Relative: true, Extra: map[string]any{"sliding_window": 6, "layer_types": []string{"sliding_attention", "full_attention"}}},
	"ministral3": {Architecture: "Ministral3ForCausalLM", Hidden: 48, Intermediate: 104, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 20, Vocab: 1999, Context: 192,
		Relative: true, Extra: map[string]any{"rope_parameters": map[string]any{"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 48,
			"max_position_embeddings": 192, "beta_fast": 4.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1}}},
	"granite4": {Architecture: "GraniteMoeHybridForCausalLM", Hidden: 40, Intermediate: 96, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 10, Vocab: 1999, Context: 64, Tied: true,
		Relative: true, Extra: map[string]any{"embedding_multiplier": 3.0, "residual_multiplier": 0.6, "attention_multiplier": 0.4, "logits_scaling": 1.75, "intermediate_size": 24,
			"shared_intermediate_size": 96, "num_local_experts": 0, "num_experts_per_tok": 0, "layer_types": []string{"attention", "attention"}, "position_embedding_type": "rope", "mamba_n_heads": 4}},
	"gemma2": {Architecture: "Gemma2ForCausalLM", Hidden: 48, Intermediate: 104, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 1999, Context: 64, Tied: true,
		Extra: map[string]any{"query_pre_attn_scalar": 24, "sliding_window": 6, "attn_logit_softcapping": 1.75, "final_logit_softcapping": 2.5}},
	"gemma3": {Architecture: "Gemma3ForCausalLM", Hidden: 48, Intermediate: 104, Layers: 4, Heads: 4, KVHeads: 1, HeadDim: 20, Vocab: 1999, Context: 64, Tied: true,
		Extra: map[string]any{"query_pre_attn_scalar": 30, "sliding_window": 7, "sliding_window_pattern": 2, "rope_theta": 100000.0, "rope_local_base_freq": 5000.0,
			"rope_scaling": map[string]any{"rope_type": "linear", "factor": 4.0}}},
	"opt": {Architecture: opt, Hidden: 48, Intermediate: 120, Layers: 4, Heads: 2, KVHeads: 2, HeadDim: 24, Vocab: 1999, Context: 64, Tied: true, AttentionBias: true},
}

// Odd are one small model of each architecture, with sizes that divide nothing.
var Odd = map[string]Spec{
	"llama":        {Hidden: 48, Intermediate: 112, Layers: 3, Heads: 6, KVHeads: 3, HeadDim: 8, Vocab: 97, Context: 64, DType: dtype.BF16},
	"llama3 rope":  {Hidden: 40, Intermediate: 72, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 20, Vocab: 131, Context: 64, Extra: map[string]any{"rope_scaling": map[string]any{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}}},
	"llama biases": {Hidden: 24, Intermediate: 50, Layers: 2, Heads: 3, KVHeads: 3, HeadDim: 8, Vocab: 65, Context: 64, AttentionBias: true, MLPBias: true, DType: dtype.F16},
	"mistral":      {Architecture: "MistralForCausalLM", Hidden: 64, Intermediate: 96, Layers: 2, Heads: 4, KVHeads: 1, HeadDim: 24, Vocab: 300, Context: 64, DType: dtype.BF16, Extra: map[string]any{"sliding_window": 7}},
	"qwen2 tied":   {Architecture: "Qwen2ForCausalLM", Hidden: 56, Intermediate: 100, Layers: 2, Heads: 7, KVHeads: 1, HeadDim: 8, Vocab: 211, Context: 64, Tied: true, DType: dtype.BF16},
	"opt":          {Architecture: "OPTForCausalLM", Hidden: 60, Intermediate: 130, Layers: 3, Heads: 3, KVHeads: 3, HeadDim: 20, Vocab: 97, Context: 64, Tied: true, AttentionBias: true, DType: dtype.F16},
	"smollm3":      {Architecture: "SmolLM3ForCausalLM", Hidden: 40, Intermediate: 72, Layers: 3, Heads: 5, KVHeads: 1, HeadDim: 12, Vocab: 113, Context: 64, Tied: true, DType: dtype.BF16, Extra: map[string]any{"no_rope_layer_interval": 2}},
	"phi3": {Architecture: "Phi3ForCausalLM", Hidden: 40, Intermediate: 72, Layers: 3, Heads: 5, KVHeads: 1, HeadDim: 8, Vocab: 113, Context: 64, DType: dtype.BF16,
		LongRope: 8},
	"mixtral": {Architecture: "MixtralForCausalLM", Hidden: 40, Intermediate: 36, Layers: 3, Heads: 5, KVHeads: 1, HeadDim: 8, Vocab: 113, Context: 64, DType: dtype.BF16,
		Extra: map[string]any{"num_local_experts": 5, "num_experts_per_tok": 3, "sliding_window": 9}},
	"qwen3 moe": {Architecture: "Qwen3MoeForCausalLM", Hidden: 32, Intermediate: 56, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 129, Context: 64, DType: dtype.F16,
		Extra: map[string]any{"num_experts": 9, "num_experts_per_tok": 2, "moe_intermediate_size": 17, "mlp_only_layers": []int{0}}},
	"granite": {Architecture: "GraniteForCausalLM", Hidden: 40, Intermediate: 72, Layers: 3, Heads: 5, KVHeads: 1, HeadDim: 8, Vocab: 113, Context: 64, DType: dtype.BF16,
		Extra: map[string]any{"embedding_multiplier": 2.0, "residual_multiplier": 0.5, "attention_multiplier": 0.3, "logits_scaling": 4.0}},
	"olmo2": {Architecture: "Olmo2ForCausalLM", Hidden: 40, Intermediate: 72, Layers: 3, Heads: 5, KVHeads: 1, HeadDim: 8, Vocab: 113, Context: 64, DType: dtype.F16},
	"phi4-mini": {Architecture: "Phi3ForCausalLM", Hidden: 40, Intermediate: 72, Layers: 3, Heads: 5, KVHeads: 1, HeadDim: 8, Vocab: 113, Context: 64, DType: dtype.BF16,
		LongRope: 8, Extra: map[string]any{"partial_rotary_factor": 0.75}},
	"stablelm": {Architecture: "StableLmForCausalLM", Hidden: 40, Intermediate: 72, Layers: 3, Heads: 5, KVHeads: 1, HeadDim: 8, Vocab: 113, Context: 64, DType: dtype.F16},
	"stablelm in parallel": {Architecture: "StableLmForCausalLM", Hidden: 40, Intermediate: 72, Layers: 3, Heads: 5, KVHeads: 5, HeadDim: 8, Vocab: 113, Context: 64,
		DType: dtype.BF16, Extra: map[string]any{"use_parallel_residual": true}},
	"glm4": {Architecture: "Glm4ForCausalLM", Hidden: 40, Intermediate: 72, Layers: 3, Heads: 5, KVHeads: 1, HeadDim: 8, Vocab: 113, Context: 64, DType: dtype.BF16},
	"gemma2": {Architecture: "Gemma2ForCausalLM", Hidden: 40, Intermediate: 72, Layers: 3, Heads: 5, KVHeads: 1, HeadDim: 8, Vocab: 113, Context: 64, DType: dtype.BF16, Tied: true,
		Extra: map[string]any{"query_pre_attn_scalar": 24, "sliding_window": 9}},
	"gemma3": {Architecture: "Gemma3ForCausalLM", Hidden: 40, Intermediate: 72, Layers: 3, Heads: 5, KVHeads: 5, HeadDim: 8, Vocab: 113, Context: 64, DType: dtype.F16, Tied: true,
		Extra: map[string]any{"query_pre_attn_scalar": 8, "sliding_window": 9, "rope_theta": 100000.0, "rope_local_base_freq": 5000.0}},
	"qwen3 q/k norm": {Architecture: "Qwen3ForCausalLM", Hidden: 32, Intermediate: 64, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 129, Context: 64, DType: dtype.F32},
}

// modelType is the model_type of an architecture.
func modelType(architecture string) string {
	for _, f := range arch.Families() {
		if f.Architecture == architecture {
			return f.ModelType
		}
	}
	return ""
}

// Names lists what Named knows.
func Names() []string { return slices.Sorted(maps.Keys(named)) }

// Square says whether the heads are together as wide as Hidden, whatever it is.
func (s Spec) Square() bool {
	return slices.Contains([]string{opt, "StableLmForCausalLM", "HeliumForCausalLM"}, s.Architecture)
}

// Distinct lists those of Names that are no Relative of others.
func Distinct() []string {
	return slices.DeleteFunc(Names(), func(name string) bool { return named[name].Relative })
}

// Named is a small model of an architecture, in F32.
func Named(name string) (Spec, error) {
	s, ok := named[name]
	if !ok {
		return s, fmt.Errorf("modeltest: no architecture %q: there are %s", name, strings.Join(Names(), ", "))
	}
	s.Extra = maps.Clone(s.Extra)
	return s, nil
}

// JSON is the model's config.json.
func (s Spec) JSON() ([]byte, error) {
	if s.Architecture == "" {
		s.Architecture = "LlamaForCausalLM"
	}
	c := map[string]any{
		"architectures": []string{s.Architecture}, "model_type": modelType(s.Architecture), "hidden_size": s.Hidden, "num_hidden_layers": s.Layers,
		"num_attention_heads": s.Heads, "vocab_size": s.Vocab, "max_position_embeddings": s.Context, "tie_word_embeddings": s.Tied,
		"bos_token_id": 0, "eos_token_id": 1, "torch_dtype": torch[s.DType],
	}
	if s.Architecture == opt {
		if s.Hidden != s.Heads*s.HeadDim || s.KVHeads != s.Heads {
			return nil, fmt.Errorf("modeltest: an OPT of hidden size %d with %d heads, %d KV heads, of %d: there are as many KV heads as heads, together of the hidden size", s.Hidden, s.Heads, s.KVHeads, s.HeadDim)
		}
		maps.Copy(c, map[string]any{"ffn_dim": s.Intermediate, "word_embed_proj_dim": s.Hidden, "do_layer_norm_before": true, "enable_bias": s.AttentionBias,
			"activation_function": "relu", "pad_token_id": 1})
	} else {
		maps.Copy(c, map[string]any{"intermediate_size": s.Intermediate, "num_key_value_heads": s.KVHeads, "head_dim": s.HeadDim, "rms_norm_eps": 1e-5,
			"rope_theta": 10000.0, "hidden_act": "silu", "attention_bias": s.AttentionBias, "mlp_bias": s.MLPBias})
	}
	if s.LongRope > 0 {
		var short, long []float64
		share, ok := s.Extra["partial_rotary_factor"].(float64)
		if !ok {
			share = 1
		}
		for i := range int(float64(s.HeadDim)*share) / 2 {
			short, long = append(short, 1+float64(i)/8), append(long, 1+float64(i*i)/2)
		}
		c["original_max_position_embeddings"] = s.LongRope
		c["rope_scaling"] = map[string]any{"type": "longrope", "short_factor": short, "long_factor": long}
	}
	maps.Copy(c, s.Extra)
	return json.MarshalIndent(c, "", "  ")
}

// WriteTo writes a Hugging Face folder into dir, which exists: the model with random weights, norms around one, biases, and matrices
// scaled so that activations keep their size; the same for the same spec. Where the vocabulary has room for all bytes there is a
// tokenizer of bytes.
func (s Spec) WriteTo(dir string) error {
	raw, err := s.JSON()
	if err != nil {
		return err
	}
	c, err := arch.ParseConfig(filepath.Join(dir, "config.json"), raw)
	if err != nil {
		return err
	}
	shapes := c.TopTensors()
	for l := range c.Layers {
		shapes = append(shapes, c.LayerTensors(l)...)
	}
	embedding := shapes[0]
	if s.StoredHead && s.Tied {
		shapes = append(shapes, arch.Tensor{Name: "lm_head.weight", Shape: embedding.Shape})
	}
	var entries []safetensors.Entry
	var all [][]byte
	rng := rand.New(rand.NewPCG(uint64(s.Hidden)+s.Seed<<32, uint64(s.Layers)))
	for _, sh := range shapes {
		d := s.DType
		if s.NormsF32 && strings.Contains(sh.Name, "norm") || sh.Name == s.Wide {
			d = dtype.F32
		}
		data := encode(d, values(rng, sh))
		if s.StoredHead && s.Tied && sh.Name == "lm_head.weight" {
			data = all[0]
		}
		name := sh.Name
		if s.Bare {
			name = strings.TrimPrefix(name, "model.")
		}
		entries, all = append(entries, safetensors.Entry{Name: name, DType: d.String(), Shape: sh.Shape}), append(all, data)
	}
	w, err := safetensors.CreateSharded(dir, entries, s.ShardBytes)
	if err != nil {
		return err
	}
	for i, e := range entries {
		err = errors.Join(err, w.Write(e.Name, all[i]))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	if tokenizer := byteTokenizer(s.Vocab); tokenizer != nil {
		if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), tokenizer, 0o644); err != nil {
			return err
		}
		if strings.HasPrefix(s.Architecture, "Gemma") { // whose own class would cut text as SentencePiece does
			if err := os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(`{"tokenizer_class": "PreTrainedTokenizerFast"}`), 0o644); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o644)
}

// values are a tensor's.
func values(rng *rand.Rand, sh arch.Tensor) []float32 {
	n, scale := 1, 0.3
	for _, d := range sh.Shape {
		n *= d
	}
	if len(sh.Shape) == 2 {
		scale = 1 / math.Sqrt(float64(sh.Shape[1]))
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64() * scale)
		if strings.Contains(sh.Name, "norm") && strings.HasSuffix(sh.Name, ".weight") {
			v[i]++
		}
	}
	return v
}

func encode(d dtype.DType, v []float32) []byte {
	raw := make([]byte, len(v)*d.Size())
	d.Encode(raw, v)
	return raw
}

// byteTokenizer is a tokenizer.json with a token for each byte and no merges, nil where the vocabulary is too small: tokens 0 and 1
// begin and end a text, byte b is token 2+b.
func byteTokenizer(vocab int) []byte {
	const special = 2
	if vocab < special+256 {
		return nil
	}
	bytes := map[string]int{"<s>": 0, "</s>": 1} // there too: tokenizers numbers an added token that is in no vocabulary anew
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if b < '!' || b > '~' && b < '¡' || b == 0xad { // as GPT-2 names bytes that do not print
			r, next = next, next+1
		}
		bytes[string(r)] = special + b
	}
	level := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
	raw, err := json.Marshal(map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "normalizer": nil, "post_processor": nil, "pre_tokenizer": level, "decoder": level,
		"added_tokens": []map[string]any{
			{"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
			{"id": 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
		},
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": false,
			"byte_fallback": false, "ignore_merges": false, "vocab": bytes, "merges": []string{}},
	})
	if err != nil {
		panic(err) // of maps and strings only, it has none
	}
	return raw
}
