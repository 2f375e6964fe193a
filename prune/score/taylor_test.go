package score_test

import (
	"math"
	"testing"

	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestTaylor compares scores with sums of |w·∂L/∂w| by central differences of the reference for every weight, on every device and tier, of
// layers with biases, which do not count.
func TestTaylor(t *testing.T) {
	const windows, window, bound = 3, 7, 1e-4
	spec := modeltest.Spec{Architecture: "Qwen2ForCausalLM", Hidden: 8, Intermediate: 11, Layers: 3, Heads: 2, KVHeads: 1, HeadDim: 6, Vocab: 29, Context: 16}
	m, dir := spec.Open(t)
	corpus := modeltest.Windows(spec.Vocab, windows, window)
	oracle, err := ref.LoadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float64, len(oracle.Layers))
	for i := range oracle.Layers {
		l := &oracle.Layers[i]
		for _, values := range [][]float64{l.InputNorm, l.PostNorm, l.Q.Data, l.K.Data, l.V.Data, l.O.Data, l.Gate.Data, l.Up.Data, l.Down.Data} {
			for k, v := range values {
				for _, w := range corpus {
					var tokens []int
					for _, token := range w {
						tokens = append(tokens, int(token))
					}
					const h = 1e-5
					values[k] = v + h
					up := oracle.Loss([][]int{tokens})
					values[k] = v - h
					down := oracle.Loss([][]int{tokens})
					values[k] = v
					want[i] += math.Abs(v * (up - down) / (2 * h))
				}
			}
		}
	}
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		s, err := score.New(d, m, corpus)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Update(t.Context(), m, 0, 0); err != nil {
			t.Fatal(err)
		}
		last := 0
		got, err := s.Taylor(t.Context(), m, func(done, total int) {
			if done <= last || total != train.GradientPasses*len(m.Layers) {
				t.Errorf("%d of %d done after %d", done, total, last)
			}
			last = done
		})
		if err != nil {
			t.Fatal(err)
		}
		for l := range want {
			if !(math.Abs(got[l]/want[l]-1) <= bound) {
				t.Errorf("layer %d scores %v, want %v", l, got[l], want[l])
			}
		}
		if passes := s.Work().Passes; last != train.GradientPasses*len(m.Layers) || passes != float64(last) {
			t.Errorf("%d runs of a layer were told of, %v counted", last, passes)
		}
		again, err := s.Taylor(t.Context(), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		for l := range got {
			if again[l] != got[l] {
				t.Errorf("layer %d scores %v, and %v again", l, got[l], again[l])
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if used := d.Memory(); used.Used != 0 {
			t.Errorf("%d bytes left on the device", used.Used)
		}
	})
}

// TestTaylorMemory computes scores within the memory that is predicted, which is less than all layers' gradients take.
func TestTaylorMemory(t *testing.T) {
	const windows, window = 6, 64
	spec := modeltest.Spec{Hidden: 64, Intermediate: 1024, Layers: 12, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 64, Context: window}
	m, _ := spec.Open(t)
	d, err := vk.Open(vk.Options{CacheDir: "-", MaxMemory: 12 << 20})
	if err != nil {
		t.Fatal(err)
	}
	o := score.Options(d)
	o.StatesOnHost = true
	need, err := score.PredictTaylor(d, m, windows, window, 0, o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := score.NewWith(d, m, modeltest.Windows(spec.Vocab, windows, window), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), m, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Taylor(t.Context(), m, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	used, layers := d.Memory(), int64(0)
	for _, l := range m.Layers {
		layers += l.Bytes()
	}
	t.Logf("used %s of %s predicted, all layers take %s", vk.Bytes(used.PeakUsed), vk.Bytes(need.Device), vk.Bytes(layers))
	if used.Used != 0 || used.PeakUsed > need.Device || used.PeakUsed > layers {
		t.Errorf("%+v, predicted were %d bytes", used, need.Device)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
