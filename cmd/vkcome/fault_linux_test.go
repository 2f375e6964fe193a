package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/vk/vktest/faultlayer"
)

// whole says that a test which usually takes a sample takes all there is: what make test-hostile sets.
func whole() bool { return os.Getenv("VKCOME_HOSTILE") == "all" }

// faulted is a command that is run again and again, each time with one fault.
type faulted struct {
	name   string
	args   func(dir string) []string // it writes into dir alone
	resume bool                      // after an error it goes on with --resume
	sample int                       // faults of it that are tried where not all are

	want   map[string]string // the files of a run without a fault, and its stdout
	stdout string
}

// faultModel is a folder with a model of 4 layers, its student of 2, and tokens, all as small as can be: a run takes a fifth of a second.
func faultModel(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	tiny := modeltest.Spec{Hidden: 16, Intermediate: 24, Layers: 4, Heads: 2, KVHeads: 1, HeadDim: 8, Vocab: 40, Context: 32, DType: dtype.BF16}
	m := filepath.Join(dir, "m")
	if err := errors.Join(os.Mkdir(m, 0o755), tiny.WriteTo(m)); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	tokens := make([]string, 192)
	for i := range tokens {
		tokens[i] = fmt.Sprint(rng.IntN(tiny.Vocab))
	}
	if err := os.WriteFile(filepath.Join(dir, "tokens.json"), []byte("["+strings.Join(tokens, ",")+"]"), 0o644); err != nil {
		t.Fatal(err)
	}
	vkcome(t, "prune", m, filepath.Join(dir, "student"), "--method", "come", "--target-layers", "2", "--tokens", filepath.Join(dir, "tokens.json"), "--window", "16", "--samples", "4", "-q")
	return dir
}

// faultRuns are a prune, a distillation and a perplexity of that model.
func faultRuns(from string) []*faulted {
	m, student := filepath.Join(from, "m"), filepath.Join(from, "student")
	on := []string{"--tokens", filepath.Join(from, "tokens.json"), "--window", "16", "-q"}
	return []*faulted{
		{name: "prune", resume: true, sample: 70, args: func(dir string) []string {
			return append([]string{"prune", m, filepath.Join(dir, "out"), "--method", "come", "--target-layers", "2", "--save-steps", "--samples", "4"}, on...)
		}},
		{name: "distill", resume: true, sample: 70, args: func(dir string) []string {
			return append([]string{"distill", m, student, filepath.Join(dir, "out"), "--batch", "2", "--held-out", "2", "--budget-tokens", "96", "--end-to-end", "2", "--checkpoint", "1ns"}, on...)
		}},
		{name: "eval ppl", sample: 30, args: func(string) []string {
			return append([]string{"eval", "ppl", m, "--json"}, on...)
		}},
	}
}

// end is what a run ended with.
type end struct {
	stdout, stderr string
	code           int
}

// ran runs a program in an environment. One that takes minutes hangs.
func ran(t *testing.T, env []string, name string, args ...string) end {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &errs
	hung := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() }) // it may have ended
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
		if f.resume && strings.HasSuffix(e.Name(), ".vkcome-work") {
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

// check runs the command with a fault, and without one after that, and says what is wrong: it must fail in one line and leave nothing but what
// a resume uses, or do all it should; and the second run must give the same files. fails says that the first did.
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
		e.stdout = strings.ReplaceAll(e.stdout, dir, "DIR")
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

// vulkanFaults are all faults of a run with these counts, or a sample of them: the first call of every entry point, then what chance picks.
// Every call fails in one of the ways that Vulkan has for it, the first in all of them; and from some calls on all fail.
func vulkanFaults(counts []faultlayer.Count, sample int) (list []faultlayer.Fault) {
	rng := rand.New(rand.NewPCG(5, 6))
	var first, rest []faultlayer.Fault
	for _, c := range counts {
		results := faultlayer.Results(c.Call)
		for n := range c.N {
			f := faultlayer.Fault{Call: c.Call, At: n + 1, Result: results[n%uint64(len(results))]}
			if n > 0 {
				rest = append(rest, f)
				continue
			}
			first = append(first, f)
			for _, other := range results[1:] {
				f.Result = other
				rest = append(rest, f)
			}
		}
		if c.N > 0 {
			for _, r := range results {
				rest = append(rest, faultlayer.Fault{Call: c.Call, At: 1 + rng.Uint64N(c.N), Result: r, On: true})
			}
		}
	}
	rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	list = append(first, rest...)
	if !whole() && len(list) > sample {
		list = list[:sample]
	}
	return list
}

// TestVulkanFaults lets the calls of runs fail, one after the other: all of them with VKCOME_HOSTILE=all.
func TestVulkanFaults(t *testing.T) {
	layer, from := faultlayer.Build(t), faultModel(t)
	cache := t.TempDir()
	environ := append(os.Environ(), "XDG_CACHE_HOME="+cache)
	temporary := t.TempDir()
	var next atomic.Int64
	for _, f := range faultRuns(from) {
		t.Run(f.name, func(t *testing.T) {
			env := func(fault faultlayer.Fault) (env []string, counts string) {
				counts = filepath.Join(temporary, fmt.Sprint(next.Add(1)))
				return layer.Env(environ, fault, counts), counts
			}
			alone := t.TempDir()
			var counts []faultlayer.Count
			for range 2 { // the second has the caches that all that follow have
				dir := filepath.Join(alone, fmt.Sprint(next.Add(1)))
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				e, table := env(faultlayer.Fault{})
				got := ran(t, e, program, f.args(dir)...)
				if got.code != 0 {
					t.Fatalf("exit %d: %s", got.code, got.stderr)
				}
				f.stdout, f.want, counts = strings.ReplaceAll(got.stdout, dir, "DIR"), contents(t, dir), faultlayer.Counts(t, table)
			}
			calls := uint64(0)
			for _, c := range counts {
				calls += c.N
			}
			all := vulkanFaults(counts, f.sample)
			var met, failed atomic.Int64
			each(all, func(fault faultlayer.Fault) {
				e, table := env(fault)
				if f.check(t, fault.String(), program, e, environ) {
					failed.Add(1)
				}
				for _, c := range faultlayer.Counts(t, table) {
					if c.Call == fault.Call && c.N >= fault.At {
						met.Add(1)
					}
				}
				os.Remove(table)
			})
			t.Logf("%d calls; %d faults, of which %d came to pass and %d ended the run", calls, len(all), met.Load(), failed.Load())
			if met.Load() < int64(len(all))*9/10 {
				t.Errorf("%d of %d faults came to pass", met.Load(), len(all))
			}
		})
	}
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

