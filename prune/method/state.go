package method

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
)

// State is a model on its way to fewer layers.
type State struct {
	Device    *vk.Device
	Model     *model.Model
	Scorer    *score.Scorer      // nil where the method needs no corpus
	Tree      []Tree             // of every layer of Model
	Store     *states.LayerStore // of merged layers
	Protected []bool             // of every layer of Model: no method touches it; nil: none is

	// Memo is what a method keeps between its steps: scores that it computes once. The rest follows from the other fields.
	Memo json.RawMessage

	AllScores bool // compute the scores of every layer, not only those that tell which are merged
	Known     bool // the scorer knows Model as it is

	valid  int // the first layer that the scorer has not seen as it is now
	merged int // layers of the model that the scorer knows which the one at valid was made of, 0 if that is not so simple
}

// protects says whether any of layers [begin, end) is protected.
func (s *State) protects(begin, end int) bool {
	return s.Protected != nil && slices.Contains(s.Protected[begin:end], true)
}

// apart lists the layers that cannot be merged with the one before them: those with experts behind dense ones, and the other way round.
func (s *State) apart() (list []int) {
	for l := 1; l < len(s.Tree); l++ {
		if c := s.Model.Config; c.Sparse(l) != c.Sparse(l-1) {
			list = append(list, l)
		}
	}
	return list
}

// sums refuses models with experts for a method that sums weights of different layers.
func (s *State) sums(method string) error {
	if c := s.Model.Config; c.Experts > 0 {
		return fmt.Errorf("%s sums the weights of layers: experts of different layers do not correspond, so a %s cannot be pruned by it; use come, come-p, or a method that drops layers", method, c.Architecture)
	}
	return nil
}

// score makes the scorer know the model.
func (s *State) score(ctx context.Context) error {
	if s.Known {
		return nil
	}
	if err := s.Scorer.Update(ctx, s.Model, s.valid, s.merged); err != nil {
		return err
	}
	s.Known = true
	return nil
}

// changed notes that layers from first on are not what they were: one takes the place of merged.
func (s *State) changed(first, merged int) {
	if s.Known {
		s.Known, s.valid, s.merged = false, first, merged
		return
	}
	s.valid, s.merged = min(s.valid, first), 0
}

// Apply carries out a step. To, Layers and what they depend on are filled in.
func (s *State) Apply(ctx context.Context, p *Step) error {
	if err := p.check(s.Model); err != nil {
		return err
	}
	layers, list := len(s.Model.Layers), p.list()
	p.Layers = nil
	for _, l := range list {
		p.Layers = append(p.Layers, s.Tree[l])
	}
	var keep []int // the layers of the model whose places stay
	for l := range layers {
		if !slices.Contains(list, l) || p.Operation != Removal && l == list[0] { // a merged layer takes the place of its first
			keep = append(keep, l)
		}
	}
	p.To = len(keep)
	joined, err := s.join(ctx, p)
	if err == nil && joined != nil {
		joined, err = s.Store.Keep(joined)
	}
	if err != nil {
		return err
	}
	var made []*model.Layer
	var tree []Tree
	var protected []bool
	for _, l := range keep {
		if joined != nil && l == list[0] {
			made, tree, protected = append(made, joined), append(tree, Tree{Merged: p.Layers}), append(protected, false)
			continue
		}
		made, tree, protected = append(made, s.Model.Layers[l]), append(tree, s.Tree[l]), append(protected, s.protects(l, l+1))
	}
	if s.Model, err = s.Model.With(made, keep); err != nil {
		return err
	}
	s.Tree, s.Protected = tree, protected
	merged := len(list)
	if joined == nil {
		merged = 0
	}
	s.changed(list[0], merged)
	return nil
}

// join makes the layer that a step merges others into, nil if it drops them.
func (s *State) join(ctx context.Context, p *Step) (*model.Layer, error) {
	if p.Operation == Removal {
		return nil, nil
	}
	first, end := p.MergeList[0], p.MergeList[0]+len(p.MergeList)
	layers := s.Model.Layers[first:end]
	if s.Scorer != nil {
		s.Scorer.Trim(layers)
	}
	if p.Operation == Sum {
		return merge.Sum(ctx, s.Device, layers, p.Ratio)
	}
	return merge.Concat(ctx, s.Device, s.Model.Config, layers, p.Kept, p.Ratio, merge.Options{Tiled: p.Tile, NormByRatio: p.Norm == NormRatio})
}

// candidate is the model that a step would make.
func (s *State) candidate(p *Step) run.Candidate {
	return run.Candidate{From: p.list()[0], Own: p.Operation != Removal, Make: func(ctx context.Context) (*model.Model, error) {
		trial := *s
		trial.Store = nil
		step := *p
		err := trial.Apply(ctx, &step)
		return trial.Model, err
	}}
}
