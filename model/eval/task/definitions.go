package task

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/corpus"
)

// What stands between a question and its answer, and between examples, in every one of these tasks.
const (
	targetDelimiter = " "
	shotDelimiter   = "\n\n"
)

const mmluPrefix = "mmlu_"

// Aggregations, by lm-eval's names.
const (
	meanOf             = "mean"
	perplexityOf       = "perplexity"
	weightedPerplexity = "weighted_perplexity"
	bitsPerByte        = "bits_per_byte"
)

var (
	acc      = Metric{Name: "acc", Aggregation: meanOf, HigherIsBetter: true}
	accNorm  = Metric{Name: "acc_norm", Aggregation: meanOf, HigherIsBetter: true}
	accBytes = Metric{Name: "acc_bytes", Aggregation: meanOf, HigherIsBetter: true, Extra: true}
	byLength = []Metric{acc, accNorm, accBytes}
)

// item is what a document becomes.
type item struct {
	prompts       []string // what a context ends with: one, or one for each choice
	continuations []string
	shot          shot     // the document as an example
	choices       []string // whose lengths normalise; nil where there is no choice
	gold          int      // the right one
	target        any
	words, bytes  int // of a document whose perplexity is taken
	added         corpus.Record
}

// shot is a document as an example.
type shot struct {
	question, answer string
	answered         bool // lm-eval puts no delimiter beside an example without an answer, nor a turn
}

func (s shot) text() string {
	if !s.answered {
		return s.question
	}
	return s.question + targetDelimiter + s.answer + shotDelimiter
}

// choose is the item of a question with choices that continue it.
func choose(question string, choices []string, gold int) item {
	it := item{prompts: []string{question}, choices: choices, gold: gold, target: gold}
	for _, c := range choices {
		it.continuations = append(it.continuations, targetDelimiter+c)
	}
	if gold < len(choices) { // a document that lacks a field has neither
		it.shot = shot{question, choices[gold], true}
	}
	return it
}

var tasks, groups = define()

func define() (map[string]*Task, map[string]*Group) {
	all := []*Task{
		arc("arc_easy", "ARC-Easy"), arc("arc_challenge", "ARC-Challenge"), hellaswag(), piqa(), winogrande(), boolq(), openbookqa(), wikitext(), lambada(),
	}
	byName := map[string]*Task{}
	mmlu, categories := mmlu()
	for _, t := range append(all, mmlu.Tasks...) {
		if t.Alias == "" {
			t.Alias = t.Name
		}
		byName[t.Name] = t
	}
	// The seven tasks by which papers on depth pruning judge a model: the plain mean of acc_norm where a task has it, else of acc.
	come7 := &Group{
		Name: "come7", Alias: "come7", Version: "1",
		Members: []string{"arc_easy", "arc_challenge", "hellaswag", "piqa", "winogrande", "boolq", "openbookqa"},
		metrics: []groupMetric{{name: "avg", from: []string{"acc_norm", "acc"}}},
	}
	for _, name := range come7.Members {
		come7.Tasks = append(come7.Tasks, byName[name])
	}
	byGroup := map[string]*Group{}
	for _, g := range append(categories, mmlu, come7) {
		byGroup[g.Name] = g
	}
	return byName, byGroup
}

// arc is the AI2 Reasoning Challenge, Clark et al. 2018, arXiv 1803.05457.
func arc(name, config string) *Task {
	return &Task{
		Name: name, Version: 1, Output: MultipleChoice, Metrics: byLength,
		Dataset: Dataset{IDs: []string{"allenai/ai2_arc", "ai2_arc"}, Config: config, Test: "test", Shots: "train"},
		item: func(f *fields) item {
			choices, gold := f.labelled("choices", f.text("answerKey"))
			return choose("Question: "+f.text("question")+"\nAnswer:", choices, gold)
		},
		config: map[string]any{
			"training_split": "train", "validation_split": "validation", "test_split": "test",
			"doc_to_text": "Question: {{question}}\nAnswer:", "doc_to_target": "{{choices.label.index(answerKey)}}", "doc_to_choice": "{{choices.text}}",
			"should_decontaminate": true, "doc_to_decontamination_query": "Question: {{question}}\nAnswer:",
		},
	}
}

