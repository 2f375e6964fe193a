package score_test

import (
	"encoding/json"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// A model with experts and dense layers is merged as the reference merges it: the same layers in the same ratios, the same heads and experts
// of them. What a checkpoint or a file of stats keeps gives the same steps.
func TestExperts(t *testing.T) {
	spec, err := modeltest.Named("qwen3-moe")
	if err != nil {
		t.Fatal(err)
	}
	spec.Vocab, spec.Layers, spec.Extra["mlp_only_layers"] = 97, 7, []int{0, 4}
	m, dir := spec.Open(t)
	oracle, err := ref.LoadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	windows := modeltest.Windows(spec.Vocab, 3, 29)
	ids := make([][]int, len(windows))
	for i, w := range windows {
		for _, v := range w {
			ids[i] = append(ids[i], int(v))
		}
	}
	want, err := ref.CoMe(oracle, ids, ref.Options{TargetLayers: 5})
	if err != nil {
		t.Fatal(err)
	}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		begin := func() method.State {
			s, err := score.New(d, m, windows)
			return method.State{Device: d, Model: m, Scorer: scorer(t, s, err), Tree: tree(m)}
		}
		state := begin()
		var taken []*method.Step
		for i, w := range want.Steps {
			step, err := method.CoMe{}.Step(t.Context(), &state, 5, nil)
			if err != nil {
				t.Fatal(err)
			}
			taken = append(taken, step)
			if !slices.Equal(step.MergeList, w.MergeList) {
				t.Fatalf("step %d merges %v, the reference %v", i, step.MergeList, w.MergeList)
			}
			for k, kept := range step.Kept {
				if math.Abs(step.Ratio[k]-w.Ratio[k]) > 1e-4 || !slices.Equal(kept.KVHeads, w.KVHeads[k]) || !slices.Equal(kept.Experts, w.Neurons[k]) || len(kept.Neurons) > 0 {
					t.Errorf("step %d, layer %d: %v by %v, the reference keeps heads %v and experts %v by %v", i, step.MergeList[k], kept, step.Ratio[k], w.KVHeads[k], w.Neurons[k], w.Ratio[k])
				}
			}
		}

		// Sensitivities of the pruned model's layers, those of dense ones among them, and the measures that there are of experts.
		if err := state.Scorer.Update(t.Context(), state.Model, 0, 0); err != nil {
			t.Fatal(err)
		}
		if err := state.Scorer.All(t.Context(), 5, nil); err != nil {
			t.Fatal(err)
		}
		scores := want.Calibration.Scores(2)
		for l := range 5 {
			_, units, err := state.Scorer.Sensitivity(t.Context(), l, score.L1)
			if err != nil {
				t.Fatal(err)
			}
			nearScores(t, units, scores.Neurons[l])
			load, again := []float64(nil), error(nil)
			if state.Model.Config.Sparse(l) {
				if _, load, again = state.Scorer.Sensitivity(t.Context(), l, score.Activity); again != nil || !slices.Equal(load, units) {
					t.Errorf("layer %d: loads %v, activities %v, %v", l, units, load, again)
				}
				_, squares, err := state.Scorer.Sensitivity(t.Context(), l, score.L2)
				for e, v := range squares {
					if err != nil || v < units[e] { // a root mean square is no less than the mean
						t.Errorf("layer %d: root mean squares %v of loads %v, %v", l, squares, units, err)
						break
					}
				}
				if _, _, err := state.Scorer.Sensitivity(t.Context(), l, score.Weight); err == nil {
					t.Errorf("layer %d: experts by their weights: no error", l)
				}
			}
		}

		// A checkpoint before the second step, and stats before the first.
		first := begin()
		if _, err := (method.CoMe{}).Step(t.Context(), &first, 5, nil); err != nil {
			t.Fatal(err)
		}
		raw, err := first.Scorer.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		restored, err := score.New(d, m, windows)
		restored = scorer(t, restored, err)
		if err := restored.Restore(t.Context(), first.Model, taken[0].MergeList[0], raw); err != nil {
			t.Fatal(err)
		}
		resumed := first
		resumed.Scorer = restored
		sameStep(t, &resumed, taken[1])

		all := begin()
		if err := all.Scorer.Update(t.Context(), m, 0, 0); err != nil {
			t.Fatal(err)
		}
		if err := all.Scorer.All(t.Context(), len(m.Layers), nil); err != nil {
			t.Fatal(err)
		}
		stats, err := all.Scorer.Stats()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "stats")
		if err := stats.Save(path, score.SaveOptions{}); err != nil {
			t.Fatal(err)
		}
		if stats, err = score.OpenStats(path); err != nil {
			t.Fatal(err)
		}
		loaded := begin()
		if err := loaded.Scorer.Update(t.Context(), m, 0, 0); err != nil {
			t.Fatal(err)
		}
		if err := loaded.Scorer.Load(stats); err != nil {
			t.Fatal(err)
		}
		loaded.Known = true
		sameStep(t, &loaded, taken[0])
	})
}

// sameStep takes a step and compares what it kept.
func sameStep(t *testing.T, s *method.State, want *method.Step) {
	t.Helper()
	got, err := method.CoMe{}.Step(t.Context(), s, 5, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, errA := json.Marshal([]any{got.MergeList, got.Ratio, got.Kept})
	b, errB := json.Marshal([]any{want.MergeList, want.Ratio, want.Kept})
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("%s, want %s", a, b)
	}
}

func nearScores(t *testing.T, got, want []float64) {
	t.Helper()
	values := make([]float32, len(got))
	for i, v := range got {
		values[i] = float32(v)
	}
	vktest.Near(t, values, want, "model scores", "F32")
}
