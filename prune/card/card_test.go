package card

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"go.yaml.in/yaml/v3"

	"github.com/vkcome/vkcome/model/files"
)

// TestParse reads cards as people write them, and as nobody should.
func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want Head
		note string // a part of it
	}{
		"none":    {"# A model\n", Head{}, ""},
		"empty":   {"", Head{}, ""},
		"no YAML": {"---\n---\n# A model", Head{}, ""},
		"SmolLM2": {"---\nlibrary_name: transformers\nlicense: apache-2.0\nlanguage:\n- en\npipeline_tag: text-generation\ntags:\n- onnx\nbase_model:\n- HuggingFaceTB/SmolLM2-135M\n---\n\n# SmolLM2\n",
			Head{BaseModel: []string{"HuggingFaceTB/SmolLM2-135M"}, License: []string{"apache-2.0"}, Language: []string{"en"}, PipelineTag: "text-generation"}, ""},
		"a byte order mark":        {"\ufeff---\r\nlicense: mit\r\n---\r\ntext", Head{License: []string{"mit"}}, ""},
		"line ends of Windows":     {"---\r\nlanguage: no\r\nlicense: other\r\nlicense_name: A licence\r\nlicense_link: https://x.org/l?a=b\r\n---\r\ntext", Head{Language: []string{"no"}, License: []string{"other"}, LicenseName: "A licence", LicenseLink: "https://x.org/l?a=b"}, ""},
		"nulls":                    {"---\nlicense:\nlanguage: [~, de, de]\nbase_model: null\n---\n", Head{Language: []string{"de"}}, ""},
		"two licences":             {"---\nlicense: [mit, apache-2.0]\n---\n", Head{License: []string{"mit", "apache-2.0"}}, ""},
		"paths":                    {"---\nlicense_link: /home/alice/LICENSE\nbase_model: /home/alice/model\n---\n", Head{}, "base_model, license_link"},
		"wrong types":              {"---\nlicense: {a: b}\nlanguage: [[en], {x: y}, fr]\npipeline_tag: [a, b]\nbase_model: 5\n---\n", Head{Language: []string{"fr"}}, "base_model, license, language, pipeline_tag"},
		"control characters":       {"---\nlicense: \"mit\\e[31m\"\nlicense_name: \"a\\nb\"\nlanguage: \"e\\0n\"\n---\n", Head{}, "license, license_name, language"},
		"Markdown":                 {"---\nlicense: \"<script>\"\nbase_model: \"[x](y)/z\"\nlicense_link: \"javascript:alert(1)\"\n---\n", Head{}, "base_model, license, license_link"},
		"long":                     {"---\nlicense: " + strings.Repeat("a", 1000) + "\n---\n", Head{}, "license"},
		"no mapping":               {"---\n- a\n- b\n---\n", Head{}, "no mapping"},
		"no YAML at all":           {"---\na: [\n---\n", Head{}, "nothing of its YAML"},
		"an alias":                 {"---\na: &a mit\nlicense: *a\n---\n", Head{}, "license"},
		"aliases of aliases":       {"---\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\nlanguage: [*d,*d,*d,*d]\nlicense: mit\n---\n", Head{License: []string{"mit"}}, "language"},
		"deep":                     {"---\nlicense: " + strings.Repeat("[", 100_000) + "\n---\n", Head{}, "nothing of its YAML"},
		"endless":                  {"---\n" + strings.Repeat("a: b\n", 1<<20), Head{}, "does not end within"},
		"no UTF-8":                 {"---\nlicense: \xff\xfe\n---\n", Head{}, "nothing of its YAML"},
		"results of somebody else": {"---\nmodel-index:\n- name: x\n  results: []\nlicense: mit\n---\n", Head{License: []string{"mit"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got, note := Parse([]byte(c.text))
			runtime.ReadMemStats(&after)
			if !reflect.DeepEqual(got, c.want) || (note == "") != (c.note == "") || !strings.Contains(note, c.note) || len(note) > 3*maxText || strings.ContainsAny(note, "\n\x1b") {
				t.Errorf("read %+v, note %q; want %+v, %q", got, note, c.want, c.note)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 256<<20 {
				t.Errorf("took %d bytes for %d", took, len(c.text))
			}
		})
	}
	var list []string
	for i := range 300 {
		list = append(list, fmt.Sprintf("x%d", i))
	}
	if h, note := Parse([]byte("---\nlanguage: [" + strings.Join(list, ", ") + "]\n---\n")); len(h.Language) != maxList || note == "" {
		t.Errorf("%d languages, note %q; want %d and a note", len(h.Language), note, maxList)
	}
}

// TestRead reads what is no card where one should be.
func TestRead(t *testing.T) {
	if h, note, err := Read(fstest.MapFS{}); !reflect.DeepEqual(h, Head{}) || note != "" || err != nil {
		t.Errorf("no card: %+v, %q, %v", h, note, err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, File), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, note, err := Read(files.NewFolder(dir)); note == "" || err != nil {
		t.Errorf("a folder of that name: %q, %v", note, err)
	}
	large := fstest.MapFS{File: {Data: make([]byte, maxCard+1)}}
	if _, note, err := Read(large); note == "" || err != nil {
		t.Errorf("a card of %d bytes: %q, %v", maxCard+1, note, err)
	}
	broken := errors.New("the disk is broken")
	if _, _, err := Read(failing{broken}); !errors.Is(err, broken) {
		t.Errorf("a disk that fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Open(string) (fs.File, error) { return nil, f.err }

func TestText(t *testing.T) {
	meta := Meta{BaseModel: []string{"o/n"}, Relation: "finetune", License: OneOrAll{"mit"}, Language: []string{"no", "on", "y"}, Tags: []string{"1", "true"},
		Index: []Index{{"m", []Result{{Task{"text-generation", "T"}, Dataset{"winogrande", "allenai/winogrande", "winogrande_xl", "validation", map[string]int{"num_few_shot": 0}}, []Metric{{"acc", 0.5, "accuracy"}}, Source{"s", "u"}}}}}}
	for _, original := range []bool{true, false} {
		text, err := Text(meta, "# Body\n", original)
		if err != nil {
			t.Fatal(err)
		}
		if h, note := Parse(text); !h.Ours || h.Original != original || note != "" || !reflect.DeepEqual(h.BaseModel, meta.BaseModel) || !reflect.DeepEqual(h.License, []string{"mit"}) || !reflect.DeepEqual(h.Language, meta.Language) {
			t.Errorf("read %+v, %q of what was written", h, note)
		}
		if again, err := Text(meta, "# Body\n", original); err != nil || !bytes.Equal(again, text) {
			t.Errorf("the same card has other bytes, %v", err)
		}
		if !Sealed(text) {
			t.Error("a card is not known as it was written")
		}
		for i := range text {
			other := bytes.Clone(text)
			if other[i] ^= 1; Sealed(other) {
				t.Fatalf("a card with another byte %d counts as it was written", i)
			}
		}
		for i := range text {
			if Sealed(text[:i]) {
				t.Fatalf("the first %d bytes of a card count as one", i)
			}
		}
		if Sealed(append(bytes.Clone(text), '\n')) || Sealed([]byte("# Mine\n")) || Sealed(nil) {
			t.Error("what is no card counts as one")
		}
		if h, _ := Parse(append(bytes.Clone(text), "My own words.\n"...)); !h.Ours || h.Original != original {
			t.Errorf("a card with a line more is read as %+v", h)
		}
		// YAML 1.1, which Python's library reads, takes these words for true and false unless they are in quotes.
		for _, word := range []string{`"no"`, `"on"`, `"y"`, `"1"`, `"true"`} {
			if !bytes.Contains(text, []byte("- "+word+"\n")) {
				t.Errorf("%s is not in quotes in %s", word, text)
			}
		}
	}
	text, err := Text(Meta{License: OneOrAll{"mit", "apache-2.0"}}, "", false)
	var back struct{ License []string }
	if m := fence.FindSubmatch(text); err != nil || m == nil || yaml.Unmarshal(m[1], &back) != nil || len(back.License) != 2 {
		t.Errorf("two licences are written as %s, %v", text, err)
	}
}

func TestChecked(t *testing.T) {
	h := Head{BaseModel: []string{"o/n", "/home/x"}, License: []string{"mit", "\x1b"}, LicenseName: "a\nb", LicenseLink: "../x", Language: []string{"en", ""}, PipelineTag: "A"}.Checked()
	if want := (Head{BaseModel: []string{"o/n"}, License: []string{"mit"}, Language: []string{"en"}}); !reflect.DeepEqual(h, want) {
		t.Errorf("%+v, want %+v", h, want)
	}
}

// FuzzParse holds what is read of any card to what a card may say.
func FuzzParse(f *testing.F) {
	f.Add([]byte("---\nlicense: mit\nlanguage: [en, fr]\n---\n# x\n"))
	f.Add([]byte("---\na: &a [*a]\nlicense: *a\n---\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, note := Parse(raw)
		if strings.ContainsAny(note, "\n\x1b") {
			t.Errorf("note %q", note)
		}
		if !reflect.DeepEqual(h.Checked(), h) {
			t.Errorf("of %+v Checked leaves %+v", h, h.Checked())
		}
		if _, err := Text(Meta{BaseModel: h.BaseModel, License: h.License, LicenseName: h.LicenseName, LicenseLink: h.LicenseLink, Language: h.Language}, "", true); err != nil {
			t.Error(err)
		}
	})
}
