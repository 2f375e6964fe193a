package prune

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
)

// writeCommands writes the commands that make the model again.
func (c *modelCard) writeCommands(chain []*Lineage) {
	from := "MODEL"
	if c.head.Original && c.base() != "" {
		from = c.base()
	}
	commands, corpora := c.lineage.Commands(from)
	if len(commands) == 0 {
		return
	}
	c.printf("## Commands\n\nThese make the model again on a device like that of the run, `%s`. Names in capitals stand for models and texts (`--text`, or `--tokens` for token ids):\n\n```sh\n%s\n```\n\n",
		inCode(c.lineage.Device.Name, maxCardCell), strings.Join(append(corpora, commands...), "\n"))
	if l := chain[0]; len(chain) == 1 && len(commands) == 1 && l.Refit == nil && l.Distill == nil {
		c.printf("The same steps without scores, from the lineage: `vkcome prune %s OUT --plan vkcome.json`.\n\n", from)
	} else if l.Auto != nil {
		c.printf("What a search chooses depends on the machine's speed.\n\n")
	}
}

// Commands are those of vkcome that make the model again of the one that it all began with, which is called from, one for each time that it was
// pruned, fitted or trained. A lineage has no names of files: OUT, OUT2 and so on stand for what is written, CORPUS1 and so on for texts, of which
// corpora say, as a comment of a shell each, what the lineage knows.
func (l *Lineage) Commands(from string) (commands, corpora []string) {
	at := from
	run := func(verb, in, flags string) {
		out := "OUT"
		if n := len(commands); n > 0 {
			out += strconv.Itoa(n + 1)
		}
		commands = append(commands, fmt.Sprintf("vkcome %s %s %s %s", verb, in, out, flags))
		at = out
	}
	corpusOf := func(of *Calibration) string {
		name := "CORPUS" + strconv.Itoa(len(corpora)+1)
		corpora = append(corpora, fmt.Sprintf("# %s: %s", name, cmp.Or(inCode(of.Source, maxCardCell), "the lineage does not name it")))
		return name
	}
	chain, _ := l.chain()
	for _, l := range chain {
		if len(l.Steps) > 0 {
			verb, flags := l.pruneFlags(corpusOf)
			run(verb, at, flags)
		}
		if r := l.Refit; r != nil && r.Teacher != nil && r.Corpus != nil {
			run("refit", from+" "+at, "--text "+corpusOf(r.Corpus)+windowFlags(r.Corpus)+refitFlags(r.Options))
		}
		if d := l.Distill; d != nil && d.Teacher != nil {
			run("distill", from+" "+at, "--text "+corpusOf(&d.Corpus)+windowFlags(&d.Corpus)+distillFlags(d.Options))
		}
	}
	return commands, corpora
}

// pruneFlags are the command that took a lineage's steps, and its flags.
func (l *Lineage) pruneFlags(corpusOf func(*Calibration) string) (verb, text string) {
	if a := l.Auto; a != nil {
		return "auto", fmt.Sprintf("--target-layers %d --budget %s --text %s%s", l.Options.TargetLayers, time.Duration(a.Budget*float64(time.Second)), corpusOf(&a.Calibration), windowFlags(&a.Calibration))
	}
	entry, err := method.Lookup(l.Method)
	if err != nil {
		return "prune", "--plan FILE # a vkcome.json of these steps, whose method is not known here"
	}
	text = "--method " + l.Method + methodFlags(entry, l.Options.Method)
	if entry.Needs().Target == nil {
		text += " --target-layers " + strconv.Itoa(l.Options.TargetLayers)
	}
	if len(l.Options.Protect) > 0 && len(l.Options.Protect) <= method.MaxLayers {
		text += " --protect " + numbers(l.Options.Protect)
	}
	if l.Calibration != nil {
		text += " --text " + corpusOf(l.Calibration) + windowFlags(l.Calibration) // also where a file of vkcome stats had these figures: the model is the same
	}
	if r := l.Refit; r != nil && r.Teacher == nil {
		text += " --refit" + refitFlags(r.Options)
		if r.End {
			text += " --fit-end"
		}
	}
	if d := l.Distill; d != nil && d.Teacher == nil {
		text += " --heal " + word(d.Schedule) + " --heal-text " + corpusOf(&d.Corpus) + " --heal-window " + strconv.Itoa(d.Corpus.Window) + distillFlags(d.Options)
	}
	return "prune", text
}

func windowFlags(c *Calibration) string {
	return fmt.Sprintf(" --window %d --samples %d --seed %d", c.Window, c.Windows, c.Seed)
}

