package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/vk"
)

var refitVerb = verb{
	name: "refit", args: "TEACHER STUDENT OUT", short: "repair a pruned model in closed form: fit its merged layers, and those before gaps, to the model it was made of",
	example: "vkcome refit ~/models/Llama-2-7b-hf Llama-2-7b-come22 Llama-2-7b-come22-fitted --text c4",
	flags:   refitVerbFlags,
}

func refitVerbFlags(f *pflag.FlagSet) func(context.Context, []string) error {
	var to prune.Output
	kind := typeFlag(f)
	var groups string
	in := newCorpusFlags(f, calibrationTokens)
	var part string
	var wait time.Duration
	f.StringVar(&part, "shard", "", "be part I of N processes that share the fit, from 0 on, all started with the same options and OUT: I/N; "+autoShard)
	f.DurationVar(&wait, "wait", 0, "with --shard: how long to wait for the other parts at most, as in 2h (default without end)")
	f.StringVar(&groups, "map", "", "the student's layers and the teacher's that each stands for, as in 3=4-5,7=9-11 (default as the student's "+model.Lineage+" says)")
	fitting := newRefitFlags(f, true)
	c := commonFlags(f)
	runFlags(f, &to)
	f.Lookup("device").Usage = devicesUsage
	c.hostFlags(f)
	return func(ctx context.Context, args []string) (err error) {
		if to.AnyDevice && !to.Resume {
			return usagef("--any-device has no meaning without --resume")
		}
		o := prune.RefittingOptions{Wait: wait}
		switch {
		case part != "":
			if o.Shard, o.Shards, err = shard(part, os.Getenv); err != nil {
				return err
			}
			if to.AnyDevice {
				return usagef("--any-device: parts of a fit run on devices of one kind")
			}
			if to.Resume {
				to.Patience = lockPatience
			}
		case wait != 0:
			return usagef("--wait has no meaning without --shard")
		}
		if groups != "" {
			if o.Groups, err = distill.ParseMap(groups); err != nil {
				return usagef("%w", err)
			}
		}
		fit, err := fitting.options()
		if err != nil {
			return err
		}
		if o.Memory, err = c.host(); err != nil {
			return err
		}
		o.Refit, to.Dir, to.Type, to.Note, to.Saving = *fit, args[2], *kind, c.noteLine, watching.saves
		return c.withModel(ctx, args[0], func(teacher *model.Model) error {
			return c.withModel(ctx, args[1], func(student *model.Model) (err error) {
				if o.Windows, err = in.load(ctx, teacher); err != nil {
					return err
				}
				o.Seed, o.Source = in.seed, in.source
				return c.computeOn(func(devices []*vk.Device) error {
					o.Devices = devices[1:]
					p, err := prune.NewRefitting(teacher, student, o)
					if err != nil {
						return err
					}
					return runRefitting(ctx, c, devices[0], p, to, in)
				})
			})
		})
	}
}

func runRefitting(ctx context.Context, c *common, d *vk.Device, p *prune.Refitting, to prune.Output, in *corpusFlags) error {
	o := p.Options
	c.note("%s: fitting %d layers on %s (%s)", p.Student.Name, len(p.Groups), d.Info.Name, d.Tier)
	if o.Shards > 0 {
		c.note("part %d of %d, which meet in %s", o.Shard, o.Shards, to.SharedFolder())
	}
	begin := time.Now()
	b := c.bar()
	lineage, err := p.RunTo(ctx, d, to, func(s prune.Status) { b.set(s.Stage, s.Done, s.Total) })
	b.finish()
	c.tellHost(o.Memory)
	if err != nil {
		return err
	}
	if c.json {
		c.note("%s", time.Since(begin).Round(100*time.Millisecond))
		return printJSON(lineage)
	}
	printFits(lineage.Refit.Fits)
	if o.Shard == 0 { // which writes it
		c.summarize(summary{from: p.Student, layers: len(p.Student.Layers), out: to.Dir, begin: begin, known: fitted(lineage), in: in})
	}
	return nil
}
