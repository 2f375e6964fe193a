package eval_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/files/filestest"
)

// TestResultsBounded compares results of strangers with themselves: each ends soon, with a table or with an error of one line.
func TestResultsBounded(t *testing.T) {
	results := func(more string) string {
		return `{"results":{"arc_easy":{"acc,none":0.5},"piqa":{"acc,none":0.5}},"n-samples":{"arc_easy":{"effective":3}}` + more + `}`
	}
	// groups is a group_subtasks of so many groups, each of which has members that a function names.
	groups := func(n int, members func(i int) []string) string {
		all := map[string][]string{}
		for i := range n {
			all[fmt.Sprint("g", i)] = members(i)
		}
		raw, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return `,"group_subtasks":` + string(raw) + `,"groups":{}`
	}
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	rng := rand.New(rand.NewPCG(16, 2))
	inputs := map[string]string{
		"doubled at each level":        results(groups(60, func(i int) []string { return []string{fmt.Sprint("g", i+1), fmt.Sprint("g", i+1), "arc_easy"} })),
		"two of each level":            results(groups(200, func(i int) []string { return []string{fmt.Sprint("g", i+1), fmt.Sprint("g", i+2), "arc_easy"} })),
		"in a circle":                  results(groups(60, func(i int) []string { return []string{fmt.Sprint("g", (i+1)%60), fmt.Sprint("g", (i+7)%60), "piqa"} })),
		"in itself":                    results(groups(3, func(i int) []string { return []string{fmt.Sprint("g", i), fmt.Sprint("g", i)} })),
		"a chain":                      results(groups(9000, func(i int) []string { return []string{fmt.Sprint("g", i+1)} })),
		"very many groups":             results(groups(50_000, func(i int) []string { return []string{"piqa"} })),
		"very many tasks":              `{"results":{` + many(200_000, `"t%d":{"acc,none":1},`) + `}}`,
		"many tasks":                   `{"results":{` + many(9000, `"t%d":{"acc,none":1},`) + `}}`,
		"very many metrics":            `{"results":{"a":{` + many(200_000, `"m%d,none":1,`) + `}}}`,
		"very many values":             `{"results":{"a":{"acc,none":1}},"configs":{"a":{"b":[` + strings.Repeat("0,", 5<<20) + `0]}}}`,
		"deep":                         `{"results":{"a":{"acc,none":1}},"configs":{"a":{"b":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}}}`,
		"too deep":                     `{"results":{"a":{"acc,none":1}},"configs":{"a":{"b":` + strings.Repeat("[", 2<<20) + strings.Repeat("]", 2<<20) + `}}}`,
		"a name with a path":           `{"results":{"a/../../../../../../etc/passwd":{"acc,none":1}}}`,
		"a long name":                  `{"results":{"` + strings.Repeat("x", 8<<20) + `":{"acc,none":1}}}`,
		"very many documents":          results(`,"vkcome":{"date_id":"d"}`),
		"a name of control characters": `{"results":{"\u001b[2J\u202e\u0000\n":{"acc,none":1}},"model_name":"\u009b31m\r"}`,
	}
	for i := range 40 {
		n := 2 + rng.IntN(300)
		inputs[fmt.Sprint("random groups ", i)] = results(groups(n, func(int) (members []string) {
			for range rng.IntN(6) {
				members = append(members, fmt.Sprint("g", rng.IntN(n)))
			}
			return append(members, []string{"arc_easy", "piqa"}[rng.IntN(2)])
		}))
	}
	for name, text := range inputs {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "r.json")
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "samples_arc_easy_d.jsonl"), []byte(strings.Repeat("{}\n", 1<<20)), 0o644); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			c, err := eval.Compare(t.Context(), file, file)
			if err == nil {
				table := c.Table()
				if len(table) > 8<<20 || strings.ContainsAny(table, "\x1b\u009b\u202e\x00\r") {
					t.Errorf("a table of %d bytes", len(table))
				}
			} else if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("an error of %d bytes: %.300q", len(err.Error()), err)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Errorf("%v", took)
			}
		})
	}
}

// TestResultsOfOtherKinds: nothing is waited for and nothing is read that is no file, and Compare ends with its context.
func TestResultsOfOtherKinds(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.json")
	if err := os.WriteFile(good, []byte(`{"results":{"arc_easy":{"acc,none":0.5}},"n-samples":{"arc_easy":{"effective":1000}},"vkcome":{"date_id":"d"}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	pipe, sparse := filestest.Pipe(t, filepath.Join(dir, "pipe")), filepath.Join(dir, "sparse")
	if err := os.WriteFile(sparse, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(sparse, 20<<30); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{pipe: "is a pipe", sparse: "expected at most", filestest.Device: "is a device", dir: "is a folder"} {
		if _, err := eval.Compare(t.Context(), good, file); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", file, err)
		}
	}
	samples := filepath.Join(dir, "samples_arc_easy_d.jsonl")
	if !filestest.PipesInFolders {
		return
	}
	filestest.Pipe(t, samples)
	if _, err := eval.Compare(t.Context(), good, good); err == nil || !strings.Contains(err.Error(), "is a pipe") {
		t.Errorf("samples: %v", err)
	}
}
