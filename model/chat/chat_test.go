package chat

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/vkcome/vkcome/model/chat/jinja"
)

const folder = "../../testdata/chat/"

// TestGolden compares every text, and every refusal, with transformers.
func TestGolden(t *testing.T) {
	raw, err := os.ReadFile(folder + "cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name              string
		Messages, Options json.RawMessage
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(folder + "golden.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	var golden map[string]map[string]struct{ Out, Error *string }
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(folder + "templates/*.jinja")
	if len(files) != len(golden) || len(files) < 19 {
		t.Fatalf("%d templates, %d in golden.json.gz", len(files), len(golden))
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tmpl, err := New(string(source), map[string]string{"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "image_token": "<i>"})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for _, c := range cases {
			messages, err := ParseMessages(c.Messages)
			if err != nil {
				t.Fatal(err)
			}
			text, err := tmpl.Render(messages, options(t, c.Options))
			want := golden[filepath.Base(file)][c.Name]
			switch {
			case want.Out != nil && err != nil:
				t.Errorf("%s: %s: %v", file, c.Name, err)
			case want.Out != nil && text != *want.Out:
				t.Errorf("%s: %s:\n%q, transformers has\n%q", file, c.Name, text, *want.Out)
			case want.Out == nil && err == nil:
				t.Errorf("%s: %s: %q, transformers stops: %s", file, c.Name, text, *want.Error)
			case want.Out == nil:
				message, raised := strings.CutPrefix(*want.Error, "TemplateError: ")
				var r *jinja.Raised
				if errors.As(err, &r) != raised || raised && r.Message != message {
					t.Errorf("%s: %s: %v, transformers stops: %s", file, c.Name, err, *want.Error)
				}
			}
		}
	}
}

func options(t *testing.T, raw []byte) Options {
	v, err := jinja.ParseJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Now: time.Date(2026, 3, 7, 9, 5, 3, 0, time.UTC), Vars: map[string]any{}}
	v.(*jinja.Dict).Each(func(key string, v any) bool {
		switch key {
		case "add_generation_prompt":
			o.Prompt = v.(bool)
		case "continue_final_message":
			o.Continue = v.(bool)
		case "tools":
			o.Tools = v
		case "documents":
			o.Documents = v
		default:
			o.Vars[key] = v
		}
		return true
	})
	return o
}

func TestLoad(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	own, more := file("own"), file("tool")
	text, list := file(`{"chat_template": "config"}`), file(`{"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}, {"name": "rag", "template": "r"}]}`)
	for _, c := range []struct {
		name  string
		files fstest.MapFS
		ask   string
		tools bool
		want  string // or part of the error
		names []string
	}{
		{"own file before the config", fstest.MapFS{ownFile: own, configFile: text, olderFile: text}, "", false, "own", nil},
		{"config", fstest.MapFS{configFile: text}, "", true, "config", nil},
		{"older file", fstest.MapFS{configFile: file(`{"chat_template": null}`), olderFile: file(`{"chat_template": "older"}`)}, "", false, "older", nil},
		{"a name for one without", fstest.MapFS{ownFile: own}, "x", false, `none named "x"`, nil},
		{"list", fstest.MapFS{configFile: list}, "", false, "d", []string{"default", "rag", "tool_use"}},
		{"list with tools", fstest.MapFS{configFile: list}, "", true, "t", []string{"default", "rag", "tool_use"}},
		{"list by name", fstest.MapFS{configFile: list}, "rag", true, "r", []string{"default", "rag", "tool_use"}},
		{"list, another name", fstest.MapFS{configFile: list}, "x", false, `none named "x", but default, rag, tool_use`, []string{"default", "rag", "tool_use"}},
		{"folder beside the own file", fstest.MapFS{ownFile: own, moreFolder + "/tool_use.jinja": more, configFile: text}, "", true, "tool", []string{"default", "tool_use"}},
		{"folder alone", fstest.MapFS{moreFolder + "/tool_use.jinja": more, configFile: text}, "", false, `none named "default", but tool_use`, []string{"tool_use"}},
		{"none", fstest.MapFS{configFile: file(`{}`)}, "", false, "no chat template", nil},
		{"no folder", nil, "", false, "no chat template", nil},
		{"a number", fstest.MapFS{configFile: file(`{"chat_template": 3}`)}, "", false, "expected a text or a list", nil},
		{"entry without a name", fstest.MapFS{configFile: file(`{"chat_template": [{"template": "x"}]}`)}, "", false, "entry 0: expected name and template", nil},
		{"no JSON", fstest.MapFS{configFile: file(`{`)}, "", false, configFile, nil},
		{"too large", fstest.MapFS{ownFile: file(strings.Repeat("x", MaxTemplate+1))}, "", false, "expected at most", nil},
	} {
		got, err := "", error(nil)
		templates, err := Load(c.files)
		if err == nil {
			if names := templates.Names(); !slices.Equal(names, c.names) {
				t.Errorf("%s: names %v, expected %v", c.name, names, c.names)
			}
			got, err = templates.Source(c.ask, c.tools)
		}
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s: %s, expected %s", c.name, got, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	tmpl, err := New("{% for m in messages %}{{ m.role }}{% endfor %}", nil)
	if err != nil {
		t.Fatal(err)
	}
	hi := []Message{Text("user", "hi")}
	for _, c := range []struct {
		messages []Message
		o        Options
		want     string
	}{
		{nil, Options{}, "without messages"},
		{hi, Options{Prompt: true, Continue: true}, "cannot both"},
		{hi, Options{Continue: true}, "no place for a content"},
		{hi, Options{Vars: map[string]any{"x": struct{}{}}}, "variable x: a value of type struct {}"},
	} {
		if _, err := tmpl.Render(c.messages, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, expected %q", err, c.want)
		}
	}
	for raw, want := range map[string]string{"{}": "expected a list", "[1]": "entry 0", "[": "EOF", "[] 1": "more than one"} {
		if _, err := ParseMessages([]byte(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", raw, err, want)
		}
	}
}
