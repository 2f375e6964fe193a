package prune_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/work"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// stopping is a context that gives an error once a path is there.
type stopping struct {
	context.Context
	path string
	err  error
}

func (s stopping) Err() error {
	if _, err := os.Stat(s.path); err == nil {
		return s.err
	}
	return s.Context.Err()
}

// filesIn are the files under a folder, by path.
func filesIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestResumeEveryMethod stops each method after each of its steps and resumes it: the files are those of a run that was left alone.
func TestResumeEveryMethod(t *testing.T) { resumeEveryMethod(t, nil) }

// TestResumeRefit does the same where every step is followed by a fit.
func TestResumeRefit(t *testing.T) {
	resumeEveryMethod(t, &refit.Options{HeldOut: 3, Lambdas: []float64{1, 100}, All: true})
}

func resumeEveryMethod(t *testing.T, fit *refit.Options) {
	spec := modeltest.Spec{Hidden: 32, Intermediate: 40, Layers: 7, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 61, Context: 64, DType: dtype.BF16}
	m, _ := spec.Open(t)
	windows := modeltest.Windows(spec.Vocab, 5, 17)
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, e := range method.Registry {
			var o method.Options
			if e.Needs().Target != nil {
				o.Layers = []int{1, 2, 5}
			}
			options := prune.Options{TargetLayers: 4, Method: e.New(o), Windows: windows, Refit: fit}
			if e.Needs().Refit && fit == nil || e.Needs().Repairs && fit != nil {
				if _, err := prune.NewPlan(m, options); err == nil || !strings.Contains(err.Error(), map[bool]string{true: "prune.Options.Refit", false: "refit.Options.End"}[fit == nil]) {
					t.Errorf("%s, fits %v: %v", e.Name, fit, err)
				}
				if fit == nil {
					continue
				}
				end := *fit
				end.End, options.Refit = true, &end
			}
			dir := t.TempDir()
			execute := func(ctx context.Context, name string, resume bool) (*prune.Lineage, error) {
				plan, err := prune.NewPlan(m, options)
				if err != nil {
					t.Fatal(err)
				}
				return plan.RunTo(ctx, d, prune.Output{Dir: filepath.Join(dir, name), Resume: resume, Force: true}, nil)
			}
			l, err := execute(t.Context(), "alone", false)
			if err != nil {
				t.Fatalf("%s: %v", e.Name, err)
			}
			want := filesIn(t, filepath.Join(dir, "alone"))
			for n := 1; n <= len(l.Steps); n++ {
				name := fmt.Sprint("after", n)
				work := prune.DefaultWork(filepath.Join(dir, name))
				why := []error{context.Canceled, vk.ErrDeviceLost}[n%2]
				_, err := execute(stopping{t.Context(), filepath.Join(work, fmt.Sprintf("step-%06d", n)), why}, name, false)
				left := (*prune.Unfinished)(nil)
				if !errors.As(err, &left) || left.Step != n || !errors.Is(err, why) {
					t.Fatalf("%s: stopped after step %d: %v", e.Name, n, err)
				}
				if _, err := execute(t.Context(), name, true); err != nil {
					t.Fatalf("%s: resumed after step %d: %v", e.Name, n, err)
				}
				for file, text := range filesIn(t, filepath.Join(dir, name)) {
					if text != want[file] && len(text) < 1<<14 {
						t.Errorf("%s: resumed after step %d: %s is %s\nwant %s", e.Name, n, file, text, want[file])
					} else if text != want[file] {
						t.Errorf("%s: resumed after step %d: %s has other bytes", e.Name, n, file)
					}
				}
			}
			fits := 0
			for _, s := range l.Steps {
				fits += len(s.Refit)
			}
			if (fits > 0) != (fit != nil || e.Needs().Held) {
				t.Errorf("%s: %d fits", e.Name, fits)
			}
			if len(l.Steps) == 0 {
				t.Errorf("%s took no step", e.Name)
			}
			if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) > 0 {
				t.Errorf("%s left behind %v", e.Name, left)
			}
		}
		if used := d.Memory().Used; used != 0 {
			t.Errorf("%d bytes left on the device", used)
		}
	})
}

// TestResumeElsewhere stops on one tier and goes on on another: that takes a word, and the lineage says so.
func TestResumeElsewhere(t *testing.T) {
	spec := modeltest.Spec{Hidden: 32, Intermediate: 40, Layers: 5, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 61, Context: 64, DType: dtype.BF16}
	m, _ := spec.Open(t)
	plan, err := prune.NewPlan(m, prune.Options{TargetLayers: 2, Windows: modeltest.Windows(spec.Vocab, 5, 17), Method: method.CoMe{Repeat: true}})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	tiers := []vk.Tier{vk.Baseline, vk.Subgroup}
	var devices []*vk.Device
	for _, tier := range tiers {
		d, err := vk.Open(vk.Options{MaxTier: &tier})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		devices = append(devices, d)
	}
	if devices[0].Tier == devices[1].Tier {
		t.Skip("the device has one tier")
	}
	o := prune.Output{Dir: out}
	stop := func(n int) context.Context {
		return stopping{t.Context(), filepath.Join(prune.DefaultWork(out), fmt.Sprintf("step-%06d", n)), context.Canceled}
	}
	if _, err := plan.RunTo(stop(1), devices[0], o, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	o.Resume = true
	if _, err := plan.RunTo(t.Context(), devices[1], o, nil); !errors.Is(err, work.ErrDifferent) || !strings.Contains(err.Error(), "tier was baseline, is subgroup") {
		t.Fatalf("resumed on another tier: %v", err)
	}
	o.AnyDevice = true
	if _, err := plan.RunTo(stop(2), devices[1], o, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	o.AnyDevice = false
	l, err := plan.RunTo(t.Context(), devices[1], o, nil)
	if err != nil {
		t.Fatal(err)
	}
	var took []string
	for _, d := range l.Devices {
		took = append(took, d.Tier)
	}
	if want := []string{"baseline", "subgroup"}; !reflect.DeepEqual(took, want) {
		t.Errorf("the lineage names tiers %v, want %v", took, want)
	}
	written, err := prune.ReadLineage(out)
	if err != nil || !reflect.DeepEqual(written.Devices, l.Devices) {
		t.Errorf("written: %v %v", written, err)
	}
}
