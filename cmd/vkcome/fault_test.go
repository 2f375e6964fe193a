package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/modeltest"
)

// whole says that a test which usually takes a sample takes all there is: what make test-hostile sets.
func whole() bool { return os.Getenv("VKCOME_HOSTILE") == "all" }

// costs is the line of a summary that differs from run to run.
var costs = regexp.MustCompile(`(?m)^cost: \d.*$`)

// steady is what a run in a folder prints, in the words of any other.
func steady(stdout, dir string) string {
	return costs.ReplaceAllString(strings.ReplaceAll(stdout, dir, "DIR"), "cost: some")
}

// faulted is a command that is run again and again, each time with one fault.
type faulted struct {
	name   string
	args   func(dir string) []string // it writes into dir alone
	resume bool                      // after an error it goes on with --resume
	sample int                       // faults of it that are tried where not all are

	want   map[string]string // the files of a run without a fault, and its stdout
	stdout string

	mu   sync.Mutex
	gone map[string]bool // what runs left that others went on from: the same is not gone on from twice
}

// faultModel is a folder with a model m of 4 layers, its student of 2, a teacher of 3 layers, its pupil of 2, and tokens, all as small as can
// be: a run takes a fifth of a second.
func faultModel(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	tiny := modeltest.Spec{Hidden: 16, Intermediate: 24, Layers: 4, Heads: 2, KVHeads: 1, HeadDim: 8, Vocab: 258, Context: 32, DType: dtype.BF16}
	rng := rand.New(rand.NewPCG(3, 4))
	tokens := make([]string, 192)
	for i := range tokens {
		tokens[i] = fmt.Sprint(rng.IntN(tiny.Vocab))
	}
	if err := os.WriteFile(filepath.Join(dir, "tokens.json"), []byte("["+strings.Join(tokens, ",")+"]"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, pruned string
		layers       int
	}{{"m", "student", 4}, {"teacher", "pupil", 3}} {
		m := filepath.Join(dir, c.name)
		tiny.Layers = c.layers
		if err := errors.Join(os.Mkdir(m, 0o755), tiny.WriteTo(m)); err != nil {
			t.Fatal(err)
		}
		vkcome(t, "prune", m, filepath.Join(dir, c.pruned), "--method", "come", "--target-layers", "2", "--tokens", filepath.Join(dir, "tokens.json"), "--window", "16", "--samples", "4", "-q")
	}
	return dir
}

// faultRuns are a prune, a distillation and a perplexity of that model.
func faultRuns(from string) []*faulted {
	m := filepath.Join(from, "m")
	on := []string{"--tokens", filepath.Join(from, "tokens.json"), "--window", "16", "-q"}
	return []*faulted{
		{name: "prune", resume: true, sample: 68, args: func(dir string) []string {
			return append([]string{"prune", m, filepath.Join(dir, "out"), "--method", "come", "--target-layers", "2", "--save-steps", "--samples", "4"}, on...)
		}},
		{name: "distill", resume: true, sample: 58, args: func(dir string) []string {
			return append([]string{"distill", filepath.Join(from, "teacher"), filepath.Join(from, "pupil"), filepath.Join(dir, "out"), "--batch", "2", "--held-out", "2", "--budget-tokens", "32", "--end-to-end", "1", "--checkpoint", "1ns"}, on...)
		}},
		{name: "eval ppl", sample: 33, args: func(string) []string {
			return append([]string{"eval", "ppl", m, "--json"}, on...)
		}},
	}
}

// fast is the environment without validation, which takes most of a short run.
func fast() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "VKCOME_VALIDATE=") })
}

// end is what a run ended with.
type end struct {
	stdout, stderr string
	code           int
}

