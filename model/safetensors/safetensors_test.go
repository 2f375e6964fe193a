package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
)

func bytesOf(t *testing.T, tensor Tensor) []byte {
	t.Helper()
	data, err := tensor.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// file builds a file from the text of its header and the number of data bytes.
func file(header string, data int) []byte {
	raw := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(raw, header...), make([]byte, data)...)
}

func TestCorrupt(t *testing.T) {
	entry := func(name, shape string, begin, end int) string {
		return fmt.Sprintf(`"%s":{"dtype":"F16","shape":%s,"data_offsets":[%d,%d]}`, name, shape, begin, end)
	}
	a := entry("a", "[2,3]", 0, 12)
	for _, c := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"empty", nil, "truncated: 0 bytes, a header needs 8"},
		{"seven bytes", make([]byte, 7), "truncated: 7 bytes, a header needs 8"},
		{"header beyond file", file("{}", 0)[:9], "truncated: header of 2 bytes, the file has 1 after its length"},
		{"header of 2^63", binary.LittleEndian.AppendUint64(nil, 1<<63), "header of 9223372036854775808 bytes, the limit is 100000000"},
		{"no header", file("", 0), "header is not a JSON object"},
		{"array", file("[]", 0), "header is not a JSON object"},
		{"cut JSON", file("{"+a, 12), "header: unexpected EOF"},
		{"cut entry", file(`{"a":{"dtype":"F16"`, 12), "tensor a: unexpected EOF"},
		{"text after JSON", file("{"+a+"}x", 12), "header: 1 bytes follow the JSON object"},
		{"named twice", file("{"+a+","+entry("a", "[1]", 12, 14)+"}", 14), "tensor a: named twice"},
		{"name of two lines", file(`{"a\nb":3}`, 0), `tensor "a\nb": the name has control characters`},
		{"not an entry", file(`{"a":3}`, 0), "tensor a: json: cannot unmarshal number"},
		{"no shape", file(`{"a":{"dtype":"F16","data_offsets":[0,2]}}`, 2), "tensor a: no shape"},
		{"unknown dtype", file(`{"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,1]}}`, 1), `tensor a: unknown dtype "Q4"`},
		{"three offsets", file(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4,4]}}`, 4), "tensor a: data_offsets [0 4 4], expected"},
		{"negative dimension", file("{"+entry("a", "[-2,-3]", 0, 12)+"}", 12), "tensor a: shape [-2 -3] has a negative dimension"},
		{"fraction", file("{"+entry("a", "[1.5]", 0, 3)+"}", 3), "tensor a: json: cannot unmarshal number 1.5"},
		{"overflow", file("{"+entry("a", "[4611686018427387904,4]", 0, 0)+"}", 0), "tensor a: shape [4611686018427387904 4] of F16 overflows"},
		{"backwards", file("{"+entry("a", "[1]", 4, 2)+"}", 4), "tensor a: data_offsets [4 2] are no range"},
		{"negative offset", file("{"+entry("a", "[1]", -2, 0)+"}", 4), "tensor a: data_offsets [-2 0] are no range"},
		{"wrong size", file("{"+entry("a", "[2,3]", 0, 14)+"}", 14), "tensor a: 14 bytes, shape [2 3] of F16 needs 12"},
		{"overlap", file("{"+a+","+entry("b", "[1]", 10, 12)+"}", 12), "tensor b: overlaps tensor a"},
		{"hole", file("{"+a+","+entry("b", "[1]", 14, 16)+"}", 16), "tensor b: a hole of 2 bytes after a"},
		{"hole in front", file("{"+entry("b", "[1]", 2, 4)+"}", 4), "tensor b: a hole of 2 bytes after the header"},
		{"truncated", file("{"+a+"}", 11), "truncated: tensor a ends at byte 77, the file has 76"},
		{"huge", file("{"+entry("a", "[4611686018427387903]", 0, 9223372036854775806)+"}", 4), "truncated: tensor a ends at byte 9223372036854775904, the file has 102"},
		{"bytes left over", file("{"+a+"}", 13), "1 bytes after a belong to no tensor"},
		{"metadata not text", file(`{"__metadata__":{"n":1}}`, 0), "header: __metadata__: json: cannot unmarshal number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.safetensors")
			if err := os.WriteFile(path, c.raw, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, open := range []func() (*Checkpoint, error){
				func() (*Checkpoint, error) { return OpenFile(path) },
				func() (*Checkpoint, error) { return OpenBytes(path, c.raw) },
			} {
				_, err := open()
				want := "safetensors: " + path + ": " + c.want
				if err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
		})
	}
}

func TestRead(t *testing.T) {
	raw := file(`{ "b":{"dtype":"F32","shape":[],"data_offsets":[6,10]}, "__metadata__":{"format":"pt"},`+
		`"e":{"dtype":"I64","shape":[0,5],"data_offsets":[6,6]},"a":{"dtype":"F16","shape":[3],"data_offsets":[0,6]}}   `, 10)
	raw[len(raw)-1] = 0x3f
	c, err := OpenBytes("x", raw)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Names(); !slices.Equal(got, []string{"a", "b", "e"}) {
		t.Errorf("names %v", got)
	}
	if got := c.Metadata(); !maps.Equal(got, map[string]string{"format": "pt"}) {
		t.Errorf("metadata %v", got)
	}
	b, ok := c.Lookup("b")
	if !ok || b.Name != "b" || b.DType != "F32" || b.Shape == nil || len(b.Shape) != 0 || b.File != "x" || !bytes.Equal(bytesOf(t, b), []byte{0, 0, 0, 0x3f}) {
		t.Errorf("b is %+v with %v", b, bytesOf(t, b))
	}
	if d, err := b.Float(); err != nil || d != dtype.F32 || b.NumElements() != 1 {
		t.Errorf("b: %v, %v, %d elements", d, err, b.NumElements())
	}
	e, _ := c.Lookup("e")
	if _, err := e.Float(); err == nil || err.Error() != "safetensors: x: tensor e: dtype I64, expected F32, F16 or BF16" {
		t.Errorf("e: %v", err)
	}
	if _, ok := c.Lookup("c"); ok || e.NumElements() != 0 {
		t.Errorf("c found, or e has %d elements", e.NumElements())
	}
}

func TestDTypes(t *testing.T) {
	for name, size := range sizes {
		raw := file(fmt.Sprintf(`{"a":{"dtype":"%s","shape":[3],"data_offsets":[0,%d]}}`, name, 3*size), 3*size)
		if _, err := OpenBytes("x", raw); err != nil {
			t.Error(err)
		}
	}
}

var entries = []Entry{{"w.1", "F32", []int{2, 3}}, {"a", "BF16", []int{5}}, {"s", "I64", nil}, {"z", "U8", []int{0, 4}}, {"<ü>", "U8", []int{7}}}

// fill writes entries with bytes that count up from their index.
func fill(t *testing.T, w *Writer) map[string][]byte {
	t.Helper()
	want := map[string][]byte{}
	for i, e := range entries {
		size, err := e.Size()
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(i + j)
		}
		want[e.Name] = data
		if i%2 == 0 {
			err = w.Write(e.Name, data)
		} else {
			var stream io.Writer
			if stream, err = w.Tensor(e.Name); err == nil {
				_, err = io.Copy(stream, iotestHalves(data))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return want
}

// iotestHalves hides WriteTo, so that Copy goes through the writer in pieces.
func iotestHalves(data []byte) io.Reader {
	return io.MultiReader(bytes.NewReader(data[:len(data)/2]), bytes.NewReader(data[len(data)/2:]))
}

func compare(t *testing.T, c *Checkpoint, want map[string][]byte) {
	t.Helper()
	for _, e := range entries {
		got, ok := c.Lookup(e.Name)
		if !ok || got.DType != e.DType || !slices.Equal(got.Shape, e.Shape) || !bytes.Equal(bytesOf(t, got), want[e.Name]) {
			t.Errorf("%s: wrote %v %v, read %v", e.Name, e, want[e.Name], got)
		}
	}
	if len(c.Names()) != len(want) {
		t.Errorf("names %v", c.Names())
	}
}

func TestWriteSingle(t *testing.T) {
	dir := t.TempDir()
	var files [2][]byte
	for i := range files {
		path := filepath.Join(dir, fmt.Sprint(i))
		w, err := Create(path, entries, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := fill(t, w)
		c, err := OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, c, want)
		if err := errors.Join(c.Close(), c.Close(), w.Close()); err != nil {
			t.Error(err)
		}
		if files[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("two writes differ")
	}
	if n := binary.LittleEndian.Uint64(files[0]); n%8 != 0 || files[0][8+n-1] != ' ' && files[0][8+n-1] != '}' {
		t.Errorf("header of %d bytes is not padded", n)
	}
	if !bytes.HasPrefix(files[0][8:], []byte(`{"__metadata__":{"format":"pt"},"w.1":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"a":`)) {
		t.Errorf("header %s", files[0][8:120])
	}
}

func TestWriteSharded(t *testing.T) {
	for _, c := range []struct {
		limit int
		files []string
	}{
		{0, []string{"model.safetensors"}},
		{49, []string{"model.safetensors"}},
		{48, []string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", IndexFile}},
		{1, []string{"model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors", "model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors", IndexFile}},
	} {
		dir := t.TempDir()
		w, err := CreateSharded(dir, entries, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		want := fill(t, w)
		listed, _ := os.ReadDir(dir)
		var names []string
		for _, f := range listed {
			names = append(names, f.Name())
		}
		if !slices.Equal(names, c.files) {
			t.Errorf("limit %d wrote %v", c.limit, names)
		}
		r, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, r, want)
		if r.Metadata()["format"] != "pt" {
			t.Errorf("metadata %v", r.Metadata())
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestIndex(t *testing.T) {
	one := file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1)
	for _, c := range []struct{ index, want string }{
		{`{`, "byte 1: unexpected end"},
		{`{}`, "weight_map is empty"},
		{`{"weight_map":{"a":"../one"}}`, `tensor a: shard "../one" is not a plain file name`},
		{`{"weight_map":{"a":"/etc/passwd"}}`, `tensor a: shard "/etc/passwd" is not a plain file name`},
		{`{"weight_map":{"a":"sub\\one"}}`, `tensor a: shard "sub\\one" is not a plain file name`},
		{`{"weight_map":{"a":".."}}`, `tensor a: shard ".." is not a plain file name`},
		{`{"weight_map":{"a":"."}}`, `tensor a: shard "." is not a plain file name`},
		{`{"weight_map":{"a":"x\n"}}`, `tensor a: shard "x\n" is not a plain file name`},
		{`{"weight_map":{"a\t":"x"}}`, `tensor "a\t": the name has control characters`},
		{`{"weight_map":{"a":""}}`, `tensor a: shard "" is not a plain file name`},
		{`{"weight_map":{"a":"one","b":"two"}}`, "missing shard two: file does not exist"},
		{`{"weight_map":{"a":"one","b":"one"}}`, "tensor b: not in its shard one"},
	} {
		dir := t.TempDir()
		index := filepath.Join(dir, IndexFile)
		os.WriteFile(filepath.Join(dir, "one"), one, 0o644)
		os.WriteFile(index, []byte(c.index), 0o644)
		_, err := Open(dir)
		if want := "safetensors: " + index + ": " + c.want; err == nil || err.Error() != want {
			t.Errorf("index %s: got  %v\nwant %s", c.index, err, want)
		}
	}
	own := t.TempDir()
	if err := os.WriteFile(filepath.Join(own, "consolidated.00.pth"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(own); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "consolidated.00.pth is of Mistral's or Meta's own format") {
		t.Errorf("another format: %v", err)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty folder: %v", err)
	}
	dir := t.TempDir()
	if _, err := OpenFile(dir); err == nil || err.Error() != "safetensors: "+dir+" is a folder, expected a file" {
		t.Errorf("folder as file: %v", err)
	}
}

func TestWriterMisuse(t *testing.T) {
	two := []Entry{{"a", "U8", []int{4}}, {"b", "U8", []int{2}}}
	for _, c := range []struct {
		name  string
		write func(w *Writer)
		want  string
	}{
		{"nothing", func(w *Writer) {}, "tensor a: not written"},
		{"one missing", func(w *Writer) { w.Write("a", make([]byte, 4)) }, "tensor b: not written"},
		{"order", func(w *Writer) { w.Write("b", make([]byte, 2)) }, "tensor b: the next is a"},
		{"short", func(w *Writer) { w.Write("a", make([]byte, 3)) }, "tensor a: 3 bytes, expected 4"},
		{"short stream", func(w *Writer) { w.Tensor("a"); w.Tensor("b") }, "tensor a: 4 bytes are missing"},
		{"long stream", func(w *Writer) { s, _ := w.Tensor("a"); s.Write(make([]byte, 5)) }, "tensor a: 1 bytes too many"},
		{"late stream", func(w *Writer) {
			s, _ := w.Tensor("a")
			s.Write(make([]byte, 4))
			w.Write("b", make([]byte, 2))
			s.Write(nil)
		}, "tensor a: written after it was finished"},
		{"one too many", func(w *Writer) { w.Write("a", make([]byte, 4)); w.Write("b", make([]byte, 2)); w.Write("c", nil) }, "tensor c: all 2 tensors are written"},
	} {
		path := filepath.Join(t.TempDir(), "x")
		w, err := Create(path, two, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.write(w)
		if err, want := w.Close(), "safetensors: "+path+": "+c.want; err == nil || err.Error() != want {
			t.Errorf("%s: got  %v\nwant %s", c.name, err, want)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the file is still there: %v", c.name, err)
		}
	}

	dir := t.TempDir()
	w, err := CreateSharded(dir, two, 4)
	if err != nil {
		t.Fatal(err)
	}
	w.Write("a", make([]byte, 4))
	if err := w.Close(); err == nil || !strings.HasSuffix(err.Error(), "model-00002-of-00002.safetensors: tensor b: not written") && !strings.HasSuffix(err.Error(), "tensor b: not written") {
		t.Errorf("second shard missing: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v left behind", left)
	}

	path := filepath.Join(dir, "there")
	os.WriteFile(path, nil, 0o644)
	if _, err := Create(path, two, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("overwrote a file: %v", err)
	}
	for _, bad := range [][]Entry{{{"a", "Q4", nil}}, {{"a", "U8", []int{-1}}}, {two[0], two[0]}, {{metadataKey, "U8", nil}}, {{"a", "U64", []int{1 << 40, 1 << 40}}}, {{"a", "U8", []int{1 << 62}}, {"b", "U8", []int{1 << 62}}}} {
		if _, err := Create(filepath.Join(dir, "new"), bad, nil); err == nil {
			t.Errorf("accepted %v", bad)
		}
	}
	if _, err := CreateSharded(dir, []Entry{two[0], two[0]}, 4); err == nil {
		t.Error("accepted a name in two shards")
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(file(`{"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},"__metadata__":{"format":"pt"}}`, 12))
	f.Add(file(`{"a":{"dtype":"I64","shape":[0,9223372036854775807],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`, 1))
	f.Add(file(`{}`, 0))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := OpenBytes("fuzz", raw)
		if err != nil {
			return
		}
		total := 0
		for _, name := range c.Names() {
			tensor, _ := c.Lookup(name)
			if len(bytesOf(t, tensor)) != tensor.NumElements()*sizes[tensor.DType] {
				t.Errorf("tensor %v", tensor)
			}
			total += tensor.Size()
		}
		if total > len(raw) {
			t.Errorf("%d bytes in a file of %d", total, len(raw))
		}
	})
}
