package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
)

// maxLineages bounds how often a model may have been pruned, distilled or fitted before.
const maxLineages = 64

// part is an original layer's share of a layer.
type part struct {
	layer int
	share float64
}

// origin is where a layer of the written model comes from.
type origin struct {
	parts  []part
	merges []int            // of history.steps: those that made it
	fits   []refit.Fit      // of it as it is
	stages []*distill.Stage // of its training
}

// history is what all lineages of a model tell, from the first one on.
type history struct {
	lineages  []*prune.Lineage
	steps     []*method.Step // of all, in their order
	method    []string       // of each step
	originals int
	layers    []origin
	dropped   map[int]int // original layers by the step that dropped them
	faithful  bool        // the steps lead to the tree; where not, shares are not known
}

// newHistory follows the steps of a lineage and of those before it.
func newHistory(l *prune.Lineage) (*history, error) {
	h := &history{originals: l.OriginalLayers, dropped: map[int]int{}}
	var err error
	if h.lineages, err = lineages(l); err != nil {
		return nil, err
	}
	for range l.OriginalLayers {
		h.layers = append(h.layers, origin{parts: []part{{len(h.layers), 1}}})
	}
	h.faithful = true
	for i, l := range h.lineages {
		steps := l.Steps
		if i > 0 && repeats(l, h.lineages[i-1]) {
			steps = nil
		}
		for _, s := range steps {
			h.steps, h.method = append(h.steps, s), append(h.method, l.Method)
			if h.faithful {
				h.faithful = h.take(s)
			}
		}
		h.repaired(l)
	}
	if h.faithful = h.faithful && h.leadsTo(l.Tree); !h.faithful {
		h.layers, h.dropped = nil, map[int]int{}
		for _, t := range l.Tree {
			h.layers = append(h.layers, origin{parts: leaves(t, nil)})
		}
	}
	if len(h.layers) == 0 {
		return nil, errors.New("report: a lineage without layers")
	}
	return h, nil
}

// lineages are a lineage and those of the models before it, the first one's first.
func lineages(l *prune.Lineage) (list []*prune.Lineage, err error) {
	for l != nil {
		if len(list) == maxLineages {
			return nil, fmt.Errorf("report: a model that was pruned more than %d times", maxLineages)
		}
		if err := bounded(l); err != nil {
			return nil, err
		}
		list = append(list, l)
		if l, err = l.Before(); err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
	}
	slices.Reverse(list)
	return list, nil
}

// repeats says whether a lineage only repeats the steps of the one before it: a model that was trained or fitted again keeps the steps that made it.
func repeats(l, before *prune.Lineage) bool {
	a, b := l.Steps, before.Steps
	return len(a) == len(b) && len(a) > 0 && a[0].From == b[0].From && a[len(a)-1].To == b[len(b)-1].To
}

// bounded refuses a lineage that no page can show.
func bounded(l *prune.Lineage) error {
	if l.OriginalLayers > maxLayers || len(l.Steps) > maxSteps {
		return fmt.Errorf("report: a lineage of %d layers and %d steps, expected at most %d and %d", l.OriginalLayers, len(l.Steps), maxLayers, maxSteps)
	}
	for i, s := range l.Steps {
		for _, k := range kindsOf(s) {
			if n := len(k.values); n > maxScores {
				return fmt.Errorf("report: step %d has %d scores, expected at most %d", i, n, maxScores)
			}
		}
	}
	return nil
}

// take follows a step. It is false where the step does not fit what is there.
func (h *history) take(s *method.Step) bool {
	no := len(h.steps) - 1
	if s.From != len(h.layers) {
		return false
	}
	if s.Operation == method.Removal {
		for i := len(s.DropList) - 1; i >= 0; i-- {
			l := s.DropList[i]
			if l < 0 || l >= len(h.layers) {
				return false
			}
			for _, p := range h.layers[l].parts {
				h.dropped[p.layer] = no
			}
			h.layers = append(h.layers[:l], h.layers[l+1:]...)
		}
	} else {
		if len(s.MergeList) == 0 || len(s.Ratio) != len(s.MergeList) || s.MergeList[0] < 0 || s.MergeList[0]+len(s.MergeList) > len(h.layers) {
			return false
		}
		first, made := s.MergeList[0], origin{merges: []int{no}}
		for i, ratio := range s.Ratio {
			from := h.layers[first+i]
			for _, p := range from.parts {
				made.parts = append(made.parts, part{p.layer, p.share * ratio})
			}
			made.merges = append(made.merges, from.merges...)
		}
		h.layers = append(append(h.layers[:first:first], made), h.layers[first+len(s.MergeList):]...)
	}
	for _, f := range s.Refit {
		if f.Layer >= 0 && f.Layer < len(h.layers) {
			h.layers[f.Layer].fits = append(h.layers[f.Layer].fits, f)
		}
	}
	return len(h.layers) == s.To
}

// repaired adds what was fitted and trained after the last step.
func (h *history) repaired(l *prune.Lineage) {
	if r := l.Refit; r != nil {
		for _, f := range r.Fits {
			if f.Layer >= 0 && f.Layer < len(h.layers) {
				h.layers[f.Layer].fits = append(h.layers[f.Layer].fits, f)
			}
		}
	}
	if d := l.Distill; d != nil && d.Schedule == prune.DistillAtEnd {
		for _, s := range d.Stages {
			if g := s.Group; g != nil && g.Layer < len(h.layers) {
				h.layers[g.Layer].stages = append(h.layers[g.Layer].stages, s)
			}
		}
	}
}

// leadsTo says whether the layers are those of a tree.
func (h *history) leadsTo(tree []method.Tree) bool {
	if len(tree) != len(h.layers) {
		return false
	}
	for i, t := range tree {
		want := leaves(t, nil)
		if len(want) != len(h.layers[i].parts) {
			return false
		}
		for k, p := range want {
			if h.layers[i].parts[k].layer != p.layer {
				return false
			}
		}
	}
	return true
}

// leaves are the original layers of a tree, with shares of which nothing is known.
func leaves(t method.Tree, list []part) []part {
	if t.Merged == nil {
		return append(list, part{t.Layer, 0})
	}
	for _, m := range t.Merged {
		list = leaves(m, list)
	}
	return list
}

// from names where a layer comes from: 7, or 8+9 with their shares.
func (o origin) from() string {
	var list []string
	for _, p := range o.parts {
		list = append(list, fmt.Sprint(p.layer))
	}
	return strings.Join(list, "+")
}

// shares are those of the original layers, in words.
func (h *history) shares(o origin) string {
	if len(o.parts) < 2 {
		return ""
	}
	if !h.faithful {
		return "not known"
	}
	var list []string
	for _, p := range o.parts {
		list = append(list, num(p.share))
	}
	return strings.Join(list, " : ")
}

// did says what made a layer.
func (h *history) did(o origin) string {
	if len(o.parts) == 1 && len(o.merges) == 0 {
		return "as it was"
	}
	var list []string
	for _, no := range o.merges {
		list = append(list, fmt.Sprintf("%s in step %d", operation(h.steps[no]), no+1))
	}
	if len(list) == 0 {
		return "merged"
	}
	return strings.Join(list, ", ")
}

// operation is what a step did, in a word or two.
func operation(s *method.Step) string {
	switch s.Operation {
	case method.Removal:
		return "dropped"
	case method.Sum:
		return "summed"
	case method.Concat:
		return "concatenated"
	}
	return string(s.Operation)
}
