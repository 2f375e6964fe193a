//go:build unix

package hostile

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func init() { kinds["gguf"] = ggufCases }

// ran runs the program on a clean input and gives the folder as it is then.
func ran(name string, in input, commands ...[]string) input {
	return once("ran "+name, func() (input, error) {
		dir, err := os.MkdirTemp("", "hostile-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		if err := in.write(dir); err != nil {
			return nil, err
		}
		for _, args := range commands {
			cmd := exec.Command(program, args...)
			cmd.Dir, cmd.Env = dir, append(environment(), "HOME="+home, "XDG_CACHE_HOME="+filepath.Join(home, ".cache"), "HF_HUB_OFFLINE=1")
			if out, err := cmd.CombinedOutput(); err != nil {
				return nil, fmt.Errorf("vkcome %q: %w: %s", args, err, out)
			}
		}
		all, err := folder(dir, ".")
		out := input{}
		for path, e := range all {
			out[strings.TrimPrefix(path, "./")] = e
		}
		return out, err
	})
}

func converted() input {
	return ran("convert", clean(), []string{"convert", "model", "m.gguf", "-q"}).without("model")
}

// spot is a number or a text in a GGUF file's header.
type spot struct {
	name     string
	at, size int
}

// spots lists them.
func spots(raw []byte) (list []spot) {
	at := 4
	take := func(name string, size int) uint64 {
		list = append(list, spot{name, at, size})
		var b [8]byte
		copy(b[:], raw[at:at+min(size, 8)])
		at += size
		return binary.LittleEndian.Uint64(b[:])
	}
	text := func(name string) string {
		n := int(take(name+"'s length", 8))
		take(name, n)
		return string(raw[at-n : at])
	}
	take("version", 4)
	tensors, pairs := take("number of tensors", 8), take("number of pairs", 8)
	sizes := []int{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}
	var value func(name string, kind uint64, deep bool)
	value = func(name string, kind uint64, deep bool) {
		switch kind {
		case 8:
			text(name)
		case 9:
			of := take(name+"'s elements' type", 4)
			for i := range take(name+"'s count", 8) {
				before := len(list)
				value(fmt.Sprintf("%s[%d]", name, i), of, true)
				if i > 2 { // a few of each are enough
					list = list[:before]
				}
			}
		default:
			take(name, sizes[kind])
		}
	}
	for i := range pairs {
		key := text(fmt.Sprintf("key %d", i))
		value(key, take("the type of "+key, 4), false)
	}
	for i := range tensors {
		name := text(fmt.Sprintf("tensor %d", i))
		for d := range take(name+"'s dimensions", 4) {
			take(fmt.Sprintf("%s's dimension %d", name, d), 8)
		}
		take(name+"'s type", 4)
		take(name+"'s offset", 8)
	}
	return list
}

func ggufCases() (list []hostile) {
	base := input{"ids.json": clean()["ids.json"], "text.txt": clean()["text.txt"]}
	raw := converted()["m.gguf"].data
	add := func(name string, make func() []byte) *hostile {
		list = append(list, hostile{name: name, ok: sane, make: func() input { return base.file("m.gguf", make()) },
			runs: [][]string{{"inspect", "m.gguf", "--json", "-q"}, {"eval", "ppl", "m.gguf", "--tokens", "ids.json", "--window", "16", "--samples", "2", "--json", "-q"}}})
		return &list[len(list)-1]
	}
	all, rng := spots(raw), random("gguf")
	numbers := map[string]uint64{"0": 0, "1": 1, "2": 2, "7": 7, "13": 13, "99": 99, "2^20": 1 << 20, "2^31": 1 << 31, "2^32-1": math.MaxUint32, "2^40": 1 << 40, "2^62": 1 << 62, "2^63": 1 << 63, "2^64-1": math.MaxUint64, "NaN": 0x7fc00000}
	for seen := map[string]bool{}; len(seen) < 90; {
		s := all[rng.IntN(len(all))]
		if s.size == 0 {
			continue
		}
		with := make([]byte, s.size)
		title := s.name + " is "
		if strings.HasSuffix(s.name, "length") || s.size <= 8 && rng.IntN(8) > 0 {
			name := slices.Sorted(maps.Keys(numbers))[rng.IntN(len(numbers))]
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], numbers[name])
			title += name
			copy(with, b[:])
		} else {
			name := slices.Sorted(maps.Keys(names))[rng.IntN(len(names))]
			title += name
			copy(with, names[name])
		}
		if !seen[title] {
			seen[title] = true
			add(title, func() []byte { return slices.Concat(raw[:s.at], with, raw[s.at+s.size:]) })
		}
	}
	for _, s := range all[:3] { // version and counts, all numbers
		for _, name := range slices.Sorted(maps.Keys(numbers)) {
			add("always: "+s.name+" is "+name, func() []byte {
				return slices.Concat(raw[:s.at], binary.LittleEndian.AppendUint64(nil, numbers[name])[:s.size], raw[s.at+s.size:])
			})
		}
	}
	end := all[len(all)-1].at
	for _, at := range []int{0, 3, 4, 8, 23, 24, 30, end / 2, end, end + 8, (end + len(raw)) / 2, len(raw) - 1} {
		add(fmt.Sprintf("cut at %d", at), func() []byte { return raw[:at] }).ok = never
	}
	for range 15 {
		at, bit := rng.IntN(end), rng.IntN(8)
		add(fmt.Sprintf("bit %d of byte %d", bit, at), func() []byte { return flip(raw, at, bit) })
	}
	add("big endian", func() []byte { return slices.Concat([]byte("GGUF\x00\x00\x00\x03"), raw[8:]) })
	// A list in a list in a list, which no file needs.
	add("lists in lists", func() []byte {
		b := slices.Concat([]byte("GGUF\x03\x00\x00\x00"), make([]byte, 8), []byte("\x01\x00\x00\x00\x00\x00\x00\x00"), []byte("\x01\x00\x00\x00\x00\x00\x00\x00a\x09\x00\x00\x00"))
		return append(b, []byte(strings.Repeat("\x09\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00", 200_000))...)
	}).ok = never
	for name, e := range special() {
		list = append(list, hostile{name: "the file is " + name, ok: never, runs: [][]string{{"inspect", "m.gguf"}}, make: func() input {
			return base.with("m.gguf", e).with("loop", entry{mode: fs.ModeSymlink, to: "m.gguf"})
		}})
	}
	for _, name := range []string{"m-00001-of-00002.gguf", "m-00001-of-99999.gguf", "m-00000-of-00000.gguf", "m-00003-of-00002.gguf"} {
		list = append(list, hostile{name: "called " + name, ok: never, runs: [][]string{{"inspect", name}}, make: func() input { return base.file(name, raw) }})
	}
	slices.SortStableFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return list
}
