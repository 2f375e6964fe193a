package method

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/prune/refit"
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

	// Refit fits what each step leaves, unless it waits for the end: the layers that the step makes, and those before layers that it drops. The
	// Scorer, which is then there whatever the method, holds the states of the model that was opened. nil: nothing is fitted.
	Refit *refit.Options
	Shard *refit.Shard // of the corpus, which is the Scorer's, where processes share what Fit does; nil: the Scorer has all of it
	Ends  []int        // of every layer of Model: of the model that was opened, the layers below it are what the layers up to this one stand for; nil: one each

	Fitting time.Duration // that fitting layers of this model took, tries that were not taken among them
	Fitted  int           // layers that were fitted, as often as they were
	Solving time.Duration // that choosing by equations took, once their sums were there: however many windows there are

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
	ends, apart := s.ends(keep, list)
	for _, l := range keep {
		if joined != nil && l == list[0] {
			made, tree, protected = append(made, joined), append(tree, Tree{Merged: p.Layers}), append(protected, false)
			continue
		}
		layer := s.Model.Layers[l]
		if p.Scale != 0 && l > list[0] {
			if layer, err = merge.Scale(s.Model.Config, layer, p.Scale); err == nil {
				layer, err = s.Store.Keep(layer)
			}
			if err != nil {
				return err
			}
		}
		made, tree, protected = append(made, layer), append(tree, s.Tree[l]), append(protected, s.protects(l, l+1))
	}
	if s.Model, err = s.Model.With(made, keep); err != nil {
		return err
	}
	s.Tree, s.Protected, s.Ends = tree, protected, ends
	merged := len(list)
	if joined == nil {
		merged = 0
	}
	s.changed(list[0], merged)
	return s.refit(ctx, p, apart)
}

// end is the layer's of Ends.
func (s *State) end(l int) int {
	if s.Ends == nil {
		return l + 1
	}
	return s.Ends[l]
}

// ends is the Ends of the layers that are kept of the model before a step, by their numbers there, and those among them, by their new numbers,
// that stand for more than before.
func (s *State) ends(keep, list []int) (ends, more []int) {
	for i, l := range keep {
		end := s.end(len(s.Model.Layers) - 1)
		if i+1 < len(keep) {
			end = s.end(keep[i+1] - 1)
		}
		ends = append(ends, end)
		if end != s.end(l) || i == 0 && l > 0 || slices.Contains(list, l) {
			more = append(more, i)
		}
	}
	return ends, more
}

// fits says whether layers are fitted after each step.
func (s *State) fits() bool { return s.Refit != nil && !s.Refit.End }

// refit fits layers after a step, from below.
func (s *State) refit(ctx context.Context, p *Step, layers []int) error {
	p.Refit = nil
	if !s.fits() {
		return nil
	}
	for _, l := range layers {
		if s.protects(l, l+1) {
			continue
		}
		if t := p.tried; t != nil && t.at == l {
			p.Refit = append(p.Refit, t.fits...)
			if t.layer != nil {
				if err := s.replace(l, t.layer); err != nil {
					return err
				}
			}
			continue
		}
		fits, err := s.Fit(ctx, l)
		if err != nil {
			return err
		}
		p.Refit = append(p.Refit, fits...)
	}
	p.tried = nil // a step outlives the layers
	return nil
}

// FitAll fits every layer from the lowest on that stands for others, from below, and adds what came of it to the last step's record.
func (s *State) FitAll(ctx context.Context, last *Step, progress func(done, total int)) error {
	first := 0
	layers := len(s.Model.Layers)
	for first < layers && s.end(first) == first+1 {
		first++
	}
	for l := first; l < layers; l++ {
		progress(l-first, layers-first)
		if s.protects(l, l+1) {
			continue
		}
		fits, err := s.Fit(ctx, l)
		if err != nil {
			return err
		}
		last.Refit = append(last.Refit, fits...)
	}
	return nil
}

// Fit fits layer l to what it stands for by Ends.
func (s *State) Fit(ctx context.Context, l int) ([]refit.Fit, error) {
	begin := time.Now()
	defer func() { s.Fitting, s.Fitted = s.Fitting+time.Since(begin), s.Fitted+1 }()
	if err := s.score(ctx); err != nil {
		return nil, err
	}
	fitted, fits, err := s.Shard.Layer(ctx, s.Scorer, s.Model, refit.Target{Layer: l, Boundary: s.end(l)}, *s.Refit)
	if err != nil || fitted == nil {
		return fits, err
	}
	return fits, s.replace(l, fitted)
}

// replace puts another layer in the place of layer l.
func (s *State) replace(l int, layer *model.Layer) error {
	layer, err := s.Store.Keep(layer)
	if err != nil {
		return err
	}
	s.Model = s.Model.Replace(l, layer)
	s.Touch(l)
	return nil
}

// Touch notes that layers from l on were replaced by others that do the same, which the scorer has not seen.
func (s *State) Touch(l int) { s.changed(l, 1) }

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
	return merge.Concat(ctx, s.Device, s.Model.Config, layers, p.Kept, p.Ratio, merge.Options{Tiled: p.Tile, NormByRatio: p.Norm == NormRatio, First: p.Norm == NormFirst})
}

// trial is a step that was tried.
type trial struct {
	run.Candidate
	*Step
	loss float64 // that a fit leaves on the windows held out, NaN where nothing is fitted
}

// try makes the model of a step of the scorer's, the lowest of the layers that the step leaves fitted if layers are. Apply of the trial's step
// does not fit that again.
func (s *State) try(ctx context.Context, p *Step) (t trial, err error) {
	after, bare := *s, *p
	after.Store, after.Refit = nil, nil
	if err := after.Apply(ctx, &bare); err != nil {
		return t, err
	}
	step := *p
	t = trial{Step: &step, loss: math.NaN()}
	from, m := p.list()[0], after.Model
	if s.fits() {
		if p.Operation == Removal {
			from = max(0, from-1)
		}
		if begin := time.Now(); !after.protects(from, from+1) {
			layer, fits, err := refit.Layer(ctx, s.Scorer, m, refit.Target{Layer: from, Boundary: after.end(from)}, *s.Refit)
			if err != nil {
				return t, err
			}
			s.Fitting, s.Fitted = s.Fitting+time.Since(begin), s.Fitted+1
			t.loss = fits[len(fits)-1].Left()
			step.tried = &tried{from, layer, fits}
			if layer != nil {
				m = m.Replace(from, layer)
			}
		}
	}
	t.Candidate = run.Candidate{From: from, Make: func(context.Context) (*model.Model, error) { return m, nil }}
	return t, nil
}

// candidate is the model that a step would make.
func (s *State) candidate(p *Step) run.Candidate {
	return run.Candidate{From: p.list()[0], Own: p.Operation != Removal, Make: func(ctx context.Context) (*model.Model, error) {
		trial := *s
		trial.Store, trial.Refit = nil, nil
		step := *p
		err := trial.Apply(ctx, &step)
		return trial.Model, err
	}}
}
