package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/report"
	"github.com/vkcome/vkcome/vk"
)

var reportVerb = verb{
	name: "report", args: "OUT...", short: "a page for people of what outputs and results hold: layers, plots, tables, in one HTML file",
	example: "vkcome report Llama-2-7b-come22 results/*/results_*.json -o report.html",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		var to report.File
		f.StringVarP(&to.Path, "output", "o", "", "FILE.html to write")
		f.BoolVar(&to.Force, "force", false, "replace it if it is a report of vkcome")
		c := outputFlags(f)
		return func(ctx context.Context, args []string) error {
			if to.Path == "" {
				return usagef("report: give the file to write (-o FILE.html)")
			}
			if err := to.Check(); err != nil {
				return err
			}
			page, err := report.Read(ctx, args)
			if err != nil {
				return err
			}
			for _, o := range page.Outputs {
				page.Runs = append(page.Runs, runsOf(o.Lineage)...)
			}
			size, err := to.Write(*page)
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(map[string]any{"file": to.Path, "bytes": size})
			}
			fmt.Fprintf(stdout, "%s: %s\n", to.Path, vk.Bytes(int64(size)))
			return nil
		}
	},
}

// reporting is --report of a run: the page that tells of it.
type reporting struct {
	to    report.File
	begin time.Time
}

// reportFlag declares --report; with force, where the verb has no --force of its own, that too.
func reportFlag(f *pflag.FlagSet, force bool) *reporting {
	r := &reporting{begin: time.Now()}
	f.StringVar(&r.to.Path, "report", "", "also write FILE.html, a page for people: plots, tables, and the command")
	if force {
		f.BoolVar(&r.to.Force, "force", false, "replace the file of --report if it is a report of vkcome")
	}
	return r
}

// check refuses a file that could not be written in the end.
func (r *reporting) check() error {
	if r.to.Path == "" {
		return nil
	}
	if err := r.to.Check(); err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	return nil
}

// write writes a page, if one is wanted, with the command and what it took: bytes of the device's memory, and of the host's where they were
// counted.
func (r *reporting) write(c *common, device int64, host *states.HostMemory, p report.Page) error {
	if r.to.Path == "" {
		return nil
	}
	run := report.Run{Command: commandLine(os.Args[1:]), Seconds: time.Since(r.begin).Seconds(), Device: device, Host: host.Stats().Peak}
	p.Runs = append([]report.Run{run}, p.Runs...)
	size, err := r.to.Write(p)
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	c.note("%s: %s", r.to.Path, vk.Bytes(int64(size)))
	return nil
}

// writeOutput is write of a model that was written.
func (r *reporting) writeOutput(c *common, device int64, host *states.HostMemory, out string) error {
	if r.to.Path == "" {
		return nil
	}
	o, err := report.ReadOutput(out)
	if err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	if err := r.write(c, device, host, report.Page{Outputs: []report.Output{*o}}); err != nil {
		return fmt.Errorf("%w; %s is complete: vkcome report %s -o FILE makes the page", err, out, out)
	}
	return nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// commandLine is a command as a shell takes it.
func commandLine(args []string) string {
	words := []string{"vkcome"}
	for _, a := range args {
		if !plainWord.MatchString(a) {
			a = quotedWord(a)
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// runsOf are the commands that do what a lineage records, and what was before it, as far as that is known.
func runsOf(l *prune.Lineage) (runs []report.Run) {
	commands, corpora := l.Commands("MODEL")
	for _, c := range commands {
		runs = append(runs, report.Run{Command: c})
	}
	if n := len(runs); n > 0 {
		runs[n-1].Note = "From the lineage, which has no names of models and no paths of texts."
		for _, c := range corpora {
			runs[n-1].Note += " " + strings.TrimPrefix(c, "# ") + "."
		}
	}
	return runs
}
