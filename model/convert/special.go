package convert

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/gguf"
	"github.com/vkcome/vkcome/model/tokenizer"
)

// specialKeys are the ids of special tokens in GGUF by what tokenizer_config.json and config.json call them (bos_token, bos_token_id). Of
// cls GGUF has none. Source: SpecialVocab of gguf-py 0.19.
var specialKeys = []struct{ kind, id string }{
	{"bos", "bos_token_id"}, {"eos", "eos_token_id"}, {"unk", "unknown_token_id"}, {"sep", "seperator_token_id"}, {"pad", "padding_token_id"},
	{"mask", "mask_token_id"}, {"eot", "eot_token_id"}, {"eom", "eom_token_id"},
}

// addKeys are the special tokens of which GGUF says whether they are put around a text.
var addKeys = []string{"bos", "eos", "sep"}

// specials collects the special tokens of a model.
type specials struct {
	names map[string]string // bos: "<s>", as tokenizer_config.json has them or the post-processor implies them
	ids   map[string]int
	add   map[string]bool // whether one is put around a text
}

// known says whether a kind is looked for: ends of a turn are only where something else ends a text.
func (s specials) known(kind string) bool {
	_, ok := s.names[kind]
	return ok
}

// special is the metadata of special tokens and chat templates.
func (t *tokenizerFiles) special(family *gguf.Family, tok tokenizer.Tokenizer, size int) (meta []gguf.Pair, err error) {
	s := specials{map[string]string{}, map[string]int{}, map[string]bool{}}
	for _, kind := range []string{"bos", "eos", "unk", "sep", "pad", "mask", "cls"} {
		s.names[kind] = t.named(kind)
	}
	s.names["bos"], s.names["eos"] = cmp.Or(s.names["bos"], s.names["cls"]), cmp.Or(s.names["eos"], s.names["sep"])
	s.postProcess(t.json.PostProcessor, 0)
	for _, k := range specialKeys {
		if id, ok := t.added(s.names[k.kind]); ok && t.config != nil {
			s.ids[k.kind] = id
		} else if id, ok := t.number(k.kind); ok && s.known(k.kind) {
			s.ids[k.kind] = id
		}
	}
	// What else names them, so that no program starts or stops elsewhere than this one.
	for kind, find := range map[string]func() (int, bool){"bos": tok.BOS, "eos": tok.EOS} {
		if _, there := s.ids[kind]; !there {
			if id, ok := find(); ok {
				s.ids[kind] = id
			}
		}
	}
	for _, named := range family.Specials {
		if _, there := s.ids[named.Kind]; !there {
			if id, ok := tok.ID(named.Token); ok {
				s.ids[named.Kind] = id
			}
		}
	}
	for _, k := range specialKeys {
		if id, ok := s.ids[k.kind]; ok && id >= 0 && id < size {
			meta = append(meta, gguf.Pair{Key: "tokenizer.ggml." + k.id, Value: uint32(id)})
		}
	}
	for _, kind := range addKeys {
		add, ok := s.add[kind]
		if !ok {
			ok = json.Unmarshal(t.config["add_"+kind+"_token"], &add) == nil
		}
		if ok {
			meta = append(meta, gguf.Pair{Key: "tokenizer.ggml.add_" + kind + "_token", Value: add})
		}
	}
	templates, err := t.templates()
	return append(meta, templates...), err
}

// named is the special token of a kind in tokenizer_config.json.
func (t *tokenizerFiles) named(kind string) string {
	raw := t.config[kind+"_token"]
	var text string
	var object struct {
		Content string `json:"content"`
	}
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	if json.Unmarshal(raw, &object) == nil {
		return object.Content
	}
	return ""
}

// added is the id of an added token of tokenizer.json.
func (t *tokenizerFiles) added(name string) (id int, ok bool) {
	for _, a := range t.json.Added {
		if a.Content == name && name != "" {
			return a.ID, true
		}
	}
	return 0, false
}

// number is the id of a special token in config.json. A list of them is none.
func (t *tokenizerFiles) number(kind string) (id int, ok bool) {
	raw := t.model[kind+"_token_id"]
	return id, string(raw) != "null" && json.Unmarshal(raw, &id) == nil
}

