package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/vk"
)

var demoVerb = verb{
	name: "demo", short: "prune the model inside this binary from 12 to 8 layers and show what it still can do",
	example: "vkcome demo",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		out := f.String("out", "", "keep the pruned model in this folder (default: a temporary one, removed at the end)")
		c := commonFlags(f)
		return func(ctx context.Context, _ []string) error {
			return c.withModel(ctx, embedded.Name, func(m *model.Model) error {
				return c.compute(func(d *vk.Device) error { return demo(ctx, c, d, m, *out) })
			})
		}
	},
}

// demoResult is what the demonstration prints with --json.
type demoResult struct {
	Device  string        `json:"device"`
	Out     string        `json:"out,omitempty"`
	Models  []demoModel   `json:"models"`
	Lineage prune.Lineage `json:"lineage"`
	Seconds float64       `json:"seconds"`
}

type demoModel struct {
	Layers     int     `json:"layers"`
	Parameters int64   `json:"parameters"`
	Perplexity float64 `json:"perplexity"`
	Text       string  `json:"text"`
}

func demo(ctx context.Context, c *common, d *vk.Device, m *model.Model, out string) error {
	start := time.Now()
	c.note("device: %s (%s, %s)", d.Info.Name, d.Info.KindName, d.Tier)
	t, err := m.Tokenizer()
	if err != nil {
		return err
	}
	ids, err := corpus.Encode(t, embedded.Text)
	if err != nil {
		return err
	}
	windows, err := corpus.Cut(ids, 128)
	if err != nil {
		return err
	}
	half := len(windows) / 2
	calibration, held := windows[:half], windows[half:]
	keep := out != ""
	if !keep {
		tmp, err := os.MkdirTemp("", "vkcome-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		out = filepath.Join(tmp, "tiny8")
	}
	result := demoResult{Device: d.Info.Name}
	measure := func(m *model.Model) error {
		p, err := eval.RunPerplexity(ctx, d, m, held, nil)
		if err != nil {
			return err
		}
		const prompt = "The film is"
		begin, err := corpus.Encode(t, prompt)
		if err != nil {
			return err
		}
		tokens, err := continueText(ctx, d, m, t, begin, generate.WriterOptions{Tokens: 24}, nil)
		if err != nil {
			return err
		}
		result.Models = append(result.Models, demoModel{len(m.Layers), m.Parameters(), p.Perplexity, prompt + t.Decode(ints(tokens))})
		return nil
	}
	if err := measure(m); err != nil {
		return err
	}
	by, fit := prune.Recommended(m, len(calibration))
	plan, err := prune.NewPlan(m, prune.Options{TargetLayers: 8, Windows: calibration, Source: "demo.txt", Method: by, Refit: fit})
	if err != nil {
		return err
	}
	b := c.bar()
	progress := func(s prune.Status) { b.set(s.Stage, s.Done, s.Total) }
	pruned, err := plan.Run(ctx, d, progress)
	if err == nil {
		err = pruned.Save(ctx, d, out, false, progress)
	}
	b.finish()
	if err != nil {
		return err
	}
	if err := c.withModel(ctx, out, measure); err != nil {
		return err
	}
	result.Lineage, result.Seconds = pruned.Lineage, time.Since(start).Seconds()
	if keep {
		result.Out = out
	}
	if c.json {
		return printJSON(result)
	}
	for _, f := range result.Models {
		fmt.Fprintf(stdout, "%2d layers, %d parameters: perplexity %.1f on held-out text\n   %s\n", f.Layers, f.Parameters, f.Perplexity, strings.ReplaceAll(f.Text, "\n", " "))
	}
	fmt.Fprintf(stdout, "done in %.1f s\n", result.Seconds)
	if keep {
		fmt.Fprintf(stdout, "the pruned model is in %s\n", out)
	}
	return nil
}
