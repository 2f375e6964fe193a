package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

var tuneVerb = verb{
	name: "tune", short: "measure which tiles of matrix products are fastest here, and keep them",
	example: "vkcome tune --device radeon",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		var o op.TuneOptions
		f.IntVarP(&o.Reps, "repetitions", "r", 3, "repetitions of each tile, after one that does not count")
		f.DurationVar(&o.Longest, "longest", op.TuneLongest, "leave out products that take longer")
		shapes := f.StringSlice("shapes", nil, "products to measure, TOKENSxOUTxIN, as in 512x4096x4096 (default those of language models)")
		reset := f.Bool("reset", false, "forget what was measured, and measure nothing")
		c := commonFlags(f)
		return func(ctx context.Context, _ []string) error {
			if o.Reps < 1 || o.Longest <= 0 {
				return usagef("-r and --longest are more than 0")
			}
			for _, text := range *shapes {
				p, err := op.ParseTunePoint(text)
				if err != nil {
					return usageError{err}
				}
				o.Points = append(o.Points, p)
			}
			return c.compute(func(d *vk.Device) error {
				if *reset {
					return op.ForgetTuning(d)
				}
				return tune(ctx, c, d, o)
			})
		}
	},
}

func tune(ctx context.Context, c *common, d *vk.Device, o op.TuneOptions) error {
	b := c.bar()
	t, err := op.Tune(ctx, d, o, func(_ string, done, total int) { b.set("measure", done, total) })
	b.finish()
	if err != nil {
		return err
	}
	if len(t.Choices) > 0 {
		if err := watching.save(func() error { return t.Save(d) }); err != nil {
			return err
		}
		c.note("kept in %s", op.TuningFile(d))
	} else if len(t.LeftOut) == 0 {
		c.note("%s has one kernel for each product: there is nothing to tune", d.Info.Name)
	}
	if len(t.LeftOut) > 0 {
		c.note("left out: %s", strings.Join(t.LeftOut, ", "))
	}
	if c.json {
		return printJSON(t)
	}
	if len(t.Choices) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PRODUCT\tDTYPE\tKERNEL\tTILE\tGFLOP/S\tDEFAULT\tGFLOP/S\tGAIN")
	for _, x := range t.Choices {
		fmt.Fprintf(w, "%v\t%s\t%s\t%v\t%.4g\t%v\t%.4g\t%.2f\n", x.TunePoint, x.DType, x.Shader, x.Tile, x.GFlops, x.Default, x.DefaultGFlops, x.GFlops/x.DefaultGFlops)
	}
	return w.Flush()
}
