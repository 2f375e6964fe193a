package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/files"
)

// class is a tokenizer class of transformers 5.24. Most files are read by TokenizersBackend, which takes a tokenizer.json as it is; the others
// take vocabulary, merges and post-processor from it and bring their own rules for the rest.
type class struct {
	name     string
	defaults []defaultToken
	rules    func(f *file, c *config, s *specials) // nil: those of tokenizer.json
	vocab    bool                                  // reads vocab.json and merges.txt
	pieces   bool                                  // reads tokenizer.model
	template bool                                  // puts around a text what add_bos_token and add_eos_token say, whatever tokenizer.json does
	again    func(s *specials) []AddedToken
}

// defaultToken is a special token that a class names where no file does; without content, none, which a file's padding cannot change.
type defaultToken struct{ name, content string }

const endOfText = "<|endoftext|>"

var backend = &class{name: "TokenizersBackend", pieces: true}

var classes = []*class{
	backend,
	{
		name: "LlamaTokenizer", rules: llamaRules, pieces: true,
		defaults: []defaultToken{{"unk_token", "<unk>"}, {"bos_token", "<s>"}, {"eos_token", "</s>"}},
	}, {
		name: "GemmaTokenizer", rules: gemmaRules, pieces: true,
		defaults: []defaultToken{{"unk_token", "<unk>"}, {"bos_token", "<bos>"}, {"eos_token", "<eos>"}, {"pad_token", "<pad>"}, {"mask_token", "<mask>"}},
	}, {
		name: "GPT2Tokenizer", rules: gpt2Rules, vocab: true,
		defaults: []defaultToken{{"unk_token", endOfText}, {"bos_token", endOfText}, {"eos_token", endOfText}, {"pad_token", ""}},
	}, {
		name: "CodeGenTokenizer", rules: gpt2Rules, vocab: true,
		defaults: []defaultToken{{"unk_token", endOfText}, {"bos_token", endOfText}, {"eos_token", endOfText}, {"pad_token", ""}},
	}, {
		name: "GPTNeoXTokenizer", rules: neoxRules, vocab: true, template: true,
		defaults: []defaultToken{{"unk_token", endOfText}, {"bos_token", endOfText}, {"eos_token", endOfText}, {"pad_token", "<|padding|>"}},
	}, {
		name: "Qwen2Tokenizer", rules: qwen2Rules, vocab: true, again: plainSpecials,
		defaults: []defaultToken{{"unk_token", endOfText}, {"bos_token", ""}, {"eos_token", endOfText}, {"pad_token", endOfText}},
	}, {
		name: "Qwen3_5Tokenizer", rules: qwen35Rules,
		defaults: []defaultToken{{"unk_token", endOfText}, {"bos_token", ""}, {"eos_token", endOfText}, {"pad_token", endOfText}},
	}, {
		name: "CohereTokenizer", rules: cohereRules, vocab: true, again: markedSpecials,
		defaults: []defaultToken{
			{"unk_token", "<UNK>"}, {"bos_token", "<BOS_TOKEN>"}, {"eos_token", "<|END_OF_TURN_TOKEN|>"}, {"pad_token", "<PAD>"},
			{"cls_token", "<CLS>"}, {"sep_token", "<SEP>"}, {"mask_token", "<MASK_TOKEN>"},
		},
	},
}

// plainSpecials are the special tokens with no flag but that.
func plainSpecials(s *specials) []AddedToken {
	var out []AddedToken
	for _, v := range s.all() {
		out = append(out, AddedToken{Content: v.Content, Special: true})
	}
	return out
}

// markedSpecials are the special tokens with their flags.
func markedSpecials(s *specials) []AddedToken {
	var out []AddedToken
	for _, v := range s.all() {
		v.Special = true
		out = append(out, v.resolve())
	}
	return out
}

