package method

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
)

// CoMe merges the adjacent layers whose skipping changes the direction of the hidden state least, by concatenating their most
// sensitive heads and neurons, and scores the new model before the next merge. Source: Layer as Puzzle Pieces: Compressing Large
// Language Models through Layer Concatenation, NeurIPS 2025, arXiv 2510.15304.
type CoMe struct {
	MergeItem int     // layers merged in a step; 0 is 2
	Repeat    bool    // a merged layer may be merged again
	PSU       float64 // power of the block influences in the ratio; 0 is 1
	MinMax    float64 // floor of the largest ratio, 0 to 1
	Tiled     bool    // take query heads as the released code does, see merge.Concat
}

// Step is what one merge did. Layer numbers are those of the model before it.
type Step struct {
	From      int          `json:"from"` // layers before
	To        int          `json:"to"`   // layers after
	MergeList []int        `json:"merge_list"`
	Layers    []Tree       `json:"layers"` // where the merged layers come from
	Ratio     []float64    `json:"ratio"`
	BI        []float64    `json:"bi"`  // of every layer: means over tokens
	SBI       []float64    `json:"sbi"` // of every window of layers: means over the calibration windows' last tokens
	Kept      []merge.Kept `json:"kept"`
}

// ErrNoWindow says that every window of layers touches one that was merged already.
var ErrNoWindow = errors.New("no window of unmerged layers is left")

// State is a model on its way to fewer layers.
type State struct {
	Device *vk.Device
	Model  *model.Model
	Scorer *score.Scorer
	Tree   []Tree // of every layer of Model
	Valid  int    // the first layer that the scorer has not seen as it is now
}

// Defaults fills in what the zero value stands for.
func (c CoMe) Defaults() CoMe {
	if c.MergeItem == 0 {
		c.MergeItem = 2
	}
	if c.PSU == 0 {
		c.PSU = 1
	}
	return c
}

// Reach is the smallest depth that CoMe can reach from a tree, given that it may choose any windows: a lower bound. The last step
// may merge fewer layers than the others.
func (c CoMe) Reach(tree []Tree) int {
	c = c.Defaults()
	if c.Repeat {
		return 1
	}
	depth, run, left := len(tree), 0, 0 // left is the longest rest of a run of unmerged layers
	for _, t := range tree {
		if t.Merged != nil {
			left, run = max(left, run), 0
			continue
		}
		if run++; run == c.MergeItem {
			depth -= c.MergeItem - 1
			run = 0
		}
	}
	return depth - max(0, max(left, run)-1)
}

// Step merges once, going no deeper than target layers.
func (c CoMe) Step(ctx context.Context, s *State, target int, progress func(done, total int)) (*Step, error) {
	c = c.Defaults()
	layers := len(s.Model.Layers)
	span := min(c.MergeItem, layers-target+1)
	if err := s.Scorer.Update(ctx, s.Model, s.Valid, progress); err != nil {
		return nil, err
	}
	sbi, err := s.Scorer.SBI(ctx, span)
	if err != nil {
		return nil, err
	}
	first := -1
	for l, v := range sbi {
		merged := slices.ContainsFunc(s.Tree[l:l+span], func(t Tree) bool { return t.Merged != nil })
		if (c.Repeat || !merged) && (first < 0 || v < sbi[first]) {
			first = l
		}
	}
	if first < 0 {
		return nil, fmt.Errorf("come: %w of %d layers, so %d layers is as deep as this goes; allow repeated merges (--no-repeat=false) to go to %d", ErrNoWindow, span, layers, target)
	}
	end := first + span
	originals := 0
	for _, t := range s.Tree[first:end] {
		originals += t.Originals()
	}
	scores := s.Scorer.Scores
	step := &Step{From: layers, To: layers - span + 1, BI: slices.Clone(scores.BI), SBI: sbi, Layers: slices.Clone(s.Tree[first:end])}
	for l := first; l < end; l++ {
		step.MergeList = append(step.MergeList, l)
	}
	step.Ratio = merge.Ratio(scores.BI[first:end], c.PSU, c.MinMax, originals)
	step.Kept = merge.Keep(step.Ratio, scores.Heads[first:end], scores.Neurons[first:end])
	s.Scorer.Trim()
	joined, err := merge.Concat(ctx, s.Device, s.Model.Config, s.Model.Layers[first:end], step.Kept, step.Ratio, c.Tiled)
	if err != nil {
		return nil, err
	}
	keep := []int{} // a merged layer takes the place of its first
	for l := range layers {
		if l <= first || l >= end {
			keep = append(keep, l)
		}
	}
	s.Model, err = s.Model.With(slices.Concat(s.Model.Layers[:first], []*model.Layer{joined}, s.Model.Layers[end:]), keep)
	if err != nil {
		return nil, err
	}
	s.Tree = slices.Concat(s.Tree[:first], []Tree{{Merged: step.Layers}}, s.Tree[end:])
	s.Valid = first
	return step, nil
}
