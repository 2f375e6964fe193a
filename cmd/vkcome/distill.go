package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/vk"
)

var distillVerb = verb{
	name: "distill", args: "TEACHER STUDENT [OUT]", short: "heal a pruned model: train its merged layers against those of the model it was made of",
	example: "vkcome distill ~/models/Llama-2-7b-hf Llama-2-7b-come22 Llama-2-7b-come22-healed --text c4",
	flags:   distillFlags,
}

var distillMergeVerb = verb{
	name: "distill merge", args: "OUT PART...", short: "a healed model from the parts that distill --shard trained",
	example: "vkcome distill merge Llama-2-7b-come22-healed part-*",
	flags:   distillMergeFlags,
}

// trainingFlags are the flags of training.
type trainingFlags struct {
	f      *pflag.FlagSet
	o      distill.Options
	loss   string
	losses string        // file
	every  time.Duration // between checkpoints
}

func newTrainingFlags(f *pflag.FlagSet) *trainingFlags {
	t := &trainingFlags{f: f}
	f.StringVar(&t.loss, "loss", string(train.MSE), "what a layer's training makes small: "+distill.Names())
	f.Float64Var(&t.o.Temperature, "temperature", 1, "of kl, kl-lens and --end-to-end")
	f.StringVar(&t.o.Input, "input", distill.TeacherInput, "states that enter a layer in training: "+strings.Join(distill.Inputs, ", ")+" (whose layers below are healed then)")
	f.IntVar(&t.o.Rank, "rank", 0, "train updates of this rank of the layers' matrices alone, as LoRA does, and merge them in the end (default 0: all weights)")
	f.StringVar(&t.o.Moments, "moments", "", "of AdamW: "+strings.Join(distill.Moments, ", ")+", which takes half of their memory and is rounded at random (default f32)")
	f.Float64Var(&t.o.LR, "lr", 0, "peak of the learning rate (default 2e-4, times 2048/hidden_size where that is above 1, at most 4e-3; with --rank five times that)")
	f.Float64Var(&t.o.FinalLR, "final-lr", 0, "where its cosine ends (default a tenth of --lr)")
	f.Float64Var(&t.o.WarmUp, "warm-up", 0.03, "share of the steps over which it rises, 20 steps at least")
	f.Float64Var(&t.o.Decay, "weight-decay", 1e-3, "decoupled, of matrices alone; below 0: none")
	f.Float64Var(&t.o.Clip, "clip", 1, "bound of the global norm of gradients; below 0: none")
	f.IntVar(&t.o.Batch, "batch", 0, "windows of a step (default 16)")
	f.IntVar(&t.o.MicroBatch, "micro-batch", 0, "of them on the device at a time (default as many as its memory holds)")
	f.Int64Var(&t.o.Tokens, "budget-tokens", 0, "tokens that a layer's training sees (default 200 steps' worth)")
	f.DurationVar(&t.o.Budget, "budget", 0, "time that all training may take, as in 10m; what comes out then depends on the machine's speed (default no bound)")
	f.IntVar(&t.o.HeldOut, "held-out", 0, "windows that are not trained on, a multiple of --batch (default a twentieth, one to four steps' worth)")
	f.IntVar(&t.o.Patience, "patience", 0, "evaluations without a better held-out loss, of 20, after which a layer's training stops (default 8)")
	f.IntVar(&t.o.EndToEnd, "end-to-end", 0, "steps of a last stage: all weights against the teacher's logits (default none)")
	f.Float64Var(&t.o.EndLR, "end-to-end-lr", 0, "its peak learning rate (default a third of --lr)")
	f.DurationVar(&t.every, "checkpoint", 30*time.Second, "time between checkpoints while a layer is trained")
	f.StringVar(&t.losses, "losses", "", "append every step's loss to this file as it comes, a line of JSON each; the folder that is written has them in "+model.Losses)
	return t
}

