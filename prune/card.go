package prune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/eval"
	evaltask "github.com/vkcome/vkcome/model/eval/task"
	"github.com/vkcome/vkcome/model/hub"
	"github.com/vkcome/vkcome/model/printable"
	"github.com/vkcome/vkcome/prune/card"
	"github.com/vkcome/vkcome/prune/method"
)

// home is where vkcome is.
const home = "https://github.com/vkcome/vkcome"

// A card says of a model what its lineage, its config and the head of its source's card say, and what was measured of it. It holds no path: the
// same run writes the same card wherever it runs.
type modelCard struct {
	model    *model.Model
	lineage  *Lineage
	head     card.Head // of the source's card, or of the model's own
	ctx      context.Context
	results  *eval.Results // of the model; nil: nothing was measured
	original *eval.Results // of the model that it was made of; nil: none are given

	body strings.Builder
}

// text is the card.
func (c *modelCard) text() ([]byte, error) {
	chain, whole := c.lineage.chain()
	if err := c.write(chain, whole); err != nil {
		return nil, err
	}
	return card.Text(c.meta(chain), c.body.String(), c.head.Original)
}

// meta is the head.
//
// The hub knows four relations to a base model. A pruned model is none of the others: adapter is of weights to be added, quantized of the same
// weights in fewer bits, merge of several models, where the hub expects more than one base_model. So it is finetune, which the hub takes for
// whatever has other weights in full precision.
func (c *modelCard) meta(chain []*Lineage) card.Meta {
	h := c.head
	m := card.Meta{
		BaseModel: h.BaseModel, Library: "transformers", License: h.License, LicenseName: h.LicenseName, LicenseLink: h.LicenseLink, Language: h.Language,
		PipelineTag: "text-generation", Tags: []string{"vkcome"}, Datasets: datasets(chain),
	}
	if h.PipelineTag != "" {
		m.PipelineTag = h.PipelineTag
	}
	if len(m.BaseModel) > 0 {
		m.Relation = "finetune"
	}
	tag := func(text string, is bool) {
		if is && !slices.Contains(m.Tags, text) {
			m.Tags = append(m.Tags, text)
		}
	}
	for _, l := range chain {
		tag("pruned", len(l.Steps) > 0)
		for _, s := range l.Steps {
			tag("layer-merging", s.Operation != method.Removal)
			tag("layer-dropping", s.Operation == method.Removal)
		}
		_, err := method.Lookup(l.Method)
		tag(l.Method, err == nil)
		tag("distillation", l.Distill != nil)
	}
	if c.results != nil {
		m.Index = []card.Index{{Name: c.shortName(), Results: indexed(c.results)}}
	}
	return m
}

// datasets are the data sets of the hub that chain's corpora were made of.
func datasets(chain []*Lineage) (ids []string) {
	for _, l := range chain {
		var corpora []Calibration
		if l.Calibration != nil {
			corpora = append(corpora, *l.Calibration)
		}
		if l.Refit != nil && l.Refit.Corpus != nil {
			corpora = append(corpora, *l.Refit.Corpus)
		}
		if l.Distill != nil {
			corpora = append(corpora, l.Distill.Corpus)
		}
		for _, of := range corpora {
			for _, id := range corpus.Repositories(of.Source) {
				if !slices.Contains(ids, id) && len(ids) < 20 {
					ids = append(ids, id)
				}
			}
		}
	}
	return ids
}

// base is the model that base_model names, "" if there is none.
func (c *modelCard) base() string {
	if len(c.head.BaseModel) == 0 {
		return ""
	}
	return c.head.BaseModel[0]
}

// shortName is a name for the model that holds nothing of where it is.
func (c *modelCard) shortName() string {
	name := "pruned"
	if c.head.Original && c.base() != "" {
		name = path.Base(c.base())
	}
	return fmt.Sprintf("%s-%d-of-%d-layers", name, len(c.model.Layers), c.layersBefore())
}

func (c *modelCard) layersBefore() int { return max(c.lineage.OriginalLayers, len(c.model.Layers)) }

// indexed are results in the hub's form: a task's metrics as lm-eval lists them. Of MMLU's subjects, where all are there, the whole stands alone.
func indexed(r *eval.Results) (list []card.Result) {
	add := func(name string, d evaltask.Dataset, shots, documents, of int, metrics []string) {
		args := map[string]int{"num_few_shot": shots}
		if documents > 0 && documents < of {
			args["documents"], args["documents_of"] = documents, of
		}
		out := card.Result{
			Task:    card.Task{Type: "text-generation", Name: "Text Generation"},
			Dataset: card.Dataset{Name: name, Type: d.IDs[0], Config: d.Config, Split: d.Test, Args: args},
			Source:  card.Source{Name: "vkcome eval tasks", URL: home},
		}
		for _, m := range metrics {
			if v, ok := r.Results[name].Values[m+",none"]; ok && v-v == 0 {
				out.Metrics = append(out.Metrics, card.Metric{Type: m, Value: math.Round(v*1e6) / 1e6, Name: metricNames[m]})
			}
		}
		if len(out.Metrics) > 0 {
			list = append(list, out)
		}
	}
	within := map[string]bool{}
	for _, g := range evaltask.Groups() {
		if _, ok := r.Results[g.Name].Values["acc,none"]; !ok || len(g.Groups) == 0 || len(g.Tasks) == 0 {
			continue
		}
		d := g.Tasks[0].Dataset
		d.Config = "all"
		add(g.Name, d, r.Shots[g.Name], 0, 0, []string{"acc"})
		for _, t := range g.Tasks {
			within[t.Name] = true
		}
	}
	for _, t := range evaltask.Tasks() {
		var metrics []string
		for _, m := range t.Metrics {
			if !m.Extra {
				metrics = append(metrics, m.Name)
			}
		}
		if n := r.Documents[t.Name]; !within[t.Name] {
			add(t.Name, t.Dataset, r.Shots[t.Name], n.Effective, n.Original, metrics)
		}
	}
	return list
}

