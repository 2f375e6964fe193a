//go:build unix

package hostile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

func init() { kinds["torch"] = torchCases }

const binFile = "model/pytorch_model.bin"

// stored is how one tensor is pickled: opcodes for each part.
type stored struct{ name, function, class, key, elements, offset, shape, stride string }

func picked(text string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(text)))) + text
}

func number(n int) string { return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }

func tuple(numbers ...int) string {
	var b strings.Builder
	b.WriteByte('(')
	for _, n := range numbers {
		b.WriteString(number(n))
	}
	return b.String() + "t"
}

func (s stored) opcodes() string {
	return s.name + s.function + "((" + picked("storage") + s.class + s.key + picked("cpu") + s.elements + "tQ" + s.offset + s.shape + s.stride + "\x89ccollections\nOrderedDict\n)RtR"
}

// torchParts are the tiny model's tensors, and their data by key.
func torchParts() (list []stored, data [][]byte) {
	header, raw := apart(clean()[weightsFile].data)
	d := json.NewDecoder(bytes.NewReader(header))
	var all map[string]json.RawMessage
	if err := d.Decode(&all); err != nil {
		panic(err)
	}
	for name, text := range all {
		var t struct {
			Shape   []int
			Offsets [2]int `json:"data_offsets"`
		}
		if name == "__metadata__" {
			continue
		}
		if err := json.Unmarshal(text, &t); err != nil {
			panic(err)
		}
		n, stride := 1, make([]int, len(t.Shape))
		for i := range slices.Backward(t.Shape) {
			stride[i] = n
			n *= t.Shape[i]
		}
		list = append(list, stored{name: picked(name), function: "ctorch._utils\n_rebuild_tensor_v2\n", class: "ctorch\nBFloat16Storage\n", elements: number(n), offset: number(0), shape: tuple(t.Shape...), stride: tuple(stride...),
			key: fmt.Sprintf("%09d", t.Offsets[0])}) // to be sorted by
		data = append(data, raw[t.Offsets[0]:t.Offsets[1]])
	}
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(list[a].key, list[b].key) })
	sorted, bytes := make([]stored, len(list)), make([][]byte, len(list))
	for i, k := range order {
		sorted[i], bytes[i] = list[k], data[k]
		sorted[i].key = picked(fmt.Sprint(i))
	}
	return sorted, bytes
}

// zipped is a file of torch.save: a pickle and storages.
func zipped(pickle string, data [][]byte, method uint16, more func(z *zip.Writer)) []byte {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	add := func(name string, raw []byte) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err == nil {
			_, err = w.Write(raw)
		}
		if err != nil {
			panic(err)
		}
	}
	add("archive/data.pkl", []byte(pickle))
	for i, raw := range data {
		add(fmt.Sprintf("archive/data/%d", i), raw)
	}
	if more != nil {
		more(z)
	}
	add("archive/version", []byte("3\n"))
	if err := z.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func pickled(list []stored) string {
	var b strings.Builder
	b.WriteString("\x80\x02}(")
	for _, s := range list {
		b.WriteString(s.opcodes())
	}
	return b.String() + "u."
}

func torchClean() input {
	list, data := torchParts()
	return clean().without(weightsFile).file(binFile, zipped(pickled(list), data, zip.Store, nil))
}

