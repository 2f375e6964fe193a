package main

import "regexp"

// optionFlag is an option of the library and the flag that sets it.
type optionFlag struct {
	option string // its Go name, as errors of the library have it
	flag   string // of some verb, without dashes
	shown  string // what stands for the option in messages; "" is the flag with two dashes
}

// optionFlags lists the options that the library's messages name, and those of methods.
var optionFlags = []optionFlag{
	{option: "prune.Options.Method", flag: "method"},
	{option: "prune.Options.TargetLayers", flag: "target-layers"},
	{option: "prune.Options.Sparsity", flag: "sparsity"},
	{option: "prune.Options.TargetParameters", flag: "target-params"},
	{option: "prune.Options.TargetBytes", flag: "target-size"},
	{option: "prune.Options.Protect", flag: "protect"},
	{option: "prune.Options.AllScores", flag: "all-scores"},
	{option: "prune.Options.Replay", flag: "plan"},
	{option: "prune.Options.Stats", flag: "stats"},
	{option: "prune.Options.Seed", flag: "seed"},
	{option: "prune.Options.Refit", flag: "refit"},
	{option: "refit.Options.End", flag: "fit-end"},
	{option: "prune.Options.Distill", flag: "heal", shown: "vkcome prune --heal"}, // named where vkcome distill runs
	{option: "prune.Output.Work", flag: "work"},
	{option: "prune.Output.Force", flag: "force"},
	{option: "prune.Output.Resume", flag: "resume"},
	{option: "prune.Output.AnyDevice", flag: "any-device"},
	{option: "prune.Output.SaveSteps", flag: "save-steps"},
	{option: "prune.CardOptions.Path", flag: "out"},
	{option: "prune.CardOptions.Base", flag: "base-model"},
	{option: "report.File.Force", flag: "force"},
	{option: "prune.AutoOptions.Budget", flag: "budget"},
	{option: "prune.DistillOptions.Schedule", flag: "heal"},
	{option: "prune.DistillationOptions.Groups", flag: "map"},
	{option: "prune.RefittingOptions.Groups", flag: "map"},
	{option: "prune.DistillationOptions.Part", flag: "shard"},
	{option: "prune.RefittingOptions.Shard", flag: "shard"},
	{option: "prune.RefittingOptions.Wait", flag: "wait"},

	// Where a value stands beside the option's name, it is the option's: --no-repeat and --compat mean it by other values.
	{option: "method.CoMe.Repeat=true", flag: "no-repeat", shown: "--no-repeat=false"},
	{option: "method.CoMe.Repeat", flag: "no-repeat", shown: "--repeat"},
	{option: "method.CoMe.Tiled", flag: "compat", shown: "--tiled"},
	{option: "method.CoMe.LayersPerMerge", flag: "merge-item"},
	{option: "method.CoMe.RatioPower", flag: "psu"},
	{option: "method.CoMe.RatioFloor", flag: "min-max"},
	{option: "method.CoMe.Selector", flag: "selector"},
	{option: "method.CoMe.Norm", flag: "norm"},
	{option: "method.CoMe.Sensitivity", flag: "sensitivity"},
	{option: "method.CoMe.Seed", flag: "seed"},
	{option: "method.CoMeP.Granularity", flag: "granularity"},
	{option: "method.Greedy.Candidates", flag: "candidates"},
	{option: "method.Greedy.Selector", flag: "selector"},
	{option: "method.LaCo.LayersPerMerge", flag: "merge-item"},
	{option: "method.LaCo.Similarity", flag: "similarity"},
	{option: "method.Drop.Layers", flag: "layers"},
	{option: "method.Magnitude.Plus", flag: "method", shown: "--plus"}, // a method of its own here
	{option: "method.Taylor.Plus", flag: "method", shown: "--plus"},
	{option: "method.ReplaceMe.Cosine", flag: "method", shown: "--cosine"},

	{option: "distill.Options.LR", flag: "lr"},
	{option: "distill.Options.Batch", flag: "batch"},
	{option: "distill.Options.EndToEnd", flag: "end-to-end"},
	{option: "distill.Options.Input", flag: "input"},
	{option: "distill.Options.Budget", flag: "budget"},
	{option: "distill.Options.Tokens", flag: "budget-tokens"},
	{option: "score.SaveOptions.Force", flag: "force"},

	{option: "corpus.Options.Sources", flag: "text"},
	{option: "corpus.Options.Field", flag: "field"},
	{option: "corpus.Options.Docs", flag: "docs"},
	{option: "corpus.Options.Window", flag: "window"},
	{option: "corpus.Options.Dir", flag: "spill-dir"},
	{option: "corpus.ReadTokens", flag: "tokens"},
	{option: "task.Source.Dir", flag: "data"},
	{option: "states.HostMemory.Limit", flag: "max-host-memory"},
	{option: "vk.Options.MaxMemory", flag: "max-device-memory"},
	{option: "op.SelfTest", flag: "self-test", shown: "vkcome devices --self-test"},
}

// flagsByOption is the table by option.
var flagsByOption = func() map[string]optionFlag {
	by := map[string]optionFlag{}
	for _, o := range optionFlags {
		by[o.option] = o
	}
	return by
}()

// spelling is what stands for the option in messages.
func (o optionFlag) spelling() string {
	if o.shown != "" {
		return o.shown
	}
	return "--" + o.flag
}

// optionName finds Go names of options as words of a text, which parts of paths are not.
var optionName = regexp.MustCompile(`(^|[\s("])([a-z]+(?:\.[A-Z][A-Za-z]*)+(?:=true)?)($|[\s)",:;])`)

// spell puts flags where a text of the library names options.
func spell(text string) string {
	for {
		changed := optionName.ReplaceAllStringFunc(text, func(match string) string {
			part := optionName.FindStringSubmatch(match)
			if o, ok := flagsByOption[part[2]]; ok {
				return part[1] + o.spelling() + part[3]
			}
			return match
		})
		if changed == text { // two names with one space between them take two rounds
			return text
		}
		text = changed
	}
}

// flagsOf are the flags of options.
func flagsOf(options []string) (flags []string) {
	for _, option := range options {
		flags = append(flags, flagsByOption[option].flag)
	}
	return flags
}
