package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/shaders"
)

func TestCoverage(t *testing.T) {
	log := func(without ...string) string {
		var text strings.Builder
		for _, v := range shaders.Variants() {
			skip := false
			for _, w := range without {
				skip = skip || v.Name == w
			}
			if !skip {
				fmt.Fprintf(&text, "%s\tdevice A\n", v.Name)
			}
		}
		return text.String()
	}
	for _, c := range []struct {
		what, log, listed string
		out, err          string // what the output and the error say; "" for no error
	}{
		{"all ran", log(), "", "kernels ran on device A", ""},
		{"one did not", log("swiglu"), "", "kernels ran on device A", "1 kernels ran on no device: swiglu"},
		{"one did not, with a reason", log("swiglu"), "swiglu\tit is slow", "swiglu                           it is slow", ""},
		{"one with a reason ran", log(), "swiglu\tit is slow", "kernels ran on device A", ""},
		{"the words of another ran", log("gather_bf16"), "", "kernels ran on device A", ""},
		{"a reason for no kernel", log(), "swoglu\tit is slow", "", "no kernels: swoglu"},
		{"no reason", log(), "swiglu\t", "", "without a reason"},
		{"no tab", log() + "swiglu\n", "", "", "no tab"},
		{"another package's kernel", log() + "affine\tdevice B\n", "", "kernels ran on device A", ""},
	} {
		dir := t.TempDir()
		listed := filepath.Join(t.TempDir(), "listed.txt")
		for file, text := range map[string]string{filepath.Join(dir, "a.txt"): c.log, listed: c.listed} {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		err := coverage(&out, dir, listed)
		if !strings.Contains(out.String(), c.out) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, output %s", c.what, err, out.String())
		}
		if strings.Contains(out.String(), "device B") {
			t.Errorf("%s: %s", c.what, out.String())
		}
	}
	if err := coverage(&bytes.Buffer{}, t.TempDir(), "listed.txt"); err == nil || !strings.Contains(err.Error(), "no logs") {
		t.Errorf("no logs: %v", err)
	}
}

// The committed list names kernels that there are.
func TestNotRun(t *testing.T) {
	reasons, err := readReasons("notrun.txt")
	if err != nil {
		t.Fatal(err)
	}
	for name := range reasons {
		if shaders.SPIRV(name) == "" {
			t.Errorf("%s: there is no such kernel", name)
		}
	}
}
