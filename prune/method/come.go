package method

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
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
	BI        Scores       `json:"bi"`  // of every layer: means over tokens
	SBI       Scores       `json:"sbi"` // of every window of layers: means over the calibration windows' last tokens
	Kept      []merge.Kept `json:"kept"`
}

// Scores are figures of which those are NaN, and null in JSON, that were not needed: of layers that the choice of a merge could do
// without. Which these are depends on the rounds in which a corpus runs, and so on the device's memory; the others do not.
type Scores []float64

// MarshalJSON writes null for NaN.
func (s Scores) MarshalJSON() ([]byte, error) {
	list := make([]*float64, len(s))
	for i := range s {
		if !math.IsNaN(s[i]) {
			list[i] = &s[i]
		}
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Scores) UnmarshalJSON(raw []byte) error {
	var list []*float64
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	*s = make(Scores, len(list))
	for i, v := range list {
		(*s)[i] = math.NaN()
		if v != nil {
			(*s)[i] = *v
		}
	}
	return nil
}

// ErrNoWindow says that every window of layers touches one that was merged already.
var ErrNoWindow = errors.New("no window of unmerged layers is left")

// State is a model on its way to fewer layers.
type State struct {
	Device *vk.Device
	Model  *model.Model
	Scorer *score.Scorer
	Store  *model.LayerStore // of merged layers
	Tree   []Tree            // of every layer of Model
	Valid  int               // the first layer that the scorer has not seen as it is now
	Merged int               // layers of the model before that this one was made of

	AllScores bool // compute the scores of every layer, not only those that tell which are merged
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
	eligible := make([]bool, layers-span+1)
	for l := range eligible {
		eligible[l] = c.Repeat || !slices.ContainsFunc(s.Tree[l:l+span], func(t Tree) bool { return t.Merged != nil })
	}
	if !slices.Contains(eligible, true) {
		return nil, fmt.Errorf("come: %w of %d layers, so %d layers is as deep as this goes; allow repeated merges (--no-repeat=false) to go to %d", ErrNoWindow, span, layers, target)
	}
	if err := s.Scorer.Update(ctx, s.Model, s.Valid, s.Merged); err != nil {
		return nil, err
	}
	first, err := s.Scorer.Select(ctx, span, eligible, s.AllScores, progress)
	if err != nil {
		return nil, err
	}
	end := first + span
	originals := 0
	for _, t := range s.Tree[first:end] {
		originals += t.Originals()
	}
	step := &Step{From: layers, To: layers - span + 1, BI: s.Scorer.BI(), SBI: s.Scorer.SBI(), Layers: slices.Clone(s.Tree[first:end])}
	heads, neurons := make([][]float64, span), make([][]float64, span)
	for i := range span {
		step.MergeList = append(step.MergeList, first+i)
		if heads[i], neurons[i], err = s.Scorer.Sensitivity(ctx, first+i); err != nil {
			return nil, err
		}
	}
	step.Ratio = merge.Ratio(step.BI[first:end], c.PSU, c.MinMax, originals)
	step.Kept = merge.Keep(step.Ratio, heads, neurons)
	s.Scorer.Trim(s.Model.Layers[first:end])
	joined, err := merge.Concat(ctx, s.Device, s.Model.Config, s.Model.Layers[first:end], step.Kept, step.Ratio, c.Tiled)
	if err == nil {
		joined, err = s.Store.Keep(joined)
	}
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
	s.Valid, s.Merged = first, span
	return step, nil
}
