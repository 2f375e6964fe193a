package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
)

var pruneVerb = verb{
	name: "prune", args: "MODEL [OUT]", short: "merge a model's layers down to a smaller number, by CoMe or another method",
	example: "vkcome prune ~/models/Llama-2-7b-hf Llama-2-7b-come22 --target-layers 22 --text calibration.txt",
	flags:   pruneFlags,
}

// runFlags declares the flags of a run that writes a model.
func runFlags(f *pflag.FlagSet, to *prune.Output) {
	f.BoolVar(&to.Force, "force", false, "replace OUT if vkcome wrote it, and remove what an unfinished run left")
	f.BoolVar(&to.Resume, "resume", false, "go on where the same command stopped, or start if it did not run")
	f.BoolVar(&to.AnyDevice, "any-device", false, "resume on another device, driver or tier as well: the result is then neither's")
	f.StringVar(&to.Work, "work", "", "folder that keeps what is done until OUT is there (default .OUT.vkcome-work)")
}

// devicesUsage is the help of --device where several may share the work.
const devicesUsage = "device by index, UUID or part of its name, or several of one kind that share the calibration, as in 0,1 (default $VKCOME_DEVICE, else the best)"

// methodFlags are the flags of the methods.
type methodFlags struct {
	f        *pflag.FlagSet
	noRepeat bool
	compat   string
	o        method.Options
}

func newMethodFlags(f *pflag.FlagSet) *methodFlags {
	m := &methodFlags{f: f}
	f.IntVar(&m.o.LayersPerMerge, "merge-item", 0, "layers that are merged into one in a step (default 2; laco: 4 at most)")
	f.BoolVar(&m.noRepeat, "no-repeat", true, "merge no layer twice")
	f.Float64Var(&m.o.RatioPower, "psu", 1, "power of the block influences in the fusion ratio")
	f.Float64Var(&m.o.RatioFloor, "min-max", 0, "floor of the largest fusion ratio, 0 to 1")
	f.StringVar(&m.compat, "compat", "", "reference: choose query heads as the authors' code does, its grouped-query defect included")
	f.StringVar(&m.o.Selector, "selector", method.Selectors[0], "what chooses the layers to merge: "+strings.Join(method.Selectors, ", ")+"; of greedy and union: angular-all (default) or refit")
	f.StringVar(&m.o.Norm, "norm", method.Norms[0], "norms of a merged layer: "+strings.Join(method.Norms, ", "))
	f.StringVar(&m.o.Sensitivity, "sensitivity", method.Sensitivities[0], "what ranks heads and neurons: "+strings.Join(method.Sensitivities, ", "))
	f.IntVar(&m.o.Granularity, "granularity", 20, "come-p: steps of the ratio from 0 to 1")
	f.IntVar(&m.o.Candidates, "candidates", 6, "greedy: layers whose removal is tried in a step; 1: the angle of the states alone decides")
	f.Float64Var(&m.o.Similarity, "similarity", 0.95, "laco: the output's similarity at first")
	return m
}

// method makes a method by name. Flags that have no meaning for it are refused, unless others have the use of them.
func (m *methodFlags) method(name string, seed uint64, alone bool) (method.Method, error) {
	e, err := method.Lookup(name)
	if err != nil {
		return nil, usagef("%w", err)
	}
	if alone {
		for _, other := range method.Registry {
			for _, flag := range flagsOf(other.Options()) {
				if m.f.Changed(flag) && !slices.Contains(flagsOf(e.Options()), flag) {
					return nil, usagef("--%s has no meaning for method %s", flag, name)
				}
			}
		}
	}
	switch {
	case m.compat != "" && m.compat != "reference":
		return nil, usagef("--compat %q: expected reference", m.compat)
	case !(m.o.RatioPower > 0 && m.o.RatioPower <= 1000):
		return nil, usagef("--psu %v: expected more than 0 and at most 1000", m.o.RatioPower)
	case m.f.Changed("merge-item") && m.o.LayersPerMerge < 2:
		return nil, usagef("--merge-item %d: expected 2 or more", m.o.LayersPerMerge)
	case m.f.Changed("candidates") && m.o.Candidates < 1:
		return nil, usagef("--candidates %d: expected 1 or more", m.o.Candidates)
	case m.f.Changed("granularity") && m.o.Granularity < 1:
		return nil, usagef("--granularity %d: expected 1 or more", m.o.Granularity)
	}
	m.o.Repeat, m.o.Tiled, m.o.Seed = !m.noRepeat, m.compat == "reference", 0
	if m.o.Sensitivity == method.SensitivityRandom {
		m.o.Seed = seed
	}
	o := m.o
	if others := !m.f.Changed("selector") || !alone && slices.Contains(method.Selectors, o.Selector); others && slices.Contains(e.Options(), "method.Greedy.Selector") {
		o.Selector = "" // a default, or a choice, of the methods that merge is not theirs
	}
	return e.New(o), nil
}

