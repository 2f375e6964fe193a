// Package prune makes models shallower: it plans a run, carries it out on a device, and writes a Hugging Face folder with the
// lineage of every layer. It is what a tool that embeds vkcome calls.
package prune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
)

// Options say how deep to prune and how. One target is given, unless the method's own options or Replay say where it ends.
type Options struct {
	TargetLayers     int     // layers left
	Sparsity         float64 // instead: share of all parameters to remove at least, 0 to 1
	TargetParameters int64   // instead: parameters left at most
	TargetBytes      int64   // instead: bytes of weights left at most

	Method    method.Method // nil is method.CoMe{}
	Protect   []int         // layers of the opened model that stay as they are; negative numbers count from the end
	AllScores bool          // compute the scores of every layer at every step, for the lineage; the model is the same
	Replay    *Lineage      // do the same steps again, without scores: Method and the targets are the lineage's

	// Devices are more devices, of the same kind as the one that Run is given, which share the calibration windows with it. The model is
	// the same.
	Devices []*vk.Device
	// Distill trains the layers that merges make against those that they were made of; nil: none.
	Distill *DistillOptions
	// Stats are taken for what running the model on its calibration corpus gives, and their windows and record for those of that corpus:
	// Windows, Seed and Source stay empty. Further steps run on these windows.
	Stats *score.Stats

	Windows [][]uint32        // calibration corpus: windows of equal length; not needed where the method says so
	Seed    uint64            // that the windows were sampled with, for the record
	Memory  *model.HostMemory // bounds host memory; nil: no bound
	Source  string            // names of the files that the windows were made of, for the record
}

