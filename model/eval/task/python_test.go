package task

import (
	"regexp"
	"testing"

	"github.com/vkcome/vkcome/model/corpus"
)

// TestSpace: the characters that Python's str.isspace and re's \s hold for space, those of Unicode 14.
func TestSpace(t *testing.T) {
	want := map[rune]bool{0x85: true, 0xa0: true, 0x1680: true, 0x2028: true, 0x2029: true, 0x202f: true, 0x205f: true, 0x3000: true, ' ': true}
	for _, between := range [][2]rune{{'\t', '\r'}, {0x1c, 0x1f}, {0x2000, 0x200a}} {
		for r := between[0]; r <= between[1]; r++ {
			want[r] = true
		}
	}
	pattern := regexp.MustCompile("^" + space + "$")
	for r := rune(0); r <= 0x10ffff; r++ {
		if r >= 0xd800 && r < 0xe000 {
			continue
		}
		if isSpace(r) != want[r] || r <= 0xffff && pattern.MatchString(string(r)) != want[r] {
			t.Errorf("U+%04X: a space is %v, by the pattern %v, want %v", r, isSpace(r), pattern.MatchString(string(r)), want[r])
		}
	}
	if got := strip("\x1c\u2003 a b\u00a0\u0085\n"); got != "a b" {
		t.Errorf("stripped %q", got)
	}
}

// TestCapitalize: what Python's str.capitalize gives.
func TestCapitalize(t *testing.T) {
	for _, c := range [][2]string{
		{"", ""}, {"the Man WALKS.", "The man walks."}, {" The", " the"}, {"ßA", "Ssa"}, {"ﬁN", "Fin"}, {"ǆ", "ǅ"}, {"İI", "İi"}, {"xİ", "Xi̇"},
		{"ΑΣ ΣΑΣ", "Ας σας"}, {"ΣΑ", "Σα"}, {"ŉ", "ʼN"}, {"éÉ", "Éé"}, {"1ST", "1st"}, {"日本", "日本"},
	} {
		if got := capitalize(c[0]); got != c[1] {
			t.Errorf("%q capitalized is %q, want %q", c[0], got, c[1])
		}
	}
}

// TestPythonJSON: what json.dumps(value, indent=2, ensure_ascii=False) gives.
func TestPythonJSON(t *testing.T) {
	value := corpus.Record{
		{Name: "a", Value: "\"\\\n\r\t\b\f\x01\x7f<&>é\u2028"}, {Name: "n", Value: int64(-3)}, {Name: "none", Value: nil}, {Name: "yes", Value: true},
		{Name: "list", Value: []any{"x", int64(1)}}, {Name: "empty", Value: []any{}}, {Name: "inner", Value: corpus.Record{{Name: "b", Value: []any{"y"}}}}, {Name: "bare", Value: corpus.Record{}},
	}
	want := "{\n  \"a\": \"\\\"\\\\\\n\\r\\t\\b\\f\\u0001\x7f<&>é\u2028\",\n  \"n\": -3,\n  \"none\": null,\n  \"yes\": true,\n" +
		"  \"list\": [\n    \"x\",\n    1\n  ],\n  \"empty\": [],\n  \"inner\": {\n    \"b\": [\n      \"y\"\n    ]\n  },\n  \"bare\": {}\n}"
	if got, err := pythonJSON(value); err != nil || got != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}
