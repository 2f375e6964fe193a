package tokenizer

import (
	"context"
	"fmt"
)

const (
	windowSize = 256 << 10 // bytes of a text that are encoded at once, where it may be cut
	maxWhole   = 6 << 20   // bytes between two places to cut it: they take some 100 times their size in memory
)

// Writer encodes a text that comes in parts, in windows of a quarter of a megabyte: its memory does not grow with the text, and a cancelled
// context ends it within a window. The tokens are those of the whole text. Some tokenizers, such as those that strip spaces at the ends of
// a text or are written in regular expressions of an unusual kind, may only encode it whole: of more than 6 MiB that is an error, as of
// texts in any other that hold so much without a space or a line's end behind a letter.
type Writer struct {
	t       *bpe
	ctx     context.Context
	e       *encoder
	special bool
	take    func(ids []int, spans []Span) error
	size    int    // bytes of a window
	text    []byte // what waits
	looked  int    // bytes of it that hold no place to cut
	begun   bool
	err     error
}

// Writer makes a Writer, with special of EncodeSpecial rather than Encode, that hands on ids as they become known. take must not keep the
// slice; its error ends the writing.
func (t *bpe) Writer(ctx context.Context, special bool, take func(ids []int) error) *Writer {
	return t.writer(ctx, special && !t.plain, false, func(ids []int, _ []Span) error { return take(ids) })
}

func (t *bpe) writer(ctx context.Context, special, places bool, take func(ids []int, spans []Span) error) *Writer {
	return &Writer{t: t, ctx: ctx, e: &encoder{t: t, ctx: ctx, seen: cache{}, places: places}, special: special, take: take, size: windowSize}
}

// WriteString adds a part, which may end within a character.
func (w *Writer) WriteString(text string) error {
	for text != "" && w.err == nil {
		n := min(len(text), max(w.size-len(w.text), w.size/4, 1))
		w.text = append(w.text, text[:n]...)
		if text = text[n:]; len(w.text) < w.size {
			continue
		}
		at := w.t.places().last(w.text, w.looked)
		if w.looked = max(0, len(w.text)-8); at > 0 { // a cut's characters may still be incomplete
			w.window(string(w.text[:at]))
			w.text = append(w.text[:0], w.text[at:]...)
			w.looked = 0
		}
		if len(w.text) > maxWhole {
			w.err = fmt.Errorf("more than %d MiB of text that its tokenizer encodes in one piece; cut the text into documents", maxWhole>>20)
		}
	}
	return w.err
}

// Close encodes what waits. Nothing may be written after it.
func (w *Writer) Close() error {
	if w.err == nil && len(w.text) > 0 {
		w.window(string(w.text))
		w.text = nil
	}
	return w.err
}

// window encodes what lies between two cuts. Where the context may be cancelled, nobody waits longer for it than that.
func (w *Writer) window(text string) {
	if w.ctx.Done() == nil {
		w.err = w.e.window(text, !w.begun, w.special)
	} else {
		done := make(chan error, 1)
		go func() { done <- w.e.window(text, !w.begun, w.special) }()
		select {
		case w.err = <-done:
		case <-w.ctx.Done():
			w.err = w.ctx.Err() // the encoder is left to what runs, which ends soon
			return
		}
	}
	w.begun = true
	if w.err == nil {
		w.err = w.take(w.e.ids, w.e.spans)
	}
}
