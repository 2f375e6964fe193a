package run_test

import (
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// A synthetic model runs like one from a file, whether its weights stay on the device or are made anew for each tile and layer.
func TestSynthetic(t *testing.T) {
	m, err := model.Synthetic("tiny")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	windows := modeltest.Windows(m.Config.VocabSize, 4, 33)
	want := lossesUnder(t, vk.Options{}, m, windows)
	got := lossesUnder(t, vk.Options{MaxMemory: 3 << 20}, m, windows)
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("window %d: in little memory %v…, want %v…", i, got[i][:3], want[i][:3])
		}
	}
	if want[0][0] == want[1][0] || want[0][0] < 5 || want[0][0] > 12 {
		t.Errorf("losses %v, %v: not those of a random model of %d tokens", want[0][0], want[1][0], m.Config.VocabSize)
	}
}

// Its weights are those of ref.Random, one tensor after the other.
func TestSyntheticWeights(t *testing.T) {
	m, err := model.Synthetic("tiny")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	d := vktest.Open(t, vk.Options{})
	w := m.Layers[3].Weights[arch.Down]
	b, err := d.NewBuffer("weight", w.Size(), vk.OnDevice)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Free(b)
	raw, values := make([]byte, w.Size()), make([]float32, w.Rows*w.Cols)
	if err := graph.Put(t.Context(), d, b.All(), w); err != nil {
		t.Fatal(err)
	}
	if err := d.Download(t.Context(), raw, b.All()); err != nil {
		t.Fatal(err)
	}
	w.DType.Decode(values, raw)
	vktest.Near(t, values, ref.Random(w.Rows, w.Cols, w.Seed, float64(w.Scale)).Data, "random", "F16")
}

func TestSyntheticUnknown(t *testing.T) {
	if _, err := model.Synthetic("gpt-5"); err == nil {
		t.Error("gpt-5: no error")
	}
}