// alone refuses flags of methods where none is named, and has what steps leave fitted.
func (m *methodFlags) alone(fitting *refitFlags) error {
	for _, flag := range methodFlagNames() {
		if !m.f.Changed(flag) {
			continue
		}
		var names []string
		for _, e := range method.Registry {
			if slices.Contains(flagsOf(e.Options()), flag) {
				names = append(names, e.Name)
			}
		}
		return usagef("--%s is an option of some methods: name one (--method %s)", flag, strings.Join(names, ", "))
	}
	if m.f.Changed("refit") && !fitting.is {
		return usagef("without a fit, name the method (--method %s)", strings.Join(method.Names(), ", "))
	}
	fitting.is = true
	return nil
}

// refitFlags are the flags of fitting what steps leave.
type refitFlags struct {
	f  *pflag.FlagSet
	is bool
	o  refit.Options
}

// newRefitFlags declares them; where nothing but fitting is done, without the flag that asks for it.
func newRefitFlags(f *pflag.FlagSet, alone bool) *refitFlags {
	r := &refitFlags{f: f, is: alone}
	if !alone {
		f.BoolVar(&r.is, "refit", false, "after each step, fit the layer that it made, or the one before the gap, to what it replaces: in closed form, without training")
	}
	f.Float64SliceVar(&r.o.Lambdas, "lambda", refit.DefaultLambdas, "weights of the fit's ridge, of which windows that are held out choose")
	f.StringVar(&r.o.Projections, "projections", refit.Projections[0], "what is fitted: "+strings.Join(refit.Projections, ", "))
	f.BoolVar(&r.o.All, "fit-all", false, "fit every layer in the end, from the lowest on that stands for others")
	if !alone {
		f.BoolVar(&r.o.End, "fit-end", false, "fit nothing after the steps, and every layer in the end; goes with methods that repair what they leave by themselves too")
	}
	f.IntVar(&r.o.HeldOut, "fit-held-out", 8, "hold out one of so many windows of the corpus from the fit")
	return r
}

// overlay puts what flags say in the place of options.
func (r *refitFlags) overlay(o *refit.Options) {
	for flag, put := range map[string]func(){
		"lambda":       func() { o.Lambdas = r.o.Lambdas },
		"projections":  func() { o.Projections = r.o.Projections },
		"fit-all":      func() { o.All = r.o.All },
		"fit-end":      func() { o.End = r.o.End },
		"fit-held-out": func() { o.HeldOut = r.o.HeldOut },
	} {
		if r.f.Changed(flag) {
			put()
		}
	}
}

// options are what the flags mean, nil where nothing is fitted.
func (r *refitFlags) options() (*refit.Options, error) {
	for _, flag := range []string{"lambda", "projections", "fit-all", "fit-end", "fit-held-out"} {
		if !r.is && r.f.Changed(flag) {
			return nil, usagef("--%s has no meaning without --refit", flag)
		}
	}
	if !r.is {
		return nil, nil
	}
	return &r.o, nil
}

