package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// splitter cuts words further; first says that words[0] begins the whole text.
type splitter func(e *encoder, words []piece, first bool) []piece

// gpt2 is the pattern that ByteLevel has built in.
const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

func newSplitters(c *component) (list []splitter, parts []*component, err error) {
	if parts, err = flatten(c, func(c *component) []*component { return c.PreTokenizers }); err != nil {
		return nil, nil, err
	}
	for _, p := range parts {
		steps, err := newSplitter(p)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, steps...)
	}
	return list, parts, nil
}

func newSplitter(p *component) ([]splitter, error) {
	switch p.Type {
	case "ByteLevel":
		return newByteLevel(p)
	case "Split":
		find, err := newFinder(p.Pattern)
		if err != nil {
			return nil, err
		}
		return behave(find, p.Behavior, p.Invert)
	case "Digits":
		return behave(digits(p.Individual), "Isolated", false)
	case "Punctuation":
		behavior := p.Behavior
		if behavior == "" {
			behavior = "Isolated"
		}
		return behave(singly(isPunctuation), behavior, false)
	case "WhitespaceSplit":
		return behave(singly(unicode.IsSpace), "Removed", false)
	case "CharDelimiterSplit":
		if utf8.RuneCountInString(p.Delimiter) != 1 {
			return nil, fmt.Errorf("delimiter %q is not one character", short(p.Delimiter))
		}
		return behave(func(_ *encoder, text string) []stretch { return literal(text, p.Delimiter) }, "Removed", false)
	case "Whitespace":
		return behave(wordsAndRest, "Removed", true)
	case "Metaspace":
		s, err := newMetaspace(p)
		return []splitter{s}, err
	}
	return nil, fmt.Errorf("type %q is not supported", short(p.Type))
}

func newByteLevel(p *component) ([]splitter, error) {
	var list []splitter
	if p.spaced() {
		list = append(list, each(func(e *encoder, word piece) []piece {
			if !strings.HasPrefix(word.text, " ") {
				word = word.prepend(e, " ")
			}
			return []piece{word}
		}))
	}
	if p.UseRegex == nil || *p.UseRegex {
		r, err := newRegex(gpt2)
		if err != nil {
			return nil, err
		}
		cut, err := behave(r.split, "Isolated", false)
		if err != nil {
			return nil, err
		}
		list = append(list, cut...)
	}
	return append(list, each(func(e *encoder, word piece) []piece { return []piece{toByteLevel(e, word)} })), nil
}

// each applies a split to every word and drops what is empty.
func each(split func(e *encoder, word piece) []piece) splitter {
	return func(e *encoder, words []piece, _ bool) []piece {
		out := make([]piece, 0, len(words))
		for _, word := range words {
			for _, part := range split(e, word) {
				if part.text != "" {
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
type finder func(e *encoder, text string) []stretch

func newFinder(p pattern) (finder, error) {
	switch {
	case p.Regex != nil:
		r, err := newRegex(*p.Regex)
		if err != nil {
			return nil, err
		}
		return r.split, nil
	case p.String != nil && *p.String != "":
		return func(_ *encoder, text string) []stretch { return literal(text, *p.String) }, nil
	}
	return nil, errors.New("no pattern in a Split")
}

// behave cuts at what is found as a behaviour of Hugging Face's Split asks; invert takes the rest for the matches.
func behave(find finder, behavior string, invert bool) ([]splitter, error) {
	if !slices.Contains([]string{"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"}, behavior) {
		return nil, fmt.Errorf("split behavior %q is not supported", short(behavior))
	}
	return []splitter{each(func(e *encoder, word piece) []piece {
		parts := find(e, word.text)
		for i := range parts {
			parts[i].match = parts[i].match != invert
		}
		parts = join(parts, behavior)
		out := make([]piece, len(parts))
		for i, p := range parts {
			out[i] = word.cut(p.begin, p.end)
		}
		return out
	})}, nil
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

// join joins stretches as a behaviour of Hugging Face's Split asks. An empty match parts what
// is around it.
func join(parts []stretch, behavior string) []stretch {
	var out []stretch
	last := false // whether the stretch before was a match
	for _, p := range parts {
		same := false
		switch behavior {
		case "Removed":
			if p.match {
				continue
			}
		case "Contiguous":
			same = p.match == last
		case "MergedWithPrevious":
			same = p.match && !last
		case "MergedWithNext":
			same = !p.match && last
		}
		last = p.match
		if same && len(out) > 0 {
			out[len(out)-1].end = p.end
		} else {
			out = append(out, p)
		}
	}
	return out
}

// digits finds numbers, or single digits.
func digits(individual bool) finder {
	return func(_ *encoder, text string) []stretch {
		var out []stretch
		for i, r := range text {
			n := utf8.RuneLen(r)
			number := unicode.IsNumber(r) || unicode.Is(newer["number"], r)
			if len(out) > 0 && out[len(out)-1].match == number && !(individual && number) {
				out[len(out)-1].end = i + n
			} else {
				out = append(out, stretch{i, i + n, number})
			}
		}
		return out
	}
}

// singly finds each character that is so, by itself.
func singly(is func(rune) bool) finder {
	return func(_ *encoder, text string) []stretch {
		var out []stretch
		for i, r := range text {
			n := utf8.RuneLen(r)
			if len(out) > 0 && !is(r) && !out[len(out)-1].match {
				out[len(out)-1].end = i + n
			} else {
				out = append(out, stretch{i, i + n, is(r)})
			}
		}
		return out
	}
}

// isPunctuation is that of Rust's unicode_categories: all of ASCII's, and beyond that Unicode's of 2015.
func isPunctuation(r rune) bool {
	switch {
	case r < 0x80:
		return r > ' ' && r < 0x7f && !isWord(r) || r == '_'
	case r == 0x166d || r == 0x111c9: // no longer
		return true
	}
	return unicode.IsPunct(r) && !unicode.Is(newer["not punctuation"], r)
}

// wordsAndRest finds runs of word characters and runs of what is neither word nor white space.
func wordsAndRest(_ *encoder, text string) []stretch {
	var out []stretch
	kind := func(r rune) int {
		switch {
		case isWord(r):
			return 1
		case unicode.IsSpace(r):
			return 0
		}
		return 2
	}
	last := -1
	for i, r := range text {
		n := utf8.RuneLen(r)
		if k := kind(r); k == last {
			out[len(out)-1].end = i + n
		} else {
			out = append(out, stretch{i, i + n, k != 0})
			last = k
		}
	}
	return out
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
	return func(e *encoder, words []piece, first bool) []piece {
		var out []piece
		for i, word := range words {
			word = word.replaceAll(e, " ", mark)
			if !strings.HasPrefix(word.text, mark) && (scheme == "always" || scheme == "first" && first && i == 0 && (word.at == nil || word.at[0] == 0)) {
				word = word.prepend(e, mark)
			}
			if c.Split != nil && !*c.Split {
				out = append(out, word)
				continue
			}
			for _, p := range join(literal(word.text, mark), "MergedWithNext") {
				out = append(out, word.cut(p.begin, p.end))
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
