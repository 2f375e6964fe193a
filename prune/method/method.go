// Package method holds the ways of making a model shallower: CoMe, its variants, and the methods that it is compared with.
package method

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
)

// Method makes a model shallower step by step. Its exported fields are its options, as a lineage records them in JSON; the zero value
// of each is the documented default.
type Method interface {
	// Name is what the registry calls it.
	Name() string
	// Check says whether the options make sense for the model, and the target is within reach.
	Check(s *State, target int) error
	// Step takes layers away once, going no deeper than target layers: it decides, and has the state apply its decision. progress, if
	// not nil, is told how far it is.
	Step(ctx context.Context, s *State, target int, progress func(done, total int)) (*Step, error)
	// Corpus says whether it needs a calibration corpus.
	Corpus() bool
	// Cost is how many runs of a layer, and of the LM head, over the whole corpus it takes at most to get from layers to target.
	Cost(layers, target int) (passes, heads int)
	// Effective is the method with every default spelled out, as a lineage records it.
	Effective() Method
}

// Entry is a method as a command line offers it.
type Entry struct {
	Name, Short string
	New         func(o Options) Method
	Options     []string // the flags that have a meaning for it
}

// Options are the options of all methods.
type Options struct {
	CoMe
	Granularity int     // CoMeP
	Layers      []int   // Drop
	Similarity  float64 // LaCo
}

var comeOptions = []string{"merge-item", "no-repeat", "psu", "min-max", "compat", "selector", "norm", "sensitivity"}

// Registry lists the methods.
var Registry = []Entry{
	{"come", "concatenate the most sensitive heads and neurons of adjacent layers", func(o Options) Method { return o.CoMe }, comeOptions},
	{"come-p", "come, with the ratio of a pair that gives the smallest calibration loss", func(o Options) Method { return CoMeP{o.CoMe, o.Granularity} },
		[]string{"no-repeat", "compat", "selector", "norm", "sensitivity", "granularity"}},
	{"weightsum", "come's layers and ratios, with parameters summed instead of concatenated", func(o Options) Method { return WeightSum{o.CoMe} },
		[]string{"merge-item", "no-repeat", "psu", "min-max", "selector"}},
	{"shortgpt", "drop the layers of the smallest block influence", func(Options) Method { return ShortGPT{} }, nil},
	{"sleb", "drop the layer whose removal gives the smallest calibration loss, again and again", func(Options) Method { return SLEB{} }, nil},
	{"laco", "collapse layers into the one before while the output stays similar", func(o Options) Method { return LaCo{o.MergeItem, o.Similarity} },
		[]string{"merge-item", "similarity"}},
	{"mka", "sum the two last layers by similarity, again and again", func(Options) Method { return MKA{} }, nil},
	{"magnitude", "drop the layers of the smallest weights", func(Options) Method { return Magnitude{} }, nil},
	{"magnitude+", "magnitude, with the first 4 and last 2 layers dropped last", func(Options) Method { return Magnitude{Plus: true} }, nil},
	{"reverse", "drop layers from the last one down", func(Options) Method { return Reverse{} }, nil},
	{"drop", "drop the layers of a list", func(o Options) Method { return Drop{o.Layers} }, []string{"layers"}},
}

// steps adds up what each step of a method costs that takes away so many layers at a time.
func steps(layers, target, at int, cost func(from int) (passes, heads int)) (passes, heads int) {
	for from := layers; from > target; from -= at {
		p, h := cost(from)
		passes, heads = passes+p, heads+h
	}
	return passes, heads
}

// Names lists the names in the registry.
func Names() []string {
	var names []string
	for _, e := range Registry {
		names = append(names, e.Name)
	}
	return names
}

// Lookup finds a method by name.
func Lookup(name string) (Entry, error) {
	for _, e := range Registry {
		if e.Name == name {
			return e, nil
		}
	}
	return Entry{}, fmt.Errorf("method %q, expected %s", name, strings.Join(Names(), ", "))
}

