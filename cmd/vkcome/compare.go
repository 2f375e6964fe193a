package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/report"
	"github.com/vkcome/vkcome/vk"
)

var compareVerb = verb{
	name: "compare", args: "MODEL", short: "several methods at several depths, as a table of perplexity, size and time",
	example: "vkcome compare ~/models/Llama-2-7b-hf --depths 28,24,22 --text c4 --eval-text wiki2",
	flags:   compareFlags,
}

func compareFlags(f *pflag.FlagSet) func(context.Context, []string) error {
	var o prune.CompareOptions
	var names, evalText []string
	var evalTokens, format string
	var evalWindow, evalSamples int
	var usual []string
	for _, e := range method.Registry {
		if n := e.Needs(); n.Target == nil && !n.Refit { // one that has a target of its own cannot go to any depth
			usual = append(usual, e.Name)
		}
	}
	f.StringSliceVar(&names, "methods", usual, "methods to compare")
	f.IntSliceVar(&o.Depths, "depths", nil, "numbers of layers to compare at, as in 28,24,22")
	in := newCorpusFlags(f, calibrationTokens)
	f.StringArrayVar(&evalText, "eval-text", nil, "text to compute perplexity on, as with --text; may be given several times")
	f.StringVar(&evalTokens, "eval-tokens", "", "JSON array of token ids to compute perplexity on, instead of text")
	f.IntVar(&evalWindow, "eval-window", 0, "tokens of a window of that text (default as --window)")
	f.IntVar(&evalSamples, "eval-samples", 0, "windows of that text to use, chosen at random by the seed (default all)")
	fitting := newRefitFlags(f, false)
	m := newMethodFlags(f)
	f.IntSliceVar(&o.Protect, "protect", nil, "layers that no method touches, as in 0,1,-1")
	f.StringVarP(&format, "output", "o", report.Formats[0], "how to print the table: "+strings.Join(report.Formats, ", "))
	page := reportFlag(f, true)
	c := commonFlags(f)
	c.hostFlags(f)
	return func(ctx context.Context, args []string) (err error) {
		if c.json {
			format = "json"
		}
		switch {
		case !slices.Contains(report.Formats, format):
			return usagef("--output %q: expected %s", format, strings.Join(report.Formats, ", "))
		case len(o.Depths) == 0:
			return usagef("give the numbers of layers to compare at (--depths 28,24,22)")
		case (len(evalText) > 0) == (evalTokens != ""):
			return usagef("give either --eval-text FILE or --eval-tokens FILE")
		}
		if err := page.check(); err != nil {
			return err
		}
		if o.Memory, err = c.host(); err != nil {
			return err
		}
		if o.Refit, err = fitting.options(); err != nil {
			return err
		}
		for _, name := range names {
			k, err := m.method(name, in.seed, len(names) == 1)
			if err != nil {
				return err
			}
			o.Methods = append(o.Methods, k)
		}
		test := *in
		test.text, test.tokens, test.evaluate, test.limit, test.samples, test.docs = evalText, evalTokens, true, 0, evalSamples, 0
		if evalWindow != 0 {
			test.window = evalWindow
		}
		return c.withModel(ctx, args[0], func(mod *model.Model) (err error) {
			if o.Windows, err = in.load(ctx, mod); err != nil {
				return err
			}
			if o.Evaluation, err = test.load(ctx, mod); err != nil {
				return err
			}
			o.Seed, o.Source, o.EvalText = in.seed, in.source, test.source
			return c.compute(func(d *vk.Device) error {
				c.note("%s: %d methods at %d depths on %s (%s)", mod.Name, len(o.Methods), len(o.Depths), d.Info.Name, d.Tier)
				b := c.bar()
				table, err := prune.Compare(ctx, d, mod, o, func(s prune.Status) { b.set(s.Stage, s.Done, s.Total) })
				b.finish()
				c.tellHost(o.Memory)
				if err != nil {
					return err
				}
				for i := range table.Rows {
					table.Rows[i].Error = spell(table.Rows[i].Error)
				}
				if err := write(format)(report.Compare(table, format)); err != nil {
					return err
				}
				return page.write(c, d.Memory().Peak, o.Memory, report.Page{Comparisons: []*prune.Comparison{table}})
			})
		})
	}
}
