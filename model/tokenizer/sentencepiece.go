package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// sentencePiece is a SentencePiece BPE model.
//
// The merging is ours rather than that of github.com/eliben/go-sentencepiece 0.6: it refuses models with a dummy prefix
// (Llama 2 has one), panics on 17 spaces when that is worked around, does not know <s> and </s>, and keeps its
// protobuf types internal, so that no layer around it could tell what a model asks for.
type sentencePiece struct {
	vocabulary
	matcher    matcher
	kinds      []pieceKind
	rank       []int32        // by id; a higher score merges earlier
	mergeable  map[string]int // the pieces that merging may produce
	symbols    trie           // user-defined pieces, which never merge
	longest    int            // bytes of the longest mergeable piece
	bytes      [256]int       // ids of the byte pieces
	unknown    int
	unkSurface string // what an unknown id decodes to
	wordwise   bool   // no piece crosses from one word into the next

	byteFallback, dummyPrefix, squeeze, escape bool
}

type pieceKind uint64

// The values of ModelProto.SentencePiece.Type.
const (
	normal      pieceKind = 1
	unknown     pieceKind = 2
	control     pieceKind = 3
	userDefined pieceKind = 4
	unused      pieceKind = 5
	byteValue   pieceKind = 6
)

const frozen = -2 // the id of a user-defined symbol while merging

// protoPiece is a ModelProto.SentencePiece.
type protoPiece struct {
	text  string
	score float32
	kind  pieceKind
}

