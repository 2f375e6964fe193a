package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// transform is a normalizer.
type transform func(e *encoder, p piece) piece

// Limits on what a stranger's file may ask for; real ones nest two deep and have a dozen parts.
const (
	maxDepth  = 8
	maxParts  = 64
	maxGrowth = 4096 // times the bytes of a text, by all normalizers together
)

// flatten lists the parts of nested Sequences in order.
func flatten(c *component, parts func(*component) []*component) ([]*component, error) {
	var list []*component
	var walk func(c *component, depth int) error
	walk = func(c *component, depth int) error {
		switch {
		case c == nil:
			return nil
		case depth > maxDepth || len(list) >= maxParts:
			return errors.New("too many parts")
		case c.Type != "Sequence":
			list = append(list, c)
			return nil
		}
		for _, p := range parts(c) {
			if err := walk(p, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return list, walk(c, 0)
}

func newNormalizers(c *component) (list []transform, parts []*component, err error) {
	if parts, err = flatten(c, func(c *component) []*component { return c.Normalizers }); err != nil {
		return nil, nil, err
	}
	growth := 1
	for _, p := range parts {
		step, grows, err := newNormalizer(p)
		if err != nil {
			return nil, nil, err
		}
		if growth *= grows; growth > maxGrowth {
			return nil, nil, errors.New("a text could grow without measure")
		}
		list = append(list, step)
	}
	return list, parts, nil
}

// newNormalizer makes one, and bounds how many times longer it makes a text.
func newNormalizer(p *component) (step transform, growth int, err error) {
	switch p.Type {
	case "NFC", "NFD", "NFKC", "NFKD":
		form := map[string]norm.Form{"NFC": norm.NFC, "NFD": norm.NFD, "NFKC": norm.NFKC, "NFKD": norm.NFKD}[p.Type]
		return func(e *encoder, p piece) piece { return unicodeForm(e, form, p) }, 18, nil // the worst that NFKD does
	case "Prepend":
		return func(e *encoder, text piece) piece {
			if text.text == "" || e.inside {
				return text
			}
			return text.prepend(e, p.Prepend)
		}, 1 + len(p.Prepend), nil
	case "Replace":
		r, err := newReplacer(p)
		if err != nil {
			return nil, 0, err
		}
		return r.replace, r.growth(), nil
	case "Lowercase":
		return func(e *encoder, p piece) piece { return p.mapRunes(e, lower) }, 2, nil
	case "Strip":
		return func(_ *encoder, text piece) piece {
			begin, end := 0, len(text.text)
			if p.StripLeft {
				begin = end - len(strings.TrimLeftFunc(text.text, unicode.IsSpace))
			}
			if p.StripRight {
				end = begin + len(strings.TrimRightFunc(text.text[begin:], unicode.IsSpace))
			}
			return text.cut(begin, end)
		}, 1, nil
	}
	return nil, 0, fmt.Errorf("type %q is not supported", short(p.Type))
}

// lower is Rust's to_lowercase of one character: İ becomes two.
func lower(r rune) string {
	if r == 'İ' {
		return "i̇"
	}
	for _, c := range newerCases {
		if c.first <= r && r <= c.last {
			return string(r + c.lower)
		}
	}
	return string(unicode.ToLower(r))
}

// unicodeForm normalizes; a character that comes of several has the place of the first.
func unicodeForm(enc *encoder, form norm.Form, p piece) piece {
	if form.IsNormalString(p.text) {
		return p
	}
	e := editor{e: enc, from: p}
	for begin := 0; begin < len(p.text); {
		// Hugging Face's tables are of 2016: what is newer stays as it is.
		end := begin + strings.IndexFunc(p.text[begin:], undecomposed)
		if end < begin {
			end = len(p.text)
		}
		e.normalize(form, begin, end)
		if begin = end; begin < len(p.text) {
			_, n := utf8.DecodeRuneInString(p.text[begin:])
			e.keep(begin, begin+n)
			begin += n
		}
	}
	return e.done()
}

func undecomposed(r rune) bool { return unicode.Is(newer["undecomposed"], r) }

// normalize writes the form of a stretch.
func (e *editor) normalize(form norm.Form, begin, end int) {
	text := e.from.text[begin:end]
	if e.from.at == nil {
		if e.out = form.AppendString(e.out, text); !e.e.fits(len(e.out)) {
			e.out = nil
		}
		return
	}
	var it norm.Iter
	it.InitString(form, text)
	for !it.Done() {
		at := it.Pos()
		if segment := string(it.Next()); segment == text[at:it.Pos()] {
			e.keep(begin+at, begin+it.Pos())
		} else {
			e.put(segment, begin+at)
		}
	}
}

// replacer is the Replace of normalizers and decoders.
type replacer struct {
	text    string // what to replace, or
	regex   *regex // nil
	content string
}

func newReplacer(c *component) (*replacer, error) {
	r := &replacer{content: c.Content}
	switch p := c.Pattern; {
	case p.String != nil && *p.String != "":
		r.text = *p.String
	case p.Regex != nil:
		var err error
		if r.regex, err = newRegex(*p.Regex); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("no pattern in a Replace")
	}
	return r, nil
}

// growth bounds how many times longer a text gets.
func (r *replacer) growth() int {
	if r.regex != nil {
		return 1 + len(r.content) // it may match nothing at all, everywhere
	}
	return max(1, (len(r.content)+len(r.text)-1)/len(r.text))
}

func (r *replacer) replace(e *encoder, p piece) piece {
	if r.regex == nil {
		return p.replaceAll(e, r.text, r.content)
	}
	return p.replaceMatches(e, r.regex.split(e, p.text), r.content)
}
