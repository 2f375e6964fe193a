package task

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/corpus"
)

// drawn is a set whose documents and examples are named, with what lm-eval's sampler does for a task that leaves out the document itself.
func drawn(exclude bool, docs, shots string) *Set {
	named := func(names string) (out []document) {
		for _, name := range strings.Fields(names) {
			out = append(out, document{corpus.Record{{Name: "n", Value: name}}, item{prompts: []string{"?"}, continuations: []string{" !"}, shot: shot{question: name + " "}}})
		}
		return out
	}
	task := *tasks["piqa"]
	task.excludeSelf = exclude
	return &Set{Task: &task, docs: named(docs), shots: named(shots), shotsRead: true}
}

// TestExamples: what lm_eval.api.samplers.ContextSampler draws, also where the examples have the document itself, once or more.
func TestExamples(t *testing.T) {
	const pool = "v0 v0 a b v1 c d v0 v0 e v1 v0"
	for _, c := range []struct {
		exclude bool
		n       int
		seed    int64
		want    []string
	}{
		{true, 1, 1234, []string{"a", "v0", "v0", "v0"}},
		{true, 3, 1234, []string{"v1 d a", "v0 v0 c", "b v0 v1", "c v1 e"}},
		{true, 5, 1234, []string{"e a v1 v1 d", "v0 a v0 v0 d", "v0 v0 v0 v0 b", "v1 v0 v0 v0 v0"}},
		{false, 2, 7, []string{"c a", "d v1", "v0 v0", "v0 v0"}},
	} {
		s := drawn(c.exclude, "v0 v1 v2 v3", pool)
		requests, err := s.Requests([]int{0, 1, 2, 3}, c.n, c.seed)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range c.want {
			if got := requests[i][0]; got != (Request{want + " ?", " !"}) {
				t.Errorf("%d examples, document %d: %q, want %q", c.n, i, got.Context, want+" ?")
			}
		}
	}
	s := drawn(true, "v0 v1", pool)
	for n, want := range map[int]string{-1: "0 or more", 12: "has 12 documents, and 13 are needed", 9: "has 7 documents other than document 0"} {
		if _, err := s.Requests([]int{0}, n, 1234); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d examples: %v, want %q", n, err, want)
		}
	}
	if _, err := s.Requests([]int{2}, 0, 0); err == nil {
		t.Error("a document that is not there is asked about")
	}
	s.shotsRead = false
	if _, err := s.Requests([]int{0}, 1, 0); err == nil {
		t.Error("examples that were not read are drawn")
	}
}

func TestSelect(t *testing.T) {
	s := drawn(false, "a b c d e", "")
	for _, c := range []struct {
		limit   float64
		samples []int
		want    []int
	}{
		{0, nil, []int{0, 1, 2, 3, 4}}, {2, nil, []int{0, 1}}, {9, nil, []int{0, 1, 2, 3, 4}}, {.5, nil, []int{0, 1, 2}}, {.01, nil, []int{0}}, {2.9, nil, []int{0, 1}},
		{0, []int{4, 1, 4}, []int{1, 4}},
	} {
		if got, err := s.Select(c.limit, c.samples); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("limit %v, samples %d: %d, %v; want %d", c.limit, c.samples, got, err, c.want)
		}
	}
	for _, c := range []struct {
		limit   float64
		samples []int
	}{{-1, nil}, {1, []int{0}}, {0, []int{5}}, {0, []int{-1}}} {
		if got, err := s.Select(c.limit, c.samples); err == nil {
			t.Errorf("limit %v, samples %d: %d", c.limit, c.samples, got)
		}
	}
}

