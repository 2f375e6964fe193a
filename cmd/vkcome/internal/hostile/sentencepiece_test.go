//go:build unix

package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

func init() { kinds["sentencepiece"] = sentencePieceCases }

// wire appends a field of a protocol buffer: a text, a varint or a float.
func wire(b []byte, field uint64, v any) []byte {
	switch v := v.(type) {
	case string:
		return append(binary.AppendUvarint(binary.AppendUvarint(b, field<<3|2), uint64(len(v))), v...)
	case float32:
		return binary.LittleEndian.AppendUint32(binary.AppendUvarint(b, field<<3|5), math.Float32bits(v))
	case int:
		return binary.AppendUvarint(binary.AppendUvarint(b, field<<3), uint64(v))
	}
	panic(fmt.Sprintf("%T", v))
}

type piece struct {
	text  string
	score float32
	kind  int // 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
}

// sentencePieces is a tokenizer.model of pieces, and fields of its trainer and normalizer.
func sentencePieces(pieces []piece, trainer, normalizer []byte) (b []byte) {
	for _, p := range pieces {
		b = wire(b, 1, string(wire(wire(wire(nil, 1, p.text), 2, p.score), 3, p.kind)))
	}
	return wire(wire(b, 2, string(trainer)), 3, string(normalizer))
}

func goodPieces() []piece {
	list := []piece{{"<unk>", 0, 2}, {"<s>", 0, 3}, {"</s>", 0, 3}}
	for b := range 256 {
		list = append(list, piece{fmt.Sprintf("<0x%02X>", b), 0, 6})
	}
	return append(list, piece{"▁", -1, 1})
}

var (
	goodTrainer    = wire(wire(nil, 3, 2), 35, 1)
	goodNormalizer = wire(wire(wire(nil, 1, "identity"), 3, 1), 5, 1)
)

func sentencePieceCases() (list []hostile) {
	base := clean().without(tokenizerFile).without("model/tokenizer_config.json").without("model/special_tokens_map.json")
	add := func(name string, make func() []byte) {
		list = append(list, hostile{name: name, ok: sane, runs: [][]string{tokenize(), pplText()}, make: func() input { return base.file("model/tokenizer.model", make()) }})
	}
	good := sentencePieces(goodPieces(), goodTrainer, goodNormalizer)
	for _, n := range []int{1, 1000, 1_000_000, 20_000_000} {
		add(fmt.Sprintf("%d empty pieces", n), func() []byte { return slices.Concat(bytes.Repeat([]byte("\x0a\x00"), n), good) })
	}
	add("a piece of 10 MB", func() []byte {
		return sentencePieces(append(goodPieces(), piece{strings.Repeat("a", 10<<20), 1, 1}), goodTrainer, goodNormalizer)
	})
	add("a hundred thousand pieces that are one", func() []byte {
		return sentencePieces(append(goodPieces(), slices.Repeat([]piece{{"a", -2, 1}}, 100_000)...), goodTrainer, goodNormalizer)
	})
	for name, s := range map[string]float32{"NaN": float32(math.NaN()), "infinite": float32(math.Inf(1)), "minus infinite": float32(math.Inf(-1)), "huge": math.MaxFloat32} {
		add("scores are "+name, func() []byte {
			return sentencePieces(append(goodPieces(), piece{"th", s, 1}, piece{"he", s, 1}), goodTrainer, goodNormalizer)
		})
	}
	for _, kind := range []int{0, 2, 3, 4, 5, 6, 7, 1 << 40} {
		add(fmt.Sprintf("a piece of type %d", kind), func() []byte {
			return sentencePieces(append(goodPieces(), piece{"th", 1, kind}), goodTrainer, goodNormalizer)
		})
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		add("a piece called "+name, func() []byte {
			return sentencePieces(append(goodPieces(), piece{names[name], 1, 4}), goodTrainer, goodNormalizer)
		})
	}
	for _, kind := range []int{0, 1, 3, 4, 99, -1} {
		add(fmt.Sprintf("a model of type %d", kind), func() []byte { return sentencePieces(goodPieces(), wire(nil, 3, kind), goodNormalizer) })
	}
	for _, field := range []uint64{40, 41, 42, 43} {
		for _, id := range []int{-1, 5, 260, 1 << 31, math.MaxInt64} {
			add(fmt.Sprintf("the token of field %d is %d", field, id), func() []byte {
				return sentencePieces(goodPieces(), wire(slices.Clone(goodTrainer), field, id), goodNormalizer)
			})
		}
	}
	for name, normalizer := range map[string][]byte{"a map of noise": wire(wire(nil, 1, "nmt_nfkc"), 2, string(noise(5000))), "a map of nothing": wire(nil, 2, ""), "a map that says it is huge": wire(nil, 2, "\xff\xff\xff\xff"), "rules of noise": wire(nil, 6, string(noise(100)))} {
		add("the normalizer is "+name, func() []byte { return sentencePieces(goodPieces(), goodTrainer, normalizer) })
	}
	for name, text := range map[string]string{
		"nothing": "", "noise": string(noise(3000)), "a length past its end": "\x0a\xff\xff\xff\xff\x0f", "a length of 2^63": "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "a varint without end": strings.Repeat("\xff", 100),
		"groups": strings.Repeat("\x0b", 100_000), "field 0": "\x00\x00", "nested trainers": strings.Repeat("\x12\x7f", 64), "zeros": strings.Repeat("\x00", 1<<20),
	} {
		add("it begins with "+name, func() []byte { return slices.Concat([]byte(text), good) })
		add("it is "+name, func() []byte { return []byte(text) })
	}
	rng := random("sentencepiece")
	for range 12 {
		at := rng.IntN(len(good))
		add(fmt.Sprintf("cut at %d", at), func() []byte { return good[:at] })
	}
	for range 20 {
		at, bit := rng.IntN(len(good)), rng.IntN(8)
		add(fmt.Sprintf("bit %d of byte %d", bit, at), func() []byte { return flip(good, at, bit) })
	}
	slices.SortStableFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return list
}
