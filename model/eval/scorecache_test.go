package eval_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/eval/task"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestScoreCache(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	dir := t.TempDir()
	open := func(hash string) *eval.ScoreCache {
		t.Helper()
		c, err := eval.OpenScoreCache(t.Context(), dir, hash, d)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	sequences := []run.Sequence{{Tokens: []uint32{1, 2, 3}, Scored: 1}, {Tokens: []uint32{1, 2, 3}, Scored: 2}, {Tokens: []uint32{1, 2, 4}, Scored: 1}}
	scores := []run.Score{{LogLikelihood: -1.25, Greedy: true}, {LogLikelihood: -2.5}, {LogLikelihood: -1e-300}}
	// Two runs at the same time, one of which is killed and leaves a torn record.
	a, b := open("a"), open("a")
	for i := range sequences {
		if _, ok := a.Get(sequences[i]); ok {
			t.Fatal("an empty cache knows a score")
		}
	}
	if err := a.Put(sequences[:1], scores[:1]); err != nil {
		t.Fatal(err)
	}
	if err := b.Put(sequences[1:], scores[1:]); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*eval.ScoreCache{a, b} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	known := func(hash string, want ...bool) {
		t.Helper()
		c := open(hash)
		for i, w := range want {
			got, ok := c.Get(sequences[i])
			if ok != w || ok && got != scores[i] {
				t.Errorf("sequence %d: %v %v, want %v %v", i, got, ok, scores[i], w)
			}
		}
	}
	known("a", true, true, true)
	known("b", false, false, false)
	if err := (op.Kernels{"loads": "buffers"}).Use(d); err != nil {
		t.Fatal(err)
	}
	known("a", false, false, false) // other kernels may give other last bits
	if err := op.Kernels(nil).Use(d); err != nil {
		t.Fatal(err)
	}
	known("a", true, true, true)
	files, err := filepath.Glob(filepath.Join(dir, "*", "scores-*.bin"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) < 96 {
			continue
		}
		if err := os.WriteFile(file, raw[:95], 0o600); err != nil {
			t.Fatal(err)
		}
		known("a", true, true, false)
		raw[3] ^= 1
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		known("a", true, false, true)
	}
}

// A cache that cannot be written loses nothing else.
func TestScoreCacheLost(t *testing.T) {
	tasks, groups, err := task.Find([]string{"arc_easy"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d, m := vktest.Open(t, vk.Options{}), openLMEval(t, "qwen3")
	o := eval.TaskOptions{Limit: 2, Source: task.Source{Dir: fixtures}, Cache: filepath.Join(file, "cache")}
	r, err := eval.RunTasks(t.Context(), d, m, tasks, groups, o)
	if err != nil {
		t.Fatal(err)
	}
	o.Cache = ""
	want, err := eval.RunTasks(t.Context(), d, m, tasks, groups, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Run.CacheError == "" || want.Run.CacheError != "" || outcome(t, r) != outcome(t, want) {
		t.Errorf("%q and %q, the results are the same: %v", r.Run.CacheError, want.Run.CacheError, outcome(t, r) == outcome(t, want))
	}
}