func torchCases() (list []hostile) {
	base := torchClean()
	parts, data := torchParts()
	good := base[binFile].data
	add := func(name string, make func() []byte) *hostile {
		list = append(list, hostile{name: name, clean: torchClean, runs: [][]string{inspect(), ppl()}, make: func() input { return base.file(binFile, make()) }})
		return &list[len(list)-1]
	}
	pickle := func(name, text string) *hostile {
		return add(name, func() []byte { return zipped(text, data, zip.Store, nil) })
	}
	huge := "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f" // LONG1 of 2^63−1
	for name, change := range map[string]func(s *stored){
		"a name that is a number": func(s *stored) { s.name = number(1) }, "a name that is nothing": func(s *stored) { s.name = "N" }, "os.system": func(s *stored) { s.function = "cos\nsystem\n" },
		"builtins.eval": func(s *stored) { s.function = "c__builtin__\neval\n" }, "a name of a function with escapes": func(s *stored) { s.function = "c\x1b[31m\n\x1b]0;x\x07\n" },
		"a function that is a number": func(s *stored) { s.function = number(1) }, "a class that is no storage": func(s *stored) { s.class = "ctorch\nload\n" },
		"a class of another width": func(s *stored) { s.class = "ctorch\nDoubleStorage\n" }, "a quantized class": func(s *stored) { s.class = "ctorch\nQInt8Storage\n" }, "a key that leaves": func(s *stored) { s.key = picked("../../etc/passwd") },
		"a key of a megabyte": func(s *stored) { s.key = picked(strings.Repeat("k", 1<<20)) }, "a key that is not there": func(s *stored) { s.key = picked("99") }, "a key with escapes": func(s *stored) { s.key = picked("\x1b[31m") },
		"elements below 0": func(s *stored) { s.elements = number(-1) }, "huge elements": func(s *stored) { s.elements = huge }, "no elements": func(s *stored) { s.elements = number(0) },
		"an offset below 0": func(s *stored) { s.offset = number(-1) }, "a huge offset": func(s *stored) { s.offset = huge }, "an offset of 1": func(s *stored) { s.offset = number(1) },
		"a shape below 0": func(s *stored) { s.shape = tuple(-1, -1) }, "a huge shape": func(s *stored) { s.shape = "(" + huge + huge + "t" }, "a shape of 2^31": func(s *stored) { s.shape = tuple(1<<30, 1<<30) },
		"a shape of nothing": func(s *stored) { s.shape = ")" }, "a shape of texts": func(s *stored) { s.shape = "(" + picked("a") + "t" }, "a long shape": func(s *stored) { s.shape = "(" + strings.Repeat(number(1), 100_000) + "t" },
		"a shape that is no tuple": func(s *stored) { s.shape = number(3) }, "strides of 0": func(s *stored) { s.stride = tuple(0, 0) }, "strides below 0": func(s *stored) { s.stride = tuple(-32, -1) },
		"huge strides": func(s *stored) { s.stride = "(" + huge + huge + "t" }, "one stride": func(s *stored) { s.stride = tuple(1) }, "no strides": func(s *stored) { s.stride = "N" },
	} {
		for _, at := range []int{0, len(parts) - 1} {
			changed := slices.Clone(parts)
			change(&changed[at])
			ok := never
			if name == "strides of 0" { // what torch calls expanded
				ok = sane
			}
			pickle(fmt.Sprintf("%s, of tensor %d", name, at), pickled(changed)).ok = ok
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "only its end": "\x80\x02.", "a list": "\x80\x02].", "no end": "\x80\x02}", "a deep tuple": "\x80\x02" + strings.Repeat("(", 1<<20) + strings.Repeat("t", 1<<20) + ".", "deep lists": "\x80\x02" + strings.Repeat("](", 300_000) + strings.Repeat("e", 300_000) + ".",
		"marks": "\x80\x02" + strings.Repeat("(", 10<<20), "empty stacks": "\x80\x02" + strings.Repeat("0", 1000) + ".", "a text past its end": "\x80\x02X\xff\xff\xff\x7f.", "bytes of 2^63": "\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
		"a long of 2^31 bytes": "\x80\x02\x8b\xff\xff\xff\x7f.", "a memo of 2^32": "\x80\x02Nr\xff\xff\xff\xff.", "a memo that is not there": "\x80\x02j\xff\xff\xff\xff.", "a list that doubles": "\x80\x02]q\x00" + strings.Repeat("(h\x00h\x00e", 100_000) + ".",
		"a tuple that doubles": "\x80\x02Nq\x00" + strings.Repeat("h\x00h\x00\x86q\x00", 60) + ".", "a dictionary of itself": "\x80\x02}q\x00(X\x01\x00\x00\x00ah\x00u.", "a list as a key": "\x80\x02}(]Nu.", "a frame of 2^63": "\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.",
		"an extension": "\x80\x02\x82\x01.", "an unknown opcode": "\x80\x02\xff.", "protocol 99": "\x80\x63}.", "a line without end": "\x80\x02c" + strings.Repeat("a", 10<<20), "a number without end": "\x80\x02I" + strings.Repeat("9", 1<<20) + "\n.", "os.system called": "\x80\x02cposix\nsystem\n" + picked("touch ran") + "\x85R.",
		"a build": "\x80\x02ccollections\nOrderedDict\n)R}b.", "an inst": "\x80\x02(ios\nsystem\n.", "a reduce of nothing": "\x80\x02NNR.", "a million pops": "\x80\x02" + strings.Repeat("N0", 1<<20) + "}.",
	} {
		pickle("the pickle is "+name, text).ok = never
	}
	for name, make := range map[string]func() []byte{
		"deflated": func() []byte { return zipped(pickled(parts), data, zip.Deflate, nil) },
		"a bomb":   func() []byte { return zipped(pickled(parts), [][]byte{make([]byte, 256<<20)}, zip.Deflate, nil) },
		"two pickles": func() []byte {
			return zipped(pickled(parts), data, zip.Store, func(z *zip.Writer) { z.Create("archive/data.pkl") })
		},
		"a file that leaves": func() []byte {
			return zipped(pickled(parts), data, zip.Store, func(z *zip.Writer) { z.Create("../../../tmp/x") })
		},
		"a hundred thousand files": func() []byte {
			return zipped(pickled(parts), data, zip.Store, func(z *zip.Writer) {
				for i := range 100_000 {
					z.Create(fmt.Sprintf("archive/x%d", i))
				}
			})
		},
		"short storages": func() []byte { return zipped(pickled(parts), [][]byte{{1, 2}}, zip.Store, nil) },
	} {
		add("an archive with "+name, make)
	}
	rng := random("torch")
	for range 12 {
		at := rng.IntN(len(good))
		add(fmt.Sprintf("cut at %d", at), func() []byte { return good[:at] }).ok = never
	}
	pkl := bytes.Index(good, []byte("\x80\x02}("))
	for range 25 {
		at, bit := pkl+rng.IntN(1500), rng.IntN(8)
		add(fmt.Sprintf("bit %d of byte %d", bit, at), func() []byte { return flip(good, at, bit) }).ok = sane
	}
	for range 15 {
		at, bit := len(good)-1-rng.IntN(1500), rng.IntN(8)
		add(fmt.Sprintf("bit %d of byte %d of its directory", bit, at), func() []byte { return flip(good, at, bit) }).ok = sane
	}
	for name, e := range special() {
		list = append(list, hostile{name: "the file is " + name, ok: never, runs: [][]string{inspect()}, make: func() input {
			return base.with(binFile, e).with("model/loop", entry{mode: fs.ModeSymlink, to: "pytorch_model.bin"})
		}})
	}
	slices.SortStableFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return list
}
