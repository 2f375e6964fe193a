package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
)

// TestSeveralDevices has the files of one device when two share the windows, for a method that stops early, one that tries candidates
// and one that is scored once.
func TestSeveralDevices(t *testing.T) {
	for _, name := range []string{"come", "sleb", "shortgpt"} {
		dir := t.TempDir()
		one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
		args := func(out, device string) []string {
			return []string{"prune", embedded.Name, out, "-q", "--method", name, "--target-layers", "10", "--tokens", calib, "--window", "72", "--samples", "9", "--all-scores", "--device", device}
		}
		vkcome(t, args(one, "0")...)
		vkcome(t, args(two, "0,0")...)
		sameFiles(t, two, contents(t, one))
		t.Setenv("VKCOME_DEVICE", "0,0")
		vkcome(t, args(filepath.Join(dir, "env"), "")...)
		sameFiles(t, filepath.Join(dir, "env"), contents(t, one))
	}
	refuse(t, 1, "radeon", "prune", embedded.Name, filepath.Join(t.TempDir(), "out"), "-q", "--target-layers", "10", "--tokens", calib, "--window", "72", "--device", "0,radeon")
}

// TestNoDriver: what is said where there is no device is what is wrong.
func TestNoDriver(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("VKCOME_VALIDATE", "")
	for _, variable := range []string{"VK_ICD_FILENAMES", "VK_DRIVER_FILES"} {
		for name, c := range map[string]struct{ text, want string }{
			"cut.json": {"{", "unexpected end"}, "nolib.json": {`{"file_format_version":"1.0.0","ICD":{"library_path":"/nowhere/lib.so","api_version":"1.3.0"}}`, "/nowhere/lib.so"}, "empty.json": {"{}", "names no library"},
		} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			t.Setenv(variable, path)
			refuse(t, 1, variable+" names drivers that cannot be used: "+path, "devices")
			refuse(t, 1, c.want, "devices")
		}
		os.Unsetenv(variable)
	}
}

// TestNoLoader hides the Vulkan loader, and puts one in its place that is none.
func TestNoLoader(t *testing.T) {
	t.Setenv("VKCOME_VALIDATE", "")
	library, err := filepath.EvalSymlinks("/usr/lib/x86_64-linux-gnu/libvulkan.so.1")
	if err != nil {
		t.Skip("the loader is elsewhere")
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "-rm", "sh", "-c", `mount --bind /dev/null "$0" && exec "$@"`, library, program, "devices")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err == nil || stdout.String() != "" || !strings.Contains(stderr.String(), "the Vulkan loader is damaged (") || !strings.Contains(stderr.String(), "file too short") || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("%v: %s", err, stderr.String())
	}
}
