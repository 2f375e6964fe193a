package run_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// BenchmarkScorer scores 100 questions of four choices on the embedded model: with no examples before them, with the same 150 tokens of
// examples (as MMLU has), and each choice by itself. "windows" is as many rows in windows of 128, without the LM head.
func BenchmarkScorer(b *testing.B) {
	m, err := embedded.Open()
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	d := vktest.Open(b, vk.Options{})
	rng := rand.New(rand.NewPCG(1, 1))
	text := func(n int) (list []uint32) {
		for range n {
			list = append(list, uint32(rng.IntN(m.Config.VocabSize)))
		}
		return list
	}
	ask := func(examples int, together bool) (groups [][]run.Sequence) {
		before := text(examples)
		for range 100 {
			question := append(slices.Clone(before), text(60)...)
			var group []run.Sequence
			for range 4 {
				choice := text(8)
				group = append(group, run.Sequence{Tokens: slices.Concat(question, choice), Scored: len(choice)})
			}
			if together {
				groups = append(groups, group)
				continue
			}
			for _, q := range group {
				groups = append(groups, []run.Sequence{q})
			}
		}
		return groups
	}
	for _, c := range []struct {
		name     string
		examples int
		together bool
		batch    int
	}{{"questions", 0, true, 0}, {"examples", 150, true, 0}, {"one", 0, true, 1}, {"apart", 0, false, 1}} {
		b.Run(c.name, func(b *testing.B) {
			groups := ask(c.examples, c.together)
			s, err := run.NewScorer(d, m, run.ScorerOptions{Batch: c.batch})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			for b.Loop() {
				if err := s.Score(b.Context(), groups, func(int, []run.Score) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
			n, seconds := s.Stats(), b.Elapsed().Seconds()
			b.ReportMetric(float64(n.Rows)/seconds, "rows/s")
			b.ReportMetric(float64(n.Scored)/seconds, "scored/s")
			b.ReportMetric(100*float64(n.Rows)/float64(n.Alone), "%rows")
		})
	}
	b.Run("windows", func(b *testing.B) {
		windows := make([][]uint32, 64)
		for i := range windows {
			windows[i] = text(128)
		}
		f, err := run.NewWith(d, m, windows, run.Options{KeepWeights: true})
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		for b.Loop() {
			if err := f.Run(b.Context(), m, nil); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*64*128)/b.Elapsed().Seconds(), "rows/s")
	})
}