func pruneFlags(f *pflag.FlagSet) func(context.Context, []string) error {
	var o prune.Options
	var planOnly bool
	var to prune.Output
	var name, plan, stats string
	f.StringVarP(&name, "method", "m", "", "how: "+strings.Join(method.Names(), ", ")+" (default union --candidates 1, of models with experts greedy, with --refit --fit-all --projections o,down; with --protocol or --stats come)")
	target := newTargetFlags(f, &o.TargetLayers, &o.Sparsity)
	in := newCorpusFlags(f, calibrationTokens)
	f.StringVar(&stats, "stats", "", "take the first step by a file of vkcome stats, whose corpus is used, instead of --text")
	fitting := newRefitFlags(f, false)
	m := newMethodFlags(f)
	f.IntSliceVar(&m.o.Layers, "layers", nil, "drop: the layers to drop, as in 20,21")
	f.IntSliceVar(&o.Protect, "protect", nil, "layers that stay as they are, as in 0,1,-1")
	f.BoolVar(&o.AllScores, "all-scores", false, "compute the scores of every layer at every step, not only those that choose the merge")
	f.BoolVar(&planOnly, "plan-only", false, "say what the run would give and take, and write nothing")
	f.StringVar(&plan, "plan", "", "do again what a vkcome.json says was done, without scores")
	kind := typeFlag(f)
	runFlags(f, &to)
	f.BoolVar(&to.SaveSteps, "save-steps", false, "write the model of N layers after every step too, as OUT.LN")
	var training distillingFlags
	f.StringVar(&training.schedule, "heal", "", "train merged layers against those that they were made of: "+strings.Join(prune.Schedules, ", ")+" (sp: in the end, mp: each right after its merge, all: all weights together in the end, in --end-to-end steps)")
	f.StringArrayVar(&training.text, "heal-text", nil, "text to train on, as with --text (default that)")
	f.IntVar(&training.window, "heal-window", 0, "tokens of its windows (default as --window)")
	training.trainingFlags = newTrainingFlags(f)
	page := reportFlag(f, false)
	c := commonFlags(f)
	c.hostFlags(f)
	f.Lookup("device").Usage = devicesUsage
	return func(ctx context.Context, args []string) (err error) {
		if len(args) < 2 && !planOnly {
			return usagef("prune: expected the names of the model and of the folder or .gguf to write (vkcome prune MODEL OUT)")
		}
		if o.TargetParameters, o.TargetBytes, err = target.read(plan == "" && !hasTarget(name)); err != nil {
			return err
		}
		recommended := name == "" && plan == "" && stats == "" && in.protocol == ""
		if recommended {
			err = m.alone(fitting)
		} else {
			o.Method, err = m.method(cmp.Or(name, method.CoMe{}.Name()), in.seed, true)
		}
		if err != nil {
			return err
		}
		if o.Refit, err = fitting.options(); err != nil {
			return err
		}
		if plan != "" {
			for _, flag := range append([]string{"method", "protect", "text", "tokens", "stats", "layers"}, methodFlagNames()...) {
				if f.Changed(flag) && !(o.Refit != nil && (flag == "text" || flag == "tokens")) {
					return usagef("--plan does again what was done: --%s has no meaning beside it", flag)
				}
			}
			if o.Replay, err = prune.ReadLineage(plan); err != nil {
				return err
			}
		}
		if stats != "" {
			if in.given() {
				return usagef("--stats has its own corpus: --text, --tokens and --protocol have no meaning beside it")
			}
			if o.Stats, err = score.OpenStats(stats); err != nil {
				return err
			}
		}
		if to.AnyDevice && !to.Resume {
			return usagef("--any-device has no meaning without --resume")
		}
		if err := training.check(); err != nil {
			return err
		}
		if o.Memory, err = c.host(); err != nil {
			return err
		}
		page.to.Force = to.Force || to.Resume
		switch err := page.check(); {
		case err != nil:
			return err
		case planOnly && page.to.Path != "":
			return usagef("--report has no meaning with --plan-only")
		}
		if !planOnly {
			to.Dir, to.Type, to.Note, to.Saving = args[1], *kind, c.noteLine, watching.saves
			if err := prune.CheckOutput(to.Dir, args[0], to.Force); err != nil && !to.Resume { // an OUT that is finished may be resumed
				return err
			}
		}
		return c.withModel(ctx, args[0], func(m *model.Model) (err error) {
			if recommended || o.Refit != nil && o.Stats == nil || o.Replay == nil && o.Stats == nil && (o.Method.Needs().Corpus || in.given()) {
				if o.Windows, err = in.load(ctx, m); err != nil {
					return err
				}
				o.Seed, o.Source = in.seed, in.source
			}
			if recommended {
				o.Method, o.Refit = prune.Recommended(m, len(o.Windows))
				fitting.overlay(o.Refit)
			}
			if o.Distill, err = training.load(ctx, in, m); err != nil {
				return err
			}
			return c.computeOn(func(devices []*vk.Device) error {
				o.Devices = devices[1:]
				p, err := prune.NewPlan(m, o)
				switch {
				case err != nil:
					return err
				case planOnly:
					return printPlan(ctx, c, devices[0], p)
				}
				if err := runPrune(ctx, c, devices[0], p, training.trainingFlags, to, in); err != nil {
					return err
				}
				return page.writeOutput(c, devices[0].Memory().Peak, o.Memory, to.Dir)
			})
		})
	}
}

