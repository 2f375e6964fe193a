package main

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/bench"
)

func TestBench(t *testing.T) {
	raw := vkcome(t, "bench", "--synthetic", "tiny", "-r", "1", "--ops", "1×2048×2048 BF16,pp256,CoMe", "--json", "-q")
	list, err := bench.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	r := list[0]
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
	if table := string(vkcome(t, "bench", "compare", "--view", "devices", filepath.Dir(file), "../../model/bench/testdata/llama-bench.json")); !strings.Contains(table, "\n| peak f32, GFLOP/s |") || !strings.Contains(table, "\nllama 7B Q4_0: 6.74 B parameters, 3.6 GiB\n") {
		t.Errorf("%s", table)
	}
	for _, args := range [][]string{
		{"bench", "--yes"}, {"bench", "compare", file, file, "--view", "all"}, {"bench", "compare", file, file, "-o", "xml"},
		{"bench", "--synthetic", "gpt-5"}, {"bench", "-o", "xml"}, {"bench", "-r", "0"}, {"bench", "embedded:tiny12", "--synthetic", "tiny"},
		{"bench", "compare", file}, {"bench", "a", "b"},
	} {
		if _, stderr, code := try(t, args...); code != 2 || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
}

// TestShare: what is shown is what is written, it says nothing of this machine, and no file is written over.
func TestShare(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "folder-of-somebody")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	small.Write(t, dir)
	file := filepath.Join(t.TempDir(), "shared-by-somebody.json")
	_, stderr, code := try(t, "bench", dir, "-r", "1", "--ops", "tg", "--share", file)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := file + " is going to hold, and nothing else:\n" + string(raw); !strings.HasPrefix(stderr, want) || !strings.HasSuffix(stderr, "wrote "+file+", unasked: this is no terminal\n") {
		t.Errorf("shown: %s\nwritten: %s", stderr, raw)
	}
	list, err := bench.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	d := list[0].Details
	if d.Name != "" || d.Layers != small.Layers || d.Parameters == 0 || d.Bytes == 0 || d.DType != "BF16" || len(d.SHA256) != 64 || list[0].Get("tg32") == nil || list[0].System != runtime.GOOS+"/"+runtime.GOARCH {
		t.Errorf("%s", raw)
	}
	var devices []struct{ UUID string }
	parseJSON(t, vkcome(t, "devices", "--json"), &devices)
	personal := map[string]string{"temporary folder": os.TempDir(), "model's folder": "somebody", "this year": fmt.Sprint(time.Now().Year())}
	for _, d := range devices {
		personal["UUID "+d.UUID] = d.UUID
	}
	for what, find := range map[string]func() (string, error){"host name": os.Hostname, "home": os.UserHomeDir, "working folder": os.Getwd} {
		if personal[what], err = find(); err != nil {
			t.Fatal(err)
		}
	}
	if u, err := user.Current(); err == nil && len(u.Username) > 2 {
		personal["user"] = u.Username
	}
	for what, text := range personal {
		if len(text) > 2 && strings.Contains(strings.ToLower(string(raw)), strings.ToLower(text)) {
			t.Errorf("the %s, %q, is in it: %s", what, text, raw)
		}
	}
	refuse(t, 1, "--share "+file+": it is there already", "bench", "--share", file)
	if after, err := os.ReadFile(file); err != nil || string(after) != string(raw) {
		t.Errorf("the file changed: %v", err)
	}
	refuse(t, 1, "--share: ", "bench", "--share", file+"/x")
}
