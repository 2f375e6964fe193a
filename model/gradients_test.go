package model_test

import (
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Gradients of the language-model loss by every layer's weights are the slopes of the loss that the reference computes, window by window,
// wherever the states are.
func TestGradientsArchitectures(t *testing.T) {
	const windows, window = 2, 11
	for _, name := range modeltest.Names() {
		t.Run(name, func(t *testing.T) {
			m, oracle := architecture(t, name, nil)
			vktest.Each(t, func(t *testing.T, d *vk.Device) {
				f := kept(t, d, m, windows, window, 1)
				var got [windows][][]float32 // by window, then by layer and part
				for w := range got {
					got[w] = make([][]float32, len(m.Layers)*int(model.NumParts))
				}
				layers := 0
				err := f.Gradients(t.Context(), m, func(layer int, b model.Batch, w, g []op.Tensor) error {
					if err := f.Recorder().Wait(t.Context()); err != nil {
						return err
					}
					for p, x := range g {
						if x.IsZero() != w[p].IsZero() {
							t.Errorf("layer %d, part %d: weight %v, gradient %v", layer, p, w[p], x)
						}
						if x.IsZero() {
							continue
						}
						raw, values := make([]byte, x.Size()), make([]float32, x.Elements())
						if err := d.Download(t.Context(), raw, x.View); err != nil {
							return err
						}
						dtype.F32.Decode(values, raw)
						got[b.Begin][layer*int(model.NumParts)+p] = values
					}
					return nil
				}, func(done, total int) { layers = done })
				if err != nil {
					t.Fatal(err)
				}
				if layers != len(m.Layers) {
					t.Errorf("%d layers were told of", layers)
				}
				var weights [][]float64
				for l := range oracle.Layers {
					weights = append(weights, values(&oracle.Layers[l])...)
				}
				for w, tokens := range f.Windows() {
					var ids []int
					for _, v := range tokens {
						ids = append(ids, int(v))
					}
					slopes(t, name, got[w], weights, func() float64 { return oracle.Loss([][]int{ids}) })
				}
				// The forward states are there still: a second pass gives the same.
				if err := f.Gradients(t.Context(), m, func(int, model.Batch, []op.Tensor, []op.Tensor) error { return nil }, nil); err != nil {
					t.Error(err)
				}
				f.Drop(1)
				if err := f.Gradients(t.Context(), m, nil, nil); err == nil {
					t.Error("gradients without the states at a boundary")
				}
			})
		})
	}
}