// targetFlags say how much is left.
type targetFlags struct {
	f            *pflag.FlagSet
	layers       *int
	sparsity     *float64
	params, size string
}

func newTargetFlags(f *pflag.FlagSet, layers *int, sparsity *float64) *targetFlags {
	t := &targetFlags{f: f, layers: layers, sparsity: sparsity}
	f.IntVar(layers, "target-layers", 0, "layers that are left")
	f.Float64Var(sparsity, "sparsity", 0, "instead: the share of all parameters to remove at least, as in 0.3")
	f.StringVar(&t.params, "target-params", "", "instead: parameters that are left at most, as in 5.5B")
	f.StringVar(&t.size, "target-size", "", "instead: the size of the weights at most, as in 8GiB")
	return t
}

// read checks the flags, of which not more than one may be given, and one must be where it is needed.
func (t *targetFlags) read(needed bool) (parametersLeft, bytesLeft int64, err error) {
	switch {
	case t.f.Changed("sparsity") && !(*t.sparsity > 0 && *t.sparsity < 1):
		return 0, 0, usagef("--sparsity %v: expected more than 0 and less than 1", *t.sparsity)
	case t.f.Changed("target-layers") && *t.layers < 1:
		return 0, 0, usagef("--target-layers %d: expected 1 or more", *t.layers)
	}
	targets := 0
	for _, flag := range []string{"target-layers", "sparsity", "target-params", "target-size"} {
		if t.f.Changed(flag) {
			targets++
		}
	}
	if targets > 1 || targets == 0 && needed {
		return 0, 0, usagef("give one of --target-layers, --sparsity, --target-params and --target-size")
	}
	if t.params != "" {
		if parametersLeft, err = parameters(t.params); err != nil {
			return 0, 0, err
		}
	}
	if t.size != "" {
		bytesLeft, err = parseSize("--target-size", t.size)
	}
	return parametersLeft, bytesLeft, err
}

// hasTarget says whether a method's own options say how many layers it leaves.
func hasTarget(name string) bool {
	e, err := method.Lookup(name)
	return err == nil && e.Needs().Target != nil
}

// methodFlagNames lists the flags that have a meaning for some method.
func methodFlagNames() []string {
	var names []string
	for _, e := range method.Registry {
		names = append(names, flagsOf(e.Options())...)
	}
	return names
}

// parameters reads a number of parameters: 5.5B, 700M.
func parameters(text string) (int64, error) {
	unit := 1.0
	number := text
	if i := strings.IndexAny(text, "kKmMbBgGtT"); i == len(text)-1 && i > 0 {
		unit = map[byte]float64{'k': 1e3, 'm': 1e6, 'b': 1e9, 'g': 1e9, 't': 1e12}[strings.ToLower(text)[i]]
		number = text[:i]
	}
	n, err := strconv.ParseFloat(number, 64)
	if n *= unit; err != nil || !(n >= 1 && n <= 1e15) {
		return 0, usagef("--target-params %q: expected a number such as 5.5B or 700M", text)
	}
	return int64(n), nil
}

