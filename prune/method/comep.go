package method

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/run"
)

func init() {
	register(Entry{Name: "come-p", Short: "come, with the ratio of a pair that gives the smallest calibration loss", Place: 20, New: func(o Options) Method { return CoMeP{o.CoMe, o.Granularity} }})
}

// CoMeP is CoMe with the ratio of a pair found by trial: of r = 0, 1/G, …, 1 for the first layer and 1−r for the second that of the
// smallest calibration loss, the first of equals. Pairs are chosen by the angles of all tokens' states, not the last ones' only. RatioPower and
// RatioFloor have no meaning. Source: CoMe-P of arXiv 2510.15304.
//
// Where layers are fitted, the ratio is that whose fit leaves least on the windows held out, which is ours: it is of all ratios for the same
// states and tokens, and no layer above runs. The ratios 1 and 0 drop one of the two layers, so each step has the best of these and of concatenations.
type CoMeP struct {
	CoMe
	Granularity int `json:"granularity"` // G; 0 is 20
}

// Name is "come-p".
func (c CoMeP) Name() string { return "come-p" }

// Options lists those that have a meaning for come-p.
func (CoMeP) Options() []string {
	return []string{
		"method.CoMe.Repeat", "method.CoMe.Tiled", "method.CoMe.Selector", "method.CoMe.Norm", "method.CoMe.Sensitivity",
		"method.CoMeP.Granularity",
	}
}

// Cost counts every step in full: what lies below a pair is shared by its ratios.
func (c CoMeP) Cost(layers, target int) (passes, heads int) {
	c = c.defaults()
	trials := c.Granularity + 1
	passes, heads = c.CoMe.Cost(layers, target)
	p, h := steps(layers, target, 1, func(from int) (int, int) { return trials * (from - 1), trials })
	return passes + p, heads + h
}

// Effective is the method with every default spelled out, as a lineage records it.
func (c CoMeP) Effective() Method { return c.defaults() }

func (c CoMeP) defaults() CoMeP {
	c.CoMe = c.CoMe.Defaults()
	if c.Granularity == 0 {
		c.Granularity = 20
	}
	return c
}

// Check refuses options out of range and targets that cannot be reached.
func (c CoMeP) Check(s *State, target int) error {
	c = c.defaults()
	switch {
	case c.LayersPerMerge != 2:
		return fmt.Errorf("merge item %d: come-p merges pairs", c.LayersPerMerge)
	case c.Granularity < 1 || c.Granularity > 1000:
		return fmt.Errorf("granularity %d, expected 1 to 1000", c.Granularity)
	}
	return c.CoMe.Check(s, target)
}

// Step merges a pair.
func (c CoMeP) Step(ctx context.Context, s *State, target int, progress func(done, total int)) (*Step, error) {
	c = c.defaults()
	step, err := c.choose(ctx, s, target, allTokens, nil)
	if err != nil {
		return nil, err
	}
	heads, neurons, err := c.sensitivities(ctx, s, step)
	if err != nil {
		return nil, err
	}
	var trials []*Step
	var candidates []run.Candidate
	for k := range c.Granularity + 1 {
		trial := *step
		r := float64(k) / float64(c.Granularity)
		trial.Ratio = []float64{r, 1 - r}
		c.fill(&trial, heads, neurons, s.Model.Config.Sparse(trial.MergeList[0]))
		trials, candidates = append(trials, &trial), append(candidates, s.candidate(&trial))
	}
	if s.fits() {
		return c.fitted(ctx, s, trials, progress)
	}
	losses, err := s.Scorer.Losses(ctx, len(s.Model.Layers)-1, candidates, progress)
	if err != nil {
		return nil, err
	}
	best := smallest(losses, nil)
	if best < 0 {
		return nil, model.Lasting(errors.New("come-p: the calibration loss of no ratio is a number"))
	}
	step = trials[best]
	step.Losses = losses
	return step, s.Apply(ctx, step)
}

// fitted does the trial whose fit leaves least.
func (c CoMeP) fitted(ctx context.Context, s *State, trials []*Step, progress func(done, total int)) (*Step, error) {
	var best *Step
	left, least := make([]float64, len(trials)), math.Inf(1)
	for k, p := range trials {
		t, err := s.try(ctx, p)
		if err != nil {
			return nil, err
		}
		if left[k] = t.loss; t.loss < least {
			best, least = t.Step, t.loss // of the others the layers are forgotten: there may be many
		}
		if progress != nil {
			progress(k+1, len(trials))
		}
	}
	if best == nil {
		return nil, model.Lasting(errors.New("come-p: what the fits of all ratios leave is no number"))
	}
	best.Scores = left
	return best, s.Apply(ctx, best)
}
