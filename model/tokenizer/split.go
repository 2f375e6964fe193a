package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// splitter cuts words further; first says that words[0] begins the whole text.
type splitter func(e *jsonEncoder, words []string, first bool) []string

// gpt2 is the pattern that ByteLevel has built in.
const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

func newSplitters(c *component) ([]splitter, error) {
	parts, err := flatten(c, func(c *component) []*component { return c.PreTokenizers })
	if err != nil {
		return nil, err
	}
	var list []splitter
	for _, p := range parts {
		switch p.Type {
		case "ByteLevel":
			if p.AddPrefixSpace == nil || *p.AddPrefixSpace {
				list = append(list, each(func(_ *jsonEncoder, word string) []string {
					if !strings.HasPrefix(word, " ") {
						word = " " + word
					}
					return []string{word}
				}))
			}
			if p.UseRegex == nil || *p.UseRegex {
				r, err := newRegex(gpt2)
				if err != nil {
					return nil, err
				}
				list = append(list, each(isolated(r.split)))
			}
			list = append(list, each(func(_ *jsonEncoder, word string) []string { return []string{toByteLevel(word)} }))
		case "Split":
			s, err := newSplit(p)
			if err != nil {
				return nil, err
			}
			list = append(list, each(s))
		case "Digits":
			list = append(list, each(isolated(digits(p.Individual))))
		case "Metaspace":
			s, err := newMetaspace(p)
			if err != nil {
				return nil, err
			}
			list = append(list, s)
		default:
			return nil, fmt.Errorf("type %q is not supported", short(p.Type))
		}
	}
	return list, nil
}

// each applies a split to every word and drops what is empty.
func each(split func(e *jsonEncoder, word string) []string) splitter {
	return func(e *jsonEncoder, words []string, _ bool) []string {
		out := make([]string, 0, len(words))
		for _, word := range words {
			for _, part := range split(e, word) {
				if part != "" {
					out = append(out, part)
				}
			}
		}
		return out
	}
}

// stretch is a part of a text that a pattern matches, or one between two matches.
type stretch struct {
	begin, end int
	match      bool
}

// finder cuts a text into stretches that cover it.
type finder func(e *jsonEncoder, text string) []stretch

func isolated(find finder) func(*jsonEncoder, string) []string {
	return func(e *jsonEncoder, text string) []string {
		parts := find(e, text)
		out := make([]string, len(parts))
		for i, p := range parts {
			out[i] = text[p.begin:p.end]
		}
		return out
	}
}

func newSplit(c *component) (func(*jsonEncoder, string) []string, error) {
	var find finder
	switch p := c.Pattern; {
	case p.Regex != nil:
		r, err := newRegex(*p.Regex)
		if err != nil {
			return nil, err
		}
		find = r.split
	case p.String != nil && *p.String != "":
		find = func(_ *jsonEncoder, text string) []stretch { return literal(text, *p.String) }
	default:
		return nil, errors.New("no pattern in a Split")
	}
	if c.Behavior != "Removed" && c.Behavior != "Isolated" && c.Behavior != "MergedWithPrevious" && c.Behavior != "MergedWithNext" && c.Behavior != "Contiguous" {
		return nil, fmt.Errorf("split behavior %q is not supported", short(c.Behavior))
	}
	return func(e *jsonEncoder, text string) []string {
		parts := find(e, text)
		for i := range parts {
			parts[i].match = parts[i].match != c.Invert
		}
		var out []string
		for _, p := range gather(parts, c.Behavior) {
			out = append(out, text[p.begin:p.end])
		}
		return out
	}, nil
}

// literal finds every occurrence of what.
func literal(text, what string) []stretch {
	var out []stretch
	for at := 0; at < len(text); {
		n := strings.Index(text[at:], what)
		switch n {
		case -1:
			out = append(out, stretch{at, len(text), false})
			at = len(text)
		case 0:
			out = append(out, stretch{at, at + len(what), true})
			at += len(what)
		default:
			out = append(out, stretch{at, at + n, false})
			at += n
		}
	}
	return out
}

