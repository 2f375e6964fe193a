package score_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"math"
	"os"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

const golden = "../../testdata/golden/"

func calibration(t testing.TB, windows int) [][]uint32 {
	t.Helper()
	tokens, err := corpus.ReadTokens(golden + "calib_tokens.json")
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
	m, err := model.OpenEmbedded()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		s, err := score.New(t.Context(), d, m, calibration(t, 64))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := s.Update(t.Context(), m, 0, nil); err != nil {
			t.Fatal(err)
		}
		sbi, err := s.SBI(t.Context(), 2)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "BI", s.Scores.BI, w.BI)
		near(t, "SBI", sbi, w.SBI)
		near(t, "neurons of layer 0", s.Scores.Neurons[0][:16], w.Neurons0)
		near(t, "neurons of layer 7", s.Scores.Neurons[7][:16], w.Neurons7)
		var sums []float64
		for l, neurons := range s.Scores.Neurons {
			near(t, fmt.Sprint("head groups of layer ", l), s.Scores.Heads[l], w.Heads[l])
			sum := 0.0
			for _, v := range neurons {
				sum += v
			}
			sums = append(sums, sum)
		}
		near(t, "sums over neurons", sums, w.Sums)

		// From layer 5 on again, and once more all: nothing changes but the work.
		before, bi := s.LayersRun(), fmt.Sprint(s.Scores, sbi)
		if err := s.Update(t.Context(), m, 5, nil); err != nil {
			t.Fatal(err)
		}
		if again, err := s.SBI(t.Context(), 2); err != nil || fmt.Sprint(s.Scores, again) != bi {
			t.Errorf("scores changed when layers 5 to 11 ran again (%v)", err)
		}
		if ran := s.LayersRun() - before; ran != 7 {
			t.Errorf("%d layers ran, want 7", ran)
		}
	})
}

func Example() {
	m, err := model.OpenEmbedded()
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
	s, err := score.New(ctx, d, m, [][]uint32{{0, 504, 463, 311, 259, 996, 1309, 46}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if err := s.Update(ctx, m, 0, nil); err != nil {
		log.Fatal(err)
	}
	sbi, err := s.SBI(ctx, 2)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(s.Scores.BI), "layers,", len(sbi), "pairs")
	// Output: 12 layers, 11 pairs
}
