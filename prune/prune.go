// Package prune makes models shallower: it plans a run, carries it out on a device, and writes a Hugging Face folder with the
// lineage of every layer. It is what a tool that embeds vkcome calls.
package prune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
)

// Options say how deep to prune and how. One of TargetLayers and Sparsity is given.
type Options struct {
	TargetLayers int     // layers left
	Sparsity     float64 // instead: share of all parameters to remove at least, 0 to 1
	CoMe         method.CoMe
	AllScores    bool              // compute the scores of every layer at every step, for the lineage; the model is the same
	Windows      [][]uint32        // calibration corpus: windows of equal length
	Seed         uint64            // that the windows were sampled with, for the record
	Source       string            // names of the files that the windows were made of, for the record
	Memory       *model.HostMemory // bounds host memory; nil: no bound
}

// Plan is a run that was checked and not started.
type Plan struct {
	Model        *model.Model
	Options      Options
	TargetLayers int
	tree         []method.Tree // of the model as it is opened
	root         int           // layers of the original model
	previous     []byte        // the lineage of the model, nil if it was not pruned before
}

// NewPlan checks options against a model: the depth must lie between 1 and the model's, and be reachable.
func NewPlan(m *model.Model, o Options) (*Plan, error) {
	o.CoMe = o.CoMe.Defaults()
	layers := len(m.Layers)
	p := &Plan{Model: m, Options: o, TargetLayers: o.TargetLayers}
	switch {
	case o.TargetLayers != 0 && o.Sparsity != 0:
		return nil, errors.New("prune: give either the number of layers to keep (--target-layers) or the share of parameters to remove (--sparsity)")
	case !(o.Sparsity >= 0 && o.Sparsity < 1):
		return nil, fmt.Errorf("prune: sparsity %v, expected more than 0 and less than 1", o.Sparsity)
	case o.Sparsity > 0:
		share := float64(m.Layers[0].Parameters()) / float64(m.Parameters())
		remove := int(math.Ceil(o.Sparsity/share - 1e-9))
		p.TargetLayers = layers - remove
		if p.TargetLayers < 1 {
			return nil, fmt.Errorf("prune: sparsity %v removes %d layers of %s, which has %d", o.Sparsity, remove, m.Name, layers)
		}
	}
	switch {
	case p.TargetLayers < 1 || p.TargetLayers > layers:
		return nil, fmt.Errorf("prune: %d target layers, %s has %d: expected 1 to %d", p.TargetLayers, m.Name, layers, layers)
	case p.TargetLayers == layers:
		return nil, fmt.Errorf("prune: %s has %d layers already", m.Name, layers)
	case o.CoMe.MergeItem < 2 || o.CoMe.MergeItem > layers:
		return nil, fmt.Errorf("prune: merge item %d, expected 2 to the model's %d layers", o.CoMe.MergeItem, layers)
	case !(o.CoMe.MinMax >= 0 && o.CoMe.MinMax <= 1):
		return nil, fmt.Errorf("prune: min-max %v, expected 0 to 1", o.CoMe.MinMax)
	case !(o.CoMe.PSU > 0 && o.CoMe.PSU <= 1000):
		return nil, fmt.Errorf("prune: psu %v, expected more than 0 and at most 1000", o.CoMe.PSU)
	case len(o.Windows) == 0:
		return nil, errors.New("prune: the calibration corpus is empty")
	}
	var err error
	if p.tree, p.root, p.previous, err = readLineage(m); err != nil {
		return nil, err
	}
	if reach := o.CoMe.Reach(p.tree); p.TargetLayers < reach {
		return nil, fmt.Errorf("prune: %d target layers: with each layer merged at most once, %s reaches %d; allow repeated merges (--no-repeat=false)", p.TargetLayers, m.Name, reach)
	}
	return p, nil
}

// StateBytes is the size of the hidden states that a run keeps, in device memory as far as it goes and in the host's beyond.
func (p *Plan) StateBytes() int64 {
	return int64(len(p.Model.Layers)+1) * int64(len(p.Options.Windows)) * int64(len(p.Options.Windows[0])) * int64(p.Model.Config.HiddenSize) * 4
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
}

// Result is a pruned model in memory and how it came about.
type Result struct {
	Model   *model.Model // shares the original's weights: valid until that is closed
	Lineage Lineage
	store   *model.LayerStore // of merged layers
}

// Close gives back what merged layers take beside memory; the Model is gone with it.
func (r *Result) Close() error { return r.store.Close() }

// Run prunes on the device. progress may be nil.
func (p *Plan) Run(ctx context.Context, d *vk.Device, progress func(Status)) (result *Result, err error) {
	p.Options.Memory.Begin(d)
	release, err := p.Options.Memory.Reserve("scores and merged layers", p.workBytes())
	if err != nil {
		return nil, err
	}
	defer release()
	scorer, err := score.NewWith(d, p.Model, p.Options.Windows, p.scoring(d))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, scorer.Close()) }()
	store := &model.LayerStore{Host: p.Options.Memory}
	defer func() {
		if err != nil {
			err = errors.Join(err, store.Close())
		}
	}()
	s := &method.State{Store: store, Device: d, Model: p.Model, Scorer: scorer, Tree: p.tree, AllScores: p.Options.AllScores}
	var steps []*method.Step
	full := 0
	for len(s.Model.Layers) > p.TargetLayers {
		from := len(s.Model.Layers)
		full += from
		step, err := p.Options.CoMe.Step(ctx, s, p.TargetLayers, func(done, total int) {
			if progress != nil {
				progress(Status{fmt.Sprintf("score %d layers", from), done, total})
			}
		})
		if err != nil {
			return nil, fmt.Errorf("prune: %s: %w", p.Model.Name, err)
		}
		steps = append(steps, step)
	}
	return &Result{Model: s.Model, store: store, Lineage: Lineage{
		Method: "come", Options: p.record(), Device: deviceRecord(d), OriginalLayers: p.root, Tree: s.Tree, Steps: steps, Previous: p.previous,
		LayerPasses: passes(scorer.Stats().Passes, full),
		Calibration: Calibration{SHA256: corpus.Hash(p.Options.Windows), Windows: len(p.Options.Windows), Window: len(p.Options.Windows[0]), Seed: p.Options.Seed, Source: p.Options.Source},
	}}, nil
}
