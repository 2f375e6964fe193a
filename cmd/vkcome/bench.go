package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/bench"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/report"
	"github.com/vkcome/vkcome/vk"
)

var benchVerb = verb{
	name: "bench", args: "[MODEL]", short: "measure a device, and a model on it",
	example: "vkcome bench --synthetic llama-2-7b --share my-gpu.json",
	flags:   benchFlags,
}

var benchCompareVerb = verb{
	name: "bench compare", args: "REPORT...", short: "reports of bench and of llama-bench side by side, or a folder of them",
	example: "vkcome bench compare radeon.json arc.json reports/",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		format := f.StringP("output", "o", "md", strings.Join(bench.ComparedFormats, ", "))
		asJSON := f.Bool("json", false, "the same as -o json")
		page := reportFlag(f, true)
		view := f.String("view", "", "results: every result, with the ratio to the first report; devices: what each device can do, and its models (default results of up to 4 reports, devices of more)")
		return func(_ context.Context, paths []string) error {
			if *asJSON {
				*format = "json"
			}
			switch {
			case *view != "" && *view != "results" && *view != "devices":
				return usagef("--view %q: expected results or devices", *view)
			case !slices.Contains(bench.ComparedFormats, *format):
				return usagef("-o %q: expected one of %s", *format, strings.Join(bench.ComparedFormats, ", "))
			}
			if err := page.check(); err != nil { // before the work
				return err
			}
			reports, err := bench.Read(paths...)
			switch {
			case err != nil:
				return err
			case len(reports) < 2 && *view != "devices":
				return usagef("bench compare: expected two reports or more, got %d (--view devices shows one)", len(reports))
			case *view == "devices" || *view == "" && len(reports) > 4:
				if err := write(*format)(bench.Survey(reports...).Format(*format)); err != nil {
					return err
				}
				return page.write(&common{}, 0, nil, report.Page{Benches: reports})
			}
			c, err := bench.Compare(reports...)
			if err != nil {
				return err
			}
			if err := write(*format)(c.Format(*format)); err != nil {
				return err
			}
			return page.write(&common{}, 0, nil, report.Page{Benches: reports})
		}
	},
}

func benchFlags(f *pflag.FlagSet) func(context.Context, []string) error {
	var o bench.Options
	var to share
	format := f.StringP("output", "o", "md", strings.Join(bench.Formats, ", "))
	synthetic := f.String("synthetic", "", "a model of random weights instead of MODEL: "+strings.Join(model.SyntheticNames(), ", "))
	f.IntVarP(&o.Reps, "repetitions", "r", 5, "repetitions, after one that does not count")
	f.StringSliceVar(&o.Only, "ops", nil, "measure only what has one of these in its name, as in gemm,pp512 (peaks are always measured)")
	f.BoolVar(&o.All, "all", false, "measure also what takes long on this device")
	f.BoolVar(&o.Kernels, "kernels", false, "measure also every kernel that the device has for products and attention, one row each")
	page := reportFlag(f, true)
	f.StringVar(&to.file, "share", "", "write a report to give away to this new file, after showing it: without names, paths, times and identities")
	f.BoolVarP(&to.yes, "yes", "y", false, "with --share: do not ask before it is written")
	c := commonFlags(f)
	return func(ctx context.Context, args []string) error {
		switch {
		case !slices.Contains(bench.Formats, *format):
			return usagef("-o %q: expected one of %s", *format, strings.Join(bench.Formats, ", "))
		case o.Reps < 1:
			return usagef("-r %d: expected 1 or more", o.Reps)
		case len(args) == 1 && *synthetic != "":
			return usagef("give either MODEL or --synthetic")
		case to.yes && to.file == "":
			return usagef("--yes has no meaning without --share")
		}
		if err := to.check(); err != nil { // before the work
			return err
		}
		if err := page.check(); err != nil {
			return err
		}
		if c.json {
			*format = "json"
		}
		run := func(m *model.Model) error {
			return c.compute(func(d *vk.Device) error {
				o := o
				if m != nil {
					o.Model = m
					step, err := mergeStep(d, m)
					if err != nil {
						return err
					}
					o.Extra = append(o.Extra, step)
				}
				b := c.bar()
				measured, err := bench.Run(ctx, d, o, func(name string, done, total int) { b.set("measure", done, total) })
				b.finish()
				if err != nil {
					return err
				}
				measured.Version = prune.Version
				if err := write(*format)(measured.Format(*format)); err != nil {
					return err
				}
				if to.file != "" {
					if err := to.write(ctx, c, measured, m); err != nil {
						return err
					}
				}
				return page.write(c, d.Memory().Peak, nil, report.Page{Benches: []*bench.Report{measured}})
			})
		}
		switch {
		case len(args) == 1:
			return c.withModel(ctx, args[0], run)
		case *synthetic != "":
			m, err := model.Synthetic(*synthetic)
			if err != nil {
				return usageError{err}
			}
			defer m.Close()
			return run(m)
		}
		return run(nil)
	}
}

// mergeStep is a step of CoMe, the scores of a model and its first merge, on random tokens: few, so that a CPU does it in seconds.
func mergeStep(d *vk.Device, m *model.Model) (bench.Case, error) {
	windows, window := 8, min(512, m.Config.MaxPositionEmbeddings)
	if d.Info.Kind == vk.CPU {
		windows, window = 4, min(256, window)
	}
	corpus := make([][]uint32, windows)
	for w := range corpus {
		for t := range window {
			corpus[w] = append(corpus[w], uint32(((w*window+t)*7919+1)%m.Config.VocabSize))
		}
	}
	plan, err := prune.NewPlan(m, prune.Options{TargetLayers: len(m.Layers) - 1, Windows: corpus})
	return bench.Case{Name: fmt.Sprintf("CoMe step, %d windows of %d tokens", windows, window), Unit: "s", Work: 1, Run: func(ctx context.Context) error {
		_, err := plan.Run(ctx, d, nil)
		return err
	}}, err
}

// write writes what was formatted: a Markdown table as text, all else as data.
func write(format string) func(text []byte, err error) error {
	to := data
	if format == "md" {
		to = stdout
	}
	return func(text []byte, err error) error {
		if err == nil {
			_, err = to.Write(text)
		}
		return err
	}
}