// postProcess reads from a post-processor which special tokens are put around a text.
func (s *specials) postProcess(c *component, depth int) {
	if c == nil || depth > maxDepth {
		return
	}
	for i := range c.Processors {
		s.postProcess(&c.Processors[i], depth+1)
	}
	switch c.Type {
	case "ByteLevel":
		for _, kind := range []string{"bos", "eos"} {
			if _, there := s.add[kind]; !there {
				s.add[kind] = false
			}
		}
	case "TemplateProcessing":
		s.template(c)
	}
}

func (e template) special() string {
	if e.SpecialToken == nil {
		return ""
	}
	return e.SpecialToken.ID
}

func (e template) sequence() string {
	if e.Sequence == nil {
		return ""
	}
	return e.Sequence.ID
}

// template reads a TemplateProcessing: what begins and ends one text, and what lies between two.
func (s *specials) template(c *component) {
	first, last := "", ""
	if len(c.Single) > 1 {
		if first = c.Single[0].special(); first != "" {
			for _, kind := range []string{"bos", "cls"} {
				if s.names[kind] == "" && first != s.names["bos"] {
					s.names[kind] = first
				}
			}
			s.add["bos"] = first == s.names["bos"] || first == s.names["cls"]
		}
		if last = c.Single[len(c.Single)-1].special(); last != "" {
			if last != s.names["eos"] { // the one that was named ends a turn, then
				if s.names["eot"] == "" {
					s.names["eot"] = s.names["eos"]
				}
				s.names["eos"] = last
			}
			s.add["eos"] = true
		}
	}
	pair := c.Pair
	if first != "" && len(pair) > 0 && pair[0].special() == first {
		pair = pair[1:]
	}
	if last != "" && len(pair) > 0 && pair[len(pair)-1].special() == last {
		pair = pair[:len(pair)-1]
	}
	if len(pair) < 3 || pair[0].sequence() != "A" || pair[len(pair)-1].sequence() != "B" {
		return
	}
	ends := func(name string) bool { return name != "" && (name == s.names["sep"] || name == s.names["eos"]) }
	between := pair[1 : len(pair)-1]
	s.add["sep"] = ends(between[0].special()) && last == "" || len(between) == 2 && ends(between[1].special())
}

// templates are a model's chat templates: the one in tokenizer_config.json, or else those in files of their own.
func (t *tokenizerFiles) templates() ([]gguf.Pair, error) {
	if t.config == nil {
		return nil, nil
	}
	type named struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	var text string
	var list []named
	raw, ok := t.config["chat_template"]
	switch {
	case !ok || string(raw) == "null":
		own, err := files.ReadFS(t.files, "chat_template.jinja", maxText)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if text = string(own); err == nil {
			break
		}
		var file struct {
			Template string `json:"chat_template"`
		}
		if _, err := readJSON(t.files, "chat_template.json", &file); err != nil {
			return nil, err
		}
		text = file.Template
	case json.Unmarshal(raw, &text) == nil:
	case json.Unmarshal(raw, &list) == nil:
	default:
		return nil, errors.New("tokenizer_config.json: chat_template is neither a text nor a list of named ones")
	}
	more, err := fs.Glob(t.files, "additional_chat_templates/*.jinja")
	if err != nil {
		return nil, err
	}
	for _, name := range more {
		raw, err := files.ReadFS(t.files, name, maxText)
		if err != nil {
			return nil, err
		}
		list = append(list, named{strings.TrimSuffix(strings.TrimPrefix(name, "additional_chat_templates/"), ".jinja"), string(raw)})
	}
	var meta []gguf.Pair
	var names []string
	for _, n := range list {
		if n.Name == "default" {
			text = n.Template
		} else if name := strings.Map(plain, n.Name); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
			meta = append(meta, gguf.Pair{Key: "tokenizer.chat_template." + name, Value: n.Template})
		}
	}
	if len(names) > 0 {
		meta = append(meta, gguf.Pair{Key: "tokenizer.chat_templates", Value: names})
	}
	if text != "" {
		meta = append(meta, gguf.Pair{Key: "tokenizer.chat_template", Value: text})
	}
	return meta, nil
}

// plain keeps letters and digits.
func plain(r rune) rune {
	if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
		return r
	}
	return '_'
}
