package method

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/prune/score"
)

func init() {
	register(Entry{Name: "come", Short: "concatenate the most sensitive heads and neurons of adjacent layers", Place: 10, New: func(o Options) Method { return o.CoMe }})
}

// CoMe merges the adjacent layers whose skipping changes the direction of the hidden state least, by concatenating their most
// sensitive heads and neurons, and scores the new model before the next merge. Source: Layer as Puzzle Pieces: Compressing Large
// Language Models through Layer Concatenation, NeurIPS 2025, arXiv 2510.15304.
type CoMe struct {
	LayersPerMerge int     `json:"merge_item"`            // layers merged in a step; 0 is 2
	Repeat         bool    `json:"repeat"`                // a merged layer may be merged again
	RatioPower     float64 `json:"psu"`                   // power of the block influences in the ratio; 0 is 1
	RatioFloor     float64 `json:"min_max"`               // floor of the largest ratio, 0 to 1
	Tiled          bool    `json:"tiled,omitempty"`       // take query heads as the released code does, see merge.Options
	Selector       string  `json:"selector,omitempty"`    // what chooses the layers; empty is SelectAngular
	Norm           string  `json:"norm,omitempty"`        // of the RMSNorms; empty is NormMean
	Sensitivity    string  `json:"sensitivity,omitempty"` // what ranks heads and neurons; empty is SensitivityL1
	Seed           uint64  `json:"seed,omitempty"`        // of SensitivityRandom
}

// What chooses the layers to merge.
const (
	SelectAngular    = "angular"     // the smallest skip block influence: arccos(cos)/π of the states around a window's last tokens
	SelectAngularAll = "angular-all" // the same over all tokens: ours, and what CoMe-P takes
	SelectBI         = "bi"          // the smallest block influence of the window: 1 − cos of the states around it, over all tokens
	SelectSLEB       = "sleb"        // the smallest calibration loss without the window
	SelectMKA        = "mka"         // the deepest window
)

// How the norms of merged layers are made.
const (
	NormMean  = "mean"
	NormRatio = "ratio"
	NormFirst = "first" // of Union alone
)

// What ranks heads and neurons. Σ|W| goes over the column of the output or down projection that reads a channel.
const (
	SensitivityL1     = "l1"     // mean|x| · Σ|W|
	SensitivityL2     = "l2"     // √mean x² · √ΣW²
	SensitivityAct    = "act"    // mean|x|
	SensitivityWeight = "weight" // Σ|W|
	SensitivityRandom = "random" // uniform, by Seed
)

// Selectors, Norms and Sensitivities are the values of the options, the default first.
var (
	Selectors     = []string{SelectAngular, SelectAngularAll, SelectBI, SelectSLEB, SelectMKA}
	Norms         = []string{NormMean, NormRatio}
	Sensitivities = []string{SensitivityL1, SensitivityL2, SensitivityAct, SensitivityWeight, SensitivityRandom}
)

// ErrNoWindow says that every window of layers touches one that was merged already, or is protected.
var ErrNoWindow = errors.New("no window of unmerged layers is left")

// Name is "come".
func (c CoMe) Name() string { return "come" }

// Needs is a calibration corpus.
func (CoMe) Needs() Needs { return Needs{Corpus: true} }

// Options lists those that have a meaning for come.
func (CoMe) Options() []string {
	return []string{
		"method.CoMe.LayersPerMerge", "method.CoMe.Repeat", "method.CoMe.RatioPower", "method.CoMe.RatioFloor", "method.CoMe.Tiled",
		"method.CoMe.Selector", "method.CoMe.Norm", "method.CoMe.Sensitivity",
	}
}

// Cost counts every step in full, though scoring resumes where the last merge left off and stops early.
func (c CoMe) Cost(layers, target int) (passes, heads int) {
	c = c.Defaults()
	return steps(layers, target, c.LayersPerMerge-1, func(from int) (int, int) {
		if c.Selector == SelectSLEB {
			return from + from*(from-1)/2, from
		}
		return from, 0
	})
}

// Effective is the method with every default spelled out, as a lineage records it.
func (c CoMe) Effective() Method { return c.Defaults() }

// Defaults fills in what the zero value stands for.
func (c CoMe) Defaults() CoMe {
	if c.LayersPerMerge == 0 {
		c.LayersPerMerge = 2
	}
	if c.RatioPower == 0 {
		c.RatioPower = 1
	}
	return c
}

