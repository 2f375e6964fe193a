package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/files"
)

// Open reads the template of a name of a model's folder, see Templates.Source, with the special tokens of its tokenizer.
func Open(folder fs.FS, t interface{ SpecialTokens() map[string]string }, name string) (*Template, error) {
	templates, err := Load(folder)
	if err != nil {
		return nil, err
	}
	source, err := templates.Source(name, false)
	if err != nil {
		return nil, err
	}
	return New(source, t.SpecialTokens())
}

// Where a model keeps its templates.
const (
	ownFile    = "chat_template.jinja"
	moreFolder = "additional_chat_templates"
	configFile = "tokenizer_config.json"
	olderFile  = "chat_template.json" // of processors; read where there is no other

	maxConfig = 64 << 20 // bytes of tokenizer_config.json; old ones list every token
	maxNamed  = 100      // templates
)

// MaxTemplate is how many bytes a template may have.
const MaxTemplate = 1 << 20

const defaultName = "default"

// Templates are a model's chat templates by name, in the file that they are in.
type Templates struct {
	named map[string]string
	one   bool // there is one template, which has no name
	File  string
}

// ErrNone is the error of a model without a chat template.
var ErrNone = errors.New("no chat template: none of " + ownFile + ", " + moreFolder + ", " + configFile + " and " + olderFile + " has one")

// Load finds the templates of a model's folder: chat_template.jinja and additional_chat_templates/NAME.jinja, else the key chat_template of
// tokenizer_config.json (a text, or a list of named ones), else that of chat_template.json. Without any the error matches ErrNone.
func Load(folder fs.FS) (*Templates, error) {
	if folder == nil {
		return nil, ErrNone
	}
	t := &Templates{named: map[string]string{}, File: moreFolder}
	found, err := fs.Glob(folder, moreFolder+"/*.jinja")
	if err != nil || len(found) > maxNamed {
		return nil, errors.Join(err, fmt.Errorf("chat templates: %s holds more than %d", moreFolder, maxNamed))
	}
	for _, file := range found {
		raw, err := read(folder, file, MaxTemplate)
		if err != nil {
			return nil, err
		}
		t.named[strings.TrimSuffix(path.Base(file), ".jinja")] = string(raw)
	}
	raw, err := read(folder, ownFile, MaxTemplate)
	if err == nil {
		t.File, t.one = ownFile, len(found) == 0
		t.named[defaultName] = string(raw)
		return t, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(found) > 0 {
		return t, nil
	}
	for _, file := range []string{configFile, olderFile} {
		raw, err := read(folder, file, maxConfig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var config struct {
			Template json.RawMessage `json:"chat_template"`
		}
		if err := files.JSON(raw, &config); err != nil {
			return nil, fmt.Errorf("chat templates: %s: %w", file, err)
		}
		if len(config.Template) == 0 || string(config.Template) == "null" {
			continue
		}
		t.File = file
		if err := t.parse(config.Template); err != nil {
			return nil, fmt.Errorf("chat templates: %s: chat_template: %w", file, err)
		}
		return t, nil
	}
	return nil, ErrNone
}

// parse reads a text, or a list of named ones.
func (t *Templates) parse(raw json.RawMessage) error {
	var text string
	if err := json.Unmarshal(raw, &text); err == nil {
		t.one = true
		t.named[defaultName] = text
		return nil
	}
	var list []struct{ Name, Template *string }
	if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 || len(list) > maxNamed {
		return fmt.Errorf("expected a text or a list of at most %d objects with name and template", maxNamed)
	}
	for i, one := range list {
		if one.Name == nil || one.Template == nil {
			return fmt.Errorf("entry %d: expected name and template", i)
		}
		t.named[*one.Name] = *one.Template
	}
	return nil
}

func read(folder fs.FS, name string, limit int64) ([]byte, error) {
	raw, err := files.ReadFS(folder, name, limit)
	if err != nil {
		return nil, fmt.Errorf("chat templates: %w", err)
	}
	return raw, nil
}

// Names are the names that Source knows, in order; a single template has none.
func (t *Templates) Names() []string {
	if t.one {
		return nil
	}
	return slices.Sorted(maps.Keys(t.named))
}

// Source is the text of the template of a name; "" means tool_use where tools are offered, else default.
func (t *Templates) Source(name string, tools bool) (string, error) {
	if t.one {
		if name != "" {
			return "", fmt.Errorf("chat templates: %s has one template, without a name; found none named %q", t.File, name)
		}
		return t.named[defaultName], nil
	}
	look := []string{name}
	if name == "" {
		if look = []string{defaultName}; tools {
			look = []string{"tool_use", defaultName}
		}
	}
	for _, n := range look {
		if source, ok := t.named[n]; ok {
			return source, nil
		}
	}
	return "", fmt.Errorf("chat templates: %s has none named %q, but %s", t.File, look[len(look)-1], strings.Join(t.Names(), ", "))
}
