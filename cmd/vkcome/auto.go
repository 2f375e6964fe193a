package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/vk"
)

var autoVerb = verb{
	name: "auto", args: "MODEL OUT", short: "the smaller model that the time allows: try methods, take what measures best, repair and train it",
	example: "vkcome auto ~/models/Llama-2-7b-hf Llama-2-7b-10GB --target-size 10GB --text c4 --budget 2h",
	flags:   autoFlags,
}

func autoFlags(f *pflag.FlagSet) func(context.Context, []string) error {
	var o prune.AutoOptions
	var to prune.Output
	var noHeal bool
	target := newTargetFlags(f, &o.TargetLayers, &o.Sparsity)
	f.DurationVar(&o.Budget, "budget", prune.DefaultBudget, "time for everything but writing the model, as in 2h; what comes out then depends on the machine's speed")
	in := newCorpusFlags(f, calibrationTokens)
	f.IntSliceVar(&o.Protect, "protect", nil, "layers that stay as they are, as in 0,1,-1")
	f.BoolVar(&noHeal, "no-heal", false, "train nothing: choose and fit alone")
	kind := typeFlag(f)
	runFlags(f, &to)
	page := reportFlag(f, false)
	c := commonFlags(f)
	f.Lookup("device").Usage = devicesUsage
	c.hostFlags(f)
	return func(ctx context.Context, args []string) (err error) {
		switch {
		case o.Budget <= 0:
			return usagef("--budget %v: expected more than 0", o.Budget)
		case to.AnyDevice:
			return usagef("--any-device: times of one device say nothing of another's: begin anew there")
		}
		if o.TargetParameters, o.TargetBytes, err = target.read(true); err != nil {
			return err
		}
		if o.Memory, err = c.host(); err != nil {
			return err
		}
		to.Dir, to.Type, to.Note, to.Saving = args[1], *kind, c.noteLine, watching.saves
		if err := prune.CheckOutput(to.Dir, args[0], to.Force); err != nil && !to.Resume {
			return err
		}
		page.to.Force = to.Force || to.Resume
		if err := page.check(); err != nil {
			return err
		}
		return c.withModel(ctx, args[0], func(m *model.Model) (err error) {
			if o.Windows, err = in.load(ctx, m); err != nil {
				return err
			}
			o.Seed, o.Source = in.seed, in.source
			if err := m.Config.CheckGradients(); err != nil && !noHeal {
				c.note("%s: nothing is trained", spell(err.Error()))
			} else if !noHeal {
				training := distillingFlags{trainingFlags: newTrainingFlags(pflag.NewFlagSet("", pflag.ContinueOnError)), schedule: prune.DistillAtEnd}
				if o.Heal, err = training.load(ctx, in, m); err != nil {
					return err
				}
			}
			return c.computeOn(func(devices []*vk.Device) error {
				o.Devices = devices[1:]
				a, err := prune.NewAuto(m, o)
				if err != nil {
					return err
				}
				if err := runAuto(ctx, c, devices[0], a, to, in); err != nil {
					return err
				}
				return page.writeOutput(c, devices[0].Memory().Peak, o.Memory, to.Dir)
			})
		})
	}
}

func runAuto(ctx context.Context, c *common, d *vk.Device, a *prune.Auto, to prune.Output, in *corpusFlags) error {
	m := a.Model
	c.note("%s: %d → %d layers in %v on %s (%s), %d windows of %d tokens", m.Name, len(m.Layers), a.TargetLayers, a.Options.Budget, d.Info.Name, d.Tier, len(a.Options.Windows), len(a.Options.Windows[0]))
	begin := time.Now()
	b := c.bar()
	lineage, err := a.RunTo(ctx, d, to, func(s prune.Status) {
		if s.Training != nil {
			b.train(s.Training)
			return
		}
		b.set(s.Stage, s.Done, s.Total)
	})
	b.finish()
	c.tellHost(a.Options.Memory)
	if err != nil {
		return err
	}
	if c.json {
		c.note("%s", time.Since(begin).Round(100*time.Millisecond))
		return printJSON(lineage)
	}
	if err := printAuto(lineage, a.Options.Candidates); err != nil {
		return err
	}
	c.summarize(summary{from: m, layers: len(lineage.Tree), out: to.Dir, begin: begin, known: tried(lineage.Auto), in: in})
	return nil
}

// printAuto tells why a model is what it is.
func printAuto(l *prune.Lineage, candidates []prune.Candidate) error {
	r := l.Auto
	flags := map[string]string{} // by candidate
	for _, c := range candidates {
		flags[c.Name] = strings.Join(pruneFlagsOf(c), " ")
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "round\twindows\tperplexity\tseconds\toutcome\tvkcome prune")
	for _, t := range r.Trials {
		perplexity := "-"
		if t.Perplexity > 0 {
			perplexity = fmt.Sprintf("%.4g", t.Perplexity)
		}
		fmt.Fprintf(w, "%d\t%d\t%s\t%.1f\t%s\t%s\n", t.Round+1, t.Windows, perplexity, t.Seconds, strings.ReplaceAll(spell(t.Outcome), "\n", " "), flags[t.Candidate])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %s\n", flags[r.Chosen], r.Why)
	for _, s := range l.Steps {
		printFits(s.Refit)
	}
	printStages(l.Distill)
	return nil
}

// pruneFlagsOf are the flags of prune that do what a candidate does.
func pruneFlagsOf(c prune.Candidate) []string {
	flags := []string{"--method", c.Method.Name()}
	e, err := method.Lookup(c.Method.Name())
	if err != nil { // a library's own, and auto tries none
		return flags
	}
	flags = append(flags, methodFlagsOf(fieldsOf(c.Method), e.New(method.Options{}))...)
	if c.Refit != nil {
		flags = append(flags, fitFlagsOf(c.Refit)...)
	}
	return flags
}

// methodFlagsOf are the flags of options, by their keys in JSON, that are not what a method has without any.
func methodFlagsOf(own map[string]any, m method.Method) (flags []string) {
	usual, names := fieldsOf(m), method.OptionNames(m)
	for _, key := range slices.Sorted(maps.Keys(own)) {
		if reflect.DeepEqual(own[key], usual[key]) {
			continue
		}
		for _, o := range optionFlags {
			switch {
			case o.option == fmt.Sprintf("%s=%v", names[key], own[key]):
				flags = append(flags, o.shown)
			case o.option == names[key] && o.shown == "":
				flags = append(flags, "--"+o.flag, strings.Trim(strings.ReplaceAll(fmt.Sprint(own[key]), " ", ","), "[]"))
			}
		}
	}
	return flags
}

// fitFlagsOf are the flags of a fit.
func fitFlagsOf(o *refit.Options) []string {
	flags := []string{"--refit"}
	switch {
	case o.End:
		flags = append(flags, "--fit-end")
	case o.All:
		flags = append(flags, "--fit-all")
	}
	if effective := o.Defaults(); effective.Projections != refit.Projections[0] {
		flags = append(flags, "--projections", effective.Projections)
	}
	return flags
}

// fieldsOf are a method's options as they take effect, by their keys in JSON.
func fieldsOf(m method.Method) (fields map[string]any) {
	raw, _ := json.Marshal(m.Effective()) // plain numbers and strings
	_ = json.Unmarshal(raw, &fields)
	return fields
}
