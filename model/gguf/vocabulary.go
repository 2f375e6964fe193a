package gguf

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// What a token is: tokenizer.ggml.token_type.
const (
	tokenNormal  = 1
	tokenUnknown = 2
	tokenControl = 3
	tokenUser    = 4 // found in any text before all else
	tokenUnused  = 5
	tokenByte    = 6
)

// vocabulary is the metadata of the tokenizer.
type vocabulary struct {
	tokens []string
	types  []int32
	scores []float32 // nil without
	merges []string
	bpe    bool // byte-level BPE; else SentencePiece
	pre    PreTokenizer
	addBOS bool
	addEOS bool
	prefix bool // a text begins with a space
}

// TokenID is the id of a special token: "bos", "eos", "eot", "eom", "unknown" or "padding". ok says whether the file names one.
func (f *File) TokenID(which string) (id int, ok bool) {
	v, ok := f.Value("tokenizer.ggml." + which + "_token_id")
	n, isInt := asInt(v)
	tokens, _ := f.values["tokenizer.ggml.tokens"].([]string)
	return int(n), ok && isInt && n >= 0 && n < int64(len(tokens))
}

// EndIDs are the ids of the tokens that end a text or a turn: the file's EOS, EOT and EOM.
func (f *File) EndIDs() (ids []int) {
	for _, which := range []string{"eos", "eot", "eom"} {
		if id, ok := f.TokenID(which); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// HasTokenizer says whether the file holds a tokenizer.
func (f *File) HasTokenizer() bool {
	model, ok := f.Value("tokenizer.ggml.model")
	return ok && model != "none" && model != "no_vocab"
}

func (f *File) vocabulary() (v *vocabulary, err error) {
	v = &vocabulary{}
	model, _ := f.values["tokenizer.ggml.model"].(string)
	switch model {
	case "gpt2":
		v.bpe = true
		pre, _ := f.values["tokenizer.ggml.pre"].(string)
		if v.pre, err = FindPreTokenizer(pre); err != nil {
			return nil, err
		}
		v.addBOS = v.pre.BOS
	case "llama":
		v.addBOS, v.prefix = true, true
	default:
		return nil, fmt.Errorf("tokenizer.ggml.model %.40q is not supported, supported are gpt2 and llama", model)
	}
	v.tokens, _ = f.values["tokenizer.ggml.tokens"].([]string)
	v.types, _ = f.values["tokenizer.ggml.token_type"].([]int32)
	v.merges, _ = f.values["tokenizer.ggml.merges"].([]string)
	v.scores, _ = f.values["tokenizer.ggml.scores"].([]float32)
	if len(v.tokens) == 0 {
		return nil, errors.New("tokenizer.ggml.tokens: missing, or no array of texts")
	}
	if v.types == nil {
		v.types = slices.Repeat([]int32{tokenNormal}, len(v.tokens))
	}
	switch {
	case len(v.types) != len(v.tokens):
		return nil, fmt.Errorf("tokenizer.ggml.token_type has %d entries, there are %d tokens", len(v.types), len(v.tokens))
	case v.bpe && len(v.merges) == 0:
		if err := v.needsNone(f.values["tokenizer.ggml.merges"]); err != nil {
			return nil, err
		}
	case !v.bpe && len(v.scores) != len(v.tokens):
		return nil, fmt.Errorf("tokenizer.ggml.scores has %d numbers, there are %d tokens", len(v.scores), len(v.tokens))
	}
	for key, to := range map[string]*bool{"add_bos_token": &v.addBOS, "add_eos_token": &v.addEOS, "add_space_prefix": &v.prefix} {
		if value, ok := f.values["tokenizer.ggml."+key].(bool); ok {
			*to = value
		}
	}
	if v.bpe && v.prefix {
		return nil, errors.New("tokenizer.ggml.add_space_prefix of a byte-level tokenizer: not supported")
	}
	return v, v.checkMap()
}

// needsNone says whether a byte-level vocabulary does without merges: each of its ordinary tokens is one byte, which is written as one character.
func (v *vocabulary) needsNone(merges any) error {
	if _, ok := merges.([]string); merges != nil && !ok {
		return errors.New("tokenizer.ggml.merges: no array of texts")
	}
	for id, token := range v.tokens {
		if v.types[id] == tokenNormal && utf8.RuneCountInString(token) > 1 {
			return fmt.Errorf("tokenizer.ggml.merges: missing or empty, and token %d, %.40q, is made by merges", id, token)
		}
	}
	return nil
}

func (v *vocabulary) checkMap() error {
	seen := map[string]int{}
	for id, token := range v.tokens {
		if other, twice := seen[token]; twice && token != "" {
			return fmt.Errorf("tokenizer.ggml.tokens: tokens %d and %d are both %.40q", other, id, token)
		}
		seen[token] = id
	}
	return nil
}

// object is a JSON object.
type object = map[string]any

// TokenizerJSON composes the tokenizer.json of the file's tokenizer.
func (f *File) TokenizerJSON() ([]byte, error) {
	v, err := f.vocabulary()
	if err != nil {
		return nil, fmt.Errorf("gguf: %s: %w", f.path, err)
	}
	model := object{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": false,
		"byte_fallback": false, "ignore_merges": false}
	out := object{"version": "1.0", "truncation": nil, "padding": nil, "normalizer": nil, "pre_tokenizer": nil, "decoder": nil, "model": model}
	ids, added := map[string]int{}, []object{}
	for id, token := range v.tokens {
		kind := v.types[id]
		if token == "" || v.bpe && kind == tokenUnused { // the converter fills gaps of a vocabulary with these
			continue
		}
		ids[token] = id
		if kind == tokenControl || kind == tokenUnknown || kind == tokenUser {
			added = append(added, object{"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": f.stripsRight(token),
				"normalized": false, "special": kind != tokenUser})
		}
	}
	model["vocab"], out["added_tokens"] = ids, added
	if v.bpe {
		err = v.byteLevel(out, model)
	} else {
		err = v.sentencePiece(out, model, f)
	}
	if err != nil {
		return nil, fmt.Errorf("gguf: %s: %w", f.path, err)
	}
	out["post_processor"] = f.template(v)
	return plainJSON(out)
}

// plainJSON is indented JSON without the escapes that encoding/json adds for HTML.
func plainJSON(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return out.Bytes(), err
}

// stripsRight says whether a special token takes the white space behind it along, which llama.cpp knows of Phi-3 by the model's name.
func (f *File) stripsRight(token string) bool {
	name, _ := f.values["general.name"].(string)
	name = strings.ToLower(name)
	phi3 := strings.Contains(name, "phi-3") || strings.Contains(name, "phi3")
	return phi3 && !slices.Contains([]string{"<unk>", "<s>", "<|endoftext|>"}, token)
}

// byteLevel completes a tokenizer whose words are cut by patterns and written as bytes.
func (v *vocabulary) byteLevel(out, model object) error {
	var parts []object
	for _, p := range v.pre.Patterns {
		parts = append(parts, object{"type": "Split", "pattern": object{"Regex": p}, "behavior": "Isolated", "invert": false})
	}
	level := object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
	out["pre_tokenizer"] = object{"type": "Sequence", "pretokenizers": append(parts, level)}
	out["decoder"] = level
	if v.pre.NFC {
		out["normalizer"] = object{"type": "NFC"}
	}
	model["ignore_merges"] = v.pre.IgnoreMerges
	merges := make([][2]string, len(v.merges))
	for i, m := range v.merges {
		left, right, ok := strings.Cut(m, " ")
		if !ok || left == "" || right == "" {
			return fmt.Errorf("tokenizer.ggml.merges: entry %d, %.40q, is no pair", i, m)
		}
		merges[i] = [2]string{left, right}
	}
	model["merges"] = merges
	return nil
}

// sentencePiece completes a tokenizer whose pieces have scores: the best two neighbours that make a piece are merged first.
func (v *vocabulary) sentencePiece(out, model object, f *File) error {
	ids := model["vocab"].(map[string]int)
	byteFallback := slices.Contains(v.types, tokenByte)
	model["byte_fallback"], model["fuse_unk"] = byteFallback, true
	if id, ok := f.TokenID("unknown"); ok {
		model["unk_token"] = v.tokens[id]
	} else if _, ok := ids["<unk>"]; ok {
		model["unk_token"] = "<unk>"
	}
	space := object{"type": "Replace", "pattern": object{"String": " "}, "content": "▁"}
	decoders := []object{{"type": "Replace", "pattern": object{"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}}
	normalizers := []object{space}
	if v.prefix { // as in Llama 2's own tokenizer.json
		normalizers = []object{{"type": "Prepend", "prepend": "▁"}, space}
		decoders = append(decoders, object{"type": "Strip", "content": " ", "start": 1, "stop": 0})
	}
	out["normalizer"] = object{"type": "Sequence", "normalizers": normalizers}
	out["decoder"] = object{"type": "Sequence", "decoders": decoders}
	normal := map[string]int{}
	for id, token := range v.tokens {
		if v.types[id] == tokenNormal && token != "" {
			if v.scores[id] != v.scores[id] {
				return fmt.Errorf("tokenizer.ggml.scores: number %d is NaN", id)
			}
			normal[token] = id
		}
	}
	model["merges"] = v.scoredMerges(normal)
	return nil
}

// scoredMerges lists the pairs of pieces that make a piece, those of the best score first, and of one score those of the lower id.
func (v *vocabulary) scoredMerges(normal map[string]int) [][2]string {
	type merge struct {
		id   int
		pair [2]string
	}
	var list []merge
	for id, token := range v.tokens {
		if _, ok := normal[token]; !ok || len(token) > maxPiece {
			continue
		}
		for at := range token {
			if at == 0 {
				continue
			}
			_, left := normal[token[:at]]
			_, right := normal[token[at:]]
			if left && right {
				list = append(list, merge{id, [2]string{token[:at], token[at:]}})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b merge) int {
		return cmp.Or(-cmp.Compare(v.scores[a.id], v.scores[b.id]), cmp.Compare(a.id, b.id))
	})
	out := make([][2]string, len(list))
	for i, m := range list {
		out[i] = m.pair
	}
	return out
}

const maxPiece = 1 << 10 // bytes; SentencePiece's own limit for training is far below

// template is the post-processor that puts BOS before a text and EOS behind it, nil if neither is wanted.
func (f *File) template(v *vocabulary) any {
	special := object{}
	token := func(which string, want bool) []object {
		id, ok := f.TokenID(which)
		if !want || !ok {
			return nil
		}
		name := v.tokens[id]
		special[name] = object{"id": name, "ids": []int{id}, "tokens": []string{name}}
		return []object{{"SpecialToken": object{"id": name, "type_id": 0}}}
	}
	bos, eos := token("bos", v.addBOS), token("eos", v.addEOS)
	if len(special) == 0 {
		return nil
	}
	single := slices.Concat(bos, []object{{"Sequence": object{"id": "A", "type_id": 0}}}, eos)
	pair := slices.Concat(single, bos, []object{{"Sequence": object{"id": "B", "type_id": 0}}}, eos)
	return object{"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}
}

// TokenizerConfigJSON composes the tokenizer_config.json that belongs to TokenizerJSON.
func (f *File) TokenizerConfigJSON() ([]byte, error) {
	v, err := f.vocabulary()
	if err != nil {
		return nil, fmt.Errorf("gguf: %s: %w", f.path, err)
	}
	out := object{"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false, "add_bos_token": v.addBOS, "add_eos_token": v.addEOS}
	for key, which := range map[string]string{"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"} {
		if id, ok := f.TokenID(which); ok {
			out[key] = v.tokens[id]
		}
	}
	architecture, _ := f.values["general.architecture"].(string)
	if n, ok := asInt(f.values[architecture+".context_length"]); ok {
		out["model_max_length"] = n
	}
	return plainJSON(out)
}

// GenerationJSON composes a generation_config.json: the tokens that begin a text and that end one.
func (f *File) GenerationJSON() ([]byte, error) {
	out := object{}
	for key, which := range map[string]string{"bos_token_id": "bos", "pad_token_id": "padding"} {
		if id, ok := f.TokenID(which); ok {
			out[key] = id
		}
	}
	if ends := f.EndIDs(); len(ends) == 1 {
		out["eos_token_id"] = ends[0]
	} else if len(ends) > 1 {
		out["eos_token_id"] = ends
	}
	return plainJSON(out)
}

const templateKey = "tokenizer.chat_template"

// templateName is what names of chat templates besides the ordinary one look like: they become names of files.
var templateName = regexp.MustCompile(`^\.[A-Za-z0-9_-]{1,64}$`)

// ChatTemplates are the chat templates by name; the ordinary one has the name "".
func (f *File) ChatTemplates() map[string]string {
	out := map[string]string{}
	for _, p := range f.pairs {
		name, ok := strings.CutPrefix(p.Key, templateKey)
		text, isText := p.Value.(string)
		if ok && isText && (name == "" || templateName.MatchString(name)) {
			out[strings.TrimPrefix(name, ".")] = text
		}
	}
	return out
}
