package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/files/filestest"
	"github.com/vkcome/vkcome/prune"
)

// TestHostilePlans gives what is no plan as one, and what is no file of stats: one line each, at once.
func TestHostilePlans(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	at := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe, sparse := filestest.Pipe(t, filepath.Join(dir, "pipe")), at("sparse", "")
	if err := os.Truncate(sparse, 20<<30); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{"steps":[null]}`: "step 0 is null", `{}`: "no steps", `null`: "no steps", `[]`: "plan", `{"steps":[{"from":12,"to":11,"operation":"drop","drop_list":[12]}]}`: "expected ascending",
		`{"tree":` + strings.Repeat("[", 9900) + "0" + strings.Repeat("]", 9900) + "}": "nests more than",
	} {
		refuse(t, 1, want, "prune", embedded.Name, out, "--plan", at("plan.json", text), "-q")
	}
	for path, want := range map[string]string{pipe: "is a pipe", sparse: "expected at most", filestest.Device: "is a device"} {
		refuse(t, 1, want, "prune", embedded.Name, out, "--plan", path, "-q")
	}
	for _, path := range []string{pipe, sparse, filestest.Device, at("text", "no figures")} {
		refuse(t, 1, path, "prune", embedded.Name, out, "--target-layers", "11", "--stats", path, "-q")
		refuse(t, 1, path, "stats", "merge", filepath.Join(dir, "merged"), path)
		refuse(t, 1, "will not be replaced", "stats", embedded.Name, path, "--tokens", calib, "--window", "64", "--samples", "2", "--force", "-q")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 4 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestTheirFiles runs with --force, --resume and --work on folders with somebody's files in them: they are named, and stay.
func TestTheirFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	args := func(extra ...string) []string {
		return append([]string{"prune", embedded.Name, filepath.Join(dir, "out"), "-m", "reverse", "--target-layers", "10", "-q"}, extra...)
	}
	put("mine/layer-cake.txt", "flour")
	put("mine/step-by-step/thesis", "years")
	put("mine/owner", "me")
	before := contents(t, dir)
	for _, flags := range [][]string{{}, {"--resume"}, {"--force"}, {"--force", "--resume"}} {
		refuse(t, 1, "layer-cake.txt", args(append(flags, "--work", filepath.Join(dir, "mine"))...)...)
	}
	if after := contents(t, dir); !reflect.DeepEqual(after, before) {
		t.Fatalf("left are %v", after)
	}
	vkcome(t, args()...)
	put("out/notes/thesis", "years")
	put("out/notes.txt", "mine")
	before = contents(t, dir)
	for _, flags := range [][]string{{"--force"}, {"--force", "--save-steps"}} {
		refuse(t, 1, filepath.Join(dir, "out", "notes"), args(flags...)...)
	}
	refuse(t, 1, "exists already", args()...)
	if after := contents(t, dir); !reflect.DeepEqual(after, before) {
		t.Error("a refused run changed something")
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, "out", "notes")), os.Remove(filepath.Join(dir, "out", "notes.txt"))); err != nil {
		t.Fatal(err)
	}
	vkcome(t, args("--force")...)
	put("out/config.json", "{}")
	refuse(t, 1, "config.json was changed", args("--force")...)
	put(filepath.Base(prune.DefaultWork("other"))+"/lock", "mine")
	refuse(t, 1, "lock", "prune", embedded.Name, filepath.Join(dir, "other"), "-m", "reverse", "--target-layers", "10", "-q", "--force")
	// The search of auto, and its lock.
	for _, name := range []string{".best.vkcome-auto.json", ".best.vkcome-auto.json.lock"} {
		put(name, "mine")
		refuse(t, 1, name, "auto", embedded.Name, filepath.Join(dir, "best"), "--target-layers", "10", "--tokens", calib, "--window", "64", "--samples", "8", "--budget", "1s", "--force", "-q")
		if raw, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(raw) != "mine" {
			t.Errorf("%s is %q, %v", name, raw, err)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}
