package score_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

const golden = "../../testdata/golden/"

func calibration(t testing.TB, windows int) [][]uint32 {
	t.Helper()
	tokens, err := corpus.ReadTokens(t.Context(), golden+"calib_tokens.json", 0)
	if err != nil {
		t.Fatal(err)
	}
	cut, err := corpus.Cut(tokens, 128)
	if err != nil {
		t.Fatal(err)
	}
	return cut[:windows]
}

// near compares with PyTorch's f32 figures.
func near(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= 1e-4*math.Abs(want[i])) {
			t.Errorf("%s %d: %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestScoresGolden(t *testing.T) {
	raw, err := os.ReadFile(golden + "expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Scores struct {
			BI       []float64   `json:"bi_sum_over_layers"` // sums over tokens, divided by the number of layers
			SBI      []float64   `json:"sbi_last_token"`     // sums over windows, divided by the number of entries
			Heads    [][]float64 `json:"head_group"`
			Neurons0 []float64   `json:"neuron_layer0_first16"`
			Neurons7 []float64   `json:"neuron_layer7_first16"`
			Sums     []float64   `json:"neuron_sum"`
		}
	}
	if err := json.Unmarshal(bytes.ReplaceAll(raw, []byte("Infinity"), []byte("-1")), &want); err != nil {
		t.Fatal(err)
	}
	w := want.Scores
	for i := range w.BI {
		w.BI[i] *= 12.0 / (64 * 128)
	}
	for i := range w.SBI {
		w.SBI[i] *= 11.0 / 64
	}
	m, err := embedded.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		s, err := score.New(d, m, calibration(t, 64))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		bi, sbi, heads, neurons := all(t, s, m, 0)
		near(t, "BI", bi, w.BI)
		near(t, "SBI", sbi, w.SBI)
		near(t, "neurons of layer 0", neurons[0][:16], w.Neurons0)
		near(t, "neurons of layer 7", neurons[7][:16], w.Neurons7)
		var sums []float64
		for l, neurons := range neurons {
			near(t, fmt.Sprint("head groups of layer ", l), heads[l], w.Heads[l])
			sum := 0.0
			for _, v := range neurons {
				sum += v
			}
			sums = append(sums, sum)
		}
		near(t, "sums over neurons", sums, w.Sums)

		// From layer 5 on again, and once more all: nothing changes but the work.
		before, was := s.Work().Passes, fmt.Sprint(bi, sbi, heads, neurons)
		bi, sbi, heads, neurons = all(t, s, m, 5)
		if fmt.Sprint(bi, sbi, heads, neurons) != was {
			t.Error("scores changed when layers 5 to 11 ran again")
		}
		if ran := s.Work().Passes - before; math.Abs(ran-7) > 1e-9 {
			t.Errorf("%v layers ran, want 7", ran)
		}
		if s.ColumnSums != 12 {
			t.Errorf("column sums of %d layers were computed, want 12: those of a layer that stays are reused", s.ColumnSums)
		}
	})
}

