package prune_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// sixLayers is a small model that is pruned and distilled in some twenty steps, with a checkpoint after each.
var sixLayers = modeltest.Spec{Hidden: 32, Intermediate: 40, Layers: 6, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 61, Context: 64, DType: dtype.BF16}

func distilling(schedule string, o distill.Options) *prune.DistillOptions {
	o.Batch, o.HeldOut = 4, 4
	if o.Tokens == 0 {
		o.Tokens = 5 * 4 * 16
	}
	return &prune.DistillOptions{Schedule: schedule, Options: o, Windows: modeltest.Windows(sixLayers.Vocab, 16, 16), Every: time.Nanosecond}
}

// TestDistillWhilePruning stops pruning with distillation after each checkpoint and resumes it: every file is that of a run that was left alone.
func TestDistillWhilePruning(t *testing.T) {
	m, _ := sixLayers.Open(t)
	windows := modeltest.Windows(sixLayers.Vocab, 5, 17)
	d := vktest.Open(t, vk.Options{})
	for _, c := range []struct {
		name     string
		method   method.Method
		training *prune.DistillOptions
	}{
		{"sp", nil, distilling(prune.DistillAtEnd, distill.Options{EndToEnd: 3})}, {"mp", nil, distilling(prune.DistillEach, distill.Options{EndToEnd: 3})},
		{"updates", nil, distilling(prune.DistillAtEnd, distill.Options{Rank: 3, EndToEnd: 3})},
		{"moments in BF16", nil, distilling(prune.DistillAtEnd, distill.Options{Moments: "bf16", EndToEnd: 3})},
		{"nmse, student, micro-batches", nil, distilling(prune.DistillAtEnd, distill.Options{Objective: train.NMSE, Input: distill.StudentInput, MicroBatch: 2})},
		{"mp of layers that are dropped", method.ShortGPT{}, distilling(prune.DistillEach, distill.Options{})},
		{"all", nil, distilling(prune.DistillWhole, distill.Options{EndToEnd: 6})},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			execute := func(ctx context.Context, name string, resume bool) (*prune.Lineage, error) {
				plan, err := prune.NewPlan(m, prune.Options{TargetLayers: 4, Method: c.method, Windows: windows, Distill: c.training})
				if err != nil {
					t.Fatal(err)
				}
				return plan.RunTo(ctx, d, prune.Output{Dir: filepath.Join(dir, name), Resume: resume, Force: true, SaveSteps: true}, nil)
			}
			l, err := execute(t.Context(), "alone", false)
			if err != nil {
				t.Fatal(err)
			}
			stages := l.Distill.Stages
			want := 2 + min(1, c.training.Options.EndToEnd)
			if c.training.Schedule == prune.DistillWhole {
				want = 1
			}
			if len(stages) != want {
				t.Fatalf("%d stages, want %d", len(stages), want)
			}
			for _, s := range stages {
				if !(s.After < s.Before) || s.Best == 0 {
					t.Errorf("%+v: the held-out loss did not fall", *s)
				}
			}
			files := filesIn(t, dir)
			compared := 0
			for n, past := 2, 0; past < 2; n += 4 { // where nothing looks at the context after a checkpoint, the run goes on

				name := "after"
				_, err := execute(stopping{t.Context(), filepath.Join(prune.DefaultWork(filepath.Join(dir, name)), fmt.Sprintf("step-%06d", n)), vk.ErrDeviceLost}, name, false)
				if err == nil {
					past++
					continue
				}
				past = 0
				if left := (*prune.Unfinished)(nil); !errors.As(err, &left) || !errors.Is(err, vk.ErrDeviceLost) {
					t.Fatalf("stopped after checkpoint %d: %v", n, err)
				}
				if _, err := execute(t.Context(), name, true); err != nil {
					t.Fatalf("resumed after checkpoint %d: %v", n, err)
				}
				for file, text := range filesIn(t, dir) {
					if of, ok := strings.CutPrefix(file, name); ok && text != files["alone"+of] {
						t.Errorf("resumed after checkpoint %d: %s has other bytes", n, file)
					}
				}
				compared++
			}
			if compared < 2 {
				t.Errorf("%d runs were compared: the test shows little", compared)
			}
		})
	}
	if used := d.Memory().Used; used != 0 {
		t.Errorf("%d bytes left on the device", used)
	}
}

