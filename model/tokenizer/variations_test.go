package tokenizer

import (
	"encoding/json"
	"flag"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// testdata/judge.py makes the file, and random ones.
var variationsFile = flag.String("variations", "testdata/variations.json", "cases with what transformers makes of them")

// variations are folders of files with what AutoTokenizer of transformers makes of them.
type variations struct {
	Texts []string
	Bases map[string]map[string]json.RawMessage
	Cases []struct {
		Name, Base string
		Files      map[string]edit
		Texts      []string
		Ours       string // part of our error, where we refuse what transformers takes
		Golden     struct {
			Refused, Class string
			Named          map[string]string
			Added          [][]any
			Texts          []struct {
				IDs       []int
				Bare, Raw []int // without what goes around; with special tokens as text; nil: as the one before
				Decoded   string
				Skipped   *string // nil: as Decoded
			}
		}
	}
}

// edit changes a file of a folder.
type edit struct {
	Remove bool
	Write  json.RawMessage
	Set    map[string]json.RawMessage
	Delete []string
	Patch  []struct {
		Path  string
		Value any
	}
}

func (e edit) apply(t *testing.T, raw []byte) []byte {
	t.Helper()
	if e.Write != nil {
		raw = e.Write
		var text string
		if json.Unmarshal(raw, &text) == nil {
			raw = []byte(text)
		}
	}
	if len(e.Set)+len(e.Delete) > 0 {
		raw = e.keys(t, raw)
	}
	if len(e.Patch) > 0 {
		var doc any
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		for _, p := range e.Patch {
			doc = put(doc, strings.Split(p.Path, "/")[1:], p.Value)
		}
		raw, _ = json.Marshal(doc)
	}
	return raw
}

// keys sets and deletes keys, the rest in its order.
func (e edit) keys(t *testing.T, raw []byte) []byte {
	t.Helper()
	if raw == nil {
		raw = []byte("{}")
	}
	parts, err := members(raw, maxKeys)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Set)) {
		at := slices.IndexFunc(parts, func(m member) bool { return m.name == name })
		if at < 0 {
			parts = append(parts, member{name, nil})
			at = len(parts) - 1
		}
		parts[at].value = e.Set[name]
	}
	var out []string
	for _, p := range parts {
		if !slices.Contains(e.Delete, p.name) {
			out = append(out, strconv.Quote(p.name)+":"+string(p.value))
		}
	}
	return []byte("{" + strings.Join(out, ",") + "}")
}

// put sets what a JSON pointer points to.
func put(doc any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	name := strings.NewReplacer("~1", "/", "~0", "~").Replace(path[0])
	switch doc := doc.(type) {
	case map[string]any:
		doc[name] = put(doc[name], path[1:], value)
	case []any:
		if name == "-" {
			return append(doc, value)
		}
		i, _ := strconv.Atoi(name)
		doc[i] = put(doc[i], path[1:], value)
	}
	return doc
}

func TestVariations(t *testing.T) {
	var v variations
	if err := json.Unmarshal(read(t, *variationsFile), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Cases) == 0 {
		t.Error("no cases")
	}
	refused := 0
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			folder := fstest.MapFS{}
			for name, raw := range v.Bases[c.Base] {
				var file string
				if json.Unmarshal(raw, &file) == nil {
					raw = read(t, "testdata/"+strings.TrimPrefix(file, "@"))
				}
				folder[name] = &fstest.MapFile{Data: raw}
			}
			for name, e := range c.Files {
				old := []byte(nil)
				if folder[name] != nil {
					old = folder[name].Data
				}
				if folder[name] = (&fstest.MapFile{Data: e.apply(t, old)}); e.Remove {
					delete(folder, name)
				}
			}
			tok, err := LoadFS("folder", folder)
			switch {
			case c.Ours != "" && (err == nil || !strings.Contains(err.Error(), c.Ours)):
				t.Errorf("got %v, want an error with %q", err, c.Ours)
			case err != nil && c.Ours == "" && c.Golden.Refused == "":
				t.Errorf("refused: %v", err)
			case err == nil && c.Golden.Refused != "":
				t.Errorf("taken, but transformers refuses it: %s", c.Golden.Refused)
			}
			if err != nil {
				refused++
				return
			}
			if got := tok.SpecialTokens(); !maps.Equal(got, c.Golden.Named) {
				t.Errorf("special tokens:\ngot  %v\nwant %v", got, c.Golden.Named)
			}
			checkAdded(t, tok, c.Golden.Added)
			texts := c.Texts
			if texts == nil {
				texts = v.Texts
			}
			for i, want := range c.Golden.Texts {
				text := texts[i]
				bare, raw := want.Bare, want.Raw
				if bare == nil {
					bare = want.IDs
				}
				if raw == nil {
					raw = bare
				}
				got := must(tok.EncodeSpecial(text))
				if !slices.Equal(got, bare) {
					t.Errorf("%q:\ngot  %v %s\nwant %v %s", text, got, spell(tok, got), bare, spell(tok, bare))
				}
				if got := slices.Concat(tok.Prefix(), got, tok.Suffix()); !slices.Equal(got, want.IDs) {
					t.Errorf("%q, with what goes around:\ngot  %v\nwant %v", text, got, want.IDs)
				}
				if got := must(tok.Encode(text)); !slices.Equal(got, raw) {
					t.Errorf("%q, special tokens as text:\ngot  %v %s\nwant %v %s", text, got, spell(tok, got), raw, spell(tok, raw))
				}
				checkDecode(t, tok, want.IDs, want.Decoded, orElse(want.Skipped, want.Decoded))
				checkSpans(t, tok, text)
			}
		})
	}
	t.Logf("%d cases, %d refused", len(v.Cases), refused)
}

func checkAdded(t *testing.T, tok Tokenizer, want [][]any) {
	t.Helper()
	var got [][]any
	for _, a := range tok.Added() {
		got = append(got, []any{float64(a.ID), a.Content, a.LStrip, a.RStrip, a.SingleWord, a.Normalized, a.Special})
	}
	if !slices.EqualFunc(got, want, slices.Equal[[]any]) {
		t.Errorf("added tokens:\ngot  %v\nwant %v", got, want)
	}
}

// checkSpans compares spans with ids, and that they lie in the text in order.
func checkSpans(t *testing.T, tok Tokenizer, text string) {
	t.Helper()
	for _, special := range []bool{false, true} {
		want := must(tok.Encode(text))
		if special {
			want = must(tok.EncodeSpecial(text))
		}
		var got []int
		for _, s := range must(tok.Spans(t.Context(), text, special)) {
			got = append(got, s.ID)
			if s.Begin < 0 || s.Begin > s.End || s.End > len(text) {
				t.Errorf("%q: span %+v", text, s)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: spans of %v, ids %v", text, got, want)
		}
	}
}
