package score_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestVariants compares what methods other than CoMe go by with float64: distances over all tokens, losses and last states of models
// without some layers, and every measure of sensitivity; whether all weights stay on the device or each layer is uploaded when needed.
func TestVariants(t *testing.T) {
	spec := modeltest.Spec{Hidden: 40, Intermediate: 88, Layers: 5, Heads: 6, KVHeads: 3, HeadDim: 8, Vocab: 131, Context: 64, DType: dtype.BF16}
	m, dir := spec.Open(t)
	oracle, err := ref.LoadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	windows := modeltest.Windows(spec.Vocab, 7, 21)
	text := make([][]int, len(windows))
	for i, w := range windows {
		for _, v := range w {
			text[i] = append(text[i], int(v))
		}
	}
	tokens := float64(len(windows) * len(windows[0]))
	calibration := ref.Calibrate(oracle, text)
	near := func(t *testing.T, what string, got, want []float64) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: %d figures, want %d", what, len(got), len(want))
		}
		for i := range got {
			if !(math.Abs(got[i]-want[i]) <= 1e-4*math.Abs(want[i])+1e-7) {
				t.Errorf("%s: %d is %v, want %v", what, i, got[i], want[i])
			}
		}
	}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		var losses []string
		for _, keep := range []bool{true, false} {
			s, err := score.NewWith(d, m, windows, run.Options{BatchTokens: 64, KeepWeights: keep})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Update(t.Context(), m, 0, 0); err != nil {
				t.Fatal(err)
			}
			for _, span := range []int{1, 2, 3} {
				angles, err := s.Skips(t.Context(), span, score.Angle, nil)
				if err != nil {
					t.Fatal(err)
				}
				near(t, fmt.Sprint("angles over ", span), angles, calibration.Scores(span).SBITokens)
			}
			cosines, err := s.Skips(t.Context(), 1, score.Cosine, nil)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "cosines", cosines, calibration.Scores(1).BI)

			var candidates []run.Candidate
			var want []float64
			for l := range m.Layers {
				keep := slices.Delete([]int{0, 1, 2, 3, 4}, l, l+1)
				var layers []*model.Layer
				shorter := *oracle
				shorter.Layers = nil
				for _, k := range keep {
					layers, shorter.Layers = append(layers, m.Layers[k]), append(shorter.Layers, oracle.Layers[k])
				}
				candidates = append(candidates, run.Candidate{From: l, Make: func(context.Context) (*model.Model, error) { return m.With(layers, keep) }})
				want = append(want, shorter.Loss(text))
			}
			got, err := s.Losses(t.Context(), 4, candidates, nil)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "losses without a layer", got, want)
			losses = append(losses, fmt.Sprint(got))
			if _, err := s.Losses(t.Context(), 3, candidates, nil); err == nil {
				t.Error("a candidate of another depth was taken")
			}

			for l := range m.Layers {
				var activity, square [2][]float64
				for _, w := range text {
					_, taps := oracle.Layers[l].Forward(oracle.Config, oracle.HiddenStates(w)[l])
					for i, of := range []ref.Mat{taps.Attention, taps.FFN} {
						activity[i], square[i] = plus(activity[i], ref.AbsSum(of)), plus(square[i], ref.SquareSum(of))
					}
				}
				for i, w := range []ref.Mat{oracle.Layers[l].O, oracle.Layers[l].Down} {
					columns, squares, width := ref.ColumnAbsSum(w), ref.SquareSum(w), []int{16, 1}[i]
					for _, c := range []struct {
						of    score.Sensitivity
						value func(c int) float64
					}{
						{score.L1, func(c int) float64 { return activity[i][c] / tokens * columns[c] }},
						{score.L2, func(c int) float64 { return math.Sqrt(square[i][c] / tokens * squares[c]) }},
						{score.Activity, func(c int) float64 { return activity[i][c] / tokens }},
						{score.Weight, func(c int) float64 { return columns[c] }},
					} {
						want := make([]float64, len(columns)/width)
						for ch := range columns {
							want[ch/width] += c.value(ch) / float64(width)
						}
						heads, neurons, err := s.Sensitivity(t.Context(), l, c.of)
						if err != nil {
							t.Fatal(err)
						}
						near(t, fmt.Sprintf("sensitivity %d of layer %d", c.of, l), [][]float64{heads, neurons}[i], want)
					}
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if losses[0] != losses[1] {
			t.Errorf("losses depend on whether weights stay on the device: %v", losses)
		}
	})
}

func plus(a, b []float64) []float64 {
	if a == nil {
		return b
	}
	for i := range a {
		a[i] += b[i]
	}
	return a
}
