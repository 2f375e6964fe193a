package tokenizer

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// pieces is a SentencePiece model.
type pieces struct {
	list          []protoPiece
	bpe           bool
	byteFallback  bool
	charsMap      bool // it normalizes by a table of its own
	dummyPrefix   bool
	squeeze       bool // spaces at the ends and spaces after spaces go
	escape        bool
	suffix        bool
	unk, bos, eos protoSpecial
}

// protoPiece is a ModelProto.SentencePiece.
type protoPiece struct {
	text  string
	score float32
	kind  pieceKind
}

// protoSpecial is a special token of the trainer_spec; id -1 says that there is none.
type protoSpecial struct {
	id    int32
	piece string
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

// parsePieces makes of a tokenizer.model a tokenizer.json: for TokenizersBackend with the model's own settings, for a class with rules
// only vocabulary and merges.
func parsePieces(raw []byte, c *class) (*file, error) {
	m, err := parseProto(raw)
	switch {
	case err != nil:
		return nil, err
	case !m.bpe:
		return nil, errors.New("model type is not supported, only bpe")
	case m.suffix:
		return nil, errors.New("treat_whitespace_as_suffix is not supported")
	case len(m.list) == 0:
		return nil, errors.New("no pieces")
	}
	f := &file{pieces: m}
	names := make([]string, len(m.list))
	for id, p := range m.list {
		names[id] = p.text
	}
	f.Model.Vocab = vocabulary(names)
	if n := splits(names, f.Model.Vocab); n > maxMerges {
		return nil, fmt.Errorf("more than %d ways to make pieces of two others", maxMerges)
	}
	if c.rules != nil {
		f.Model.Merges = orderedMerges(m.list, f.Model.Vocab)
		return f, nil
	}
	if m.charsMap {
		return nil, errors.New("a normalizer with a table of its own (precompiled_charsmap) is not supported")
	}
	for _, end := range []struct {
		name string
		protoSpecial
	}{{"bos_token", m.bos}, {"eos_token", m.eos}, {"unk_token", m.unk}} {
		if end.id >= 0 {
			f.defaults = append(f.defaults, defaultToken{end.name, end.piece})
		}
	}
	return f, nil
}

const (
	maxPiece  = 512     // bytes; Gemma's longest has some 90, and every way to cut one in two is tried
	maxMerges = 1 << 21 // Gemma's 256,000 pieces have some 580,000
)

// splits counts the ways to make a piece of two others, up to the limit.
func splits(names []string, vocab map[string]int) (n int) {
	for _, name := range names {
		for i := range name {
			if _, ok := vocab[name[:i]]; ok {
				n++
			}
		}
		if n > maxMerges {
			break
		}
	}
	return n
}

func vocabulary(names []string) map[string]int {
	ids := make(map[string]int, len(names))
	for id, name := range names {
		ids[name] = id
	}
	return ids
}

// orderedMerges are the merges for a class with rules: every way to make a piece of two others, in the order of the pieces.
func orderedMerges(list []protoPiece, vocab map[string]int) merges {
	type candidate struct {
		pair                [2]string
		whole, left, right  int
		lengthLeft, lengthR int
	}
	var all []candidate
	for id, p := range list {
		if vocab[p.text] != id {
			continue // another piece has the same spelling
		}
		for i := range p.text {
			left, okLeft := vocab[p.text[:i]]
			right, okRight := vocab[p.text[i:]]
			if i > 0 && okLeft && okRight {
				all = append(all, candidate{[2]string{p.text[:i], p.text[i:]}, id, left, right, utf8.RuneCountInString(p.text[:i]), utf8.RuneCountInString(p.text[i:])})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.whole, b.whole), cmp.Compare(a.lengthLeft, b.lengthLeft), cmp.Compare(a.lengthR, b.lengthR), cmp.Compare(a.left, b.left))
	})
	out := make(merges, len(all))
	for i, c := range all {
		out[i] = c.pair
	}
	return out
}

// scoredMerges are the merges for TokenizersBackend: only of normal pieces, those with the highest score first.
func (m *pieces) scoredMerges(names []string) merges {
	type candidate struct {
		pair  [2]string
		whole int
	}
	ids := map[string]int{}
	for id, p := range m.list {
		if p.kind == normal {
			ids[names[id]] = id
		}
	}
	var all []candidate
	for whole, id := range ids {
		for i := range whole {
			_, okLeft := ids[whole[:i]]
			_, okRight := ids[whole[i:]]
			if i > 0 && okLeft && okRight {
				all = append(all, candidate{[2]string{whole[:i], whole[i:]}, id})
			}
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(m.list[b.whole].score, m.list[a.whole].score), cmp.Compare(a.whole, b.whole),
			strings.Compare(a.pair[0], b.pair[0]), strings.Compare(a.pair[1], b.pair[1]))
	})
	out := make(merges, len(all))
	for i, c := range all {
		out[i] = c.pair
	}
	return out
}

