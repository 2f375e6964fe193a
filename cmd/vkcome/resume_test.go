package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/prune"
)

// resumable is the arguments of a run on some windows, with as many outputs as there can be.
func resumable(out, method string, windows int) []string {
	return []string{"prune", embedded.Name, out, "--method", method, "--target-layers", "8", "--save-steps", "--tokens", calib, "--window", "64", "--samples", fmt.Sprint(windows)}
}

// contents are the files under a folder, by path.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		name, relErr := filepath.Rel(dir, path)
		files[name] = string(raw)
		if err == nil {
			err = relErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func sameFiles(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	got := contents(t, dir)
	for name, text := range want {
		switch other, ok := got[name]; {
		case !ok:
			t.Errorf("%s is missing", name)
		case other != text && len(text) < 1<<16:
			t.Errorf("%s is %s\nwant %s", name, other, text)
		case other != text:
			t.Errorf("%s has other bytes", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("left behind: %s", name)
		}
	}
}

// durations are those of a search in its lineage.
var durations = regexp.MustCompile(`"\w*seconds": [0-9.e+-]+`)

// sums are those of a lineage, and of a list that has them, in a list of files.
var sums = regexp.MustCompile(`"format":"vkcome files 1","sha256":"[0-9a-f]{64}"|"name":"vkcome.json","size":\d+,"sha256":"[0-9a-f]{64}"`)

// sameTimeless is sameFiles but for durations in lineages, and the sums of those that have some.
func sameTimeless(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	timeless := map[string]string{}
	for name, text := range want {
		path := filepath.Join(dir, name)
		var but *regexp.Regexp
		switch timed := durations.MatchString(want[filepath.Join(filepath.Dir(name), model.Lineage)]); {
		case timed && filepath.Base(name) == model.Lineage:
			but = durations
		case timed && filepath.Base(name) == model.FileList:
			but = sums
		}
		if raw, err := os.ReadFile(path); err == nil && but != nil {
			text = but.ReplaceAllString(text, "")
			if err := os.WriteFile(path, but.ReplaceAll(raw, nil), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		timeless[name] = text
	}
	sameFiles(t, dir, timeless)
}

// started starts the binary and returns it with what it says on stderr.
func started(t *testing.T, args []string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := command(t.Context(), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &stderr
}

// killed waits for a moment, or for a path that matches and then a part of the moment, kills the process, and says whether it still ran.
func killed(t *testing.T, cmd *exec.Cmd, moment time.Duration, pattern string) bool {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if pattern != "" {
		awaited(t, pattern, ended)
		moment /= 200
	}
	select {
	case err := <-ended:
		ended <- err
	case <-time.After(moment):
	}
	_ = cmd.Process.Kill() // it may have ended
	<-ended
	return !cmd.ProcessState.Exited()
}

// awaited waits until a path matches, or until something has ended.
func awaited(t *testing.T, pattern string, ended chan error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if found, err := filepath.Glob(pattern); err != nil || len(found) > 0 {
			return
		}
		select {
		case err := <-ended:
			ended <- err
			return
		default:
		}
	}
	t.Fatalf("no %s after a minute", pattern)
}

// kills is how many of a kind a test makes: the second number where all of a kind are asked for, 240 and more of all kinds together.
func kills(few, all int) int {
	if whole() {
		return all
	}
	return few
}

// TestKill kills runs at random moments, every fifth while a folder is written, resumes them until they are done, and compares every file
// with that of a run that was left alone.
func TestKill(t *testing.T) {
	for _, c := range []struct {
		method string
		kills  int
	}{{"come", kills(20, 80)}, {"shortgpt", kills(10, 40)}} {
		t.Run(c.method, func(t *testing.T) {
			files := testKill(t, c.kills, func(out string) []string { return resumable(out, c.method, 16) })
			if models := 4; files[0] != models*files[1] {
				t.Fatalf("%d files, want those of %d models", files[0], models)
			}
		})
	}
	if !whole() {
		return
	}
	from := faultModel(t)
	m := filepath.Join(from, "m")
	on := []string{"--tokens", filepath.Join(from, "tokens.json"), "--window", "16"}
	t.Run("refit", func(t *testing.T) {
		testKill(t, 40, func(out string) []string {
			return append([]string{"refit", m, filepath.Join(from, "student"), out, "--fit-all"}, on...)
		})
	})
	t.Run("auto", func(t *testing.T) {
		testKill(t, 25, func(out string) []string {
			return append([]string{"auto", m, out, "--target-layers", "3", "--no-heal"}, on...)
		})
	})
}

// TestKillTraining does that for training, with a checkpoint after every step.
func TestKillTraining(t *testing.T) {
	training := []string{"--batch", "4", "--held-out", "4", "--budget-tokens", "1280", "--end-to-end", "3", "--checkpoint", "1ns"}
	t.Run("mp", func(t *testing.T) {
		testKill(t, kills(4, 40), func(out string) []string {
			return append(append(resumable(out, "come", 16), "--heal", "mp"), training...)
		})
	})
	student := filepath.Join(t.TempDir(), "student")
	vkcome(t, append(resumable(student, "come", 16), "-q")...)
	t.Run("distill", func(t *testing.T) {
		testKill(t, kills(4, 40), func(out string) []string {
			return append([]string{"distill", embedded.Name, student, out, "--tokens", calib, "--window", "64"}, training...)
		})
	})
}

// testKill kills the runs of a command that writes out. files is how many it leaves, and how many of these in out.
func testKill(t *testing.T, count int, command func(out string) []string) (files [2]int) {
	alone := t.TempDir()
	begin := time.Now()
	vkcome(t, append(command(filepath.Join(alone, "out")), "-q")...)
	duration := time.Since(begin)
	want := contents(t, alone)
	files = [2]int{len(want), len(contents(t, filepath.Join(alone, "out")))}
	rng := rand.New(rand.NewPCG(1, 2))
	writing, resumed := 0, map[string]int{}
	kills := 0
	// more asks for another kill: until there are count, and one of them came while a folder was written.
	more := func() bool { return kills < count || writing == 0 && kills < 10*count }
	for more() {
		dir := t.TempDir()
		args := command(filepath.Join(dir, "out"))
		for {
			cmd, stderr := started(t, args)
			if !slices.Contains(args, "--resume") {
				args = append(args, "--resume")
			}
			pattern := ""
			if kills%5 == 4 || kills >= count {
				pattern = filepath.Join(dir, ".out*.tmp-*", "*")
			}
			killing := more()
			was := killing && killed(t, cmd, time.Duration(rng.Float64()*float64(duration)), pattern)
			if !killing {
				_ = cmd.Wait() // the exit code tells
			}
			for line := range strings.Lines(stderr.String()) {
				if strings.HasPrefix(line, "going on after") {
					resumed[line]++
				}
			}
			if !was {
				if code := cmd.ProcessState.ExitCode(); code != 0 {
					t.Fatalf("exit %d: %s", code, stderr)
				}
				break
			}
			kills++
			if unfinished, _ := filepath.Glob(filepath.Join(dir, ".out*.tmp-*")); len(unfinished) > 0 {
				writing++
			}
		}
		sameTimeless(t, dir, want)
	}
	t.Logf("%d kills in runs of %v, %d of them while writing; %v", kills, duration.Round(time.Millisecond), writing, resumed)
	if writing == 0 || len(resumed) == 0 {
		t.Errorf("%d kills came while a folder was written, %d before a resume: the test shows nothing", writing, len(resumed))
	}
	return files
}

// many windows are so many batches that a step depends on what the one before found out.
const many = 64

// TestResume looks at what else may be found by a run that resumes: another one, other options, a torn checkpoint, somebody's folders.
func TestResume(t *testing.T) {
	alone := t.TempDir()
	vkcome(t, append(resumable(filepath.Join(alone, "out"), "come", many), "-q")...)
	want := contents(t, alone)
	// left is a folder in which a run was killed after its second step.
	left := func() (out, work string) {
		dir := t.TempDir()
		out = filepath.Join(dir, "out")
		work = prune.DefaultWork(out)
		cmd, stderr := started(t, resumable(out, "come", many))
		if !killed(t, cmd, 0, filepath.Join(work, "step-000002")) {
			t.Fatalf("the run ended: %s", stderr)
		}
		return out, work
	}
	resume := func(out string, extra ...string) []string {
		return append(append(resumable(out, "come", many), "--resume"), extra...)
	}
	instead := func(args []string, flag, value string) []string {
		args = slices.Clone(args)
		args[slices.Index(args, flag)+1] = value
		return args
	}

	out, _ := left()
	parent := filepath.Dir(out)
	refuse(t, 1, "holds the steps of an unfinished run: go on with --resume", append(resumable(out, "come", many), "-q")...)
	refuse(t, 1, "--psu was 1, is 2", resume(out, "-q", "--psu", "2")...)
	refuse(t, 1, "--target-layers was 8, is 7", instead(resume(out, "-q"), "--target-layers", "7")...)
	refuse(t, 1, "--method was come, is shortgpt", append(resumable(out, "shortgpt", many), "--resume", "-q")...)
	refuse(t, 1, "the calibration corpus was 64 windows of 64 tokens, is 8 windows of 64 tokens", instead(resume(out, "-q"), "--samples", "8")...)
	refuse(t, 1, "tier was ", resume(out, "-q", "--tier", "baseline")...)
	refuse(t, 2, "--any-device", append(resumable(out, "come", many), "--any-device")...)
	if _, stderr, code := try(t, resume(out)...); code != 0 || !strings.Contains(stderr, "going on after step ") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	sameFiles(t, parent, want)
	if _, stderr, code := try(t, resume(out)...); code != 0 || !strings.Contains(stderr, "is finished already") {
		t.Errorf("exit %d of a run that was finished: %s", code, stderr)
	}
	sameFiles(t, parent, want)
	refuse(t, 1, "exists already", instead(resume(out, "-q"), "--target-layers", "7")...)

	// Truncated: no other checkpoint is left, so it starts afresh, and says so.
	out, work := left()
	steps, err := filepath.Glob(filepath.Join(work, "step-*", "scorer"))
	if err != nil || len(steps) == 0 {
		t.Fatal(steps, err)
	}
	for _, path := range steps {
		if err := os.Truncate(path, 100); err != nil {
			t.Fatal(err)
		}
	}
	if _, stderr, code := try(t, resume(out)...); code != 0 || !strings.Contains(stderr, "is damaged and left out: scorer is not as it was written\n") || !strings.Contains(stderr, "starting afresh") {
		t.Errorf("exit %d after a checkpoint was cut: %s", code, stderr)
	}
	sameFiles(t, filepath.Dir(out), want)

	// A step's folder that is somebody's is not overwritten, and what was done until then is kept.
	out, work = left()
	theirs := filepath.Join(prune.StepDir(out, 9), "letter.txt")
	if err := os.MkdirAll(filepath.Dir(theirs), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(theirs, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	refuse(t, 1, "it will not be replaced; what was done up to step 3 is kept in "+work, resume(out, "-q", "--force")...)
	if raw, err := os.ReadFile(theirs); err != nil || string(raw) != "mine" {
		t.Errorf("somebody's file is %q: %v", raw, err)
	}
	if err := os.RemoveAll(filepath.Dir(theirs)); err != nil {
		t.Fatal(err)
	}
	vkcome(t, resume(out, "-q")...)
	sameFiles(t, filepath.Dir(out), want)

	// Killed while it replaced a folder: the old one comes back, until the new one is there.
	out, _ = left()
	tmp := tmpOf(t, out)
	vkcome(t, "prune", embedded.Name, out, "--work", filepath.Join(t.TempDir(), "work"), "--method", "reverse", "--target-layers", "9", "-q")
	old := contents(t, out)
	if err := os.Rename(out, tmp+".old"); err != nil {
		t.Fatal(err)
	}
	refuse(t, 1, "exists already", resume(out, "-q")...)
	sameFiles(t, out, old)
	vkcome(t, resume(out, "-q", "--force")...)
	sameFiles(t, filepath.Dir(out), want)

	// A second run, while the first is at work.
	dir := t.TempDir()
	out, work = filepath.Join(dir, "out"), filepath.Join(dir, "work")
	args := append(instead(resumable(out, "come", many), "--samples", "200"), "--work", work)
	cmd, stderr := started(t, args)
	ended := make(chan error, 1)
	awaited(t, filepath.Join(work, "manifest.json"), ended)
	begin := time.Now()
	for _, flag := range []string{"--resume", "--force"} {
		refuse(t, 1, fmt.Sprintf("%s is in use by process %d on ", work, cmd.Process.Pid), append(args, "-q", flag)...)
	}
	t.Logf("two runs refused in %v", time.Since(begin))
	if !killed(t, cmd, 0, "") {
		t.Fatalf("the first run ended: %s", stderr)
	}
}

// tmpOf is the name under which a run with the default work folder writes out.
func tmpOf(t *testing.T, out string) string {
	t.Helper()
	cmd, stderr := started(t, append(resumable(out, "come", many), "--resume"))
	pattern := filepath.Join(filepath.Dir(out), ".out.tmp-*")
	if !killed(t, cmd, 0, pattern) {
		t.Fatalf("the run ended: %s", stderr)
	}
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0]
}