// pruned writes the small model with four layers into a folder and opens it.
func pruned(t *testing.T, d *vk.Device, m *model.Model) *model.Model {
	t.Helper()
	plan, err := prune.NewPlan(m, prune.Options{TargetLayers: 4, Windows: modeltest.Windows(sixLayers.Vocab, 5, 17)})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "pruned")
	if _, err := plan.RunTo(t.Context(), d, prune.Output{Dir: out}, nil); err != nil {
		t.Fatal(err)
	}
	return modeltest.Open(t, out)
}

// TestDistillResume does for a model that was pruned before what TestDistillWhilePruning does.
func TestDistillResume(t *testing.T) {
	m, _ := sixLayers.Open(t)
	d := vktest.Open(t, vk.Options{})
	student := pruned(t, d, m)
	dir := t.TempDir()
	execute := func(ctx context.Context, name string, resume bool) (*prune.Lineage, error) {
		p, err := prune.NewDistillation(m, student, prune.DistillationOptions{Distill: *distilling("", distill.Options{EndToEnd: 4})})
		if err != nil {
			t.Fatal(err)
		}
		return p.RunTo(ctx, d, prune.Output{Dir: filepath.Join(dir, name), Resume: resume, Force: true}, nil)
	}
	l, err := execute(t.Context(), "alone", false)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Distill.Stages) != 3 || l.Distill.Teacher == nil || len(l.Steps) != 2 {
		t.Errorf("%+v", l)
	}
	if again, err := execute(t.Context(), "alone", true); err != nil || again == nil {
		t.Errorf("finished already, resumed: %v", err)
	}
	want := filesIn(t, filepath.Join(dir, "alone"))
	if lines := strings.Count(want[model.Losses], "\n"); lines != 5+5+4 {
		t.Errorf("%d lines of losses, want 14", lines)
	}
	compared := 0
	for n, past := 1, 0; past < 2; n += 4 {
		_, err := execute(stopping{t.Context(), filepath.Join(prune.DefaultWork(filepath.Join(dir, "after")), fmt.Sprintf("step-%06d", n)), context.Canceled}, "after", false)
		if err == nil {
			past++
			continue
		}
		past = 0
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := execute(t.Context(), "after", true); err != nil {
			t.Fatalf("resumed after checkpoint %d: %v", n, err)
		}
		for file, text := range filesIn(t, filepath.Join(dir, "after")) {
			if text != want[file] {
				t.Errorf("resumed after checkpoint %d: %s has other bytes", n, file)
			}
		}
		compared++
	}
	if compared < 3 {
		t.Errorf("%d runs were compared: a checkpoint after each step is expected", compared)
	}
}

// TestDistillStreamed trains all weights on a device that has no room for them: the plan says so, the bytes are those of a device that has, and
// a run that stops on the one goes on on the other.
func TestDistillStreamed(t *testing.T) {
	spec := sixLayers
	spec.Hidden, spec.Intermediate, spec.HeadDim = 64, 768, 16
	m, _ := spec.Open(t)
	large := vktest.Open(t, vk.Options{})
	student := pruned(t, large, m)
	for _, rank := range []int{0, 2} {
		training := distilling("", distill.Options{Rank: rank, EndToEnd: 5, MicroBatch: 2})
		groups := [][]distill.Group{nil, {}}[min(1, rank)] // with updates, all weights are all that is trained
		p, err := prune.NewDistillation(m, student, prune.DistillationOptions{Distill: *training, Groups: groups})
		if err != nil {
			t.Fatal(err)
		}
		_, whole, err := p.Plan(large)
		if err != nil || whole.Streamed || whole.Host != 0 {
			t.Fatalf("%+v %v", whole, err)
		}
		small := vktest.Open(t, vk.Options{MaxMemory: whole.Peak()})
		_, memory, err := p.Plan(small)
		if err != nil || !memory.Streamed || memory.Peak() >= whole.Peak() || memory.Host == 0 {
			t.Fatalf("%+v on the small device, %+v on the large one: %v", memory, whole, err)
		}
		dir := t.TempDir()
		execute := func(ctx context.Context, d *vk.Device, name string, resume bool) error {
			_, err := p.RunTo(ctx, d, prune.Output{Dir: filepath.Join(dir, name), Resume: resume}, nil)
			return err
		}
		for name, d := range map[string]*vk.Device{"large": large, "small": small} {
			if err := execute(t.Context(), d, name, false); err != nil {
				t.Fatal(err)
			}
		}
		stop := stopping{t.Context(), filepath.Join(prune.DefaultWork(filepath.Join(dir, "both")), fmt.Sprintf("step-%06d", []int{15, 3}[min(1, rank)])), context.Canceled}
		if err := execute(stop, small, "both", false); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := execute(t.Context(), large, "both", true); err != nil {
			t.Fatal(err)
		}
		want := filesIn(t, filepath.Join(dir, "large"))
		for _, name := range []string{"small", "both"} {
			for file, text := range filesIn(t, filepath.Join(dir, name)) {
				if text != want[file] {
					t.Errorf("rank %d, %s: %s has other bytes", rank, name, file)
				}
			}
		}
	}
}

