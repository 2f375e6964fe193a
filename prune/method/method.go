// Package method holds the ways of making a model shallower: CoMe, its variants, and the methods that it is compared with.
package method

import (
	"context"
	"fmt"
	"strings"
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
	{"laco", "collapse layers into the one before while the output stays similar", func(o Options) Method { return LaCo{o.LayersPerMerge, o.Similarity} },
		[]string{"merge-item", "similarity"}},
	{"mka", "sum the two last layers by similarity, again and again", func(Options) Method { return MKA{} }, nil},
	{"magnitude", "drop the layers of the smallest weights", func(Options) Method { return Magnitude{} }, nil},
	{"magnitude+", "magnitude, with the first 4 and last 2 layers dropped last", func(Options) Method { return Magnitude{Plus: true} }, nil},
	{"taylor", "drop the layers whose weights the loss depends on least", func(Options) Method { return Taylor{} }, nil},
	{"taylor+", "taylor, with the first 4 and last 2 layers dropped last", func(Options) Method { return Taylor{Plus: true} }, nil},
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
