package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
)

var statsVerb = verb{
	name: "stats", args: "MODEL OUT", short: "scores of a model on a corpus, or on one shard of it, for prune --stats",
	example: "vkcome stats ~/models/Llama-2-7b-hf part-3.safetensors --text c4 --shard 3/8",
	flags:   statsFlags,
}

func statsFlags(f *pflag.FlagSet) func(context.Context, []string) error {
	var o prune.StatsOptions
	var text string
	var force, resume bool
	in := newCorpusFlags(f, calibrationTokens)
	f.StringVar(&text, "shard", "", "compute part I of N, from 0 on: I/N; "+autoShard)
	f.BoolVar(&force, "force", false, "replace OUT")
	f.BoolVar(&resume, "resume", false, "end at once if OUT is there and holds the same")
	c := commonFlags(f)
	f.Lookup("device").Usage = devicesUsage
	c.hostFlags(f)
	return func(ctx context.Context, args []string) (err error) {
		if text != "" {
			if o.Shard, o.Shards, err = shard(text, os.Getenv); err != nil {
				return err
			}
		}
		if err := score.CheckStats(args[1], score.SaveOptions{Force: force || resume}); err != nil { // before the work
			return err
		}
		if o.Memory, err = c.host(); err != nil {
			return err
		}
		return c.withModel(ctx, args[0], func(m *model.Model) (err error) {
			if o.Windows, err = in.load(ctx, m); err != nil {
				return err
			}
			o.Seed, o.Source = in.seed, in.source
			if resume {
				stats, err := prune.FindStats(ctx, args[1], m, o)
				switch {
				case err != nil && !force:
					return err
				case err == nil && stats != nil:
					c.note("%s is finished already", args[1])
					return c.printStats(args[1], stats)
				}
			}
			return c.computeOn(func(devices []*vk.Device) error {
				b := c.bar()
				stats, err := prune.ComputeStats(ctx, devices, m, o, func(s prune.Status) { b.set(s.Stage, s.Done, s.Total) })
				b.finish()
				c.tellHost(o.Memory)
				if err == nil {
					err = watching.save(func() error { return stats.Save(args[1], score.SaveOptions{Force: force || resume}) })
				}
				if err != nil {
					return err
				}
				return c.printStats(args[1], stats)
			})
		})
	}
}

var statsMergeVerb = verb{
	name: "stats merge", args: "OUT PART...", short: "scores of a whole corpus from those of all its shards",
	example: "vkcome stats merge all.safetensors part-*.safetensors",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		var force bool
		f.BoolVar(&force, "force", false, "replace OUT")
		c := outputFlags(f)
		return func(_ context.Context, args []string) error {
			var parts []*score.Stats
			for _, path := range args[1:] {
				part, err := score.OpenStats(path)
				if err != nil {
					return err
				}
				parts = append(parts, part)
			}
			stats, err := score.Merge(parts)
			if err == nil {
				err = watching.save(func() error { return stats.Save(args[0], score.SaveOptions{Force: force}) })
			}
			if err != nil {
				return err
			}
			return c.printStats(args[0], stats)
		}
	},
}

func (c *common) printStats(path string, s *score.Stats) error {
	end := s.Begin + len(s.Windows)
	if c.json {
		return printJSON(struct {
			File     string   `json:"file"`
			Layers   int      `json:"layers"`
			Begin    int      `json:"begin"`
			End      int      `json:"end"`
			Windows  int      `json:"windows"`
			Window   int      `json:"window"`
			Computed []string `json:"computed"`
		}{path, s.Layers(), s.Begin, end, s.Total, len(s.Windows[0]), s.Computed})
	}
	fmt.Fprintf(stdout, "%s: %d layers, windows %d to %d of %d, each of %d tokens\n", path, s.Layers(), s.Begin, end-1, s.Total, len(s.Windows[0]))
	return nil
}
