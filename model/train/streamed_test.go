package train_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// sameTraining takes steps with both trainings and fails unless they have the same bits all along.
func sameTraining(t *testing.T, what string, f *run.Forward, first, second wholeTrainer) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	measure := func(tr wholeTrainer) float64 {
		tr.Begin()
		must(tr.Measure(t.Context(), 1, train.Target{Temperature: temperature, Tokens: 40}))
		loss, err := tr.Loss(t.Context())
		must(err)
		return loss
	}
	p := adam
	for p.Step = 1; p.Step <= 3; p.Step++ {
		if a, b := measure(first), measure(second); a != b || !(a > 0) {
			t.Fatalf("%s, step %d: held-out losses %v and %v", what, p.Step, a, b)
		}
		loss, grads := addAll(t, f, first)
		again, others := addAll(t, f, second)
		if loss != again || !(loss > 0) {
			t.Fatalf("%s, step %d: losses %v and %v", what, p.Step, loss, again)
		}
		if len(grads) != len(others) {
			t.Fatalf("%s: %d gradients and %d", what, len(grads), len(others))
		}
		some := 0
		for i := range grads {
			if !slices.Equal(grads[i], others[i]) {
				t.Fatalf("%s, step %d: gradient %d of %d differs", what, p.Step, i, len(grads))
			}
			if slices.ContainsFunc(grads[i], func(v float32) bool { return v != 0 }) {
				some++
			}
		}
		if some < len(grads)/4 {
			t.Fatalf("%s: %d of %d gradients are not 0", what, some, len(grads))
		}
		a, err := first.Step(t.Context(), 0.01, p)
		must(err)
		b, err := second.Step(t.Context(), 0.01, p)
		must(err)
		if a != b || a.Skipped || a.Done {
			t.Fatalf("%s: step %d did %+v and %+v", what, p.Step, a, b)
		}
	}
	x, y := stateOf(t, first), stateOf(t, second)
	if !bytes.Equal(x, y) {
		t.Errorf("%s: the states after three steps differ", what)
	}
	values, err := first.Values(t.Context())
	must(err)
	others, err := second.Values(t.Context())
	must(err)
	for i := range values {
		if !bytes.Equal(values[i].Data, others[i].Data) {
			t.Errorf("%s: %s differs", what, values[i].Name)
		}
	}
	must(second.Load(t.Context(), bytes.NewReader(x)))
	must(first.Load(t.Context(), bytes.NewReader(y)))
	if a, b := measure(first), measure(second); a != b || !bytes.Equal(stateOf(t, second), x) {
		t.Errorf("%s: loaded, the held-out losses are %v and %v", what, a, b)
	}
}

// students are pairs of a teacher of some layers and a student of two of them.
func students(t *testing.T) (names []string, teachers, list []*model.Model) {
	t.Helper()
	for i, name := range []string{"llama", "qwen3-window", "opt", "gemma2", "granite"} {
		spec, err := modeltest.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		spec.Vocab, spec.Context, spec.DType = 97, 24, dtype.All[i%len(dtype.All)]
		teacher, _ := spec.Open(t)
		student, err := teacher.With(teacher.Layers[1:3], []int{1, 2})
		if err != nil {
			t.Fatal(err)
		}
		names, teachers, list = append(names, name), append(teachers, teacher), append(list, student)
	}
	return names, teachers, list
}

// A training whose layers come to the device one by one has the bits of one that is there whole: losses, gradients, weights and what is saved,
// of all weights and of updates, with states and moments in host memory or in files.
func TestStreamedTraining(t *testing.T) {
	names, teachers, list := students(t)
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for i, name := range names {
			for _, rank := range []int{0, 3} {
				host := &states.HostMemory{Dir: t.TempDir()}
				f, err := run.NewWith(d, teachers[i], modeltest.Windows(97, 5, 13), run.Options{BatchWindows: 2, StatesOnHost: true, Host: host})
				if err != nil {
					t.Fatal(err)
				}
				runAll(t, f, teachers[i])
				if rank == 0 && i%2 == 0 {
					host.Limit, host.Dir = math.MaxInt64, t.TempDir()
					host.Begin(d)
					host.Limit = host.Stats().Base + host.Stats().Reserved + list[i].Bytes() + 20<<10
				}
				setup := train.Setup{Rank: rank, Seed: 7, Moments: []dtype.DType{dtype.BF16, dtype.F32}[(i+rank)%4/2]}
				whole, err := train.NewModel(t.Context(), f, teachers[i], list[i], setup)
				if err != nil {
					t.Fatal(err)
				}
				streamed, err := train.NewStreamed(t.Context(), f, teachers[i], list[i], setup, host)
				if err != nil {
					t.Fatal(err)
				}
				sameTraining(t, name, f, whole, streamed)
				if spilled := host.Stats().Spilled; (spilled > 0) != (host.Limit > 0) {
					t.Errorf("%s: %d bytes went to files", name, spilled)
				}
				whole.Close()
				streamed.Close()
				if err := f.Close(); err != nil {
					t.Error(err)
				}
				if used := d.Memory().Used; used != 0 {
					t.Fatalf("%s: %d bytes are left on the device", name, used)
				}
				if s := host.Stats(); s.States != 0 || s.Disk != 0 || s.Reserved != 0 {
					t.Errorf("%s: %+v is left of host memory", name, s)
				}
			}
		}
	})
}

// What Predict says of a model that is trained layer by layer is what is used, within a tenth, and less than of one that is there whole.
func TestPredictStreamed(t *testing.T) {
	for _, rank := range []int{0, 8} {
		spec := modeltest.Spec{Hidden: 256, Intermediate: 1536, Layers: 5, Heads: 8, KVHeads: 4, HeadDim: 32, Vocab: 4003, Context: 64, DType: dtype.BF16, Tied: rank > 0}
		m, _ := spec.Open(t)
		d, err := vk.Open(vk.Options{}) // of its own, whose peak is its own
		if err != nil {
			t.Fatal(err)
		}
		o, setup := run.Options{BatchWindows: 2, StatesOnHost: true}, train.Setup{Rank: rank}
		predict := func(whole train.Whole) train.Memory {
			want, err := train.Predict(d, m, m, 4, 32, o, train.Work{Whole: whole, Setup: setup})
			if err != nil {
				t.Fatal(err)
			}
			return want
		}
		f, err := run.NewWith(d, m, modeltest.Windows(spec.Vocab, 4, 32), o)
		if err != nil {
			t.Fatal(err)
		}
		student, err := m.With(m.Layers[:4], []int{0, 1, 2, 3})
		if err != nil {
			t.Fatal(err)
		}
		runAll(t, f, m)
		if err := f.Rest(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := d.Memory().PeakUsed
		trained, err := train.NewStreamed(t.Context(), f, m, student, setup, nil)
		if err != nil {
			t.Fatal(err)
		}
		addAll(t, f, trained)
		if _, err := trained.Step(t.Context(), 1, adam); err != nil {
			t.Fatal(err)
		}
		want, whole, got := predict(train.Streamed), predict(train.Resident), d.Memory().PeakUsed
		t.Logf("rank %d: %d bytes, predicted %d; whole %d; host %d", rank, got, want.Whole, whole.Whole, want.Host)
		if got <= before || math.Abs(float64(got-want.Whole)) > 0.1*float64(got) || got > want.Whole+1<<20 || want.Whole*3 > whole.Whole*2 {
			t.Errorf("rank %d: %d bytes are used, %d before, %d were predicted, %d for all of it", rank, got, before, want.Whole, whole.Whole)
		}
		trained.Close()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	vktest.Clean(t)
}
