package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/vk"
)

// output is the section of a model: its lineage, its layers, what the steps went by, what was fitted and trained.
func (b *builder) output(o Output) error {
	if o.Lineage == nil {
		return fmt.Errorf("report: %s has no lineage", o.Name)
	}
	h, err := newHistory(o.Lineage)
	if err != nil {
		return fmt.Errorf("%w (%s)", err, o.Name)
	}
	b.begin(o.Name)
	b.add(block{Facts: factsOf(o, h)})
	if !h.faithful {
		b.add(block{Text: "The recorded steps do not lead to the recorded layers: which layers were merged is shown, in what ratio is not known."})
	}
	b.add(block{Flow: newFlow(h)})
	b.layers(h)
	b.steps(h)
	b.scores(h)
	b.fits(o.Lineage, h)
	b.search(o.Lineage.Auto)
	b.training(h, o.Losses)
	b.files(o.Files)
	return nil
}

// factsOf is what a lineage says in short.
func factsOf(o Output, h *history) (list []fact) {
	add := func(name, format string, args ...any) { list = append(list, fact{name, fmt.Sprintf(format, args...)}) }
	add("Layers", "%d of %d", len(h.layers), h.originals)
	total := int64(0)
	for _, f := range o.Files {
		total += f.Bytes
	}
	if total > 0 {
		add("Weights", "%s (%d bytes)", vk.Bytes(total), total)
	}
	for i, l := range h.lineages {
		which := ""
		if len(h.lineages) > 1 {
			which = fmt.Sprintf(", run %d", i+1)
		}
		add("Method"+which, "%s", l.Method)
		if text := optionsOf(l.Options.Method); text != "" {
			add("Options"+which, "%s", text)
		}
		if n := l.Options.TargetLayers; n > 0 {
			add("Target"+which, "%d layers", n)
		}
		if p := l.Options.Protect; len(p) > 0 {
			add("Protected layers"+which, "%s", list2text(p))
		}
		if c := l.Calibration; c != nil {
			add("Calibration"+which, "%s", calibrationOf(*c))
		}
		if p := l.LayerPasses; p != nil {
			add("Scoring"+which, "%s layer passes; every model scored from its first layer on, it would be %d (saved: %s)", num(p.Done), p.Full, num(p.Saved))
		}
		devices := []prune.Device{l.Device}
		if len(l.Devices) > 0 {
			devices = l.Devices
		}
		for _, d := range devices {
			if d.Name != "" {
				add("Device"+which, "%s, %s %s, %s", d.Name, d.Driver, d.DriverVersion, d.Tier)
			}
		}
		if r := l.Refit; r != nil {
			add("Fit"+which, "%s", refitOf(r.Options))
			if r.Corpus != nil {
				add("Fitted on"+which, "%s", calibrationOf(*r.Corpus))
			}
		}
		if d := l.Distill; d != nil {
			add("Training"+which, "%s", trainingOf(d.Options))
			add("Trained on"+which, "%s", calibrationOf(d.Corpus))
		}
		add("Original"+which, "%d layers, SHA-256 %s", l.Source.Layers, l.Source.SHA256)
		add("vkcome"+which, "%s", l.Version)
	}
	return list
}

func list2text(list []int) string {
	var words []string
	for _, v := range list {
		words = append(words, strconv.Itoa(v))
	}
	return strings.Join(words, ", ")
}

const maxOptions = 1 << 12 // bytes of a method's options, which are some numbers and words

// optionsOf puts a method's options into words.
func optionsOf(raw json.RawMessage) string {
	var fields map[string]json.RawMessage
	if len(raw) > maxOptions || json.Unmarshal(raw, &fields) != nil {
		return ""
	}
	var words []string
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		words = append(words, key+" "+strings.Trim(string(fields[key]), `"`))
	}
	return strings.Join(words, ", ")
}

func calibrationOf(c prune.Calibration) string {
	text := fmt.Sprintf("%d windows of %d tokens, seed %d", c.Windows, c.Window, c.Seed)
	if c.Source != "" {
		text += ", from " + c.Source
	}
	return text
}

func refitOf(o refit.Options) string {
	text := "after each step"
	switch {
	case o.End:
		text = "every layer in the end"
	case o.All:
		text = "after each step, and every layer in the end"
	}
	var lambdas []string
	for _, l := range o.Lambdas {
		lambdas = append(lambdas, num(l))
	}
	return fmt.Sprintf("%s: %s, one of %d windows held out, lambda of %s", text, o.Projections, o.HeldOut, strings.Join(lambdas, ", "))
}

