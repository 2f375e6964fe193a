package method

import (
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/prune/refit"
)

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

	// Scale multiplies what the layers above one that was dropped add to the residual stream; 0 is 1.
	Scale float64 `json:"scale,omitempty"`

	Refit []refit.Fit `json:"refit,omitempty"` // what was fitted after it, with layers by their numbers then

	tried *tried // what a trial of the step gave

	Kept []merge.Kept `json:"kept,omitempty"`
	Norm string       `json:"norm,omitempty"`  // "ratio": norms are summed by ratio; "first": they and the attention are the first layer's
	Tile bool         `json:"tiled,omitempty"` // query heads as the released code takes them
}

// tried is a layer that was fitted when its step was tried.
type tried struct {
	at    int
	layer *model.Layer // nil: the fit was not taken
	fits  []refit.Fit
}

// Operation is how layers become fewer.
type Operation string

// The operations.
const (
	Concat  Operation = "concat" // the kept units of adjacent layers, one after the other
	Sum     Operation = "sum"    // the weighted sum of adjacent layers' parameters
	Removal Operation = "drop"
)

// CheckSteps says whether steps can be taken one after the other from a model on: those that are read from a file may not.
func CheckSteps(m *model.Model, steps []*Step) error {
	kinds := sparseOf(m)
	for i, p := range steps {
		if p == nil {
			return fmt.Errorf("step %d is null", i)
		}
		if err := p.fits(m.Config, kinds); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		kinds = p.after(kinds)
		if p.To != len(kinds) {
			return fmt.Errorf("step %d leads to %d layers, not to %d as it says", i, len(kinds), p.To)
		}
	}
	return nil
}

// sparseOf says of each layer of a model whether it has experts.
func sparseOf(m *model.Model) []bool {
	list := make([]bool, len(m.Layers))
	for l := range list {
		list[l] = m.Config.Sparse(l)
	}
	return list
}

// after is what is left of a list by layer: a merged layer takes the place of its first.
func (p *Step) after(before []bool) (left []bool) {
	for l, v := range before {
		if list := p.list(); !slices.Contains(list, l) || p.Operation != Removal && l == list[0] {
			left = append(left, v)
		}
	}
	return left
}

// maxScale bounds what layers and ratios are multiplied by: no method comes near it.
const maxScale = 1e6

// check says whether a step can be applied to a model: one read from a file may not.
func (p *Step) check(m *model.Model) error { return p.fits(m.Config, sparseOf(m)) }

// fits is check for a config and what sparseOf says of the layers.
func (p *Step) fits(c *arch.Config, kinds []bool) error {
	layers := len(kinds)
	list := p.list()
	if p.From != layers || len(list) == 0 {
		return fmt.Errorf("a step from %d layers that takes %d of them, the model has %d", p.From, len(list), layers)
	}
	for i, l := range list {
		if l < 0 || l >= layers || i > 0 && l <= list[i-1] || i > 0 && p.Operation != Removal && l != list[i-1]+1 {
			return fmt.Errorf("layers %v of %d: expected ascending numbers, next to each other where layers are merged", list, layers)
		}
	}
	if s := p.Scale; s != 0 && !(s >= 1/maxScale && s <= maxScale) {
		return fmt.Errorf("it scales layers by %v, expected %v to %v", s, 1/maxScale, maxScale)
	}
	if p.Norm != "" && !slices.Contains(append([]string{NormFirst}, Norms...), p.Norm) {
		return fmt.Errorf("norm %.40q, expected %v or %s", p.Norm, Norms, NormFirst)
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
	least, most := -maxScale, maxScale // weights of a sum may be any
	if p.Operation == Concat {
		least, most = 0, 1
	}
	for i, r := range p.Ratio {
		if !(r >= least && r <= most) {
			return fmt.Errorf("ratio %v of layer %d, expected %v to %v", r, list[i], least, most)
		}
	}
	sparse := kinds[list[0]]
	for _, l := range list {
		if kinds[l] != sparse {
			return fmt.Errorf("layers %v: dense layers and layers with experts cannot be joined", list)
		}
	}
	switch {
	case p.Operation == Sum && c.Experts > 0:
		return fmt.Errorf("it sums layers %v: experts of different layers do not correspond", list)
	case p.Operation == Sum:
		return nil
	case p.Operation != Concat || len(p.Kept) != len(list):
		return fmt.Errorf("operation %q that keeps units of %d layers of %v", p.Operation, len(p.Kept), list)
	}
	return p.checkKept(c, list, sparse)
}

// checkKept says whether what a merged layer keeps of others is as much as a layer has.
func (p *Step) checkKept(c *arch.Config, list []int, sparse bool) error {
	neurons, experts := c.IntermediateSize, 0
	if sparse {
		neurons, experts = 0, c.Experts
	}
	var kept [3]int
	for i, k := range p.Kept {
		if p.Norm == NormFirst && i > 0 && len(k.KVHeads) > 0 {
			return fmt.Errorf("it keeps KV heads of layer %d, where attention is that of layer %d", list[i], list[0])
		}
		for kind, units := range []struct {
			list []int
			all  int
		}{{k.KVHeads, c.KVHeads}, {k.Neurons, neurons}, {k.Experts, experts}} {
			kept[kind] += len(units.list)
			for i, u := range units.list {
				if u < 0 || u >= units.all || i > 0 && u <= units.list[i-1] {
					return fmt.Errorf("it keeps unit %d of %d: expected ascending numbers", u, units.all)
				}
			}
		}
	}
	if want := [3]int{c.KVHeads, neurons, experts}; kept != want {
		return fmt.Errorf("it keeps %d KV heads, %d neurons and %d experts, a layer has %d, %d and %d", kept[0], kept[1], kept[2], want[0], want[1], want[2])
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
