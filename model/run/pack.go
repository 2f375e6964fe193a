package run

import (
	"context"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/vk"
)

// pack is a batch of sequences that share what they begin with: the nodes of a trie of tokens, each a row. What several sequences begin
// with goes through the layers once, and no row is padding.
type pack struct {
	graph.Batch
	scored [][]uint32 // by sequence: the rows after which its scored tokens come
}

// newPack packs sequences; their last tokens are not among the rows, as nothing follows them. Sequences beyond a length of turn share
// nothing with shorter ones, as all their positions are turned otherwise: theirs lie behind the first offset; 0: there are none.
func newPack(sequences []Sequence, turn, offset int) *pack {
	p := &pack{scored: make([][]uint32, len(sequences))}
	list := make([]int, len(sequences))
	for i := range list {
		list[i] = i
	}
	slices.SortStableFunc(list, func(a, b int) int { return slices.Compare(sequences[a].input(), sequences[b].input()) })
	var long []int
	if turn > 0 {
		beyond := func(i int) bool { return len(sequences[i].input()) > turn }
		for _, i := range list {
			if beyond(i) {
				long = append(long, i)
			}
		}
		list = slices.DeleteFunc(list, beyond)
	}
	if len(list) > 0 {
		p.grow(sequences, list, nil, 0)
	}
	if len(long) > 0 {
		p.grow(sequences, long, nil, offset)
	}
	return p
}

// grow adds what sequences, sorted, that share the tokens of a path have besides.
func (p *pack) grow(sequences []Sequence, list []int, path []uint32, offset int) {
	first, last := sequences[list[0]].input(), sequences[list[len(list)-1]].input()
	depth := len(path)
	end := depth + common(first[depth:], last[depth:]) // what the first and the last have in common, all have
	if end > depth {
		row := len(p.Tokens)
		path = slices.Clone(path)
		for i := depth; i < end; i++ {
			path = append(path, uint32(len(p.Tokens)))
			p.Tokens, p.Positions = append(p.Tokens, first[i]), append(p.Positions, uint32(offset+i))
		}
		p.Segments = append(p.Segments, op.Segment{Row: row, Rows: end - depth, Path: path})
	}
	for len(list) > 0 && len(sequences[list[0]].input()) == end {
		p.scored[list[0]] = path[end-sequences[list[0]].Scored:]
		list = list[1:]
	}
	for len(list) > 0 {
		n := 1
		for n < len(list) && sequences[list[n]].Tokens[end] == sequences[list[0]].Tokens[end] {
			n++
		}
		p.grow(sequences, list[:n], path, offset)
		list = list[n:]
	}
}

// common is how many tokens two sequences begin with that are the same.
func common(a, b []uint32) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// newPacked prepares to run packs of sequences of at most so many tokens through m. The device's memory limit is divided as New does, but
// that all weights stay where they fit, the LM head too.
func newPacked(d *vk.Device, m *model.Model, longest int, host *states.HostMemory) (*Forward, error) {
	p, err := planPacks(d, m, longest)
	if err != nil {
		return nil, err
	}
	return newForward(d, m, p, host)
}

// setPacks gives the batches that the next passes run.
func (f *Forward) setPacks(packs []*pack) {
	f.batches, f.Corpus.Batches = nil, nil
	for i, p := range packs {
		f.batches, f.Corpus.Batches = append(f.batches, p.Batch), append(f.Corpus.Batches, Batch{i, i + 1})
	}
	f.loader.Forget()
	f.setRows()
}

// tokenScore is what the LM head says of a target.
type tokenScore struct{ max, sum, target float32 } // the largest logit, Σ exp(logit − largest), the target's

// packScores takes the last states of all packs through the LM head; the scores are those of targets, by pack.
func (f *Forward) packScores(ctx context.Context, m *model.Model, packs []*pack, targets [][]uint32) ([][]tokenScore, error) {
	last := f.store.At(len(m.Layers))
	batches := make([]headRows, len(packs))
	for i, p := range packs {
		batches[i] = headRows{last, i, slices.Concat(p.scored...), targets[i]}
	}
	scores := make([][]tokenScore, len(batches))
	err := f.foldHead(ctx, m, batches, func(i int, s scored) error {
		state := make([]float32, s.state.Elements())
		if err := graph.Read(ctx, f.d, state, s.state); err != nil {
			return err
		}
		for v := range slices.Chunk(state, 3) {
			scores[i] = append(scores[i], tokenScore{v[0], v[1], v[2]})
		}
		return nil
	})
	return scores, err
}
