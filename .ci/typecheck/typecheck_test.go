package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCheck checks a module that is right on Linux, and on macOS wrong in a package, in a test and in what needs C.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":            "module m\n\ngo 1.21\n",
		"a/a.go":            "package a\n\nfunc A() int { return system() }\n",
		"a/a_linux.go":      "package a\n\nfunc system() int { return 1 }\n",
		"a/a_test.go":       "package a\n\nvar _ = A() + inTest\n",
		"a/t_linux_test.go": "package a\n\nconst inTest = 2\n",
		"b/b.go":            "package b\n\nimport \"m/a\"\n\nvar B = a.A()\n",
		"c/c.go":            "package c\n\n// int one(void);\nimport \"C\"\n\nfunc D() string { C.one(); return 1 }\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOFLAGS", "-mod=mod")
	for target, want := range map[string][]string{
		"linux":  {"c.go:6:"},
		"darwin": {"a.go:3:23: undefined: system", "a.go:3:23: undefined: system", "a_test.go:3:15: undefined: inTest", "c.go:6:"},
	} {
		n, found, err := check(dir, target, "arm64")
		if err != nil {
			t.Fatal(err)
		}
		if n != 4 || len(found) != len(want) {
			t.Errorf("%s: %d packages, %q", target, n, found)
			continue
		}
		slices.Sort(found)
		for i := range want {
			if !strings.Contains(found[i], want[i]) {
				t.Errorf("%s: %q, want %q", target, found[i], want[i])
			}
		}
	}
}
