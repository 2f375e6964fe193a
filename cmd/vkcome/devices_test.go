package main

import (
	"path/filepath"
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
