package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/cmd/vkcome/internal/shells"
)

// Completions are made by vkcome itself, which knows its verbs, flags and their values: the scripts of the shells hand it the words of a command
// line and show what it answers. So a script never lags behind the binary, and what is offered is decided, and tested, in one place.

var completionVerb = verb{
	name: "completion", args: "SHELL", short: "print the script by which a shell completes vkcome: " + strings.Join(shells.Names(), ", "),
	example: "vkcome completion bash > ~/.local/share/bash-completion/completions/vkcome",
	flags: func(*pflag.FlagSet) func(context.Context, []string) error {
		return func(_ context.Context, args []string) error {
			script, ok := shells.Script(args[0])
			if !ok {
				return usagef("completion: shell %q: expected one of %s", args[0], strings.Join(shells.Names(), ", "))
			}
			_, err := io.WriteString(stdout, script)
			return err
		}
	},
}

// completeWord is the verb that the scripts call. The words of the command line follow it, the last of them the one that is to be completed, up to
// where the cursor is and behind a colon: an argument that is empty would get lost on its way in some shells.
const completeWord = "__complete"

// completeLine answers a script: on the first line what paths may stand there too (none, files or folders), then a candidate a line, a tab, and
// what it means.
func completeLine(args []string) error {
	if len(args) == 0 || !strings.HasPrefix(args[len(args)-1], ":") {
		return usagef("%s is for the scripts of vkcome completion", completeWord)
	}
	c := complete(args[:len(args)-1], strings.TrimPrefix(args[len(args)-1], ":"))
	fmt.Fprintln(stdout, c.paths)
	for _, w := range c.list {
		fmt.Fprintf(stdout, "%s\t%s\n", w.word, brief(w.means))
	}
	return nil
}

// brief is a text that has room in a line of candidates.
func brief(text string) string {
	const most = 80 // bytes
	text, _, _ = strings.Cut(text, " (default")
	if len(text) <= most {
		return text
	}
	end := most
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..." // in ASCII: a Windows console may show other characters wrongly
}

// paths are those that may stand at a place of a command line.
type paths string

const (
	noPaths paths = "none"
	anyFile paths = "files" // folders too
	folders paths = "folders"
)

// candidate is a word that may stand at the place of one that is unfinished.
type candidate struct{ word, means string }

type candidates struct {
	paths paths
	list  []candidate
}

// add adds a word if the unfinished one begins it.
func (c *candidates) add(current, word, means string) {
	if strings.HasPrefix(word, current) && !slices.ContainsFunc(c.list, func(other candidate) bool { return other.word == word }) {
		c.list = append(c.list, candidate{word, means})
	}
}

// complete finds what may stand in the place of the unfinished word current, after the words of the command line behind "vkcome".
func complete(words []string, current string) candidates {
	c := candidates{paths: noPaths}
	v, rest := verbOf(words)
	c.names(words, current)
	if v == nil {
		if len(words) == 0 {
			c.add(current, "help", "list the commands")
			c.add(current, "--help", "list the commands")
			c.add(current, "--version", "print what this binary was built from")
		}
		return c
	}
	f := pflag.NewFlagSet(v.name, pflag.ContinueOnError)
	f.SortFlags = false
	v.flags(f)
	f.BoolP("help", "h", false, "show this help")
	line := readLine(f, rest)
	switch flag, text, inline := inlineValue(f, current); {
	case line.wants != nil:
		c.values(valuesOf(v, line.wants), current, "")
	case !line.plain && inline:
		c.values(valuesOf(v, flag), text, strings.TrimSuffix(current, text))
	case !line.plain && strings.HasPrefix(current, "-"):
		f.VisitAll(func(flag *pflag.Flag) {
			if _, several := flag.Value.(pflag.SliceValue); several || !line.given[flag.Name] {
				c.add(current, "--"+flag.Name, flag.Usage)
			}
		})
	default:
		c.values(argumentValues(*v, len(line.arguments)), current, "")
	}
	return c
}

// names adds the next words of the names that begin with words.
func (c *candidates) names(words []string, current string) {
	for _, v := range allVerbs() {
		name := strings.Fields(v.name)
		if len(name) <= len(words) || !slices.Equal(name[:len(words)], words) {
			continue
		}
		next, means := name[len(words)], v.short
		if of, rest := verbOf(name[:len(words)+1]); of == nil { // a word before others, as eval
			var list []string
			for _, other := range allVerbs() {
				if after, ok := strings.CutPrefix(other.name, next+" "); ok {
					list = append(list, after)
				}
			}
			means = strings.Join(list, ", ")
		} else if len(rest) == 0 {
			means = of.short
		}
		c.add(current, next, means)
	}
}

// values adds what a value may be. before stands in front of the unfinished value, in the same word.
func (c *candidates) values(v values, current, before string) {
	c.paths = v.paths
	given := []string{}
	if i := strings.LastIndexByte(current, ','); v.list && i >= 0 {
		given = strings.Split(current[:i], ",")
		before, current = before+current[:i+1], current[i+1:]
	}
	for _, word := range v.words {
		if !slices.Contains(given, word) && strings.HasPrefix(word, current) {
			c.add("", before+word, "")
		}
	}
}

// allVerbs are the verbs with those that are for shells.
func allVerbs() []verb { return append(slices.Clone(verbs), completionVerb, manVerb()) }

// verbOf is the verb that words begin with, and the words behind its name; nil is none.
func verbOf(words []string) (*verb, []string) {
	for _, v := range allVerbs() { // in the order in which names that begin others come last
		name := strings.Fields(v.name)
		if len(words) >= len(name) && slices.Equal(words[:len(name)], name) {
			return &v, words[len(name):]
		}
	}
	return nil, nil
}

// typed is what was typed so far of a verb's line.
type typed struct {
	arguments []string
	given     map[string]bool // flags, by their names
	wants     *pflag.Flag     // the last word is this flag, whose value comes next
	plain     bool            // after --: no flags follow
}

func readLine(f *pflag.FlagSet, words []string) typed {
	t := typed{given: map[string]bool{}}
	for _, w := range words {
		var flag *pflag.Flag
		switch {
		case t.wants != nil:
			t.wants = nil
		case t.plain || w == "-" || !strings.HasPrefix(w, "-"):
			t.arguments = append(t.arguments, w)
		case w == "--":
			t.plain = true
		case strings.HasPrefix(w, "--"):
			name, _, inline := strings.Cut(w[2:], "=")
			t.given[name] = true
			if flag = f.Lookup(name); inline {
				flag = nil
			}
		default: // short flags, of which the last may have a value behind it
			flag = f.ShorthandLookup(w[len(w)-1:])
		}
		if flag != nil {
			t.given[flag.Name] = true
			if flag.NoOptDefVal == "" {
				t.wants = flag
			}
		}
	}
	return t
}

// inlineValue finds the flag and the unfinished value in a word such as --method=la.
func inlineValue(f *pflag.FlagSet, word string) (flag *pflag.Flag, value string, is bool) {
	name, value, is := strings.Cut(word, "=")
	if !is || !strings.HasPrefix(name, "--") {
		return nil, "", false
	}
	flag = f.Lookup(name[2:])
	return flag, value, flag != nil
}
