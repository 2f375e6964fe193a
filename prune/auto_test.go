package prune_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// some are candidates of which the last is out of reach.
func some() []prune.Candidate {
	return []prune.Candidate{
		{Name: "shortgpt", Method: method.ShortGPT{}},
		{Name: "greedy, fitted", Method: method.Greedy{Candidates: 1}, Refit: &refit.Options{Lambdas: []float64{0.1, 1}}},
		{Name: "reverse", Method: method.Reverse{}},
		{Name: "come", Method: method.CoMe{Repeat: true}},
		{Name: "sixteen layers into one", Method: method.CoMe{LayersPerMerge: 16}},
	}
}

// TestAuto has a search that has time for everything choose the candidate of the smallest perplexity in the last round, and write what a run of
// that candidate writes. One that is stopped in its second trial and resumed takes no trial again.
func TestAuto(t *testing.T) {
	m, _ := seven.Open(t)
	windows := repeated(seven.Vocab, 32, 16)
	d := vktest.Open(t, vk.Options{})
	dir := t.TempDir()
	auto := func(ctx context.Context, o prune.AutoOptions, to prune.Output, progress func(prune.Status)) (*prune.Lineage, error) {
		t.Helper()
		o.TargetLayers, o.Windows = 4, windows
		a, err := prune.NewAuto(m, o)
		if err != nil {
			t.Fatal(err)
		}
		return a.RunTo(ctx, d, to, progress)
	}
	options := prune.AutoOptions{Budget: time.Hour, Candidates: some()}
	out := filepath.Join(dir, "auto")
	l, err := auto(t.Context(), options, prune.Output{Dir: out}, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkRounds(t, l.Auto)
	chosen := options.Candidates[slices.IndexFunc(options.Candidates, func(c prune.Candidate) bool { return c.Name == l.Auto.Chosen })]
	plan, err := prune.NewPlan(m, prune.Options{TargetLayers: 4, Method: chosen.Method, Refit: chosen.Refit, Windows: windows})
	if err != nil {
		t.Fatal(err)
	}
	alone := filepath.Join(dir, "alone")
	if _, err := plan.RunTo(t.Context(), d, prune.Output{Dir: alone}, nil); err != nil {
		t.Fatal(err)
	}
	if filesIn(t, alone)["model.safetensors"] != filesIn(t, out)["model.safetensors"] {
		t.Errorf("%s: other weights than a run of %s", out, l.Auto.Chosen)
	}
	if _, err := auto(t.Context(), options, prune.Output{Dir: out}, nil); !errors.Is(err, prune.ErrExists) {
		t.Errorf("an output that is there: %v", err)
	}
	if again, err := auto(t.Context(), options, prune.Output{Dir: out, Resume: true}, nil); err != nil || !reflect.DeepEqual(again.Auto, l.Auto) {
		t.Errorf("resumed after its end: %v", err)
	}

	t.Run("devices", func(t *testing.T) {
		second, err := vk.Open(vk.Options{Device: fmt.Sprint(d.Info.Index)}) // which vktest.Open would not do again
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		o := options
		o.Devices = []*vk.Device{second}
		out := filepath.Join(dir, "two devices")
		idle, used := second.Memory().Used, map[bool]bool{} // in trials, and after them
		two, err := auto(t.Context(), o, prune.Output{Dir: out}, func(s prune.Status) {
			if second.Memory().Used > idle {
				used[strings.HasPrefix(s.Stage, "round ")] = true
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := outcomes(two.Auto); got != outcomes(l.Auto) || two.Auto.Chosen != l.Auto.Chosen {
			t.Errorf("two devices chose %s of\n%s\none device %s of\n%s", two.Auto.Chosen, got, l.Auto.Chosen, outcomes(l.Auto))
		}
		if filesIn(t, out)["model.safetensors"] != filesIn(t, alone)["model.safetensors"] {
			t.Error("two devices give other weights")
		}
		if !used[true] || !used[false] {
			t.Errorf("the second device was used in trials: %v, in the run of what was chosen: %v", used[true], used[false])
		}
		if _, err := auto(t.Context(), options, prune.Output{Dir: out, Resume: true}, nil); !errors.Is(err, prune.ErrExists) {
			t.Errorf("what two devices searched for is taken for one's: %v", err)
		}
	})
	t.Run("resume", func(t *testing.T) {
		out := filepath.Join(dir, "stopped")
		ctx, cancel := context.WithCancel(t.Context())
		second := errors.New("not tried")
		_, err := auto(ctx, options, prune.Output{Dir: out}, func(s prune.Status) {
			if second != nil && second.Error() == "not tried" {
				_, second = auto(t.Context(), options, prune.Output{Dir: out}, nil)
			}
			if strings.Contains(s.Stage, options.Candidates[1].Name) {
				cancel()
			}
		})
		var left *prune.Unfinished
		if !errors.Is(err, context.Canceled) || !errors.As(err, &left) {
			t.Fatalf("stopped: %v", err)
		}
		if second == nil || !strings.Contains(second.Error(), "one at a time") {
			t.Errorf("a second search for the same output: %v", second)
		}
		for what, o := range map[string]prune.AutoOptions{"unfinished search": options, "other options": {Budget: time.Minute, Candidates: some()},
			"number of devices": {Budget: options.Budget, Candidates: options.Candidates, Devices: []*vk.Device{d}}} {
			if _, err := auto(t.Context(), o, prune.Output{Dir: out, Resume: what != "unfinished search"}, nil); err == nil || !strings.Contains(err.Error(), what) {
				t.Errorf("want an error with %q: %v", what, err)
			}
		}
		first := true
		resumed, err := auto(t.Context(), options, prune.Output{Dir: out, Resume: true}, func(s prune.Status) {
			if strings.HasPrefix(s.Stage, "round 1: "+options.Candidates[0].Name) {
				first = false
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if !first {
			t.Error("the first trial was taken again")
		}
		if got, want := filesIn(t, out)["model.safetensors"], filesIn(t, alone)["model.safetensors"]; got != want || resumed.Auto.Chosen != l.Auto.Chosen {
			t.Errorf("chose %s and wrote other weights than without a stop, which chose %s", resumed.Auto.Chosen, l.Auto.Chosen)
		}
		if files, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(files) > 0 {
			t.Errorf("left behind: %v, %v", files, err)
		}
	})
	t.Run("heal", func(t *testing.T) {
		o := options
		o.Candidates = some()[:1]
		o.Heal = &prune.DistillOptions{Windows: windows, Options: distill.Options{Batch: 4, Tokens: 256, EndToEnd: 2}}
		l, err := auto(t.Context(), o, prune.Output{Dir: filepath.Join(dir, "healed")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if l.Distill == nil || len(l.Distill.Stages) < 2 || l.Auto.Heal <= 0 || l.Auto.Heal > 3600 || l.Distill.Options.Budget.Seconds() > l.Auto.Heal+1e-6 { // which was rounded
			t.Errorf("healing: %+v, %v seconds", l.Distill, l.Auto.Heal)
		}
	})
}

// outcomes are what trials were of and what became of them, without their times.
func outcomes(r *prune.AutoRecord) string {
	var b strings.Builder
	for _, t := range r.Trials {
		fmt.Fprintln(&b, t.Candidate, t.Round, t.Windows, t.Perplexity, t.Fitted, t.Outcome)
	}
	return b.String()
}

// checkRounds checks that each round tries what the one before kept, and that the best of the last is chosen.
func checkRounds(t *testing.T, r *prune.AutoRecord) {
	t.Helper()
	tried := map[int][]string{}
	kept := map[int][]string{}
	for _, c := range some() {
		kept[-1] = append(kept[-1], c.Name)
	}
	last, best, least := 0, "", 0.0
	for _, trial := range r.Trials {
		if trial.Round > last || best == "" || trial.Perplexity > 0 && trial.Perplexity < least {
			best, least = trial.Candidate, trial.Perplexity
		}
		last = trial.Round
		tried[last] = append(tried[last], trial.Candidate)
		switch {
		case trial.Outcome == "goes on":
			kept[last] = append(kept[last], trial.Candidate)
		case (trial.Candidate == "sixteen layers into one") != (trial.Perplexity == 0):
			t.Errorf("%+v", trial)
		}
	}
	if last == 0 || r.Trials[0].Windows != 4 || r.Validation.Windows != 8 || r.Windows != 32 || r.Dense <= 0 {
		t.Errorf("%+v", r)
	}
	for round := range last + 1 {
		if !slices.Equal(tried[round], kept[round-1]) {
			t.Errorf("round %d tried %v, of %v", round, tried[round], kept[round-1])
		}
	}
	if r.Chosen != best {
		t.Errorf("chose %s, best was %s: %+v", r.Chosen, best, r.Trials)
	}
}

// TestAutoTime gives a search no time, and options that make no sense.
func TestAutoTime(t *testing.T) {
	m, _ := seven.Open(t)
	windows := repeated(seven.Vocab, 8, 16)
	d := vktest.Open(t, vk.Options{})
	out := filepath.Join(t.TempDir(), "out")
	a, err := prune.NewAuto(m, prune.AutoOptions{TargetLayers: 4, Windows: windows, Budget: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.RunTo(t.Context(), d, prune.Output{Dir: out}, nil); err == nil || !strings.Contains(err.Error(), "found nothing within 1ns") {
		t.Errorf("no time: %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("something was written")
	}
	for want, o := range map[string]prune.AutoOptions{
		"7 windows":       {TargetLayers: 4, Windows: windows[:7]},
		"no target":       {Windows: windows},
		"one target":      {Windows: windows, TargetLayers: 4, Sparsity: 0.5},
		"layers already":  {Windows: windows, TargetLayers: 7},
		"nothing to try":  {Windows: windows, TargetLayers: 4, Candidates: []prune.Candidate{}},
		"given twice":     {Windows: windows, TargetLayers: 4, Candidates: append(some(), some()...)},
		"a budget of -1s": {Windows: windows, TargetLayers: 4, Budget: -time.Second},
		"corpus to heal":  {Windows: windows, TargetLayers: 4, Heal: &prune.DistillOptions{}},
	} {
		if _, err := prune.NewAuto(m, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q: %v", want, err)
		}
	}
}
