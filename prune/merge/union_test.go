package merge_test

import (
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestReading gives a layer's MLP another norm to read: the model says the same. A layer with the neurons of both says what one with the
// second's alone says, where the first's give nothing.
func TestReading(t *testing.T) {
	for _, name := range []string{"llama", "opt", "gemma2", "granite", "qwen2", "olmo2"} {
		spec, err := modeltest.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		spec.DType = dtype.F32
		m, _ := spec.Open(t)
		d := vktest.Open(t, vk.Options{})
		windows := modeltest.Windows(m.Config.VocabSize, 2, 17)
		losses := func(m *model.Model) []float32 {
			f, err := run.New(d, m, windows)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.Run(t.Context(), m, nil); err != nil {
				t.Fatal(err)
			}
			loss, err := f.Loss(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			return slices.Concat(loss...)
		}
		same := func(what string, a, b []float32) {
			t.Helper()
			for i := range a {
				if math.Abs(float64(a[i]-b[i])) > 2e-5*math.Abs(float64(a[i])) {
					t.Fatalf("%s: %s: loss %d is %v, want %v", name, what, i, b[i], a[i])
				}
			}
		}
		first, own := m.Layers[0], m.Layers[1]
		reads, err := merge.Reading(m.Config, own, first)
		if err != nil {
			t.Fatal(err)
		}
		norms := slices.Clone(reads.Weights[:])
		norms[arch.PostNorm], norms[arch.PostNormBias] = first.Weights[arch.PostNorm], first.Weights[arch.PostNormBias]
		want := losses(m)
		same("reading another norm", want, losses(m.Replace(1, model.NewLayer(norms))))

		silent := slices.Clone(norms) // the same attention and norms, and neurons that nothing comes of
		down := silent[arch.Down]
		down.Data = make([]byte, down.Size())
		silent[arch.Down], silent[arch.Gate], silent[arch.Up] = down, first.Weights[arch.Gate], first.Weights[arch.Up]
		silent[arch.GateBias], silent[arch.UpBias] = first.Weights[arch.GateBias], first.Weights[arch.UpBias]
		both, err := merge.Union(model.NewLayer(silent), reads)
		if err != nil {
			t.Fatal(err)
		}
		config := *m.Config
		config.IntermediateSize *= 2
		wide := m.Replace(1, both)
		for l, layer := range m.Layers { // every layer of a model is as wide
			if l != 1 {
				none := slices.Clone(layer.Weights[:])
				zero := none[arch.Down]
				zero.Data = make([]byte, zero.Size())
				none[arch.Down] = zero
				padded, err := merge.Union(layer, model.NewLayer(none))
				if err != nil {
					t.Fatal(err)
				}
				wide = wide.Replace(l, padded)
			}
		}
		wide.Config = &config
		same("the neurons of two", want, losses(wide))
	}
}