// pieceRules are those that a tokenizer.model itself states, for TokenizersBackend. Added tokens rename the pieces with their ids.
func pieceRules(f *file, cfg *config, s *specials) {
	m := f.pieces
	names := m.renamed(s)
	f.Model.Vocab = vocabulary(names)
	var whole []string // pieces that are never merged
	for id, p := range m.list {
		if p.kind == userDefined {
			whole = append(whole, names[id])
		}
	}
	f.Model.Merges = m.scoredMerges(names)
	f.Model.Unk, f.Model.FuseUnk, f.Model.ByteFallback, f.Model.IgnoreMerges = &m.unk.piece, true, m.byteFallback, len(whole) > 0

	legacy := cfg.flag("legacy", true)
	if raw, ok := cfg.values["legacy"]; ok && string(raw) == "null" {
		legacy = false
	}
	var before []*component
	if m.squeeze {
		before = append(before, replaceRegex(`\A +| +\z`, ""), replaceRegex(" {2,}", " "))
	}
	if m.escape {
		before = append(before, replaceText(" ", space))
	}
	var cut []*component
	scheme := "first"
	if legacy {
		scheme = "always"
	}
	if m.dummyPrefix {
		if legacy {
			before = append(before, replaceRegex(`\A▁`, space+space))
		}
		cut = append(cut, metaspace(scheme))
	}
	if len(whole) > 0 {
		slices.SortStableFunc(whole, func(a, b string) int {
			return cmp.Compare(utf8.RuneCountInString(b), utf8.RuneCountInString(a))
		})
		for i, p := range whole {
			whole[i] = regexp.QuoteMeta(p)
		}
		cut = append(cut, splitRegex(strings.Join(whole, "|")))
	}
	f.Normalizer, f.PreTokenizer = normalizers(before...), preTokenizers(cut...)
	after := []*component{replaceText(space, " ")}
	if m.byteFallback {
		after = append(after, &component{Type: "ByteFallback"})
	}
	if m.dummyPrefix {
		after = append(after, &component{Type: "Fuse"}, &component{Type: "Strip", Content: " ", Start: 1})
	} else if m.byteFallback {
		after = append(after, &component{Type: "Fuse"})
	}
	f.Decoder = decoders(after...)
}

// renamed gives the pieces the names that added tokens with their ids have, but for a name that another piece keeps.
func (m *pieces) renamed(s *specials) []string {
	names := make([]string, len(m.list))
	vocab := map[string]int{}
	for id, p := range m.list {
		names[id], vocab[p.text] = p.text, id
	}
	moves := map[int]bool{}
	for _, v := range s.byID {
		moves[v.ID] = true
	}
	for _, v := range s.byID {
		keeper, taken := vocab[v.Content]
		if v.ID < len(names) && vocab[names[v.ID]] == v.ID && !(taken && !moves[keeper]) {
			names[v.ID] = v.Content
		}
	}
	return names
}

// fromPieces adds the control and user-defined pieces to the special tokens, where no file names extra ones.
func (g *gathering) fromPieces(m *pieces, own bool) {
	var list []tokenValue
	off := false
	for _, p := range m.list {
		if p.kind == control || p.kind == userDefined && own {
			list = append(list, tokenValue{AddedToken: AddedToken{Content: p.text, Special: p.kind == control}, flags: true, normalized: &off})
		}
	}
	g.put(oldExtra, nil)
	g.lists[oldExtra] = list
	if !own && m.dummyPrefix {
		for id, v := range g.byID {
			v.normalized = &off
			g.byID[id] = v
		}
	}
}

// parseProto reads a ModelProto.
func parseProto(raw []byte) (*pieces, error) {
	m := &pieces{dummyPrefix: true, squeeze: true, escape: true, unk: protoSpecial{0, "<unk>"}, bos: protoSpecial{1, "<s>"}, eos: protoSpecial{2, "</s>"}}
	err := eachField(raw, func(number protowire.Number, v uint64, data []byte) error {
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
			if m.list = append(m.list, p); len(m.list) > maxVocab {
				return fmt.Errorf("more than %d pieces", maxVocab)
			}
			return cmp.Or(err, p.check(len(m.list)-1))
		case 2: // trainer_spec
			return eachField(data, m.trainer)
		case 3: // normalizer_spec
			return eachField(data, func(number protowire.Number, v uint64, data []byte) error {
				switch number {
				case 2:
					m.charsMap = len(data) > 0
				case 3:
					m.dummyPrefix = v != 0
				case 4:
					m.squeeze = v != 0
				case 5:
					m.escape = v != 0
				}
				return nil
			})
		}
		return nil
	})
	return m, err
}

func (p *protoPiece) check(id int) error {
	switch {
	case p.score != p.score:
		return fmt.Errorf("piece %q: score NaN", short(p.text))
	case p.text == "":
		return fmt.Errorf("piece %d is empty", id)
	case len(p.text) > maxPiece:
		return fmt.Errorf("piece %d has %d bytes, the limit is %d", id, len(p.text), maxPiece)
	case !utf8.ValidString(p.text):
		return fmt.Errorf("piece %d: %q is not UTF-8", id, short(p.text))
	case p.kind < normal || p.kind > byteValue:
		return fmt.Errorf("piece %q: type %d is not supported", short(p.text), p.kind)
	}
	return nil
}

// trainer reads a field of the trainer_spec.
func (m *pieces) trainer(number protowire.Number, v uint64, data []byte) error {
	const bpe = 2
	switch number {
	case 3:
		m.bpe = v == bpe
	case 24:
		m.suffix = v != 0
	case 35:
		m.byteFallback = v != 0
	case 40:
		m.unk.id = int32(v)
	case 41:
		m.bos.id = int32(v)
	case 42:
		m.eos.id = int32(v)
	case 45:
		m.unk.piece = string(data)
	case 46:
		m.bos.piece = string(data)
	case 47:
		m.eos.piece = string(data)
	}
	return nil
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
