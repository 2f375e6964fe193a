// Package prune makes models shallower. NewPlan checks options against a model, Plan.Predict says what a run would take, and Plan.Run or
// Plan.RunTo carries it out on a device; RunTo writes a Hugging Face folder with the lineage of every layer. NewDistillation does the
// same for a model that was pruned before and is to learn from another. It is what a program that embeds vkcome calls.
//
// Errors name options by their Go names, as in prune.Options.TargetLayers.
package prune

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
)

// Options say how deep to prune and how. Exactly one target is given, unless the method's own options or Replay say where the run ends.
type Options struct {
	TargetLayers     int     // target: layers left
	Sparsity         float64 // target: share of all parameters to remove at least, more than 0 and less than 1
	TargetParameters int64   // target: parameters left at most
	TargetBytes      int64   // target: bytes of weights left at most

	Method    method.Method // nil is method.CoMe{}
	Protect   []int         // layers of the opened model that stay as they are; negative numbers count from the end
	AllScores bool          // compute the scores of every layer at every step, for the lineage; the model is the same
	Replay    *Lineage      // take the same steps again, without scores: Method and the targets are the lineage's

	// Devices are more devices, of the same kind as the one that Run is given, which share the calibration windows with it. The model is
	// the same.
	Devices []*vk.Device
	// Refit fits what each step leaves against the opened model, in closed form, on the calibration corpus; nil: nothing is fitted.
	Refit *refit.Options
	// Distill trains the layers that merges make against those that they were made of; nil: none are trained.
	Distill *DistillOptions
	// Stats are what a run of the model on its calibration corpus gives, computed before: see ComputeStats. Their windows and record stand
	// for the corpus, so Windows, Seed and Source stay empty. Later steps run on these windows.
	Stats *score.Stats

	Windows [][]uint32         // calibration corpus: windows of equal length; not needed where the method says so
	Seed    uint64             // that the windows were sampled with, for the record
	Memory  *states.HostMemory // bounds host memory; nil: no bound
	Source  string             // names of the files that the windows were made of, for the record
}

// Plan is a run that was checked and not started.
type Plan struct {
	Model        *model.Model
	Options      Options
	Method       method.Method
	TargetLayers int
	start
	auto *AutoRecord // of the search that chose Method; nil elsewhere
}

// start is where a run begins: a model as it is opened.
type start struct {
	protected []bool
	tree      []method.Tree
	root      int    // layers of the original model
	previous  []byte // the lineage of the model, nil if it was not pruned before
}

func newStart(m *model.Model, protect []int) (s start, err error) {
	if s.tree, s.root, s.previous, err = readLineage(m); err != nil {
		return s, err
	}
	if protect, err = method.Numbers(protect, len(m.Layers)); err != nil {
		return s, fmt.Errorf("prune: protected layers: %w", err)
	}
	s.protected = make([]bool, len(m.Layers))
	for _, l := range protect {
		s.protected[l] = true
	}
	return s, nil
}

// state is the model before the first step.
func (s start) state(m *model.Model) *method.State {
	return &method.State{Model: m, Tree: s.tree, Protected: s.protected}
}

// NewPlan checks options against a model: the depth must lie between 1 and the model's, and be within the method's reach.
func NewPlan(m *model.Model, o Options) (p *Plan, err error) {
	if s := o.Stats; s != nil {
		if len(o.Windows) > 0 || o.Replay != nil {
			return nil, errors.New("prune: figures come with their corpus: no other is read, and a plan that is replayed needs none")
		}
		o.Windows, o.Seed, o.Source = s.Windows, s.Seed, s.Source
	}
	p = &Plan{Model: m, Options: o, Method: o.Method}
	if p.Method == nil {
		p.Method = method.CoMe{}
	}
	layers := len(m.Layers)
	if p.start, err = newStart(m, o.Protect); err != nil {
		return nil, err
	}
	if o.Replay != nil {
		if err := o.Replay.check(); err != nil {
			return nil, fmt.Errorf("prune: the plan: %w", err)
		}
	}
	if p.TargetLayers, err = p.target(); err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	if err := o.Distill.check(); err != nil {
		return nil, err
	}
	if o.Distill != nil {
		if err := m.Config.CheckGradients(); err != nil {
			return nil, fmt.Errorf("prune: %w", err)
		}
	}
	needs := p.Method.Needs()
	if o.Refit != nil {
		needs.Corpus = true
	}
	switch {
	case p.TargetLayers < 1 || p.TargetLayers > layers:
		return nil, fmt.Errorf("prune: %d target layers, %s has %d: expected 1 to %d", p.TargetLayers, m.Name, layers, layers)
	case p.TargetLayers == layers:
		return nil, fmt.Errorf("prune: %s has %d layers already", m.Name, layers)
	case o.Replay != nil && o.Replay.Steps[0].From == layers && method.CheckSteps(m, o.Replay.Steps) != nil: // of another depth it is of another model: see same
		return nil, fmt.Errorf("prune: the plan: %w", method.CheckSteps(m, o.Replay.Steps))
	case o.Replay != nil && slices.ContainsFunc(o.Replay.Steps, func(s *method.Step) bool { return len(s.Refit) > 0 && s.Refit[0].Transform }):
		return nil, fmt.Errorf("prune: the plan is one of %s, whose linear map it does not hold: run the method again", o.Replay.Method)
	case o.Replay != nil && o.Refit == nil && slices.ContainsFunc(o.Replay.Steps, func(s *method.Step) bool { return len(s.Refit) > 0 }):
		return nil, errors.New("prune: layers of the plan were fitted, which takes a corpus: fit them again (prune.Options.Refit)")
	case o.Replay != nil && o.Refit == nil:
		return p, nil
	case o.Stats != nil && !needs.Corpus:
		return nil, fmt.Errorf("prune: method %s needs no figures", p.Method.Name())
	case needs.Corpus && len(o.Windows) == 0:
		return nil, errors.New("prune: the calibration corpus is empty")
	}
	if o.Refit != nil {
		if err := o.Refit.Check(m, len(o.Windows)); err != nil {
			return nil, fmt.Errorf("prune: %w", err)
		}
	}
	if o.Replay != nil {
		return p, nil
	}
	err = method.CheckRefit(p.Method, o.Refit)
	if err == nil {
		err = p.Method.Check(p.state(m), p.TargetLayers)
	}
	if err != nil {
		return nil, fmt.Errorf("prune: %s: %w", m.Name, err)
	}
	return p, nil
}

