package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
)

var pplVerb = verb{
	name: "eval ppl", args: "MODEL", short: "perplexity on text",
	example: "vkcome eval ppl ~/models/Llama-2-7b-hf --text wikitext2-test.txt",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		in, c := newCorpusFlags(f, 0), commonFlags(f)
		in.protocols = append(in.protocols, llamaCpp)
		c.hostFlags(f)
		return func(ctx context.Context, args []string) error {
			host, err := c.host()
			if err != nil {
				return err
			}
			return c.withModel(ctx, args[0], func(m *model.Model) error {
				windows, err := in.load(ctx, m)
				if err != nil {
					return err
				}
				return c.compute(func(d *vk.Device) error {
					b := c.bar()
					o := eval.PerplexityOptions{Run: run.Options{Host: host}, SecondHalf: in.protocol == llamaCpp}
					p, err := eval.RunPerplexityWith(ctx, d, m, windows, o, func(done, total int) { b.set("layers", done, total) })
					b.finish()
					c.tellHost(host)
					if err != nil {
						return err
					}
					if c.json {
						return printJSON(struct {
							*eval.Perplexity
							corpusRecord
						}{p, in.record()})
					}
					fmt.Fprintf(stdout, "perplexity %.4f (mean NLL %.5f over %d tokens of %d windows)\n", p.Perplexity, p.MeanNLL, p.TokensScored, p.Windows)
					return nil
				})
			})
		}
	},
}
