package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/eval/task"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/tokenizer"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/report"
	"github.com/vkcome/vkcome/vk"
)

var tasksVerb = verb{
	name: "eval tasks", args: "[MODEL...]", short: "accuracy on lm-eval's tasks, of one model or of several side by side",
	example: "vkcome eval tasks ~/models/Llama-2-7b-hf ~/models/llama-2-come-24 --tasks come7,wikitext --output results --log-samples",
	flags:   tasksFlags,
}

// taskRun are the flags of eval tasks.
type taskRun struct {
	*common
	o          eval.TaskOptions
	tasks      []*task.Task
	groups     []*task.Group
	output     string
	logSamples bool
	template   string // anyTemplate, or see openTemplate
	page       *reporting
}

func tasksFlags(f *pflag.FlagSet) func(context.Context, []string) error {
	var names []string
	var samples, baseline string
	var list, noCache bool
	var seed int64
	var bootstrap int
	r := &taskRun{}
	f.StringSliceVar(&names, "tasks", nil, "tasks and groups of tasks to run (see --list); all is come7, mmlu, lambada_openai and wikitext")
	f.BoolVar(&list, "list", false, "list the tasks and groups that there are")
	f.IntVar(&r.o.Shots, "num-fewshot", 0, "examples before each question")
	f.Float64Var(&r.o.Limit, "limit", 0, "documents of each task; below 1 a part of them (default all)")
	f.StringVar(&samples, "samples", "", `documents by their index instead, as JSON or a file of it: {"arc_easy":[0,3]}`)
	f.StringVar(&r.o.Source.Dir, "data", "", "folder with data sets as DIR/OWNER/NAME/[CONFIG/]SPLIT.parquet or .jsonl (default the Hugging Face cache and hub)")
	f.IntVar(&r.o.Batch, "batch-size", 0, "questions that go through a layer together; no result depends on it (default as many as are fast)")
	f.StringVarP(&r.output, "output", "o", "", "file NAME.json for the results, or folder that gets MODEL/results_DATE.json; nothing is overwritten")
	f.BoolVar(&r.logSamples, "log-samples", false, "write samples_TASK_DATE.jsonl beside the results: what the model answered to each document")
	f.StringVar(&baseline, "baseline", "", "model, or file of results, that the retained fraction is measured by")
	f.StringVar(&r.o.Cache, "cache", eval.DefaultCache(), "folder where scores are kept, so that a run that was ended goes on")
	f.BoolVar(&noCache, "no-cache", false, "keep no scores and use none that were kept")
	f.Int64Var(&seed, "seed", eval.DefaultSeed, "seed by which examples are drawn")
	f.IntVar(&bootstrap, "bootstrap-iters", eval.DefaultBootstrap, "resamples for the standard error of a perplexity; 0 computes no standard errors")
	f.StringVar(&r.template, "apply-chat-template", "", "ask in the model's chat template; =NAME (or a file) chooses one where there are several")
	f.Lookup("apply-chat-template").NoOptDefVal = anyTemplate
	f.StringVar(&r.o.System, "system-instruction", "", "text before each task's own description, with a chat template the system turn")
	f.BoolVar(&r.o.Multiturn, "fewshot-as-multiturn", false, "with a chat template: few-shot examples are turns (default true; =false puts them into the question's)")
	r.page = reportFlag(f, true)
	r.common = commonFlags(f)
	r.hostFlags(f)
	return func(ctx context.Context, args []string) (err error) {
		if list {
			return listTasks(r.json)
		}
		switch {
		case len(args) == 0:
			return usagef("eval tasks: expected a model (vkcome eval tasks MODEL --tasks NAMES), or --list")
		case len(names) == 0:
			return usagef("eval tasks: give --tasks NAMES (vkcome eval tasks --list lists them)")
		case slices.ContainsFunc(names, func(name string) bool { return strings.TrimSpace(name) == "" }):
			return usagef("--tasks %s: an empty name", strings.Join(names, ","))
		case r.o.Batch < 0:
			return usagef("--batch-size %d: expected 0 or more", r.o.Batch)
		case bootstrap < 0:
			return usagef("--bootstrap-iters %d: expected 0 or more", bootstrap)
		case r.o.Shots < 0:
			return usagef("--num-fewshot %d: expected 0 or more", r.o.Shots)
		case r.o.Limit < 0 || math.IsNaN(r.o.Limit):
			return usagef("--limit %v: expected 0 or more", r.o.Limit)
		case r.o.Multiturn && r.template == "":
			return usagef("--fewshot-as-multiturn: give --apply-chat-template too")
		case r.logSamples && r.output == "":
			return usagef("--log-samples: give --output DIR or FILE.json, beside which samples are written")
		case strings.HasSuffix(r.output, ".json") && len(args) > 1:
			return usagef("--output %s: the results of %d models do not go into one file; name a folder", r.output, len(args))
		}
		if r.template != "" && !f.Changed("fewshot-as-multiturn") {
			r.o.Multiturn = true
		}
		if r.output != "" {
			if err := eval.CheckOutput(r.output); err != nil {
				return err
			}
		}
		if err := r.page.check(); err != nil {
			return err
		}
		if r.tasks, r.groups, err = findTasks(names); err != nil {
			return err
		}
		if r.o.Samples, err = readSamples(samples); err != nil {
			return err
		}
		for _, g := range task.Groups() {
			if _, ok := r.o.Samples[g.Name]; ok {
				return usagef("--samples: %s is a group; name tasks that are in it", g.Name)
			}
		}
		if r.o.Host, err = r.host(); err != nil {
			return err
		}
		if noCache {
			r.o.Cache = ""
		}
		r.o.Seed, r.o.Bootstrap, r.o.Version = &seed, &bootstrap, prune.Version
		return r.run(ctx, args, baseline)
	}
}

