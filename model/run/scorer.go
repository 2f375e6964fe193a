package run

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/vk"
)

// Sequence is tokens whose last Scored are to be scored, each given all before it.
type Sequence struct {
	Tokens []uint32
	Scored int // 1 ≤ Scored < len(Tokens)
}

// input is what goes through a model: nothing follows the last token.
func (s Sequence) input() []uint32 { return s.Tokens[:len(s.Tokens)-1] }

// Score is what a model thinks of a sequence's scored tokens.
type Score struct {
	LogLikelihood float64 // of all of them, in nats
	Greedy        bool    // none is less likely than another token in its place
}

// ScorerOptions tune a Scorer. The zero value is good.
type ScorerOptions struct {
	Batch    int // groups that go through a layer together, fewer where memory does not hold them; 0 is as many as are fast. No result depends on it.
	Host     *states.HostMemory
	Progress func(done, total int) // of tokens times layers; may be nil
}

// ScorerStats counts what was scored.
type ScorerStats struct {
	Groups, Sequences int
	Scored            int // tokens
	Rows              int // tokens that went through the layers
	Alone             int // that would have, had each sequence been run by itself
	Padding           int // rows that were nobody's token: none, as batches are packed
	Uploaded          int64
}

// Scorer scores sequences. Sequences of a batch are packed: what they begin with alike goes through the layers once, for all of them, and
// no row is padding. Where all weights fit on the device, batches go through the model one after another; else many go through a layer
// before the next layer's weights are uploaded. A score does not depend on what is scored with it, bit by bit. A Scorer belongs to one
// goroutine.
type Scorer struct {
	d     *vk.Device
	m     *model.Model
	o     ScorerOptions
	f     *Forward // for sequences of at most longest tokens
	most  int
	stats ScorerStats

	failed bool // an error is the recorder's for good
}

// NewScorer prepares to score sequences with m.
func NewScorer(d *vk.Device, m *model.Model, o ScorerOptions) (*Scorer, error) {
	if o.Batch < 0 {
		return nil, fmt.Errorf("model: batches of %d", o.Batch)
	}
	return &Scorer{d: d, m: m, o: o}, nil
}

// Close frees what the Scorer holds on the device.
func (s *Scorer) Close() error {
	if s.f == nil {
		return nil
	}
	s.stats = s.Stats()
	err := s.f.Close()
	s.f = nil
	return err
}

// Stats is what was done so far.
func (s *Scorer) Stats() ScorerStats {
	n := s.stats
	if s.f != nil {
		n.Uploaded += s.f.Stats().Uploaded
	}
	return n
}

// roundBytes is how much of states, beside what the device has room for, a model whose weights do not stay is given before the first
// layer's weights are uploaded again.
const roundBytes = 1 << 30

// member is a sequence of a batch.
type member struct {
	group, index int
	Sequence
}

// Score scores groups of sequences that share what they begin with, as the choices of a question do. done is called once for each group,
// as it is ready, in any order; an error of it ends the run.
func (s *Scorer) Score(ctx context.Context, groups [][]Sequence, done func(group int, scores []Score) error) error {
	longest, err := s.check(groups)
	if err != nil {
		return err
	}
	var order []int
	scores, missing := make([][]Score, len(groups)), make([]int, len(groups))
	for i, g := range groups {
		scores[i], missing[i] = make([]Score, len(g)), len(g)
		if len(g) > 0 {
			order = append(order, i)
		} else if err := done(i, nil); err != nil {
			return err
		}
	}
	if len(order) == 0 {
		return nil
	}
	if err := s.prepare(longest); err != nil {
		return err
	}
	// Groups that begin alike, as with the same examples, come together.
	slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(groups[a][0].Tokens, groups[b][0].Tokens) })
	batches, err := s.batches(ctx, groups, order)
	if err != nil {
		return err
	}
	total, finished := 0, 0
	for _, b := range batches {
		total += b.rows
	}
	layers := len(s.m.Layers)
	for len(batches) > 0 {
		round := s.round(batches)
		rows := 0
		for _, b := range batches[:round] {
			rows += b.rows
		}
		got, err := s.run(ctx, batches[:round], func(layer int) {
			if s.o.Progress != nil {
				s.o.Progress(finished*layers+rows*layer, total*layers)
			}
		})
		if err != nil {
			s.failed = true
			return err
		}
		finished += rows
		for i, b := range batches[:round] {
			for j, m := range b.members {
				scores[m.group][m.index] = got[i][j]
				if missing[m.group]--; missing[m.group] > 0 {
					continue
				}
				s.stats.Groups++
				if err := done(m.group, scores[m.group]); err != nil {
					return err
				}
				scores[m.group] = nil
			}
		}
		batches = batches[round:]
	}
	return nil
}

// check refuses what cannot be scored, and gives the length of the longest sequence that goes through the model.
func (s *Scorer) check(groups [][]Sequence) (longest int, err error) {
	c := s.m.Config
	for i, g := range groups {
		for j, q := range g {
			n := len(q.Tokens) - 1
			if q.Scored < 1 || q.Scored > n {
				return 0, fmt.Errorf("model: group %d, sequence %d: %d scored tokens of %d", i, j, q.Scored, n+1)
			}
			if n > c.MaxPositionEmbeddings {
				return 0, fmt.Errorf("model: group %d, sequence %d: %d tokens before the last, %s has max_position_embeddings %d", i, j, n, s.m.Name, c.MaxPositionEmbeddings)
			}
			for _, t := range q.Tokens {
				if int(t) >= c.VocabSize {
					return 0, fmt.Errorf("model: group %d, sequence %d: token %d, the vocabulary of %s has %d", i, j, t, s.m.Name, c.VocabSize)
				}
			}
			longest = max(longest, n)
		}
	}
	return longest, nil
}

