package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
)

// TestStats computes the scores of a corpus by three processes at once and merges them: to the byte what one process makes, also on two
// devices. Pruning by them gives the weights and the scores that pruning on the corpus gives.
func TestStats(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	text := []string{"--tokens", calib, "--window", "72", "--samples", "10", "--seed", "3", "-q"}
	stats := func(out string, more ...string) []string {
		return append(append([]string{"stats", embedded.Name, path(out)}, text...), more...)
	}
	vkcome(t, stats("whole")...)
	var wait sync.WaitGroup
	for i := range 3 {
		cmd := command(t.Context(), stats(fmt.Sprint("part", i), "--shard", "/3")...)
		env := []string{fmt.Sprint("JOB_COMPLETION_INDEX=", i)}
		if i == 2 { // Slurm's arrays may begin anywhere
			env = []string{"SLURM_ARRAY_TASK_ID=7", "SLURM_ARRAY_TASK_MIN=5", "SLURM_ARRAY_TASK_MAX=7", "SLURM_ARRAY_TASK_COUNT=3"}
		}
		cmd.Env = append(os.Environ(), env...)
		wait.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("shard %d: %v: %s", i, err, out)
			}
		})
	}
	wait.Wait()
	vkcome(t, "stats", "merge", path("merged"), path("part2"), path("part0"), path("part1"))
	vkcome(t, stats("two", "--device", "0,0")...)
	want, err := os.ReadFile(path("whole"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"merged", "two"} {
		if got, err := os.ReadFile(path(name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from what one process makes: %v", name, err)
		}
	}

	for _, name := range []string{"come", "weightsum", "shortgpt", "mka", "sleb", "come-p", "laco"} {
		args := func(out string, more ...string) []string {
			return append([]string{"prune", embedded.Name, path(out + name), "--method", name, "--target-layers", "10", "-q", "--all-scores"}, more...)
		}
		if name == "come-p" {
			args = func(out string, more ...string) []string {
				return append([]string{"prune", embedded.Name, path(out + name), "--method", name, "--target-layers", "10", "-q", "--granularity", "3"}, more...)
			}
		}
		vkcome(t, args("corpus-", text...)...)
		vkcome(t, args("stats-", "--stats", path("merged"))...)
		sameWeights(t, path("corpus-"+name), path("stats-"+name))
		var a, b struct {
			Tree, Steps, Calibration any
			StatsFrom                []string               `json:"figures_from"`
			LayerPasses              struct{ Done float64 } `json:"layer_passes"`
		}
		readJSON(t, path("corpus-"+name+"/vkcome.json"), &a)
		readJSON(t, path("stats-"+name+"/vkcome.json"), &b)
		if fmt.Sprint(a.Tree, a.Steps, a.Calibration) != fmt.Sprint(b.Tree, b.Steps, b.Calibration) || len(b.StatsFrom) != 1 {
			t.Errorf("%s: lineages differ: %.600v\n%.600v", name, a, b)
		}
		if scoredOnce := name == "shortgpt" || name == "mka"; scoredOnce && b.LayerPasses.Done != 0 {
			t.Errorf("%s ran %v layers, its figures are there", name, b.LayerPasses.Done)
		}
	}

	// A part that is computed again, as Slurm does with a task whose node was lost.
	before, err := os.Stat(path("part1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := try(t, append(stats("part1", "--shard", "1/3", "--resume"), "-q=false")...); code != 0 || !strings.Contains(stderr, "is finished already") {
		t.Errorf("--resume of a part that is there: exit %d: %s", code, stderr)
	}
	if after, err := os.Stat(path("part1")); err != nil || !os.SameFile(before, after) {
		t.Errorf("--resume of a part that is there wrote it again: %v", err)
	}
	vkcome(t, stats("part1-again", "--shard", "1/3", "--resume")...)
	refuse(t, 1, "holds figures of windows 3 to 5, not of 0 to 2; choose another name, or --force", stats("part1", "--shard", "0/3", "--resume")...)
	refuse(t, 1, "holds figures of another corpus", "stats", embedded.Name, path("part1"), "--tokens", calib, "--window", "72", "--samples", "10", "--seed", "4", "--shard", "1/3", "--resume", "-q")
	refuse(t, 1, "holds figures of another model", append([]string{"stats", path("corpus-come"), path("part1"), "--shard", "1/3", "--resume"}, text...)...)
	vkcome(t, stats("part1-again", "--shard", "0/3", "--resume", "--force")...)
	for again, first := range map[string]string{"part1": "part1", "part1-again": "part0"} {
		a, errA := os.ReadFile(path(again))
		b, errB := os.ReadFile(path(first))
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s is not %s: %v, %v", again, first, errA, errB)
		}
	}

	parts := func(names ...string) []string {
		args := []string{"stats", "merge", path("other")}
		for _, name := range names {
			args = append(args, path(name))
		}
		return args
	}
	vkcome(t, "stats", embedded.Name, path("foreign"), "--tokens", calib, "--window", "72", "--samples", "10", "--seed", "4", "-q")
	refuse(t, 1, "windows 3 to 5 of 10 are missing", parts("part0", "part2")...)
	refuse(t, 1, "windows 6 to 9 of 10 are missing", parts("part0", "part1")...)
	refuse(t, 1, "are in two of the files", parts("part0", "part0", "part1", "part2")...)
	refuse(t, 1, "different corpora", parts("part0", "foreign")...)
	refuse(t, 1, "exists already", "stats", "merge", path("whole"), path("merged"))
	refuse(t, 1, "exists already", stats("whole")...)
	refuse(t, 1, "merge them", "prune", embedded.Name, path("out"), "--target-layers", "10", "--stats", path("part0"), "-q")
	refuse(t, 1, "no file of vkcome stats", "prune", embedded.Name, path("out"), "--target-layers", "10", "--stats", path("corpus-come/model.safetensors"), "-q")
	refuse(t, 1, "not of "+path("corpus-come"), "prune", path("corpus-come"), path("out"), "--target-layers", "9", "--stats", path("whole"), "-q")
	refuse(t, 2, "own corpus", "prune", embedded.Name, path("out"), "--target-layers", "10", "--stats", path("whole"), "--tokens", calib)
	refuse(t, 1, "needs no figures", "prune", embedded.Name, path("out"), "--target-layers", "10", "--stats", path("whole"), "--method", "reverse", "-q")
}

// sameWeights compares the weights and configs of two folders, piece by piece.
func sameWeights(t *testing.T, a, b string) {
	t.Helper()
	compared := 0
	err := filepath.WalkDir(a, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "vkcome.json" || e.Name() == "vkcome-files.json" { // whose unneeded scores depend on the memory; and its SHA-256
			return err
		}
		compared++
		out, err := exec.Command("cmp", path, filepath.Join(b, e.Name())).CombinedOutput()
		if err != nil {
			return errors.Join(fmt.Errorf("%s", out), err)
		}
		return nil
	})
	if err != nil || compared < 2 {
		t.Errorf("%d files compared: %v", compared, err)
	}
}
