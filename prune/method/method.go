// Package method holds the ways of making a model shallower: CoMe, its variants, and the methods that it is compared with.
package method

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/prune/refit"
)

// Method makes a model shallower step by step. Its exported fields are its options, as a lineage records them in JSON; the zero value
// of each is the documented default.
type Method interface {
	// Name is what the registry calls it.
	Name() string
	// Needs says what a run must give the method.
	Needs() Needs
	// Options lists the options that have a meaning for the method, by their Go names, as in method.CoMe.RatioPower.
	Options() []string
	// Check says whether the options make sense for the model, and the target is within reach.
	Check(s *State, target int) error
	// Step takes layers away once, going no deeper than target layers: it decides, and has the state apply its decision. progress, if
	// not nil, is told how far it is.
	Step(ctx context.Context, s *State, target int, progress func(done, total int)) (*Step, error)
	// Cost is how many runs of a layer, and of the LM head, over the whole corpus it takes at most to get from layers to target.
	Cost(layers, target int) (passes, heads int)
	// Effective is the method with every default spelled out, as a lineage records it.
	Effective() Method
}

// Needs is what a run must give a method. The zero value is a method that looks at nothing but weights.
type Needs struct {
	Corpus    bool // windows of a calibration corpus, and so a Scorer in the State
	Held      bool // the states of the opened model are kept, so that layers can be fitted to them
	Refit     bool // of what each step leaves, without which the method makes no sense
	Union     bool // it makes a layer of two by refit.Union
	Repairs   bool // it repairs what each step leaves by itself: nothing is fitted before the end
	Block     bool // all layers that are too many go at once, as one block in one step
	Gradients bool // of the loss on that corpus: hidden states stay in host memory, the device's is for the pass backward

	// Target is how many layers are left of so many, where the method's own options say so: no other target need be given then. nil
	// elsewhere.
	Target func(layers int) int
}

// CheckRefit refuses a method without the fit that it needs, or with one that it has no use for.
func CheckRefit(m Method, o *refit.Options) error {
	switch n := m.Needs(); {
	case n.Refit && o == nil:
		return fmt.Errorf("%s makes layers for a fit: give prune.Options.Refit", m.Name())
	case n.Refit && o.End:
		return fmt.Errorf("%s makes layers for a fit after each step: it cannot wait for the end (refit.Options.End)", m.Name())
	case n.Repairs && o != nil && !o.End:
		return fmt.Errorf("%s repairs what each step leaves by itself: layers can be fitted in the end (refit.Options.End) alone", m.Name())
	}
	return nil
}

// Entry is a method that can be chosen by its name.
type Entry struct {
	Name  string
	Short string // what it does, in half a sentence
	Place int    // in lists: ascending
	New   func(o Options) Method
}

// Needs says what the method needs, whatever its options.
func (e Entry) Needs() Needs { return e.New(Options{}).Needs() }

// Options lists the options that have a meaning for the method, by their Go names.
func (e Entry) Options() []string { return e.New(Options{}).Options() }

// Options are the options of all methods, from which New takes those of one. A method with an option of its own adds it here.
type Options struct {
	CoMe
	Granularity int     // CoMeP
	Candidates  int     // Greedy
	Layers      []int   // Drop
	Similarity  float64 // LaCo
}

// Registry lists the methods. Each registers itself, in its own file.
var Registry []Entry

// register makes a method one of the Registry.
func register(e Entry) {
	at, _ := slices.BinarySearchFunc(Registry, e, func(a, b Entry) int { return cmp.Compare(a.Place, b.Place) })
	Registry = slices.Insert(Registry, at, e)
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