// Plan is a run that was checked and not started.
type Plan struct {
	Model        *model.Model
	Options      Options
	Method       method.Method
	TargetLayers int
	start
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

// NewPlan checks options against a model: the depth must lie between 1 and the model's, and be reachable.
func NewPlan(m *model.Model, o Options) (p *Plan, err error) {
	if f := o.Stats; f != nil {
		if len(o.Windows) > 0 || o.Replay != nil {
			return nil, errors.New("prune: figures come with their corpus: no other is read, and a plan that is replayed needs none")
		}
		o.Windows, o.Seed, o.Source = f.Windows, f.Seed, f.Source
	}
	p = &Plan{Model: m, Options: o, Method: o.Method}
	if p.Method == nil {
		p.Method = method.CoMe{}
	}
	layers := len(m.Layers)
	if p.start, err = newStart(m, o.Protect); err != nil {
		return nil, err
	}
	if p.TargetLayers, err = p.target(); err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	if err := o.Distill.check(); err != nil {
		return nil, err
	}
	switch {
	case p.TargetLayers < 1 || p.TargetLayers > layers:
		return nil, fmt.Errorf("prune: %d target layers, %s has %d: expected 1 to %d", p.TargetLayers, m.Name, layers, layers)
	case p.TargetLayers == layers:
		return nil, fmt.Errorf("prune: %s has %d layers already", m.Name, layers)
	case o.Replay != nil:
		return p, nil
	case o.Stats != nil && !p.Method.Corpus():
		return nil, fmt.Errorf("prune: method %s needs no figures", p.Method.Name())
	case p.Method.Corpus() && len(o.Windows) == 0:
		return nil, errors.New("prune: the calibration corpus is empty")
	}
	if err := p.Method.Check(p.state(m), p.TargetLayers); err != nil {
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
	drop, drops := p.Method.(method.Drop)
	switch {
	case given > 1:
		return 0, errors.New("give one target: the number of layers to keep (--target-layers), the share of parameters to remove (--sparsity), the parameters (--target-params) or the bytes left (--target-size)")
	case o.Replay != nil && given > 0:
		return 0, errors.New("a plan that is replayed has its own target")
	case o.Replay != nil && len(o.Replay.Steps) == 0:
		return 0, errors.New("the plan to replay has no steps")
	case o.Replay != nil:
		return o.Replay.Steps[len(o.Replay.Steps)-1].To, nil
	case o.TargetLayers != 0:
		return o.TargetLayers, nil
	case given == 0 && drops:
		return len(m.Layers) - len(drop.Layers), nil
	case given == 0:
		return 0, errors.New("no target: how many layers to keep (--target-layers), or --sparsity, --target-params, --target-size")
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

// StateBytes is the size of the hidden states that a run keeps, in device memory as far as it goes and in the host's beyond.
func (p *Plan) StateBytes() int64 {
	if !p.scores() {
		return 0
	}
	return int64(p.boundaries()) * int64(len(p.Options.Windows)) * int64(len(p.Options.Windows[0])) * int64(p.Model.Config.HiddenSize) * 4
}

// ReadTree gives the origin of a model's layers, from its vkcome.json if it was pruned before, and how many the original model had.
func ReadTree(m *model.Model) (tree []method.Tree, originalLayers int, err error) {
	tree, originalLayers, _, err = readLineage(m)
	return tree, originalLayers, err
}

func readLineage(m *model.Model) (tree []method.Tree, root int, raw []byte, err error) {
	raw, err = fs.ReadFile(m.Files, model.Lineage)
	if errors.Is(err, fs.ErrNotExist) {
		for l := range m.Layers {
			tree = append(tree, method.Tree{Layer: l})
		}
		return tree, len(tree), nil, nil
	}
	var l struct {
		Tree           []method.Tree `json:"tree"`
		OriginalLayers int           `json:"original_layers"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &l)
	}
	if err == nil && (len(l.Tree) != len(m.Layers) || l.OriginalLayers < len(m.Layers)) {
		err = fmt.Errorf("its tree has %d layers of %d, the model %d", len(l.Tree), l.OriginalLayers, len(m.Layers))
	}
	if err != nil {
		return nil, 0, nil, fmt.Errorf("prune: %s/%s: %w", m.Name, model.Lineage, err)
	}
	return l.Tree, l.OriginalLayers, raw, nil
}

// Status is how far a run is.
type Status struct {
	Stage       string // "score 12 → 11", "write", "verify"
	Done, Total int
	Training    *distill.Status // more of a stage that trains; nil elsewhere
}

// Result is a pruned or healed model in memory and how it came about.
type Result struct {
	Model   *model.Model // shares the original's weights: valid until that is closed
	Lineage Lineage
	Losses  []distill.Record  // of the steps of training
	store   *model.LayerStore // of merged layers
}

// Close gives back what merged layers take beside memory; the Model is gone with it.
func (r *Result) Close() error { return r.store.Close() }

// scores says whether the run needs the corpus.
func (p *Plan) scores() bool { return p.Options.Replay == nil && p.Method.Corpus() }

// Run prunes on the device. progress may be nil.
func (p *Plan) Run(ctx context.Context, d *vk.Device, progress func(Status)) (*Result, error) {
	return p.run(ctx, d, nil, progress)
}

// run is Run, with each step kept unless k is nil.
func (p *Plan) run(ctx context.Context, d *vk.Device, k *keeper, progress func(Status)) (result *Result, err error) {
	source := ""
	if k != nil {
		source = k.source
	}
	if err := p.same(ctx, source); err != nil {
		return nil, err
	}
	s := p.state(p.Model)
	s.AllScores = p.Options.AllScores
	s.Device, s.Store = d, &model.LayerStore{Host: p.Options.Memory}
	p.Options.Memory.Begin(d)
	release, err := p.Options.Memory.Reserve("scores and merged layers", p.workBytes())
	if err != nil {
		return nil, err
	}
	defer release()
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Store.Close())
		}
	}()
	if p.scores() {
		if s.Scorer, err = score.NewOn(append([]*vk.Device{d}, p.Options.Devices...), p.Model, p.Options.Windows, p.scoring); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.Scorer.Close()) }()
	}
	var steps []*method.Step
	lineage := p.lineage
	h := p.healing(k)
	defer func() { err = errors.Join(err, h.close()) }()
	if k != nil {
		if steps, err = k.restore(ctx, s); err != nil {
			return nil, fmt.Errorf("prune: %s: %w", p.Model.Name, err)
		}
		lineage = k.lineage
	}
	if len(steps) == 0 && s.Scorer != nil {
		if s.Known, err = p.load(ctx, s.Scorer); err != nil {
			return nil, err
		}
	}
	for {
		if err := ctx.Err(); err != nil { // there are steps that take no waiting
			return nil, err
		}
		if err := h.run(ctx, s, steps, progress); err != nil {
			return nil, fmt.Errorf("prune: %s: %w", p.Model.Name, err)
		}
		if len(s.Model.Layers) <= p.TargetLayers {
			break
		}
		step, err := p.step(ctx, s, len(steps), progress)
		steps = append(steps, step)
		if err == nil && k != nil {
			err = k.keep(ctx, s, steps)
		}
		if err != nil {
			return nil, fmt.Errorf("prune: %s: %w", p.Model.Name, err)
		}
	}
	r := &Result{Model: s.Model, store: s.Store, Lineage: lineage(s, steps), Losses: h.Done.Records}
	r.Lineage.Distill = h.record()
	return r, nil
}

// step takes the next step: the method's, or the one that is replayed.
func (p *Plan) step(ctx context.Context, s *method.State, done int, progress func(Status)) (*method.Step, error) {
	from := len(s.Model.Layers)
	if p.Options.Replay == nil {
		return p.Method.Step(ctx, s, p.TargetLayers, func(done, total int) {
			if progress != nil {
				progress(Status{Stage: fmt.Sprintf("score %d layers", from), Done: done, Total: total})
			}
		})
	}
	if done == len(p.Options.Replay.Steps) {
		return nil, errors.New("the plan ends before its target")
	}
	step := *p.Options.Replay.Steps[done]
	if progress != nil {
		progress(Status{Stage: "replay", Done: done, Total: len(p.Options.Replay.Steps)})
	}
	to := step.To
	if err := s.Apply(ctx, &step); err != nil {
		return nil, err
	}
	if step.To != to {
		return nil, fmt.Errorf("step %d of the plan leads to %d layers, not to %d as it says", done, step.To, to)
	}
	return &step, nil
}

// lineage is the record of a run.
func (p *Plan) lineage(s *method.State, steps []*method.Step) Lineage {
	l := Lineage{Version: Version, Device: deviceRecord(s.Device), OriginalLayers: p.root, Tree: s.Tree, Steps: steps, Previous: p.previous}
	if r := p.Options.Replay; r != nil {
		l.Method, l.Options, l.Calibration, l.LayerPasses, l.Device, l.StatsFrom = r.Method, r.Options, r.Calibration, r.LayerPasses, r.Device, r.StatsFrom
		return l
	}
	l.Method, l.Options = p.Method.Name(), p.record()
	if !p.scores() {
		return l
	}
	if s.Scorer != nil {
		full := 0
		for _, step := range steps {
			full += step.From
		}
		if p.gradients() {
			full *= model.GradientPasses
		}
		counted := passes(s.Scorer.Work().Passes, full)
		l.LayerPasses = &counted
	}
	w := p.Options.Windows
	l.Calibration = &Calibration{SHA256: corpus.Hash(w), Windows: len(w), Window: len(w[0]), Seed: p.Options.Seed, Source: p.Options.Source}
	if p.Options.Stats != nil {
		l.StatsFrom = p.Options.Stats.Computed
	}
	return l
}
