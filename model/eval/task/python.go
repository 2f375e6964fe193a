package task

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"

	"github.com/vkcome/vkcome/model/corpus"
)

// space is what Python's re takes for \s in text, and str.strip for whitespace; Go's \s is ASCII, and unicode.IsSpace lacks U+001C to U+001F.
const space = `[\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]`

func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// strip is Python's str.strip.
func strip(s string) string { return strings.TrimFunc(s, isSpace) }

// capitalize is Python's str.capitalize: the first character in title case, the rest in lower case. A sigma that ends a word after nothing but
// modifier letters or an iota subscript is final here and not there.
func capitalize(s string) string {
	if s == "" {
		return ""
	}
	_, n := utf8.DecodeRuneInString(s)
	lower := cases.Lower(language.Und)
	rest := lower.String(s)[len(lower.String(s[:n])):] // whether a sigma is final depends on what is before it
	return cases.Title(language.Und).String(s[:n]) + rest
}

// pythonJSON is json.dumps(value, indent=2, ensure_ascii=False).
func pythonJSON(value any) (string, error) {
	var b strings.Builder
	if err := writeJSON(&b, value, "\n"); err != nil {
		return "", err
	}
	return b.String(), nil
}

func writeJSON(b *strings.Builder, value any, line string) error {
	switch v := value.(type) {
	case string:
		b.WriteByte('"')
		for _, r := range v {
			if escape, ok := escapes[r]; ok {
				b.WriteString(escape)
			} else if r < 0x20 {
				fmt.Fprintf(b, `\u%04x`, r)
			} else {
				b.WriteRune(r)
			}
		}
		b.WriteByte('"')
	case []any:
		return enclose(b, "[]", line, len(v), func(i int) error { return writeJSON(b, v[i], line+"  ") })
	case corpus.Record:
		return enclose(b, "{}", line, len(v), func(i int) error {
			if err := writeJSON(b, v[i].Name, ""); err != nil {
				return err
			}
			b.WriteString(": ")
			return writeJSON(b, v[i].Value, line+"  ")
		})
	default: // null, true, 1: the same in both; a float need not be, and no data set here has one
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		b.Write(raw)
	}
	return nil
}

// enclose writes n entries between brackets, each on its own line.
func enclose(b *strings.Builder, brackets, line string, n int, entry func(i int) error) error {
	b.WriteByte(brackets[0])
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(line + "  ")
		if err := entry(i); err != nil {
			return err
		}
	}
	if n > 0 {
		b.WriteString(line)
	}
	b.WriteByte(brackets[1])
	return nil
}

var escapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}
