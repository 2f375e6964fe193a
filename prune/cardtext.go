package prune

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/vk"
)

// Bounds of what a card shows of a lineage, all of which is in vkcome.json.
const (
	maxCardRows = 256  // of a table
	maxCardText = 4000 // bytes of the origin of layers
	maxCardCell = 200  // bytes of what a stranger wrote
)

func (c *modelCard) printf(format string, args ...any) { fmt.Fprintf(&c.body, format, args...) }

// write writes the body.
func (c *modelCard) write(chain []*Lineage, whole bool) error {
	c.writeTop(chain)
	if !whole {
		c.printf("What was done before that is in `vkcome.json` under `previous`, and cannot be told here.\n\n")
	}
	for i, l := range chain {
		c.writeSteps(l, i, len(chain))
		c.writeFits(l)
		c.writeHealing(l)
	}
	if err := c.writeMeasured(chain); err != nil {
		return err
	}
	c.writeCommands(chain)
	c.writeUse()
	c.writeCitation(chain)
	return nil
}

// link is the model that base_model names, for a sentence.
func (c *modelCard) link() string { return fmt.Sprintf("[%s](https://huggingface.co/%[1]s)", c.base()) }

// origin says what was pruned, for a sentence.
func (c *modelCard) origin() string {
	switch {
	case c.base() == "":
		return "a model whose name on the hub its files do not tell"
	case c.head.Original:
		return c.link()
	}
	return c.link() + ", or from a model that derives from it, since its files do not tell which"
}

func (c *modelCard) writeTop(chain []*Lineage) {
	n, of := len(c.model.Layers), c.layersBefore()
	name := inCode(c.model.Config.Architecture, maxCardCell)
	if c.head.Original && c.base() != "" {
		name = c.base()
	}
	c.printf("# %s, %d of %d layers\n\n", name, n, of)
	c.printf("[vkcome](%s) made this model from %s. It has the same architecture, `%s`, with fewer layers: every program that loads the original loads it.\n\n",
		home, c.origin(), inCode(c.model.Config.Architecture, maxCardCell))
	if !c.head.Original {
		c.printf("`vkcome card --base-model OWNER/NAME` puts the name of the original here.\n\n")
	}
	c.printf("| | original | this model |\n|---|---:|---:|\n| layers | %d | %d |\n", of, n)
	parameters := c.model.Parameters()
	before := "not known"
	if c.model.Config.Experts == 0 { // all layers have one shape, those that are gone too
		before = humanize.Comma(parameters + int64(of-n)*c.model.Layers[0].Parameters())
	}
	c.printf("| parameters | %s | %s |\n| weights | | %s |\n\n", before, humanize.Comma(parameters), vk.Bytes(c.model.Bytes()))
	last := chain[len(chain)-1]
	c.printf("## Lineage\n\nWhere the layers come from, by the numbers of the original's, those that were merged joined by a plus sign:\n\n```\n%s\n```\n\n", clipped(origins(last.Tree, of)))
	c.printf("`vkcome.json` beside this card has all of it: scores, the heads and neurons that were kept, options, hashes.\n\n")
}

// clipped bounds the origin of layers.
func clipped(text string) string {
	if len(text) > maxCardText {
		return text[:maxCardText] + " ... and more in vkcome.json"
	}
	return text
}

// origins are trees in few words: runs of layers that are themselves, those that are merged, and those that are in none.
func origins(trees []method.Tree, of int) string {
	var list []string
	gone := make([]bool, max(0, of))
	for i := range gone {
		gone[i] = true
	}
	var mark func(t method.Tree)
	mark = func(t method.Tree) {
		if t.Merged == nil && t.Layer < len(gone) {
			gone[t.Layer] = false
		}
		for _, m := range t.Merged {
			mark(m)
		}
	}
	for i := 0; i < len(trees); i++ {
		mark(trees[i])
		if trees[i].Merged != nil {
			list = append(list, flat(trees[i]))
			continue
		}
		first, last := trees[i].Layer, trees[i].Layer
		for i+1 < len(trees) && trees[i+1].Merged == nil && trees[i+1].Layer == last+1 {
			i, last = i+1, last+1
			mark(trees[i])
		}
		list = append(list, span(first, last))
	}
	text := strings.Join(list, ", ")
	var dropped []string
	for l := 0; l < len(gone); l++ {
		if first := l; gone[l] {
			for l+1 < len(gone) && gone[l+1] {
				l++
			}
			dropped = append(dropped, span(first, l))
		}
	}
	if len(dropped) > 0 {
		text += "\ndropped: " + strings.Join(dropped, ", ")
	}
	return text
}

