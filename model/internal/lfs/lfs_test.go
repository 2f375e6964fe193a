package lfs

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	pointer := version + "oid sha256:" + strings.Repeat("0", 64) + "\nsize 4976698672\n"
	for text, want := range map[string]error{pointer: ErrPointer, "": nil, "{}": nil, version + strings.Repeat("a text about pointers\n", 60): nil} {
		if got := Check([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
