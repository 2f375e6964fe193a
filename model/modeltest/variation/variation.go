// Package variation makes the folders of testdata/variations: small random models some of whose files are edited as such files are found.
package variation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/model/modeltest"
)

// Case is a folder: a model of modeltest with a tokenizer of bytes, and edits of its files.
type Case struct {
	Name    string
	Base    string          // of modeltest.Named
	Spec    json.RawMessage // fields of modeltest.Spec that are others, as {"Bare": true}
	Files   map[string]Edit
	Texts   []string // that are encoded
	Refused string   // what the error that vkcome gives has in it, where it is right to give one
	Why     string   // for readers

	Area string `json:"-"` // the name of its file of cases
}

// Edit is what happens to a file.
type Edit struct {
	Set    map[string]json.RawMessage // keys at the top of a JSON object
	Delete []string                   // such keys
	Patch  []Patch                    // values deep within JSON
	Write  json.RawMessage            // the whole file: a string is its text, all else its JSON
	Remove bool
}

// Patch sets the value that a JSON pointer names; an index one behind an array's last appends.
type Patch struct {
	Path  string
	Value any
}

// Vocab is the vocabulary of the models: <s>, </s>, a token for each byte, and room for added tokens.
const Vocab = 400

// Load reads all files of cases in a folder, in the order of their names.
func Load(dir string) (cases []Case, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "cases.json"))
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var list []Case
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&list); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, c := range list {
			c.Area = filepath.Base(filepath.Dir(path))
			if slices.ContainsFunc(cases, func(o Case) bool { return o.Area == c.Area && o.Name == c.Name }) {
				return nil, fmt.Errorf("%s: two cases have the name %q", path, c.Name)
			}
			cases = append(cases, c)
		}
	}
	return cases, nil
}

// WriteTo writes the case's folder into dir, which exists.
func (c Case) WriteTo(dir string) error {
	spec, err := modeltest.Named(c.Base)
	if err != nil {
		return err
	}
	spec.Vocab = Vocab
	if c.Spec != nil {
		if err := json.Unmarshal(c.Spec, &spec); err != nil {
			return fmt.Errorf("%s: spec: %w", c.Name, err)
		}
	}
	// Without a class of its own transformers would build the tokenizer that the model's family has.
	err = errors.Join(spec.WriteTo(dir), os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(`{"tokenizer_class": "PreTrainedTokenizerFast"}`), 0o644))
	for name, e := range c.Files {
		if err == nil {
			err = e.apply(filepath.Join(dir, filepath.FromSlash(name)))
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	return nil
}

func (e Edit) apply(path string) error {
	if e.Remove {
		return os.Remove(path)
	}
	var out []byte
	switch {
	case e.Write != nil:
		var text string
		if out = e.Write; json.Unmarshal(e.Write, &text) == nil {
			out = []byte(text)
		}
	default:
		raw, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			raw, err = []byte("{}"), nil
		}
		if err != nil {
			return err
		}
		if out, err = e.edit(raw); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, out, 0o644)
}

// edit changes a JSON file.
func (e Edit) edit(raw []byte) ([]byte, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, err
	}
	for k, v := range e.Set {
		top[k] = v
	}
	for _, k := range e.Delete {
		delete(top, k)
	}
	raw, err := json.Marshal(top)
	if err != nil || e.Patch == nil {
		return raw, err
	}
	var all any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&all); err != nil {
		return nil, err
	}
	for _, p := range e.Patch {
		if all, err = patched(all, strings.Split(strings.TrimPrefix(p.Path, "/"), "/"), p.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Path, err)
		}
	}
	return json.Marshal(all)
}

// patched is a decoded value with another one in the place that a path names.
func patched(in any, path []string, value any) (any, error) {
	if len(path) == 0 {
		return value, nil
	}
	key := strings.NewReplacer("~1", "/", "~0", "~").Replace(path[0])
	switch in := in.(type) {
	case map[string]any:
		inner, err := patched(in[key], path[1:], value)
		in[key] = inner
		return in, err
	case []any:
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i > len(in) {
			return nil, fmt.Errorf("%q is no place in an array of %d", key, len(in))
		}
		if i == len(in) {
			in = append(in, nil)
		}
		in[i], err = patched(in[i], path[1:], value)
		return in, err
	case nil:
		return patched(map[string]any{}, path, value)
	}
	return nil, fmt.Errorf("%q is within a %T", key, in)
}
