package gguf

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// PreTokenizer is a way to cut text into words before they are merged, which tokenizer.ggml.pre names.
type PreTokenizer struct {
	Name string            // what the converter writes
	Of   map[string]string // by general.architecture, where it writes another name for the same
	Same []string          // names that mean the same to the loader

	Patterns     []string // each cuts what the one before it left into its matches and what lies between
	IgnoreMerges bool     // a word that is a token is that token, whatever the merges
	NFC          bool     // text is normalized, which llama.cpp leaves out
	BOS          bool     // BOS comes before a text unless the file says otherwise
}

// Patterns of real tokenizers, as their tokenizer.json has them, or as other components there stand for: a ByteLevel, and Digits.
const (
	GPT2Words     = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	OneDigit      = `\p{N}`
	threeDigits   = `\p{N}{1,3}`
	llama3Words   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen2Words    = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	seedWords     = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen35Words   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	tekkenWords   = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	gpt4oWords    = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	casedLetters  = `\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+`
	deepseekWords = `[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + "`" + `{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// PreTokenizers are the ways that tokenizers of families of arch have. Source of what llama.cpp makes of each name: llm_tokenizer_bpe and
// load in src/llama-vocab.cpp of llama-cpp-python 0.3.36.
var PreTokenizers = []PreTokenizer{
	{Name: "gpt-2", Same: []string{"phi-2", "olmo", "jais", "mpt", "exaone4", "trillion", "granite-docling"}, Patterns: []string{GPT2Words}},
	{Name: "smollm", Of: map[string]string{"granite": "refact", "granitemoe": "refact"}, Same: []string{"refact", "starcoder", "command-r", "codeshell", "exaone", "minerva-7b"},
		Patterns: []string{OneDigit, GPT2Words}},
	{Name: "llama-bpe", Of: map[string]string{"glm4": "glm4"}, Same: []string{"llama3", "llama-v3", "falcon3", "pixtral"}, Patterns: []string{llama3Words}, IgnoreMerges: true, BOS: true},
	{Name: "glm4", Patterns: []string{llama3Words}, IgnoreMerges: true},
	{Name: "dbrx", Of: map[string]string{"glm4": "chatglm-bpe"}, Same: []string{"smaug-bpe", "chatglm-bpe"}, Patterns: []string{llama3Words}},
	{Name: "qwen2", Of: map[string]string{"stablelm": "stablelm2"}, Same: []string{"stablelm2", "deepseek-r1-qwen", "megrez", "hunyuan", "solar-open"}, Patterns: []string{qwen2Words}, NFC: true},
	{Name: "seed-coder", Patterns: []string{seedWords}},
	{Name: "qwen35", Patterns: []string{qwen35Words}, NFC: true},
	{Name: "tekken", Patterns: []string{tekkenWords}, IgnoreMerges: true, BOS: true},
	{Name: "gpt-4o", Same: []string{"llama4", "kanana2"}, Patterns: []string{gpt4oWords}},
	{Name: "default", Patterns: []string{`[\p{P}\$\+<=>\^~\|]+`, GPT2Words, `\p{N}+`, `[0-9][0-9][0-9]`}},
	{Name: "deepseek-llm", Patterns: []string{`[\r\n]`, casedLetters, `\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`, `[一-龥ࠀ-一가-퟿]+`, `\p{N}+`}},
	{Name: "deepseek-coder", Patterns: []string{`[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, `[一-龥ࠀ-一가-퟿]+`, OneDigit}},
	{Name: "falcon", Patterns: []string{"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2Words, `[0-9][0-9][0-9]`}},
	{Name: "deepseek-v3", Same: []string{"hunyuan-dense"}, Patterns: []string{threeDigits, `[一-龥぀-ゟ゠-ヿ]+`, deepseekWords}},
}

// FindPreTokenizer finds a way by what tokenizer.ggml.pre calls it.
func FindPreTokenizer(name string) (PreTokenizer, error) {
	known := map[string]bool{}
	for _, p := range PreTokenizers {
		names := slices.Concat([]string{p.Name}, p.Same, slices.Collect(maps.Values(p.Of)))
		if p.Name == name || slices.Contains(p.Same, name) {
			return p, nil
		}
		for _, n := range names {
			known[n] = true
		}
	}
	return PreTokenizer{}, fmt.Errorf("tokenizer.ggml.pre %.40q is not supported, supported are %v", cmp.Or(name, "nothing"), slices.Sorted(maps.Keys(known)))
}
