// Command vkcome makes language models smaller by merging their layers, on any GPU that speaks Vulkan.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/cmd/vkcome/internal/addresses"
	"github.com/vkcome/vkcome/cmd/vkcome/internal/shells"
	"github.com/vkcome/vkcome/prune"
)

// verb is one thing that vkcome does: one file of this folder.
type verb struct {
	name    string // as typed: "prune", "eval ppl"
	args    string // as the help shows them: "MODEL OUT"; "[MODEL]" may be left out, "REPORT..." repeated, "[MODEL...]" both
	short   string
	example string
	// flags declares the verb's flags and returns what carries it out.
	flags func(f *pflag.FlagSet) func(ctx context.Context, args []string) error
}

var verbs = []verb{devicesVerb, inspectVerb, autoVerb, pruneVerb, refitVerb, distillMergeVerb, distillVerb, convertVerb, cardVerb, compareVerb, statsMergeVerb, statsVerb, pplVerb, tasksVerb, tasksCompareVerb, kldVerb, logitsVerb, generateVerb, tokenizeVerb, benchCompareVerb, benchVerb, reportVerb, tuneVerb, demoVerb, uiVerb, versionVerb}

// usageError is a command line that makes no sense: exit code 2.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	listenToPipes()
	screen.json = logsJSON(os.Args[1:])
	ctx := watching.start()
	standard.failed = watching.cancel // nobody can be told what the rest comes to
	err := execute(ctx, os.Args[1:])
	lost := standard.finish()
	close(watching.ended)
	interrupted := watching.heard.Load() && errors.Is(err, context.Canceled)
	switch {
	case interrupted:
		word := "interrupted"
		if left := (*prune.Unfinished)(nil); errors.As(err, &left) {
			word += "; " + left.Advice()
		}
		complain(word)
		os.Exit(interruptedCode)
	case unread(lost) && (err == nil || errors.Is(err, lost) || errors.Is(err, context.Canceled)):
		endOfPipe()
	case lost != nil && (err == nil || errors.Is(err, context.Canceled)):
		err = lost
	case err == nil:
		return
	}
	complain(err.Error())
	if errors.As(err, new(usageError)) {
		os.Exit(2)
	}
	os.Exit(1)
}

func execute(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		overview(stdout)
		return nil
	}
	switch args[0] {
	case "--version":
		args = append([]string{"version", "--no-devices"}, args[1:]...)
	case completeWord:
		return completeLine(args[1:])
	}
	if v, rest := verbOf(args); v != nil {
		f := pflag.NewFlagSet(v.name, pflag.ContinueOnError)
		f.SetOutput(io.Discard)
		f.SortFlags = false
		action := v.flags(f)
		help := f.BoolP("help", "h", false, "show this help")
		resumes.Store(f.Lookup("resume") != nil && f.Lookup("work") != nil)
		if err := f.Parse(rest); err != nil {
			return usagef("%s: %w (vkcome %s --help lists the flags)", v.name, err, v.name)
		}
		if *help {
			fmt.Fprintf(stdout, "%s\n\nUsage:\n  vkcome %s %s [flags]\n\nExample:\n  %s\n\nFlags:\n%s", v.short, v.name, v.args, v.example, f.FlagUsages())
			return nil
		}
		if least, most := v.arity(); f.NArg() < least || f.NArg() > most {
			return usagef("%s: expected %d arguments (vkcome %s %s), got %d", v.name, least, v.name, v.args, f.NArg())
		}
		if f.Lookup("device") != nil { // before anything else takes of them
			if err := addresses.CheckDevice(); err != nil {
				return err
			}
		}
		return action(ctx, f.Args())
	}
	return usagef("unknown command %q; vkcome --help lists them", strings.Join(args[:min(2, len(args))], " "))
}

// arity is how many arguments the verb takes.
func (v verb) arity() (least, most int) {
	for _, word := range strings.Fields(v.args) {
		switch most++; {
		case strings.HasSuffix(word, "..."):
			least, most = least+1, math.MaxInt
		case strings.HasSuffix(word, "...]"):
			most = math.MaxInt
		case !strings.HasPrefix(word, "["):
			least++
		}
	}
	return least, most
}

// about says what vkcome is, behind its name.
const about = "makes language models smaller by merging their layers, on any GPU that speaks Vulkan"

// modelMeans says what may stand for MODEL.
const modelMeans = "MODEL is a Hugging Face folder, a GGUF file, a name on the Hugging Face hub (owner/name), or embedded:tiny12 for the small model inside this binary."

func overview(w io.Writer) {
	fmt.Fprintf(w, "vkcome %s.\n", about)
	fmt.Fprintln(w, "\nCommands:")
	for _, v := range verbs {
		fmt.Fprintf(w, "  %-28s %s\n", strings.TrimSpace(v.name+" "+v.args), v.short)
	}
	fmt.Fprintln(w, "\n"+modelMeans)
	fmt.Fprintf(w, "vkcome COMMAND --help shows an example and the flags; vkcome completion %s prints what completes them.\n", strings.Join(shells.Names(), "|"))
}
