package generate_test

import (
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// A dispatch costs some 20 µs on a CPU's driver and the start of a kernel on a GPU: a layer has few of them, whatever the model.
func TestDispatches(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, name := range []string{"llama", "qwen2 tied", "qwen3 q/k norm"} {
			spec := modeltest.Odd[name]
			spec.Layers = 2
			shallow := dispatches(t, d, spec)
			spec.Layers = 5
			deep := dispatches(t, d, spec)
			for i, c := range []struct {
				what string
				most int // of a layer
			}{
				{"a token", 6},              // Q/K/V with the norm, split, attention, output, gate and up with the norm, down
				{"a prompt", 8},             // the norms by themselves
				{"a batch of a corpus", 10}, // and two checks for NaN
			} {
				if n := deep[i] - shallow[i]; n > 3*c.most {
					t.Errorf("%s, %s: three layers more are %d dispatches more, want %d", name, c.what, n, 3*c.most)
				}
			}
		}
	})
}

func dispatches(t *testing.T, d *vk.Device, spec modeltest.Spec) (counts [3]int) {
	t.Helper()
	spec.DType = dtype.F32 // norms and weights of one dtype
	m, _ := spec.Open(t)
	g, err := generate.New(d, m, 0)
	if err != nil {
		t.Fatal(err)
	}
	feed := func(tokens []uint32) int {
		before := g.Dispatched()
		if _, err := g.Feed(t.Context(), tokens); err != nil {
			t.Fatal(err)
		}
		return g.Dispatched() - before
	}
	prompt := modeltest.Windows(spec.Vocab, 1, 20)[0]
	feed(prompt) // weights are checked at the first use
	g.Reset()
	counts[1], counts[0] = feed(prompt), feed(prompt[:1])
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := run.New(d, m, [][]uint32{prompt})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // weights are checked in the first round
		before := f.Recorder().Dispatched
		if err := f.Run(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
		counts[2] = f.Recorder().Dispatched - before
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return counts
}