func parseSentencePiece(raw, rawConfig []byte) (Tokenizer, error) {
	cfg, err := parseConfig(rawConfig)
	if err != nil {
		return nil, err
	}
	t := &sentencePiece{
		vocabulary: newVocabulary(), mergeable: map[string]int{}, unknown: -1, unkSurface: " ⁇ ",
		dummyPrefix: true, squeeze: true, escape: true,
	}
	var pieces []protoPiece
	const unigram, bpe = 1, 2
	modelType, bos, eos := uint64(unigram), "<s>", "</s>"
	err = eachField(raw, func(number protowire.Number, v uint64, data []byte) error {
		switch number {
		case 1: // pieces
			p := protoPiece{kind: normal}
			err := eachField(data, func(number protowire.Number, v uint64, data []byte) error {
				switch number {
				case 1:
					p.text = string(data)
				case 2:
					p.score = math.Float32frombits(uint32(v))
				case 3:
					p.kind = pieceKind(v)
				}
				return nil
			})
			pieces = append(pieces, p)
			return err
		case 2: // trainer_spec
			return eachField(data, func(number protowire.Number, v uint64, data []byte) error {
				switch number {
				case 3:
					modelType = v
				case 24:
					if v != 0 {
						return errors.New("treat_whitespace_as_suffix is not supported")
					}
				case 35:
					t.byteFallback = v != 0
				case 44:
					t.unkSurface = string(data)
				case 46:
					bos = string(data)
				case 47:
					eos = string(data)
				}
				return nil
			})
		case 3: // normalizer_spec
			name := ""
			return eachField(data, func(number protowire.Number, v uint64, data []byte) error {
				switch number {
				case 1:
					name = string(data)
				case 2:
					if len(data) > 0 {
						return fmt.Errorf("normalizer %q is not supported, only identity", short(name))
					}
				case 3:
					t.dummyPrefix = v != 0
				case 4:
					t.squeeze = v != 0
				case 5:
					t.escape = v != 0
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if modelType != bpe {
		names := map[uint64]string{unigram: "unigram", 3: "word", 4: "char"}
		return nil, fmt.Errorf("model type %q is not supported, only bpe", names[modelType])
	}
	if err := t.fill(pieces, cfg); err != nil {
		return nil, err
	}
	t.bos, t.eos, t.addBOS = t.control(bos), t.control(eos), true
	t.configure(cfg)
	if t.AddBOS() {
		t.prefix = t.bos
	}
	return t, nil
}

// eachField calls use for every field of a protobuf message: v for numbers, data for text and messages.
func eachField(raw []byte, use func(number protowire.Number, v uint64, data []byte) error) error {
	for len(raw) > 0 {
		number, wire, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return fmt.Errorf("protobuf: %w", protowire.ParseError(n))
		}
		raw = raw[n:]
		var v uint64
		var data []byte
		switch wire {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(raw)
		case protowire.Fixed32Type:
			var v32 uint32
			v32, n = protowire.ConsumeFixed32(raw)
			v = uint64(v32)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(raw)
		default:
			n = protowire.ConsumeFieldValue(number, wire, raw)
		}
		if n < 0 {
			return fmt.Errorf("protobuf: %w", protowire.ParseError(n))
		}
		raw = raw[n:]
		if err := use(number, v, data); err != nil {
			return err
		}
	}
	return nil
}

// fill enters the pieces, whose ids are their places.
func (t *sentencePiece) fill(pieces []protoPiece, cfg config) error {
	for i := range t.bytes {
		t.bytes[i] = -1
	}
	var scores []float32
	for id, p := range pieces {
		if p.score != p.score {
			return fmt.Errorf("piece %q: score NaN", short(p.text))
		}
		if p.text == "" {
			return fmt.Errorf("piece %d is empty", id)
		}
		if err := t.set(p.text, id); err != nil {
			return err
		}
		t.kinds = append(t.kinds, p.kind)
		scores = append(scores, p.score)
		switch p.kind {
		case normal, userDefined, unused:
			t.mergeable[p.text] = id
			t.longest = max(t.longest, len(p.text))
			if p.kind == userDefined {
				t.symbols.add(p.text, id)
			}
		case unknown:
			if t.unknown >= 0 {
				return fmt.Errorf("two unknown pieces, %d and %d", t.unknown, id)
			}
			t.unknown = id
			t.special[id] = true
		case control:
			t.special[id] = true
		case byteValue:
			b, ok := byteToken(p.text)
			if !ok {
				return fmt.Errorf("byte piece %q, expected <0x00> to <0xFF>", short(p.text))
			}
			t.bytes[b] = id
		default:
			return fmt.Errorf("piece %q: type %d is not supported", short(p.text), p.kind)
		}
	}
	if t.unknown < 0 {
		return errors.New("no unknown piece")
	}
	if b := slices.Index(t.bytes[:], -1); t.byteFallback && b >= 0 {
		return fmt.Errorf("byte_fallback without a piece <0x%02X>", b)
	}
	order := slices.Clone(scores)
	slices.Sort(order)
	order = slices.Compact(order)
	for _, s := range scores {
		at, _ := slices.BinarySearch(order, s)
		t.rank = append(t.rank, int32(len(order)-at))
	}
	t.wordwise = t.escape
	for piece, id := range t.mergeable {
		// How an unused piece falls apart may depend on the words before it.
		t.wordwise = t.wordwise && !joinsWords(piece) && t.kinds[id] != unused
	}
	return t.addTokens(cfg)
}

// addTokens makes the special pieces recognizable in EncodeSpecial, and the tokens that tokenizer_config.json adds.
func (t *sentencePiece) addTokens(cfg config) error {
	for number, a := range cfg.AddedByNumber {
		id, err := strconv.Atoi(number)
		if err != nil {
			return fmt.Errorf("%s: added token %q has no number", configFile, short(number))
		}
		if a.ID = id; id >= 0 && id < len(t.kinds) && t.tokens[id] != a.Content {
			return fmt.Errorf("%s: added token %q: id %d is %q", configFile, short(a.Content), id, short(t.tokens[id]))
		}
		if err := t.add(a); err != nil {
			return err
		}
	}
	for id := range t.special {
		if id < len(t.kinds) {
			t.matcher.add(t.tokens[id], addedToken{ID: id, Special: true})
		}
	}
	for _, a := range t.added {
		t.matcher.add(a.Content, a) // one that is a special piece too takes its place, with its own stripping
	}
	return nil
}

// control is the id of a control piece, -1 if there is none.
func (t *sentencePiece) control(piece string) int {
	if id, ok := t.ids[piece]; ok && id < len(t.kinds) && t.kinds[id] == control {
		return id
	}
	return -1
}

// byteToken reads <0x0A>.
func byteToken(token string) (byte, bool) {
	if len(token) != 6 || !strings.HasPrefix(token, "<0x") || token[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(token[3:5], 16, 8)
	return byte(b), err == nil
}

func (t *sentencePiece) Encode(text string) []int        { return t.encode(text, false) }
func (t *sentencePiece) EncodeSpecial(text string) []int { return t.encode(text, true) }

func (t *sentencePiece) encode(text string, special bool) []int {
	var out []int
	e := spEncoder{t: t, seen: cache{}}
	for _, s := range t.matcher.split(validUTF8(text), special) {
		if s.id >= 0 {
			out = append(out, s.id)
		} else {
			out = e.segment(s.text, out)
		}
	}
	return out
}

// normalize does what the normalizer_spec says. Each stretch between added tokens gets its own dummy prefix, as in the
// tokenizer.json that Hugging Face makes of such a model.
func (t *sentencePiece) normalize(text string) string {
	if t.squeeze {
		text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' }), " ")
	}
	if t.dummyPrefix && text != "" {
		text = " " + text
	}
	if t.escape {
		text = strings.ReplaceAll(text, " ", space)
	}
	if t.squeeze { // spaces that were written as ▁ count at the end only
		for strings.HasSuffix(text, space) {
			text = strings.TrimSuffix(text, space)
		}
	}
	return text
}

// spEncoder is the working memory of one call.
type spEncoder struct {
	t       *sentencePiece
	seen    cache
	symbols []symbol
	heap    []candidate
	parts   map[string]int32 // of a merged unused piece: the size of its left part
}

func (e *spEncoder) segment(text string, out []int) []int {
	text = e.t.normalize(text)
	first := len(out)
	for text != "" {
		n := len(text)
		if e.t.wordwise {
			n = nextWord(text)
		}
		word := text[:n]
		text = text[n:]
		ids, ok := e.seen[word]
		if !ok {
			ids = e.word(word)
			e.seen.put(word, ids)
		}
		for _, id := range ids {
			if id == e.t.unknown && len(out) > first && out[len(out)-1] == id {
				continue // SentencePiece gives one id for a run of unknown characters
			}
			out = append(out, id)
		}
	}
	return out
}

// word merges one word and looks its symbols up.
func (e *spEncoder) word(text string) []int {
	t := e.t
	e.symbols = e.symbols[:0]
	for i := 0; i < len(text); {
		n, _ := t.symbols.longest(text[i:])
		id := int32(frozen)
		if n == 0 {
			_, n = utf8.DecodeRuneInString(text[i:])
			id = -1
		}
		at := int32(len(e.symbols))
		e.symbols = append(e.symbols, symbol{int32(i), int32(n), at - 1, at + 1, id})
		i += n
	}
	e.symbols[len(e.symbols)-1].next = -1
	clear(e.parts)
	e.heap = mergeAll(e.symbols, e.heap, func(l, r symbol) (rank, id int32, ok bool) {
		if l.id == frozen || r.id == frozen || int(l.size+r.size) > t.longest {
			return 0, 0, false
		}
		piece := text[l.start : l.start+l.size+r.size]
		which, ok := t.mergeable[piece]
		if !ok {
			return 0, 0, false
		}
		if t.kinds[which] == unused {
			if e.parts == nil {
				e.parts = map[string]int32{}
			}
			e.parts[piece] = l.size
		}
		return t.rank[which], int32(which), true
	})
	var out []int
	for i := int32(0); i >= 0; i = e.symbols[i].next {
		s := e.symbols[i]
		out = e.emit(text[s.start:s.start+s.size], out)
	}
	return out
}

// emit appends the id of a symbol. An unused piece, which merging may pass through, falls apart again; what no piece
// spells becomes bytes or the unknown id.
func (e *spEncoder) emit(piece string, out []int) []int {
	t := e.t
	id, ok := t.mergeable[piece]
	if ok && t.kinds[id] == unused {
		if left, ok := e.parts[piece]; ok {
			return e.emit(piece[left:], e.emit(piece[:left], out))
		}
	}
	switch {
	case ok:
		return append(out, id)
	case !t.byteFallback:
		return append(out, t.unknown)
	}
	for i := range len(piece) {
		out = append(out, t.bytes[piece[i]])
	}
	return out
}

func (t *sentencePiece) Decode(ids []int) string            { return t.decode(ids, false) }
func (t *sentencePiece) DecodeSkipSpecial(ids []int) string { return t.decode(ids, true) }

// decode joins the pieces; the space that the dummy prefix put in front of the text goes. When special tokens are
// skipped the result is SentencePiece's own, unknown ids included.
func (t *sentencePiece) decode(ids []int, skip bool) string {
	var out strings.Builder
	var raw []byte
	flush := func() {
		for len(raw) > 0 { // a U+FFFD for every bad byte
			r, n := utf8.DecodeRune(raw)
			out.WriteRune(r)
			raw = raw[n:]
		}
	}
	stripped := !t.dummyPrefix && !t.squeeze
	for _, id := range ids {
		token, ok := t.tokens[id]
		switch {
		case !ok:
			continue
		case id < len(t.kinds) && t.kinds[id] == byteValue:
			b, _ := byteToken(token)
			raw = append(raw, b)
			continue
		}
		flush()
		switch {
		case skip && id == t.unknown:
			out.WriteString(t.unkSurface)
		case skip && t.special[id]:
		case t.special[id] || id >= len(t.kinds):
			out.WriteString(token)
		default:
			if !stripped && out.Len() == 0 {
				token, stripped = strings.CutPrefix(token, space)
				stripped = stripped && !t.squeeze
			}
			out.WriteString(strings.ReplaceAll(token, space, " "))
		}
	}
	flush()
	return out.String()
}
