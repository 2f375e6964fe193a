package prune_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// sharedFit is a fit of a model that lost layers 2 and 4 to the one that it was made of.
type sharedFit struct {
	t        *testing.T
	m        *model.Model
	student  string // its folder
	options  prune.RefittingOptions
	d        *vk.Device
	students []*model.Model // a part's own
}

func newSharedFit(t *testing.T, spec modeltest.Spec, parts int) *sharedFit {
	m, _ := spec.Open(t)
	f := &sharedFit{t: t, m: m, d: vktest.Open(t, vk.Options{}), student: filepath.Join(t.TempDir(), "student")}
	f.options = prune.RefittingOptions{Refit: refit.Options{HeldOut: 3, Lambdas: []float64{0.1, 1}, Projections: refit.Both, All: true}, Windows: repeated(spec.Vocab, 8, 24)}
	plan, err := prune.NewPlan(m, prune.Options{Method: method.Drop{Layers: []int{2, 4}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.RunTo(t.Context(), f.d, prune.Output{Dir: f.student}, nil); err != nil {
		t.Fatal(err)
	}
	for range parts {
		f.students = append(f.students, modeltest.Open(t, f.student))
	}
	return f
}

// run does a part of the fit.
func (f *sharedFit) run(ctx context.Context, part int, o prune.RefittingOptions, to prune.Output) (*prune.Lineage, error) {
	o.Shard = part
	p, err := prune.NewRefitting(f.m, f.students[part], o)
	if err != nil {
		return nil, err
	}
	return p.RunTo(ctx, f.d, to, nil)
}

// of are the options of a fit by so many parts.
func (f *sharedFit) of(parts int) prune.RefittingOptions {
	o := f.options
	o.Shards = parts
	return o
}

// all runs all parts at the same time, each by run, and gives their lineages.
func (f *sharedFit) all(parts int, run func(part int) (*prune.Lineage, error)) (lineages []*prune.Lineage) {
	f.t.Helper()
	lineages = make([]*prune.Lineage, parts)
	errs := make([]error, parts)
	var wait sync.WaitGroup
	for part := range parts {
		wait.Add(1)
		go func() {
			defer wait.Done()
			lineages[part], errs[part] = run(part)
		}()
	}
	wait.Wait()
	for part, err := range errs {
		if err != nil {
			f.t.Errorf("part %d: %v", part, err)
		}
	}
	return lineages
}

// same compares an output with that of one process, and checks that nothing lies beside it.
func (f *sharedFit) same(out, alone string) {
	f.t.Helper()
	got, want := filesIn(f.t, out), filesIn(f.t, alone)
	for name := range want {
		if got[name] != want[name] {
			f.t.Errorf("%s: %s is not what one process writes", out, name)
		}
	}
	if len(got) != len(want) {
		f.t.Errorf("%s: %d files, want %d", out, len(got), len(want))
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(out), ".*")); err != nil || len(left) > 0 {
		f.t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestRefittingShards has the bytes of one process when one, two, three or eight share a fit, of a model with biases too; also
// where a part has no window that is held out, or none but these.
func TestRefittingShards(t *testing.T) {
	biased := seven
	biased.AttentionBias, biased.MLPBias = true, true
	for name, c := range map[string]struct {
		spec  modeltest.Spec
		parts []int
	}{"plain": {seven, []int{1, 3, 8}}, "biases": {biased, []int{2}}} {
		t.Run(name, func(t *testing.T) {
			f := newSharedFit(t, c.spec, slices.Max(c.parts))
			dir := t.TempDir()
			alone := filepath.Join(dir, "alone")
			want, err := f.run(t.Context(), 0, f.options, prune.Output{Dir: alone})
			if err != nil {
				t.Fatal(err)
			}
			if n := len(want.Refit.Fits); n < 8 || !slices.ContainsFunc(want.Refit.Fits, func(f refit.Fit) bool { return f.Taken }) {
				t.Fatalf("%d fits: %+v", n, want.Refit.Fits)
			}
			for _, parts := range c.parts {
				out := filepath.Join(dir, fmt.Sprint(parts))
				lineages := f.all(parts, func(part int) (*prune.Lineage, error) {
					return f.run(t.Context(), part, f.of(parts), prune.Output{Dir: out})
				})
				f.same(out, alone)
				for part, l := range lineages {
					if fmt.Sprint(l.Refit.Fits) != fmt.Sprint(want.Refit.Fits) {
						t.Errorf("part %d of %d has the fits\n%v\nwant\n%v", part, parts, l.Refit.Fits, want.Refit.Fits)
					}
					if again, err := f.run(t.Context(), part, f.of(parts), prune.Output{Dir: out, Resume: true}); err != nil || again.Refit == nil {
						t.Errorf("part %d of %d, resumed after the end: %v", part, parts, err)
					}
				}
			}
		})
	}
}

// TestRefittingShardsStopped stops each part of three after each fit, whether it has taken that or not, and after sums of its own, and runs it again
// while the others wait.
func TestRefittingShardsStopped(t *testing.T) {
	f := newSharedFit(t, seven, 3)
	dir := t.TempDir()
	alone := filepath.Join(dir, "alone")
	if _, err := f.run(t.Context(), 0, f.options, prune.Output{Dir: alone}); err != nil {
		t.Fatal(err)
	}
	o := f.of(3)
	for _, c := range []struct {
		part int
		file string // at which it stops
	}{{0, "fit-000001-0"}, {0, "sums-000002-0-000001"}, {1, "fit-000002-1"}, {2, "sums-000003-0-000002"}, {2, "fit-000004-0"}, {1, "fit-000001-0"}} {
		name := fmt.Sprintf("%d-%s", c.part, c.file)
		to := prune.Output{Dir: filepath.Join(dir, name), Resume: true}
		stopped := false
		f.all(3, func(part int) (*prune.Lineage, error) {
			if part != c.part {
				return f.run(t.Context(), part, o, to)
			}
			l, err := f.run(stopping{t.Context(), filepath.Join(to.SharedFolder(), c.file), context.Canceled}, part, o, to)
			if err == nil {
				return l, nil // it was quicker than it could be stopped
			}
			if !errors.Is(err, context.Canceled) || !errors.As(err, new(*prune.Unfinished)) {
				return nil, fmt.Errorf("stopped: %w", err)
			}
			stopped = true
			return f.run(t.Context(), part, o, to)
		})
		if !stopped {
			t.Errorf("%s: it was not stopped", name)
		}
		f.same(to.Dir, alone)
	}
}

// TestRefittingShardsRefused gives parts that cannot be of one fit, and files that none of its parts wrote.
func TestRefittingShardsRefused(t *testing.T) {
	f := newSharedFit(t, seven, 3)
	dir := t.TempDir()
	to := prune.Output{Dir: filepath.Join(dir, "out")}
	shared := to.SharedFolder()
	short := f.of(3)
	short.Wait = time.Millisecond
	fails := func(what, want string, part int, o prune.RefittingOptions, to prune.Output) {
		t.Helper()
		_, err := f.run(t.Context(), part, o, to)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: want an error with %q in one line: %v", what, want, err)
		}
	}
	fails("alone", "the fit of layer 1 did not come from part 2 of 3 within 1ms", 1, short, to)
	fails("alone again", "the fit of layer 1 did not come from part 2 of 3 within 1ms", 1, short, to) // with the sums that it left
	sums := filepath.Join(shared, "sums-000001-0-000001")
	good, err := os.ReadFile(sums)
	if err != nil {
		t.Fatal(err)
	}
	other := f.of(3)
	other.Windows = repeated(seven.Vocab, 9, 24)
	fails("another corpus", "the corpus is 8 windows of 24 tokens for part 1 and 9 windows of 24 tokens for part 2", 2, other, to)
	other.Windows = slices.Clone(f.options.Windows)
	other.Windows[7] = other.Windows[0]
	fails("another text", "the text of the corpus is ", 2, other, to)
	other = f.of(3)
	other.Refit.HeldOut = 4
	fails("other options", "prune.Options.Refit is ", 2, other, to)
	fails("another number of parts", "the number of parts is 3 for part 1 and 2 for part 0", 0, f.of(2), to)

	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 1
	head := slices.Index(good, '\n') + 1
	f2 := f.of(2)
	toTwo := prune.Output{Dir: filepath.Join(dir, "two")}
	f2.Wait = time.Millisecond
	fails("alone", "part 0 of 2", 1, f2, toTwo)
	foreign, err := os.ReadFile(filepath.Join(toTwo.SharedFolder(), "sums-000001-0-000001"))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ text, want string }{
		"empty":              {"", "begins with"},
		"no sums":            {"hello\n", `begins with "hello\n"`},
		"one long line":      {strings.Repeat("x", 2<<20), "begins with no line"},
		"cut in its line":    {string(good[:head-5]), "cut short"},
		"cut behind it":      {string(good[:head]), "the end is missing"},
		"cut":                {string(good[:len(good)/2]), "the end is missing"},
		"cut at its end":     {string(good[:len(good)-1]), "its end is missing"},
		"longer":             {string(good) + "x", "bytes behind its end"},
		"changed":            {string(flipped), "SHA-256"},
		"changed at the end": {string(good[:len(good)-1]) + string(good[len(good)-1]^1), "SHA-256"},
		"of another fit":     {string(foreign), "is of another fit or part"},
	} {
		write(sums, c.text)
		fails(what, c.want, 0, f.of(3), to)
		fails(what, sums+": ", 0, f.of(3), to)
		fails(what, "remove it and start part 1 again", 0, f.of(3), to)
	}
	write(sums, string(good))

	write(filepath.Join(shared, "fit-000001-0"), string(good))
	fails("sums in the place of a fit", "fit-000001-0: begins with", 1, f.of(3), to)
	fails("sums in the place of a fit", "remove it and start part 0 again", 1, f.of(3), to)
	if err := os.Remove(filepath.Join(shared, "fit-000001-0")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(shared, "fit-000001-0"), 0o755); err != nil {
		t.Fatal(err)
	}
	fails("a folder", "it holds fit-000001-0", 1, f.of(3), to)
	if err := os.Remove(filepath.Join(shared, "fit-000001-0")); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(shared, "notes.txt"), "mine")
	fails("somebody's file", "is no folder of a fit in parts: it holds notes.txt", 0, f.of(3), to)
	if err := os.Remove(filepath.Join(shared, "notes.txt")); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(shared, "part-000001.json")
	own, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	write(part, string(own[:len(own)-9]))
	fails("a part's file cut", "part-000001.json is cut short", 0, f.of(3), to)
	write(part, string(own))

	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Add(1)
	go func() {
		defer wait.Done()
		if _, err := f.run(ctx, 2, f.of(3), to); !errors.Is(err, context.Canceled) {
			t.Errorf("stopped: %v", err)
		}
	}()
	for {
		if _, err := os.Stat(filepath.Join(shared, "sums-000001-0-000002")); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	twice := f.of(3)
	twice.Shard = 2
	p, err := prune.NewRefitting(f.m, f.students[0], twice)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.RunTo(t.Context(), f.d, to, nil); err == nil || !strings.Contains(err.Error(), "another process does part 2 of 3") {
		t.Errorf("a part twice: %v", err)
	}
	cancel()
	wait.Wait()
	fails("the next fit", "the sums of layer 1 did not come from parts 1 and 2 of 3", 0, short, to) // those of the first are all there

	for want, o := range map[string]prune.RefittingOptions{
		"shard 3 of 3: expected 0 to 2":     {Refit: f.options.Refit, Windows: f.options.Windows, Shard: 3, Shards: 3},
		"9 shards of a corpus of 8 windows": {Refit: f.options.Refit, Windows: f.options.Windows, Shards: 9},
		"has no part":                       {Refit: f.options.Refit, Windows: f.options.Windows, Shard: 1},
		"a wait of -1s, expected 0 or more": {Refit: f.options.Refit, Windows: f.options.Windows, Shards: 2, Wait: -time.Second},
	} {
		if _, err := prune.NewRefitting(f.m, f.students[0], o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q: %v", want, err)
		}
	}
	anyDevice := to
	anyDevice.AnyDevice, anyDevice.Resume = true, true
	fails("another device", "prune.Output.AnyDevice", 1, f.of(3), anyDevice)
}