// openbookqa is OpenBookQA, Mihaylov et al. 2018, arXiv 1809.02789.
func openbookqa() *Task {
	return &Task{
		Name: "openbookqa", Version: 1, Output: MultipleChoice, Metrics: byLength,
		Dataset: Dataset{IDs: []string{"allenai/openbookqa", "openbookqa"}, Config: "main", Test: "test", Shots: "train"},
		item: func(f *fields) item {
			choices, gold := f.labelled("choices", strings.TrimLeftFunc(f.text("answerKey"), isSpace))
			return choose(f.text("question_stem"), choices, gold)
		},
		config: map[string]any{
			"training_split": "train", "validation_split": "validation", "test_split": "test",
			"doc_to_text": "question_stem", "doc_to_target": "{{choices.label.index(answerKey.lstrip())}}", "doc_to_choice": "{{choices.text}}",
			"should_decontaminate": true, "doc_to_decontamination_query": "question_stem",
		},
	}
}

// piqa is PIQA, Bisk et al. 2020, arXiv 1911.11641.
func piqa() *Task {
	return &Task{
		Name: "piqa", Version: 1, Output: MultipleChoice, Metrics: byLength, excludeSelf: true,
		Dataset: Dataset{IDs: []string{"baber/piqa", "ybisk/piqa", "piqa"}, Test: "validation", Shots: "train"},
		item: func(f *fields) item {
			return choose("Question: "+f.text("goal")+"\nAnswer:", []string{f.text("sol1"), f.text("sol2")}, f.index("label", 2))
		},
		config: map[string]any{
			"training_split": "train", "validation_split": "validation",
			"doc_to_text": "Question: {{goal}}\nAnswer:", "doc_to_target": "label", "doc_to_choice": "{{[sol1, sol2]}}",
			"should_decontaminate": true, "doc_to_decontamination_query": "goal",
		},
	}
}

// boolq is BoolQ, Clark et al. 2019, arXiv 1905.10044, as SuperGLUE has it.
func boolq() *Task {
	return &Task{
		Name: "boolq", Version: 2, Output: MultipleChoice, Metrics: []Metric{acc}, bare: true, excludeSelf: true,
		Dataset: Dataset{IDs: []string{"aps/super_glue", "super_glue"}, Config: "boolq", Test: "validation", Shots: "train"},
		item: func(f *fields) item {
			return choose(f.text("passage")+"\nQuestion: "+f.text("question")+"?\nAnswer:", []string{"no", "yes"}, f.index("label", 2))
		},
		config: map[string]any{
			"training_split": "train", "validation_split": "validation",
			"doc_to_text": "{{passage}}\nQuestion: {{question}}?\nAnswer:", "doc_to_target": "label", "doc_to_choice": []string{"no", "yes"},
			"should_decontaminate": true, "doc_to_decontamination_query": "passage",
		},
	}
}

// winogrande is WinoGrande, Sakaguchi et al. 2019, arXiv 1907.10641, scored by what follows the gap given each option in it (partial
// evaluation, Trinh and Le 2018, arXiv 1806.02847).
func winogrande() *Task {
	return &Task{
		Name: "winogrande", Version: 1, Output: MultipleChoice, Metrics: []Metric{acc}, excludeSelf: true,
		Dataset: Dataset{IDs: []string{"allenai/winogrande", "winogrande"}, Config: "winogrande_xl", Test: "validation", Shots: "train"},
		item: func(f *fields) item {
			sentence, answer := f.text("sentence"), f.text("answer")
			before, after, ok := strings.Cut(sentence, "_")
			if !ok {
				f.fail(`field "sentence" has no "_"`)
			}
			gold := slices.Index([]string{"1", "2"}, answer)
			if gold < 0 {
				f.fail(`field "answer" is %.40q, expected "1" or "2"`, answer)
				gold = 0
			}
			end := strip(after)
			filled := []string{before + f.text("option1"), before + f.text("option2")}
			return item{
				prompts: filled, continuations: []string{targetDelimiter + end, targetDelimiter + end},
				choices: filled, gold: gold, target: end, shot: shot{filled[gold], end, end != ""},
			}
		},
		config: map[string]any{
			"training_split": "train", "validation_split": "validation",
			"doc_to_text": "preprocess_winogrande.doc_to_text", "doc_to_target": "preprocess_winogrande.doc_to_target", "doc_to_choice": "preprocess_winogrande.doc_to_choice",
			"should_decontaminate": true, "doc_to_decontamination_query": "sentence",
		},
	}
}

