package eval_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/eval/task"
)

// logged is how lm-eval logs what no model has a part in.
type logged struct {
	Tasks   []string
	Shots   int
	Limit   float64
	Samples map[string][]int
	Seed    int64
	N       map[string]struct{ Original, Effective int } `json:"n-samples"`
	Configs map[string]map[string]any
	Docs    map[string][][4]any // doc_id, and what doc_hash, prompt_hash and target_hash begin with
}

// TestLogs compares with lm-eval the configuration of every task, and which documents it has: their hashes, those of the prompt and of the target.
func TestLogs(t *testing.T) {
	var golden struct{ Runs []logged }
	readGZ(t, "logs", &golden)
	if len(golden.Runs) < 10 {
		t.Fatalf("%d runs", len(golden.Runs))
	}
	for _, want := range golden.Runs {
		tasks, _, err := task.Find(want.Tasks)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range tasks {
			t.Run(fmt.Sprintf("%s-%d", k.Name, want.Shots), func(t *testing.T) { checkLogs(t, k, want) })
		}
	}
}

func checkLogs(t *testing.T, k *task.Task, want logged) {
	raw, err := json.Marshal(k.Config(want.Shots))
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Configs[k.Name]) < 10 {
		t.Fatalf("lm-eval's configuration has %d keys", len(want.Configs[k.Name]))
	}
	var config map[string]any
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	sameJSON(t, "config", named(config), any(want.Configs[k.Name]))
	set, err := k.Load(t.Context(), task.Source{Dir: fixtures, Shots: want.Shots})
	if err != nil {
		t.Fatal(err)
	}
	docs, err := set.Select(want.Limit, want.Samples[k.Name])
	if err != nil {
		t.Fatal(err)
	}
	rows := want.Docs[k.Name]
	if n := want.N[k.Name]; n.Original != set.Len() || n.Effective != len(docs) || len(rows) != len(docs) || len(docs) == 0 {
		t.Fatalf("%d of %d documents, want %v and %d rows", len(docs), set.Len(), n, len(rows))
	}
	// lm-eval takes documents in their order, but names them in the order of samples.
	ids := make([]int, len(rows))
	for i, row := range rows {
		ids[i] = int(row[0].(float64))
	}
	slices.Sort(ids)
	if !slices.Equal(ids, docs) {
		t.Errorf("documents %v, want %v", docs, ids)
	}
	requests, err := set.Requests(docs, want.Shots, want.Seed)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		sample, err := set.Sample(docs[i], make([]task.Answer, len(requests[i])))
		if err != nil {
			t.Fatal(err)
		}
		prompt := requests[i][0].Context
		if k.Output == task.Rolling {
			prompt = requests[i][0].Continuation
		}
		for j, h := range []struct{ what, got string }{
			{"doc_hash", sample.DocHash}, {"prompt_hash", hashed(prompt)}, {"target_hash", hashed(fmt.Sprint(sample.Target))},
		} {
			if len(h.got) != 64 || h.got[:16] != row[j+1].(string) {
				t.Errorf("document %d: %s %s, want %s…", docs[i], h.what, h.got, row[j+1])
			}
		}
	}
}

// named writes Python's functions as the golden does: MODULE.NAME as "def NAME".
func named(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, x := range v {
			v[key] = named(x)
		}
	case string:
		if module, name, ok := strings.Cut(v, "."); ok && (module == "utils" || strings.HasPrefix(module, "preprocess_")) {
			return "def " + name
		}
	}
	return v
}

func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
