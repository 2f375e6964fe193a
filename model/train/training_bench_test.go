package train_test

import (
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// BenchmarkTraining takes steps of 16 windows of 128 tokens with one layer of the embedded model, and with all of it.
func BenchmarkTraining(b *testing.B) {
	m, err := embedded.Open()
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	d := vktest.Open(b, vk.Options{})
	const windows, window = 16, 128
	f, err := run.NewWith(d, m, modeltest.Windows(m.Config.VocabSize, windows, window), run.Options{BatchWindows: windows, StatesOnHost: true})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := f.Embed(b.Context(), m); err != nil {
		b.Fatal(err)
	}
	for l := range m.Layers {
		if err := f.Layer(b.Context(), m, l, nil); err != nil {
			b.Fatal(err)
		}
	}
	adam := op.AdamWParams{LR: 1e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 1e-3, Step: 1}
	rate := func(b *testing.B) {
		b.ReportMetric(float64(b.N*windows*window)/b.Elapsed().Seconds(), "tokens/s")
	}
	for _, o := range train.Objectives {
		b.Run(string(o), func(b *testing.B) {
			t, err := train.NewLayer(b.Context(), f, m, m, 3, o, train.Setup{})
			if err != nil {
				b.Fatal(err)
			}
			defer t.Close()
			for b.Loop() {
				x, y, err := f.States().Pair(b.Context(), f.States(), 3, 5, 0)
				if err != nil {
					b.Fatal(err)
				}
				t.Begin()
				if err := t.Add(x, y, train.Target{Objective: o, Temperature: 1, Tokens: windows * window, Change: 1}); err != nil {
					b.Fatal(err)
				}
				if _, err := t.Step(b.Context(), 1, adam); err != nil {
					b.Fatal(err)
				}
			}
			rate(b)
		})
	}
	b.Run("all weights", func(b *testing.B) {
		eight, err := m.With(m.Layers[:8], []int{0, 1, 2, 3, 4, 5, 6, 7})
		if err != nil {
			b.Fatal(err)
		}
		t, err := train.NewModel(b.Context(), f, m, eight, train.Setup{})
		if err != nil {
			b.Fatal(err)
		}
		defer t.Close()
		for b.Loop() {
			t.Begin()
			if err := t.Add(b.Context(), 0, train.Target{Temperature: 1, Tokens: windows * window}); err != nil {
				b.Fatal(err)
			}
			if _, err := t.Step(b.Context(), 1, adam); err != nil {
				b.Fatal(err)
			}
		}
		rate(b)
	})
}
