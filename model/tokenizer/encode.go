package tokenizer

import "unicode/utf8"

func (t *bpe) Encode(text string) []int { return t.encode(text, false, false).ids }
func (t *bpe) EncodeSpecial(text string) []int {
	return t.encode(text, !t.plain, false).ids
}

func (t *bpe) Spans(text string, special bool) []Span {
	return t.encode(text, special && !t.plain, true).spans
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

// encoder is the working memory of one call.
type encoder struct {
	t       *bpe
	ids     []int
	places  bool // spans are wanted
	spans   []Span
	seen    cache
	symbols []symbol
	heap    []candidate
	expired bool // a pattern of this file ran into its time limit
}

func (t *bpe) encode(text string, special, places bool) *encoder {
	e := &encoder{t: t, seen: cache{}, places: places}
	first := true // at the start of the text
	for _, s := range t.raw.split(source(validUTF8(text), places || t.exactFirst), special) {
		if s.id >= 0 {
			e.addToken(s)
			first = false
			continue
		}
		for _, s := range t.normalized.split(t.normalize(e, s.piece), special) {
			if s.id >= 0 {
				e.addToken(s)
			} else {
				e.words(s.piece, first)
			}
			first = false
		}
	}
	return e
}

func (e *encoder) addToken(s segment) {
	e.ids = append(e.ids, s.id)
	if e.places {
		e.spans = append(e.spans, Span{s.id, s.at[0], s.at[len(s.text)]})
	}
}

func (t *bpe) normalize(e *encoder, p piece) piece {
	for _, n := range t.normalizers {
		p = n(e, p)
	}
	return p
}

// words cuts a text into words and encodes each.
func (e *encoder) words(p piece, first bool) {
	words := []piece{p}
	for _, s := range e.t.splitters {
		words = s(e, words, first)
	}
	for _, word := range words {
		for word.text != "" {
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
	e.word(word)
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
	for i := 0; i < len(text); {
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
	if len(e.symbols) == 0 {
		return
	}
	e.symbols[len(e.symbols)-1].next = -1
	e.heap = mergeAll(e.symbols, e.heap, func(l, r symbol) (rank, id int32, ok bool) {
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
			e.spans = append(e.spans, Span{int(s.id), word.at[s.start], word.at[s.start+s.size]})
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