// prepare makes the Forward, unless one is there for sequences as long that met no error.
func (s *Scorer) prepare(longest int) (err error) {
	if s.f != nil && longest <= s.most && !s.failed {
		return nil
	}
	s.failed = false
	if err := s.Close(); err != nil {
		return err
	}
	s.f, err = newPacked(s.d, s.m, longest, s.o.Host)
	s.most = longest
	return err
}

// batch is sequences that are packed together.
type batch struct {
	members []member
	groups  int
	rows    int // at most
	words   int // of its table, at most
	scored  int // tokens
}

// more is what members add to a batch.
type more struct{ rows, words, scored int }

// add counts what members, in the order of a batch, add to it. Once that is more than fits it need not be exact.
func (s *Scorer) add(b *batch, members []member) (m more) {
	c := s.m.Config
	for i, q := range members {
		n, shared := len(q.input()), 0
		for back := 1; back <= 16; back++ { // what is sorted has its likes nearby
			j := i - back
			var other []uint32
			switch {
			case j >= 0:
				other = members[j].input()
			case len(b.members)+j >= 0:
				other = b.members[len(b.members)+j].input()
			default:
				continue
			}
			if turn := c.RopeSwitch(); turn > 0 && (n > turn) != (len(other) > turn) {
				continue // see newPack
			}
			if shared = max(shared, common(q.input(), other)); shared == n {
				break
			}
		}
		m.rows += n - shared
		// A path for the sequence and one for what it shares; workgroups of at least 4 queries times heads, and of each segment.
		m.words += 2*n + 5*((n-shared)*c.Heads/c.KVHeads/4+2)
		m.scored += q.Scored
		if !s.fits(b, m) {
			break
		}
	}
	return m
}

// fits reports whether a batch has room.
func (s *Scorer) fits(b *batch, m more) bool {
	most := s.f.Corpus.Most
	return b.rows+m.rows <= most && b.words+m.words <= graph.TableWords*most && int64(b.scored+m.scored) <= max(s.scores(), int64(most))
}

// scores is for how many tokens there is room for what the LM head makes of them, see planPacks.
func (s *Scorer) scores() int64 { return s.d.MemoryLimit() / 32 / scoredBytes }

// scoredBytes is the device memory that foldHead takes for a token.
const scoredBytes = 4 * (3 + 1 + 1 + 1)

func (s *Scorer) batches(ctx context.Context, groups [][]Sequence, order []int) (list []batch, err error) {
	var b batch
	flush := func() {
		if len(b.members) > 0 {
			list = append(list, b)
		}
		b = batch{}
	}
	// put adds members where they fit, and in any case to an empty batch if they must be there.
	put := func(members []member, must bool) bool {
		m := s.add(&b, members)
		if !(must && len(b.members) == 0) && (!s.fits(&b, m) || s.o.Batch > 0 && b.groups >= s.o.Batch) {
			return false
		}
		b.members = append(b.members, members...)
		b.rows, b.words, b.scored = b.rows+m.rows, b.words+m.words, b.scored+m.scored
		b.groups++
		return true
	}
	for _, i := range order {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var members []member
		for j, q := range groups[i] {
			members = append(members, member{i, j, q})
		}
		if put(members, len(members) == 1) {
			continue
		}
		if flush(); put(members, len(members) == 1) {
			continue
		}
		for j := range members { // a group that does not fit goes in parts
			b.groups = 0
			if one := members[j : j+1]; !put(one, true) {
				flush()
				put(one, true)
			}
		}
	}
	flush()
	return list, nil
}

// round is how many batches go through each layer together.
func (s *Scorer) round(batches []batch) int {
	if s.f.keep {
		return 1
	}
	hidden := 4 * int64(s.m.Config.HiddenSize)
	states := (max(0, s.f.store.Room()) + roundBytes) / 2 // before and after a layer
	heads := s.scores()
	for n, b := range batches {
		if states, heads = states-hidden*int64(b.rows), heads-int64(b.scored); n > 0 && (states < 0 || heads < 0) {
			return n
		}
	}
	return len(batches)
}

// run scores batches that go through each layer together.
func (s *Scorer) run(ctx context.Context, batches []batch, progress func(layer int)) ([][]Score, error) {
	packs, targets := make([]*pack, len(batches)), make([][]uint32, len(batches))
	for i, b := range batches {
		var sequences []Sequence
		for _, m := range b.members {
			sequences = append(sequences, m.Sequence)
			targets[i] = append(targets[i], m.Tokens[len(m.Tokens)-m.Scored:]...)
			s.stats.Sequences++
			s.stats.Scored += m.Scored
			s.stats.Alone += len(m.Tokens) - 1
		}
		packs[i] = newPack(sequences, s.m.Config.RopeSwitch(), s.f.shared.Stride())
		s.stats.Rows += packs[i].Rows()
	}
	f := s.f
	f.setPacks(packs)
	if err := f.Run(ctx, s.m, func(done, _ int) { progress(done) }); err != nil {
		return nil, err
	}
	states, err := f.packScores(ctx, s.m, packs, targets)
	if err != nil {
		return nil, err
	}
	scores := make([][]Score, len(batches))
	for i, b := range batches {
		at := 0
		for _, m := range b.members {
			score := Score{Greedy: true}
			for _, t := range states[i][at : at+m.Scored] {
				score.LogLikelihood += float64(t.target-t.max) - math.Log(float64(t.sum))
				score.Greedy = score.Greedy && t.target >= t.max
			}
			at += m.Scored
			scores[i] = append(scores[i], score)
		}
	}
	return scores, nil
}