// TestPrompts: the texts of lm-eval's templates, the tasks that have a quirk above all.
func TestPrompts(t *testing.T) {
	row := func(fields ...any) (r corpus.Record) {
		for i := 0; i < len(fields); i += 2 {
			r = append(r, corpus.Field{Name: fields[i].(string), Value: fields[i+1]})
		}
		return r
	}
	choices := row("text", []any{"one", "two"}, "label", []any{"A", "B"})
	for _, c := range []struct {
		task   string
		row    corpus.Record
		want   []Request
		shot   string
		target any
	}{
		{"arc_easy", row("question", "Why?", "choices", choices, "answerKey", "B"),
			[]Request{{"Question: Why?\nAnswer:", " one"}, {"Question: Why?\nAnswer:", " two"}}, "Question: Why?\nAnswer: two\n\n", 1},
		{"openbookqa", row("question_stem", "Why", "choices", choices, "answerKey", " A"), []Request{{"Why", " one"}, {"Why", " two"}}, "Why one\n\n", 0},
		{"piqa", row("goal", "g", "sol1", "x", "sol2", "y", "label", int64(1)),
			[]Request{{"Question: g\nAnswer:", " x"}, {"Question: g\nAnswer:", " y"}}, "Question: g\nAnswer: y\n\n", 1},
		{"boolq", row("question", "is it", "passage", "p", "label", int64(1)),
			[]Request{{"p\nQuestion: is it?\nAnswer:", " no"}, {"p\nQuestion: is it?\nAnswer:", " yes"}}, "p\nQuestion: is it?\nAnswer: yes\n\n", 1},
		{"winogrande", row("sentence", "A _ is\u00a0big_. ", "option1", "x", "option2", "y", "answer", "2"),
			[]Request{{"A x", " is\u00a0big_."}, {"A y", " is\u00a0big_."}}, "A y is\u00a0big_.\n\n", "is\u00a0big_."},
		{"winogrande", row("sentence", "It is _ ", "option1", "x", "option2", "y", "answer", "1"), []Request{{"It is x", " "}, {"It is y", " "}}, "It is x", ""},
		{"mmlu_world_religions", row("question", " q\u3000", "choices", []any{"a", "b", "c", "d"}, "answer", int64(3)), []Request{
			{"The following are multiple choice questions (with answers) about world religions.\n\nq\nA. a\nB. b\nC. c\nD. d\nAnswer:", " A"}, {"", " B"}, {"", " C"}, {"", " D"},
		}, "q\nA. a\nB. b\nC. c\nD. d\nAnswer: D\n\n", 3},
		{"hellaswag", row("activity_label", "Cook", "ctx_a", "A man.", "ctx_b", "the MAN", "endings", []any{" [step]  stirs", "a [title] b", "[x\ny]", "z"}, "label", "2"),
			[]Request{{"Cook: A man. The man", "  stirs"}, {"", " a. b"}, {"", " [x\ny]"}, {"", " z"}}, "Cook: A man. The man [x\ny]\n\n", 2},
		{"lambada_openai", row("text", "a b  c"), []Request{{"a b ", " c"}}, "a b   c\n\n", " c"},
		{"lambada_openai", row("text", "a "), []Request{{"a", " "}}, "a  \n\n", " "},
		{"lambada_openai", row("text", "a"), []Request{{"", " a"}}, "  a\n\n", " a"},
		{"wikitext", row("page", " = A = \n it 's ( x ) @-@ "), []Request{{"", " = A =\nit's (x)-"}}, "", " = A =\nit's (x)-"},
	} {
		task := tasks[c.task]
		f := fields{record: c.row}
		it := task.item(&f)
		if f.err != nil {
			t.Errorf("%s: %v", c.task, f.err)
			continue
		}
		requests, err := (&Set{Task: task, docs: []document{{c.row, it}}}).Requests([]int{0}, 0, 0)
		if err != nil || len(requests[0]) != len(c.want) {
			t.Errorf("%s: %d requests, %v", c.task, len(requests), err)
			continue
		}
		for i, want := range c.want {
			if want.Context == "" {
				want.Context = c.want[0].Context
			}
			if requests[0][i] != want {
				t.Errorf("%s: request %d is %q, want %q", c.task, i, requests[0][i], want)
			}
		}
		if it.shot.text() != c.shot || it.target != c.target {
			t.Errorf("%s: example %q with target %v, want %q with %v", c.task, it.shot.text(), it.target, c.shot, c.target)
		}
	}
}

