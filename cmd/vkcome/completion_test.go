package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/cmd/vkcome/internal/shells"
	"github.com/vkcome/vkcome/prune/method"
)

func TestComplete(t *testing.T) {
	for line, want := range map[string]string{ // the last word is unfinished
		"":                                   "none: devices inspect auto prune refit distill convert card compare stats eval logits generate tokenize bench report tune demo ui version completion man help --help --version",
		"pr":                                 "none: prune",
		"eval ":                              "none: ppl tasks compare kld",
		"eval k":                             "none: kld",
		"distill ":                           "files: merge embedded:tiny12",
		"distill m":                          "files: merge",
		"distill merge ":                     "files:",
		"prune ":                             "files: embedded:tiny12",
		"prune model ":                       "files:",
		"prune model out ":                   "none:",
		"prune --tar":                        "none: --target-layers --target-params --target-size",
		"prune --target-layers 3 --target-l": "none:",
		"prune --text a --text":              "none: --text", // may be given several times
		"prune --target-layers ":             "none:",
		"prune --selector ":                  "none: " + strings.Join(method.Selectors, " ") + " refit",
		"prune --selector=a":                 "none: --selector=angular --selector=angular-all",
		"prune -m la":                        "none: laco",
		"prune -qm la":                       "none: laco",
		"prune -q ":                          "files: embedded:tiny12",
		"prune --no-repeat ":                 "files: embedded:tiny12", // a switch has no word of its own for its value
		"prune -- --sel":                     "files:",
		"prune --work=":                      "folders:",
		"prune --work ":                      "folders:",
		"prune --nothing-such ":              "files: embedded:tiny12",
		"compare --methods come,la":          "none: come,laco",
		"compare --methods=laco,la":          "none:",
		"compare -o ":                        "none: md csv json",
		"bench -o ":                          "none: md csv json jsonl benchstat",
		"bench compare -o j":                 "none: json",
		"eval ppl --protocol ":               "none: come-paper llama.cpp",
		"eval kld --protocol ":               "none: come-paper",
		"eval tasks a b --tasks arc_e":       "none: arc_easy",
		"demo --out ":                        "folders:",
		"logits --out ":                      "files:",
		"devices --tier ":                    "none:", // it has no such flag
		"devices --log-format ":              "none: text json",
		"convert --type q":                   "none: q8_0 q4_0",
		"tokenize model ":                    "none:",
		"completion ":                        "none: " + strings.Join(shells.Names(), " "),
		"man ":                               "folders:",
		"nothing ":                           "none:",
	} {
		typed := strings.Split(line, " ")
		got := complete(typed[:len(typed)-1], typed[len(typed)-1])
		text := string(got.paths) + ":"
		for _, c := range got.list {
			text += " " + c.word
		}
		if text != want {
			t.Errorf("%q:\n%s, want\n%s", line, text, want)
		}
	}
}

// TestFlagValues: of every flag whose values are texts it is said what they may be, of flags that there are.
func TestFlagValues(t *testing.T) {
	met := map[string]bool{}
	for _, v := range allVerbs() {
		f := pflag.NewFlagSet(v.name, pflag.ContinueOnError)
		v.flags(f)
		f.VisitAll(func(flag *pflag.Flag) {
			keys := []string{v.name + " " + flag.Name, flag.Name}
			for _, key := range keys {
				met[key] = true
			}
			said := slices.ContainsFunc(keys, func(key string) bool { return flagValues[key] != nil })
			if kind := flag.Value.Type(); strings.HasPrefix(kind, "string") && !said {
				t.Errorf("%s --%s: completionvalues.go does not say what its values may be", v.name, flag.Name)
			} else if !strings.HasPrefix(kind, "string") && flagValues[flag.Name] != nil {
				t.Errorf("%s --%s: completionvalues.go says what its values may be, and they are %s", v.name, flag.Name, kind)
			}
			if usage := flag.Usage; strings.ContainsAny(usage, "\n\t") {
				t.Errorf("%s --%s: a line of candidates cannot show %q", v.name, flag.Name, usage)
			}
		})
		for i, word := range strings.Fields(v.args) {
			met["argument "+strings.Trim(word, "[].")] = true
			_ = argumentValues(v, i)
		}
	}
	for key := range flagValues {
		if !met[key] {
			t.Errorf("completionvalues.go names %q, and there is no such flag", key)
		}
	}
	for word := range argumentWords {
		if !met["argument "+word] {
			t.Errorf("completionvalues.go names the argument %s, which no verb has", word)
		}
	}
}

func TestCompletionVerb(t *testing.T) {
	for _, shell := range shells.Names() {
		if script := string(vkcome(t, "completion", shell)); !strings.Contains(script, completeWord) {
			t.Errorf("%s: %s", shell, script)
		}
	}
	refuse(t, 2, "bash, fish, powershell, zsh", "completion", "tcsh")
	refuse(t, 2, "vkcome completion", completeWord, "prune")
	refuse(t, 2, "vkcome completion", completeWord)
	if out := string(vkcome(t, completeWord, "prune", "--pro", ":--prote")); out != "none\n--protect\tlayers that stay as they are, as in 0,1,-1\n" {
		t.Errorf("%q", out)
	}
}
