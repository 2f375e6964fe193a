package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// regex is a pattern with look-ahead, which the standard library lacks.
type regex struct {
	text  string
	re    *regexp2.Regexp
	newer *regexp2.Regexp // for texts with characters that are newer than Go's tables
}

const (
	maxPattern = 10_000 // characters; the longest real one has 500
	// For one match; all of a window of text have twice as long, or of each megabyte of a text that is encoded whole. Real ones take
	// microseconds, a window some hundredths of a second; a hostile match might take years.
	matchTime = 5 * time.Second
)

func newRegex(text string) (*regex, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("pattern of %d characters, the limit is %d", len(text), maxPattern)
	}
	r := &regex{text: text}
	for _, kind := range []struct {
		newer bool
		to    **regexp2.Regexp
	}{{false, &r.re}, {true, &r.newer}} {
		own, err := translate(text, kind.newer)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", short(text), err)
		}
		re, err := regexp2.Compile(own, regexp2.None)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %s", short(text), strings.ReplaceAll(err.Error(), "\n", " "))
		}
		re.MatchTimeout = matchTime
		*kind.to = re
	}
	return r, nil
}

// split cuts a text at the matches. A pattern that runs into its time limit ends the encoding: what it leaves would depend on how fast the
// machine is.
func (r *regex) split(e *encoder, text string) []stretch {
	if e.err != nil {
		return nil
	}
	runes, re := []rune(text), r.re
	if slices.ContainsFunc(runes, isNewer) {
		re = r.newer
	}
	var out []stretch
	at, atRune := 0, 0
	begun := time.Now()
	m, err := re.FindRunesMatch(runes)
	for ; m != nil; m, err = re.FindNextMatch(m) {
		if e.over() || time.Since(begun) > e.left {
			break
		}
		if m.Length == 0 && len(out) > 0 && m.Index == atRune {
			continue // Hugging Face passes over an empty match right behind another
		}
		begin := at + runeBytes(runes[atRune:m.Index])
		end := begin + runeBytes(runes[m.Index:m.Index+m.Length])
		if at < begin {
			out = append(out, stretch{at, begin, false})
		}
		out = append(out, stretch{begin, end, true})
		at, atRune = end, m.Index+m.Length
	}
	if e.left -= time.Since(begun); err != nil || e.left < 0 {
		e.fail(fmt.Errorf("pattern %q takes too long on this text; it is written in a way that can take for ever", short(r.text)))
		return nil
	}
	if at < len(text) {
		out = append(out, stretch{at, len(text), false})
	}
	return out
}

func runeBytes(runes []rune) int {
	n := 0
	for _, r := range runes {
		n += utf8.RuneLen(r)
	}
	return n
}
