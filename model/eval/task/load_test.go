package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/vkcome/vkcome/model/hub"
	"github.com/vkcome/vkcome/model/hub/hubtest"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const boolqRow = `{"question":"is it","passage":"p","idx":%d,"label":1}` + "\n"

// TestLoadFiles: a split's files in every way that repositories and people lay them out.
func TestLoadFiles(t *testing.T) {
	one := fmt.Sprintf(boolqRow, 1)
	two := one + fmt.Sprintf(boolqRow, 2)
	piqa := `{"goal":"g","sol1":"x","sol2":"y","label":0}`
	for _, c := range []struct {
		task  string
		files map[string]string
		want  int
	}{
		{"boolq", map[string]string{"aps/super_glue/boolq/validation.jsonl": two, "aps/super_glue/boolq/train.jsonl": one, "aps/super_glue/validation.jsonl": one}, 2},
		{"boolq", map[string]string{"aps/super_glue/boolq/validation-00000-of-00002.jsonl": two, "aps/super_glue/boolq/validation-00001-of-00002.jsonl": one, "aps/super_glue/boolq/validation_x.jsonl": one}, 3},
		{"boolq", map[string]string{"aps/super_glue/boolq/validation/0000.jsonl": two, "aps/super_glue/boolq/validation/0001.jsonl": two}, 4},
		{"boolq", map[string]string{"super_glue/boolq/validation.json": "[" + one + "]"}, 1},
		{"boolq", map[string]string{"aps/super_glue/boolq/validation.json": one, "aps/super_glue/boolq/validation.jsonl": two}, 2},
		{"piqa", map[string]string{"baber/piqa/data/validation.jsonl": piqa}, 1},
		{"piqa", map[string]string{"baber/piqa/validation.jsonl": piqa}, 1},
		{"piqa", map[string]string{"ybisk/piqa/plain_text/validation-0.jsonl": piqa}, 1},
		{"lambada_openai", map[string]string{"EleutherAI/lambada_openai/default/test.jsonl": `{"text":"a b"}`}, 1},
		{"lambada_openai", map[string]string{"EleutherAI/lambada_openai/test.jsonl": `{"text":"a b"}`}, 1},
	} {
		dir := t.TempDir()
		for name, text := range c.files {
			write(t, filepath.Join(dir, name), text)
		}
		s, err := tasks[c.task].Load(t.Context(), Source{Dir: dir})
		if err != nil || s.Len() != c.want {
			t.Errorf("%v: %+v, %v; want %d documents", c.files, s, err, c.want)
		}
	}
}

// TestLoadPartial: some of a split's files are not the split.
func TestLoadPartial(t *testing.T) {
	const repo, want = "aps/super_glue", "1 of 2 files of split validation are there"
	first := filepath.Join(repo, "boolq/validation-00000-of-00002.jsonl")
	second := filepath.Join(repo, "boolq/validation-00001-of-00002.jsonl")
	dir := t.TempDir()
	write(t, filepath.Join(dir, first), fmt.Sprintf(boolqRow, 1))
	refuse := func(src Source, want string) {
		t.Helper()
		if s, err := tasks["boolq"].Load(t.Context(), src); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v, %v; want %q", s, err, want)
		}
	}
	refuse(Source{Dir: dir}, want)
	if err := os.Symlink("nowhere", filepath.Join(dir, second)); err != nil {
		t.Fatal(err)
	}
	refuse(Source{Dir: dir}, want)

	cache := t.TempDir()
	snapshot := filepath.Join(cache, "datasets--aps--super_glue/snapshots/abc/boolq")
	write(t, filepath.Join(snapshot, "validation-00000-of-00002.parquet"), "")
	refuse(Source{Hub: hub.Hub{Cache: cache, Offline: true}}, want)
	refuse(Source{Hub: hub.Hub{Cache: cache, Offline: true}}, "fetch it with: hf download aps/super_glue --repo-type dataset")

	write(t, filepath.Join(dir, "super_glue/boolq/validation.jsonl"), fmt.Sprintf(boolqRow, 1))
	if s, err := tasks["boolq"].Load(t.Context(), Source{Dir: dir}); err != nil || s.Len() != 1 {
		t.Errorf("with the whole split by another name: %+v, %v", s, err)
	}
}

