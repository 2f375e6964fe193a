package tokenizer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// byteChars are the characters that GPT-2 writes bytes as: themselves where they print, otherwise from U+0100 on.
var byteChars, charBytes = func() (chars [256]rune, bytes map[rune]byte) {
	bytes = map[rune]byte{}
	next := rune(256)
	for b := range rune(256) {
		chars[b] = b
		if !('!' <= b && b <= '~' || '¡' <= b && b <= '¬' || '®' <= b && b <= 'ÿ') {
			chars[b] = next
			next++
		}
		bytes[chars[b]] = byte(b)
	}
	return chars, bytes
}()

// toByteLevel writes every byte of word as its character.
func toByteLevel(enc *encoder, word piece) piece {
	e := editor{e: enc, from: word, out: make([]byte, 0, len(word.text)+8)}
	for i := range len(word.text) {
		c := byteChars[word.text[i]]
		if word.at == nil {
			e.out = utf8.AppendRune(e.out, c)
		} else {
			e.put(string(c), i)
		}
	}
	return e.done()
}

// decoder turns the tokens of a text into other strings; joined they are the text.
type decoder func(tokens []string) []string

// maxDecoded is how many times longer decoders may make the tokens of a text: real ones, which write ▁ as a space, make them shorter.
const maxDecoded = 16

func newDecoders(c *component) ([]decoder, error) {
	parts, err := flatten(c, func(c *component) []*component { return c.Decoders })
	if err != nil {
		return nil, err
	}
	var list []decoder
	growth := 1
	for _, p := range parts {
		switch p.Type {
		case "ByteLevel":
			list = append(list, decodeByteLevel)
		case "ByteFallback":
			list = append(list, decodeByteFallback)
		case "Fuse":
			list = append(list, func(tokens []string) []string { return []string{strings.Join(tokens, "")} })
		case "Replace":
			if p.Pattern.Regex != nil {
				return nil, errors.New("a Replace of a Regex is not supported")
			}
			r, err := newReplacer(p)
			if err != nil {
				return nil, err
			}
			if growth *= r.growth(); growth > maxDecoded {
				return nil, errors.New("a text could grow without measure")
			}
			list = append(list, func(tokens []string) []string {
				for i := range tokens {
					tokens[i] = strings.ReplaceAll(tokens[i], r.text, r.content)
				}
				return tokens
			})
		case "Strip":
			if utf8.RuneCountInString(p.Content) != 1 {
				return nil, fmt.Errorf("strip content %q is not one character", short(p.Content))
			}
			list = append(list, func(tokens []string) []string {
				for i := range tokens {
					tokens[i] = strip(tokens[i], p.Content, p.Start, p.Stop)
				}
				return tokens
			})
		case "Metaspace":
			scheme := p.scheme()
			if p.Replacement == "" {
				return nil, errors.New("no replacement in a Metaspace")
			}
			list = append(list, func(tokens []string) []string {
				for i, token := range tokens {
					if i == 0 && scheme != "never" {
						token = strings.TrimPrefix(token, p.Replacement)
					}
					tokens[i] = strings.ReplaceAll(token, p.Replacement, " ")
				}
				return tokens
			})
		default:
			return nil, fmt.Errorf("type %q is not supported", short(p.Type))
		}
	}
	return list, nil
}

// strip removes up to start characters what from the front and up to stop from the end.
func strip(text, what string, start, stop int) string {
	for ; start > 0 && strings.HasPrefix(text, what); start-- {
		text = text[len(what):]
	}
	for ; stop > 0 && strings.HasSuffix(text, what); stop-- {
		text = text[:len(text)-len(what)]
	}
	return text
}

// decodeByteLevel reads characters as bytes. A token that has another character is not written in bytes, but as it is.
func decodeByteLevel(tokens []string) []string {
	var out []byte
next:
	for _, token := range tokens {
		before := len(out)
		for _, r := range token {
			b, ok := charBytes[r]
			if !ok {
				out = append(out[:before], token...)
				continue next
			}
			out = append(out, b)
		}
	}
	return []string{lossy(out)}
}

// decodeByteFallback joins runs of byte tokens; a run that is no UTF-8 gives a U+FFFD for each of its bytes.
func decodeByteFallback(tokens []string) []string {
	var out []string
	var raw []byte
	flush := func() {
		if utf8.Valid(raw) {
			out = append(out, string(raw))
		} else {
			out = append(out, strings.Repeat("\uFFFD", len(raw)))
		}
		raw = raw[:0]
	}
	for _, token := range tokens {
		if b, ok := byteToken(token); ok {
			raw = append(raw, b)
			continue
		}
		if len(raw) > 0 {
			flush()
		}
		out = append(out, token)
	}
	if len(raw) > 0 {
		flush()
	}
	return out
}

func (t *bpe) Decode(ids []int) string            { return t.decode(ids, false) }
func (t *bpe) DecodeSkipSpecial(ids []int) string { return t.decode(ids, true) }

func (t *bpe) decode(ids []int, skip bool) string {
	tokens := make([]string, 0, len(ids))
	for _, id := range ids {
		if token, ok := t.decoded(id); ok && !(skip && t.specials[token]) {
			tokens = append(tokens, token)
		}
	}
	for _, d := range t.decoders {
		tokens = d(tokens)
	}
	text := strings.Join(tokens, t.joiner)
	if t.cleanUp {
		text = cleanUp(text)
	}
	return text
}

// lossy decodes UTF-8 as Rust's from_utf8_lossy does, which Hugging Face uses: one U+FFFD for the start of a character
// that breaks off, however long it is.
func lossy(raw []byte) string {
	if utf8.Valid(raw) {
		return string(raw)
	}
	var out strings.Builder
	for len(raw) > 0 {
		r, n := utf8.DecodeRune(raw)
		if r == utf8.RuneError && n == 1 {
			for n < len(raw) && !utf8.FullRune(raw[:n+1]) {
				n++
			}
		}
		out.WriteRune(r)
		raw = raw[n:]
	}
	return out.String()
}

// byteToken reads <0x0A>.
func byteToken(token string) (byte, bool) {
	if len(token) != 6 || !strings.HasPrefix(token, "<0x") || token[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(token[3:5], 16, 8)
	return byte(b), err == nil
}

// cleanUp takes away spaces before punctuation, one rule after the other.
func cleanUp(text string) string {
	for _, rule := range [][2]string{
		{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
	} {
		text = strings.ReplaceAll(text, rule[0], rule[1])
	}
	return text
}