func span(first, last int) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// flat is a tree as its layers.
func flat(t method.Tree) string {
	if t.Merged == nil {
		return fmt.Sprint(t.Layer)
	}
	var parts []string
	for _, m := range t.Merged {
		parts = append(parts, flat(m))
	}
	return strings.Join(parts, "+")
}

// writeSteps writes what each step of a lineage did.
func (c *modelCard) writeSteps(l *Lineage, i, of int) {
	if len(l.Steps) == 0 {
		return
	}
	turn := ""
	if of > 1 {
		turn = fmt.Sprintf(" (%d of %d)", i+1, of)
	}
	c.printf("### Layers%s\n\nMethod `%s`", turn, inCode(l.Method, maxCardCell))
	if source := methodSource(l.Method); source != "" {
		c.printf(" (%s)", source)
	}
	if l.Calibration != nil {
		c.printf(", calibrated on %s", l.Calibration.inWords())
	}
	c.printf(". Numbers are those of the layers in the original.\n\n")
	fitted := slices.ContainsFunc(l.Steps, func(s *method.Step) bool { return len(s.Refit) > 0 })
	if c.printf("| layers | step |"); fitted {
		c.printf(" fit: loss before → after |")
	}
	if c.printf("\n|---|---|"); fitted {
		c.printf("---|")
	}
	c.printf("\n")
	for i, s := range l.Steps {
		if i == maxCardRows {
			c.printf("\n%d more in `vkcome.json`.\n", len(l.Steps)-i)
			break
		}
		c.printf("| %d → %d | %s |", s.From, s.To, stepInWords(s))
		if fitted {
			c.printf(" %s |", fitsInWords(s.Refit))
		}
		c.printf("\n")
	}
	if fitted {
		c.printf("\nFits were judged by windows that were held out. Their layers are numbered as after the step.\n")
	}
	c.printf("\n")
}

// inWords says what a corpus was.
func (c Calibration) inWords() string {
	text := fmt.Sprintf("%d windows of %d tokens", c.Windows, c.Window)
	if c.Source != "" {
		text += " of `" + inCode(c.Source, maxCardCell) + "`"
	}
	return text + fmt.Sprintf(" (seed %d)", c.Seed)
}

// stepInWords says what a step did, by the original's numbers of layers where the step tells them.
func stepInWords(s *method.Step) string {
	list := s.MergeList
	if s.Operation == method.Removal {
		list = s.DropList
	}
	names := make([]string, 0, len(list))
	for i, l := range list {
		name := fmt.Sprintf("number %d at the time", l)
		if len(s.Layers) == len(list) {
			name = flat(s.Layers[i])
		}
		names = append(names, name)
	}
	text := "layer "
	if len(list) > 1 {
		text = "layers "
	}
	text += inCode(strings.Join(names, ", "), maxCardCell)
	switch s.Operation {
	case method.Removal:
		text += " dropped"
	case method.Concat:
		text += " concatenated"
	case method.Sum:
		text += " summed"
	}
	if len(s.Ratio) > 0 && len(s.Ratio) <= 16 {
		var shares []string
		for _, r := range s.Ratio {
			shares = append(shares, fmt.Sprintf("%.3g", r))
		}
		text += ", " + strings.Join(shares, " : ")
	}
	return text
}

// fitsInWords are the fits of one step.
func fitsInWords(fits []refit.Fit) string {
	var list []string
	for i, f := range fits {
		if i == 4 {
			list = append(list, fmt.Sprintf("and %d more", len(fits)-i))
			break
		}
		list = append(list, fmt.Sprintf("layer %d %s %s", f.Layer, inCode(f.Projection, maxCardCell), fitInWords(f)))
	}
	return strings.Join(list, "; ")
}

func fitInWords(f refit.Fit) string {
	if !f.Taken {
		return fmt.Sprintf("%.4g, not taken", f.Before)
	}
	return fmt.Sprintf("%.4g → %.4g", f.Before, f.After)
}

// writeFits writes what was fitted of a whole model.
func (c *modelCard) writeFits(l *Lineage) {
	if l.Refit == nil || len(l.Refit.Fits) == 0 {
		return
	}
	c.printf("### Fit\n\nLayers were fitted to what they replace, by least squares")
	if l.Refit.Corpus != nil {
		c.printf(", on %s", l.Refit.Corpus.inWords())
	}
	c.printf(". The loss is ‖y−h‖²/‖y‖² on windows that were held out.\n\n| layer now | projection | loss before → after |\n|---:|---|---|\n")
	for i, f := range l.Refit.Fits {
		if i == maxCardRows {
			c.printf("\n%d more in `vkcome.json`.\n", len(l.Refit.Fits)-i)
			break
		}
		c.printf("| %d | %s | %s |\n", f.Layer, inCode(f.Projection, maxCardCell), fitInWords(f))
	}
	c.printf("\n")
}

