package method

import (
	"fmt"
	"time"

	"github.com/vkcome/vkcome/model"
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
	took  time.Duration
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
		if s := p.Scale; s != 0 && !(s >= 1e-6 && s <= 1e6) {
			return fmt.Errorf("it scales layers by %v", s)
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
	sparse := m.Config.Sparse(list[0])
	for _, l := range list {
		if m.Config.Sparse(l) != sparse {
			return fmt.Errorf("layers %v: dense layers and layers with experts cannot be joined", list)
		}
	}
	neurons, experts := m.Config.IntermediateSize, 0
	if sparse {
		neurons, experts = 0, m.Config.Experts
	}
	var kept [3]int
	for i, k := range p.Kept {
		if p.Norm == NormFirst && i > 0 && len(k.KVHeads) > 0 {
			return fmt.Errorf("it keeps KV heads of layer %d, where attention is that of layer %d", list[i], list[0])
		}
		for kind, units := range []struct {
			list []int
			all  int
		}{{k.KVHeads, m.Config.KVHeads}, {k.Neurons, neurons}, {k.Experts, experts}} {
			kept[kind] += len(units.list)
			for i, u := range units.list {
				if u < 0 || u >= units.all || i > 0 && u <= units.list[i-1] {
					return fmt.Errorf("it keeps unit %d of %d: expected ascending numbers", u, units.all)
				}
			}
		}
	}
	if want := [3]int{m.Config.KVHeads, neurons, experts}; kept != want {
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