// lambada is LAMBADA, Paperno et al. 2016, arXiv 1606.06031, as OpenAI prepared it: the last word of a passage.
func lambada() *Task {
	return &Task{
		Name: "lambada_openai", Version: 1, Output: LogLikelihood, Metrics: []Metric{{Name: "perplexity", Aggregation: perplexityOf}, acc},
		Dataset: Dataset{IDs: []string{"EleutherAI/lambada_openai"}, Config: "default", Test: "test", Shots: "test"},
		item: func(f *fields) item {
			text := f.text("text")
			last := strings.LastIndexByte(text, ' ')
			word := " " + text[last+1:]
			before := text[:max(last, 0)]
			return item{
				prompts: []string{before}, continuations: []string{word}, target: word,
				shot: shot{before, word, true}, // two spaces, as lm-eval has them
			}
		},
		config: map[string]any{
			"test_split":  "test",
			"doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}", "doc_to_target": "{{' '+text.split(' ')[-1]}}",
			"should_decontaminate": true, "doc_to_decontamination_query": "{{text}}",
		},
	}
}

// mmlu is MMLU, Hendrycks et al. 2021, arXiv 2009.03300: its group and the groups of its categories.
func mmlu() (*Group, []*Group) {
	whole := &Group{Name: "mmlu", Alias: "mmlu"}
	for _, category := range []struct {
		name, alias string
		subjects    string
	}{
		{"mmlu_stem", "stem", "abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science college_mathematics " +
			"college_physics computer_security conceptual_physics electrical_engineering elementary_mathematics high_school_biology " +
			"high_school_chemistry high_school_computer_science high_school_mathematics high_school_physics high_school_statistics machine_learning"},
		{"mmlu_other", "other", "business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing medical_genetics " +
			"miscellaneous nutrition professional_accounting professional_medicine virology"},
		{"mmlu_social_sciences", "social sciences", "econometrics high_school_geography high_school_government_and_politics high_school_macroeconomics " +
			"high_school_microeconomics high_school_psychology human_sexuality professional_psychology public_relations security_studies sociology us_foreign_policy"},
		{"mmlu_humanities", "humanities", "formal_logic high_school_european_history high_school_us_history high_school_world_history international_law " +
			"jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory professional_law world_religions"},
	} {
		g := &Group{Name: category.name, Alias: category.alias}
		for _, subject := range strings.Fields(category.subjects) {
			t := mmluTask(subject)
			g.Members, g.Tasks = append(g.Members, t.Name), append(g.Tasks, t)
		}
		whole.Members, whole.Groups, whole.Tasks = append(whole.Members, g.Name), append(whole.Groups, g), append(whole.Tasks, g.Tasks...)
	}
	for _, g := range append(slices.Clone(whole.Groups), whole) {
		g.Version = "2"
		g.metrics = []groupMetric{{"acc", []string{"acc"}, true}, {"acc_macro", []string{"acc"}, false}}
	}
	return whole, whole.Groups
}

func mmluTask(subject string) *Task {
	letters := []string{"A", "B", "C", "D"}
	return &Task{
		Name: mmluPrefix + subject, Alias: subject, Version: 1, Output: MultipleChoice, Metrics: []Metric{acc}, firstShots: true,
		Dataset:     Dataset{IDs: []string{"cais/mmlu", "hails/mmlu_no_train"}, Config: subject, Test: "test", Shots: "dev"},
		description: "The following are multiple choice questions (with answers) about " + strings.ReplaceAll(subject, "_", " ") + ".\n\n",
		item: func(f *fields) item {
			choices := f.texts("choices")
			if f.err == nil && len(choices) < len(letters) {
				f.fail(`field "choices" has %d texts, expected 4`, len(choices))
			}
			text := strip(f.text("question"))
			for i := range min(len(letters), len(choices)) {
				text += fmt.Sprintf("\n%s. %s", letters[i], choices[i])
			}
			return choose(text+"\nAnswer:", letters, f.index("answer", len(letters)))
		},
		config: map[string]any{
			"test_split": "test", "fewshot_split": "dev",
			"doc_to_text":   "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:",
			"doc_to_target": "answer", "doc_to_choice": letters,
		},
	}
}
