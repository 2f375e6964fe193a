package eval_test

import (
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/tokenizer"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// edge is a request that no task makes: an empty context, spaces at the seam, special tokens in the text, a length around what the model sees.
type edge struct {
	MaxLength int `json:"max_length"`
	Pairs     []struct {
		Context, Continuation string
		Tokens                [2][]uint32
		Score                 []any
	}
	Rolling []struct {
		Text    string
		Windows [][2][]uint32
		Score   float64
	}
}

// scored is what lm-eval hands to the model: the two parts joined, less the tokens on the left that are too many.
func scored(parts [2][]uint32, longest int) run.Sequence {
	whole := slices.Concat(parts[0], parts[1])
	return run.Sequence{Tokens: whole[max(0, len(whole)-longest-1):], Scored: len(parts[1])}
}

func sameSequence(a, b run.Sequence) bool {
	return a.Scored == b.Scored && slices.Equal(a.Tokens, b.Tokens)
}

// TestEdges compares the tokens of such requests with lm-eval's, and their log-likelihoods to 1e-3.
func TestEdges(t *testing.T) {
	var golden struct{ Models map[string]edge }
	readGZ(t, "edges", &golden)
	if len(golden.Models) != len(lmevalModels) {
		t.Fatalf("%d models, want %d", len(golden.Models), len(lmevalModels))
	}
	for name, want := range golden.Models {
		m := openLMEval(t, name)
		tok, err := tokenizer.LoadFS(m.Name, m.Files)
		if err != nil {
			t.Fatal(err)
		}
		e := eval.NewEncoder(tok, want.MaxLength)
		var groups [][]run.Sequence
		for _, p := range want.Pairs {
			got, err := e.Pair(p.Context, p.Continuation)
			if err != nil {
				t.Fatalf("%s: %q + %q: %v", name, p.Context, p.Continuation, err)
			}
			if w := scored(p.Tokens, want.MaxLength); !sameSequence(got, w) {
				t.Errorf("%s: %q + %q:\ngot  %v\nwant %v", name, p.Context, p.Continuation, got, w)
			}
			groups = append(groups, []run.Sequence{got})
		}
		for _, r := range want.Rolling {
			got, err := e.Rolling(r.Text)
			if err != nil {
				t.Fatalf("%s: %q: %v", name, r.Text, err)
			}
			if len(got) != len(r.Windows) {
				t.Fatalf("%s: %q: %d windows, want %d", name, r.Text, len(got), len(r.Windows))
			}
			for i, w := range r.Windows {
				if w := scored(w, want.MaxLength); !sameSequence(got[i], w) {
					t.Errorf("%s: %q: window %d:\ngot  %v\nwant %v", name, r.Text, i, got[i], w)
				}
			}
			groups = append(groups, got)
		}
		vktest.Each(t, func(t *testing.T, d *vk.Device) {
			t.Run(name, func(t *testing.T) { checkEdges(t, d, m, want, groups) })
		})
	}
}

// checkEdges scores the pairs, and then the windows of each text.
func checkEdges(t *testing.T, d *vk.Device, m *model.Model, want edge, groups [][]run.Sequence) {
	s, err := run.NewScorer(d, m, run.ScorerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	done := 0
	err = s.Score(t.Context(), groups, func(g int, scores []run.Score) error {
		done++
		if g < len(want.Pairs) {
			p := want.Pairs[g]
			ll, greedy := p.Score[0].(float64), p.Score[1].(bool)
			if math.Abs(scores[0].LogLikelihood-ll) > 1e-3 || scores[0].Greedy != greedy {
				t.Errorf("%q + %q: got %v, want %v", p.Context, p.Continuation, scores[0], p.Score)
			}
			return nil
		}
		r, sum := want.Rolling[g-len(want.Pairs)], 0.0
		for _, s := range scores {
			sum += s.LogLikelihood
		}
		if math.Abs(sum-r.Score) > 1e-3 {
			t.Errorf("%q: got %v, want %v", r.Text, sum, r.Score)
		}
		return nil
	})
	if err != nil || done != len(groups) {
		t.Errorf("%d of %d groups scored, %v", done, len(groups), err)
	}
}
