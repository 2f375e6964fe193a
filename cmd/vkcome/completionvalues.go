package main

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/cmd/vkcome/internal/shells"
	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/bench"
	"github.com/vkcome/vkcome/model/convert"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/report"
	"github.com/vkcome/vkcome/vk"
)

// values says what the values of a flag, or an argument, may be as far as that is known beforehand.
type values struct {
	words []string
	list  bool // several, with commas between them
	paths paths
}

// free are values of which nothing is known: names, numbers, texts.
var free = values{paths: noPaths}

func words(list ...string) values { return values{words: list, paths: noPaths} }

// flagValues lists what the values of flags may be, by the flag's name, or by the verb's and its where verbs differ. Flags of numbers, times
// and switches need no line; each other flag has one, which a test holds to.
var flagValues = map[string]func() values{
	"method":      func() values { return words(method.Names()...) },
	"methods":     func() values { return values{words: method.Names(), list: true, paths: noPaths} },
	"selector":    func() values { return words(append(slices.Clone(method.Selectors), "refit")...) },
	"norm":        func() values { return words(method.Norms...) },
	"sensitivity": func() values { return words(method.Sensitivities...) },
	"compat":      func() values { return words("reference") },
	"projections": func() values { return words(refit.Projections...) },
	"type":        func() values { return words(convert.Types()...) },
	"heal":        func() values { return words(prune.Schedules...) },
	"loss":        func() values { return words(texts(train.Objectives)...) },
	"input":       func() values { return words(distill.Inputs...) },
	"moments":     func() values { return words(distill.Moments...) },
	"tier":        func() values { return words(tiers()...) },
	"log-format":  func() values { return words("text", "json") },
	"pack":        func() values { return words(texts([]corpus.Pack{corpus.Join, corpus.Docs})...) },
	"bos": func() values {
		return words(texts([]corpus.BOS{corpus.AutoBOS, corpus.AlwaysBOS, corpus.NeverBOS, corpus.WindowBOS})...)
	},
	"protocol":          func() values { return words(comePaper) },
	"eval ppl protocol": func() values { return words(comePaper, llamaCpp) },
	"synthetic":         func() values { return words(model.SyntheticNames()...) },
	"tasks":             func() values { return values{words: append(taskNames(), "all"), list: true, paths: noPaths} },
	"view":              func() values { return words("results", "devices") },

	"compare output":       func() values { return words(report.Formats...) },
	"bench output":         func() values { return words(bench.Formats...) },
	"bench compare output": func() values { return words(bench.ComparedFormats...) },
	"output":               file,

	"text": texting, "eval-text": texting, "heal-text": texting,
	"base": models, "baseline": models,
	"tokens": file, "eval-tokens": file, "stats": file, "plan": file, "losses": file, "report": file, "results": file, "out": file, "share": file,
	"eval tasks samples": file, "file": file, "apply-chat-template": file, "chat-template": file,
	"work": folder, "spill-dir": folder, "root": folder, "data": folder, "cache": folder, "demo out": folder,

	"device": nothing, "max-device-memory": nothing, "max-host-memory": nothing, "target-params": nothing, "target-size": nothing, "field": nothing,
	"shard": nothing, "map": nothing, "prompt": nothing, "system": nothing, "chat-vars": nothing, "system-instruction": nothing, "base-model": nothing,
	"ops": nothing, "shapes": nothing,
}

// argumentWords are the arguments that are not files, by the word that stands for them in the help.
var argumentWords = map[string]func() values{
	"MODEL": models, "TEACHER": models, "STUDENT": models,
	"SHELL": func() values { return words(shells.Names()...) },
	"DIR":   folder,
	"TEXT":  nothing,
}

func nothing() values { return free }
func file() values    { return values{paths: anyFile} }
func folder() values  { return values{paths: folders} }
func models() values  { return values{words: []string{embedded.Name}, paths: anyFile} }
func texting() values { return values{words: corpus.Names(), paths: anyFile} }

// valuesOf is what the values of a verb's flag may be.
func valuesOf(v *verb, flag *pflag.Flag) values {
	for _, key := range []string{v.name + " " + flag.Name, flag.Name} {
		if is, ok := flagValues[key]; ok {
			return is()
		}
	}
	return free
}

// argumentValues is what a verb's argument of this index may be.
func argumentValues(v verb, i int) values {
	words := strings.Fields(v.args)
	if _, most := v.arity(); i >= most {
		return free
	}
	name := strings.Trim(words[min(i, len(words)-1)], "[].")
	if is, ok := argumentWords[name]; ok {
		return is()
	}
	return file()
}

func tiers() (list []string) {
	for t := vk.Baseline; t <= vk.CoopMatrix; t++ {
		list = append(list, t.String())
	}
	return list
}

func taskNames() (list []string) {
	for _, l := range eval.List() {
		list = append(list, l.Name)
	}
	return list
}

func texts[T ~string](list []T) (out []string) {
	for _, s := range list {
		out = append(out, string(s))
	}
	return out
}
