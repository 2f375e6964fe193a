package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// gathering puts together what the files say of special tokens, in the steps and the order of transformers' from_pretrained, since
// which file wins, and the ids of new tokens, come of these.
type gathering struct {
	names  []string                   // of the keys, in their order
	raw    map[string]json.RawMessage // by key
	tokens map[string]tokenValue      // by key; one that is here hides raw
	lists  map[string][]tokenValue    // lists of tokens by key; as well
	model  []tokenName                // special tokens with names of their own
	byID   map[int]tokenValue
	known  map[string]tokenValue // those of byID by their content
}

type tokenName struct {
	name string
	tokenValue
}

const (
	extraKey   = "extra_special_tokens"
	oldExtra   = "additional_special_tokens"
	decoderKey = "added_tokens_decoder"
	modelKey   = "model_specific_special_tokens"
)

// gather gives the special tokens that the files and the class name.
func gather(c *class, cfg *config, files *Files, f *file) (specials, error) {
	g := &gathering{
		names: slices.Clone(cfg.names), raw: maps.Clone(cfg.values), tokens: map[string]tokenValue{}, lists: map[string][]tokenValue{},
		byID: map[int]tokenValue{}, known: map[string]tokenValue{},
	}
	if err := inFile(configFile, g.config()); err != nil {
		return specials{}, err
	}
	if _, ok := g.raw[decoderKey]; !ok {
		if err := inFile(specialFile, g.special(files.Special)); err != nil {
			return specials{}, err
		}
		if err := inFile(addedFile, g.addedTokens(files.Added)); err != nil {
			return specials{}, err
		}
		for _, v := range f.listed {
			g.enter(v.ID, v)
		}
	}
	if err := g.convert(); err != nil {
		return specials{}, err
	}
	if f.pieces != nil {
		g.fromPieces(f.pieces, c.rules != nil)
	}
	for _, d := range slices.Concat(c.defaults, f.defaults) {
		if !g.has(d.name) {
			g.names = append(g.names, d.name)
			g.raw[d.name] = json.RawMessage("null")
			if d.content != "" {
				g.tokens[d.name] = plainToken(d.content)
			}
		}
	}
	return g.result()
}

func (g *gathering) has(name string) bool { return slices.Contains(g.names, name) }

func (g *gathering) remove(name string) {
	g.names = slices.DeleteFunc(g.names, func(n string) bool { return n == name })
	delete(g.raw, name)
	delete(g.tokens, name)
	delete(g.lists, name)
}

// put gives a key another value.
func (g *gathering) put(name string, raw json.RawMessage) {
	if !g.has(name) {
		g.names = append(g.names, name)
	}
	delete(g.tokens, name)
	delete(g.lists, name)
	g.raw[name] = raw
}

func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }
func isList(raw json.RawMessage) bool   { return len(raw) > 0 && raw[0] == '[' }

// config takes what tokenizer_config.json says by itself.
func (g *gathering) config() error {
	if raw, ok := g.raw[oldExtra]; ok && saysNothing(g.raw[extraKey]) {
		g.put(extraKey, raw)
		g.remove(oldExtra)
	}
	for _, name := range slices.Clone(g.names) {
		if !strings.HasSuffix(name, "_token") || slices.Contains(standard, name) {
			continue
		}
		if v, ok, _ := parseToken(g.raw[name]); ok && !v.flags {
			g.model = append(g.model, tokenName{name, v})
			g.remove(name)
		}
	}
	explicit := g.raw[modelKey]
	if raw := g.raw[extraKey]; isObject(raw) {
		if err := g.modelTokens(raw); err != nil {
			return err
		}
		g.remove(extraKey)
	}
	g.remove(modelKey)
	if len(g.model) == 0 && isObject(explicit) {
		if err := g.modelTokens(explicit); err != nil {
			return err
		}
	}
	if raw, ok := g.raw[decoderKey]; ok {
		return g.decoder(raw)
	}
	return nil
}

// decoder takes added_tokens_decoder: tokens by their ids. The ids only order them.
func (g *gathering) decoder(raw json.RawMessage) error {
	parts, err := members(raw, maxAdded)
	if err != nil {
		return fmt.Errorf("%s: %w", decoderKey, err)
	}
	for _, p := range parts {
		id, err := strconv.Atoi(p.name)
		if err != nil {
			return fmt.Errorf("%s: key %q is not an id", decoderKey, short(p.name))
		}
		v, err := parseAddedToken(p.value, false)
		if err != nil {
			return fmt.Errorf("%s: %d: %w", decoderKey, id, err)
		}
		g.enter(id, v)
	}
	return nil
}

func (g *gathering) enter(id int, v tokenValue) {
	v.ID = id
	g.byID[id], g.known[v.Content] = v, v
}

// modelTokens enters tokens with names of their own, {"image_token": "<image>"}.
func (g *gathering) modelTokens(raw json.RawMessage) error {
	parts, err := members(raw, maxKeys)
	if err != nil {
		return err
	}
	for _, p := range parts {
		v, ok, err := parseToken(p.value)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("special token %s is neither text nor an added token", short(p.name))
		}
		at := slices.IndexFunc(g.model, func(m tokenName) bool { return m.name == p.name })
		if at < 0 {
			g.model = append(g.model, tokenName{p.name, v})
		} else {
			g.model[at].tokenValue = v
		}
	}
	return nil
}

