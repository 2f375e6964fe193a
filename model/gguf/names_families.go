package gguf

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model/arch"
)

// layerNames are the names of a layer's tensors that every family shares, and biases stand beside what they are added to.
var layerNames = map[arch.Role]string{
	arch.InputNorm: "attn_norm.weight", arch.InputNormBias: "attn_norm.bias",
	arch.Q: "attn_q.weight", arch.K: "attn_k.weight", arch.V: "attn_v.weight",
	arch.QBias: "attn_q.bias", arch.KBias: "attn_k.bias", arch.VBias: "attn_v.bias",
	arch.QNorm: "attn_q_norm.weight", arch.KNorm: "attn_k_norm.weight",
	arch.O: "attn_output.weight", arch.OBias: "attn_output.bias",
	arch.PostNorm: "ffn_norm.weight", arch.PostNormBias: "ffn_norm.bias",
	arch.Gate: "ffn_gate.weight", arch.GateBias: "ffn_gate.bias", arch.Up: "ffn_up.weight", arch.UpBias: "ffn_up.bias",
	arch.Down: "ffn_down.weight", arch.DownBias: "ffn_down.bias",
	arch.QRowNorm: "attn_q_norm.weight", arch.KRowNorm: "attn_k_norm.weight",
	arch.AttentionNorm: "post_attention_norm.weight", arch.MLPNorm: "post_ffw_norm.weight",
	arch.Router: "ffn_gate_inp.weight", arch.ExpertGate: "ffn_gate_exps.weight", arch.ExpertUp: "ffn_up_exps.weight", arch.ExpertDown: "ffn_down_exps.weight",
}

// top are the tensors outside the layers of every family. A head that is tied is not written.
var top = arch.Named(map[arch.Role]string{
	arch.Embed: "token_embd.weight", arch.FinalNorm: "output_norm.weight", arch.FinalNormBias: "output_norm.bias", arch.Head: "output.weight",
})

var layer = arch.Named(layerNames)

// rename gives the tensor of a role another name.
func rename(list []arch.Stored, role arch.Role, name string) []arch.Stored {
	list = slices.Clone(list)
	for i, s := range list {
		if s.Roles[0] == role {
			list[i].Name = name
		}
	}
	return list
}

// common are the keys of every model of the converter's TextModel.
var common = keys(blockCount, contextLength, embedding, feedForward, headCount, headCountKV, ropeScaling, freqBase, rmsEps, expertCount, expertsUsed)

// ropes are those of most families; llamaRopes those of families that the converter has as kinds of Llama.
var (
	ropes      = []arch.RopeType{arch.RopeNone, arch.RopeLinear, arch.RopeDynamic, arch.RopeYarn}
	llamaRopes = append([]arch.RopeType{arch.RopeLlama3}, ropes...)
)

