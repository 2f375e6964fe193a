package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/bench"
)

func TestBench(t *testing.T) {
	raw := vkcome(t, "bench", "--synthetic", "tiny", "-r", "1", "--ops", "1×2048×2048 BF16,pp256,CoMe", "--json", "-q")
	r, err := bench.Read(raw)
	if err != nil {
		t.Fatal(err)
	}
	if r.Device.UUID == "" || r.Version == "" || r.Get("peak f32") == nil || r.Get("gemv 1×2048×2048 BF16") == nil || r.Get("gemm 512×2048×2048 F32") != nil {
		t.Errorf("%s", raw)
	}
	file := filepath.Join(t.TempDir(), "a.json")
	if err := os.WriteFile(file, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if table := string(vkcome(t, "bench", "compare", file, file)); !strings.Contains(table, "| peak f32 | GFLOP/s |") {
		t.Errorf("%s", table)
	}
	for _, args := range [][]string{
		{"bench", "--synthetic", "gpt-5"}, {"bench", "-o", "xml"}, {"bench", "-r", "0"}, {"bench", "embedded:tiny12", "--synthetic", "tiny"},
		{"bench", "compare", file}, {"bench", "a", "b"},
	} {
		if _, stderr, code := try(t, args...); code != 2 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
}
