package tokenizer

import (
	"cmp"
	"context"
	"fmt"
	"time"
	"unicode/utf8"
)

func (t *bpe) Encode(text string) ([]int, error)        { return t.encode(text, false) }
func (t *bpe) EncodeSpecial(text string) ([]int, error) { return t.encode(text, true) }

func (t *bpe) encode(text string, special bool) (ids []int, err error) {
	w := t.Writer(context.Background(), special, func(more []int) error {
		ids = append(ids, more...)
		return nil
	})
	if err := cmp.Or(w.WriteString(text), w.Close()); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return ids, nil
}

func (t *bpe) Spans(ctx context.Context, text string, special bool) (all []Span, err error) {
	w := t.writer(ctx, special && !t.plain, true, func(_ []int, spans []Span) error {
		all = append(all, spans...)
		return nil
	})
	if err := cmp.Or(w.WriteString(text), w.Close()); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return all, nil
}

// Around puts prefix and suffix around the spans of a text of so many bytes.
func Around(t Tokenizer, spans []Span, size int) []Span {
	var out []Span
	for _, id := range t.Prefix() {
		out = append(out, Span{ID: id})
	}
	out = append(out, spans...)
	for _, id := range t.Suffix() {
		out = append(out, Span{id, size, size})
	}
	return out
}

// encoder is the working memory of one text.
type encoder struct {
	t       *bpe
	ctx     context.Context // nil: nobody ends it
	ids     []int           // of the window, as spans
	places  bool            // spans are wanted
	spans   []Span
	base    int // bytes of the text before the window
	seen    cache
	symbols []symbol
	heap    []candidate
	inside  bool          // what is normalized goes on within a text
	room    int           // bytes that the rest of the window may become
	left    time.Duration // for its patterns
	turns   int
	err     error
}

// window encodes a part of a text that lies between two cuts; first says that it begins the text.
func (e *encoder) window(text string, first, special bool) error {
	t := e.t
	text = validUTF8(text)
	e.ids, e.spans, e.inside = e.ids[:0], e.spans[:0], !first
	e.limit(len(text))
	for _, s := range t.raw.split(source(text, e.places || t.exactFirst), special) {
		if s.id >= 0 {
			e.addToken(s)
			first, e.inside = false, false
			continue
		}
		p := t.normalize(e, s.piece)
		e.inside = false
		for _, s := range t.normalized.split(p, special) {
			if s.id >= 0 {
				e.addToken(s)
			} else {
				e.words(s.piece, first)
			}
			first = false
		}
		if e.room -= len(p.text); e.err != nil {
			return e.err
		}
	}
	e.base += len(text)
	return e.err
}

// over says whether the encoding has ended before its time: by an error, or by a context, which is asked now and then.
func (e *encoder) over() bool {
	if e.turns++; e.err == nil && e.ctx != nil && e.turns%1024 == 0 {
		e.err = e.ctx.Err()
	}
	return e.err != nil
}

func (e *encoder) addToken(s segment) {
	e.ids = append(e.ids, s.id)
	if e.places {
		e.spans = append(e.spans, Span{s.id, e.base + s.at[0], e.base + s.at[len(s.text)]})
	}
}

func (t *bpe) normalize(e *encoder, p piece) piece {
	for _, n := range t.normalizers {
		if p = n(e, p); !e.fits(len(p.text)) || e.over() {
			return piece{at: p.at[:min(1, len(p.at))]}
		}
	}
	return p
}

// words cuts a text into words and encodes each.
func (e *encoder) words(p piece, first bool) {
	words := []piece{p}
	for _, s := range e.t.splitters {
		words = s(e, words, first)
		size := 0
		for _, word := range words {
			size += len(word.text)
		}
		if !e.fits(size) {
			return
		}
	}
	for _, word := range words {
		for word.text != "" && !e.over() {
			n := len(word.text)
			if e.t.wordwise {
				n = nextWord(word.text)
			}
			e.cached(word.cut(0, n))
			word = word.cut(n, len(word.text))
		}
	}
}

// cached encodes a word that may have been there before.
func (e *encoder) cached(word piece) {
	if ids, ok := e.seen[word.text]; ok && !e.places {
		e.ids = append(e.ids, ids...)
		return
	}
	before := len(e.ids)
	if e.word(word); e.err != nil {
		return
	}
	e.seen.put(word.text, e.ids[before:])
}

// word merges one word.
func (e *encoder) word(word piece) {
	t, text := e.t, word.text
	e.symbols = e.symbols[:0]
	add := func(start, size int, id int32) {
		at := int32(len(e.symbols))
		e.symbols = append(e.symbols, symbol{int32(start), int32(size), at - 1, at + 1, id})
	}
	if id, ok := t.vocab[text]; ok && t.ignoreMerges {
		e.symbols = append(e.symbols, symbol{0, int32(len(text)), -1, -1, int32(id)})
		e.take(word)
		return
	}
	unkStart, unkSize := 0, 0 // unknown characters that wait for their end
	flush := func() {
		if unkSize > 0 {
			add(unkStart, unkSize, t.unk)
			unkSize = 0
		}
	}
	for i := 0; i < len(text) && !e.over(); {
		_, n := utf8.DecodeRuneInString(text[i:])
		if id, ok := t.vocab[text[i:i+n]]; ok {
			flush()
			add(i, n, int32(id))
		} else if bytes := t.byteIDs(text[i : i+n]); bytes != nil {
			for j, id := range bytes {
				add(i+j, 1, id)
			}
		} else if t.unk >= 0 { // without an unknown token the character is dropped, as Hugging Face does
			if !t.fuseUnk {
				flush()
			}
			if unkSize == 0 {
				unkStart = i
			}
			unkSize += n
		}
		i += n
	}
	flush()
	if len(e.symbols) == 0 || e.err != nil {
		return
	}
	e.symbols[len(e.symbols)-1].next = -1
	e.heap = mergeAll(e, e.symbols, e.heap, func(l, r symbol) (rank, id int32, ok bool) {
		m, ok := t.merges[pair{l.id, r.id}]
		return m.rank, m.id, ok
	})
	e.take(word)
}

// take appends the symbols that are left.
func (e *encoder) take(word piece) {
	for i := int32(0); i >= 0; i = e.symbols[i].next {
		s := e.symbols[i]
		e.ids = append(e.ids, int(s.id))
		if e.places {
			e.spans = append(e.spans, Span{int(s.id), e.base + word.at[s.start], e.base + word.at[s.start+s.size]})
		}
	}
}

const hex = "0123456789ABCDEF"

// byteIDs are the ids of the byte tokens of a character, nil unless all are there.
func (t *bpe) byteIDs(char string) []int32 {
	if !t.byteFallback {
		return nil
	}
	var ids []int32
	for i := range len(char) {
		id, ok := t.vocab["<0x"+string([]byte{hex[char[i]>>4], hex[char[i]&15]})+">"]
		if !ok {
			return nil
		}
		ids = append(ids, int32(id))
	}
	return ids
}