// registered are the classes that transformers has for a model_type, TOKENIZER_MAPPING_NAMES without mistral-common. A model type that
// is not here has none.
var registered = byWord(map[string]string{
	"GPT2Tokenizer":  "blip-2 codegen dbrx emu3 gpt2 gpt_neo gptj hyperclovax_vision_v2 instructblip jais2 opt phi starcoder2",
	"GemmaTokenizer": "diffusion_gemma gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text recurrent_gemma shieldgemma2 t5gemma zaya",
	"Qwen2Tokenizer": "audioflamingo3 colqwen2 internvl lighton_ocr ovis2 qwen2 qwen2_5_omni qwen2_5_vl qwen2_audio qwen2_moe qwen2_vl qwen3 qwen3_asr " +
		"qwen3_moe qwen3_next qwen3_omni_moe qwen3_vl qwen3_vl_moe vibevoice",
	"Qwen3_5Tokenizer":   "qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen3_5_text qwen4_exp",
	"GPTNeoXTokenizer":   "falcon_mamba gpt_neox mamba mamba2 mpt olmo olmoe rwkv xlstm",
	"CohereTokenizer":    "aya_vision cohere cohere2",
	"CodeLlamaTokenizer": "code_llama",
	"LlamaTokenizer":     "idefics idefics2",
	"TokenizersBackend": "aria flex_olmo glm glm4 glm4_moe glm4_moe_lite glm4v glm4v_moe gpt_bigcode granite granitemoe granitemoehybrid granitemoeshared " +
		"kimi_k25 kimi_linear mimo_v2_flash ministral ministral3 mistral mistral3 mistral_large4 mixtral olmo2 olmo3 olmo_hybrid persimmon pixtral stablelm voxtral " +
		"arctic chatlm ernie4_5 ernie4_5_moe fuyu h2ovl_chat hyperclovax hyperclovax_vlm internlm2 internlm3 iquestcoder jamba llava llava_next minicpm3 minicpmv " +
		"minimax_m2 modernbert-decoder molmo molmo2 nemotron nvfp4 opencua openvla paddleocr_vl phi3 phi3_v phimoe step3_vl vipllava smolvlm",
})

// misnamed are the model types whose folders name a wrong class, MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS: the registered one is taken.
var misnamed = strings.Fields("arctic chatlm ernie4_5 ernie4_5_moe fuyu h2ovl_chat hyperclovax hyperclovax_vlm hyperclovax_vision_v2 internlm2 internlm3 " +
	"iquestcoder jamba llava llava_next minicpm3 minicpmv minimax_m2 modernbert-decoder molmo molmo2 nemotron nvfp4 opencua openvla paddleocr_vl phi3 phi3_v " +
	"phimoe qwen2 qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen4_exp step3_vl vipllava smolvlm")

func byWord(lists map[string]string) map[string]string {
	out := map[string]string{}
	for value, words := range lists {
		for _, word := range strings.Fields(words) {
			out[word] = value
		}
	}
	return out
}

// chooseClass is AutoTokenizer's choice for a folder.
func chooseClass(f *Files, c *config) (*class, error) {
	var arch struct {
		ModelType string `json:"model_type"`
		ModelName string `json:"model_name"`
		Class     string `json:"tokenizer_class"`
	}
	if f.Arch != nil {
		if err := files.JSON(f.Arch, &arch); err != nil {
			return nil, &fileError{archFile, err}
		}
	}
	own := strings.TrimSuffix(c.text("tokenizer_class"), "Fast")
	hub := own
	if hub == "" {
		hub = strings.TrimSuffix(arch.Class, "Fast")
	}
	known := registered[arch.ModelType]
	wrong := slices.Contains(misnamed, arch.ModelType) || slices.Contains(misnamed, arch.ModelName)
	remote := remoteCode(c.values["auto_map"])
	switch {
	case !remote && hub == "LlamaTokenizer" && !wrong && f.byteLevel():
		return backend, nil
	case !remote && hub != "" && known != "" && known != hub:
		switch {
		case known == backend.name:
			return backend, nil
		case wrong:
			return classNamed(known)
		}
		return classNamed(hub)
	case own != "":
		return classNamed(own)
	case remote:
		return nil, &fileError{configFile, fmt.Errorf("auto_map asks for a program of the model's own, which is not run; where tokenizer.json holds all, delete auto_map")}
	case hub != "":
		return classNamed(hub)
	case known != "":
		return classNamed(known)
	}
	return backend, nil
}

// byteLevel tells whether a tokenizer.json speaks of ByteLevel.
func (f *Files) byteLevel() bool { return strings.Contains(string(f.JSON), `"ByteLevel"`) }

// remoteCode tells whether an auto_map names a tokenizer class in a program of the folder.
func remoteCode(raw json.RawMessage) bool {
	var byUse struct {
		Tokenizer json.RawMessage `json:"AutoTokenizer"`
	}
	if isObject(raw) {
		return json.Unmarshal(raw, &byUse) == nil && !saysNothing(byUse.Tokenizer) && byUse.Tokenizer != nil
	}
	return isList(raw)
}

// classNamed finds a class. Those without rules of their own are all TokenizersBackend.
func classNamed(name string) (*class, error) {
	switch name {
	case "PreTrainedTokenizer", "PreTrainedTokenizerFast", "BloomTokenizer":
		return backend, nil
	}
	for _, c := range classes {
		if c.name == name {
			return c, nil
		}
	}
	return nil, &fileError{configFile, fmt.Errorf("tokenizer_class %q is not supported; if tokenizer.json holds all, name PreTrainedTokenizerFast", short(name))}
}
