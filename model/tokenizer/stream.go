package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Stream decodes ids that come one by one, for printing while a model generates. It holds back a character until all
// its bytes are there, and keeps the space that a decoder strips from the front of a text: what comes out, joined, is
// the text that the ids add to the context.
type Stream struct {
	decode func([]int) string
	done   []int // the last ids whose text is out
	wait   []int // ids after them
}

const (
	maxWait = 4  // a character has at most four bytes, so a fifth token cannot complete one
	tail    = 32 // ids of the context: enough to begin outside a run of byte tokens
)

// NewStream starts behind a context, the prompt for example, of which only the end matters.
func NewStream(t Tokenizer, skipSpecial bool, context []int) *Stream {
	s := &Stream{decode: t.Decode, done: append([]int(nil), context[max(0, len(context)-tail):]...)}
	if skipSpecial {
		s.decode = t.DecodeSkipSpecial
	}
	return s
}

// Next takes an id and gives the text that is complete with it, often one word, sometimes nothing.
func (s *Stream) Next(id int) string {
	s.wait = append(s.wait, id)
	text := s.pending()
	if strings.HasSuffix(text, string(utf8.RuneError)) && len(s.wait) < maxWait {
		return ""
	}
	if text != "" {
		s.done, s.wait = s.wait, nil
	}
	return text
}

// Flush gives what is held back, U+FFFD in place of a character that never became whole.
func (s *Stream) Flush() string {
	text := s.pending()
	s.done, s.wait = append(s.done, s.wait...), nil
	return text
}

// pending is the text that the waiting ids add.
func (s *Stream) pending() string {
	before := s.decode(s.done)
	text := s.decode(append(append([]int(nil), s.done...), s.wait...))
	same := 0
	for same < len(before) && same < len(text) && before[same] == text[same] {
		same++
	}
	for same > 0 && same < len(text) && !utf8.RuneStart(text[same]) {
		same--
	}
	return text[same:]
}