// special takes special_tokens_map.json, which is read where tokenizer_config.json has no added_tokens_decoder.
func (g *gathering) special(raw []byte) error {
	if raw == nil {
		return nil
	}
	parts, err := members(raw, maxKeys)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := configKeys.checkOpen("special_tokens_map", p.name, p.value); err != nil {
			return err
		}
		switch {
		case isObject(p.value) && p.name != extraKey:
			v, err := parseAddedToken(p.value, false)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			v.Special = true
			g.put(p.name, nil)
			g.tokens[p.name] = v
		case isList(p.value) && p.name == extraKey:
			if err := g.moreExtra(p.value); err != nil {
				return err
			}
		default:
			g.put(p.name, p.value)
		}
	}
	if raw := g.raw[extraKey]; isObject(raw) {
		g.remove(extraKey)
		return g.modelTokens(raw)
	}
	return nil
}

// moreExtra adds the list of special_tokens_map.json to that of tokenizer_config.json.
func (g *gathering) moreExtra(raw json.RawMessage) error {
	tokens, err := tokenList(g.raw[extraKey])
	if err != nil {
		return fmt.Errorf("%s: %w", extraKey, err)
	}
	more, err := list(raw, maxAdded)
	if err != nil {
		return fmt.Errorf("%s: %w", extraKey, err)
	}
	have := map[tokenValue]bool{}
	for _, v := range tokens {
		have[v.key()] = true
	}
	for _, raw := range more {
		v, ok, err := parseToken(raw)
		if err == nil && !ok {
			v, err = parseAddedToken(raw, false)
			if v.special {
				err = errors.New("special is given already")
			}
			v.Special = true
		}
		if err != nil {
			return fmt.Errorf("%s: %w", extraKey, err)
		}
		if !have[v.key()] {
			have[v.key()] = true
			tokens = append(tokens, v)
		}
	}
	g.put(extraKey, nil)
	g.lists[extraKey] = tokens
	return nil
}

// tokenList reads a list of tokens; null is an empty one.
func tokenList(raw json.RawMessage) ([]tokenValue, error) {
	if raw == nil {
		return nil, nil
	}
	if !isList(raw) && string(raw) != "null" {
		return nil, errors.New("neither a list of tokens nor tokens by name")
	}
	parts, err := list(raw, maxAdded)
	if err != nil {
		return nil, err
	}
	var tokens []tokenValue
	for _, p := range parts {
		v, ok, err := parseToken(p)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("%s is neither text nor an added token", short(string(p)))
		}
		tokens = append(tokens, v)
	}
	return tokens, nil
}

// addedTokens takes added_tokens.json: tokens with ids. A token that has no name among the special ones is looked for after normalization.
func (g *gathering) addedTokens(raw []byte) error {
	if raw == nil {
		return nil
	}
	parts, err := members(raw, maxAdded)
	if err != nil {
		return err
	}
	special := map[string]bool{}
	for _, name := range standard {
		if v, ok := g.tokens[name]; ok {
			special[v.Content] = true
		} else if v, ok, _ := parseToken(g.raw[name]); ok && !v.flags {
			special[v.Content] = true
		}
	}
	extra := g.lists[extraKey]
	if extra == nil {
		extra, _ = tokenList(g.raw[extraKey])
	}
	for _, v := range extra {
		special[v.Content] = special[v.Content] || !v.marked
	}
	for _, p := range parts {
		var id tokenID
		if err := json.Unmarshal(p.value, &id); err != nil {
			return fmt.Errorf("token %q: %s is not an id", short(p.name), short(string(p.value)))
		}
		normalized := !special[p.name]
		g.enter(int(id), tokenValue{AddedToken: AddedToken{Content: p.name, Special: special[p.name]}, flags: true, normalized: &normalized})
	}
	return nil
}

// convert reads the values that are tokens, and gives named ones the flags that they have as added tokens.
func (g *gathering) convert() error {
	for _, name := range g.names {
		if _, done := g.tokens[name]; done || !strings.HasSuffix(name, "_token") {
			continue
		}
		v, ok, err := parseToken(g.raw[name])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if ok {
			g.tokens[name] = v
		}
	}
	for _, name := range standard {
		if v, ok := g.tokens[name]; ok {
			v.marked = false
			if w, ok := g.known[v.Content]; ok {
				v = w
			}
			g.tokens[name] = v
		}
	}
	return nil
}

// result names the tokens in the order in which transformers adds them.
func (g *gathering) result() (specials, error) {
	if g.has(oldExtra) && !g.has(extraKey) {
		g.put(extraKey, g.raw[oldExtra])
		if list, ok := g.lists[oldExtra]; ok {
			g.lists[extraKey] = list
		}
		g.remove(oldExtra)
	}
	var s specials
	for _, name := range standard {
		v, ok := g.tokens[name]
		if raw := g.raw[name]; !ok && raw != nil && string(raw) != "null" {
			return s, &fileError{configFile, fmt.Errorf("%s is neither text nor an added token: %s", name, short(string(raw)))}
		}
		if ok {
			s.set(name, v)
		}
	}
	var err error
	s.extra = g.lists[extraKey]
	switch raw := g.raw[extraKey]; {
	case s.extra != nil || saysNothing(raw):
	case isObject(raw):
		own := g.model
		g.model = nil
		err = g.modelTokens(raw)
		for _, m := range g.model {
			s.set(m.name, m.tokenValue)
		}
		g.model = own
	default:
		s.extra, err = tokenList(raw)
	}
	if err != nil {
		return s, &fileError{configFile, fmt.Errorf("%s: %w", extraKey, err)}
	}
	for _, name := range g.names {
		if v, ok := g.tokens[name]; ok && !slices.Contains(standard, name) {
			s.set(name, v)
		}
	}
	for _, m := range g.model {
		s.set(m.name, m.tokenValue)
	}
	for _, id := range slices.Sorted(maps.Keys(g.byID)) {
		s.byID = append(s.byID, g.byID[id])
	}
	return s, nil
}
