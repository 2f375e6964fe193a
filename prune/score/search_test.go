package score

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/run"
)

// fakeCorpus runs no layers: it reveals terms, and checks what is asked of it.
type fakeCorpus struct {
	t     *testing.T
	s     search
	truth [][]float64
	there [][]bool // [boundary][batch]: the last tokens' states
	cost  float64  // layers run for a batch
}

func (f *fakeCorpus) advance(_ context.Context, batches []int, boundary int, last bool) error {
	if len(batches) == 0 {
		return fmt.Errorf("a round of nothing, up to boundary %d", boundary)
	}
	for _, b := range batches {
		for l := f.s.heights[b]; l < boundary; l++ {
			f.there[l+1][b] = true
			if last && l+1 == boundary {
				f.cost += 0.2
				continue
			}
			f.cost++
			f.s.heights[b] = l + 1
		}
		for c := range f.truth {
			if f.there[c][b] && f.there[c+f.s.span][b] {
				for w := f.s.batches[b].Begin; w < f.s.batches[b].End; w++ {
					f.s.terms[c][w] = f.truth[c][w]
				}
			}
		}
	}
	return nil
}

func newFake(t *testing.T, truth, before [][]float64, span, from, windows, batch, round, devices int, eligible []bool) *fakeCorpus {
	layers := len(truth) + span - 1
	f := &fakeCorpus{t: t, truth: truth, s: search{layers: layers, span: span, eligible: eligible, before: before, round: round}}
	for begin := 0; begin < windows; begin += batch {
		f.s.batches = append(f.s.batches, run.Batch{Begin: begin, End: min(begin+batch, windows)})
		f.s.heights = append(f.s.heights, from)
		f.s.devices = append(f.s.devices, len(f.s.devices)*devices*batch/(windows+batch))
	}
	for b := range layers + 1 {
		f.there = append(f.there, make([]bool, len(f.s.batches)))
		for i := range f.there[b] {
			f.there[b][i] = b <= from
		}
	}
	for c, terms := range truth {
		f.s.terms = append(f.s.terms, slices.Clone(terms))
		for w := range terms {
			if c+span > from {
				f.s.terms[c][w] = math.NaN()
			}
		}
	}
	f.s.advance = f.advance
	return f
}

// TestSearch compares with the minimum over all terms: random and close ones, ties, zeros, forecasts that help and that mislead.
func TestSearch(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	saved, full := 0.0, 0.0
	for n := range 3000 {
		layers, windows := 2+rng.IntN(12), 1+rng.IntN(20)
		span := 1 + rng.IntN(min(3, layers))
		from := rng.IntN(layers + 1)
		candidates := layers - span + 1
		truth, before, eligible := make([][]float64, candidates), make([][]float64, candidates), make([]bool, candidates)
		levels := []float64{0, 0.1, 0.1, 0.3, 0.30000001}
		weight := make([]float64, windows)
		for w := range weight {
			weight[w] = rng.Float64()
		}
		for c := range truth {
			eligible[c] = rng.IntN(5) > 0
			level := levels[rng.IntN(len(levels))]
			for w := range windows {
				v := level * weight[w]
				if n%3 == 0 {
					v *= 0.9 + 0.2*rng.Float64()
				}
				truth[c] = append(truth[c], v)
				guess := v
				if n%4 == 0 {
					guess = rng.Float64()
				}
				if n%7 == 0 && rng.IntN(2) == 0 {
					guess = math.NaN()
				}
				before[c] = append(before[c], guess)
			}
		}
		if n%2 == 0 {
			before = nil
		}
		want := -1
		for c := range truth {
			if eligible[c] && (want < 0 || sum(truth[c]) < sum(truth[want])) {
				want = c
			}
		}
		f := newFake(t, truth, before, span, from, windows, 1+rng.IntN(4), 1+rng.IntN(3), 1+rng.IntN(3), eligible)
		got, err := f.s.run(t.Context())
		if err != nil || got != want {
			t.Fatalf("case %d: layer %d (%v), want %d of %v", n, got, err, want, truth)
		}
		if got >= 0 && len(f.s.below(got+span)) > 0 {
			t.Fatalf("case %d: layer %d was chosen and did not run for all tokens: %v", n, got, f.s.heights)
		}
		saved, full = saved+f.cost, full+float64(len(f.s.batches)*(layers-from))
	}
	t.Logf("%.0f of %.0f layers ran", saved, full)
	if saved > 0.9*full {
		t.Errorf("%.0f of %.0f layers ran: nearly all", saved, full)
	}
}

// TestSearchDrops leaves the layers of hopeless candidates alone: one round tells.
func TestSearchDrops(t *testing.T) {
	truth := [][]float64{{0.01, 0.01, 0.01, 0.01}, {0.01, 0.01, 0.01, 0.02}, {0.1, 0.1, 0.1, 0.5}, {0.2, 0.2, 0.2, 0.5}}
	f := newFake(t, truth, truth, 1, 0, 4, 1, 1, 1, []bool{true, true, true, true})
	first, err := f.s.run(t.Context())
	if err != nil || first != 0 {
		t.Fatalf("layer %d, %v", first, err)
	}
	// All through layer 0; one through 1 and 2 and the last tokens of 3; then none is open but candidate 1, which takes the rest.
	if want := 4 + 2 + 0.2; f.cost < want || f.cost > want+3 {
		t.Errorf("%v layers ran for a batch, want %v and those of the second candidate", f.cost, want)
	}
	if fmt.Sprint(f.s.heights) == "[4 4 4 4]" {
		t.Error("all layers ran")
	}
}