// all scores every layer of m, which is new from layer from on.
func all(t *testing.T, s *score.Scorer, m *model.Model, from int) (bi, sbi []float64, heads, neurons [][]float64) {
	t.Helper()
	if err := s.Update(t.Context(), m, from, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Select(t.Context(), 2, make([]bool, len(m.Layers)-1), true, nil); err != nil {
		t.Fatal(err)
	}
	for l := range m.Layers {
		h, n, err := s.Sensitivity(t.Context(), l, score.L1)
		if err != nil {
			t.Fatal(err)
		}
		heads, neurons = append(heads, h), append(neurons, n)
	}
	return s.BI(), s.SBI(), heads, neurons
}

// TestSelectStops runs layers only as far as the choice takes, whatever the batches and the memory: the choice, and the scores that
// are there, are those of all.
func TestSelectStops(t *testing.T) {
	m, err := embedded.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	windows := calibration(t, 24)
	eligible := slices.Repeat([]bool{true}, 11)
	eligible[2] = false
	scored := func(t *testing.T, o vk.Options, f run.Options, everything bool) (first int, bi, sbi []float64, heads, neurons [][]float64, stats run.Stats) {
		s, err := score.NewWith(vktest.Open(t, o), m, windows, f)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := s.Update(t.Context(), m, 0, 0); err != nil {
			t.Fatal(err)
		}
		first, err = s.Select(t.Context(), 2, eligible, everything, nil)
		if err != nil {
			t.Fatal(err)
		}
		for l := first; l < first+2; l++ {
			h, n, err := s.Sensitivity(t.Context(), l, score.L1)
			if err != nil {
				t.Fatal(err)
			}
			heads, neurons = append(heads, h), append(neurons, n)
		}
		if _, _, err := s.Sensitivity(t.Context(), 11, score.L1); !everything && err == nil && s.Work().Passes < 12 {
			t.Error("sensitivities of a layer that did not run for all tokens")
		}
		return first, s.BI(), s.SBI(), heads, neurons, s.Work()
	}
	first, bi, sbi, heads, neurons, stats := scored(t, vk.Options{}, run.Options{}, true)
	if stats.Passes != 12 || slices.ContainsFunc(append(bi, sbi...), math.IsNaN) {
		t.Fatalf("%v passes, BI %v, SBI %v", stats.Passes, bi, sbi)
	}
	for _, c := range []struct {
		o    vk.Options
		f    run.Options
		most float64 // passes
	}{
		{vk.Options{}, run.Options{BatchTokens: 128, KeepWeights: true}, 11},
		{vk.Options{}, run.Options{BatchTokens: 300, KeepWeights: true}, 11.5},
		{vk.Options{}, run.Options{BatchTokens: 640, KeepWeights: true}, 12.5},
		{vk.Options{}, run.Options{BatchTokens: 128}, 12.5},
		{vk.Options{MaxMemory: 5 << 20}, run.Options{BatchTokens: 128, KeepWeights: true}, 12.5},
	} {
		gotFirst, gotBI, gotSBI, gotHeads, gotNeurons, stats := scored(t, c.o, c.f, false)
		if gotFirst != first || fmt.Sprint(gotHeads, gotNeurons) != fmt.Sprint(heads, neurons) {
			t.Errorf("%+v: layer %d on, or other sensitivities, want %d", c, gotFirst, first)
		}
		for _, pair := range [][2][]float64{{gotBI, bi}, {gotSBI, sbi}} {
			for i, v := range pair[0] {
				if !math.IsNaN(v) && v != pair[1][i] {
					t.Errorf("%+v: score %d is %v, want %v", c, i, v, pair[1][i])
				}
			}
		}
		t.Logf("%+v: %+v", c, stats)
		// Weights that stay travel once. Others do for each of two rounds, and then the column sums' of two layers.
		var size int64
		for _, l := range m.Layers {
			size += l.Bytes()
		}
		most := size
		if !c.f.KeepWeights || c.o.MaxMemory > 0 {
			most = 2*size + 2*m.Layers[0].Bytes()
		}
		if stats.Uploaded > most {
			t.Errorf("%+v: %d bytes of weights went to the device, want at most %d", c, stats.Uploaded, most)
		}
		if stats.Passes > c.most {
			t.Errorf("%+v: %v passes, want at most %v", c, stats.Passes, c.most)
		}
	}
}

func Example() {
	m, err := embedded.Open()
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	d, err := vk.Open(vk.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	ctx := context.Background()
	s, err := score.New(d, m, [][]uint32{{0, 504, 463, 311, 259, 996, 1309, 46}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if err := s.Update(ctx, m, 0, 0); err != nil {
		log.Fatal(err)
	}
	eligible := slices.Repeat([]bool{true}, 11)
	first, err := s.Select(ctx, 2, eligible, false, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("of %d pairs of layers, %d and %d change the hidden state least\n", len(eligible), first, first+1)
	// Output: of 11 pairs of layers, 2 and 3 change the hidden state least
}
