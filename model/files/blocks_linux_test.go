package files_test

import (
	"os"
	"syscall"
	"testing"
)

// holes is how much of a file may be holes, which a copy passes over.
const holes = 300 << 30

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks
}