func trainingOf(o distill.Options) string {
	text := fmt.Sprintf("loss %s, learning rate %s to %s, steps of %d windows, %d tokens for each layer", o.Objective, num(o.LR), num(o.FinalLR), o.Batch, o.Tokens)
	if o.Rank > 0 {
		text += fmt.Sprintf(", rank %d", o.Rank)
	}
	if o.EndToEnd > 0 {
		text += fmt.Sprintf("; then %d steps for all weights, learning rate %s", o.EndToEnd, num(o.EndLR))
	}
	return text
}

// layers is the picture in words.
func (b *builder) layers(h *history) {
	t := newTable("Where each layer comes from", "#layer", "of the original", "~what was done", "ratio", "~fits: loss before and after", "training: held-out loss before and after")
	for n, o := range h.layers {
		var fits, stages []string
		for _, f := range o.fits {
			text := f.Projection + " " + change(f.Before, f.After)
			if !f.Taken {
				text += " (not taken)"
			}
			fits = append(fits, text)
		}
		for _, s := range o.stages {
			stages = append(stages, change(s.Before, s.After))
		}
		t.row(whole(n), worded(o.from()), worded(h.did(o)), worded(h.shares(o)), worded(strings.Join(fits, ", ")), worded(strings.Join(stages, ", ")))
	}
	b.table(t)
	t = newTable("Layers of the original that were dropped", "#layer", "#step", "method")
	for _, l := range slices.Sorted(maps.Keys(h.dropped)) {
		t.row(whole(l), whole(h.dropped[l]+1), worded(h.method[h.dropped[l]]))
	}
	b.table(t)
}

// change is a value before and after, which stay on one line.
func change(before, after float64) string { return num(before) + "\u00a0→\u00a0" + num(after) }

// steps is what each step did.
func (b *builder) steps(h *history) {
	t := newTable("Steps", "#step", "method", "#layers before", "#layers after", "what was done", "layers then", "layers of the original", "ratio", "#scale", "norms", "~kept of each layer")
	for i, s := range h.steps {
		then := s.MergeList
		if s.Operation == method.Removal {
			then = s.DropList
		}
		var origins, ratios, kept []string
		for _, tree := range s.Layers {
			origins = append(origins, origin{parts: leaves(tree, nil)}.from())
		}
		for _, r := range s.Ratio {
			ratios = append(ratios, num(r))
		}
		for _, k := range s.Kept {
			units := fmt.Sprintf("%d neurons", len(k.Neurons))
			if len(k.Experts) > 0 {
				units = fmt.Sprintf("%d experts", len(k.Experts))
			}
			kept = append(kept, fmt.Sprintf("%d KV heads and %s", len(k.KVHeads), units))
		}
		scale := cell{}
		if s.Scale != 0 {
			scale = numeric(s.Scale)
		}
		norm := s.Norm
		if norm == "" && s.Operation != method.Removal {
			norm = "mean"
		}
		t.row(whole(i+1), worded(h.method[i]), whole(s.From), whole(s.To), worded(operation(s)), worded(list2text(then)), worded(strings.Join(origins, ", ")), worded(strings.Join(ratios, " : ")),
			scale, worded(norm), worded(strings.Join(kept, "; ")))
	}
	b.table(t)
}

// kind is one sort of what a step went by.
type kind struct {
	name   string
	values method.Scores
}

func kindsOf(s *method.Step) (list []kind) {
	for _, k := range []kind{{"Block influence", s.BI}, {"Score of the selector", s.SBI}, {"Loss of the candidate", s.Losses}, {"Score", s.Scores}} {
		if len(k.values) > 0 {
			list = append(list, k)
		}
	}
	return list
}

const maxPlotted = 400 // points of a curve, some as many as a screen has columns for