// families is the table of what llama.cpp knows of the families of arch.
var families = []*Family{
	{
		Name: "llama", Of: []string{"LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM"}, Sparse: "MixtralForCausalLM", Top: top, Layer: layer, Interleaved: true,
		Keys:  keys(common, lengths("LlamaForCausalLM", "MistralForCausalLM"), vocabSize, ropeDimension),
		Ropes: llamaRopes,
		Warn:  noWindow,
	},
	{
		Name: "smollm3", Of: []string{"SmolLM3ForCausalLM"}, Top: top, Layer: layer, Interleaved: true,
		Keys:  keys(common, lengths(), vocabSize, ropeDimension),
		Ropes: llamaRopes,
		Check: everyFourth,
		Warn:  noWindow,
	},
	{
		Name: "qwen2", Of: []string{"Qwen2ForCausalLM"}, Top: top, Layer: layer,
		Keys: keys(common, lengths()), Ropes: ropes,
		Check: usualHeads,
		Warn:  noWindow,
	},
	{
		Name: "qwen3", Of: []string{"Qwen3ForCausalLM"}, Top: top, Layer: layer,
		Keys: keys(common, lengths("Qwen3ForCausalLM")), Ropes: ropes,
		Warn: noWindow,
	},
	{
		Name: "qwen3moe", Of: []string{"Qwen3MoeForCausalLM"}, Sparse: "Qwen3MoeForCausalLM", Top: top, Layer: layer,
		Keys: keys(common, lengths(), number("expert_feed_forward_length", "moe_intermediate_size", func(c *Values) int { return c.Mixture.Neurons })), Ropes: ropes,
		Fixed: map[string]any{"norm_topk_prob": true},
		Check: allExperts,
		Warn:  noWindow,
	},
	{
		Name: "granite", Of: []string{"GraniteForCausalLM"}, Top: top, Layer: layer, Interleaved: true,
		Keys: keys(common, vocabSize, ropeDimension,
			stated("attention.scale", "attention_multiplier", 1), stated("embedding_scale", "embedding_multiplier", 1),
			stated("residual_scale", "residual_multiplier", 1), stated("logit_scale", "logits_scaling", 1)),
		Ropes: llamaRopes,
		Check: usualHeads,
	},
	{Name: "olmo2", Of: []string{"Olmo2ForCausalLM"}, Top: top, Layer: layer, Keys: keys(common, lengths()), Ropes: ropes, Check: usualHeads},
	{
		Name: "glm4", Of: []string{"Glm4ForCausalLM"}, Top: top, Layer: arch.Fuse(layer, "ffn_up.weight", arch.Gate, arch.Up),
		Keys: keys(common, lengths("Glm4ForCausalLM"), ropeDimension), Ropes: ropes,
		Specials: []Special{{"eos", "<|endoftext|>"}, {"eot", "<|user|>"}, {"unk", "<|endoftext|>"}, {"bos", "<|endoftext|>"}},
	},
	{
		Name: "seed_oss", Of: []string{"SeedOssForCausalLM"}, Top: top, Layer: rename(layer, arch.PostNorm, "post_attention_norm.weight"),
		Keys: keys(common, lengths("SeedOssForCausalLM")), Ropes: ropes,
		Check: onlyQKVBiases,
	},
	{
		Name: "ernie4_5", Of: []string{"Ernie4_5ForCausalLM"}, Top: top, Layer: layer,
		Keys: keys(common, lengths("Ernie4_5ForCausalLM")), Ropes: ropes,
		Check: onlyQKVBiases,
	},
	{
		Name: "stablelm", Of: []string{"StableLmForCausalLM"}, Top: top, Layer: layer,
		Keys: keys(contextLength, embedding, blockCount, feedForward, ropeDimension, headCount, headCountKV,
			Key{"use_parallel_residual", "use_parallel_residual", func(c *Values) any { return c.Parallel }},
			real("attention.layer_norm_epsilon", "layer_norm_eps", func(c *Values) float64 { return c.RMSNormEps }),
			unusualTheta),
		Ropes: []arch.RopeType{arch.RopeNone, arch.RopeDynamic},
	},
	{
		Name: "gemma2", Of: []string{"Gemma2ForCausalLM"}, Top: top, Layer: layer, NormShift: 1, NoSpace: true,
		Keys: keys(contextLength, embedding, blockCount, feedForward, headCount, headCountKV, rmsEps, keyLength, valueLength,
			real("attn_logit_softcapping", "attn_logit_softcapping", func(c *Values) float64 { return c.AttentionCap }),
			real("final_logit_softcapping", "final_logit_softcapping", func(c *Values) float64 { return c.LogitCap }), window, windows(2), unusualTheta),
		Ropes: []arch.RopeType{arch.RopeNone, arch.RopeDynamic},
		Check: func(c *arch.Config) error {
			if c.AttentionCap == 0 || c.LogitCap == 0 {
				return errors.New("attn_logit_softcapping or final_logit_softcapping is null, and llama.cpp's gemma2 has both")
			}
			return gemmaScale(c)
		},
	},
	{
		Name: "gemma3", Of: []string{"Gemma3ForCausalLM"}, Top: top, Layer: layer, NormShift: 1, NoSpace: true,
		Keys: keys(common, real("rope.freq_base_swa", "rope_local_base_freq", func(c *Values) float64 { return c.LocalTheta }), keyLength, valueLength,
			unlessZero(real("final_logit_softcapping", "final_logit_softcapping", func(c *Values) float64 { return c.LogitCap })), window, windows(6)),
		Ropes: []arch.RopeType{arch.RopeNone, arch.RopeLinear, arch.RopeDynamic}, Check: gemmaScale,
	},
	{
		Name: "phi3", Of: []string{"Phi3ForCausalLM"}, Top: top,
		Layer: arch.Fuse(arch.Fuse(layer, "attn_qkv.weight", arch.Q, arch.K, arch.V), "ffn_up.weight", arch.Gate, arch.Up),
		Keys: keys(contextLength,
			number("rope.scaling.original_context_length", "original_max_position_embeddings", phi3Original),
			embedding, feedForward, blockCount, headCount, headCountKV, rmsEps, ropeDimension, freqBase,
			number("attention.sliding_window", "sliding_window", func(c *Values) int { return int(c.stated("sliding_window")) }),
			unlessZero(real("rope.scaling.attn_factor", "", func(c *Values) float64 { return c.RopeScaling.AttentionFactor }))),
		Ropes: []arch.RopeType{arch.RopeNone, arch.RopeDynamic, arch.RopeLong},
		Check: usualHeads,
		Warn:  noWindow,
	},
}

// unusualTheta is rope.freq_base of families of which the converter leaves it to llama.cpp's default, whatever it is.
var unusualTheta = unlessZero(real("rope.freq_base", "rope_theta", func(c *Values) float64 {
	if c.RopeTheta == 10000 {
		return 0
	}
	return c.RopeTheta
}))

