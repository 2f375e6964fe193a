package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/vk"
)

var pruneVerb = verb{
	name: "prune", args: "MODEL OUT", short: "merge a model's layers down to a smaller number (CoMe)",
	example: "vkcome prune ~/models/Llama-2-7b-hf Llama-2-7b-come22 --target-layers 22 --text calibration.txt",
	flags:   pruneFlags,
}

func pruneFlags(f *pflag.FlagSet) func(context.Context, []string) error {
	var o prune.Options
	var noRepeat, force bool
	var compat string
	f.IntVar(&o.TargetLayers, "target-layers", 0, "layers that are left")
	f.Float64Var(&o.Sparsity, "sparsity", 0, "instead: the share of all parameters to remove at least, as in 0.3")
	in := newCorpusFlags(f, calibrationTokens)
	f.IntVar(&o.CoMe.MergeItem, "merge-item", 2, "layers that are merged into one in a step")
	f.BoolVar(&noRepeat, "no-repeat", true, "merge no layer twice")
	f.Float64Var(&o.CoMe.PSU, "psu", 1, "power of the block influences in the fusion ratio")
	f.Float64Var(&o.CoMe.MinMax, "min-max", 0, "floor of the largest fusion ratio, 0 to 1")
	f.StringVar(&compat, "compat", "", "reference: choose query heads as the authors' code does, its grouped-query defect included")
	f.BoolVar(&o.AllScores, "all-scores", false, "compute the scores of every layer at every step, not only those that choose the merge")
	f.BoolVar(&force, "force", false, "replace OUT if vkcome wrote it")
	c := commonFlags(f)
	c.hostFlags(f)
	return func(ctx context.Context, args []string) error {
		switch {
		case compat != "" && compat != "reference":
			return usagef("--compat %q: expected reference", compat)
		case f.Changed("target-layers") == f.Changed("sparsity"):
			return usagef("give either --target-layers or --sparsity")
		case f.Changed("sparsity") && !(o.Sparsity > 0 && o.Sparsity < 1):
			return usagef("--sparsity %v: expected more than 0 and less than 1", o.Sparsity)
		case f.Changed("psu") && !(o.CoMe.PSU > 0 && o.CoMe.PSU <= 1000):
			return usagef("--psu %v: expected more than 0 and at most 1000", o.CoMe.PSU)
		case o.CoMe.MergeItem < 2:
			return usagef("--merge-item %d: expected 2 or more", o.CoMe.MergeItem)
		}
		var err error
		if o.Memory, err = c.host(); err != nil {
			return err
		}
		o.CoMe.Repeat, o.CoMe.Tiled = !noRepeat, compat == "reference"
		out := args[1]
		if err := prune.CheckOutput(out, args[0], force); err != nil {
			return err
		}
		return withModel(args[0], func(m *model.Model) (err error) {
			if o.Windows, err = in.load(m); err != nil {
				return err
			}
			o.Seed = in.seed
			for _, path := range append(in.text, in.tokens) {
				if path != "" {
					o.Source = strings.TrimPrefix(o.Source+", "+filepath.Base(path), ", ")
				}
			}
			return c.compute(func(d *vk.Device) error { return runPrune(ctx, c, d, m, o, out, force) })
		})
	}
}

func runPrune(ctx context.Context, c *common, d *vk.Device, m *model.Model, o prune.Options, out string, force bool) error {
	plan, err := prune.NewPlan(m, o)
	if err != nil {
		return err
	}
	c.note("%s: %d → %d layers on %s (%s), %d windows of %d tokens, %s of hidden states", m.Name, len(m.Layers), plan.TargetLayers, d.Info.Name, d.Tier,
		len(o.Windows), len(o.Windows[0]), vk.Bytes(plan.StateBytes()))
	need, err := plan.Footprint(d)
	if err != nil {
		return err
	}
	c.note("expected at most: %s of device memory, %s of host memory, %s of states in files", vk.Bytes(need.Device), vk.Bytes(need.Host), vk.Bytes(need.Disk))
	b := c.bar()
	progress := func(s prune.Status) { b.set(s.Stage, s.Done, s.Total) }
	result, err := plan.Run(ctx, d, progress)
	if err == nil {
		err = result.Save(ctx, d, out, force, progress)
		defer result.Close() // of mapped files: nothing that was written depends on it
	}
	c.tellHost(o.Memory)
	b.finish()
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(result.Lineage)
	}
	for _, s := range result.Lineage.Steps {
		from, err := json.Marshal(s.Layers)
		if err != nil {
			return err
		}
		fmt.Printf("%d → %d layers: merged %s in the ratio %.3f\n", s.From, s.To, from, s.Ratio)
	}
	passes := result.Lineage.LayerPasses
	fmt.Printf("scored in %.1f layer passes; scoring every model from its first layer on takes %d\n", passes.Done, passes.Full)
	fmt.Printf("%s: %d layers, %d parameters (%.1f %% fewer)\n", out, len(result.Model.Layers), result.Model.Parameters(), 100*(1-float64(result.Model.Parameters())/float64(m.Parameters())))
	return nil
}
