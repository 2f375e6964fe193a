package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is cut out of a text before anything else happens to it.
type addedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only between characters that are no part of a word
	LStrip     bool   `json:"lstrip"`      // takes the white space before it along
	RStrip     bool   `json:"rstrip"`      // and after it
	Normalized bool   `json:"normalized"`  // looked for after normalization, in normalized form
	Special    bool   `json:"special"`
}

// segment is a stretch of text, or the added token that stands there.
type segment struct {
	text string
	id   int // -1 for text
}

// matcher cuts added tokens out of a text; nil finds none.
type matcher struct {
	trie   trie
	tokens []addedToken
}

// add enters a token under the form that is looked for.
func (m *matcher) add(form string, a addedToken) {
	if form != "" {
		m.trie.add(form, len(m.tokens))
		m.tokens = append(m.tokens, a)
	}
}

// split cuts at every added token: the leftmost first, of those the longest. Without special, a special token is left
// in the text, but still covers what it covers, as in Hugging Face.
func (m *matcher) split(text string, special bool) []segment {
	var out []segment
	done := 0
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
			start = max(done, len(strings.TrimRightFunc(text[:start], unicode.IsSpace)))
		}
		if a.RStrip {
			stop = len(text) - len(strings.TrimLeftFunc(text[stop:], unicode.IsSpace))
		}
		if done < start {
			out = append(out, segment{text[done:start], -1})
		}
		out = append(out, segment{id: a.ID})
		done, i = stop, max(i, stop)
	}
	if done < len(text) {
		out = append(out, segment{text[done:], -1})
	}
	return out
}

func wordAlone(text string, start, stop int) bool {
	before, _ := utf8.DecodeLastRuneInString(text[:start])
	after, _ := utf8.DecodeRuneInString(text[stop:])
	return (start == 0 || !isWord(before)) && (stop == len(text) || !isWord(after))
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
