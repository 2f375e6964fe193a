package torchfile_test

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/safetensors"
	"github.com/vkcome/vkcome/model/torchfile"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func bytesOf(t *testing.T, tensor interface{ Bytes() ([]byte, error) }) []byte {
	t.Helper()
	data, err := tensor.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Files that torch wrote hold what the same tensors hold as safetensors.
func TestAgainstTorch(t *testing.T) {
	for _, name := range []string{"kinds", "kinds-old", "views", "views-old", "module", "module-4"} {
		got, err := torchfile.OpenBytes(name, read(t, name+".bin"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, err := safetensors.OpenFile(filepath.Join("testdata", name+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer want.Close()
		if !slices.Equal(got.Names(), want.Names()) {
			t.Errorf("%s: tensors %q, want %q", name, got.Names(), want.Names())
		}
		for _, tensor := range want.Names() {
			g, _ := got.Lookup(tensor)
			w, _ := want.Lookup(tensor)
			if g.DType != w.DType || !slices.Equal(g.Shape, w.Shape) || !bytes.Equal(bytesOf(t, g), bytesOf(t, w)) {
				t.Errorf("%s: %s: %s %v, want %s %v, or other values", name, tensor, g.DType, g.Shape, w.DType, w.Shape)
			}
		}
		for n := range len(read(t, name+".bin")) { // a file that is cut anywhere
			if _, err := torchfile.OpenBytes(name, read(t, name+".bin")[:n]); err == nil {
				t.Errorf("%s: %d bytes of it were read", name, n)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for name, want := range map[string]string{
		"evil.bin":      `the file asks for "system" of "posix", which no checkpoint of tensors needs`,
		"evil-old.bin":  `the file asks for "system" of "posix"`,
		"sparse.bin":    `the file asks for "_rebuild_sparse_tensor" of "torch._utils"`,
		"quantized.bin": `the file asks for "_rebuild_qtensor" of "torch._utils"`,
		"list.bin":      "it holds *torchfile.list, expected a dictionary of tensors",
	} {
		if _, err := torchfile.OpenBytes("m/"+name, read(t, name)); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "torchfile: m/"+name+": ") {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if _, err := os.Stat("/tmp/pickle-ran"); err == nil {
		t.Error("a pickle ran")
	}
	if _, err := torchfile.OpenBytes("x", []byte("text")); err == nil || !strings.Contains(err.Error(), "neither a zip archive of torch.save nor") {
		t.Errorf("text: %v", err)
	}
	if _, err := torchfile.OpenBytes("x", []byte("version https://git-lfs.github.com/spec/v1\noid")); err == nil || !strings.Contains(err.Error(), "git-lfs pointer") {
		t.Errorf("pointer: %v", err)
	}
}

// archive is a checkpoint whose pickle is a text of opcodes, and whose one storage, of key 0, has 4 floats.
func archive(t testing.TB, pickle string, method uint16) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, f := range []struct{ name, text string }{{"a/data.pkl", "\x80\x02" + pickle + "."}, {"a/data/0", strings.Repeat("\x00\x00\x80\x3f", 4)}} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// one is a dictionary with a tensor w of the storage: offset, shape and strides are opcodes.
func one(elements, offset, shape, strides string) string {
	return "}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu" + elements + "tQ" + offset + shape + strides + "\x89N" + "tRs"
}

func TestBounds(t *testing.T) {
	huge := "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40" // 2^62
	minus := "J\xff\xff\xff\xff"
	for _, c := range []struct{ name, pickle, want string }{
		{"as it should be", one("K\x04", "K\x01", "K\x03\x85", "K\x01\x85"), ""},
		{"a storage larger than its file", one("K\x05", "K\x00", "K\x03\x85", "K\x01\x85"), "storage 0 has 16 bytes"},
		{"a storage of 2^62", one(huge, "K\x00", "K\x03\x85", "K\x01\x85"), "a storage of an unknown kind"},
		{"beyond the storage", one("K\x04", "K\x02", "K\x03\x85", "K\x01\x85"), "reaches beyond its storage"},
		{"beyond it by strides", one("K\x04", "K\x00", "K\x03\x85", "K\x02\x85"), "reaches beyond its storage"},
		{"strides of 2^62", one("K\x04", "K\x00", "K\x03\x85", huge+"\x85"), "reaches beyond its storage"},
		{"a size of 2^62", one("K\x04", "K\x00", huge+"\x85", "K\x00\x85"), "more elements than its storage"},
		{"an expanded tensor", one("K\x04", "K\x00", "K\x04K\x04\x86", "K\x01K\x00\x86"), "more elements than its storage"},
		{"a negative size", one("K\x04", "K\x00", minus+"\x85", "K\x01\x85"), "more elements than its storage"},
		{"a negative stride", one("K\x04", "K\x03", "K\x03\x85", minus+"\x85"), "more elements than its storage"},
		{"a negative offset", one("K\x04", minus, "K\x03\x85", "K\x01\x85"), "begins at element -1"},
		{"strides of another number", one("K\x04", "K\x00", "K\x03\x85", ")"), "a tensor of 1 dimensions with 0 strides"},
		{"another opcode", "}i", "opcode 0x69 is not one"},
		{"an object", "(U\x01ao", "opcode 0x6f is not one"},
		{"a call of a text", "U\x01a)R", "a call of string with []interface {}"},
		{"an empty stack", "", "nothing on the stack"},
		{"no mark", "t", "no mark on the stack"},
		{"a memo that is not there", "h\x07", "value 7 was never remembered"},
		{"half a pair", "}(K\x01u", "1 values for *torchfile.dict"},
		{"attributes of a text", "U\x01a}b", "attributes of string"},
		{"a long text", "X\xff\xff\xff\xff", "the pickle ends too early"},
		{"a module without end", "c" + strings.Repeat("a", 300), "the name of a global has no end"},
		{"another module's storage", "cos\nFloatStorage\n", `the file asks for "FloatStorage" of "os"`},
	} {
		for _, method := range []uint16{zip.Store, zip.Deflate} {
			f, err := torchfile.OpenBytes("x", archive(t, c.pickle, method))
			switch {
			case method == zip.Deflate:
				if err == nil || !strings.Contains(err.Error(), "compressed") {
					t.Errorf("%s, compressed: %v", c.name, err)
				}
			case c.want == "":
				if err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				if w, _ := f.Lookup("w"); len(bytesOf(t, w)) != 12 {
					t.Errorf("%s: %d bytes", c.name, w.Size())
				}
			case err == nil || !strings.Contains(err.Error(), c.want):
				t.Errorf("%s: %v, want %s", c.name, err, c.want)
			}
		}
	}
}

func TestShards(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, raw []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a.bin", read(t, "kinds.bin"))
	write("b.bin", read(t, "views-old.bin"))
	write(torchfile.IndexFile, []byte(`{"weight_map": {"float32": "a.bin", "transposed": "b.bin"}}`))
	c, err := torchfile.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Names(); !slices.Equal(got, []string{"float32", "transposed"}) {
		t.Errorf("tensors %q", got)
	}
	w, _ := c.Lookup("transposed")
	bytesOf(t, w)
	if err := c.Unchanged(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		`{"weight_map": {"float33": "a.bin"}}`:    "tensor float33: not in its shard a.bin",
		`{"weight_map": {"float32": "c.bin"}}`:    "c.bin: no such file",
		`{"weight_map": {"float32": "../a.bin"}}`: "is not a plain file name",
		`{}`: "weight_map is empty",
	} {
		write(torchfile.IndexFile, []byte(text))
		if _, err := torchfile.Open(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func FuzzTorchfile(f *testing.F) {
	for _, name := range []string{"kinds.bin", "views.bin", "views-old.bin", "module.bin", "module-4.bin", "evil.bin"} {
		f.Add(read(f, name))
	}
	f.Add(archive(f, one("K\x04", "K\x01", "K\x03\x85", "K\x01\x85"), zip.Store))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := torchfile.OpenBytes("fuzz", raw)
		if err != nil {
			return
		}
		for _, name := range c.Names() {
			w, _ := c.Lookup(name)
			n := len(bytesOf(t, w))
			if n > len(raw) {
				t.Errorf("%s: %d bytes of a file of %d", name, n, len(raw))
			}
		}
	})
}
