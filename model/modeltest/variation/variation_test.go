package variation

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestEdits(t *testing.T) {
	c := Case{Name: "x", Base: "llama", Spec: json.RawMessage(`{"Layers": 1, "Bare": true}`), Files: map[string]Edit{
		"config.json":           {Set: map[string]json.RawMessage{"rope_theta": []byte("5.5")}, Delete: []string{"bos_token_id"}},
		"tokenizer.json":        {Patch: []Patch{{"/added_tokens/2", map[string]any{"id": 258}}, {"/model/vocab/a", json.Number("300")}, {"/x~1y/z", true}}},
		"sub/a.jinja":           {Write: json.RawMessage(`"{{ x }}"`)},
		"added_tokens.json":     {Write: json.RawMessage(`{"<a>": 258}`)},
		"tokenizer_config.json": {Remove: true},
	}}
	dir := t.TempDir()
	if err := c.WriteTo(dir); err != nil {
		t.Fatal(err)
	}
	read := func(name string) (v map[string]any) {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := read("config.json"); v["rope_theta"] != 5.5 || v["bos_token_id"] != nil || v["num_hidden_layers"] != 1.0 {
		t.Errorf("config.json: %v", v)
	}
	v := read("tokenizer.json")
	if a := v["added_tokens"].([]any); len(a) != 3 || a[2].(map[string]any)["id"] != 258.0 || v["x/y"].(map[string]any)["z"] != true ||
		v["model"].(map[string]any)["vocab"].(map[string]any)["a"] != 300.0 {
		t.Errorf("tokenizer.json: %v", v)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "sub", "a.jinja")); err != nil || string(raw) != "{{ x }}" {
		t.Errorf("sub/a.jinja: %q, %v", raw, err)
	}
	if v := read("added_tokens.json"); v["<a>"] != 258.0 {
		t.Errorf("added_tokens.json: %v", v)
	}
	if _, err := os.Stat(filepath.Join(dir, "tokenizer_config.json")); !os.IsNotExist(err) {
		t.Errorf("tokenizer_config.json is there: %v", err)
	}
	c.Files["tokenizer.json"] = Edit{Patch: []Patch{{"/added_tokens/9", 1}}}
	if err := c.WriteTo(t.TempDir()); err == nil {
		t.Error("a place beyond an array was patched")
	}
}
