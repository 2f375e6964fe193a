package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/vk"
)

// comparison is the section of several methods at several depths.
func (b *builder) comparison(c *prune.Comparison) {
	b.begin("Methods compared on " + c.Model)
	facts := []fact{
		{"Device", fmt.Sprintf("%s, %s %s, %s", c.Device.Name, c.Device.Driver, c.Device.DriverVersion, c.Device.Tier)},
		{"Calibration", calibrationOf(c.Calibration)}, {"Perplexity on", calibrationOf(c.Evaluation)},
		{"Time that all methods share", num(c.Shared) + " s"},
	}
	if c.Refit != nil {
		facts = append(facts, fact{"Fit", refitOf(*c.Refit)})
	}
	b.add(block{Facts: append(facts, fact{"vkcome", c.Version})})
	perplexity, weights := b.curves(c)
	b.figures(perplexity.figure(), weights.figure(), times(c).figure())
	t := newTable("Every method at every depth", "#layers", "method", "#perplexity", "#parameters", "#removed", "#weights", "#seconds", "~layers left", "~error")
	for _, r := range append([]prune.Compared{c.Dense}, c.Rows...) {
		if r.Error != "" {
			t.row(whole(r.Layers), worded(r.Method), cell{}, cell{}, cell{}, cell{}, cell{}, cell{}, worded(r.Error))
			continue
		}
		t.row(whole(r.Layers), worded(r.Method), numeric(r.Perplexity), cell{Text: fmt.Sprint(r.Parameters)}, percent(r.Sparsity), size(r.Bytes), duration(r.Seconds), worded(treeOf(r.Tree)), cell{})
	}
	b.table(t)
}

// treeOf names layers: runs of those that stay as they are in short, as 0–4, and merged ones as 5+6.
func treeOf(trees []method.Tree) string {
	var words []string
	for i := 0; i < len(trees); i++ {
		if trees[i].Merged != nil {
			words = append(words, origin{parts: leaves(trees[i], nil)}.from())
			continue
		}
		last := i
		for last+1 < len(trees) && trees[last+1].Merged == nil && trees[last+1].Layer == trees[last].Layer+1 {
			last++
		}
		word := fmt.Sprint(trees[i].Layer)
		if last > i {
			word += fmt.Sprintf("–%d", trees[last].Layer)
		}
		words, i = append(words, word), last
	}
	return strings.Join(words, ", ")
}

// curves are perplexity and size by depth, a curve for each method that begins at the unpruned model.
func (b *builder) curves(c *prune.Comparison) (perplexity, weights chart) {
	perplexity = chart{title: "Perplexity by depth", x: "layers", whole: true, y: "perplexity"}
	weights = chart{title: "Size of the weights by depth", x: "layers", whole: true, y: "MiB"}
	const MiB = 1 << 20
	var all [][]point
	for _, name := range methodsOf(c) {
		at := curve{name: name, line: true, dots: true}
		by := at
		for _, r := range append([]prune.Compared{c.Dense}, c.Rows...) {
			if r.Error != "" || r.Method != name && r.Method != c.Dense.Method {
				continue
			}
			x := float64(r.Layers)
			at.points = append(at.points, point{x: x, y: r.Perplexity, title: fmt.Sprintf("%s, %d layers: perplexity %s", r.Method, r.Layers, num(r.Perplexity))})
			by.points = append(by.points, point{x: x, y: float64(r.Bytes) / MiB, title: fmt.Sprintf("%s, %d layers: %s", r.Method, r.Layers, vk.Bytes(r.Bytes))})
		}
		all = append(all, at.points)
		perplexity.curves, weights.curves = append(perplexity.curves, at), append(weights.curves, by)
	}
	perplexity.log = wide(all...)
	perplexity.desc = fmt.Sprintf("%d methods, each from the unpruned model's %s at %d layers on; the table has all values.", len(all), num(c.Dense.Perplexity), c.Dense.Layers)
	weights.desc = fmt.Sprintf("%d methods, each from the unpruned model's %s at %d layers on; the table has all values.", len(all), vk.Bytes(c.Dense.Bytes), c.Dense.Layers)
	return perplexity, weights
}

const maxMethods = 48 // that plots show

// methodsOf lists the methods in the order of their best perplexity at the smallest depth that they reach, as tables have them.
func methodsOf(c *prune.Comparison) (names []string) {
	rows := slices.Clone(c.Rows)
	slices.SortStableFunc(rows, func(a, b prune.Compared) int { return cmp.Compare(a.Layers, b.Layers) })
	for _, r := range rows {
		if r.Error == "" && !slices.Contains(names, r.Method) && len(names) < maxMethods {
			names = append(names, r.Method)
		}
	}
	return names
}

// times are what methods took to their smallest depth.
func times(c *prune.Comparison) bars {
	b := bars{title: "Time to the smallest depth", desc: "Seconds beyond what all methods share; the table has those to every depth.", x: "seconds", series: []string{"seconds"}, values: [][]bar{nil}}
	for _, name := range methodsOf(c) {
		for _, r := range slices.Backward(c.Rows) {
			if r.Method == name && r.Error == "" {
				b.names = append(b.names, fmt.Sprintf("%s, %d layers: %s s", name, r.Layers, num(r.Seconds)))
				b.values[0] = append(b.values[0], bar{value: r.Seconds, title: fmt.Sprintf("%s: %s s", name, num(r.Seconds))})
				break
			}
		}
	}
	return b
}
