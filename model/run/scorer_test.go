package run_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// questions are groups of sequences: after a context that several groups share, one of their own, and choices of several lengths.
func questions(vocab, context, n int) (groups [][]run.Sequence) {
	rng := rand.New(rand.NewPCG(7, uint64(n)))
	text := func(n int) (list []uint32) {
		for range n {
			list = append(list, uint32(rng.IntN(vocab)))
		}
		return list
	}
	shared := text(context / 3)
	for i := range n {
		begin := slices.Clone(shared[:len(shared)*(i%3)/2])
		begin = append(begin, text(1+rng.IntN(context/3))...)
		var group []run.Sequence
		for range 1 + i%4 {
			choice := text(1 + rng.IntN(context/4))
			if i%5 == 4 {
				choice = choice[:1] // as in MMLU
			}
			group = append(group, run.Sequence{Tokens: slices.Concat(begin, choice), Scored: len(choice)})
		}
		groups = append(groups, group)
	}
	whole := text(context + 1) // all of it is scored, as of a text
	return append(groups, []run.Sequence{{Tokens: whole, Scored: context}}, nil, []run.Sequence{{Tokens: whole[:context/2], Scored: 3}, {Tokens: whole[:2], Scored: 1}})
}

// scored scores groups, each of which must come once.
func scored(t *testing.T, d *vk.Device, m *model.Model, groups [][]run.Sequence, o run.ScorerOptions) ([][]run.Score, run.ScorerStats) {
	t.Helper()
	s, err := run.NewScorer(d, m, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	all, seen := make([][]run.Score, len(groups)), make([]int, len(groups))
	if err := s.Score(t.Context(), groups, func(group int, scores []run.Score) error {
		all[group] = scores
		seen[group]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i, n := range seen {
		if n != 1 {
			t.Errorf("group %d came %d times", i, n)
		}
	}
	return all, s.Stats()
}

func sameScores(t *testing.T, what string, got, want [][]run.Score) {
	t.Helper()
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("%s: group %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestScorer(t *testing.T) {
	for _, name := range modeltest.Distinct() {
		spec, err := modeltest.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		m, dir := spec.Open(t)
		oracle, err := ref.LoadModel(dir)
		if err != nil {
			t.Fatal(err)
		}
		groups := questions(spec.Vocab, spec.Context, 14)
		rows, alone, count := distinct(groups, m.Config.RopeSwitch())
		want := make([][]run.Score, len(groups))
		for i, g := range groups {
			for _, q := range g {
				want[i] = append(want[i], oracleScore(oracle, q))
			}
		}
		t.Run(name, func(t *testing.T) {
			vktest.Each(t, func(t *testing.T, d *vk.Device) {
				got, stats := scored(t, d, m, groups, run.ScorerOptions{})
				for i := range want {
					for j, w := range want[i] {
						if g, n := got[i][j], groups[i][j].Scored; math.Abs(g.LogLikelihood-w.LogLikelihood) > 1e-4*float64(n) || g.Greedy != w.Greedy {
							t.Errorf("group %d, sequence %d is %v, want %v", i, j, g, w)
						}
					}
				}
				if stats.Rows != rows || stats.Alone != alone || stats.Sequences != count || stats.Groups != len(groups)-1 || stats.Padding != 0 {
					t.Errorf("%+v, want %d rows of %d and %d sequences", stats, rows, alone, count)
				}
				for _, n := range []int{1, 3, 16} {
					again, _ := scored(t, d, m, groups, run.ScorerOptions{Batch: n})
					sameScores(t, fmt.Sprintf("batches of %d", n), again, got)
				}
			})
		})
	}
}

// distinct counts the tokens before the last of all sequences, the different beginnings among them, and the sequences.
func distinct(groups [][]run.Sequence, turn int) (rows, alone, sequences int) {
	seen := map[string]bool{}
	for _, g := range groups {
		for _, q := range g {
			for n := 1; n < len(q.Tokens); n++ {
				seen[fmt.Sprint(q.Tokens[:n], turn > 0 && len(q.Tokens)-1 > turn)] = true
				alone++
			}
			sequences++
		}
	}
	return len(seen), alone, sequences
}

func oracleScore(oracle *ref.Model, q run.Sequence) run.Score {
	n := len(q.Tokens) - 1
	logits := oracle.Logits(toInts(q.Tokens[:n]))
	score := run.Score{Greedy: true}
	for t := n - q.Scored; t < n; t++ {
		row, target := logits.Row(t), int(q.Tokens[t+1])
		top, sum := slices.Max(row), 0.0
		for _, v := range row {
			sum += math.Exp(v - top)
		}
		score.LogLikelihood += row[target] - top - math.Log(sum)
		score.Greedy = score.Greedy && row[target] == top
	}
	return score
}

// What scores does not depend on the memory: with little of it batches are small, and weights and states come and go.
func TestScorerMemory(t *testing.T) {
	spec := modeltest.Spec{Hidden: 128, Intermediate: 384, Layers: 6, Heads: 4, KVHeads: 2, HeadDim: 32, Vocab: 3000, Context: 128, DType: dtype.F16}
	m, _ := spec.Open(t)
	groups := questions(spec.Vocab, spec.Context, 60)
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		want, all := scored(t, d, m, groups, run.ScorerOptions{})
		for _, limit := range []int64{8 << 20, 4 << 20, 2 << 20} {
			small := vktest.Open(t, vk.Options{Device: d.Info.UUID, MaxMemory: limit})
			last := 0
			got, stats := scored(t, small, m, groups, run.ScorerOptions{Progress: func(done, total int) {
				if done < last || done > total {
					t.Errorf("progress %d after %d of %d", done, last, total)
				}
				last = done
			}})
			sameScores(t, fmt.Sprint(vk.Bytes(limit)), got, want)
			if small.Memory().Peak > limit {
				t.Errorf("%s used of %s", vk.Bytes(small.Memory().Peak), vk.Bytes(limit))
			}
			t.Logf("%s: %d rows, %s uploaded; unlimited %d, %s", vk.Bytes(limit), stats.Rows, vk.Bytes(stats.Uploaded), all.Rows, vk.Bytes(all.Uploaded))
		}
	})
}

// A group that is larger than a batch goes in parts, which share as much as there is room for, also where batches are of one group.
func TestScorerLargeGroup(t *testing.T) {
	spec := modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 200, Context: 256}
	m, _ := spec.Open(t)
	d := vktest.Open(t, vk.Options{})
	whole := modeltest.Windows(spec.Vocab, 201, 200)
	var group []run.Sequence
	for _, own := range whole[1:] {
		group = append(group, run.Sequence{Tokens: slices.Concat(whole[0], own[:21]), Scored: 21})
	}
	groups := [][]run.Sequence{group, group[:5]}
	want, all := scored(t, d, m, groups, run.ScorerOptions{})
	got, one := scored(t, d, m, groups, run.ScorerOptions{Batch: 1})
	sameScores(t, "batches of 1", got, want)
	if least := 200 + 200*20; all.Rows > least+4*200 || one.Rows > least+5*200+5*20 {
		t.Errorf("%d rows, in batches of 1 %d, of %d", all.Rows, one.Rows, all.Alone)
	}
}

// A scorer whose run was cancelled in the middle scores again.
func TestScorerCancelled(t *testing.T) {
	spec := modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 3, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 99, Context: 32}
	m, _ := spec.Open(t)
	d := vktest.Open(t, vk.Options{})
	groups := questions(spec.Vocab, spec.Context, 8)
	want, _ := scored(t, d, m, groups, run.ScorerOptions{})
	for after := range 4 {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		s, err := run.NewScorer(d, m, run.ScorerOptions{Batch: 4, Progress: func(int, int) {
			if calls++; calls > after {
				cancel()
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Score(ctx, groups, func(int, []run.Score) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want that it was canceled", err)
		}
		got := make([][]run.Score, len(groups))
		if err := s.Score(t.Context(), groups, func(group int, scores []run.Score) error {
			got[group] = scores
			return nil
		}); err != nil {
			t.Errorf("cancelled after %d layers: %v", after+1, err)
		}
		sameScores(t, "after a cancelled run", got, want)
		if err := s.Close(); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if used := d.Memory().Used; used != 0 {
		t.Errorf("%d bytes left on the device", used)
	}
}

func TestScorerErrors(t *testing.T) {
	spec := modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 99, Context: 32}
	m, _ := spec.Open(t)
	d := vktest.Open(t, vk.Options{})
	s, err := run.NewScorer(d, m, run.ScorerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	nothing := func(int, []run.Score) error { return nil }
	for says, q := range map[string]run.Sequence{
		"0 scored tokens of 2":     {Tokens: []uint32{1, 2}},
		"2 scored tokens of 2":     {Tokens: []uint32{1, 2}, Scored: 2},
		"token 99, the vocabulary": {Tokens: []uint32{1, 99}, Scored: 1},
		"33 tokens before the":     {Tokens: make([]uint32, 34), Scored: 1},
	} {
		if err := s.Score(t.Context(), [][]run.Sequence{nil, {q}}, nothing); err == nil || !strings.Contains(err.Error(), "group 1, sequence 0: "+says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	good := [][]run.Sequence{{{Tokens: []uint32{1, 2, 3}, Scored: 2}}}
	enough := errors.New("enough")
	if err := s.Score(t.Context(), good, func(int, []run.Score) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v, want what done said", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Score(ctx, good, nothing); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was canceled", err)
	}
	if err := s.Score(t.Context(), good, nothing); err != nil {
		t.Errorf("after an error: %v", err)
	}
	if _, err := run.NewScorer(d, m, run.ScorerOptions{Batch: -1}); err == nil {
		t.Error("batches of -1: no error")
	}
	tight := vktest.Open(t, vk.Options{MaxMemory: 64 << 10})
	little, err := run.NewScorer(tight, m, run.ScorerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer little.Close()
	if err := little.Score(t.Context(), good, nothing); !errors.Is(err, vk.ErrOutOfMemory) || !strings.Contains(err.Error(), "vk.Options.MaxMemory of") {
		t.Errorf("%v, want that there is too little memory", err)
	}
}