// State is a model on its way to fewer layers.
type State struct {
	Device    *vk.Device
	Model     *model.Model
	Scorer    *score.Scorer     // nil where the method needs no corpus
	Tree      []Tree            // of every layer of Model
	Store     *model.LayerStore // of merged layers
	Protected []bool            // of every layer of Model: no method touches it; nil: none is

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

// Step is what one step of a method did. Layer numbers are those of the model before it. It holds all that it takes to do the same again.
type Step struct {
	From      int       `json:"from"` // layers before
	To        int       `json:"to"`   // layers after
	Operation Operation `json:"operation"`
	MergeList []int     `json:"merge_list,omitempty"` // adjacent layers that became one
	DropList  []int     `json:"drop_list,omitempty"`  // layers that were taken out
	Layers    []Tree    `json:"layers"`               // where the layers of these lists come from
	Ratio     []float64 `json:"ratio,omitempty"`      // the share or the weight of each

	BI     Scores `json:"bi,omitempty"`     // of every layer: means over tokens
	SBI    Scores `json:"sbi,omitempty"`    // of every window of layers: what the selector looked at
	Losses Scores `json:"losses,omitempty"` // calibration losses of the candidates
	Scores Scores `json:"scores,omitempty"` // what else a method went by, of every layer or window

	Kept []merge.Kept `json:"kept,omitempty"`
	Norm string       `json:"norm,omitempty"`  // "ratio": norms are summed by ratio
	Tile bool         `json:"tiled,omitempty"` // query heads as the released code takes them
}

// Operation is how layers become fewer.
type Operation string

// The operations.
const (
	Concat  Operation = "concat" // the kept units of adjacent layers, one after the other
	Sum     Operation = "sum"    // the weighted sum of adjacent layers' parameters
	Removal Operation = "drop"
)

// check says whether a step can be applied to a model: one read from a file may not.
func (p *Step) check(m *model.Model) error {
	layers := len(m.Layers)
	list := p.list()
	if p.From != layers || len(list) == 0 {
		return fmt.Errorf("a step from %d layers that takes %d of them, the model has %d", p.From, len(list), layers)
	}
	for i, l := range list {
		if l < 0 || l >= layers || i > 0 && l <= list[i-1] || i > 0 && p.Operation != Removal && l != list[i-1]+1 {
			return fmt.Errorf("layers %v of %d: expected ascending numbers, next to each other where layers are merged", list, layers)
		}
	}
	if p.Operation == Removal {
		if len(list) == layers {
			return fmt.Errorf("it drops all %d layers", layers)
		}
		return nil
	}
	if len(list) < 2 || len(p.Ratio) != len(list) {
		return fmt.Errorf("it merges layers %v by ratios %v: expected two or more, and a ratio for each", list, p.Ratio)
	}
	if p.Operation == Sum {
		return nil
	}
	if p.Operation != Concat || len(p.Kept) != len(list) {
		return fmt.Errorf("operation %q that keeps units of %d layers of %v", p.Operation, len(p.Kept), list)
	}
	var heads, neurons int
	for _, k := range p.Kept {
		for _, units := range []struct {
			list []int
			all  int
		}{{k.KVHeads, m.Config.KVHeads}, {k.Neurons, m.Config.IntermediateSize}} {
			for i, u := range units.list {
				if u < 0 || u >= units.all || i > 0 && u <= units.list[i-1] {
					return fmt.Errorf("it keeps unit %d of %d: expected ascending numbers", u, units.all)
				}
			}
		}
		heads, neurons = heads+len(k.KVHeads), neurons+len(k.Neurons)
	}
	if heads != m.Config.KVHeads || neurons != m.Config.IntermediateSize {
		return fmt.Errorf("it keeps %d KV heads and %d neurons, a layer has %d and %d", heads, neurons, m.Config.KVHeads, m.Config.IntermediateSize)
	}
	return nil
}

// list is the layers that the step touches.
func (p *Step) list() []int {
	if p.Operation == Removal {
		return p.DropList
	}
	return p.MergeList
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
func (s *State) candidate(p *Step) model.Candidate {
	return model.Candidate{From: p.list()[0], Own: p.Operation != Removal, Make: func(ctx context.Context) (*model.Model, error) {
		trial := *s
		trial.Store = nil
		step := *p
		err := trial.Apply(ctx, &step)
		return trial.Model, err
	}}
}