// writeHealing writes what was trained.
func (c *modelCard) writeHealing(l *Lineage) {
	d := l.Distill
	if d == nil {
		return
	}
	c.printf("### Healing\n\nTrained against the original with the loss `%s` on %s.\n\n| layer | for the original's | steps | tokens | held-out loss before → after |\n|---|---|---:|---:|---|\n",
		inCode(string(d.Options.Objective), maxCardCell), d.Corpus.inWords())
	for i, s := range d.Stages {
		if i == maxCardRows {
			c.printf("\n%d more in `vkcome.json`.\n", len(d.Stages)-i)
			break
		}
		layer, of := "all weights", ""
		if s.Group != nil {
			layer, of = fmt.Sprint(s.Group.Layer), span(s.Group.First, s.Group.Last)
		}
		c.printf("| %s | %s | %d | %d | %.4g → %.4g |\n", layer, of, s.Done, s.Tokens, s.Before, s.After)
	}
	c.printf("\n")
}

// writeMeasured writes what is known of how good the model is.
func (c *modelCard) writeMeasured(chain []*Lineage) error {
	c.printf("## Results\n\n")
	for _, l := range chain {
		c.writeSearch(l)
	}
	if c.results == nil {
		c.printf("**Nothing was measured of this model as it is.** How much it has kept of what the original can do is not known. `vkcome eval tasks` measures it, and `vkcome card --results` puts that here.\n\n")
		return nil
	}
	table, err := c.table()
	if err != nil {
		return err
	}
	c.printf("`vkcome eval tasks`, with the tasks, prompts and metrics of lm-evaluation-harness 0.4.13.\n\n%s\n", table)
	var part []string
	for name, n := range c.results.Documents {
		if n.Effective < n.Original {
			part = append(part, fmt.Sprintf("%s %d of %d", inCode(name, maxCardCell), n.Effective, n.Original))
		}
	}
	if slices.Sort(part); len(part) > 0 {
		c.printf("Not all documents were asked: %s.\n\n", strings.Join(part[:min(len(part), maxCardRows)], ", "))
	}
	if c.original == nil {
		c.printf("The original was not measured beside it.\n\n")
	}
	return nil
}

// table is the results, beside the original's where these are given.
func (c *modelCard) table() (string, error) {
	own := *c.results
	own.ModelName = "this model"
	if c.original == nil {
		return own.Table(), nil
	}
	first := *c.original
	first.ModelName = "original"
	side, err := eval.NewSide(c.ctx, []*eval.Results{&first, &own})
	if err != nil {
		return "", err
	}
	return side.Table(), nil
}

// writeSearch writes what a search measured, if there was one.
func (c *modelCard) writeSearch(l *Lineage) {
	a := l.Auto
	if a == nil {
		return
	}
	var last *Trial
	for i, t := range a.Trials {
		if t.Candidate == a.Chosen && t.Perplexity > 0 {
			last = &a.Trials[i]
		}
	}
	c.printf("The search that chose the method measured perplexities on %s that nothing was fitted to: %.4g of the original", a.Validation.inWords(), a.Dense)
	if last != nil {
		c.printf(", %.4g of what `%s` made of it with %d windows, in the last trial before the run that gave this model", last.Perplexity, inCode(a.Chosen, maxCardCell), last.Windows)
	}
	c.printf(". This model itself was not measured there.\n\n")
}

// writeUse says how to load the model, and what it is for.
func (c *modelCard) writeUse() {
	c.printf(`## Use

%[1]spython
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # of this model, or its name on the hub
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
inputs = tokenizer("The layers of a language model", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=40)[0]))
%[1]s

For llama.cpp, Ollama and LM Studio: %[2]svkcome convert . model.gguf --type q8_0%[2]s.

## Intended use and limits

`, "```", "`")
	if c.base() != "" {
		c.printf("What the card of %s says of its intended use, its licence, its training data, its biases and its risks holds here too.", c.link())
	} else {
		c.printf("What the original's card says of its intended use, its licence, its training data, its biases and its risks holds here too.")
	}
	c.printf(" Its evaluation results do not: they are another model's.\n\nA model that has lost layers has lost knowledge and skill with them, more in some fields than in others, and what it was taught to refuse it may no longer refuse. Measure what you need of it first.\n\n")
}