// window is a sliding window as config.json has it, larger than the context too.
var window = number("attention.sliding_window", "sliding_window", func(c *Values) int {
	if n := c.stated("sliding_window"); n > 0 {
		return int(n)
	}
	const fallback = 4096 // of Gemma 2 and 3 in transformers
	return fallback
})

// windows is which layers have the window, where it is not all but every step-th: the converter leaves that to llama.cpp, which counts the
// layers of the file and so does not know of those that a pruned model lacks.
func windows(step int) Key {
	return Key{"attention.sliding_window_pattern", "", func(c *Values) any {
		list, same := []bool{}, true
		for l := range c.Layers {
			slides := c.LayerTypes[l] == "sliding_attention"
			list = append(list, slides)
			same = same && slides == ((l+1)%step != 0)
		}
		if same {
			return nil
		}
		return list
	}}
}

// gemmaScalar is the number whose root llama.cpp divides a Gemma's products of queries and keys by. It tells the largest ones, which have
// another, by their depth. Source: load_arch_hparams in src/models/gemma2.cpp and gemma3.cpp.
func gemmaScalar(family string, layers, hidden, heads, headDim int) int {
	if layers == map[string]int{"gemma2": 46, "gemma3": 62}[family] {
		return hidden / heads
	}
	return headDim
}

// gemmaScale refuses a Gemma whose query_pre_attn_scalar is not the one that llama.cpp takes, as of a pruned Gemma 27B.
func gemmaScale(c *arch.Config) error {
	family := map[string]string{"Gemma2ForCausalLM": "gemma2", "Gemma3ForCausalLM": "gemma3"}[c.Architecture]
	own, theirs := 1/(c.AttentionScale*c.AttentionScale), gemmaScalar(family, c.Layers, c.HiddenSize, c.Heads, c.HeadDim)
	if math.Abs(own-float64(theirs)) > 1e-6*own {
		return fmt.Errorf("query_pre_attn_scalar is %.6g, and llama.cpp takes %d of a %s of %d layers", own, theirs, family, c.Layers)
	}
	return nil
}

// phi3Original is the context of the first training, which Phi-3 has without longrope too.
func phi3Original(c *Values) int {
	if n := c.stated("original_max_position_embeddings"); n > 0 {
		return int(n)
	}
	if n := c.RopeScaling.OriginalMaxPosition; n > 0 {
		return n
	}
	return 4096
}

// noWindow is what to say of a model with sliding windows in an architecture that llama.cpp has none in.
func noWindow(c *arch.Config) string {
	for l := range c.Layers {
		if w := c.Window(l); w > 0 {
			return fmt.Sprintf("llama.cpp has no sliding window for %s: its numbers differ from position %d on, where layer %d no longer sees all", c.ModelType, w, l)
		}
	}
	return ""
}

// allExperts refuses a Qwen3-MoE whose layers are not all mixtures of experts whose weights have the sum one: src/models/qwen3moe.cpp.
func allExperts(c *arch.Config) error {
	for l := range c.Layers {
		if !c.Sparse(l) {
			return fmt.Errorf("layer %d has no experts, and llama.cpp's qwen3moe has them in every layer", l)
		}
	}
	if !c.Divide {
		return errors.New("norm_topk_prob is false, and llama.cpp's qwen3moe divides the experts' weights by their sum")
	}
	return nil
}

// usualHeads refuses a model whose heads are together not as wide as its hidden state. llama.cpp loads no such file of these families: the
// shapes of attn_q or attn_qkv in src/models.
func usualHeads(c *arch.Config) error {
	if c.HeadDim*c.Heads != c.HiddenSize {
		return fmt.Errorf("head_dim %d, and llama.cpp's %s has hidden_size / num_attention_heads", c.HeadDim, c.ModelType)
	}
	return nil
}

// onlyQKVBiases refuses a model with biases of o_proj or of the MLP, which src/models/seed-oss.cpp and ernie4-5.cpp do not add.
func onlyQKVBiases(c *arch.Config) error {
	if c.OutputBias || c.MLPBias {
		return fmt.Errorf("biases of o_proj or of the MLP, and llama.cpp's %s has those of q, k and v only", c.ModelType)
	}
	return nil
}

// everyFourth refuses a SmolLM3 whose layers without rotary positions are not those that llama.cpp takes for them.
func everyFourth(c *arch.Config) error {
	const step = 4 // n_no_rope_layer_step in src/models/smollm3.cpp
	for l := range c.Layers {
		if want := (l+1)%step != 0; c.Rotary(l) != want {
			return fmt.Errorf("layer %d of %d has rotary positions: %v, and llama.cpp, which turns all but every fourth layer of a smollm3, would do otherwise: write a Hugging Face folder instead, or choose layers that keep the pattern", l, c.Layers, c.Rotary(l))
		}
	}
	return nil
}