// trainingFlagNames lists the flags that newTrainingFlags declares.
func trainingFlagNames() (names []string) {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	newTrainingFlags(f)
	f.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// options are what the flags mean, defaults not filled in.
func (t *trainingFlags) options(seed uint64) distill.Options {
	t.o.Objective, t.o.Seed = train.Objective(t.loss), seed
	return t.o
}

// window is how many tokens a window of a corpus has that flags give for a model.
func (c *corpusFlags) trainingWindow(m *model.Model) int {
	if c.window > 0 {
		return c.window
	}
	return min(corpus.DefaultWindow, m.Config.MaxPositionEmbeddings)
}

// load reads a corpus to train on, as much of it as the options want; layers says whether layers are trained by themselves.
func (t *trainingFlags) load(ctx context.Context, in *corpusFlags, m *model.Model, layers bool) (h prune.DistillOptions, err error) {
	h.Options = t.options(in.seed)
	in.limit = int(h.Options.CorpusTokens(in.trainingWindow(m), layers))
	h.Windows, err = in.load(ctx, m)
	h.Seed, h.Source, h.Every = in.seed, in.source, t.every
	return h, err
}

// run carries out a run: its progress, training and all, is shown on a terminal, and the losses go to the file of --losses.
func (t *trainingFlags) run(c *common, do func(progress func(prune.Status)) (*prune.Lineage, error)) (l *prune.Lineage, err error) {
	var file *files.File
	if t.losses != "" {
		if file, err = files.OpenFile(t.losses, os.O_CREATE|os.O_APPEND|os.O_WRONLY|files.NoWait, 0o644); err != nil {
			return nil, fmt.Errorf("--losses: %w", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
	}
	b := c.bar()
	defer b.finish()
	var lost error
	l, err = do(func(s prune.Status) {
		if s.Training == nil {
			b.set(s.Stage, s.Done, s.Total)
			return
		}
		b.train(s.Training)
		if file != nil && s.Training.Record != nil && lost == nil {
			lost = json.NewEncoder(file).Encode(s.Training.Record)
		}
	})
	if err == nil && lost != nil {
		err = fmt.Errorf("--losses: %w", lost)
	}
	return l, err
}

// distillingFlags are the flags of pruning that distills.
type distillingFlags struct {
	*trainingFlags
	schedule string
	text     []string
	window   int
}

// check refuses flags of training where nothing is trained.
func (h *distillingFlags) check() error {
	if h.schedule != "" {
		if !slices.Contains(prune.Schedules, h.schedule) {
			return usagef("--heal %q: expected %s", h.schedule, strings.Join(prune.Schedules, ", "))
		}
		return nil
	}
	for _, name := range append([]string{"heal-text", "heal-window"}, trainingFlagNames()...) {
		if h.f.Changed(name) {
			return usagef("--%s has no meaning without --heal", name)
		}
	}
	return nil
}

// load reads the corpus to train on, which is that of the calibration unless flags say otherwise; nil where nothing is trained.
func (h *distillingFlags) load(ctx context.Context, in *corpusFlags, m *model.Model) (*prune.DistillOptions, error) {
	if h.schedule == "" {
		return nil, nil
	}
	own := *in
	own.samples, own.docs = 0, 0
	if len(h.text) > 0 {
		own.text, own.tokens, own.protocol = h.text, "", ""
	}
	if h.window > 0 {
		own.window = h.window
	}
	o, err := h.trainingFlags.load(ctx, &own, m, h.schedule != prune.DistillWhole)
	o.Schedule = h.schedule
	return &o, err
}

func distillFlags(f *pflag.FlagSet) func(context.Context, []string) error {
	var to prune.Output
	kind := typeFlag(f)
	var planOnly bool
	var groups, part string
	in := corpusFlagsOf(f, 1, "as many as the training wants")
	f.StringVar(&part, "shard", "", "train part I of N of the layers, from 0 on, for distill merge to join: I/N; "+autoShard)
	f.StringVar(&groups, "map", "", "the student's layers and the teacher's that each stands for, as in 3=4-5,7=9-11; none: with --end-to-end, train no layer by itself before (default as the student's "+model.Lineage+" says)")
	t := newTrainingFlags(f)
	f.BoolVar(&planOnly, "plan-only", false, "say what the run would do and take, and write nothing")
	runFlags(f, &to)
	page := reportFlag(f, false)
	c := commonFlags(f)
	c.hostFlags(f)
	return func(ctx context.Context, args []string) (err error) {
		if len(args) < 3 && !planOnly {
			return usagef("distill: expected the names of the teacher, the student and the folder to write (vkcome distill TEACHER STUDENT OUT)")
		}
		if to.AnyDevice && !to.Resume {
			return usagef("--any-device has no meaning without --resume")
		}
		var o prune.DistillationOptions
		if groups != "" {
			if o.Groups, err = distill.ParseMap(groups); err != nil {
				return usagef("%w", err)
			}
		}
		if part != "" {
			o.Part = &prune.Part{}
			if o.Part.Index, o.Part.Of, err = shard(part, os.Getenv); err != nil {
				return err
			}
			if to.Resume {
				to.Patience = lockPatience
			}
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
			to.Dir, to.Type, to.Note, to.Saving = args[2], *kind, c.noteLine, watching.saves
		}
		return c.withModel(ctx, args[0], func(teacher *model.Model) error {
			return c.withModel(ctx, args[1], func(student *model.Model) (err error) {
				if o.Distill, err = t.load(ctx, in, teacher, groups != distill.NoGroups); err != nil {
					return err
				}
				p, err := prune.NewDistillation(teacher, student, o)
				if err != nil {
					return err
				}
				return c.compute(func(d *vk.Device) error {
					if planOnly {
						return printDistillation(c, d, p)
					}
					if err := runDistillation(ctx, c, d, p, t, to, in); err != nil {
						return err
					}
					return page.writeOutput(c, d.Memory().Peak, o.Memory, to.Dir)
				})
			})
		})
	}
}

func distillMergeFlags(f *pflag.FlagSet) func(context.Context, []string) error {
	var to prune.Output
	kind := typeFlag(f)
	f.BoolVar(&to.Force, "force", false, "replace OUT if vkcome wrote it")
	c := commonFlags(f)
	return func(ctx context.Context, args []string) error {
		to.Dir, to.Type, to.Note = args[0], *kind, c.noteLine
		return c.withModels(ctx, args[1:], func(parts []*model.Model) error {
			return c.compute(func(d *vk.Device) error {
				b := c.bar()
				lineage, err := prune.MergeParts(ctx, d, parts, to, func(s prune.Status) { b.set(s.Stage, s.Done, s.Total) })
				b.finish()
				if err != nil {
					return err
				}
				if c.json {
					return printJSON(lineage)
				}
				printStages(lineage.Distill)
				fmt.Fprintln(stdout, to.Dir)
				return nil
			})
		})
	}
}

// withModels opens models and calls f with them.
func (c *common) withModels(ctx context.Context, names []string, f func(list []*model.Model) error) error {
	if len(names) == 0 {
		return f(nil)
	}
	return c.withModel(ctx, names[0], func(m *model.Model) error {
		return c.withModels(ctx, names[1:], func(list []*model.Model) error { return f(append([]*model.Model{m}, list...)) })
	})
}

// printDistillation says what a run would do and take.
func printDistillation(c *common, d *vk.Device, p *prune.Distillation) error {
	o, memory, err := p.Plan(d)
	if err != nil {
		return err
	}
	windows := p.Options.Distill.Windows
	if c.json {
		return printJSON(struct {
			Layers  []distill.Group `json:"layers"`
			Options distill.Options `json:"options"`
			Windows int             `json:"windows"`
			Window  int             `json:"window"`
			Device  train.Memory    `json:"device_bytes"`
			Peak    int64           `json:"device_bytes_peak"`
		}{p.Groups, o, len(windows), len(windows[0]), memory, memory.Peak()})
	}
	fmt.Fprintf(stdout, "%s learns from %s on %s (%s)\n", p.Student.Name, p.Teacher.Name, d.Info.Name, d.Tier)
	for _, g := range p.Groups {
		fmt.Fprintf(stdout, "layer %d stands for %d to %d\n", g.Layer, g.First, g.Last)
	}
	fmt.Fprintf(stdout, "%s, %s input: %d tokens for each layer, in steps of %d windows of %d tokens, %d on the device at a time; %d windows held out\n", o.Objective, o.Input,
		o.Tokens, o.Batch, len(windows[0]), o.MicroBatch, o.HeldOut)
	fmt.Fprintf(stdout, "learning rate: %.3g to %.3g\n", o.LR, o.FinalLR)
	if o.EndToEnd > 0 {
		fmt.Fprintf(stdout, "then all weights: %d steps, learning rate %.3g\n", o.EndToEnd, o.EndLR)
	}
	fmt.Fprintf(stdout, "device memory: %s at most (%s while states are computed, %s while a layer is trained", vk.Bytes(memory.Peak()), vk.Bytes(memory.Forward), vk.Bytes(memory.Layer))
	if memory.Whole > 0 {
		fmt.Fprintf(stdout, ", %s while all weights are", vk.Bytes(memory.Whole))
	}
	fmt.Fprintln(stdout, ")")
	if memory.Streamed {
		fmt.Fprintf(stdout, "all weights are trained layer by layer: %s of host memory, or files, hold weights, moments and gradients\n", vk.Bytes(memory.Host))
	}
	return nil
}

func runDistillation(ctx context.Context, c *common, d *vk.Device, p *prune.Distillation, t *trainingFlags, to prune.Output, in *corpusFlags) error {
	c.note("%s: healing %d layers on %s (%s)", p.Student.Name, len(p.Groups), d.Info.Name, d.Tier)
	begin := time.Now()
	lineage, err := t.run(c, func(progress func(prune.Status)) (*prune.Lineage, error) { return p.RunTo(ctx, d, to, progress) })
	c.tellHost(p.Options.Memory)
	if err != nil {
		return err
	}
	if c.json {
		c.note("%s", time.Since(begin).Round(100*time.Millisecond))
		return printJSON(lineage)
	}
	printStages(lineage.Distill)
	c.summarize(summary{from: p.Student, layers: len(p.Student.Layers), out: to.Dir, begin: begin, known: fitted(lineage), in: in})
	return nil
}

// printStages tells of training, a line for each stage.
func printStages(h *prune.DistillRecord) {
	if h == nil {
		return
	}
	for _, s := range h.Stages {
		name, loss := "all weights", "kl of logits"
		if s.Group != nil {
			name, loss = fmt.Sprintf("layer %d for %d to %d", s.Group.Layer, s.Group.First, s.Group.Last), string(h.Options.Objective)
		}
		fmt.Fprintf(stdout, "%s: held-out %s %.4g → %.4g, %d of %d steps, the best after %d (%s)", name, loss, s.Before, s.After, s.Done, s.Steps, s.Best, s.Ended)
		if s.Skipped > 0 {
			fmt.Fprintf(stdout, ", %d skipped", s.Skipped)
		}
		fmt.Fprintln(stdout)
	}
}
