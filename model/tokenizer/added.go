package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// AddedToken is a token that is cut out of a text before anything else happens to it.
type AddedToken struct {
	ID         int
	Content    string
	SingleWord bool // only between characters that are no part of a word
	LStrip     bool // takes the white space before it along
	RStrip     bool // and after it
	Normalized bool // looked for after normalization, in normalized form
	Special    bool
}

// addedVocabulary are the added tokens, with the rules of Hugging Face tokenizers 0.23.
type addedVocabulary struct {
	ids             map[string]int
	byID            map[int]AddedToken
	order           []int          // ids, as they came
	forms           map[int]string // of normalized tokens, where normalizing changes them; kept for good
	specials        map[string]bool
	next            int     // the next free id
	raw, normalized matcher // tokens looked for before and after normalization
}

const (
	maxAdded   = 1 << 17 // tokens; the most that a real file has is some 6,000
	maxContent = 1 << 10 // bytes of one, and of its normalized form: at every character of a text it may be compared to its end
)

func newAddedVocabulary() addedVocabulary {
	return addedVocabulary{ids: map[string]int{}, byID: map[int]AddedToken{}, forms: map[int]string{}, specials: map[string]bool{}}
}

// enter adds a token or changes its flags. model is its id in the model or -1, form its normalized form. What was special once stays so.
func (v *addedVocabulary) enter(a AddedToken, model int, form string) (int, error) {
	if a.Special {
		v.specials[a.Content] = true
	}
	id, known := v.ids[a.Content]
	switch {
	case known:
	case model >= 0:
		id = model
	default:
		id = v.next
		v.next++
	}
	if id >= maxID || len(v.order) >= maxAdded {
		return 0, fmt.Errorf("token %q: more than %d added tokens, or an id beyond %d", short(a.Content), maxAdded, maxID)
	}
	if most := max(len(a.Content), len(form)); most > maxContent {
		return 0, fmt.Errorf("added token %q: %d bytes, expected at most %d", short(a.Content), most, maxContent)
	}
	a.ID = id
	if a.Normalized && form != a.Content {
		v.forms[id] = form
	}
	v.ids[a.Content] = id
	if _, ok := v.byID[id]; !ok {
		v.order = append(v.order, id)
	}
	v.byID[id] = a
	return id, nil
}

// contents are the spellings of all tokens.
func (v *addedVocabulary) contents() map[string]bool {
	out := map[string]bool{}
	for _, a := range v.byID {
		out[a.Content] = true
	}
	return out
}

// build makes the matchers.
func (v *addedVocabulary) build() error {
	for _, id := range v.order {
		a, m := v.byID[id], &v.raw
		form := a.Content
		if a.Normalized {
			m = &v.normalized
			if f, ok := v.forms[id]; ok {
				form = f
			}
		}
		if form == "" {
			return fmt.Errorf("added token %q: nothing of it is left after normalization", short(a.Content))
		}
		if !m.add(form, a, v.specials[a.Content]) {
			return fmt.Errorf("added token %q: another one is looked for in the same form %q", short(a.Content), short(form))
		}
	}
	return nil
}

// decoded is the form in which decoding sees a token: for reasons of its own, Hugging Face takes the normalized one.
func (t *bpe) decoded(id int) (string, bool) {
	if form, ok := t.forms[id]; ok {
		return form, true
	}
	return t.Token(id)
}

// segment is a stretch of text, or the added token that stands there.
type segment struct {
	piece
	id int // -1 for text
}

// matcher cuts added tokens out of a text; nil finds none.
type matcher struct {
	trie   trie
	tokens []AddedToken // Special as the vocabulary remembers it
	forms  []string     // of these
}

// add enters a token under the form that is looked for, and says whether that is new.
func (m *matcher) add(form string, a AddedToken, special bool) bool {
	if n, _ := m.trie.longest(form); n == len(form) {
		return false
	}
	a.Special = special
	m.trie.add(form, len(m.tokens))
	m.tokens, m.forms = append(m.tokens, a), append(m.forms, form)
	return true
}

// split cuts at every added token: the leftmost first, of those the longest. Without special, a special token is left
// in the text, but still covers what it covers, as in Hugging Face. White space that one token takes along may be, or be part of,
// another token: both are given then.
func (m *matcher) split(p piece, special bool) []segment {
	var out []segment
	text := p.text
	done := 0
	blank, bound := 0, 0 // white space that a token took along: it is looked through once
	for i := 0; i < len(text) && len(m.tokens) > 0; {
		n, which := m.trie.longest(text[i:])
		if n == 0 {
			i++
			continue
		}
		a, start, stop := m.tokens[which], i, i+n
		i = stop
		if a.Special && !special || a.SingleWord && !wordAlone(text, start, stop) {
			continue
		}
		if a.LStrip {
			start = done + len(strings.TrimRightFunc(text[min(done, start):start], unicode.IsSpace))
		}
		if a.RStrip {
			if stop < blank || stop > bound {
				blank, bound = stop, len(text)-len(strings.TrimLeftFunc(text[stop:], unicode.IsSpace))
			}
			stop = bound
		}
		if done < start {
			out = append(out, segment{p.cut(done, start), -1})
		}
		if start < stop { // else the token before took all of it
			out = append(out, segment{p.cut(start, stop), a.ID})
		}
		done = stop
	}
	if done < len(text) {
		out = append(out, segment{p.cut(done, len(text)), -1})
	}
	return out
}

func wordAlone(text string, start, stop int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:start])
	after, _ := utf8.DecodeRuneInString(text[stop:])
	return (start == 0 || !isWord(before)) && (stop == len(text) || !isWord(after))
}

// isWord is \w of Rust's regex: letters and what counts as one, marks, digits, connectors, joiners.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.Nl, unicode.Other_Alphabetic, unicode.M, unicode.Nd, unicode.Pc, unicode.Join_Control, newerWord)
}

// trie finds the longest of many strings at the start of a text, in time of its length.
type trie struct {
	next map[edge]int32
	ends map[int32]int
}

type edge struct {
	node int32
	b    byte
}

func (t *trie) add(s string, value int) {
	if t.next == nil {
		t.next, t.ends = map[edge]int32{}, map[int32]int{}
	}
	node := int32(0)
	for i := range len(s) {
		e := edge{node, s[i]}
		child, ok := t.next[e]
		if !ok {
			child = int32(len(t.next) + 1)
			t.next[e] = child
		}
		node = child
	}
	t.ends[node] = value
}

// longest gives the length and the value of the longest entry that text begins with, 0 if there is none.
func (t *trie) longest(text string) (n, value int) {
	node := int32(0)
	for i := range len(text) {
		child, ok := t.next[edge{node, text[i]}]
		if !ok {
			break
		}
		node = child
		if v, ok := t.ends[node]; ok {
			n, value = i+1, v
		}
	}
	return n, value
}
