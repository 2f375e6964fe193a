package report

import (
	"encoding/json"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
)

func leaf(l int) method.Tree { return method.Tree{Layer: l} }

func both(t ...method.Tree) method.Tree { return method.Tree{Merged: t} }

// merged is a lineage of six layers: 2 and 3 are merged, then 4 is dropped, then what is 2 and 3 merged with 1.
func merged() *prune.Lineage {
	return &prune.Lineage{Method: "come", OriginalLayers: 6, Tree: []method.Tree{leaf(0), both(leaf(1), both(leaf(2), leaf(3))), leaf(5)}, Steps: []*method.Step{
		{From: 6, To: 5, Operation: method.Concat, MergeList: []int{2, 3}, Ratio: []float64{0.25, 0.75}, BI: method.Scores{1, 2, 3, 4, 5, 6}, Layers: []method.Tree{leaf(2), leaf(3)}},
		{From: 5, To: 4, Operation: method.Removal, DropList: []int{3}, Layers: []method.Tree{leaf(4)}},
		{From: 4, To: 3, Operation: method.Sum, MergeList: []int{1, 2}, Ratio: []float64{0.5, 0.5}, Layers: []method.Tree{leaf(1), both(leaf(2), leaf(3))}, Refit: []refit.Fit{{Layer: 1, Projection: "mlp.down_proj", Before: 0.5, After: 0.25, Taken: true}}},
	}}
}

func TestHistory(t *testing.T) {
	l := merged()
	h, err := newHistory(l)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]part{{{0, 1}}, {{1, 0.5}, {2, 0.125}, {3, 0.375}}, {{5, 1}}}
	for i, o := range h.layers {
		if !reflect.DeepEqual(o.parts, want[i]) {
			t.Errorf("layer %d is of %v, expected %v", i, o.parts, want[i])
		}
	}
	if !h.faithful || !reflect.DeepEqual(h.dropped, map[int]int{4: 1}) || len(h.layers[1].fits) != 1 {
		t.Errorf("faithful %v, dropped %v, fits %v", h.faithful, h.dropped, h.layers[1].fits)
	}
	if got := h.did(h.layers[1]); got != "summed in step 3, concatenated in step 1" {
		t.Errorf("layer 1: %s", got)
	}

	// Pruned once more, with the first as what was before.
	again := &prune.Lineage{Method: "shortgpt", OriginalLayers: 6, Tree: []method.Tree{l.Tree[0], l.Tree[1]}, Steps: []*method.Step{{From: 3, To: 2, Operation: method.Removal, DropList: []int{2}, Layers: []method.Tree{leaf(5)}}}}
	if again.Previous, err = json.Marshal(l); err != nil {
		t.Fatal(err)
	}
	if h, err = newHistory(again); err != nil || !h.faithful || len(h.steps) != 4 || h.dropped[5] != 3 || h.method[3] != "shortgpt" || h.method[0] != "come" {
		t.Errorf("pruned twice: %+v, %v", h, err)
	}
	// Trained once more: the lineage has the steps of the one before it.
	trained := *l
	trained.Previous = again.Previous
	if h, err = newHistory(&trained); err != nil || !h.faithful || len(h.steps) != 3 {
		t.Errorf("trained twice: %+v, %v", h, err)
	}
}

// TestHistoryUnfaithful: steps that do not lead to the tree give no shares, and the page says so.
func TestHistoryUnfaithful(t *testing.T) {
	for name, change := range map[string]func(l *prune.Lineage){
		"ratio":    func(l *prune.Lineage) { l.Steps[0].Ratio = nil },
		"layers":   func(l *prune.Lineage) { l.Steps[0].MergeList = []int{5, 6} },
		"below":    func(l *prune.Lineage) { l.Steps[0].MergeList = []int{-1, 0} },
		"drop":     func(l *prune.Lineage) { l.Steps[1].DropList = []int{7} },
		"tree":     func(l *prune.Lineage) { l.Tree = []method.Tree{leaf(0), leaf(1), leaf(2)} },
		"missing":  func(l *prune.Lineage) { l.Steps = l.Steps[1:] },
		"no steps": func(l *prune.Lineage) { l.Steps = nil },
	} {
		l := merged()
		change(l)
		h, err := newHistory(l)
		if err != nil || h.faithful || len(h.layers) != len(l.Tree) {
			t.Errorf("%s: %+v, %v", name, h, err)
			continue
		}
		got := parse(t, write(t, Page{Outputs: []Output{{Name: "x", Lineage: l}}}))
		got.sound(t)
		if !strings.Contains(got.text, "in what ratio is not known") {
			t.Errorf("%s: the page does not say that ratios are not known", name)
		}
	}
}

// TestFlow: ribbons are as wide as shares, fill each new layer exactly, and tell ratios and scores; merged and dropped ones can be reached by
// the keyboard.
func TestFlow(t *testing.T) {
	h, err := newHistory(merged())
	if err != nil {
		t.Fatal(err)
	}
	f := newFlow(h)
	if len(f.Old) != 6 || len(f.New) != 3 || len(f.Ribbons) != 6 {
		t.Fatalf("%d old layers, %d new, %d ribbons", len(f.Old), len(f.New), len(f.Ribbons))
	}
	ends := regexp.MustCompile(`^M\S+ (\S+)C\S+ \S+ \S+ \S+ \S+ (\S+)V(\S+)C\S+ \S+ \S+ \S+ \S+ (\S+)Z$`)
	at := func(text string) float64 {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for share, want := range map[float64]string{
		0.5:   "layer 1 of the original is in layer 1, ratio 0.5: summed in step 3, concatenated in step 1; block influence 2",
		0.125: "layer 2 of the original is in layer 1, ratio 0.125: summed in step 3, concatenated in step 1; block influence 3",
		0.375: "layer 3 of the original is in layer 1, ratio 0.375: summed in step 3, concatenated in step 1; block influence 4",
		1:     "layer 5 of the original is layer 2; block influence 6",
	} {
		for _, r := range f.Ribbons {
			if r.Title != want {
				continue
			}
			m := ends.FindStringSubmatch(r.Path)
			if m == nil {
				t.Fatalf("path %s", r.Path)
			}
			left, right := at(m[4])-at(m[1]), at(m[3])-at(m[2])
			if math.Abs(left-share*flowBox) > 0.11 || math.Abs(right-share*flowBox) > 0.11 {
				t.Errorf("share %v: %v wide at the left and %v at the right, of %v", share, left, right, flowBox)
			}
			if r.Focus != (share < 1) {
				t.Errorf("share %v: reached by the keyboard: %v", share, r.Focus)
			}
			want = ""
		}
		if want != "" {
			t.Errorf("no ribbon tells %q", want)
		}
	}
	gone := 0
	for _, r := range f.Ribbons {
		if r.Class == "gone" && r.Focus && r.Title == "layer 4 of the original: dropped in step 2 by come; block influence 5" {
			gone++
		}
	}
	if gone != 1 {
		t.Errorf("%d ribbons of layer 4", gone)
	}
	if want := "layer 1, from 1+2+3: summed in step 3, concatenated in step 1, ratio 0.5 : 0.125 : 0.375; mlp.down_proj fitted, loss 0.5\u00a0→\u00a00.25"; f.New[1].Title != want {
		t.Errorf("layer 1: %q", f.New[1].Title)
	}
	last := 0.0
	for _, b := range f.New {
		if y := at(b.Y); y < last+flowBox && last > 0 {
			t.Errorf("layers overlap at %v", y)
		} else {
			last = y
		}
	}
}
