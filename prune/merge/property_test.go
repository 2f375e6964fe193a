package merge_test

import (
	"fmt"
	"math/rand/v2"
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

// Every architecture, pruned at random again and again until one layer is left, reads back as what was written: the same config by
// layer, the same bytes of every weight, the same logits.
func TestPrunedReadsBack(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for i, name := range modeltest.Distinct() {
			t.Run(name, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(3, uint64(i)))
				spec, err := modeltest.Named(name)
				if err != nil {
					t.Fatal(err)
				}
				spec.Vocab, spec.DType, spec.Seed, spec.Bare = 61+rng.IntN(50), dtype.All[rng.IntN(len(dtype.All))], rng.Uint64N(1000), rng.IntN(2) == 0
				m, _ := spec.Open(t)
				for len(m.Layers) > 1 {
					m = again(t, d, m, pruneAtRandom(t, d, rng, m), []int{0, 20_000}[rng.IntN(2)])
				}
			})
		}
	})
}

// pruneAtRandom drops layers, or joins some neighbours with kept units and shares at random.
func pruneAtRandom(t *testing.T, d *vk.Device, rng *rand.Rand, m *model.Model) *model.Model {
	t.Helper()
	first := rng.IntN(len(m.Layers) - 1)
	end := first + 2 + rng.IntN(len(m.Layers)-first-1)
	var keep []int
	var layers []*model.Layer
	for l, layer := range m.Layers {
		if l <= first || l >= end {
			keep, layers = append(keep, l), append(layers, layer)
		}
	}
	alike := !slices.ContainsFunc(m.Layers[first:end], func(l *model.Layer) bool {
		return l.Weights[arch.Router].IsZero() != m.Layers[first].Weights[arch.Router].IsZero()
	})
	if alike && rng.IntN(2) == 0 {
		ratio, c := make([]float64, end-first), m.Config
		for i := range ratio {
			ratio[i] = 1 / float64(len(ratio))
		}
		var heads, neurons [][]float64
		for range ratio {
			heads, neurons = append(heads, uniform(rng, c.KVHeads)), append(neurons, uniform(rng, c.Units(first)))
		}
		joined, err := merge.Concat(t.Context(), d, c, m.Layers[first:end], merge.Keep(ratio, heads, neurons, c.Sparse(first)), ratio, merge.Options{Tiled: rng.IntN(2) == 0, NormByRatio: rng.IntN(2) == 0})
		if err != nil {
			t.Fatal(err)
		}
		layers[first] = joined
	}
	pruned, err := m.With(layers, keep)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range keep {
		if pruned.Config.Window(i) != m.Config.Window(l) || pruned.Config.Rotary(i) != m.Config.Rotary(l) || pruned.Config.Sparse(i) != m.Config.Sparse(l) {
			t.Errorf("layer %d became %d with another window, other positions or another kind of MLP", l, i)
		}
	}
	return pruned
}

func uniform(rng *rand.Rand, n int) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = rng.Float64()
	}
	return list
}

// again writes a model made of original, opens it, and compares.
func again(t *testing.T, d *vk.Device, original, m *model.Model, shard int) *model.Model {
	t.Helper()
	dir := t.TempDir()
	if err := m.Write(t.Context(), dir, shard); err != nil {
		t.Fatal(err)
	}
	got, err := model.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { got.Close() })
	if got.Parameters() != m.Parameters() || len(got.Layers) != len(m.Layers) {
		t.Fatalf("%d layers of %d parameters in all, want %d of %d", len(got.Layers), got.Parameters(), len(m.Layers), m.Parameters())
	}
	want, is := m.AllWeights(), got.AllWeights()
	for i, w := range want {
		if is[i].DType != w.DType || is[i].Rows != w.Rows || is[i].Cols != w.Cols || !slices.Equal(bytesOf(t, is[i]), bytesOf(t, w)) {
			t.Errorf("weight %d, %s: %v [%d %d] came back otherwise: %v [%d %d]", i, w.Name, w.DType, w.Rows, w.Cols, is[i].DType, is[i].Rows, is[i].Cols)
		}
	}
	for l := range got.Layers {
		for r := range arch.LayerRoles {
			if got.Layers[l].Weights[r].IsZero() == got.Config.HasIn(l, r) {
				t.Errorf("layer %d: role %v is there: %v", l, r.Info().Name, !got.Layers[l].Weights[r].IsZero())
			}
		}
	}
	if a, b := logits(t, d, m), logits(t, d, got); a != b {
		t.Errorf("the logits of %s with %d layers came back otherwise", original.Name, len(m.Layers))
	}
	return got
}

// bytesOf are a weight's, wherever its rows lie.
func bytesOf(t *testing.T, w model.Weight) (all []byte) {
	t.Helper()
	if err := w.Pieces(func(_ int64, data []byte) error { all = append(all, data...); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// logits are those of a text, in full precision.
func logits(t *testing.T, d *vk.Device, m *model.Model) (text string) {
	t.Helper()
	f, err := run.New(d, m, modeltest.Windows(m.Config.VocabSize, 1, 31))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := f.Run(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Logits(t.Context(), m, func(_ int, logits []float32) error {
		text = fmt.Sprint(logits)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return text
}
