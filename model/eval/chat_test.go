package eval

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/chat"
	"github.com/vkcome/vkcome/model/eval/task"
)

// TestChatRequests: every request with chat templates and system instructions is lm-eval's, to the byte.
func TestChatRequests(t *testing.T) {
	f, err := os.Open("../../testdata/lmeval/chat.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Runs []struct {
			Template, System *string
			Shots            int
			Multiturn        bool
			Limit            float64
			Docs             map[string][]struct {
				ID        int `json:"doc_id"`
				Requests  []string
				Arguments [][]string
			}
		}
	}
	if err := json.NewDecoder(z).Decode(&golden); err != nil {
		t.Fatal(err)
	}
	for n, run := range golden.Runs {
		o := TaskOptions{Multiturn: run.Multiturn}
		if run.System != nil {
			o.System = *run.System
		}
		if run.Template != nil {
			source, err := os.ReadFile("../../testdata/chat/templates/" + *run.Template + ".jinja")
			if err != nil {
				t.Fatal(err)
			}
			if o.Chat, err = chat.New(string(source), map[string]string{"bos_token": "<s>", "eos_token": "</s>"}); err != nil {
				t.Fatal(err)
			}
		}
		if len(run.Docs) != 11 {
			t.Fatalf("run %d has %d tasks", n, len(run.Docs))
		}
		for name, docs := range run.Docs {
			tasks, _, err := task.Find([]string{name})
			if err != nil {
				t.Fatal(err)
			}
			set, err := tasks[0].Load(t.Context(), task.Source{Dir: "../../testdata/lmeval/data", Shots: run.Shots})
			if err != nil {
				t.Fatal(err)
			}
			chosen, err := set.Select(run.Limit, nil)
			if err != nil {
				t.Fatal(err)
			}
			requests, err := set.Prompted(chosen, run.Shots, DefaultSeed, o.prompting())
			if err != nil {
				t.Fatal(err)
			}
			if len(requests) != len(docs) {
				t.Fatalf("run %d, %s: %d documents, lm-eval has %d", n, name, len(requests), len(docs))
			}
			for i, doc := range docs {
				if chosen[i] != doc.ID || len(requests[i]) != len(doc.Requests) {
					t.Fatalf("run %d, %s: document %d with %d requests, lm-eval has %d with %d", n, name, chosen[i], len(requests[i]), doc.ID, len(doc.Requests))
				}
				for j, r := range requests[i] {
					text := []string{r.Context, r.Continuation}
					if tasks[0].Output == task.Rolling {
						text = text[1:]
					}
					if sum := sha256.Sum256([]byte(strings.Join(text, "\x00"))); hex.EncodeToString(sum[:8]) != doc.Requests[j] {
						want := "another"
						if j < len(doc.Arguments) {
							want = strings.Join(doc.Arguments[j], "\x00")
						}
						t.Errorf("run %d, %s: document %d, request %d: %q, lm-eval has %q", n, name, doc.ID, j, text, want)
					}
				}
			}
		}
	}
}