// gather joins stretches as a behaviour of Hugging Face's Split asks. An empty match parts what
// is around it.
func gather(parts []stretch, behavior string) []stretch {
	var out []stretch
	last := false // whether the stretch before was a match
	for _, p := range parts {
		join := false
		switch behavior {
		case "Removed":
			if p.match {
				continue
			}
		case "Contiguous":
			join = p.match == last
		case "MergedWithPrevious":
			join = p.match && !last
		case "MergedWithNext":
			join = !p.match && last
		}
		last = p.match
		if join && len(out) > 0 {
			out[len(out)-1].end = p.end
		} else {
			out = append(out, p)
		}
	}
	return out
}

// digits finds numbers, or single digits.
func digits(individual bool) finder {
	return func(_ *jsonEncoder, text string) []stretch {
		var out []stretch
		for i, r := range text {
			n := utf8.RuneLen(r)
			number := unicode.IsNumber(r)
			if len(out) > 0 && out[len(out)-1].match == number && !(individual && number) {
				out[len(out)-1].end = i + n
			} else {
				out = append(out, stretch{i, i + n, number})
			}
		}
		return out
	}
}

// newMetaspace writes spaces as ▁, puts one in front and may cut before each.
func newMetaspace(c *component) (splitter, error) {
	mark, scheme := c.Replacement, c.scheme()
	if utf8.RuneCountInString(mark) != 1 {
		return nil, fmt.Errorf("replacement %q is not one character", short(mark))
	}
	if scheme != "always" && scheme != "first" && scheme != "never" {
		return nil, fmt.Errorf("prepend_scheme %q is not supported", short(scheme))
	}
	return func(_ *jsonEncoder, words []string, first bool) []string {
		var out []string
		for i, word := range words {
			word = strings.ReplaceAll(word, " ", mark)
			if !strings.HasPrefix(word, mark) && (scheme == "always" || scheme == "first" && first && i == 0) {
				word = mark + word
			}
			if c.Split != nil && !*c.Split {
				out = append(out, word)
				continue
			}
			for _, p := range gather(literal(word, mark), "MergedWithNext") {
				out = append(out, word[p.begin:p.end])
			}
		}
		return out
	}, nil
}

// scheme is the prepend_scheme of a Metaspace, which used to be add_prefix_space.
func (c *component) scheme() string {
	switch {
	case c.PrependScheme != "":
		return c.PrependScheme
	case c.AddPrefixSpace != nil && !*c.AddPrefixSpace:
		return "never"
	}
	return "always"
}

// regex is a pattern with look-ahead, which the standard library lacks.
type regex struct{ re *regexp2.Regexp }

const (
	maxPattern = 10_000          // characters; the longest real one has 500
	matchTime  = 5 * time.Second // for one match: real ones take microseconds, a hostile one might take years
)

func newRegex(text string) (*regex, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("pattern of %d characters, the limit is %d", len(text), maxPattern)
	}
	// Ignoring case, Hugging Face takes ſ (U+017F) for s; regexp2 does not. It matters in the contractions only.
	text = strings.NewReplacer("(?i:'s|", "(?i:'s|'ſ|", "'(?i:[sdmt]|", "'(?i:[sſdmt]|").Replace(text)
	re, err := regexp2.Compile(text, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %s", short(text), strings.ReplaceAll(err.Error(), "\n", " "))
	}
	re.MatchTimeout = matchTime
	return &regex{re}, nil
}

// split cuts a text at the matches. A pattern that runs into its time limit is switched off for the rest of the call,
// which then keeps the rest in one piece: no pattern that serves a model ever gets there.
func (r *regex) split(e *jsonEncoder, text string) []stretch {
	if e.expired {
		return []stretch{{0, len(text), false}}
	}
	runes := []rune(text)
	var out []stretch
	at, atRune := 0, 0
	m, err := r.re.FindRunesMatch(runes)
	for ; m != nil; m, err = r.re.FindNextMatch(m) {
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
	e.expired = err != nil
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
