package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/model/files"
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
	Type         *string `json:"type"`
	Vocab        vocab   `json:"vocab"`
	Merges       merges  `json:"merges"`
	Dropout      float64 `json:"dropout"`
	Unk          *string `json:"unk_token"`
	Prefix       string  `json:"continuing_subword_prefix"`
	Suffix       string  `json:"end_of_word_suffix"`
	FuseUnk      bool    `json:"fuse_unk"`
	ByteFallback bool    `json:"byte_fallback"`
	IgnoreMerges bool    `json:"ignore_merges"`
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
		IDs []tokenID `json:"ids"`
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
type tokenPair struct{ id tokenID }

func (p *tokenPair) UnmarshalJSON(raw []byte) error {
	var parts []json.RawMessage
	if err := files.JSON(raw, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return errors.New("not a token with its id")
	}
	return files.JSON(parts[1], &p.id)
}

// tokenID is an id, for which json takes null to be 0.
type tokenID int

func (id *tokenID) UnmarshalJSON(raw []byte) error {
	n, err := strconv.Atoi(string(raw))
	if err != nil {
		return fmt.Errorf("%s, expected a token's id", short(string(raw)))
	}
	*id = tokenID(n)
	return nil
}

// vocab are ids by token.
type vocab map[string]int

func (v *vocab) UnmarshalJSON(raw []byte) error {
	if err := atMost(raw, maxVocab); err != nil {
		return fmt.Errorf("vocab: %w", err)
	}
	var ids map[string]tokenID
	if err := files.JSON(raw, &ids); err != nil {
		return fmt.Errorf("vocab: %w", err)
	}
	*v = make(vocab, len(ids))
	for token, id := range ids {
		(*v)[token] = int(id)
	}
	return nil
}

// merges are pairs, written ["a", "b"] or, before 2024, "a b".
type merges [][2]string

func (m *merges) UnmarshalJSON(raw []byte) error {
	if err := atMost(raw, maxMerges); err != nil {
		return err
	}
	var pairs [][]string
	var lines []string
	if json.Unmarshal(raw, &lines) == nil { // else pairs
		for _, line := range lines {
			if !strings.HasPrefix(line, "#version") {
				pairs = append(pairs, strings.Split(line, " "))
			}
		}
	} else if err := files.JSON(raw, &pairs); err != nil {
		return err
	}
	*m = make(merges, len(pairs))
	for i, p := range pairs {
		if len(p) != 2 || p[0] == "" || p[1] == "" {
			return fmt.Errorf("merge %d: %q is not a pair", i, short(strings.Join(p, " ")))
		}
		(*m)[i] = [2]string(p)
	}
	return nil
}

// parseFile reads a tokenizer.json: all of it, or only what a class with rules of its own takes.
func parseFile(raw []byte, all bool) (*file, error) {
	parts, err := members(raw, maxKeys)
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
			err = files.JSON(raw, section.to)
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
		tokens, err := list(raw, maxAdded)
		if err != nil {
			return fmt.Errorf("added_tokens: %w", err)
		}
		for _, raw := range tokens {
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
		if err := files.JSON(raw, &padding); err != nil {
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
	parts, err := members(raw, maxKeys)
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	// The type comes first: another model's vocabulary may not even have the form that BPE has.
	var kind struct {
		Type *string `json:"type"`
	}
	if err := files.JSON(raw, &kind); err != nil {
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
	return files.JSON(raw, &f.Model)
}

// checkComponent refuses what no reader of this package knows: a type or a key of a component.
func checkComponent(section string, raw json.RawMessage, depth int) error {
	if string(bytes.TrimSpace(raw)) == "null" {
		return nil
	}
	if depth > maxDepth {
		return errors.New("too many parts")
	}
	parts, err := members(raw, maxKeys)
	if err != nil {
		return err
	}
	var kind struct {
		Type string `json:"type"`
	}
	if err := files.JSON(raw, &kind); err != nil {
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
			steps, err := list(p.value, maxParts)
			if err != nil {
				return err
			}
			for _, raw := range steps {
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

const (
	maxKeys   = 1 << 12 // of an object; tokenizer_config.json has some 50
	maxAround = 1 << 8  // tokens before or after a text, and steps of a template; real ones are a handful
)

// members lists the keys of an object in their order, the last value of one that comes again in the first one's place. Values share raw's memory.
func members(raw []byte, most int) ([]member, error) {
	if err := files.JSON(raw, new(json.RawMessage)); err != nil { // with its limit on depth
		return nil, err
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '{' {
		if string(raw) == "null" {
			return nil, nil
		}
		return nil, fmt.Errorf("%s, expected an object", short(string(raw)))
	}
	var out []member
	at := map[string]int{}
	count := 0
	err := elements(raw, func(part []byte) error {
		if count++; count > most {
			return fmt.Errorf("an object of more than %d keys", most)
		}
		d := json.NewDecoder(bytes.NewReader(part))
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string) // an object's key
		_, value, _ := bytes.Cut(part[d.InputOffset():], []byte(":"))
		value = bytes.TrimSpace(value)
		if i, ok := at[name]; ok {
			out[i].value = value
			return nil
		}
		at[name] = len(out)
		out = append(out, member{name, value})
		return nil
	})
	return out, err
}

// list gives the elements of a list, which share raw's memory, and more than so many as an error before there is room for them.
func list(raw []byte, most int) (out []json.RawMessage, err error) {
	if err := files.JSON(raw, new(json.RawMessage)); err != nil {
		return nil, err
	}
	raw = bytes.TrimSpace(raw)
	if string(raw) == "null" {
		return nil, nil
	}
	if raw[0] != '[' {
		return nil, fmt.Errorf("%s, expected a list", short(string(raw)))
	}
	return out, elements(raw, func(part []byte) error {
		if out = append(out, bytes.TrimSpace(part)); len(out) > most {
			return fmt.Errorf("a list of more than %d", most)
		}
		return nil
	})
}

// elements hands on what the commas of a list or an object part. raw is valid JSON.
func elements(raw []byte, use func(part []byte) error) error {
	depth, begin, quoted := 0, 1, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted:
			if c == '\\' {
				i++
			}
			quoted = c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				if len(bytes.TrimSpace(raw[begin:i])) == 0 {
					return nil
				}
				return use(raw[begin:i])
			}
		case c == ',' && depth == 1:
			if err := use(raw[begin:i]); err != nil {
				return err
			}
			begin = i + 1
		}
	}
	return nil
}

// atMost refuses a list or an object of more than so many elements, before there is room for them. raw is valid JSON.
func atMost(raw []byte, most int) error {
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '[' && raw[0] != '{' {
		return nil
	}
	n := 0
	return elements(raw, func([]byte) error {
		if n++; n > most {
			return fmt.Errorf("more than %d entries", most)
		}
		return nil
	})
}
