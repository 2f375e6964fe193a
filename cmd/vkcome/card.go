package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/prune"
)

var cardVerb = verb{
	name: "card", args: "MODEL", short: "write a pruned model's card, its README.md, again: with results, or with the name of what it was made of",
	example: "vkcome card Llama-2-7b-come22 --results results.json --results original.json",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		var o prune.CardOptions
		var results []string
		f.StringArrayVar(&results, "results", nil, "file that eval tasks wrote of MODEL; given again: of the model that it was made of, which then stands beside it")
		f.StringVar(&o.Base, "base-model", "", "owner/name on the hub of the model that was pruned (default what the folder says)")
		f.StringVarP(&o.Path, "out", "o", "", "file to write instead of MODEL/README.md, which is replaced only if it is a card as vkcome wrote it")
		c := outputFlags(f)
		c.offlineFlag(f)
		return func(ctx context.Context, args []string) error {
			for _, path := range results {
				r, err := eval.ReadResults(path)
				if err != nil {
					return err
				}
				o.Results = append(o.Results, r)
			}
			return c.withModel(ctx, args[0], func(m *model.Model) error {
				path, err := prune.WriteCard(ctx, m, o, c.noteLine)
				if err != nil {
					return err
				}
				if c.json {
					return printJSON(struct {
						Card string `json:"card"`
					}{path})
				}
				_, err = fmt.Fprintln(stdout, path)
				return err
			})
		}
	},
}
