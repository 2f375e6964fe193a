package refit

import (
	"slices"
	"testing"

	"gonum.org/v1/gonum/floats"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/lsq"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestUnion chooses neurons of two layers of random models on every device: those that float64 chooses.
func TestUnion(t *testing.T) {
	for _, name := range []string{"llama", "opt", "gemma2", "granite"} {
		spec, err := modeltest.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		spec.DType = dtype.F32
		m, dir := spec.Open(t)
		oracle, err := ref.LoadModel(dir)
		if err != nil {
			t.Fatal(err)
		}
		windows := modeltest.Windows(m.Config.VocabSize, 16, 29)
		const l, boundary, every = 0, 2, 4
		first := m.Layers[l]
		reading, err := merge.Reading(m.Config, m.Layers[l+1], first)
		if err != nil {
			t.Fatal(err)
		}
		both, err := merge.Union(first, reading)
		if err != nil {
			t.Fatal(err)
		}
		wide := oracle.Layers[l]
		wide.Gate, wide.Up, wide.Down = wideMat(both, arch.Gate), wideMat(both, arch.Up), wideMat(both, arch.Down)
		wide.GateBias, wide.UpBias = wideMat(both, arch.GateBias).Data, wideMat(both, arch.UpBias).Data
		n := 2 * m.Config.IntermediateSize
		if wide.DownBias != nil {
			n++
		}
		gram, cross := ref.NewMat(n, n), ref.NewMat(m.Config.HiddenSize, n)
		for i, window := range windows {
			if i%every == every-1 {
				continue
			}
			tokens := make([]int, len(window))
			for t, id := range window {
				tokens[t] = int(id)
			}
			states := oracle.HiddenStates(tokens)
			taps, _, lack, weight := wide.Lack(oracle.Config, states[l], states[boundary])
			for t, w := range weight {
				a := append(slices.Clone(taps.FFN.Row(t)), 1)[:n]
				for i, v := range a {
					floats.AddScaled(gram.Row(i), w*v, a)
				}
				for o, v := range lack.Row(t) {
					floats.AddScaled(cross.Row(o), w*v, a)
				}
			}
		}
		surgeon, ok := ref.NewSurgeon(gram, cross, wideMat(both, arch.Down), unionLambda)
		if !ok {
			t.Fatal("the products have no inverse")
		}
		if _, ok := surgeon.Eliminate(m.Config.IntermediateSize, 96); !ok {
			t.Fatal("neurons are nearly the same")
		}
		want := surgeon.Kept()
		vktest.Each(t, func(t *testing.T, d *vk.Device) {
			s, err := score.NewWith(d, m, windows, Room(score.Options(d), d, m, 29))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.HoldOnly(t.Context(), m, nil); err != nil {
				t.Fatal(err)
			}
			if err := s.Update(t.Context(), m, 0, 0); err != nil {
				t.Fatal(err)
			}
			kept, took, err := Union(t.Context(), s, m, l, boundary, Options{HeldOut: every})
			if err != nil || took <= 0 {
				t.Fatal(took, err)
			}
			got := slices.Clone(kept[0])
			for _, k := range kept[1] {
				got = append(got, k+m.Config.IntermediateSize)
			}
			missing := 0
			for _, k := range want {
				if !slices.Contains(got, k) {
					missing++
				}
			}
			if len(got) != len(want) || missing > len(want)/50 { // of two that cost the same, f32 may take the other
				t.Errorf("%s: %d of %d neurons are others than in float64", name, missing, len(want))
			}
		})
	}
}

// TestUnionMemory has what a union takes: of the device's memory, little as it may be, what a choice cannot do without, and of the host's the sums of
// both layers' neurons and what the device has no room for.
func TestUnionMemory(t *testing.T) {
	spec, err := modeltest.Named("opt")
	if err != nil {
		t.Fatal(err)
	}
	spec.Intermediate = 500
	m, _ := spec.Open(t)
	both := lsq.Shape{In: 1000, Out: m.Config.HiddenSize, Bias: true}
	for _, memory := range []int64{0, 4 << 20} {
		d := vktest.Open(t, vk.Options{MaxMemory: memory})
		if o := Room(score.Options(d), d, m, 31); o.Free < lsq.EliminateMemory(d, both) {
			t.Errorf("%d bytes are left free, a choice takes %d", o.Free, lsq.EliminateMemory(d, both))
		}
	}
	n, out := int64(1001), int64(both.Out)
	want := 2*16*(n*(n+1)/2+n*out) + 4*n*n // both sums, and the factors
	if one, two := HostBytes(m, 4, false), HostBytes(m, 4, true); two < want || two > want*3/2 || one > want/2 {
		t.Errorf("%d bytes of host memory, %d for a layer alone, want %d and less than half", two, one, want)
	}
}

// wideMat is a weight as the oracle has it.
func wideMat(l *model.Layer, role arch.Role) ref.Mat {
	w := l.Weights[role]
	if w.IsZero() {
		return ref.Mat{}
	}
	list, err := w.Floats()
	if err != nil {
		panic(err)
	}
	out := ref.NewMat(w.Rows, w.Cols)
	for i, v := range list {
		out.Data[i] = float64(v)
	}
	return out
}
