package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/eval"
)

const (
	lmeval    = "../../testdata/lmeval/"
	taskModel = lmeval + "models/qwen3"
)

// evalTasks are the arguments of a run on the fixtures.
func evalTasks(more ...string) []string {
	return append([]string{"eval", "tasks", "--data", lmeval + "data"}, more...)
}

// taskFiles are the contents of a results file and of the samples beside it, without what differs from run to run.
func taskFiles(t *testing.T, file string) (contents string, r *eval.Results) {
	t.Helper()
	r, err := eval.ReadResults(file)
	if err != nil {
		t.Fatal(err)
	}
	same := *r
	same.Run, same.Date, same.Seconds, same.Config.Cache = nil, 0, "", nil
	raw, err := json.Marshal(same)
	if err != nil {
		t.Fatal(err)
	}
	samples, err := filepath.Glob(filepath.Join(filepath.Dir(file), "samples_*"))
	if err != nil || len(samples) != 8 {
		t.Fatalf("samples: %v %v", samples, err)
	}
	for _, name := range samples {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, text...)
	}
	return string(raw), r
}

// TestTasksKilled kills runs once they have kept scores, resumes them, and compares the files with those of a run that was let be.
func TestTasksKilled(t *testing.T) {
	dir := t.TempDir()
	cache := filepath.Join(dir, "cache")
	args := func(name string, more ...string) []string {
		folder := filepath.Join(dir, name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		return evalTasks(append(more, taskModel, "--tasks", "come7,lambada_openai", "--batch-size", "2", "--log-samples", "-o", filepath.Join(folder, "r.json"))...)
	}
	vkcome(t, args("whole", "--no-cache")...)
	want, _ := taskFiles(t, filepath.Join(dir, "whole", "r.json"))
	kept := func() (n int64) {
		files, err := filepath.Glob(filepath.Join(cache, "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if info, err := os.Stat(f); err == nil {
				n += info.Size()
			}
		}
		return n
	}
	kills := 0
	for i := range 4 {
		before := kept()
		cmd := command(t.Context(), args(fmt.Sprint("killed", i), "--cache", cache)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for done := false; !done; {
			select {
			case <-ended:
				done = true
			case <-time.After(time.Millisecond):
				if kept() < before+int64(1000*(i+1)) {
					continue
				}
				_ = cmd.Process.Kill() // it may have ended
				if <-ended != nil {
					kills++
				}
				done = true
			}
		}
	}
	if kills == 0 {
		t.Error("no run was killed before it ended")
	}
	vkcome(t, args("resumed", "--cache", cache)...)
	got, r := taskFiles(t, filepath.Join(dir, "resumed", "r.json"))
	if got != want {
		t.Error("a run that was killed and resumed gives other files")
	}
	if r.Run.Speed.Cached == 0 {
		t.Error("nothing of the killed runs was used")
	}
	vkcome(t, args("again", "--cache", cache)...)
	got, r = taskFiles(t, filepath.Join(dir, "again", "r.json"))
	if got != want {
		t.Error("scores that were kept give other files")
	}
	if r.Run.Speed.Sequences != 0 || r.Run.Speed.Rows != 0 {
		t.Errorf("a second run scored %d sequences", r.Run.Speed.Sequences)
	}
}

// TestTasksOutput checks what eval tasks and eval compare print and write.
func TestTasksOutput(t *testing.T) {
	dir := t.TempDir()
	run := func(more ...string) string {
		t.Helper()
		return string(vkcome(t, evalTasks(append(more, "--limit", "4", "--cache", filepath.Join(dir, "cache"))...)...))
	}
	holds := func(got string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("no %q in:\n%s", w, got)
			}
		}
	}
	both := filepath.Join(dir, "both")
	holds(run("embedded:tiny12", taskModel, "--tasks", "come7,wikitext", "-o", both, "--log-samples"),
		"embedded:tiny12", "qwen3", "Retained", "Above chance", "|arc_easy     |acc_norm       |↑  |", "|wikitext     |word_perplexity|↓  |", "average of 7")
	files, err := filepath.Glob(filepath.Join(both, "*", "results_*.json"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	holds(run(taskModel, "--tasks", "come7,wikitext"), "     Tasks      |Version|", "|come7 ", "| - arc_easy ", "|Groups|Version|", "|wikitext ")
	holds(run(taskModel, "--tasks", "come7,wikitext", "--baseline", files[0]), "average of 7", "100.0 %")
	// The samples beside a baseline's file pair the documents as those of a run do.
	var byModel, byFile struct {
		Side eval.Side `json:"side_by_side"`
	}
	for into, baseline := range map[any]string{&byModel: taskModel, &byFile: files[0]} {
		if err := json.Unmarshal([]byte(run("embedded:tiny12", "--tasks", "come7,wikitext", "--json", "--baseline", baseline)), into); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := byModel.Side, byFile.Side; !reflect.DeepEqual(a, b) || a.Chance == nil || len(a.Choices) != 7 || len(a.Rows) != 8 || a.Rows[1].Above[1] == nil || !a.Rows[1].Above[1].Paired {
		t.Errorf("side by side with the model\n%+v\nwith its file\n%+v", a, b)
	}
	var result eval.Comparison
	if err := json.Unmarshal(vkcome(t, "eval", "compare", files[0], files[0], "--json"), &result); err != nil {
		t.Fatal(err)
	}
	for _, d := range result.Rows {
		if d.Difference != 0 || !d.Paired || d.P == nil || *d.P != 1 {
			t.Errorf("a file differs from itself: %+v", d)
		}
	}
	holds(string(vkcome(t, append([]string{"eval", "compare"}, files...)...)), "|come7 ", "|paired", "McNemar", "Above chance", "A is not above chance, 0.3571.")
	holds(string(vkcome(t, "eval", "tasks", "--list")), "|arc_easy ", "allenai/ai2_arc ARC-Easy", "come7", "|mmlu_stem ")

	one := filepath.Join(dir, "one.json")
	run(taskModel, "--tasks", "arc_easy", "-o", one)
	other := filepath.Join(dir, "other.json")
	run(taskModel, "--tasks", "piqa", "-o", other)
	_, stderr, code := try(t, evalTasks(taskModel, "--tasks", "arc_easy,piqa", "--limit", "4", "--cache", filepath.Join(dir, "cache"), "--baseline", one)...)
	if code != 0 {
		t.Fatal(stderr)
	}
	holds(stderr, "left out, as not all results have them: piqa\n")
	before, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{evalTasks(taskModel, "--tasks", "arc_easy", "-o", one), "exists already", 1},
		{evalTasks(taskModel, "--tasks", "arc_eazy"), `there is no task "arc_eazy"; tasks: arc_challenge, arc_easy`, 2},
		{evalTasks(taskModel), "give --tasks", 2},
		{evalTasks("--tasks", "arc_easy"), "expected a model", 2},
		{evalTasks(taskModel, taskModel, "--tasks", "arc_easy", "-o", one), "name a folder", 2},
		{evalTasks(taskModel, "--tasks", "arc_easy", "--samples", `{"piqa":[1]}`), `samples of "piqa"`, 1},
		{evalTasks(taskModel, "--tasks", "arc_easy", "--samples", `{"arc_easy":[99]}`), "arc_easy: samples 99 to 99", 1},
		{evalTasks(taskModel, "--tasks", "arc_easy", "--samples", "nothing"), "neither a file nor JSON", 2},
		{evalTasks(taskModel, "--tasks", "mmlu_stem", "--samples", `{"mmlu_stem":[0]}`), "--samples: mmlu_stem is a group", 2},
		{evalTasks(taskModel, "--tasks", "arc_easy,,piqa"), "--tasks arc_easy,,piqa: an empty name", 2},
		{evalTasks(taskModel, "--tasks", "arc_easy", "--batch-size", "-3"), "--batch-size -3: expected 0 or more", 2},
		{evalTasks(taskModel, "--tasks", "arc_easy", "--bootstrap-iters", "-3"), "--bootstrap-iters -3: expected 0 or more", 2},
		{evalTasks(taskModel, "--tasks", "arc_easy", "--num-fewshot", "-1"), "--num-fewshot -1: expected 0 or more", 2},
		{evalTasks(taskModel, "--tasks", "arc_easy", "--limit", "-1"), "--limit -1: expected 0 or more", 2},
		{evalTasks(taskModel, "--tasks", "arc_easy", "--baseline", "nonexist.json"), "--baseline nonexist.json: neither a model nor a file of results", 1},
		{evalTasks("--device", "nothing", taskModel, dir, "--tasks", "arc_easy"), dir, 1},
		{evalTasks("--device", "nothing", taskModel, "--tasks", "arc_easy", "--cache", one), "--cache: mkdir " + one, 1},
		{evalTasks("--device", "nothing", taskModel, "--tasks", "arc_easy", "-o", filepath.Join(one, "results")), "--output: mkdir " + one, 1},
		{evalTasks(taskModel, "--tasks", "arc_easy", "--log-samples"), "--log-samples: give --output", 2},
		{[]string{"eval", "tasks", taskModel, "--tasks", "arc_easy", "--data", dir}, "allenai/ai2_arc", 1},
		{[]string{"eval", "compare", one, other}, "the results have no task in common", 1},
		{evalTasks("--device", "nothing", taskModel, "--tasks", "arc_easy", "--limit", "4", "--baseline", other), "the results have no task in common", 1},
		{evalTasks("--device", "nothing", taskModel, "--tasks", "arc_easy", "--limit", "3", "--baseline", one), "arc_easy: the results have n-samples 4 and 3", 1},
		{[]string{"eval", "compare", one, taskModel + "/config.json"}, "no results of tasks", 1},
	} {
		_, stderr, code := try(t, c.args...)
		if code != c.code || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit %d, %q; want %d, %q", c.args, code, stderr, c.code, c.want)
		}
	}
	if after, err := os.ReadFile(one); err != nil || !bytes.Equal(before, after) {
		t.Error("an output file was overwritten", err)
	}
}
