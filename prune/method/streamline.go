package method

import (
	"context"
	"errors"
	"fmt"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune/score"
)

func init() {
	register(Entry{Name: "streamline", Short: "drop adjacent layers all at once, those around which the states differ least", Place: 47, New: func(Options) Method { return Streamline{} }})
}

// Streamline takes the adjacent layers around which the states differ least, by the mean of 1 − cos over all tokens, and leaves of them the
// first, which Distill then trains against what left the last with the loss MSE. Source: LLM-Streamline, Streamlining Redundant Layers to
// Compress Large Language Models, arXiv 2403.19135, with a decoder layer that begins as the first of those that it replaces.
type Streamline struct{}

// Name is "streamline".
func (Streamline) Name() string { return "streamline" }

// Needs is a calibration corpus.
func (Streamline) Needs() Needs { return Needs{Corpus: true, Block: true} }

// Options lists none.
func (Streamline) Options() []string { return nil }

// Cost is one pass of the model.
func (Streamline) Cost(layers, _ int) (passes, heads int) { return layers, 0 }

// Effective is the same.
func (m Streamline) Effective() Method { return m }

// Check refuses targets for which no adjacent layers can go.
func (Streamline) Check(s *State, target int) error { return checkBlock(s, target, 1) }

// checkBlock refuses targets for which dropBlock finds nothing.
func checkBlock(s *State, target, kept int) error {
	for l := range target {
		if !s.protects(l+kept, l+1+len(s.Tree)-target) {
			return nil
		}
	}
	return fmt.Errorf("%d target layers: no %d adjacent layers are left that are not protected; protect fewer (prune.Options.Protect)", target, len(s.Tree)-target)
}

// Step drops all layers at once.
func (Streamline) Step(ctx context.Context, s *State, target int, progress func(done, total int)) (*Step, error) {
	return dropBlock(ctx, s, target, 1, progress)
}

// dropBlock drops as many adjacent layers as there are too many, behind one that stays: those around which the states differ least, the states
// that enter the one that stays counted in where kept is 1, and those that leave it where kept is 0; that one is then to be changed, so it is no
// protected one.
func dropBlock(ctx context.Context, s *State, target, kept int, progress func(done, total int)) (*Step, error) {
	if err := s.score(ctx); err != nil {
		return nil, err
	}
	layers := len(s.Model.Layers)
	gone := layers - target
	distances, err := s.Scorer.Skips(ctx, gone+kept, score.Cosine, progress)
	if err != nil {
		return nil, err
	}
	eligible := make([]bool, len(distances))
	for l := range eligible {
		first := l + kept // of those that go
		eligible[l] = first > 0 && !s.protects(first-1+kept, first+gone)
	}
	best := smallest(distances, eligible)
	if best < 0 {
		return nil, model.Lasting(errors.New("the states around no adjacent layers that may go have a distance that is a number"))
	}
	step := &Step{From: layers, Operation: Removal, SBI: distances}
	for i := range gone {
		step.DropList = append(step.DropList, best+kept+i)
	}
	return step, s.Apply(ctx, step)
}
