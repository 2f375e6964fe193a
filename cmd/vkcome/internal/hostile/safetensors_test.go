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

func init() { kinds["safetensors"] = safetensorsCases }

const weightsFile = "model/model.safetensors"

// part is a safetensors file taken apart: the header's text and the data.
func apart(raw []byte) (header, data []byte) {
	n := binary.LittleEndian.Uint64(raw)
	return raw[8 : 8+n], raw[8+n:]
}

func joined(header, data []byte) []byte {
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header, data)
}

// dtypes, shapes and offsets are what may stand in the header for those of a tensor.
var (
	dtypes = []string{`""`, `"I16"`, `"F64"`, `"BOOL"`, `"F8_E4M3"`, `"bf16"`, `"F32"`, `"BF16\u001b[31m"`, `17`, `null`, `["BF16"]`, `{}`, `"` + strings.Repeat("F", 1<<20) + `"`}
	shapes = []string{`[]`, `[0]`, `[-1]`, `[-48,-32]`, `[4611686018427387904,4]`, `[4294967296,4294967296]`, `[9223372036854775807,2]`, `[1e99]`, `[1.5,3]`, `["48",32]`, `null`, `{}`,
		`[48,32,1]`, `[1536]`, `[18446744073709551616]`, strings.Repeat("[", 10000) + strings.Repeat("]", 10000), "[" + strings.Repeat("1,", 1<<16) + "1]", `[null,32]`}
	offsets = []string{`[0,0]`, `[10,0]`, `[0,3072]`, `[-3072,0]`, `[1,3073]`, `[0,9223372036854775807]`, `[9223372036854775807,9223372036854775807]`, `[0,18446744073709551615]`,
		`[0,18446744073709551616]`, `[0.5,3072.5]`, `["0","3072"]`, `[0]`, `[0,1,2]`, `null`, `{}`, `[null,null]`, `[4294967296,4294970368]`, `[1e30,1e31]`}
)

func safetensorsCases() (list []hostile) {
	base := clean()
	header, data := apart(base[weightsFile].data)
	add := func(name string, make func() []byte) *hostile {
		list = append(list, hostile{name: name, clean: clean, runs: [][]string{inspect(), ppl()}, make: func() input { return base.file(weightsFile, make()) }})
		return &list[len(list)-1]
	}
	head := func(name string, make func() []byte) { add(name, func() []byte { return joined(make(), data) }) }

	for _, n := range []uint64{0, 1, 7, uint64(len(header)) - 1, uint64(len(header)) + 1, uint64(len(header) + len(data)), 1 << 27, 1 << 31, 1 << 40, 1 << 63, math.MaxUint64, math.MaxUint64 - 7} {
		add(fmt.Sprintf("header of %d", n), func() []byte {
			out := bytes.Clone(base[weightsFile].data)
			binary.LittleEndian.PutUint64(out, n)
			return out
		}).ok = never
	}
	for _, n := range []int{0, 4, 8, 9, 8 + len(header)/2, 8 + len(header), 9 + len(header), 8 + len(header) + len(data)/2, 7 + len(header) + len(data)} {
		add(fmt.Sprintf("cut at %d", n), func() []byte { return base[weightsFile].data[:n] }).ok = never
	}
	for _, n := range []int{1, 1 << 20} {
		add(fmt.Sprintf("longer by %d", n), func() []byte { return slices.Concat(base[weightsFile].data, make([]byte, n)) })
	}
	all, pairs := places(header)
	for _, tensor := range []string{"model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight", "model.norm.weight"} {
		for field, texts := range map[string][]string{"dtype": dtypes, "shape": shapes, "data_offsets": offsets, "": {`null`, `[]`, `"x"`, `1`, `{}`, `{"dtype":"BF16"}`, `{"shape":[1],"data_offsets":[0,2]}`}} {
			path := "." + tensor
			if field != "" {
				path += "." + field
			}
			at := slices.IndexFunc(all, func(p place) bool { return p.path == path })
			for i, text := range texts {
				head(fmt.Sprintf("%s %s %d %s", tensor, field, i, clip(text)), func() []byte { return splice(header, all[at], text) })
			}
		}
		at := slices.IndexFunc(pairs, func(p place) bool { return p.path == "."+tensor })
		for _, name := range slices.Sorted(maps.Keys(names)) {
			head(tensor+" is called "+name, func() []byte {
				return bytes.Replace(header, []byte(`"`+tensor+`"`), quoted(names[name]), 1)
			})
		}
		head(tensor+" is there twice", func() []byte {
			return splice(header, pairs[at], string(header[pairs[at].begin:pairs[at].end])+","+string(header[pairs[at].begin:pairs[at].end]))
		})
	}
	head("a name of 10 MB", func() []byte {
		return slices.Concat([]byte(`{"`+strings.Repeat("n", 10<<20)+`":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]},`), header[1:])
	})
	for i, text := range []string{`null`, `[]`, `"x"`, `{"a":null}`, `{"a":1}`, `{"a":{"b":"c"}}`, `{"format":"pt\u001b[31m"}`, `{"a":"` + strings.Repeat("x", 1<<20) + `"}`,
		`{"a":"b","a":"c"}`, `{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}`, `{"total_parameters":"-1"}`} {
		head(fmt.Sprintf("metadata %d %s", i, clip(text)), func() []byte { return slices.Concat([]byte(`{"__metadata__":`+text+`,`), header[1:]) })
	}
	for name, text := range map[string]string{
		"nothing": "", "blanks": strings.Repeat(" ", 1<<20), "an empty object": "{}", "a list": "[]", "braces": strings.Repeat("{", 1<<20), "a deep object": strings.Repeat(`{"a":`, 100_000),
		"a mark before it": "\ufeff" + string(header), "blanks behind it": string(header) + strings.Repeat(" ", 1<<16), "rubbish behind it": string(header) + "x", "two objects": string(header) + "{}",
		"zeros behind it": string(header) + "\x00\x00", "a comment": "/**/" + string(header), "single quotes": strings.ReplaceAll(string(header), `"`, `'`), "UTF-16": utf16(string(header)),
	} {
		head("the header is "+name, func() []byte { return []byte(text) })
	}
	head("a hundred thousand empty tensors", func() []byte {
		var b bytes.Buffer
		b.WriteString("{")
		for i := range 100_000 {
			fmt.Fprintf(&b, `"t%d":{"dtype":"BF16","shape":[0],"data_offsets":[0,0]},`, i)
		}
		b.Write(header[1:])
		return b.Bytes()
	})
	list[len(list)-1].ok = sane // inspect counts them
	rng := random("safetensors")
	for _, c := range changes(rng, header, 60) {
		head(c.name, c.make)
	}
	slices.SortFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return append(list, numberCases(base, header, data)...)
}