// printPlan says what a run would give and take.
func printPlan(ctx context.Context, c *common, d *vk.Device, p *prune.Plan) error {
	pred, err := p.Predict(ctx, d)
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(pred)
	}
	fmt.Fprintf(stdout, "%s, %s: %d → %d layers on %s (%s)\n", p.Model.Name, pred.Method, len(p.Model.Layers), pred.TargetLayers, d.Info.Name, d.Tier)
	if len(pred.Protected) > 0 {
		fmt.Fprintf(stdout, "protected layers: %v\n", pred.Protected)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "layers\tparameters\tweights\tsparsity\t")
	for _, depth := range pred.Depths {
		fmt.Fprintf(w, "%d\t%s\t%s\t%.1f %%\t\n", depth.Layers, humanize.Comma(depth.Parameters), vk.Bytes(depth.Bytes), 100*depth.Sparsity)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if t := pred.Training; t != nil {
		fmt.Fprintf(stdout, "healing: %s of device memory at most\n", vk.Bytes(t.Peak()))
	}
	if pred.Windows == 0 {
		fmt.Fprintln(stdout, "no calibration: the steps take as long as writing the model")
		return nil
	}
	fmt.Fprintf(stdout, "calibration: %d windows of %d tokens; at most %d passes of a layer and %d of the LM head\n", pred.Windows, pred.Window, pred.Passes, pred.HeadPasses)
	fmt.Fprintf(stdout, "hidden states that are kept: %s\n", vk.Bytes(pred.StateBytes))
	fmt.Fprintf(stdout, "memory: at most %s of the device's and %s of the host's, %s in files\n", vk.Bytes(pred.DeviceBytes), vk.Bytes(pred.HostBytes), vk.Bytes(pred.SpillBytes))
	beside := ""
	if p.Options.Refit != nil {
		beside += "fits, which may take longer, and "
	}
	if pred.Training != nil {
		beside += "healing, and "
	}
	fmt.Fprintf(stdout, "time: at most %s, and what %swriting the model takes\n", time.Duration(pred.Seconds*float64(time.Second)).Round(100*time.Millisecond), beside)
	return nil
}

func runPrune(ctx context.Context, c *common, d *vk.Device, plan *prune.Plan, t *trainingFlags, to prune.Output, in *corpusFlags) error {
	m, begin := plan.Model, time.Now()
	c.note("%s: %d → %d layers on %s (%s)%s", m.Name, len(m.Layers), plan.TargetLayers, d.Info.Name, d.Tier, calibrationNote(plan))
	if plan.Options.Memory != nil {
		need, err := plan.Footprint(d)
		if err != nil {
			return err
		}
		c.note("expected at most: %s of device memory, %s of host memory, %s of states in files", vk.Bytes(need.Device), vk.Bytes(need.Host), vk.Bytes(need.Disk))
	}
	lineage, err := t.run(c, func(progress func(prune.Status)) (*prune.Lineage, error) { return plan.RunTo(ctx, d, to, progress) })
	c.tellHost(plan.Options.Memory)
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(lineage)
	}
	for _, s := range lineage.Steps {
		line, err := describe(s)
		if err != nil {
			return err
		}
		fmt.Fprintln(stdout, line)
		printFits(s.Refit)
	}
	printStages(lineage.Distill)
	if passes := lineage.LayerPasses; passes != nil && plan.Options.Replay == nil {
		fmt.Fprintf(stdout, "scored in %.1f layer passes; scoring every model from its first layer on takes %d\n", passes.Done, passes.Full)
	}
	c.summarize(summary{from: m, layers: len(lineage.Tree), out: to.Dir, begin: begin, known: fitted(lineage), in: in})
	return nil
}

func calibrationNote(p *prune.Plan) string {
	n := p.StateBytes()
	if n == 0 {
		return ""
	}
	windows := p.Options.Windows
	return fmt.Sprintf(", %d windows of %d tokens, %s of hidden states", len(windows), len(windows[0]), vk.Bytes(n))
}

// printFits tells of what was fitted, a line each.
func printFits(fits []refit.Fit) {
	for _, f := range fits {
		line := fmt.Sprintf("  layer %d: %s fitted with lambda %g, held-out loss %.4g → %.4g", f.Layer, f.Projection, f.Lambda, f.Before, f.After)
		if !f.Taken {
			line += ": not taken"
		}
		fmt.Fprintln(stdout, line)
	}
}

// describe says in a line what a step did.
func describe(s *method.Step) (string, error) {
	from, err := json.Marshal(s.Layers)
	switch {
	case err != nil:
		return "", err
	case s.Operation == method.Removal:
		return fmt.Sprintf("%d → %d layers: dropped %s", s.From, s.To, from), nil
	case s.Operation == method.Sum:
		return fmt.Sprintf("%d → %d layers: summed %s with weights %.3f", s.From, s.To, from, s.Ratio), nil
	case s.Operation == method.Concat:
		return fmt.Sprintf("%d → %d layers: merged %s in the ratio %.3f", s.From, s.To, from, s.Ratio), nil
	}
	return "", errors.New("a step of no known operation")
}

// given says whether the command line names a corpus.
func (c *corpusFlags) given() bool { return len(c.text) > 0 || c.tokens != "" || c.protocol != "" }
