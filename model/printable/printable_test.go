package printable

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// obeyed says where a terminal would obey a text.
func obeyed(text string, line bool) string {
	for i, r := range text {
		switch {
		case r == '\n' && !line, r == '\t' && !line, r == '\r' && !line && strings.HasPrefix(text[i:], "\r\n"):
		case r < 0x20, r >= 0x7f && r <= 0x9f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd"):
			return fmt.Sprintf("%q at %d of %q", r, i, text)
		}
	}
	return ""
}

// random is a text of all that may matter.
func random(rng *rand.Rand) string {
	parts := []string{
		"a", "ä", "汉", "👩‍🚀", " ", "\n", "\r\n", "\r", "\t", "\x00", "\x1b[31m", "\x1b]0;title\x07", "\x7f", "\u009b31m", "\x9b", "\xc2", "\xe2\x80", "\u202e", "\u2066", "\u2028",
		"\ufffd", `\u001b`, "\u200f",
	}
	var b strings.Builder
	for range rng.IntN(40) {
		b.WriteString(parts[rng.IntN(len(parts))])
	}
	return b.String()
}

// TestPrintable: no text makes a terminal do anything, plain text stays as it is, and pieces give what the whole gives.
func TestPrintable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		text := random(rng)
		if found := obeyed(Text(text), false) + obeyed(Line(text), true); found != "" {
			t.Fatal(found)
		}
		if Text(Text(text)) != Text(text) {
			t.Fatalf("%q is changed twice", text)
		}
		var out bytes.Buffer
		w := &Writer{W: &out}
		for rest := text; rest != ""; {
			n := 1 + rng.IntN(len(rest))
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil || out.String() != Text(text) {
			t.Fatalf("%q in pieces is %q, want %q (%v)", text, out.String(), Text(text), err)
		}
	}
	for _, plain := range []string{"", "a\tb\nc\r\n", "Überschrift: 汉字, العربية, 👩‍🚀\n", `\u001b`, "\ufffd"} {
		if Text(plain) != plain {
			t.Errorf("%q became %q", plain, Text(plain))
		}
	}
}

// TestJSON: what JSON holds means the same.
func TestJSON(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		want := strings.ToValidUTF8(random(rng), "")
		raw, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := json.Unmarshal([]byte(Text(string(raw))), &got); err != nil || got != want {
			t.Fatalf("%q became %q (%v)", want, got, err)
		}
	}
}

func TestClip(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("ä", 5000), strings.Repeat("汉", 3000) + "the end", strings.Repeat("\x80", 9000)} {
		got := Clip(text, 4096)
		switch {
		case len(text) <= 4096 && got != text:
			t.Errorf("%d bytes became %q", len(text), got)
		case len(got) > 4096, len(text) > 4096 && !strings.Contains(got, "…"), utf8.ValidString(text) && !utf8.ValidString(got):
			t.Errorf("%d bytes became %d", len(text), len(got))
		}
	}
}