// target is the number of layers that the options ask for.
func (p *Plan) target() (int, error) {
	o, m := p.Options, p.Model
	given := 0
	for _, is := range []bool{o.TargetLayers != 0, o.Sparsity != 0, o.TargetParameters != 0, o.TargetBytes != 0} {
		if is {
			given++
		}
	}
	own := p.Method.Needs().Target
	switch {
	case given > 1:
		return 0, errors.New("give one target: the number of layers to keep (prune.Options.TargetLayers), the share of parameters to remove (prune.Options.Sparsity), the parameters (prune.Options.TargetParameters) or the bytes left (prune.Options.TargetBytes)")
	case o.Replay != nil && given > 0:
		return 0, errors.New("a plan that is replayed has its own target")
	case o.Replay != nil && len(o.Replay.Steps) == 0:
		return 0, errors.New("the plan to replay has no steps")
	case o.Replay != nil:
		return o.Replay.Steps[len(o.Replay.Steps)-1].To, nil
	case o.TargetLayers != 0:
		return o.TargetLayers, nil
	case given == 0 && own != nil:
		return own(len(m.Layers)), nil
	case given == 0:
		return 0, errors.New("no target: how many layers to keep (prune.Options.TargetLayers), or prune.Options.Sparsity, prune.Options.TargetParameters, prune.Options.TargetBytes")
	case !(o.Sparsity >= 0 && o.Sparsity < 1):
		return 0, fmt.Errorf("sparsity %v, expected more than 0 and less than 1", o.Sparsity)
	case o.TargetParameters < 0 || o.TargetBytes < 0:
		return 0, fmt.Errorf("target of %d parameters and %d bytes, expected more than 0", o.TargetParameters, o.TargetBytes)
	}
	depths := Depths(m)
	for _, d := range depths {
		if o.Sparsity > 0 && d.Sparsity >= o.Sparsity-1e-9 || o.TargetParameters > 0 && d.Parameters <= o.TargetParameters || o.TargetBytes > 0 && d.Bytes <= o.TargetBytes {
			return d.Layers, nil
		}
	}
	least := depths[len(depths)-1]
	return 0, fmt.Errorf("out of reach: %s with one layer has %d parameters in %s, %.1f %% less", m.Name, least.Parameters, vk.Bytes(least.Bytes), 100*least.Sparsity)
}

// chooses says whether the run needs the corpus to decide what to do.
func (p *Plan) chooses() bool { return p.Options.Replay == nil && p.Method.Needs().Corpus }

// scores says whether the run needs the corpus.
func (p *Plan) scores() bool { return p.chooses() || p.Options.Refit != nil }

// holds says whether the states of the opened model are kept.
func (p *Plan) holds() bool { return p.Options.Refit != nil || p.chooses() && p.Method.Needs().Held }

// gradients says whether the method needs them.
func (p *Plan) gradients() bool { return p.chooses() && p.Method.Needs().Gradients }

// same refuses stats and plans that are of another model. source is the model's hash.
func (p *Plan) same(source string) error {
	s, r := p.Options.Stats, p.Options.Replay
	switch {
	case s != nil && s.Model != source:
		return fmt.Errorf("prune: the figures are not of %s, but of a model of %d layers with the hash %.12s", p.Model.Name, s.Layers(), s.Model)
	case r != nil && r.Source.SHA256 != "" && r.Source.SHA256 != source:
		return fmt.Errorf("prune: the plan is not of %s, but of a model of %d layers with the hash %.12s", p.Model.Name, r.Source.Layers, r.Source.SHA256)
	}
	return nil
}

// Depth is what a model is with a number of its layers.
type Depth struct {
	Layers     int     `json:"layers"`
	Parameters int64   `json:"parameters"`
	Bytes      int64   `json:"bytes"`    // of weights
	Sparsity   float64 `json:"sparsity"` // share of all parameters that are gone, embeddings and LM head counted
}

// Depths lists what a model is with all its layers, one less, and so on down to one. Layers are taken to be of one size, as they are.
func Depths(m *model.Model) []Depth {
	all, bytes, layer := m.Parameters(), m.Bytes(), m.Layers[0]
	var list []Depth
	for n := len(m.Layers); n > 0; n-- {
		gone := int64(len(m.Layers) - n)
		d := Depth{Layers: n, Parameters: all - gone*layer.Parameters(), Bytes: bytes - gone*layer.Bytes()}
		d.Sparsity = 1 - float64(d.Parameters)/float64(all)
		list = append(list, d)
	}
	return list
}
