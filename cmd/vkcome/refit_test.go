package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestRefitShards has three processes share a fit, by the variables of job arrays, and compares what they write with what one does. Then each of them
// in turn is killed at a file that it, or another, leaves, and started again with the same command: the same bytes.
func TestRefitShards(t *testing.T) {
	from := faultModel(t)
	args := func(out string, more ...string) []string {
		list := []string{"refit", filepath.Join(from, "m"), filepath.Join(from, "student"), out, "--fit-all", "--projections", "o,down", "--lambda", "0.1,1", "--fit-held-out", "3",
			"--tokens", filepath.Join(from, "tokens.json"), "--window", "16", "--resume"}
		return append(list, more...)
	}
	alone := t.TempDir()
	vkcome(t, args(filepath.Join(alone, "out"), "-q")...)
	want := contents(t, alone)

	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	var wait sync.WaitGroup
	for i := range 3 {
		cmd := command(t.Context(), args(out, "--shard", "/3")...)
		env := []string{fmt.Sprint("JOB_COMPLETION_INDEX=", i)}
		if i == 0 {
			env = []string{"SLURM_ARRAY_TASK_ID=5", "SLURM_ARRAY_TASK_MIN=5", "SLURM_ARRAY_TASK_MAX=7", "SLURM_ARRAY_TASK_COUNT=3"}
		}
		cmd.Env = append(os.Environ(), env...)
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		wait.Go(func() {
			if err := cmd.Run(); err != nil || strings.HasSuffix(stdout.String(), out+"\n") != (i == 0) || !strings.Contains(stdout.String(), "layer 1") ||
				!strings.Contains(stderr.String(), fmt.Sprintf("part %d of 3, which meet in %s", i, filepath.Join(dir, ".out.vkcome-work-shards"))) {
				t.Errorf("part %d: %v: %s%s", i, err, stdout.String(), stderr.String())
			}
		})
	}
	wait.Wait()
	sameFiles(t, dir, want)
	for i := range 3 {
		if _, stderr, code := try(t, args(out, "--shard", fmt.Sprintf("%d/3", i))...); code != 0 || !strings.Contains(stderr, "is finished already") {
			t.Errorf("part %d, after the end: exit %d: %s", i, code, stderr)
		}
	}
	sameFiles(t, dir, want)

	for _, c := range []struct {
		part int
		file string
	}{{0, "part-000000.json"}, {0, "fit-*-1"}, {1, "sums-*-000001"}, {2, "fit-*-0"}, {1, "fit-000001-0"}} {
		dir := t.TempDir()
		out := filepath.Join(dir, "out")
		var wait sync.WaitGroup
		for i := range 3 {
			cmd, stderr := started(t, args(out, "-q", "--shard", fmt.Sprintf("%d/3", i)))
			if i == c.part {
				wait.Go(func() {
					killed(t, cmd, 0, filepath.Join(dir, ".out.vkcome-work-shards", c.file))
					if _, stderr, code := try(t, args(out, "-q", "--shard", fmt.Sprintf("%d/3", i))...); code != 0 {
						t.Errorf("part %d, killed at %s and started again: exit %d: %s", i, c.file, code, stderr)
					}
				})
				continue
			}
			wait.Go(func() {
				if err := cmd.Wait(); err != nil {
					t.Errorf("part %d, while part %d was killed at %s: %v: %s", i, c.part, c.file, err, stderr)
				}
			})
		}
		wait.Wait()
		sameFiles(t, dir, want)
	}

	// ^C ends a part that waits, at once.
	out = filepath.Join(t.TempDir(), "out")
	cmd, stderr := started(t, args(out, "--shard", "0/3"))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	awaited(t, filepath.Join(filepath.Dir(out), ".out.vkcome-work-shards", "part-000000.json"), ended)
	time.Sleep(500 * time.Millisecond) // until it waits
	begin := time.Now()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-ended
	if took := time.Since(begin); cmd.ProcessState.ExitCode() != interruptedCode || took > 5*time.Second {
		t.Errorf("interrupted: exit %d after %v: %s", cmd.ProcessState.ExitCode(), took, stderr)
	}
	if left := contents(t, filepath.Dir(out)); len(left) > 0 {
		t.Errorf("left behind: %v", sortedKeys(left))
	}

	part := func(more ...string) []string { return args(out, append([]string{"-q"}, more...)...) }
	refuse(t, 1, "the sums of layer 0 did not come from parts 1 and 2 of 3 within 100ms (--wait)", part("--shard", "0/3", "--wait", "100ms")...)
	refuse(t, 1, "did not come from part 2 of 3 within 100ms (--wait)", part("--shard", "1/3", "--wait", "100ms")...)
	refuse(t, 1, "the number of parts is 3 for part 1 and 4 for part 2; give all parts the same, or remove the folder", part("--shard", "2/4")...)
	refuse(t, 1, "the corpus is 12 windows of 16 tokens for part 1 and 6 windows of 16 tokens for part 2", part("--shard", "2/3", "--samples", "6")...)
	refuse(t, 2, "--any-device: parts of a fit", part("--shard", "2/3", "--any-device")...)
	refuse(t, 2, "--wait has no meaning without --shard", part("--wait", "1h")...)
	refuse(t, 1, "40 shards of a corpus of 12 windows", part("--shard", "2/40")...)
	refuse(t, 2, "expected 0 to 2", part("--shard", "3/3")...)
}