// numberCases put what is no number into weights. Every row of the embedding counts, those that no text uses too.
func numberCases(base input, header, data []byte) (list []hostile) {
	all, _ := places(header)
	for _, tensor := range []string{"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", "model.layers.0.input_layernorm.weight", "model.layers.2.mlp.down_proj.weight", "model.layers.1.self_attn.q_proj.weight"} {
		at := slices.IndexFunc(all, func(p place) bool { return p.path == "."+tensor+".data_offsets" })
		var begin, end int
		if _, err := fmt.Sscanf(string(header[all[at].begin:all[at].end]), "[%d,%d]", &begin, &end); err != nil {
			panic(err)
		}
		for name, bits := range map[string]uint16{"NaN": 0x7fc0, "a signalling NaN": 0xff81, "infinity": 0x7f80, "minus infinity": 0xff80} {
			for where, k := range map[string]int{"first": begin, "last": end - 2, "middle": (begin + end) / 4 * 2} {
				for verb, run := range map[string][]string{"prune": prune(), "convert": {"convert", "model", "out.gguf", "-q"}} {
					if verb == "convert" && where != "middle" {
						continue
					}
					list = append(list, hostile{name: fmt.Sprintf("%s: %s is the %s of %s", verb, name, where, tensor), ok: never, want: map[string]string{"prune": tensor, "convert": "cannot be stored"}[verb], runs: [][]string{run}, make: func() input {
						out := bytes.Clone(data)
						binary.LittleEndian.PutUint16(out[k:], bits)
						return base.file(weightsFile, joined(header, out))
					}})
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return list
}

// quoted is a text of JSON that says what a name is, be it as invalid as it may.
func quoted(name string) []byte {
	var b bytes.Buffer
	b.WriteByte('"')
	for i := range len(name) {
		switch c := name[i]; {
		case c < ' ' || c == '"' || c == '\\':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.Bytes()
}

func utf16(text string) string {
	var b strings.Builder
	b.WriteString("\xff\xfe")
	for i := range len(text) {
		b.WriteByte(text[i])
		b.WriteByte(0)
	}
	return b.String()
}
