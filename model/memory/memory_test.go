//go:build linux || windows

package memory_test

import (
	"testing"

	"github.com/vkcome/vkcome/model/memory"
)

func TestResident(t *testing.T) {
	before := memory.Resident()
	held := make([]byte, 64<<20)
	for i := 0; i < len(held); i += 1 << 10 {
		held[i] = 1
	}
	after := memory.Resident()
	if grown := after.Now - before.Now; grown < 60<<20 || grown > 128<<20 || held[1<<10] != 1 {
		t.Errorf("64 MiB written, %d bytes resident", grown)
	}
	if before.Now <= 0 || before.Most < before.Now || after.Most < after.Now {
		t.Errorf("%+v, then %+v", before, after)
	}
}
