//go:build unix

package states_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

// onFullDisk does what writes files where they cannot grow, and looks at its error.
func onFullDisk(t *testing.T, do func() error) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 30_000, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	err := do()
	if restored := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); restored != nil {
		t.Fatal(restored)
	}
	if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), "use another folder") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a full disk: %v", err)
	}
}
