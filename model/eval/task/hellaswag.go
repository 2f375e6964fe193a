package task

import (
	"regexp"
	"strings"

	"github.com/vkcome/vkcome/model/corpus"
)

// hellaswag is HellaSwag, Zellers et al. 2019, arXiv 1905.07830.
func hellaswag() *Task {
	return &Task{
		Name: "hellaswag", Version: 1, Output: MultipleChoice, Metrics: byLength, excludeSelf: true,
		Dataset: Dataset{IDs: []string{"Rowan/hellaswag", "hellaswag"}, Test: "validation", Shots: "train"},
		item: func(f *fields) item {
			query := unbracket(f.text("activity_label") + ": " + f.text("ctx_a") + " " + capitalize(f.text("ctx_b")))
			var choices []string
			for _, ending := range f.texts("endings") {
				choices = append(choices, unbracket(ending))
			}
			gold := f.index("label", len(choices))
			it := choose(query, choices, gold)
			list := make([]any, len(choices))
			for i, c := range choices {
				list[i] = c
			}
			it.added = corpus.Record{{Name: "query", Value: query}, {Name: "choices", Value: list}, {Name: "gold", Value: int64(gold)}}
			return it
		},
		config: map[string]any{
			"training_split": "train", "validation_split": "validation", "process_docs": "utils.process_docs",
			"doc_to_text": "{{query}}", "doc_to_target": "{{label}}", "doc_to_choice": "choices",
		},
	}
}

var bracketed = regexp.MustCompile(`\[.*?\]`)

// unbracket takes out the marks in brackets that WikiHow's part of the data has.
func unbracket(text string) string {
	text = strings.ReplaceAll(strip(text), " [title]", ". ")
	return strings.ReplaceAll(bracketed.ReplaceAllLiteralString(text, ""), "  ", " ")
}
