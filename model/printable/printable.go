// Package printable makes text of strangers safe to look at. Names in files and texts of models may hold control characters, which a terminal
// obeys: they colour, move and clear what stands there, change its title, or turn the order of letters round. Here they become what JSON
// writes for them, \u001b for an escape, so that text in JSON means the same as before.
package printable

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Text is a text of several lines without control characters: line ends and tabs stay. Bytes that are no UTF-8 become \xNN, since some
// terminals take them for control characters of eight bits.
func Text(text string) string { return escaped(text, false) }

// Line is Text for what has to stay on one line: line ends and tabs are control characters too.
func Line(text string) string { return escaped(text, true) }

// Clip is a text of at most so many bytes: of a longer one the beginning and the end, with … between them.
func Clip(text string, most int) string {
	const mark = "…"
	if len(text) <= most {
		return text
	}
	half := (most - len(mark)) / 2
	head, tail := half, len(text)-half
	for head > 0 && !utf8.RuneStart(text[head]) {
		head--
	}
	for tail < len(text) && !utf8.RuneStart(text[tail]) {
		tail++
	}
	return text[:head] + mark + text[tail:]
}

func escaped(text string, line bool) string {
	at := strings.IndexFunc(text, func(r rune) bool { return r == utf8.RuneError || control(r, line) })
	if at < 0 {
		return text
	}
	var b strings.Builder
	b.WriteString(text[:at])
	for rest := text[at:]; rest != ""; {
		r, n := utf8.DecodeRuneInString(rest)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, rest[0])
		case r == '\r' && !line && strings.HasPrefix(rest, "\r\n"):
			b.WriteByte('\r') // of a line end
		case control(r, line):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(rest[:n])
		}
		rest = rest[n:]
	}
	return b.String()
}

// control says whether a terminal may obey a character: C0, DEL and C1, what turns the order of letters round (Unicode's bidirectional
// embeddings, overrides and isolates), and the separators of lines and paragraphs.
func control(r rune, line bool) bool {
	switch {
	case r == '\n' || r == '\t':
		return line
	case r < 0x20 || r >= 0x7f && r <= 0x9f:
		return true
	}
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029
}

// Writer passes on what is written as Text makes it. A character that comes in pieces is put together; what is left of one in the end is
// written by Flush.
type Writer struct {
	W    io.Writer
	rest []byte // the beginning of a character, or a \r that may belong to a line end
}

func (w *Writer) Write(b []byte) (int, error) {
	all := append(w.rest, b...)
	keep := unfinished(all)
	w.rest = append([]byte(nil), all[len(all)-keep:]...)
	if len(all) == keep {
		return len(b), nil
	}
	if _, err := io.WriteString(w.W, Text(string(all[:len(all)-keep]))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Flush writes what is left.
func (w *Writer) Flush() error {
	rest := string(w.rest)
	if w.rest = nil; rest == "" {
		return nil
	}
	_, err := io.WriteString(w.W, Text(rest))
	return err
}

// unfinished is how many bytes at the end wait for others.
func unfinished(b []byte) int {
	if len(b) > 0 && b[len(b)-1] == '\r' {
		return 1
	}
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
