package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/op"
)

// wrongProgram is the binary with products that subtract where they should add, in the compiled kernels whose names begin as said. Their words stand
// in it as they are in the files.
func wrongProgram(t *testing.T, kernel string) string {
	t.Helper()
	files, err := filepath.Glob("../../shaders/spv/" + kernel + "_*.spv")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	whole, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		words, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(whole, words)
		if at < 0 {
			t.Fatalf("%s is not in %s", name, program)
		}
		subtract(whole[at:][:len(words)])
	}
	wrong := filepath.Join(t.TempDir(), "vkcome")
	if err := os.WriteFile(wrong, whole, 0o755); err != nil {
		t.Fatal(err)
	}
	return wrong
}

// subtract makes additions of a kernel subtractions, and products additions.
func subtract(code []byte) {
	for at := 20; at < len(code); at += 4 * int(binary.LittleEndian.Uint16(code[at+2:])) {
		switch op := code[at:]; binary.LittleEndian.Uint16(op) {
		case 129: // OpFAdd
			binary.LittleEndian.PutUint16(op, 131) // OpFSub
		case 133: // OpFMul
			binary.LittleEndian.PutUint16(op, 129)
		}
	}
}

// TestSelfTest: all kernels are right; in a binary with wrong ones --self-test says so and exits 1, and what computes says in one line which tier it
// takes instead, every time, or that there is none.
func TestSelfTest(t *testing.T) {
	if home, err := os.UserCacheDir(); err == nil {
		t.Setenv("MESA_SHADER_CACHE_DIR", home) // an empty one costs half a minute
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var right, found []op.SelfTestReport
	parseJSON(t, vkcome(t, "devices", "--self-test", "--json"), &right)
	at := map[string]map[string]bool{} // kernels by tier of the best device
	for _, row := range right[0].Rows {
		if at[row.Tier] == nil {
			at[row.Tier] = map[string]bool{}
		}
		at[row.Tier][row.Kernel] = row.OK
	}
	top, kernel := right[0].Tier, "linear"
	for _, name := range []string{"linear_coopmat", "linear_cpu", "linear_cpu_shuffle"} {
		if at[top][name] && !at["baseline"][name] {
			kernel = name
		}
	}
	program := wrongProgram(t, kernel)
	run := func(args ...string) (stdout []byte, stderr string, code int) {
		t.Helper()
		c := exec.CommandContext(t.Context(), program, args...)
		var out, errs bytes.Buffer
		c.Stdout, c.Stderr = &out, &errs
		if err := c.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
			t.Fatal(err)
		}
		return out.Bytes(), errs.String(), c.ProcessState.ExitCode()
	}
	one := func(text, want string) bool { return strings.Count(text, "\n") == 1 && strings.Contains(text, want) }
	score := []string{"eval", "ppl", embedded.Name, "--tokens", calib, "--window", "32", "--samples", "1", "-q"}
	for range 2 { // the second time by what is kept
		switch _, stderr, code := run(score...); {
		case kernel == "linear" && (code != 1 || !one(stderr, "computes wrong at every tier")):
			t.Errorf("all tiers are wrong: exit %d, %s", code, stderr)
		case kernel != "linear" && (code != 0 || !one(stderr, "computes wrong at tier "+top+" and is used at tier ") || !strings.Contains(stderr, "vkcome devices --self-test")):
			t.Errorf("%s is wrong: exit %d, %s", kernel, code, stderr)
		}
	}
	out, stderr, code := run("devices", "--self-test", "--json")
	if code != 1 || !one(stderr, "computes wrong at tier "+top) {
		t.Errorf("%s is wrong: exit %d, %s", kernel, code, stderr)
	}
	parseJSON(t, out, &found)
	for _, row := range found[0].Rows {
		biased := strings.Contains(row.Shape, "bias") // others add by fused operations alone, which are as they were
		if wrong := row.Kernel == kernel; !wrong && !row.OK || wrong && biased && row.OK {
			t.Errorf("%s: %v, ok %t", row.Tier, row, row.OK)
		}
	}
	out, _, code = run("devices", "--self-test")
	if code != 1 || !bytes.HasPrefix(out, []byte("DEVICE")) || !bytes.Contains(out, []byte("  wrong\n")) || !bytes.Contains(out, []byte("  ok\n")) || bytes.Count(out, []byte("\n")) <= len(found[0].Rows) {
		t.Errorf("exit %d:\n%s", code, out)
	}
}