// TestDetokenize: what lm-eval's wikitext_detokenizer gives, \s being Unicode's.
func TestDetokenize(t *testing.T) {
	for _, c := range [][2]string{
		{"boys ' x", "boys' x"}, {"/' 5/", "/'[0-9]/"}, {"1 @,@ 000 @.@ 5 @-@ x", "1,000.5-x"}, {"a : b ; c . d ! e ? f , g", "a: b; c. d! e? f, g"},
		{"(\u00a0a b\x1c)", "(a b)"}, {"[ a ] { b }", "[a] {b}"}, {"\" a \" ' b '", "\"a\" 'b'"}, {"( )", "()"}, {"( a", "( a"}, {"= = = = x = = = y = = z", "==== x === y == z"},
		{"1 ° C N x 's \n y", "1°C 1 x's\ny"},
	} {
		if got := detokenize(c[0]); got != c[1] {
			t.Errorf("%q is %q, want %q", c[0], got, c[1])
		}
	}
	f := fields{record: corpus.Record{{Name: "page", Value: " é\u2003x  y\n"}}}
	if it := tasks["wikitext"].item(&f); it.words != 5 || it.bytes != 11 {
		t.Errorf("%d words, %d bytes; want 5 and 11", it.words, it.bytes)
	}
}

func TestFind(t *testing.T) {
	if n := len(Tasks()); n != 66 {
		t.Errorf("%d tasks, want 9 and 57", n)
	}
	names := func(tasks []*Task, groups []*Group) string {
		var out []string
		for _, t := range tasks {
			out = append(out, t.Name)
		}
		out = append(out, "|")
		for _, g := range groups {
			out = append(out, g.Name)
		}
		return strings.Join(out, " ")
	}
	tasks, groups, err := Find([]string{"winogrande", "come7", "wikitext"})
	if got, want := names(tasks, groups), "winogrande arc_easy arc_challenge hellaswag piqa boolq openbookqa wikitext | come7"; err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	tasks, groups, err = Find([]string{"mmlu_other", "mmlu"})
	if got := names(nil, groups); err != nil || len(tasks) != 57 || tasks[0].Name != "mmlu_business_ethics" || got != "| mmlu_other mmlu_stem mmlu_social_sciences mmlu_humanities mmlu" {
		t.Errorf("%d tasks, %s, %v", len(tasks), got, err)
	}
	if sizes := fmt.Sprint(len(groups[1].Tasks), len(groups[0].Tasks), len(groups[2].Tasks), len(groups[3].Tasks)); sizes != "19 13 12 13" {
		t.Errorf("subjects by category: %s", sizes)
	}
	for _, wrong := range [][]string{nil, {"arc"}} {
		if _, _, err := Find(wrong); err == nil || !strings.Contains(err.Error(), "lambada_openai, openbookqa") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// TestConfig: lm-eval's entry, that a program which reads its results expects.
func TestConfig(t *testing.T) {
	c := tasks["mmlu_anatomy"].Config(5)
	for key, want := range map[string]string{
		"task": "mmlu_anatomy", "task_alias": "anatomy", "dataset_path": "cais/mmlu", "dataset_name": "anatomy", "test_split": "test", "fewshot_split": "dev",
		"num_fewshot": "5", "output_type": "multiple_choice", "metadata": "map[version:1]", "doc_to_target": "answer", "training_split": "<nil>",
		"metric_list": "[map[aggregation:mean higher_is_better:true metric:acc]]",
	} {
		if got := fmt.Sprint(c[key]); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	if got := fmt.Sprint(tasks["arc_easy"].Config(0)["metric_list"]); strings.Contains(got, "acc_bytes") || !strings.Contains(got, "acc_norm") {
		t.Errorf("metrics of arc_easy: %s", got)
	}
	if got := fmt.Sprint(tasks["boolq"].Config(0)["metric_list"]); got != "[map[metric:acc]]" {
		t.Errorf("metrics of boolq: %s", got)
	}
}
