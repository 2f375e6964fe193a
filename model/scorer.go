package model

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/vkcome/vkcome/vk"
)

// Sequence is tokens whose last Scored are to be scored, each given all before it.
type Sequence struct {
	Tokens []uint32
	Scored int // 1 ≤ Scored < len(Tokens)
}

// Score is what a model thinks of a sequence's scored tokens.
type Score struct {
	LogLikelihood float64 // of all of them, in nats
	Greedy        bool    // each is the most likely after those before it
}

// ScorerOptions tune a Scorer. The zero value is good.
type ScorerOptions struct {
	Batch    int // groups that go through a layer together; 0 is as many as are fast. No result depends on it.
	Host     *HostMemory
	Progress func(done, total int) // of token rows times layers; may be nil
}

// ScorerStats counts what was scored.
type ScorerStats struct {
	Groups, Sequences int
	Scored            int // tokens
	Rows              int // tokens that went through the layers
	Alone             int // that would have, had each sequence been run by itself
	Padding           int // rows that were nobody's token
}

// Scorer scores sequences.
type Scorer struct {
	d     *vk.Device
	m     *Model
	o     ScorerOptions
	stats ScorerStats
}

// NewScorer prepares to score sequences with m.
func NewScorer(d *vk.Device, m *Model, o ScorerOptions) (*Scorer, error) {
	return &Scorer{d: d, m: m, o: o}, nil
}

// Close frees what the Scorer holds.
func (s *Scorer) Close() error { return nil }

// Stats is what was done so far.
func (s *Scorer) Stats() ScorerStats { return s.stats }

// Score scores groups of sequences that share what they begin with. done is called once for each group, as it is ready.
func (s *Scorer) Score(ctx context.Context, groups [][]Sequence, done func(group int, scores []Score) error) error {
	for i, group := range groups {
		var scores []Score
		for _, q := range group {
			score, err := s.score(ctx, q)
			if err != nil {
				return err
			}
			scores = append(scores, score)
		}
		if err := done(i, scores); err != nil {
			return err
		}
	}
	return nil
}

func (s *Scorer) score(ctx context.Context, q Sequence) (score Score, err error) {
	if q.Scored < 1 || q.Scored >= len(q.Tokens) {
		return Score{}, fmt.Errorf("model: %d scored tokens of %d", q.Scored, len(q.Tokens))
	}
	n := len(q.Tokens) - 1
	f, err := NewForwardWith(s.d, s.m, [][]uint32{q.Tokens[:n]}, ForwardOptions{Host: s.o.Host})
	if err != nil {
		return Score{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Run(ctx, s.m, nil); err != nil {
		return Score{}, err
	}
	score.Greedy = true
	err = f.Logits(ctx, s.m, func(_ int, logits []float32) error {
		vocab := len(logits) / n
		for t := n - q.Scored; t < n; t++ {
			row := logits[t*vocab : (t+1)*vocab]
			best, target := 0, int(q.Tokens[t+1])
			for i, v := range row {
				if v > row[best] {
					best = i
				}
			}
			score.LogLikelihood += LogSoftmax(row, target)
			score.Greedy = score.Greedy && best == target
		}
		return nil
	})
	s.stats.Sequences++
	s.stats.Scored += q.Scored
	s.stats.Rows += n
	s.stats.Alone += n
	return score, err
}

// LogSoftmax is log softmax(row)[i].
func LogSoftmax(row []float32, i int) float64 {
	top := row[0]
	for _, v := range row {
		top = max(top, v)
	}
	sum := 0.0
	for _, v := range row {
		sum += math.Exp(float64(v - top))
	}
	return float64(row[i]-top) - math.Log(sum)
}
