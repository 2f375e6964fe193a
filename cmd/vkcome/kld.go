package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
)

var kldVerb = verb{
	name: "eval kld", args: "MODEL", short: "KL divergence of a model from its base on text, and how often they agree",
	example: "vkcome eval kld Llama-2-7b-come22 --base ~/models/Llama-2-7b-hf --text wikitext2-test.txt",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		var base string
		f.StringVar(&base, "base", "", "the model to compare with, a folder or a name as MODEL is: that which MODEL was made of, as a rule")
		in, c := newCorpusFlags(f, 0), commonFlags(f)
		c.hostFlags(f)
		return func(ctx context.Context, args []string) error {
			if base == "" {
				return usageError{errors.New("eval kld: give the model to compare with: --base MODEL")}
			}
			host, err := c.host()
			if err != nil {
				return err
			}
			return c.withModel(ctx, args[0], func(m *model.Model) error {
				return c.withModel(ctx, base, func(dense *model.Model) error {
					if err := model.SameVocabulary(m, dense); err != nil { // before the corpus is fetched
						return err
					}
					windows, err := in.load(ctx, dense)
					if err != nil {
						return err
					}
					return c.compute(func(d *vk.Device) error {
						b := c.bar()
						k, err := eval.RunKLD(ctx, d, m, dense, windows, run.Options{Host: host}, func(done, total int) { b.set("layers", done, total) })
						b.finish()
						c.tellHost(host)
						if err != nil {
							return err
						}
						if c.json {
							return printJSON(struct {
								*eval.KLD
								corpusRecord
							}{k, in.record()})
						}
						printKLD(k)
						return nil
					})
				})
			})
		}
	},
}

func printKLD(k *eval.KLD) {
	estimate := func(name string, e eval.Estimate) {
		fmt.Fprintf(stdout, "%-24s %12.6f ± %.6f\n", name, e.Value, e.Error)
	}
	percent := func(name string, e eval.Estimate) {
		fmt.Fprintf(stdout, "%-24s %10.3f %% ± %.3f %%\n", name, 100*e.Value, 100*e.Error)
	}
	quantiles := func(q eval.Quantiles, line func(name string, v float64)) {
		for _, v := range []struct {
			name  string
			value float64
		}{
			{"maximum", q.Maximum}, {"99.9 %", q.P999}, {"99 %", q.P99}, {"95 %", q.P95}, {"90 %", q.P90}, {"75 %", q.P75}, {"median", q.Median},
			{"25 %", q.P25}, {"10 %", q.P10}, {"5 %", q.P5}, {"1 %", q.P1}, {"0.1 %", q.P01}, {"minimum", q.Minimum},
		} {
			line(v.name, v.value)
		}
	}
	fmt.Fprintf(stdout, "perplexity, %d tokens of %d windows\n", k.TokensScored, k.Windows)
	estimate("model", k.Perplexity)
	estimate("base", k.BasePerplexity)
	estimate("model / base", k.Ratio)
	estimate("ln(model / base)", k.LogRatio)
	estimate("model - base", k.Difference)
	fmt.Fprintf(stdout, "%-24s %10.3f %%\n", "correlation of ln", 100*k.Correlation)
	fmt.Fprintln(stdout, "\nKL divergence, nats per token")
	estimate("mean", k.KL)
	quantiles(k.KLQuantiles, func(name string, v float64) { fmt.Fprintf(stdout, "%-24s %12.6f\n", name, v) })
	fmt.Fprintln(stdout, "\nprobability of the right token, model - base")
	percent("mean", k.DeltaP)
	percent("RMS", k.RMSDeltaP)
	quantiles(k.DeltaPQuantiles, func(name string, v float64) { fmt.Fprintf(stdout, "%-24s %10.3f %%\n", name, 100*v) })
	fmt.Fprintln(stdout, "\nsame most probable token")
	percent("share", k.SameTop)
}