// scores are what the steps went by: the first step's as plots, those of all as tables.
func (b *builder) scores(h *history) {
	if len(h.steps) == 0 {
		return
	}
	var plots []*figure
	for _, k := range kindsOf(h.steps[0]) {
		c := chart{title: k.name + ", before the first step", whole: true, x: "layer or candidate", y: strings.ToLower(k.name)}
		var points []point
		for l, v := range k.values {
			if !math.IsNaN(v) && l < maxPlotted {
				points = append(points, point{x: float64(l), y: v, title: fmt.Sprintf("%d: %s", l, num(v))})
			}
		}
		c.desc = fmt.Sprintf("%d values; the table of scores has them too.", len(points))
		c.curves = []curve{{name: k.name, points: points, line: true, dots: true}}
		plots = append(plots, c.figure())
	}
	b.figures(plots...)
	if b.detail == coarsest {
		b.add(block{Text: fmt.Sprintf("Scores of the %d steps are left out, since this page would be too large: vkcome.json has them.", len(h.steps))})
		return
	}
	names := []string{}
	for _, s := range h.steps {
		for _, k := range kindsOf(s) {
			if !slices.Contains(names, k.name) {
				names = append(names, k.name)
			}
		}
	}
	for _, name := range names {
		b.matrix(h, name)
	}
}

// matrix is the table of one kind of scores: a column for each step that has them.
func (b *builder) matrix(h *history, name string) {
	var columns []method.Scores
	heads := []string{"#layer or candidate"}
	rows, left := 0, 0
	for i, s := range h.steps {
		for _, k := range kindsOf(s) {
			switch {
			case k.name != name:
			case b.detail > full && len(columns) > 0:
				left++
			default:
				columns, heads = append(columns, k.values), append(heads, fmt.Sprintf("#step %d", i+1))
				for r, v := range k.values {
					if !math.IsNaN(v) {
						rows = max(rows, r+1)
					}
				}
			}
		}
	}
	t := newTable(name+", by step", heads...)
	t.All = true
	for r := range rows {
		line := []cell{whole(r)}
		for _, c := range columns {
			v := math.NaN()
			if r < len(c) {
				v = c[r]
			}
			line = append(line, numeric(v))
		}
		t.row(line...)
	}
	if left > 0 {
		b.add(block{Text: fmt.Sprintf("Of %d more steps the scores (%s) are left out, since this page would be too large: vkcome.json has them.", left, strings.ToLower(name))})
	}
	b.table(t)
}

// fits are all that was fitted.
func (b *builder) fits(l *prune.Lineage, h *history) {
	t := newTable("Fits", "#step", "#layer then", "#stands for layers below", "projection", "#lambda", "#loss before", "#loss after", "taken")
	var before, after []point
	add := func(step cell, f refit.Fit) {
		taken := "yes"
		if !f.Taken {
			taken = "no"
		}
		n := float64(len(t.Rows) + 1)
		title := fmt.Sprintf("layer %d, %s: %s", f.Layer, f.Projection, change(f.Before, f.After))
		before, after = append(before, point{x: n, y: f.Before, title: title}), append(after, point{x: n, y: f.After, title: title})
		t.row(step, whole(f.Layer), whole(f.Boundary), worded(f.Projection), numeric(f.Lambda), numeric(f.Before), numeric(f.After), worded(taken))
	}
	for i, s := range h.steps {
		for _, f := range s.Refit {
			add(whole(i+1), f)
		}
	}
	for _, l := range h.lineages {
		if l.Refit != nil {
			for _, f := range l.Refit.Fits {
				add(worded("after"), f)
			}
		}
	}
	if len(before) > maxPlotted {
		before, after = before[:maxPlotted], after[:maxPlotted]
	}
	c := chart{title: "Fits: held-out loss before and after", desc: fmt.Sprintf("%d fits in the order in which they were made; the table has them too.", len(t.Rows)), x: "fit", y: "loss", whole: true, log: wide(before, after),
		curves: []curve{{name: "before", points: before, dots: true}, {name: "after", points: after, dots: true}}}
	b.figures(c.figure())
	b.table(t)
}

// wide says whether positive values spread so far that a logarithmic axis shows them better.
func wide(lists ...[]point) bool {
	low, high := math.Inf(1), 0.0
	for _, list := range lists {
		for _, p := range list {
			if !(p.y > 0) {
				return false
			}
			low, high = min(low, p.y), max(high, p.y)
		}
	}
	return high > 3*low
}