// TestLoadParquet reads choices as the hub's files have them.
func TestLoadParquet(t *testing.T) {
	type choices struct {
		Text  []string `parquet:"text,list"`
		Label []string `parquet:"label,list"`
	}
	type row struct {
		ID        string  `parquet:"id"`
		Question  string  `parquet:"question"`
		Choices   choices `parquet:"choices"`
		AnswerKey string  `parquet:"answerKey"`
	}
	path := filepath.Join(t.TempDir(), "allenai/ai2_arc/ARC-Easy/test-00000-of-00001.parquet")
	write(t, path, "")
	if err := parquet.WriteFile(path, []row{{"a", "Why?", choices{[]string{"x", "y"}, []string{"1", "2"}}, "2"}}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(path))))
	s, err := tasks["arc_easy"].Load(t.Context(), Source{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	requests, err := s.Requests([]int{0}, 0, 0)
	if err != nil || len(requests[0]) != 2 || requests[0][1] != (Request{"Question: Why?\nAnswer:", " y"}) || s.docs[0].item.gold != 1 {
		t.Errorf("%q, %v", requests, err)
	}
}

// TestLoadShots: the split of examples is read where they are asked for, and changes the hash, as every document does.
func TestLoadShots(t *testing.T) {
	dir := t.TempDir()
	test := filepath.Join(dir, "aps/super_glue/boolq/validation.jsonl")
	write(t, test, fmt.Sprintf(boolqRow, 1))
	load := func(shots int) *Set {
		t.Helper()
		s, err := tasks["boolq"].Load(t.Context(), Source{Dir: dir, Shots: shots})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	without := load(0)
	if _, err := tasks["boolq"].Load(t.Context(), Source{Dir: dir, Shots: 1}); err == nil || !strings.Contains(err.Error(), "aps/super_glue/boolq/train.*") {
		t.Errorf("without examples: %v", err)
	}
	write(t, filepath.Join(dir, "aps/super_glue/boolq/train.jsonl"), fmt.Sprintf(boolqRow, 3)+fmt.Sprintf(boolqRow, 4))
	with := load(1)
	if load(0).Hash != without.Hash || load(2).Hash != with.Hash || with.Hash == without.Hash {
		t.Errorf("hashes %s without, %s with examples", without.Hash, with.Hash)
	}
	const want = "p\nQuestion: is it?\nAnswer: yes\n\np\nQuestion: is it?\nAnswer:"
	if requests, err := with.Requests([]int{0}, 1, 1234); err != nil || requests[0][0].Context != want {
		t.Errorf("%q, %v", requests, err)
	}
	write(t, test, fmt.Sprintf(boolqRow, 2))
	if load(0).Hash == without.Hash {
		t.Error("another document has the same hash")
	}
}

// TestLoadErrors: one line that says task, file, row, field and what was expected.
func TestLoadErrors(t *testing.T) {
	for _, c := range []struct{ task, name, row, want string }{
		{"boolq", "aps/super_glue/boolq/validation.jsonl", `{"question":"q","idx":0,"label":1}`, `line 2: no field "passage"; there are: question, idx, label`},
		{"boolq", "aps/super_glue/boolq/validation.jsonl", `{"question":"q","passage":3,"label":1}`, `line 2: field "passage" is no text`},
		{"boolq", "aps/super_glue/boolq/validation.jsonl", `{"question":"q","passage":"p","label":2}`, `line 2: field "label" is "2", expected a number from 0 to 1`},
		{"boolq", "aps/super_glue/boolq/validation.jsonl", `{"question":"q","passage":"p","label":-1}`, `line 2: field "label" is "-1", expected`},
		{"boolq", "aps/super_glue/boolq/validation.jsonl", `{"question":"q","passage":"p","label":null}`, `line 2: field "label" is "<nil>", expected`},
		{"hellaswag", "Rowan/hellaswag/validation.jsonl", `{"activity_label":"a","ctx_a":"b","ctx_b":"c","endings":["a","b"],"label":""}`, `field "label" is "", expected a number from 0 to 1`},
		{"hellaswag", "Rowan/hellaswag/validation.jsonl", `{"activity_label":"a","ctx_a":"b","ctx_b":"c","endings":["a",1],"label":"0"}`, `field "endings" is no list of texts`},
		{"hellaswag", "Rowan/hellaswag/validation.jsonl", `{}`, `no field "activity_label"`},
		{"arc_easy", "allenai/ai2_arc/ARC-Easy/test.jsonl", `{"question":"q","choices":["a"],"answerKey":"A"}`, `field "choices" is no object`},
		{"arc_easy", "allenai/ai2_arc/ARC-Easy/test.jsonl", `{"question":"q","choices":{"text":["a"]},"answerKey":"A"}`, `field "choices.label" is no list`},
		{"arc_easy", "allenai/ai2_arc/ARC-Easy/test.jsonl", `{"question":"q","choices":{"text":["a"],"label":["B","A"]},"answerKey":"A"}`, `the right answer is "A", expected one of the labels ["B" "A"], of 1 texts`},
		{"winogrande", "allenai/winogrande/winogrande_xl/validation.jsonl", `{"sentence":"x","option1":"a","option2":"b","answer":"1"}`, `field "sentence" has no "_"`},
		{"winogrande", "allenai/winogrande/winogrande_xl/validation.jsonl", `{"sentence":"_","option1":"a","option2":"b","answer":""}`, `field "answer" is "", expected "1" or "2"`},
		{"mmlu_virology", "cais/mmlu/virology/test.jsonl", `{"question":"q","choices":["a","b"],"answer":0}`, `field "choices" has 2 texts, expected 4`},
		{"lambada_openai", "EleutherAI/lambada_openai/test.jsonl", `{"text":null}`, `field "text" is no text`},
		{"wikitext", "EleutherAI/wikitext_document_level/wikitext-2-raw-v1/test.jsonl", `{"text":""}`, `no field "page"`},
		{"wikitext", "EleutherAI/wikitext_document_level/wikitext-2-raw-v1/test.jsonl", `{"page":""}`, `line 2: field "page" is empty`},
		{"piqa", "baber/piqa/validation.jsonl", "", `no documents`},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, c.name)
		write(t, path, "\n"+c.row)
		_, err := tasks[c.task].Load(t.Context(), Source{Dir: dir})
		if err == nil || !strings.HasPrefix(err.Error(), c.task+": "+path+": ") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s of %s: %v, want %q", c.task, c.row, err, c.want)
		}
	}
	if _, err := tasks["piqa"].Load(t.Context(), Source{Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "baber/piqa/data/validation.*; expected .parquet, .jsonl or .json") {
		t.Errorf("an empty folder: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tasks["piqa"].Load(ctx, Source{Dir: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestLoadHub: from the cache by any of a data set's names, else from a server, else not at all.
func TestLoadHub(t *testing.T) {
	s := hubtest.New(t)
	cache := t.TempDir()
	_, err := tasks["arc_easy"].Load(t.Context(), Source{Hub: hub.Hub{Cache: cache, Offline: true}})
	const fetch = "arc_easy: split test of allenai/ai2_arc (ARC-Easy) is not in the cache, and this is offline or the hub has it by another name; fetch it with: hf download allenai/ai2_arc --repo-type dataset, or name a folder that has it with task.Source.Dir DIR"
	if err == nil || !strings.HasPrefix(err.Error(), fetch) || strings.Contains(err.Error(), "\n") {
		t.Errorf("offline: %v", err)
	}
	write(t, filepath.Join(cache, "datasets--super_glue/snapshots/abc/boolq/validation.jsonl"), fmt.Sprintf(boolqRow, 1))
	if s, err := tasks["boolq"].Load(t.Context(), Source{Hub: hub.Hub{Cache: cache, Offline: true}}); err != nil || s.Len() != 1 {
		t.Errorf("from the cache: %+v, %v", s, err)
	}

	type row struct {
		Text string `parquet:"text"`
	}
	file := filepath.Join(t.TempDir(), "a.parquet")
	if err := parquet.WriteFile(file, []row{{"a b"}, {"c d"}}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.Repos["datasets/EleutherAI/lambada_openai"] = map[string]string{"README.md": "", "de/test/0000.parquet": "", "default/test/0000.parquet": string(raw)}
	if s, err := tasks["lambada_openai"].Load(t.Context(), Source{Hub: hub.Hub{Cache: cache, Endpoint: s.URL}}); err != nil || s.Len() != 2 {
		t.Errorf("fetched: %+v, %v", s, err)
	}
	s.Close()
	if s, err := tasks["lambada_openai"].Load(t.Context(), Source{Hub: hub.Hub{Cache: cache, Endpoint: s.URL}}); err != nil || s.Len() != 2 {
		t.Errorf("fetched before: %+v, %v", s, err)
	}
	if _, err := tasks["wikitext"].Load(t.Context(), Source{Hub: hub.Hub{Cache: cache, Endpoint: s.URL}}); err == nil || !strings.Contains(err.Error(), "and could not be fetched: ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("without a connection: %v", err)
	}
}
