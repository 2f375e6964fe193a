package run_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// wide is a mixture of which bindings of 1 MiB take 64 rows at a time.
func wide(t *testing.T) modeltest.Spec {
	t.Helper()
	spec, err := modeltest.Named("qwen3-moe")
	if err != nil {
		t.Fatal(err)
	}
	spec.Vocab, spec.Hidden, spec.Layers = 61, 512, 2
	spec.Extra["num_experts"], spec.Extra["num_experts_per_tok"] = 9, 8
	return spec
}

// Rows go through the experts some at a time where a binding holds no more, in another number of batches, and with other rows beside them:
// their logits have the same bits.
func TestExpertsSplit(t *testing.T) {
	spec := wide(t)
	m, _ := spec.Open(t)
	windows := modeltest.Windows(spec.Vocab, 5, 37)
	logits := func(d *vk.Device, windows [][]uint32, o run.Options) (all []float32) {
		t.Helper()
		f, err := run.NewWith(d, m, windows, o)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Run(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
		if err := f.Logits(t.Context(), m, func(_ int, logits []float32) error { all = append(all, logits...); return nil }); err != nil {
			t.Fatal(err)
		}
		return all
	}
	whole := vktest.Open(t, vk.Options{})
	want := logits(whole, windows, run.Options{})
	for what, got := range map[string][]float32{
		"bindings of 1 MiB":     logits(vktest.Open(t, vk.Options{StorageRange: 1 << 20}), windows, run.Options{}),
		"batches of one window": logits(whole, windows, run.Options{BatchWindows: 1}),
		"one window alone":      logits(whole, windows[:1], run.Options{}),
	} {
		if !slices.Equal(got, want[:len(got)]) {
			t.Errorf("%s: other bits", what)
		}
	}
	vktest.Clean(t)
}

// A weight of an expert that is not a number is named with its tensor; values that become infinite in one with the layer and its experts.
func TestExpertsNonFinite(t *testing.T) {
	spec := wide(t)
	spec.Hidden = 48
	d := vktest.Open(t, vk.Options{})
	for _, c := range []struct {
		role  arch.Role
		value float32
		all   bool
		want  string
	}{
		{arch.ExpertDown, float32(math.NaN()), false, "layer 1: tensor model.layers.1.mlp.experts.6.down_proj.weight: 1 of 1152 values are NaN or infinite"},
		{arch.Router, float32(math.Inf(1)), false, "layer 1: tensor model.layers.1.mlp.gate.weight: 1 of 432 values"},
		{arch.ExpertUp, 3e38, true, "layer 1: mlp.experts.down_proj output"},
	} {
		m, _ := spec.Open(t)
		w := m.Layers[1].Weights[c.role]
		parts := w.Parts()
		at := min(6, len(parts)-1)
		changed, err := parts[at].Map(func(row int, values []float32) {
			for i := range values {
				if c.all || row*len(values)+i == 7 {
					values[i] = c.value
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		list := slices.Clone(parts)
		list[at] = changed
		stack, err := model.Stack(list...)
		if err != nil {
			t.Fatal(err)
		}
		layer := model.NewLayer(m.Layers[1].Weights[:])
		layer.Weights[c.role] = stack
		bad, err := m.With([]*model.Layer{m.Layers[0], layer}, []int{0, 1})
		if err != nil {
			t.Fatal(err)
		}
		f, err := run.New(d, bad, modeltest.Windows(spec.Vocab, 2, 20))
		if err != nil {
			t.Fatal(err)
		}
		err = f.Run(t.Context(), bad, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
		var found *run.NonFiniteError
		if c.all != errors.As(err, &found) {
			t.Errorf("%v is a NonFiniteError: %v", err, !c.all)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	vktest.Clean(t)
}