// run evaluates the models, and the baseline before them if it is a model. What was computed is printed also if something fails after it.
func (r *taskRun) run(ctx context.Context, models []string, baseline string) error {
	var all []*eval.Results
	if baseline != "" {
		if info, err := os.Stat(baseline); err == nil && !info.IsDir() {
			read, err := eval.ReadResults(baseline)
			if err != nil {
				return err
			}
			if err := read.CheckBaseline(r.tasks, r.o); err != nil {
				return fmt.Errorf("--baseline %s: %w", baseline, err)
			}
			all = append(all, read)
		} else {
			if err != nil && filepath.Ext(baseline) == ".json" {
				return fmt.Errorf("--baseline %s: neither a model nor a file of results", baseline)
			}
			models = append([]string{baseline}, models...)
		}
	}
	for _, name := range models { // what is not there is known before the first is scored
		if err := r.withModel(ctx, name, func(m *model.Model) error {
			_, err := tokenizer.LoadFS(m.Name, m.Files)
			return err
		}); err != nil {
			return err
		}
	}
	if err := r.probe(); err != nil {
		return err
	}
	var unsaved error
	read := len(all)
	device := int64(0)
	err := r.compute(func(d *vk.Device) error {
		defer func() { device = d.Memory().Peak }()
		for i, name := range models {
			output := r.output
			if strings.HasSuffix(output, ".json") && i < len(models)-1 {
				output = "" // of the baseline
			}
			results, err := r.evaluate(ctx, d, name)
			if err != nil {
				return err
			}
			all = append(all, results)
			if output == "" {
				continue
			}
			var file string
			if err := watching.save(func() (err error) { file, err = results.Save(output, r.logSamples); return err }); err != nil {
				unsaved = errors.Join(unsaved, err)
			} else {
				r.note("%s: results are in %s", results.ModelName, file)
			}
		}
		return nil
	})
	if err := errors.Join(r.print(ctx, all, read), err, unsaved); err != nil || r.page.to.Path == "" {
		return err
	}
	side, err := eval.NewSide(ctx, all)
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	return r.page.write(r.common, device, r.o.Host, report.Page{Accuracy: []report.Accuracy{{Results: all, Side: side}}})
}

// probe tries the folders of the results and of the cache, which it makes, before hours are spent.
func (r *taskRun) probe() error {
	output := r.output
	if strings.HasSuffix(output, ".json") {
		output = filepath.Dir(output)
	}
	for _, f := range []struct{ flag, dir string }{{"--output", output}, {"--cache", r.o.Cache}} {
		if f.dir == "" {
			continue
		}
		err := os.MkdirAll(f.dir, 0o755)
		if err == nil {
			var file *os.File
			if file, err = os.CreateTemp(f.dir, ".probe-"); err == nil {
				err = errors.Join(file.Close(), os.Remove(file.Name()))
			}
		}
		if err != nil && f.flag == "--cache" {
			return fmt.Errorf("--cache: %w; --no-cache does without", err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.flag, err)
		}
	}
	return nil
}

