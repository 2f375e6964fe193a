package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/prune"
)

// manVerb is a function, as what it makes lists it too.
func manVerb() verb {
	return verb{
		name: "man", args: "DIR", short: "write the manual pages into a folder, one for each command",
		example: "vkcome man ~/.local/share/man/man1",
		flags: func(*pflag.FlagSet) func(context.Context, []string) error {
			return func(_ context.Context, args []string) error {
				if err := files.MkdirAll(args[0], 0o755); err != nil {
					return err
				}
				date := ""
				if at, err := time.Parse(time.RFC3339, readBuilt().Time); err == nil {
					date = at.UTC().Format(time.DateOnly)
				}
				for _, p := range manPages(date) {
					if err := files.WriteFile(filepath.Join(args[0], p.name+".1"), []byte(p.text), 0o644); err != nil {
						return err
					}
				}
				return nil
			}
		},
	}
}

// manPage is a page of section 1, in the macros of man(7).
type manPage struct{ name, text string }

// pageName is that of a verb's page.
func (v verb) pageName() string { return "vkcome-" + strings.ReplaceAll(v.name, " ", "-") }

// manPages makes the page of vkcome and one of each verb. date is that of the release, and empty where it is not known.
func manPages(date string) []manPage {
	list := []manPage{{"vkcome", overviewPage(date)}}
	for _, v := range allVerbs() {
		list = append(list, manPage{v.pageName(), verbPage(v, date)})
	}
	return list
}

const exitStatus = "0 after success, 1 after an error, 2 for a command line that makes no sense, 130 after an interruption."

func overviewPage(date string) string {
	var r roff
	r.head("vkcome", date, about)
	r.macro(".SH SYNOPSIS\n.B vkcome\n.I COMMAND\n[\\fIARGUMENT\\fR]... [\\fIFLAG\\fR]...")
	r.section("DESCRIPTION")
	r.text("vkcome finds adjacent layers of a language model that change the hidden state least, keeps the most useful attention heads and feed-forward neurons of each, and combines them into one layer of the ordinary shape. The result is a model with fewer layers that any program loads.")
	r.macro(".PP")
	r.text(modelMeans + " Data goes to stdout, progress to stderr. Each command has --help with an example and its flags.")
	r.section("COMMANDS")
	for _, v := range allVerbs() {
		r.macro(".TP\n.B " + escapeRoff(v.name) + "\n" + escapeRoff(sentence(v.short)) + "\nSee \\fB" + escapeRoff(v.pageName()) + "\\fR(1).")
	}
	r.section("EXIT STATUS")
	r.text(exitStatus)
	return r.String()
}

func verbPage(v verb, date string) string {
	f := pflag.NewFlagSet(v.name, pflag.ContinueOnError)
	f.SortFlags = false
	v.flags(f)
	f.BoolP("help", "h", false, "show this help")
	var r roff
	r.head(v.pageName(), date, v.short)
	r.section("SYNOPSIS")
	r.macro(".B vkcome " + escapeRoff(v.name))
	if v.args != "" {
		r.macro(".I " + escapeRoff(v.args))
	}
	r.macro("[\\fIFLAG\\fR]...")
	r.section("DESCRIPTION")
	r.text(sentence(v.short))
	if strings.Contains(v.args, "MODEL") {
		r.text(modelMeans)
	}
	r.section("OPTIONS")
	f.VisitAll(func(flag *pflag.Flag) {
		spelling, usage := flagHelp(flag)
		r.macro(".TP\n.B " + escapeRoff(spelling))
		r.text(usage)
	})
	r.section("EXAMPLE")
	r.macro(".nf\n" + escapeRoff(v.example) + "\n.fi")
	r.section("EXIT STATUS")
	r.text(exitStatus)
	r.macro(".SH SEE ALSO\n\\fBvkcome\\fR(1)")
	return r.String()
}

// flagHelp splits the line that --help has of a flag: how it is typed, and what it means with its default.
func flagHelp(flag *pflag.Flag) (spelling, usage string) {
	alone := pflag.NewFlagSet("", pflag.ContinueOnError)
	alone.AddFlag(flag)
	line := strings.TrimSpace(alone.FlagUsages())
	spelling, usage, _ = strings.Cut(line, "   ")
	if dir, err := os.UserCacheDir(); err == nil { // a page is for every machine
		usage = strings.ReplaceAll(usage, dir, "~/.cache")
	}
	return strings.TrimSuffix(spelling, "[=true|false]"), strings.TrimSpace(usage)
}

// sentence is a text with a capital and a full stop.
func sentence(text string) string {
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

// roff collects a page.
type roff struct{ strings.Builder }

// macro writes lines of macros, and of text that is escaped already.
func (r *roff) macro(lines string) { r.WriteString(lines + "\n") }

func (r *roff) section(name string) { r.macro(".SH " + name) }

// text writes text, a sentence a line as roff wants it.
func (r *roff) text(text string) {
	r.macro(strings.ReplaceAll(escapeRoff(text), ". ", ".\n"))
}

func (r *roff) head(name, date, short string) {
	r.macro(fmt.Sprintf(".TH %s 1 %q %q %q", strings.ToUpper(name), cmp.Or(date, " "), "vkcome "+prune.Version, "vkcome manual"))
	r.macro(".ad l") // names of flags and files leave little to stretch
	r.section("NAME")
	r.macro(escapeRoff(name) + ` \- ` + escapeRoff(short))
}

// escapeRoff has a text mean itself: no line of it is a macro, and what is typed keeps its ASCII.
func escapeRoff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(strings.ReplaceAll(text, "\n", " "))
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}
