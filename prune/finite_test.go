package prune_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// with is the model with other values of one tensor outside its layers.
func with(t *testing.T, m *model.Model, r arch.Role, change func(row int, values []float32)) *model.Model {
	t.Helper()
	weights := m.AllWeights()
	at := int(arch.LayerRoles)*len(m.Layers) + int(r-arch.LayerRoles)
	var err error
	if weights[at], err = weights[at].Map(change); err != nil {
		t.Fatal(err)
	}
	return m.WithWeights(weights)
}

// TestNotFiniteWeights puts a NaN into a row of the embedding that no window reads. Every run meets it before it does anything else, says where it
// is, keeps nothing, and does not advise to go on.
func TestNotFiniteWeights(t *testing.T) {
	m, _ := seven.Open(t)
	const row, col = 58, 5
	bad := with(t, m, arch.Embed, func(r int, values []float32) {
		if r == row {
			values[col] = float32(math.NaN())
		}
	})
	bad.Name = m.Name
	windows := repeated(row, 6, 24) // tokens below the row
	d := vktest.Open(t, vk.Options{})
	o := refit.Options{HeldOut: 3, Lambdas: []float64{0.1}}
	dir := t.TempDir()
	for name, start := range map[string]func(out prune.Output, progress func(prune.Status)) error{
		"prune": func(out prune.Output, progress func(prune.Status)) error {
			p, err := prune.NewPlan(bad, prune.Options{TargetLayers: 4, Windows: windows})
			if err != nil {
				return err
			}
			if _, err := p.Run(t.Context(), d, progress); !errors.As(err, new(*model.NonFiniteError)) {
				t.Errorf("prune, kept in memory: %v", err)
			}
			_, err = p.RunTo(t.Context(), d, out, progress)
			return err
		},
		"auto": func(out prune.Output, progress func(prune.Status)) error {
			a, err := prune.NewAuto(bad, prune.AutoOptions{TargetLayers: 4, Windows: repeated(row, 32, 16), Budget: time.Hour, Candidates: some()})
			if err != nil {
				return err
			}
			_, err = a.RunTo(t.Context(), d, out, progress)
			return err
		},
		"refit": func(out prune.Output, progress func(prune.Status)) error {
			p, err := prune.NewRefitting(m, bad, prune.RefittingOptions{Refit: o, Windows: windows, Groups: []distill.Group{{Layer: 1, First: 1, Last: 1}}})
			if err != nil {
				return err
			}
			_, err = p.RunTo(t.Context(), d, out, progress)
			return err
		},
		"distill": func(out prune.Output, progress func(prune.Status)) error {
			p, err := prune.NewDistillation(bad, m, prune.DistillationOptions{Distill: prune.DistillOptions{Windows: windows, Options: distill.Options{Batch: 2}}, Groups: []distill.Group{{Layer: 1, First: 1, Last: 1}}})
			if err != nil {
				return err
			}
			_, err = p.RunTo(t.Context(), d, out, progress)
			return err
		},
	} {
		err := start(prune.Output{Dir: filepath.Join(dir, name)}, func(s prune.Status) {
			if !strings.HasPrefix(s.Stage, "check the weights") && !strings.HasPrefix(s.Stage, "hash") {
				t.Errorf("%s: %s came first", name, s.Stage)
			}
		})
		var found *model.NonFiniteError
		if !errors.As(err, &found) || found.Row != row || found.Col != col || !strings.Contains(err.Error(), "tensor model.embed_tokens.weight: value [58, 5] is NaN") || strings.Contains(err.Error(), "Resume") {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s leaves %v, %v", name, left, err)
		}
	}
}

// TestAdvice: an error that the same run meets again is not answered by the advice to resume it, one of the device, the disk or the moment is.
func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		err   error
		lasts bool
	}{
		{model.Lasting(errors.New("x")), true}, {fmt.Errorf("y: %w", errors.Join(model.Lasting(errors.New("x")), fs.ErrClosed)), true},
		{&model.NonFiniteError{}, true}, {&run.NonFiniteError{}, true}, {fmt.Errorf("x: %w", vk.ErrLimit), true},
		{vk.ErrDeviceLost, false}, {vk.ErrOutOfMemory, false}, {context.Canceled, false}, {syscall.ENOSPC, false}, {errors.New("x"), false},
	} {
		u := &prune.Unfinished{Err: c.err, Work: "work", Step: 2}
		again := strings.Contains(u.Error(), "would end in the same way") && strings.Contains(u.Error(), "prune.Output.Force")
		if u.Lasts() != c.lasts || again != c.lasts || !strings.Contains(u.Error(), "up to step 2 is kept in work") || !c.lasts && !strings.Contains(u.Error(), "with prune.Output.Resume to go on") {
			t.Errorf("%v: lasts %v, %s", c.err, u.Lasts(), u)
		}
	}
}

// TestAdviceIsTrue has a model overflow where the result is verified and nowhere before: the error does not advise what ends so again.
func TestAdviceIsTrue(t *testing.T) {
	spec := seven
	spec.Tied = false
	m, _ := spec.Open(t)
	large := with(t, m, arch.Head, func(_ int, values []float32) {
		for i := range values {
			values[i] = 3e38
		}
	})
	large.Name = m.Name
	p, err := prune.NewPlan(large, prune.Options{TargetLayers: 5, Windows: repeated(spec.Vocab, 4, 24), Method: method.ShortGPT{}})
	if err != nil {
		t.Fatal(err)
	}
	d := vktest.Open(t, vk.Options{})
	out := prune.Output{Dir: filepath.Join(t.TempDir(), "out")}
	for range 2 {
		_, err = p.RunTo(t.Context(), d, out, nil)
		var left *prune.Unfinished
		if !errors.As(err, &left) || !left.Lasts() || !strings.Contains(err.Error(), "not finite") || strings.Contains(err.Error(), "to go on") {
			t.Fatal(err)
		}
		out.Resume = true
	}
}
