package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// file is a tokenizer.json, read or made of other files.
type file struct {
	Model         modelPart
	Added         []AddedToken
	Normalizer    *component
	PreTokenizer  *component
	PostProcessor *component
	Decoder       *component
	listed        []tokenValue   // Added as the file has it, with its ids
	defaults      []defaultToken // special tokens that it names where no other file does
	pieces        *pieces        // the tokenizer.model that it was made of
}

// modelPart is the model of a tokenizer.json.
type modelPart struct {
	Type         *string        `json:"type"`
	Vocab        map[string]int `json:"vocab"`
	Merges       merges         `json:"merges"`
	Dropout      float64        `json:"dropout"`
	Unk          *string        `json:"unk_token"`
	Prefix       string         `json:"continuing_subword_prefix"`
	Suffix       string         `json:"end_of_word_suffix"`
	FuseUnk      bool           `json:"fuse_unk"`
	ByteFallback bool           `json:"byte_fallback"`
	IgnoreMerges bool           `json:"ignore_merges"`
}

// component holds the fields of every normalizer, pre-tokenizer, post-processor and decoder.
type component struct {
	Type           string       `json:"type"`
	Normalizers    []*component `json:"normalizers"`
	PreTokenizers  []*component `json:"pretokenizers"`
	Processors     []*component `json:"processors"`
	Decoders       []*component `json:"decoders"`
	Pattern        pattern      `json:"pattern"`
	Content        string       `json:"content"`
	Prepend        string       `json:"prepend"`
	Behavior       string       `json:"behavior"`
	Invert         bool         `json:"invert"`
	AddPrefixSpace *bool        `json:"add_prefix_space"`
	UseRegex       *bool        `json:"use_regex"`
	Individual     bool         `json:"individual_digits"`
	Replacement    string       `json:"replacement"`
	PrependScheme  string       `json:"prepend_scheme"`
	Split          *bool        `json:"split"`
	Start          int          `json:"start"`
	Stop           int          `json:"stop"`
	StripLeft      bool         `json:"strip_left"`
	StripRight     bool         `json:"strip_right"`
	Delimiter      string       `json:"delimiter"`
	Single         []struct {
		SpecialToken *struct {
			ID string `json:"id"`
		}
		Sequence *struct {
			ID string `json:"id"`
		}
	} `json:"single"`
	SpecialTokens map[string]struct {
		IDs []int `json:"ids"`
	} `json:"special_tokens"`
	CLS tokenPair `json:"cls"`
	SEP tokenPair `json:"sep"`
}

// pattern is {"String": "x"} or {"Regex": "x"}.
type pattern struct {
	String *string
	Regex  *string
}

// tokenPair is ["<s>", 0].
type tokenPair struct{ id int }

func (p *tokenPair) UnmarshalJSON(raw []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return errors.New("not a token with its id")
	}
	return json.Unmarshal(parts[1], &p.id)
}

// merges are pairs, written ["a", "b"] or, before 2024, "a b".
type merges [][2]string

func (m *merges) UnmarshalJSON(raw []byte) error {
	var pairs [][]string
	var lines []string
	if json.Unmarshal(raw, &lines) == nil {
		for _, line := range lines {
			if !strings.HasPrefix(line, "#version") {
				pairs = append(pairs, strings.Split(line, " "))
			}
		}
	} else if err := json.Unmarshal(raw, &pairs); err != nil {
		return err
	}
	*m = make(merges, len(pairs))
	for i, p := range pairs {
		if len(p) != 2 {
			return fmt.Errorf("merge %d: %q is not a pair", i, short(strings.Join(p, " ")))
		}
		(*m)[i] = [2]string(p)
	}
	return nil
}

// parseFile reads a tokenizer.json: all of it, or only what a class with rules of its own takes.
func parseFile(raw []byte, all bool) (*file, error) {
	parts, err := members(raw)
	if err != nil {
		return nil, err
	}
	f := &file{}
	for _, p := range parts {
		if !all && (p.name == "normalizer" || p.name == "pre_tokenizer" || p.name == "decoder") {
			continue
		}
		if err := f.part(p.name, p.value); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *file) part(name string, raw json.RawMessage) error {
	for _, section := range []struct {
		name string
		to   **component
	}{{"normalizer", &f.Normalizer}, {"pre_tokenizer", &f.PreTokenizer}, {"post_processor", &f.PostProcessor}, {"decoder", &f.Decoder}} {
		if section.name != name {
			continue
		}
		err := checkComponent(name, raw, 0)
		if err == nil {
			err = json.Unmarshal(raw, section.to)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	switch name {
	case "model":
		return f.modelPart(raw)
	case "added_tokens":
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return fmt.Errorf("added_tokens: %w", err)
		}
		for _, raw := range list {
			a, err := parseAddedToken(raw, true)
			if err != nil {
				return fmt.Errorf("added_tokens: %w", err)
			}
			f.listed, f.Added = append(f.listed, a), append(f.Added, a.resolve())
		}
	case "padding":
		var padding struct {
			Token *string `json:"pad_token"`
		}
		if err := json.Unmarshal(raw, &padding); err != nil {
			return fmt.Errorf("padding: %w", err)
		}
		if padding.Token != nil {
			f.defaults = append(f.defaults, defaultToken{"pad_token", *padding.Token})
		}
	default:
		return fileKeys.check(jsonFile, name, raw)
	}
	return nil
}

func (f *file) modelPart(raw json.RawMessage) error {
	parts, err := members(raw)
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	// The type comes first: another model's vocabulary may not even have the form that BPE has.
	var kind struct {
		Type *string `json:"type"`
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if kind := kind.Type; kind != nil && *kind != "BPE" { // GPT-2's file has no type
		return fmt.Errorf("model type %q is not supported, only BPE", short(*kind))
	}
	for _, p := range parts {
		if err := modelKeys.check("model", p.name, p.value); err != nil {
			return err
		}
	}
	return json.Unmarshal(raw, &f.Model)
}

// checkComponent refuses what no reader of this package knows: a type or a key of a component.
func checkComponent(section string, raw json.RawMessage, depth int) error {
	if string(bytes.TrimSpace(raw)) == "null" {
		return nil
	}
	if depth > maxDepth {
		return errors.New("too many parts")
	}
	parts, err := members(raw)
	if err != nil {
		return err
	}
	var kind struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return err
	}
	keys, ok := componentKeys[section][kind.Type]
	if !ok {
		return fmt.Errorf("type %q is not supported", short(kind.Type))
	}
	for _, p := range parts {
		if p.name == "type" {
			continue
		}
		if !strings.Contains(keys, " "+p.name+" ") {
			return fmt.Errorf("%s: key %q is not known", kind.Type, short(p.name))
		}
		if kind.Type == "Sequence" {
			var list []json.RawMessage
			if err := json.Unmarshal(p.value, &list); err != nil {
				return err
			}
			for _, raw := range list {
				if err := checkComponent(section, raw, depth+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// member is a key of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// members lists the keys of an object in their order, the last value of one that comes again in the first one's place.
func members(raw []byte) ([]member, error) {
	// Unmarshal checks the whole first, with its limit on depth.
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var out []member
	seen := map[string]bool{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if key, _ := name.(string); !seen[key] {
			seen[key] = true
			out = append(out, member{key, whole[key]})
		}
	}
	return out, nil
}
