package tokenizer

// piece is a stretch of text on its way to becoming tokens. Where places are kept, at has for each byte the byte of the source that it comes
// from, and one more for the end.
type piece struct {
	text string
	at   []int
}

// source is a whole text, with its places where they are wanted.
func source(text string, places bool) piece {
	p := piece{text: text}
	if places {
		p.at = make([]int, len(text)+1)
		for i := range p.at {
			p.at[i] = i
		}
	}
	return p
}

// cut is a part of a piece.
func (p piece) cut(begin, end int) piece {
	out := piece{text: p.text[begin:end]}
	if p.at != nil {
		out.at = p.at[begin : end+1]
	}
	return out
}

// editor writes a piece anew, as long as its encoder has room.
type editor struct {
	e    *encoder
	from piece
	out  []byte
	at   []int
}

// keep copies bytes.
func (e *editor) keep(begin, end int) {
	if !e.e.fits(len(e.out) + end - begin) {
		return
	}
	e.out = append(e.out, e.from.text[begin:end]...)
	if e.from.at != nil {
		e.at = append(e.at, e.from.at[begin:end]...)
	}
}

// put writes text for what begins at a byte of the source piece.
func (e *editor) put(text string, begin int) {
	if !e.e.fits(len(e.out) + len(text)) {
		return
	}
	e.out = append(e.out, text...)
	if e.from.at != nil {
		for range len(text) {
			e.at = append(e.at, e.from.at[begin])
		}
	}
}

func (e *editor) done() piece {
	if e.e.err != nil {
		return piece{at: e.from.at[:min(1, len(e.from.at))]}
	}
	p := piece{text: string(e.out)}
	if e.from.at != nil {
		p.at = append(e.at, e.from.at[len(e.from.text)])
	}
	return p
}

// replaceAll writes with for every occurrence of what.
func (p piece) replaceAll(enc *encoder, what, with string) piece {
	parts := literal(p.text, what)
	if len(parts) == 0 || len(parts) == 1 && !parts[0].match {
		return p
	}
	return p.replaceMatches(enc, parts, with)
}

// replaceMatches writes with for every match.
func (p piece) replaceMatches(enc *encoder, parts []stretch, with string) piece {
	e := editor{e: enc, from: p}
	for _, m := range parts {
		if m.match {
			e.put(with, m.begin)
		} else {
			e.keep(m.begin, m.end)
		}
	}
	return e.done()
}

// prepend writes text in front.
func (p piece) prepend(enc *encoder, text string) piece {
	e := editor{e: enc, from: p}
	e.put(text, 0)
	e.keep(0, len(p.text))
	return e.done()
}

// mapRunes writes for each character what f gives.
func (p piece) mapRunes(enc *encoder, f func(r rune) string) piece {
	e := editor{e: enc, from: p}
	for i, r := range p.text {
		e.put(f(r), i)
	}
	return e.done()
}
