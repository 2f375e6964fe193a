package run

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestKept changes every weight of a layer whose run was kept: what runs then goes on from where it may, from nowhere else, and gives
// the bits of a Forward that kept nothing, wherever the copies lie.
func TestKept(t *testing.T) {
	const at = 1
	places := []struct {
		name string
		o    Options
		room bool
	}{{"device", Options{BatchTokens: 24}, true}, {"host", Options{BatchTokens: 24, StatesOnHost: true, KeepWeights: true}, true}, {"nowhere", Options{BatchTokens: 24, StatesOnHost: true}, false}}
	for _, name := range modeltest.Distinct() {
		t.Run(name, func(t *testing.T) {
			vktest.Each(t, func(t *testing.T, d *vk.Device) {
				spec, err := modeltest.Named(name)
				if err != nil {
					t.Fatal(err)
				}
				m, _ := spec.Open(t)
				windows := modeltest.Windows(m.Config.VocabSize, 5, 12)
				for _, place := range places {
					host := &states.HostMemory{Limit: math.MaxInt64 / 2}
					place.o.Host = host
					f, plain := entering(t, d, m, windows, place.o), entering(t, d, m, windows, Options{BatchTokens: 24})
					if !place.room {
						s := host.Stats()
						if _, err := host.Reserve("all", host.Limit-s.Base-s.Reserved-s.States); err != nil {
							t.Fatal(err)
						}
					}
					if err := f.Kept.Layer(t.Context(), m, at, nil); err != nil {
						t.Fatal(err)
					}
					try := func(what string, v *model.Model, want known) {
						t.Helper()
						for b := range f.Kept.batches {
							if got := f.Kept.batches[b].known(layerCall{m: v, layer: at}, f.store.ID(at, b)); got != want {
								t.Fatalf("%s, kept on the %s: batch %d goes on from %+v, want %+v", what, place.name, b, got, want)
							}
						}
						if !bytes.Equal(passed(t, f, v, at), passed(t, plain, v, at)) {
							t.Errorf("%s, kept on the %s: other bits than without", what, place.name)
						}
					}
					whole := known{place.room, place.room && !m.Config.Sparse(at)}
					try("the same layer", m, whole)
					layer := m.Layers[at]
					try("a layer of unknown weights", m.Replace(at, &model.Layer{Weights: layer.Weights}), known{})
					moved := &model.Layer{Weights: layer.Weights}
					moved.CopyOf(layer)
					try("a copy of the layer", m.Replace(at, moved), whole)
					other := *m.Config
					other.ResidualScale = 0.5
					scaled := m.Replace(at, layer)
					scaled.Config = &other
					try("another config", scaled, known{})
					for role, w := range layer.Weights {
						if w.IsZero() {
							continue
						}
						half, err := w.Map(func(_ int, values []float32) {
							for i := range values {
								values[i] *= 0.5
							}
						})
						if err != nil {
							t.Fatal(err)
						}
						role := arch.Role(role)
						changed := m.Replace(at, layer.With(map[arch.Role]model.Weight{role: half}))
						try("another "+m.Config.Operation(role), changed, known{whole.attention && role >= arch.O, whole.mlp && role >= arch.Down})
					}
					// What is kept of one projection serves another, and that of other states nothing.
					down, err := layer.Weights[arch.O].Map(func(_ int, values []float32) { clear(values) })
					if err != nil {
						t.Fatal(err)
					}
					fitted := m.Replace(at, layer.With(map[arch.Role]model.Weight{arch.O: down}))
					if err := f.Kept.Layer(t.Context(), fitted, at, nil); err != nil {
						t.Fatal(err)
					}
					try("the layer that ran last", fitted, whole)
					try("the layer before", m, known{attention: whole.attention})
					if err := f.Layer(t.Context(), m, at-1, nil); err != nil {
						t.Fatal(err)
					}
					try("states made again", fitted, known{})
					f.Kept.Forget(at - 1)
					if s := host.Stats(); place.o.StatesOnHost && place.room && s.States != int64(m.Config.HiddenSize*4*5*12*(at+2)) {
						t.Errorf("%d bytes on the host after Forget", s.States)
					}
				}
			})
		})
	}
}

// entering is a Forward whose states enter layer 1.
func entering(t *testing.T, d *vk.Device, m *model.Model, windows [][]uint32, o Options) *Forward {
	f, err := NewWith(d, m, windows, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := f.Embed(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := f.Layer(t.Context(), m, 0, nil); err != nil {
		t.Fatal(err)
	}
	return f
}

// passed is what a visitor of a layer sees, in bytes.
func passed(t *testing.T, f *Forward, m *model.Model, l int) (all []byte) {
	t.Helper()
	err := f.Layer(t.Context(), m, l, func(s Step) error {
		for _, x := range []op.Tensor{s.Attention, s.MLP, s.Fed, s.Out} {
			if x.IsZero() {
				continue
			}
			raw := make([]byte, x.Size())
			if err := f.r.Wait(t.Context()); err != nil {
				return err
			}
			if err := f.d.Download(t.Context(), raw, x.View); err != nil {
				return err
			}
			all = slices.Concat(all, fmt.Append(nil, s.Index, x.Rows, x.Cols), raw)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