// print prints results, of which the first are read ones: one model's own tables, or several models side by side.
func (r *taskRun) print(ctx context.Context, all []*eval.Results, read int) (err error) {
	if len(all) == read {
		return nil
	}
	var side *eval.Side
	if len(all) > 1 {
		if side, err = eval.NewSide(ctx, all); err == nil && len(side.Left) > 0 {
			r.noteLeft(side.Left)
		}
	}
	switch {
	case r.json && len(all) == 1:
		return printJSON(all[0])
	case r.json && side == nil:
		return errors.Join(printJSON(map[string]any{"models": all}), err)
	case r.json:
		return printJSON(map[string]any{"models": all, "side_by_side": side})
	case side != nil:
		fmt.Fprint(stdout, side.Table())
		return nil
	}
	for i, results := range all[read:] {
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		fmt.Fprint(stdout, results.Table())
		if groups := results.GroupTable(); groups != "" {
			fmt.Fprint(stdout, "\n"+groups)
		}
	}
	return err
}

// noteLeft says what a comparison leaves out.
func (c *common) noteLeft(names []string) {
	c.note("left out, as not all results have them: %s", strings.Join(names, ", "))
}

// evaluate runs the tasks on a model.
func (r *taskRun) evaluate(ctx context.Context, d *vk.Device, name string) (results *eval.Results, err error) {
	err = r.withModel(ctx, name, func(m *model.Model) error {
		b := r.bar()
		r.o.Source.Hub = r.hub(b)
		r.o.Progress = func(stage string, done, total int) { b.set(m.Name+": "+stage, done, total) }
		if r.template != "" {
			t, err := m.Tokenizer()
			if err != nil {
				return err
			}
			if r.o.Chat, err = chatTemplate(m, t, r.template); err != nil {
				return err
			}
		}
		results, err = eval.RunTasks(ctx, d, m, r.tasks, r.groups, r.o)
		b.finish()
		r.tellHost(r.o.Host)
		if err != nil {
			return err
		}
		s := results.Run.Speed
		if s.Sequences > 0 {
			r.note("%s: scored %d sequences in %.1f s, %.0f tokens a second; sharing saved %.1f %% of the rows, padding is %.1f %%", m.Name, s.Sequences, s.Seconds, s.ScoredPerSecond,
				100*s.Shared, 100*s.Padded)
		}
		if results.Run.CacheError != "" {
			r.note("%s: not all scores were kept: %s", m.Name, results.Run.CacheError)
		}
		if s.Cached > 0 {
			r.note("%s: %d sequences were scored by earlier runs", m.Name, s.Cached)
		}
		return nil
	})
	return results, err
}

// allTasks is what --tasks all means.
var allTasks = []string{"come7", "lambada_openai", "mmlu", "wikitext"}

func findTasks(names []string) ([]*task.Task, []*task.Group, error) {
	var list []string
	for _, name := range names {
		if name = strings.TrimSpace(name); name == "all" {
			list = append(list, allTasks...)
		} else {
			list = append(list, name)
		}
	}
	tasks, groups, err := task.Find(list)
	if err != nil {
		return nil, nil, usagef("--tasks: %w", err)
	}
	return tasks, groups, nil
}

const maxSamples = 16 << 20 // bytes of a list of documents; a task has at most some 100,000

// readSamples reads documents by task from JSON, or a file of it.
func readSamples(text string) (samples map[string][]int, err error) {
	if text == "" {
		return nil, nil
	}
	raw := []byte(text)
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		if raw, err = files.Read(text, maxSamples); errors.Is(err, fs.ErrNotExist) {
			return nil, usagef(`--samples %q: neither a file nor JSON such as {"arc_easy":[0,3]}`, text)
		} else if err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(raw, &samples); err != nil || len(samples) == 0 {
		return nil, usagef(`--samples: expected JSON such as {"arc_easy":[0,3]}`)
	}
	return samples, nil
}

// listTasks prints what there is.
func listTasks(asJSON bool) error {
	if asJSON {
		return printJSON(eval.List())
	}
	fmt.Fprint(stdout, eval.ListTable())
	return nil
}

var tasksCompareVerb = verb{
	name: "eval compare", args: "A.json B.json", short: "how the results of two models differ, and whether that may be chance",
	example: "vkcome eval compare results/dense/results_*.json results/come-24/results_*.json",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		c := outputFlags(f)
		return func(ctx context.Context, args []string) error {
			result, err := eval.Compare(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			if len(result.Left) > 0 {
				c.noteLeft(result.Left)
			}
			if c.json {
				return printJSON(result)
			}
			fmt.Fprint(stdout, result.Table())
			return nil
		}
	},
}
