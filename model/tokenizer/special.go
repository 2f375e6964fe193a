package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model/files"
)

// tokenValue is a token as a file writes it: a string, or an object with flags. A string is a special token.
type tokenValue struct {
	AddedToken
	flags      bool
	marked     bool  // the object says that it is a token; until all files are read, transformers does not look into it
	special    bool  // the flag of this name is there
	normalized *bool // nil: unless special
}

func plainToken(content string) tokenValue {
	return tokenValue{AddedToken: AddedToken{Content: content}}
}

// resolve gives the token with its flags.
func (v tokenValue) resolve() AddedToken {
	a := v.AddedToken
	if !v.flags {
		a.Special = true
	}
	if a.Normalized = !a.Special; v.normalized != nil {
		a.Normalized = *v.normalized
	}
	return a
}

// key is what makes two of them equal, as in Python: a string never equals a token with flags, ids do not count.
func (v tokenValue) key() tokenValue {
	k := tokenValue{AddedToken: v.resolve(), flags: v.flags, marked: v.marked}
	k.ID = 0
	return k
}

// parseAddedToken reads an object with content and flags. In tokenizer.json it has an id, and every flag must be there.
func parseAddedToken(raw json.RawMessage, listed bool) (tokenValue, error) {
	v := tokenValue{flags: true}
	parts, err := members(raw, maxKeys)
	if err != nil {
		return v, err
	}
	found := 0
	for _, p := range parts {
		to, ok := map[string]any{
			"content": &v.Content, "single_word": &v.SingleWord, "lstrip": &v.LStrip, "rstrip": &v.RStrip, "normalized": &v.normalized,
			"special": &v.Special, "id": &v.ID,
		}[p.name]
		switch {
		case p.name == "__type" && !listed:
			continue
		case !ok || p.name == "id" && !listed:
			return v, fmt.Errorf("added token: key %q is not known", short(p.name))
		}
		if string(p.value) == "null" && p.name != "normalized" {
			return v, fmt.Errorf("added token: %s is null", p.name)
		}
		if err := files.JSON(p.value, to); err != nil {
			return v, fmt.Errorf("added token: %s: %w", p.name, err)
		}
		v.special = v.special || p.name == "special"
		found++
	}
	if v.ID < 0 || v.ID >= maxID {
		return v, fmt.Errorf("token %q: id %d, expected 0 to %d", short(v.Content), v.ID, maxID-1)
	}
	if listed && (found != 7 || v.normalized == nil) {
		return v, fmt.Errorf("token %q: id, content, single_word, lstrip, rstrip, normalized and special are expected", short(v.Content))
	}
	return v, nil
}

// parseToken reads a string, or an object that says that it is an added token; ok is false for anything else.
func parseToken(raw json.RawMessage) (v tokenValue, ok bool, err error) {
	if json.Unmarshal(raw, &v.Content) == nil && string(raw) != "null" {
		return v, true, nil
	}
	var mark struct {
		Type string `json:"__type"`
	}
	if json.Unmarshal(raw, &mark) != nil || mark.Type != "AddedToken" {
		return v, false, nil
	}
	v, err = parseAddedToken(raw, false)
	v.marked = true
	return v, true, err
}

// standard are the names of special tokens, in transformers' order.
var standard = []string{"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}

// specials are the special tokens by name, and those without.
type specials struct {
	named map[string]tokenValue
	names []string // in their order
	extra []tokenValue
	byID  []tokenValue // of added_tokens_decoder, ordered by id
}

func (s *specials) set(name string, v tokenValue) {
	if s.named == nil {
		s.named = map[string]tokenValue{}
	}
	if _, ok := s.named[name]; !ok {
		s.names = append(s.names, name)
	}
	s.named[name] = v
}

// all are the named tokens and the extra ones.
func (s *specials) all() []tokenValue {
	var list []tokenValue
	for _, name := range s.names {
		list = append(list, s.named[name])
	}
	return append(list, s.extra...)
}

// toAdd are the tokens to add to those of the vocabulary, in transformers' order.
func (s *specials) toAdd(have map[string]bool) []AddedToken {
	list := slices.Clone(s.byID)
	listed := map[tokenValue]bool{}
	for _, v := range list {
		have[v.Content], listed[v.key()] = true, true
	}
	for _, v := range s.all() {
		if !have[v.Content] && !listed[v.key()] {
			listed[v.key()] = true
			list = append(list, v)
		}
	}
	names := map[string]bool{}
	for _, v := range s.named {
		names[v.Content] = true
	}
	out := make([]AddedToken, len(list))
	for i, v := range list {
		v.Special = v.Special || names[v.Content]
		out[i] = v.resolve()
	}
	return out
}

// config is tokenizer_config.json.
type config struct {
	values map[string]json.RawMessage
	names  []string // in their order
}

func readConfig(f *Files) (*config, error) {
	c := &config{values: map[string]json.RawMessage{}}
	if f.Config == nil {
		return c, nil
	}
	parts, err := members(f.Config, maxKeys)
	if err != nil {
		return nil, &fileError{configFile, err}
	}
	for _, p := range parts {
		if err := configKeys.checkOpen("tokenizer_config", p.name, p.value); err != nil {
			return nil, &fileError{configFile, err}
		}
		c.values[p.name] = p.value
		c.names = append(c.names, p.name)
	}
	return c, nil
}

// flag reads a key that is true or false; other is for a key that is not there or null.
func (c *config) flag(name string, other bool) bool {
	switch raw := string(c.values[name]); raw {
	case "", "null":
		return other
	default:
		return raw == "true"
	}
}

func (c *config) text(name string) string {
	var s string
	if json.Unmarshal(c.values[name], &s) != nil {
		return ""
	}
	return s
}
