package eval_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/files/filestest"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestResultsFaults lets each step of saving results fail: what has a results file's name is whole, and no other name is left.
func TestResultsFaults(t *testing.T) {
	file := resultsFile(t, "m", 0, []float64{1, 0, 1}, true)
	r, err := eval.ReadResults(file)
	if err != nil {
		t.Fatal(err)
	}
	r.Run = &eval.Run{DateID: "2026-01-02T03-04-05.678901"}
	want := ""
	for _, to := range []string{"folder", "file.json"} {
		var dir string
		save := func() error {
			dir = t.TempDir()
			_, err := r.Save(filepath.Join(dir, to), false)
			return err
		}
		if err := save(); err != nil {
			t.Fatal(err)
		}
		for _, raw := range under(t, dir) {
			want = raw
		}
		steps := filestest.EachStep(t, save, func(step string, err error) {
			if !errors.Is(err, filestest.Err) || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "eval: ") {
				t.Errorf("%s: %v", step, err)
			}
			if left := under(t, dir); len(left) > 0 {
				t.Errorf("after %s: left behind: %v", step, left)
			}
		})
		if steps < 4 || want == "" {
			t.Errorf("%s: %d steps", to, steps)
		}
	}
}

// under are the contents of the files below a folder.
func under(t *testing.T, dir string) (texts []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		texts = append(texts, string(raw))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// TestScoreCacheFaults lets each step of keeping scores fail: that is told, and a later run knows the scores that were kept, and no others.
func TestScoreCacheFaults(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	sequences := []run.Sequence{{Tokens: []uint32{1, 2, 3}, Scored: 1}, {Tokens: []uint32{1, 2, 4}, Scored: 1}}
	scores := []run.Score{{LogLikelihood: -1.25, Greedy: true}, {LogLikelihood: -2.5}}
	var dir string
	open := func() *eval.ScoreCache {
		t.Helper()
		c, err := eval.OpenScoreCache(t.Context(), dir, "a", d)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	keep := func() error {
		dir = t.TempDir()
		c := open()
		var all []error
		for i := range sequences {
			all = append(all, c.Put(sequences[i:i+1], scores[i:i+1]))
		}
		return errors.Join(append(all, c.Close())...)
	}
	steps := filestest.EachStep(t, keep, func(step string, err error) {
		if !errors.Is(err, filestest.Err) {
			t.Errorf("%s: %v", step, err)
		}
		c := open()
		for i, q := range sequences {
			if got, ok := c.Get(q); ok && got != scores[i] {
				t.Errorf("after %s: sequence %d: %v, want %v", step, i, got, scores[i])
			}
		}
	})
	if steps < 4 {
		t.Errorf("%d steps", steps)
	}
}