// safe is what may stand in a command without quotes.
var safe = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.,+_-]{0,99}$`)

// word is a text of a lineage in a command.
func word(text string) string {
	if safe.MatchString(text) {
		return text
	}
	return "''"
}

func numbers(list []int) string {
	var texts []string
	for _, n := range list {
		texts = append(texts, strconv.Itoa(n))
	}
	return strings.Join(texts, ",")
}

// methodFlags are the flags of those of a method's options, as a lineage has them, that have a meaning for it: their keys are the flags' names, but
// for those whose flags mean the option by other values. The seed is the corpus's.
func methodFlags(entry method.Entry, raw json.RawMessage) (text string) {
	var options map[string]any
	if json.Unmarshal(raw, &options) != nil {
		return ""
	}
	names, known := method.OptionNames(entry.New(method.Options{})), entry.Options()
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if !slices.Contains(known, names[key]) {
			continue
		}
		flag := " --" + strings.ReplaceAll(key, "_", "-")
		switch v := options[key].(type) {
		case bool:
			switch {
			case v && key == "repeat":
				text += " --no-repeat=false"
			case v && key == "tiled":
				text += " --compat reference"
			}
		case string:
			if safe.MatchString(v) {
				text += flag + " " + v
			}
		case float64:
			if key != "seed" {
				text += flag + " " + number(v)
			}
		case []any:
			var list []int
			for _, n := range v {
				if n, ok := n.(float64); ok {
					list = append(list, int(n))
				}
			}
			if len(list) > 0 && len(list) <= method.MaxLayers {
				text += flag + " " + numbers(list)
			}
		}
	}
	return text
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func refitFlags(o refit.Options) (text string) {
	var lambdas []string
	for _, l := range o.Lambdas[:min(len(o.Lambdas), maxCardRows)] {
		lambdas = append(lambdas, number(l))
	}
	if len(lambdas) > 0 {
		text = " --lambda " + strings.Join(lambdas, ",")
	}
	text += " --projections " + word(o.Projections)
	if o.All {
		text += " --fit-all"
	}
	return text + " --fit-held-out " + strconv.Itoa(o.HeldOut)
}

// distillFlags are the flags of training, with what defaults came to; a micro-batch is as large as the device's memory allows.
func distillFlags(o distill.Options) string {
	text := " --loss " + word(string(o.Objective))
	for _, f := range []struct{ flag, value string }{{"input", o.Input}, {"moments", o.Moments}} {
		if f.value != "" {
			text += " --" + f.flag + " " + word(f.value)
		}
	}
	for _, f := range []struct {
		flag  string
		value float64
	}{
		{"temperature", o.Temperature}, {"rank", float64(o.Rank)}, {"lr", o.LR}, {"final-lr", o.FinalLR}, {"warm-up", o.WarmUp}, {"weight-decay", o.Decay}, {"clip", o.Clip},
		{"batch", float64(o.Batch)}, {"budget-tokens", float64(o.Tokens)}, {"held-out", float64(o.HeldOut)}, {"patience", float64(o.Patience)},
		{"end-to-end", float64(o.EndToEnd)}, {"end-to-end-lr", o.EndLR},
	} {
		if f.value != 0 {
			text += " --" + f.flag + " " + strconv.FormatFloat(f.value, 'f', -1, 64)
		}
	}
	if o.Budget > 0 {
		text += " --budget " + o.Budget.String()
	}
	return text
}

// papers are where methods come from, by name: arXiv.
var papers = map[string]string{
	"come": "2510.15304", "come-p": "2510.15304", "weightsum": "2510.15304", "shortgpt": "2403.03853", "prune-comp": "2507.18212", "streamline": "2403.19135",
	"replaceme": "2505.02819", "replaceme-cos": "2505.02819", "sleb": "2402.09025", "laco": "2402.11187", "mka": "2406.16330", "magnitude": "2402.02834",
	"magnitude+": "2402.02834", "taylor": "2402.02834", "taylor+": "2402.02834",
}

// methodSource is a link to where a method comes from, "" for one that is vkcome's own.
func methodSource(name string) string {
	if id := papers[name]; id != "" {
		return "[arXiv " + id + "](https://arxiv.org/abs/" + id + ")"
	}
	return ""
}

// writeCitation says what to cite.
func (c *modelCard) writeCitation(chain []*Lineage) {
	c.printf("## Citation\n\n```bibtex\n@misc{vkcome,\n  title = {vkcome: smaller language models by merging their layers, on Vulkan},\n  howpublished = {\\url{%s}},\n  note = {version %s}\n}\n", home, word(c.lineage.Version))
	c.printf("@inproceedings{come,\n  title = {Layer as Puzzle Pieces: Compressing Large Language Models through Layer Concatenation},\n  booktitle = {NeurIPS},\n  year = {2025},\n  note = {arXiv:2510.15304}\n}\n")
	var cited []string
	for _, l := range chain {
		if id := papers[l.Method]; len(l.Steps) > 0 && id != "" && id != papers["come"] && !slices.Contains(cited, id) {
			cited = append(cited, id)
			c.printf("@misc{arxiv-%s,\n  note = {the method: arXiv:%[1]s}\n}\n", id)
		}
	}
	c.printf("```\n")
}