// Check refuses options out of range and targets that cannot be reached.
func (c CoMe) Check(s *State, target int) error {
	c = c.Defaults()
	layers := len(s.Tree)
	for _, o := range []struct {
		name, value string
		of          []string
	}{{"selector", c.Selector, Selectors}, {"norm", c.Norm, Norms}, {"sensitivity", c.Sensitivity, Sensitivities}} {
		if o.value != "" && !slices.Contains(o.of, o.value) {
			return fmt.Errorf("%s %q, expected one of %v", o.name, o.value, o.of)
		}
	}
	switch {
	case c.LayersPerMerge < 2 || c.LayersPerMerge > layers:
		return fmt.Errorf("merge item %d, expected 2 to the model's %d layers", c.LayersPerMerge, layers)
	case !(c.RatioFloor >= 0 && c.RatioFloor <= 1):
		return fmt.Errorf("min-max %v, expected 0 to 1", c.RatioFloor)
	case !(c.RatioPower > 0 && c.RatioPower <= 1000):
		return fmt.Errorf("psu %v, expected more than 0 and at most 1000", c.RatioPower)
	}
	if a := s.Model.Config; a.Experts > 0 && c.Sensitivity == SensitivityWeight {
		return fmt.Errorf("sensitivity %q: the experts of a %s are ranked by what the router gives them, not by weights: expected another of %v", c.Sensitivity, a.Architecture, Sensitivities)
	}
	if reach := c.Reach(s.Tree, s.Protected, s.apart()); target < reach {
		kinds := ""
		if s.apart() != nil {
			kinds = " and layers with experts not joined with dense ones"
		}
		if c.Repeat {
			return fmt.Errorf("%d target layers: with the protected layers left alone%s, the model reaches %d; protect fewer (prune.Options.Protect)", target, kinds, reach)
		}
		return fmt.Errorf("%d target layers: with each layer merged at most once%s, the model reaches %d; allow repeated merges (method.CoMe.Repeat=true)", target, kinds, reach)
	}
	return nil
}

// Reach is the smallest depth that CoMe can reach from a tree, given that it may choose any windows: a lower bound. The last step
// may merge fewer layers than the others. protected may be nil. A layer of apart is not merged with the one before it.
func (c CoMe) Reach(tree []Tree, protected []bool, apart []int) int {
	c = c.Defaults()
	depth, run, left := len(tree), 0, 0 // left is the longest rest of a run of layers that may be merged
	end := func() {
		if c.Repeat {
			depth -= max(0, run-1)
		}
		left, run = max(left, run), 0
	}
	for i, t := range tree {
		if slices.Contains(apart, i) {
			end()
		}
		if protected != nil && protected[i] || t.Merged != nil && !c.Repeat {
			end()
			continue
		}
		if run++; run == c.LayersPerMerge && !c.Repeat {
			depth -= c.LayersPerMerge - 1
			run = 0
		}
	}
	end()
	if c.Repeat {
		return depth
	}
	return depth - max(0, left-1)
}

// Step merges once, going no deeper than target layers.
func (c CoMe) Step(ctx context.Context, s *State, target int, progress func(done, total int)) (*Step, error) {
	c = c.Defaults()
	step, err := c.choose(ctx, s, target, lastTokens, progress)
	if err != nil {
		return nil, err
	}
	c.ratio(s, step)
	if err := c.keep(ctx, s, step); err != nil {
		return nil, err
	}
	return step, s.Apply(ctx, step)
}

// tokens says of which of them the angle of the states around a window is the mean.
type tokens int

const (
	lastTokens tokens = iota // of each corpus window the last
	allTokens
)