// TestDistillEqual trains layers that equal the teacher's: every loss is 0, and nothing changes.
func TestDistillEqual(t *testing.T) {
	m, _ := sixLayers.Open(t)
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, objective := range train.Objectives {
			for _, input := range distill.Inputs {
				out := filepath.Join(t.TempDir(), "out")
				p, err := prune.NewDistillation(m, m, prune.DistillationOptions{Distill: *distilling("", distill.Options{Objective: objective, Input: input, EndToEnd: 2}), Groups: []distill.Group{{Layer: 1, First: 1, Last: 1}, {Layer: 4, First: 4, Last: 4}}})
				if err != nil {
					t.Fatal(err)
				}
				l, err := p.RunTo(t.Context(), d, prune.Output{Dir: out}, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range l.Distill.Stages {
					if s.Before != 0 || s.After != 0 || s.Best != 0 || s.Done != 1 || s.Ended != "equal" {
						t.Errorf("%s, %s input: %+v", objective, input, *s)
					}
				}
				after := modeltest.Open(t, out).AllWeights()
				for i, w := range m.AllWeights() {
					if string(modeltest.Bytes(t, w)) != string(modeltest.Bytes(t, after[i])) {
						t.Errorf("%s, %s input: %s changed", objective, input, w.Name)
					}
				}
			}
		}
	})
}

