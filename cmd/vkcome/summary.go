package main

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/memory"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/vk"
)

// summary is what a run says in the end, in four lines: what was made, what it cost, what is known of its quality, and where it is.
type summary struct {
	from   *model.Model // that was pruned or repaired
	layers int          // that are left
	out    string
	begin  time.Time
	known  string // of the quality; empty: nothing was measured
	in     *corpusFlags
}

func (c *common) summarize(s summary) {
	depth, all := prune.Depths(s.from)[len(s.from.Layers)-s.layers], s.from.Parameters()
	made := fmt.Sprintf("%d layers, %s parameters", depth.Layers, humanize.Comma(depth.Parameters))
	if depth.Layers < len(s.from.Layers) {
		made = fmt.Sprintf("%d → %d layers, %s → %s parameters (%.1f %% fewer)", len(s.from.Layers), depth.Layers, humanize.Comma(all), humanize.Comma(depth.Parameters), 100*depth.Sparsity)
	}
	if size := weightsOnDisk(s.out); size > 0 {
		made += ", " + vk.Bytes(size)
	}
	cost := clock(time.Since(s.begin))
	if host := memory.Resident().Most; host > 0 {
		cost += ", at most " + vk.Bytes(host) + " of host memory"
	}
	cost += ", at most " + vk.Bytes(c.peakMemory()) + " of device memory"
	known := s.known
	if known == "" {
		known = "not measured"
	}
	text, next := s.in.toMeasure()
	out := shellWord(s.out)
	fmt.Fprintf(stdout, "made: %s\ncost: %s\nquality: %s; to measure: vkcome eval ppl %s %s\nresult: %s; next: vkcome %s\n", made, cost, known, out, text, out, fmt.Sprintf(next, out))
}

// peakMemory is the most that buffers on the open devices took, together.
func (c *common) peakMemory() (peak int64) {
	c.opened.mu.Lock()
	defer c.opened.mu.Unlock()
	for _, d := range c.opened.list {
		peak += d.Memory().PeakUsed
	}
	return peak
}

// toMeasure gives the flags of a text that the model was not made with, to measure it on, and a command to see it work, with %s for it. A
// data set that has a split for that is measured on it; who brought their own text, or tokens, has to choose.
func (c *corpusFlags) toMeasure() (text, next string) {
	if c.tokens != "" { // which a model without a tokenizer takes
		return "--tokens HELD-OUT.json", "inspect %s"
	}
	text = "--text wiki2"
	if len(c.text) == 1 && slices.Contains(corpus.Names(), c.text[0]) {
		text = "--text " + c.text[0]
	}
	return text, "generate %s --prompt 'The film is'"
}

// fitted says what fits and training made of what they make small, on windows that were held out: the geometric means of the ratios.
func fitted(l *prune.Lineage) string {
	var fits []refit.Fit
	for _, s := range l.Steps {
		fits = append(fits, s.Refit...)
	}
	if l.Refit != nil {
		fits = append(fits, l.Refit.Fits...)
	}
	var parts []string
	add := func(what string, ratios []float64) {
		if len(ratios) > 0 {
			sum := 0.0
			for _, r := range ratios {
				sum += math.Log(r)
			}
			parts = append(parts, fmt.Sprintf("held-out loss to %.1f %% by %d %s", 100*math.Exp(sum/float64(len(ratios))), len(ratios), what))
		}
	}
	var ratios []float64
	for _, f := range fits {
		if f.Taken && f.Before > 0 && f.After > 0 {
			ratios = append(ratios, f.After/f.Before)
		}
	}
	add("fits", ratios)
	ratios = nil
	if l.Distill != nil {
		for _, s := range l.Distill.Stages {
			if s.Before > 0 && s.After > 0 {
				ratios = append(ratios, s.After/s.Before)
			}
		}
	}
	add("stages of training", ratios)
	return strings.Join(parts, ", ")
}

// tried is the perplexity of what auto chose, as its last trial had it, beside that of the model it is made of.
func tried(r *prune.AutoRecord) string {
	for _, t := range slices.Backward(r.Trials) {
		if t.Candidate == r.Chosen && t.Perplexity > 0 {
			return fmt.Sprintf("perplexity %.4g in its last trial, %.4g unpruned, on %d held-out windows", t.Perplexity, r.Dense, r.Validation.Windows)
		}
	}
	return ""
}

// weightsOnDisk is the size of a model's weights, 0 where that cannot be said.
func weightsOnDisk(out string) (size int64) {
	if info, err := os.Stat(out); err == nil && info.Mode().IsRegular() {
		return info.Size()
	}
	entries, err := fs.ReadDir(os.DirFS(out), ".")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && filepath.Ext(e.Name()) == ".safetensors" {
			size += info.Size()
		}
	}
	return size
}

// shellWord is a word as shells take it.
func shellWord(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@,=", r) || r == filepath.Separator
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return quotedWord(word)
}
