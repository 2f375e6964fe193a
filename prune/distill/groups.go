package distill

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/prune/method"
)

// Group is a student's layer and the teacher's layers that it stands for, from First to Last.
type Group struct {
	Layer int `json:"layer"`
	First int `json:"first"`
	Last  int `json:"last"`
}

func (g Group) String() string { return fmt.Sprintf("%d=%d-%d", g.Layer, g.First, g.Last) }

// Groups are the layers of a pruned model that stand for more than one of the original, which had so many layers, from its lineage: those
// that several were merged into, and those before layers that were dropped, or behind where none is before.
func Groups(tree []method.Tree, original int) (list []Group) {
	for l, t := range tree {
		g := Group{l, t.First(), original - 1}
		if l == 0 {
			g.First = 0
		}
		if l+1 < len(tree) {
			g.Last = tree[l+1].First() - 1
		}
		if g.First < g.Last {
			list = append(list, g)
		}
	}
	return list
}

// NoGroups is how ParseMap reads that no layer is trained by itself.
const NoGroups = "none"

// ParseMap reads a correspondence: 3=4-5,7=9-11, the student's layer first, one layer of the teacher where there is no dash; or NoGroups.
func ParseMap(text string) (list []Group, err error) {
	if text == NoGroups {
		return []Group{}, nil
	}
	for _, part := range strings.Split(text, ",") {
		var g Group
		layer, span, ok := strings.Cut(strings.TrimSpace(part), "=")
		first, last, dash := strings.Cut(span, "-")
		if !dash {
			last = first
		}
		for _, n := range []struct {
			to   *int
			text string
		}{{&g.Layer, layer}, {&g.First, first}, {&g.Last, last}} {
			v, err := strconv.Atoi(strings.TrimSpace(n.text))
			*n.to, ok = v, ok && err == nil && v >= 0
		}
		if !ok {
			return nil, fmt.Errorf("distill: map %q: expected the student's layer and the teacher's that it stands for, as in 3=4-5,7=9-11", part)
		}
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b Group) int { return cmp.Compare(a.Layer, b.Layer) })
	return list, nil
}

// CheckGroups refuses what does not fit models of so many layers.
func CheckGroups(groups []Group, student, teacher int) error {
	for i, g := range groups {
		switch {
		case g.Layer >= student || g.Last >= teacher || g.First > g.Last:
			return fmt.Errorf("distill: map %v: the student has %d layers, the teacher %d", g, student, teacher)
		case i > 0 && g.Layer <= groups[i-1].Layer:
			return fmt.Errorf("distill: map: layer %d is given twice, or not in the student's order", g.Layer)
		case i > 0 && g.First <= groups[i-1].Last:
			return fmt.Errorf("distill: map: %v and %v stand for the same layer of the teacher, or not in its order", groups[i-1], g)
		}
	}
	return nil
}