// search is what auto tried.
func (b *builder) search(a *prune.AutoRecord) {
	if a == nil {
		return
	}
	b.add(block{Facts: []fact{{"Chosen", a.Chosen}, {"Why", a.Why}, {"Budget", num(a.Budget) + " s"}, {"Perplexity of the original", num(a.Dense)}, {"Chosen by", calibrationOf(a.Validation)}}})
	t := newTable("What auto tried", "#round", "~candidate", "#windows", "#perplexity", "#seconds", "#seconds of fitting", "~outcome")
	var points []point
	for _, r := range a.Trials {
		perplexity := cell{}
		if r.Perplexity > 0 {
			perplexity = numeric(r.Perplexity)
			points = append(points, point{x: r.Seconds, y: r.Perplexity, title: fmt.Sprintf("round %d, %s: perplexity %s after %s s", r.Round+1, r.Candidate, num(r.Perplexity), num(r.Seconds))})
		}
		t.row(whole(r.Round+1), worded(r.Candidate), whole(r.Windows), perplexity, numeric(r.Seconds), zeroEmpty(r.Fitting, num(r.Fitting)), worded(r.Outcome))
	}
	if len(points) > maxPlotted {
		points = points[:maxPlotted]
	}
	b.figures(chart{title: "What auto tried: perplexity and time", desc: "Each dot is a trial; the table has them too.", x: "seconds", y: "perplexity", log: wide(points), curves: []curve{{name: "trial", points: points, dots: true}}}.figure())
	b.table(t)
}

// Bounds of curves of training.
const (
	maxPanels = 24  // stages that have a plot of their own
	maxLosses = 150 // points of a curve of training, evenly chosen
)

// training is the stages of all trainings, and the curves of the last of them, whose losses the folder has.
func (b *builder) training(h *history, losses []distill.Record) {
	t := newTable("Training", "layer then", "stands for", "#steps done", "#of", "#tokens", "#skipped", "#held-out loss before", "#after", "#best step", "ended by")
	for _, l := range h.lineages {
		if l.Distill == nil {
			continue
		}
		for _, s := range l.Distill.Stages {
			name, of := "all weights", ""
			if g := s.Group; g != nil {
				name, of = strconv.Itoa(g.Layer), fmt.Sprintf("%d to %d", g.First, g.Last)
			}
			t.row(worded(name), worded(of), whole(s.Done), whole(s.Steps), cell{Text: strconv.FormatInt(s.Tokens, 10)}, whole(s.Skipped), numeric(s.Before), numeric(s.After), whole(s.Best), worded(s.Ended))
		}
	}
	var plots []*figure
	stages := split(losses)
	points := maxLosses
	if b.detail > full {
		points = 40
	}
	for i, s := range stages {
		if i == maxPanels || b.detail == coarsest {
			b.add(block{Text: fmt.Sprintf("Of %d more stages the curves are left out, since this page would be too large: %s has them.", len(stages)-i, "vkcome-losses.jsonl")})
			break
		}
		plots = append(plots, lossChart(s, points).figure())
	}
	b.figures(plots...)
	b.table(t)
}

// split cuts records into stages: steps of a stage count from 1.
func split(records []distill.Record) (stages [][]distill.Record) {
	for i, r := range records {
		if i == 0 || r.Step <= records[i-1].Step || (r.Layer == nil) != (records[i-1].Layer == nil) || r.Layer != nil && *r.Layer != *records[i-1].Layer {
			stages = append(stages, nil)
		}
		last := len(stages) - 1
		stages[last] = append(stages[last], r)
	}
	return stages
}

// lossChart is the plot of a stage.
func lossChart(records []distill.Record, most int) chart {
	c := chart{title: "Training of all weights", whole: true, x: "step", y: "loss"}
	if l := records[0].Layer; l != nil {
		c.title = fmt.Sprintf("Training of layer %d", *l)
	}
	var train, held []point
	every := (len(records) + most - 1) / most
	for i, r := range records {
		if r.Loss != nil && (i%every == 0 || i == len(records)-1) {
			train = append(train, point{x: float64(r.Step), y: *r.Loss})
		}
		if r.HeldOut != nil {
			held = append(held, point{x: float64(r.Step), y: *r.HeldOut, title: fmt.Sprintf("held out, step %d: %s", r.Step, num(*r.HeldOut))})
		}
	}
	held = held[max(0, len(held)-most):]
	c.desc = fmt.Sprintf("%d steps; of the training loss %d points are drawn.", len(records), len(train))
	c.log = wide(train, held)
	c.curves = []curve{{name: "training loss", points: train, line: true}, {name: "held-out loss", points: held, line: true, dots: true}}
	return c
}

func (b *builder) files(list []WeightFile) {
	t := newTable("Files of weights", "file", "#size", "#bytes")
	for _, f := range list {
		t.row(worded(f.Name), size(f.Bytes), cell{Text: strconv.FormatInt(f.Bytes, 10)})
	}
	b.table(t)
}
