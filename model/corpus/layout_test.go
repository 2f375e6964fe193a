package corpus

import (
	"cmp"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// layoutCase is a folder as it is found, what is asked of it, and the files that are meant: "-" is in front of those that are in no split,
// "!" in front of an error.
type layoutCase struct {
	Files, Card, Want string
	Test              bool
	Result            string
	Differs           string              // why datasets finds others
	Datasets          map[string][]string // what datasets 5.2 finds (testdata/layout.py)
}

func layoutCases(t testing.TB) (cases []layoutCase) {
	raw, err := os.ReadFile("testdata/layout.json")
	if err == nil {
		err = json.Unmarshal(raw, &cases)
	}
	if err != nil || len(cases) < 40 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	return cases
}

func TestLayout(t *testing.T) {
	for _, c := range layoutCases(t) {
		var card []byte
		if c.Card != "" {
			card = []byte("---\n" + c.Card + "\n---\n# A data set\n")
		}
		var s split
		l, err := layoutOf(strings.Fields(c.Files), card)
		if err == nil {
			_, s, err = l.choose(c.Want, c.Test)
		}
		if want, ok := strings.CutPrefix(c.Result, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s %q: %v, %v; want %q", c.Files, c.Want, s, err, want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %q: %v", c.Files, c.Want, err)
			continue
		}
		if theirs, ok := c.Datasets[cmp.Or(canonical(s.name), "train")]; c.Datasets != nil && c.Differs == "" && (!ok || !slices.Equal(theirs, s.files)) {
			t.Errorf("%s %q: %q; datasets finds %q", c.Files, c.Want, s.files, c.Datasets)
		}
		got := slices.Clone(s.files)
		for _, name := range l.left {
			got = append(got, "-"+name)
		}
		if g := strings.Join(got, " "); g != c.Result {
			t.Errorf("%s %q: %s; want %s", c.Files, c.Want, g, c.Result)
		}
	}
}

func FuzzLayout(f *testing.F) {
	for _, c := range layoutCases(f) {
		f.Add(c.Files, c.Card, c.Want)
	}
	f.Fuzz(func(t *testing.T, files, card, want string) {
		names := strings.Fields(files)
		l, err := layoutOf(names, []byte("---\n"+card+"\n---\n"))
		if err != nil {
			return
		}
		for _, test := range []bool{false, true} {
			if _, s, err := l.choose(want, test); err == nil {
				for _, file := range s.files {
					if !slices.Contains(names, file) {
						t.Errorf("%q is not among %q", file, names)
					}
				}
			}
		}
	})
}
