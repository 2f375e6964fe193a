package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/op"
)

// TestTune: at the baseline tier every device has tiles to choose from; what was measured is kept, and forgotten by --reset.
func TestTune(t *testing.T) {
	if home, err := os.UserCacheDir(); err == nil {
		t.Setenv("MESA_SHADER_CACHE_DIR", home) // an empty one costs half a minute
	}
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	kept := func() []string {
		files, err := filepath.Glob(filepath.Join(cache, "vkcome", "linear-*.json"))
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	args := []string{"tune", "--tier", "baseline", "--shapes", "40x64x32", "-r", "1", "--longest", "1h", "-q"}
	var got op.Tuning
	parseJSON(t, vkcome(t, append(args, "--json")...), &got)
	if len(got.Choices) != 3 || got.UUID == "" || len(kept()) != 1 {
		t.Fatalf("%+v, files %v", got, kept())
	}
	if table := string(vkcome(t, args...)); strings.Count(table, "40x64x32") != 3 || !strings.HasPrefix(table, "PRODUCT") {
		t.Errorf("%s", table)
	}
	vkcome(t, "tune", "--reset", "-q")
	if len(kept()) != 0 {
		t.Errorf("after --reset: %v", kept())
	}
	for _, bad := range [][]string{{"-r", "0"}, {"--longest", "0s"}, {"--shapes", "40x64"}, {"--shapes", "0x64x64"}, {"--shapes", "4x4x1000000"}, {"MODEL"}} {
		if _, stderr, code := try(t, append([]string{"tune"}, bad...)...); code != 2 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit %d: %s", bad, code, stderr)
		}
	}
	// Without a folder to keep it in: an error before it is said that something was kept.
	if err := os.RemoveAll(cache); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cache, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, stderr, code := try(t, args...); code != 1 || len(out) != 0 || strings.Count(stderr, "\n") != 1 {
		t.Errorf("no cache folder: exit %d, %s%s", code, out, stderr)
	}
}