// ran runs a program in an environment. One that takes ten minutes hangs.
func ran(t *testing.T, env []string, name string, args ...string) end {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &errs
	hung := time.AfterFunc(10*time.Minute, func() { _ = cmd.Process.Kill() }) // it may have ended
	defer hung.Stop()
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return end{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// leftover names what a run that failed left in dir beside what a resume uses and outputs that are whole.
func (f *faulted) leftover(t *testing.T, dir string) (left []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if f.resume && (strings.HasSuffix(e.Name(), ".vkcome-work") || strings.HasSuffix(e.Name(), ".vkcome-work-shards")) {
			continue
		}
		for name, text := range f.want {
			if top, _, _ := strings.Cut(name, string(filepath.Separator)); top != e.Name() {
				continue
			}
			if raw, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(raw) != text {
				left = append(left, name+", which is not whole")
			}
		}
		if !slices.ContainsFunc(sortedKeys(f.want), func(name string) bool {
			return name == e.Name() || strings.HasPrefix(name, e.Name()+string(filepath.Separator))
		}) {
			left = append(left, e.Name())
		}
	}
	return left
}

func sortedKeys(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// again says whether a run went on already from what is in dir, but for who had it.
func (f *faulted) again(t *testing.T, dir string) bool {
	h := sha256.New()
	left := contents(t, dir)
	for _, name := range sortedKeys(left) {
		if filepath.Base(name) != "owner" {
			fmt.Fprintf(h, "%q %q\n", name, strings.ReplaceAll(left[name], dir, "DIR"))
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := string(h.Sum(nil))
	was := f.gone[sum]
	if f.gone == nil {
		f.gone = map[string]bool{}
	}
	f.gone[sum] = true
	return was
}

// check runs the command with a fault, and without one after that, and says what is wrong: it must fail in one line and leave nothing but what
// a resume uses, or do all it should; and the second run, unless one like it was made, must give the same files. fails says that the first did.
func (f *faulted) check(t *testing.T, fault string, program string, env, clean []string) (fails bool) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vkcome-fault-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	args := f.args(dir)
	wrong := func(e end, format string, args ...any) {
		t.Helper()
		t.Errorf("%s: %s: %s; exit %d, stderr %q", f.name, fault, fmt.Sprintf(format, args...), e.code, e.stderr)
	}
	again := func(env []string, args ...string) end {
		e := ran(t, env, program, args...)
		e.stdout = steady(e.stdout, dir)
		return e
	}
	first := again(env, args...)
	switch line := strings.TrimSuffix(first.stderr, "\n"); {
	case first.code == 0:
		if first.stdout != f.stdout {
			wrong(first, "it succeeds and prints\n%s\nwant\n%s", first.stdout, f.stdout)
		}
		sameFiles(t, dir, f.want)
		return false
	case first.code != 1 || !strings.HasPrefix(line, "vkcome: ") || strings.Contains(line, "\n") || len(line) > 1000:
		wrong(first, "want exit 1 and one line")
		return true
	}
	if left := f.leftover(t, dir); len(left) > 0 {
		wrong(first, "left behind: %s", strings.Join(left, ", "))
	}
	if f.again(t, dir) {
		return true
	}
	if f.resume {
		args = append(args, "--resume")
	}
	second := again(clean, args...)
	if second.code != 0 || second.stderr != "" && !strings.HasPrefix(second.stderr, "going on after") && !strings.Contains(second.stderr, "is finished already") && !strings.HasPrefix(second.stderr, "starting afresh") {
		wrong(second, "the run after %q fails", first.stderr)
		return true
	}
	if !f.resume && second.stdout != f.stdout {
		wrong(second, "the run after it prints\n%s\nwant\n%s", second.stdout, f.stdout)
	}
	sameFiles(t, dir, f.want)
	return true
}

// each calls f for each of a list, two at a time.
func each[T any](list []T, f func(T)) {
	var wait sync.WaitGroup
	defer wait.Wait()
	for i := range 2 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for k := i; k < len(list); k += 2 {
				f(list[k])
			}
		}()
	}
}

// The variables with which the test binary is vkcome, with steps of writing that are counted and fail.
const (
	stepsFile  = "VKCOME_TEST_STEPS" // a file that lists the steps
	failedStep = "VKCOME_TEST_STEP"  // the number of the one that fails: 1 is the first
	fullDisk   = "VKCOME_TEST_FULL"  // not empty: from that step on whatever takes room fails
)

// faultyWriter makes this process vkcome if it was started as such: with writes that fail.
func faultyWriter() {
	path := os.Getenv(stepsFile)
	if path == "" {
		return
	}
	log, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	var mu sync.Mutex
	n, full := 0, os.Getenv(fullDisk) != ""
	at, _ := strconv.Atoi(os.Getenv(failedStep)) // 0: none
	files.Fault = func(step, path string) error {
		mu.Lock()
		defer mu.Unlock()
		n++
		fmt.Fprintln(log, step, path)
		switch {
		case at == 0:
		case full && n >= at && step != "rename" && step != "close":
			return syscall.ENOSPC
		case n == at:
			return syscall.EIO
		}
		return nil
	}
	main()
	os.Exit(0)
}

// writeRuns are commands that write files of every kind.
func writeRuns(from, other string) []*faulted {
	m, tokens := filepath.Join(from, "m"), filepath.Join(from, "tokens.json")
	on := []string{"--tokens", tokens, "--window", "16", "-q"}
	part := func(to string, n int) []string {
		return append([]string{"stats", m, to, "--shard", fmt.Sprintf("%d/2", n), "--samples", "4"}, on...)
	}
	runs := faultRuns(from)[:2]
	runs[0].sample, runs[1].sample = 20, 20
	return append(runs,
		&faulted{name: "prune to a GGUF", resume: true, sample: 12, args: func(dir string) []string {
			return append([]string{"prune", m, filepath.Join(dir, "out.gguf"), "--method", "shortgpt", "--target-layers", "3", "--samples", "4"}, on...)
		}},
		&faulted{name: "prune with layers in files", resume: true, sample: 12, args: func(dir string) []string {
			return append([]string{"prune", m, filepath.Join(dir, "out"), "--method", "come", "--target-layers", "2", "--samples", "4", "--max-host-memory", "4GiB", "--spill-dir", dir}, on...)
		}},
		&faulted{name: "refit", resume: true, sample: 12, args: func(dir string) []string {
			return append([]string{"refit", m, filepath.Join(from, "student"), filepath.Join(dir, "out")}, on...)
		}},
		&faulted{name: "refit in parts, of which there is one", resume: true, sample: 12, args: func(dir string) []string {
			return append([]string{"refit", m, filepath.Join(from, "student"), filepath.Join(dir, "out"), "--shard", "0/1"}, on...)
		}},
		&faulted{name: "convert to a GGUF", sample: 8, args: func(dir string) []string {
			return []string{"convert", filepath.Join(from, "student"), filepath.Join(dir, "out.gguf"), "-q"}
		}},
		&faulted{name: "convert to a folder", sample: 8, args: func(dir string) []string {
			return []string{"convert", filepath.Join(from, "student"), filepath.Join(dir, "out"), "-q"}
		}},
		&faulted{name: "card", sample: 8, args: func(dir string) []string {
			return []string{"card", filepath.Join(from, "student"), "-o", filepath.Join(dir, "out.md"), "-q"}
		}},
		&faulted{name: "stats", sample: 6, args: func(dir string) []string { return part(filepath.Join(dir, "out"), 0) }},
		&faulted{name: "stats merge", sample: 6, args: func(dir string) []string {
			return []string{"stats", "merge", filepath.Join(dir, "out"), filepath.Join(other, "0"), filepath.Join(other, "1"), "-q"}
		}},
	)
}

// TestWriteFaults lets the steps of writing fail, one after the other: each creation, write, sync, close and renaming, or all that takes room
// from one on. All of them with VKCOME_HOSTILE=all.
func TestWriteFaults(t *testing.T) {
	from, other := faultModel(t), t.TempDir()
	for n := range 2 {
		vkcome(t, "stats", filepath.Join(from, "m"), filepath.Join(other, fmt.Sprint(n)), "--shard", fmt.Sprintf("%d/2", n), "--samples", "4",
			"--tokens", filepath.Join(from, "tokens.json"), "--window", "16", "-q")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	temporary := t.TempDir()
	for _, f := range writeRuns(from, other) {
		t.Run(f.name, func(t *testing.T) {
			dir, list := t.TempDir(), filepath.Join(temporary, f.name)
			got := ran(t, append(fast(), stepsFile+"="+list), self, f.args(dir)...)
			if got.code != 0 {
				t.Fatalf("exit %d: %s", got.code, got.stderr)
			}
			f.stdout, f.want = steady(got.stdout, dir), contents(t, dir)
			raw, err := os.ReadFile(list)
			if err != nil {
				t.Fatal(err)
			}
			steps := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
			type fault struct {
				n    int
				full bool
			}
			var all []fault
			for n := range steps {
				all = append(all, fault{n + 1, false}, fault{n + 1, true})
			}
			if !whole() && len(all) > f.sample {
				rand.New(rand.NewPCG(7, 8)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
				all = all[:f.sample]
			}
			var failed atomic.Int64
			each(all, func(x fault) {
				env := append(fast(), fmt.Sprintf("%s=%s-%d-%v", stepsFile, list, x.n, x.full), fmt.Sprint(failedStep, "=", x.n))
				if x.full {
					env = append(env, fullDisk+"=1")
				}
				what := fmt.Sprintf("step %d of %d fails, or all from it on (%v): %s", x.n, len(steps), x.full, strings.ReplaceAll(steps[x.n-1], dir, "DIR"))
				if f.check(t, what, self, env, append(fast(), stepsFile+"="+list+"-again-"+fmt.Sprint(x.n, x.full))) {
					failed.Add(1)
				}
			})
			t.Logf("%d steps; %d faults, of which %d ended the run", len(steps), len(all), failed.Load())
		})
	}
}
