package pages_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	mmap "github.com/edsrzf/mmap-go"

	"github.com/vkcome/vkcome/model/internal/pages"
)

func TestDrop(t *testing.T) {
	const size = 32<<20 + 123
	path := filepath.Join(t.TempDir(), "file")
	want := bytes.Repeat([]byte("0123456789abcdef!"), size/17+1)[:size]
	if err := os.WriteFile(path, want, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mapped, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer mapped.Unmap()
	before := pages.Resident()
	if !bytes.Equal(mapped, want) {
		t.Fatal("the mapping differs from the file")
	}
	if grown := pages.Resident() - before; grown < size*9/10 {
		t.Fatalf("reading %d bytes made %d resident: nothing can be measured", size, grown)
	}
	pages.Drop(mapped, mapped[5000:])
	if left := pages.Resident() - before; left > size/10 {
		t.Errorf("%d bytes are resident after Drop", left)
	}
	heap := bytes.Repeat([]byte{7}, 1<<20)
	pages.Drop(mapped, heap) // of other memory it must not touch a byte
	if !bytes.Equal(heap, bytes.Repeat([]byte{7}, 1<<20)) {
		t.Error("Drop emptied memory outside of the mapping")
	}
	if !bytes.Equal(mapped, want) {
		t.Error("the mapping differs after Drop")
	}
}

func TestInside(t *testing.T) {
	whole := make([]byte, 100)
	for _, c := range []struct {
		b    []byte
		want bool
	}{{whole, true}, {whole[99:], true}, {whole[:1], true}, {whole[100:], false}, {make([]byte, 100), false}, {nil, false}} {
		if got := pages.Inside(whole[:], c.b); got != c.want {
			t.Errorf("Inside of %d bytes at %p: %v", len(c.b), c.b, got)
		}
	}
	if pages.Inside(whole[10:20], whole[15:25]) || pages.Inside(whole[10:20], whole[5:15]) || pages.Inside(nil, whole) {
		t.Error("Inside of a part that sticks out")
	}
}

func TestAlloc(t *testing.T) {
	before := pages.Resident()
	b, err := pages.Alloc(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i]++
	}
	if grown := pages.Resident() - before; grown < 60<<20 {
		t.Errorf("64 MiB written, %d bytes resident", grown)
	}
	if err := pages.Free(b); err != nil {
		t.Fatal(err)
	}
	if left := pages.Resident() - before; left > 8<<20 {
		t.Errorf("%d bytes are resident after Free", left)
	}
}
