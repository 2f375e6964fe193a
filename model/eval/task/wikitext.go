package task

import (
	"regexp"
	"strings"
)

// wikitext is WikiText-2, Merity et al. 2016, arXiv 1609.07843, by whole pages.
func wikitext() *Task {
	return &Task{
		Name: "wikitext", Version: 2, Output: Rolling, bare: true,
		Metrics: []Metric{{Name: "word_perplexity", Aggregation: weightedPerplexity}, {Name: "byte_perplexity", Aggregation: weightedPerplexity}, {Name: "bits_per_byte", Aggregation: bitsPerByte}},
		Dataset: Dataset{IDs: []string{"EleutherAI/wikitext_document_level"}, Config: "wikitext-2-raw-v1", Test: "test", Shots: "train"},
		item: func(f *fields) item {
			page := f.text("page")
			text := detokenize(page)
			if text == "" {
				f.fail(`field "page" is empty, and has no perplexity`)
			}
			// The perplexities are per word and byte of the page as it stands, not of the text that is scored.
			return item{continuations: []string{text}, target: text, words: len(spaces.FindAllStringIndex(page, -1)) + 1, bytes: len(page)}
		},
		config: map[string]any{
			"training_split": "train", "validation_split": "validation", "test_split": "test",
			"doc_to_text": "", "doc_to_target": "preprocess_wikitext.wikitext_detokenizer", "process_results": "preprocess_wikitext.process_results",
			"should_decontaminate": true, "doc_to_decontamination_query": "{{page}}",
		},
	}
}

// spaces is a run of what Python's re takes for \s.
var spaces = regexp.MustCompile(space + "+")

// rewrite is one step of detokenize: pairs of what is replaced and by what, each over the whole text, or a pattern.
type rewrite struct {
	pairs   []string
	pattern *regexp.Regexp
	by      string
}

// inside is text between marks, without the space beside them.
func inside(open, not, end, by string) rewrite {
	return rewrite{pattern: regexp.MustCompile(open + space + "*([^" + not + "]*?)" + space + "*" + end), by: by}
}

// detokenization are the steps, in their order; the second of them has a pattern that no text has, and is lm-eval's so.
var detokenization = []rewrite{
	{pairs: []string{"s '", "s'"}},
	{pattern: regexp.MustCompile("/' [0-9]/"), by: "/'[0-9]/"},
	{pairs: []string{" @-@ ", "-", " @,@ ", ",", " @.@ ", "."}},
	{pairs: []string{" : ", ": ", " ; ", "; ", " . ", ". ", " ! ", "! ", " ? ", "? ", " , ", ", "}},
	inside(`\(`, `)`, `\)`, "(${1})"),
	inside(`\[`, `\]`, `\]`, "[${1}]"),
	inside(`\{`, `}`, `\}`, "{${1}}"),
	inside(`"`, `"`, `"`, `"${1}"`),
	inside(`'`, `'`, `'`, `'${1}'`),
	{pairs: []string{"= = = =", "====", "= = =", "===", "= =", "==", " ° ", "°", " \n", "\n", "\n ", "\n", " N ", " 1 ", " 's", "'s"}},
}

// detokenize gives a page the spacing of written text, as lm-eval does.
func detokenize(page string) string {
	for _, r := range detokenization {
		for i := 0; i < len(r.pairs); i += 2 {
			page = strings.ReplaceAll(page, r.pairs[i], r.pairs[i+1])
		}
		if r.pattern != nil {
			page = r.pattern.ReplaceAllString(page, r.by)
		}
	}
	return page
}
