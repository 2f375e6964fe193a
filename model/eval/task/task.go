// Package task has the evaluation tasks of EleutherAI's lm-evaluation-harness 0.4.13: what a model is asked, and what its answers count.
//
// A task loads its documents, makes the requests that a model answers with log-likelihoods, and turns the answers into metrics. The text of
// every request, to the byte, the choice of few-shot examples and the arithmetic of the metrics are those of lm-eval, task version by task
// version, so that results can be set beside published ones. One metric is added to those that lm-eval lists: acc_bytes, where a task has
// acc_norm.
//
// Nothing here runs a model, and nothing of the data sets is here: Source says where they are.
package task

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/hub"
)

// Output says what of a model a task needs, by lm-eval's names.
type Output string

// The kinds of output.
const (
	MultipleChoice Output = "multiple_choice"       // the log-likelihood of every choice
	LogLikelihood  Output = "loglikelihood"         // that of one continuation, and whether it is the most likely one
	Rolling        Output = "loglikelihood_rolling" // that of a whole document, each token given those before it
)

// Dataset is where a task's documents come from.
type Dataset struct {
	IDs    []string // repositories on the hub: the one that lm-eval names, then earlier names that caches may have
	Config string   // "" is none
	Test   string   // the split that is evaluated
	Shots  string   // the split that few-shot examples come from; it may be Test
}

// Metric is a measure by which a task is judged.
type Metric struct {
	Name           string
	Aggregation    string // mean, perplexity, weighted_perplexity or bits_per_byte
	HigherIsBetter bool
	Extra          bool // not in lm-eval's list for the task
}

// Task is one task.
type Task struct {
	Name    string
	Alias   string  // how tables show it
	Version float64 // of the task in lm-eval
	Output  Output
	Dataset Dataset
	Metrics []Metric

	description string
	firstShots  bool // few-shot examples are the first of their split, not drawn
	excludeSelf bool // the document that is asked about is no example
	bare        bool // lm-eval's definition names the metrics alone, what they mean being understood
	item        func(f *fields) item
	config      map[string]any // what lm-eval's entry in "configs" has beside the above
}

// Source is where documents are read from.
type Source struct {
	// Dir has the files of data sets as the hub's repositories have them, below Dir/OWNER/NAME. "" means Hub.
	Dir string
	Hub hub.Hub // the cache, and what is fetched where it lacks files
	// Shots says how many few-shot examples will be asked for. With 0 the split that they come from is not read.
	Shots int
}

// Request is a text that a model scores: the log-likelihood of the continuation given the context. A rolling request has no context.
type Request struct{ Context, Continuation string }

// Answer is what a model says to a request.
type Answer struct {
	LogLikelihood float64 // of the continuation, in nats
	Greedy        bool    // whether each of its tokens is the most likely one
}

// Sample is what a document's answers come to.
type Sample struct {
	Doc     corpus.Record // as lm-eval logs it: the row, and what the task adds
	Target  any           // an int, the right choice; or the right text
	Metrics map[string]any
	Choices int    // that the answer is one of; 0 where there are none
	DocHash string // lm-eval's doc_hash: the SHA-256 of Doc as Python's json writes it with an indent of 2
}

// Weighted is a log-likelihood of so many words or bytes. Its JSON is [LogLikelihood, Weight].
type Weighted struct {
	LogLikelihood float64
	Weight        int
}

// MarshalJSON writes a list of two.
func (w Weighted) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{w.LogLikelihood, w.Weight})
}

// Tasks are all tasks, by name.
func Tasks() []*Task {
	return slices.SortedFunc(maps.Values(tasks), func(a, b *Task) int { return strings.Compare(a.Name, b.Name) })
}

// Groups are all groups, by name.
func Groups() []*Group {
	return slices.SortedFunc(maps.Values(groups), func(a, b *Group) int { return strings.Compare(a.Name, b.Name) })
}

// Find gives the tasks that names of tasks and groups mean, each once, in their order, and the groups, those within a group before it.
func Find(names []string) ([]*Task, []*Group, error) {
	var found []*Task
	var within []*Group
	add := func(ts ...*Task) {
		for _, t := range ts {
			if !slices.Contains(found, t) {
				found = append(found, t)
			}
		}
	}
	for _, name := range names {
		if t := tasks[name]; t != nil {
			add(t)
			continue
		}
		g := groups[name]
		if g == nil {
			return nil, nil, fmt.Errorf("there is no task %q; tasks: %s; groups: %s", name, listed(slices.Sorted(maps.Keys(tasks))), strings.Join(slices.Sorted(maps.Keys(groups)), ", "))
		}
		add(g.Tasks...)
		for _, g := range append(slices.Clone(g.Groups), g) {
			if !slices.Contains(within, g) {
				within = append(within, g)
			}
		}
	}
	if len(found) == 0 {
		return nil, nil, fmt.Errorf("no task given; tasks: %s; groups: %s", listed(slices.Sorted(maps.Keys(tasks))), strings.Join(slices.Sorted(maps.Keys(groups)), ", "))
	}
	return found, within, nil
}

// listed lists tasks, those of mmlu as one.
func listed(names []string) string {
	names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, mmluPrefix) })
	return strings.Join(append(names, mmluPrefix+"SUBJECT"), ", ")
}

// Config is lm-eval's entry for the task in "configs" with so many few-shot examples. Functions of lm-eval, whose source its own entry has,
// are by name.
func (t *Task) Config(shots int) map[string]any {
	c := map[string]any{
		"task": t.Name, "dataset_path": t.Dataset.IDs[0], "output_type": string(t.Output), "description": t.description, "num_fewshot": shots,
		"target_delimiter": targetDelimiter, "fewshot_delimiter": shotDelimiter, "unsafe_code": false, "repeats": 1, "should_decontaminate": false,
		"metadata": map[string]any{"version": t.Version},
	}
	if t.Alias != t.Name {
		c["task_alias"] = t.Alias
	}
	if t.Dataset.Config != "" {
		c["dataset_name"] = t.Dataset.Config
	}
	maps.Copy(c, t.config)
	sampler, split := "default", c["fewshot_split"]
	if t.firstShots {
		sampler = "first_n"
	}
	c["fewshot_config"] = map[string]any{
		"sampler": sampler, "split": split, "process_docs": c["process_docs"], "fewshot_indices": nil, "samples": nil, "gen_prefix": nil,
		"doc_to_text": c["doc_to_text"], "doc_to_choice": c["doc_to_choice"], "doc_to_target": c["doc_to_target"],
		"fewshot_delimiter": shotDelimiter, "target_delimiter": targetDelimiter,
	}
	var metrics []map[string]any
	for _, m := range t.Metrics {
		if m.Extra {
			continue
		}
		entry := map[string]any{"metric": m.Name}
		if !t.bare {
			entry["aggregation"], entry["higher_is_better"] = m.Aggregation, m.HigherIsBetter
		}
		metrics = append(metrics, entry)
	}
	c["metric_list"] = metrics
	return c
}