// TestNeverWorse trains with rates that do harm, or for no time at all: the weights stay what they were.
func TestNeverWorse(t *testing.T) {
	m, _ := sixLayers.Open(t)
	d := vktest.Open(t, vk.Options{})
	student := pruned(t, d, m)
	for name, o := range map[string]distill.Options{"harm": {LR: 0.2, Patience: 2}, "no time": {Budget: time.Nanosecond, EndToEnd: 3}} {
		out := filepath.Join(t.TempDir(), "out")
		p, err := prune.NewDistillation(m, student, prune.DistillationOptions{Distill: *distilling("", o)})
		if err != nil {
			t.Fatal(err)
		}
		l, err := p.RunTo(t.Context(), d, prune.Output{Dir: out}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range l.Distill.Stages {
			if s.Best != 0 || s.After != s.Before || name == "no time" && s.Done > 0 || name == "harm" && s.Ended != "patience" {
				t.Errorf("%s: %+v", name, *s)
			}
		}
		after := modeltest.Open(t, out).AllWeights()
		for i, w := range student.AllWeights() {
			if string(modeltest.Bytes(t, w)) != string(modeltest.Bytes(t, after[i])) {
				t.Errorf("%s: %s changed", name, w.Name)
			}
		}
	}
}

// TestNotFinite trains a layer whose gradients are beyond f32: three steps in a row are skipped, and the run stops and writes nothing.
func TestNotFinite(t *testing.T) {
	m, _ := sixLayers.Open(t)
	d := vktest.Open(t, vk.Options{})
	student := pruned(t, d, m)
	parts := student.Layers[2].Weights
	down := &parts[arch.Down]
	values := modeltest.Floats(t, *down)
	for i := range values {
		values[i] *= 1e16
	}
	down.Data = make([]byte, down.Size())
	down.DType.Encode(down.Data, values)
	wild := *student
	wild.Layers = slices.Clone(student.Layers)
	wild.Layers[2] = model.NewLayer(parts[:])
	dir := t.TempDir()
	p, err := prune.NewDistillation(m, &wild, prune.DistillationOptions{Distill: *distilling("", distill.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	skipped := 0
	_, err = p.RunTo(t.Context(), d, prune.Output{Dir: filepath.Join(dir, "out")}, func(s prune.Status) {
		if s.Training != nil && s.Training.Record != nil && s.Training.Record.Loss == nil {
			skipped++
		}
	})
	if err == nil || !strings.Contains(err.Error(), "not finite in 3 steps in a row") || !strings.Contains(err.Error(), "distill.Options.LR") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil || skipped != 2 {
		t.Errorf("%d skipped steps were told of, want 2; the output: %v", skipped, err)
	}
}

func TestDistillRefuses(t *testing.T) {
	m, _ := sixLayers.Open(t)
	d := vktest.Open(t, vk.Options{})
	student := pruned(t, d, m)
	other := sixLayers
	other.Hidden, other.Layers = 48, 6
	wide, _ := other.Open(t)
	for _, c := range []struct {
		teacher, student *model.Model
		o                prune.DistillationOptions
		want             string
	}{
		{m, m, prune.DistillationOptions{Distill: *distilling("", distill.Options{})}, "has no vkcome.json"},
		{student, student, prune.DistillationOptions{Distill: *distilling("", distill.Options{})}, "come from a model of 6 layers"},
		{m, student, prune.DistillationOptions{Distill: *distilling("mp", distill.Options{})}, "prune.Options.Distill mp"},
		{m, student, prune.DistillationOptions{Distill: *distilling("zp", distill.Options{})}, "[sp mp all]"},
		{m, student, prune.DistillationOptions{}, "empty"},
		{m, student, prune.DistillationOptions{Distill: *distilling("", distill.Options{}), Groups: []distill.Group{}}, "nor all weights"},
		{m, student, prune.DistillationOptions{Distill: *distilling("", distill.Options{}), Groups: []distill.Group{{Layer: 4}}}, "the student has 4 layers"},
		{wide, student, prune.DistillationOptions{Distill: *distilling("", distill.Options{})}, "hidden_size 48"},
	} {
		p, err := prune.NewDistillation(c.teacher, c.student, c.o)
		if err == nil {
			_, err = p.RunTo(t.Context(), d, prune.Output{Dir: filepath.Join(t.TempDir(), "out")}, nil)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestDistillTiny distills the embedded model on 64 windows of its own domain: 12 steps a layer, and 4 of all weights, win back a part of what
// pruning lost on another text; 21 % when this was written.
func TestDistillTiny(t *testing.T) {
	m, windows := embeddedModel(t, 64, 128)
	tokens, err := corpus.ReadTokens(t.Context(), "../testdata/golden/eval_tokens.json", 0)
	if err != nil {
		t.Fatal(err)
	}
	test, err := corpus.Cut(tokens, 128)
	if err != nil {
		t.Fatal(err)
	}
	d := vktest.Open(t, vk.Options{})
	plan := func(training *prune.DistillOptions) *prune.Result {
		return execute(t, m, prune.Options{TargetLayers: 8, Windows: windows, Method: method.CoMe{}, Distill: training})
	}
	perplexity := func(m *model.Model) float64 {
		p, err := eval.RunPerplexity(t.Context(), d, m, test[:24], nil)
		if err != nil {
			t.Fatal(err)
		}
		return p.Perplexity
	}
	before, after := plan(nil), plan(&prune.DistillOptions{Schedule: prune.DistillAtEnd, Options: distill.Options{Tokens: 12 * 16 * 128, EndToEnd: 4, HeldOut: 16}, Windows: windows})
	dense, merged, won := perplexity(m), perplexity(before.Model), perplexity(after.Model)
	back := (merged - won) / (merged - dense)
	t.Logf("perplexity %.3f dense, %.3f merged, %.3f distilled: %.1f %% of the loss are back", dense, merged, won, 100*back)
	if !(back > 0.15) || math.IsInf(won, 0) {
		t.Errorf("%.1f %% of the loss are back, want 15 %% at least", 100*back)
	}
	for _, s := range after.Lineage.Distill.Stages {
		if !(s.After < s.Before) {
			t.Errorf("%+v: the held-out loss did not fall", *s)
		}
	}
}