// metricNames are names of metrics for people.
var metricNames = map[string]string{"acc": "accuracy", "acc_norm": "normalized accuracy", "perplexity": "perplexity", "word_perplexity": "word perplexity",
	"byte_perplexity": "byte perplexity", "bits_per_byte": "bits per byte"}

// chain is the lineages that led to a model, the first of them first: each has what was done since the one before. A lineage that goes on with
// the steps of the one before, since the model was only fitted or trained, is without these steps. The chain is not whole where an earlier
// lineage cannot be read, which came with the opened model and should not lose the run.
func (l *Lineage) chain() (chain []*Lineage, whole bool) {
	const most = 32 // times that a model was pruned, fitted and trained
	for next, err := l, error(nil); err == nil && len(chain) < most; {
		chain, whole = append(chain, next), next.Previous == nil
		if whole {
			break
		}
		next, err = ParseLineage(next.Previous)
	}
	slices.Reverse(chain)
	same := func(a, b any) bool {
		first, err := json.Marshal(a)
		second, other := json.Marshal(b)
		return err == nil && other == nil && string(first) == string(second)
	}
	out := slices.Clone(chain)
	for i := 1; i < len(chain); i++ {
		was, is := chain[i-1], *chain[i]
		if is.Source == was.Source && same(is.Steps, was.Steps) {
			is.Steps, is.Calibration, is.Auto = nil, nil, nil
		}
		if is.Refit != nil && was.Refit != nil && same(is.Refit, was.Refit) {
			is.Refit = nil
		}
		if is.Distill != nil && was.Distill != nil && same(is.Distill, was.Distill) {
			is.Distill = nil
		}
		out[i] = &is
	}
	return out, whole
}

// readHead reads what a card of what is made of a model says of its origin: of a model that was pruned before what its own card says, of another
// its name on the hub if it is in the hub's cache, else what its card and its config name. note says what of a card cannot be used.
func readHead(m *model.Model) (h card.Head, note string, err error) {
	h, note, err = card.Read(m.Files)
	if err != nil {
		return h, "", fmt.Errorf("prune: %s: %w", m.Name, err)
	}
	if m.GGUF() != nil {
		h = ggufHead(m)
	}
	_, err = fs.Stat(m.Files, model.Lineage)
	pruned := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return h, "", fmt.Errorf("prune: %s: %w", m.Name, err)
	}
	if pruned && h.Ours && len(h.BaseModel) > 0 {
		return h, note, nil
	}
	h.Original = false
	if repo, ok := hub.RepoOf(m.Path); ok {
		h.BaseModel, h.Original = []string{repo.ID}, !pruned
		return h, note, nil
	}
	if len(h.BaseModel) > 0 {
		return h, note, nil
	}
	var config struct {
		Name any `json:"_name_or_path"`
	}
	if json.Unmarshal(m.Config.JSON(), &config) == nil {
		if name, ok := config.Name.(string); ok && isID(name) {
			h.BaseModel = []string{name}
		}
	}
	return h, note, nil
}

// localNames are first parts of what looks like owner/name in a config.json and is a path of the machine that trained the model.
var localNames = regexp.MustCompile(`(?i)^((models?|outputs?|out|results?|checkpoints?|ckpts?|data|datasets?|tmp|runs?|logs?|weights|cache|home|mnt|workspace|saved?|local|pretrained|experiments?)/|[^/]*/(checkpoint|ckpt|epoch|step)[-_])`)

// isID says whether a name in a config.json is one of the hub: it may be a path too.
func isID(name string) bool {
	_, err := os.Stat(name)
	return hub.IsName(name) && !localNames.MatchString(name) && errors.Is(err, fs.ErrNotExist)
}

var hubModel = regexp.MustCompile(`^https?://huggingface\.co/([^/]+/[^/]+)$`)

// ggufHead is what the metadata of a GGUF file says of what a card's head does.
func ggufHead(m *model.Model) (h card.Head) {
	text := func(key string) string {
		v, _ := m.GGUF().Value(key)
		s, _ := v.(string)
		return s
	}
	one := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	h = card.Head{License: one(text("general.license")), LicenseName: text("general.license.name"), LicenseLink: text("general.license.link")}
	if v, _ := m.GGUF().Value("general.languages"); v != nil {
		h.Language, _ = v.([]string)
	}
	if id := hubModel.FindStringSubmatch(text("general.base_model.0.repo_url")); id != nil {
		h.BaseModel = one(id[1])
	}
	return h.Checked()
}

// inCode is a text of a stranger's within code of a card, where it means nothing to Markdown.
func inCode(text string, most int) string {
	return printable.Clip(strings.NewReplacer("`", "'", "|", "¦").Replace(printable.Line(text)), most)
}