// choose selects the layers to merge, whose block influences are then known. By default the angle of the states around a window is that
// of the tokens over.
func (c CoMe) choose(ctx context.Context, s *State, target int, over tokens, progress func(done, total int)) (*Step, error) {
	layers := len(s.Model.Layers)
	span := min(c.LayersPerMerge, layers-target+1)
	eligible := make([]bool, layers-span+1)
	for l := range eligible {
		eligible[l] = !s.protects(l, l+span) && !slices.ContainsFunc(s.apart(), func(cut int) bool { return l < cut && cut < l+span }) &&
			(c.Repeat || !slices.ContainsFunc(s.Tree[l:l+span], func(t Tree) bool { return t.Merged != nil }))
	}
	if !slices.Contains(eligible, true) {
		return nil, model.Lasting(fmt.Errorf("come: %w of %d layers, so %d layers is as deep as this goes; allow repeated merges (method.CoMe.Repeat=true) or protect fewer layers to go to %d", ErrNoWindow, span, layers, target))
	}
	if err := s.score(ctx); err != nil {
		return nil, err
	}
	step := &Step{From: layers, Operation: Concat}
	first, err := -1, error(nil)
	switch {
	case c.Selector == SelectMKA:
		if err = s.Scorer.All(ctx, layers, progress); err == nil {
			first = len(eligible) - 1
			for !eligible[first] {
				first--
			}
		}
	case c.Selector == SelectSLEB:
		if step.Losses, err = s.without(ctx, span, eligible, progress); err == nil {
			first = smallest(step.Losses, eligible)
			err = s.Scorer.All(ctx, layers, nil)
		}
	case c.Selector == SelectBI:
		if step.SBI, err = s.Scorer.Skips(ctx, span, score.Cosine, progress); err == nil {
			first = smallest(step.SBI, eligible)
		}
	case over == allTokens || c.Selector == SelectAngularAll:
		if step.SBI, err = s.Scorer.Skips(ctx, span, score.Angle, progress); err == nil {
			first = smallest(step.SBI, eligible)
		}
	default:
		if first, err = s.Scorer.Select(ctx, span, eligible, s.AllScores, progress); err == nil {
			step.SBI = s.Scorer.SBI()
		}
	}
	if err != nil {
		return nil, err
	}
	step.BI = s.Scorer.BI()
	for i := range span {
		step.MergeList = append(step.MergeList, first+i)
	}
	return step, nil
}

// without is the calibration loss without each eligible window of span layers, NaN for the others.
func (s *State) without(ctx context.Context, span int, eligible []bool, progress func(done, total int)) ([]float64, error) {
	var candidates []run.Candidate
	for l, ok := range eligible {
		if !ok {
			continue
		}
		step := &Step{From: len(s.Model.Layers), Operation: Removal}
		for i := range span {
			step.DropList = append(step.DropList, l+i)
		}
		candidates = append(candidates, s.candidate(step))
	}
	values, err := s.Scorer.Losses(ctx, len(s.Model.Layers)-span, candidates, progress)
	if err != nil {
		return nil, err
	}
	return spread(values, eligible), nil
}

// ratio sets the share of each layer by its block influence.
func (c CoMe) ratio(s *State, step *Step) {
	originals := 0
	for _, l := range step.MergeList {
		originals += s.Tree[l].Originals()
	}
	first := step.MergeList[0]
	step.Ratio = merge.Ratio(step.BI[first:first+len(step.MergeList)], c.RatioPower, c.RatioFloor, originals)
}

// keep chooses the units of each layer by its share.
func (c CoMe) keep(ctx context.Context, s *State, step *Step) error {
	heads, neurons, err := c.sensitivities(ctx, s, step)
	if err != nil {
		return err
	}
	c.fill(step, heads, neurons, s.Model.Config.Sparse(step.MergeList[0]))
	return nil
}

// fill sets what a concatenation does with the ratio of the step; sparse: its layers have experts.
func (c CoMe) fill(step *Step, heads, neurons [][]float64, sparse bool) {
	step.Kept, step.Tile = merge.Keep(step.Ratio, heads, neurons, sparse), c.Tiled
	if c.Norm == NormRatio {
		step.Norm = NormRatio
	}
}

// sensitivities ranks the units of the layers that are merged.
func (c CoMe) sensitivities(ctx context.Context, s *State, step *Step) (heads, neurons [][]float64, err error) {
	for _, l := range step.MergeList {
		var h, n []float64
		switch c.Sensitivity {
		case SensitivityRandom:
			rng := rand.New(rand.NewPCG(c.Seed, uint64(step.From)<<32|uint64(l)))
			h, n = uniform(rng, s.Model.Config.KVHeads), uniform(rng, s.Model.Config.Units(l))
		default:
			h, n, err = s.Scorer.Sensitivity(ctx, l, sensitivities[c.Sensitivity])
		}
		if err != nil {
			return nil, nil, err
		}
		heads, neurons = append(heads, h), append(neurons, n)
	}
	return heads, neurons, nil
}

var sensitivities = map[string]score.Sensitivity{"": score.L1, SensitivityL1: score.L1, SensitivityL2: score.L2, SensitivityAct: score.Activity, SensitivityWeight: score.Weight}

func uniform(rng *rand.Rand, n int) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = rng.Float64()
	}
	return list
}
