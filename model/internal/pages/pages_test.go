//go:build linux || windows

package pages_test

import (
	"testing"

	"github.com/vkcome/vkcome/model/internal/pages"
	"github.com/vkcome/vkcome/model/memory"
)

func TestAlloc(t *testing.T) {
	before := memory.Resident().Now
	b, err := pages.Alloc(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i]++
	}
	if grown := memory.Resident().Now - before; grown < 60<<20 {
		t.Errorf("64 MiB written, %d bytes resident", grown)
	}
	if err := pages.Free(b); err != nil {
		t.Fatal(err)
	}
	if left := memory.Resident().Now - before; left > 8<<20 {
		t.Errorf("%d bytes are resident after Free", left)
	}
}
