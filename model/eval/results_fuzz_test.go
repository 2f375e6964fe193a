package eval_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/eval"
)

// FuzzResults compares results that anybody may have written, with the answers to each document beside them, with good ones.
func FuzzResults(f *testing.F) {
	const good = `{"results":{"arc_easy":{"alias":"arc_easy","acc,none":0.25,"acc_stderr,none":0.1,"acc_norm,none":0.5,"acc_norm_stderr,none":"N/A"}},"group_subtasks":{"arc_easy":[]},` +
		`"configs":{"arc_easy":{"task":"arc_easy","metadata":{"version":1.0}}},"versions":{"arc_easy":1.0},"n-shot":{"arc_easy":0},"higher_is_better":{"arc_easy":{"acc":true}},` +
		`"n-samples":{"arc_easy":{"original":20,"effective":2}},"config":{"model":"hf","model_args":"x"},"date":1.5,"model_name":"x","chat_template":null}`
	const samples = `{"doc_id":0,"metrics":["acc","acc_norm"],"acc":1.0,"acc_norm":[1,2],"doc_hash":"a","prompt_hash":"b","target_hash":"c","filtered_resps":[["-1.5","True"]]}` + "\n" +
		`{"doc_id":1,"metrics":["acc"],"acc":0,"doc_hash":"a","prompt_hash":"b","target_hash":"c"}` + "\n"
	f.Add([]byte(good), []byte(samples))
	f.Add([]byte(strings.ReplaceAll(good, "0.25", "NaN")), []byte(nil))
	f.Add([]byte(strings.ReplaceAll(good, "arc_easy", `a\u001b[31m`)), []byte(`{"metrics":[null]}`))
	f.Add([]byte(`{"results":{"a":null},"groups":{"b":null},"group_subtasks":{"b":["a","b"]}}`), []byte(nil))
	f.Fuzz(func(t *testing.T, raw, lines []byte) {
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		for name, data := range map[string][]byte{"results_1.json": []byte(good), "results_2.json": raw, "samples_arc_easy_1.jsonl": []byte(samples), "samples_arc_easy_2.jsonl": lines} {
			if err := os.WriteFile(at(name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, pair := range [][2]string{{"results_1.json", "results_2.json"}, {"results_2.json", "results_1.json"}, {"results_2.json", "results_2.json"}} {
			c, err := eval.Compare(context.Background(), at(pair[0]), at(pair[1]))
			if err != nil {
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("an error of several lines: %q", err)
				}
				continue
			}
			c.Table()
		}
	})
}
