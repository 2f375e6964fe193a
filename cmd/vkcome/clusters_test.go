package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// parsed refuses a command line that has no verb, flags that the verb does not know, or more or fewer arguments than it takes.
func parsed(args []string) error {
	for _, v := range verbs {
		words := strings.Fields(v.name)
		if len(args) < len(words) || !slices.Equal(args[:len(words)], words) {
			continue
		}
		f := pflag.NewFlagSet(v.name, pflag.ContinueOnError)
		f.SetOutput(io.Discard)
		v.flags(f)
		if err := f.Parse(args[len(words):]); err != nil {
			return err
		}
		if least, most := v.arity(); f.NArg() < least || f.NArg() > most {
			return fmt.Errorf("%d arguments, expected %d to %d", f.NArg(), least, most)
		}
		if part := f.Lookup("shard"); part != nil && part.Changed {
			env := map[string]string{"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "7", "SLURM_ARRAY_TASK_COUNT": "8"}
			if i, n, err := shard(part.Value.String(), func(name string) string { return env[name] }); i != 1 || n != 8 || err != nil {
				return fmt.Errorf("--shard %s is part %d of %d: %w", part.Value, i, n, err)
			}
		}
		return nil
	}
	return fmt.Errorf("no verb")
}

// stub puts a program of a few lines of shell where a script finds it first.
func stub(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestSlurmScripts runs the scripts for Slurm with programs in the place of Slurm's and vkcome, which tell what they were called with.
func TestSlurmScripts(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Fatal("the scripts are bash's: ", err)
	}
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	stub(t, dir, "srun", `exec "$@"`)
	stub(t, dir, "vkcome", `for word; do echo "$word"; done >>"$SAID"; echo >>"$SAID"; exit $CODE`)
	stub(t, dir, "scontrol", `echo "scontrol $*" >>"$SAID"; echo >>"$SAID"`)
	stub(t, dir, "sbatch", `for word; do echo "$word"; done >>"$SAID"; echo >>"$SAID"; wc -l <"$SAID"`)
	settings := filepath.Join(dir, "settings.sh")
	own, err := filepath.Abs("clusters/slurm/settings.sh")
	if err == nil {
		err = os.WriteFile(settings, fmt.Appendf(nil, "source %q\nOUT=%q\nWORK=$OUT.parts\n", own, filepath.Join(dir, "out")), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	run := func(script string, code int, args []string, env ...string) (calls [][]string, status int) {
		t.Helper()
		if err := os.WriteFile(said, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "bash", append([]string{filepath.Join("clusters/slurm", script)}, args...)...)
		cmd.Env = append(append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "SAID="+said, fmt.Sprint("CODE=", code), "USER=me", "SLURM_JOB_ID=9"), env...)
		out, err := cmd.CombinedOutput()
		if err != nil && cmd.ProcessState == nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
		raw, err := os.ReadFile(said)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range strings.Split(strings.TrimSpace(string(raw)), "\n\n") {
			calls = append(calls, strings.Split(call, "\n"))
		}
		return calls, cmd.ProcessState.ExitCode()
	}
	array := []string{"SLURM_ARRAY_JOB_ID=7", "SLURM_ARRAY_TASK_ID=1", "SLURM_RESTART_COUNT=2"}
	for script, again := range map[string]string{"score.sh": "7_1", "prune.sh": "9", "refit.sh": "7_1", "heal.sh": "7_1", "merge.sh": ""} {
		env := array
		if again == "9" || again == "" {
			env = nil
		}
		calls, code := run(script, 0, []string{settings}, env...)
		if code != 0 {
			t.Errorf("%s: exit %d", script, code)
		}
		for _, call := range calls {
			if err := parsed(call); err != nil {
				t.Errorf("%s: vkcome %s: %v", script, strings.Join(call, " "), err)
			}
		}
		if calls, code := run(script, 1, []string{settings}, env...); code != 1 || len(calls) != 1 {
			t.Errorf("%s after an error: exit %d, %q", script, code, calls)
		}
		calls, code = run(script, interruptedCode, []string{settings}, env...)
		if last := strings.Join(calls[len(calls)-1], " "); code != interruptedCode || (last == "scontrol requeue "+again) != (again != "") {
			t.Errorf("%s when interrupted: exit %d, %s", script, code, last)
		}
		if calls, _ := run(script, interruptedCode, []string{settings}, append(env, "SLURM_RESTART_COUNT=9")...); len(calls) != 1 {
			t.Errorf("%s when interrupted for the tenth time: %q", script, calls)
		}
	}
	if calls, _ := run("refit.sh", interruptedCode, []string{settings}); strings.Join(calls[len(calls)-1], " ") != "scontrol requeue 9" {
		t.Errorf("refit.sh as a job of several tasks, when interrupted: %q", calls)
	}
	calls, code := run("submit.sh", 0, []string{settings, "--partition=gpu"})
	if code != 0 || len(calls) != 5 {
		t.Fatalf("submit.sh: exit %d: %q", code, calls)
	}
	for i, call := range calls {
		script := filepath.Base(call[len(call)-2])
		if script != []string{"score.sh", "prune.sh", "refit.sh", "heal.sh", "merge.sh"}[i] || call[len(call)-1] != settings || !slices.Contains(call, "--partition=gpu") ||
			strings.HasPrefix(call[1], "--dependency=afterok:") != (i > 0) || slices.Contains(call, "--array=0-7") != (script != "prune.sh" && script != "merge.sh") {
			t.Errorf("submit.sh: sbatch %s", strings.Join(call, " "))
		}
	}
}

// TestKubernetesManifests reads what the jobs for Kubernetes run. .ci/manifests.sh compares their fields with the API's.
func TestKubernetesManifests(t *testing.T) {
	type container struct {
		Name          string
		Command, Args []string
		VolumeMounts  []struct{ Name string } `yaml:"volumeMounts"`
	}
	for _, step := range []string{"score", "prune", "refit", "heal", "merge"} {
		var job struct {
			Spec struct {
				Completions, Parallelism int
				Template                 struct {
					Spec struct {
						InitContainers []container `yaml:"initContainers"`
						Containers     []container
						Volumes        []struct{ Name string }
					}
				}
			}
		}
		raw, err := os.ReadFile(filepath.Join("clusters/kubernetes", step+".yaml"))
		if err == nil {
			err = yaml.Unmarshal(raw, &job)
		}
		if err != nil {
			t.Fatal(err)
		}
		pod := job.Spec.Template.Spec
		for _, c := range append(pod.InitContainers, pod.Containers...) {
			args := slices.Clone(c.Args)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "$(JOB_COMPLETION_INDEX)", "1")
			}
			if err := parsed(args); err != nil || !slices.Equal(c.Command, []string{"vkcome"}) {
				t.Errorf("%s: %s %s: %v", step, c.Command, strings.Join(args, " "), err)
			}
			parts := 0
			if slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "--shard") }) {
				parts = 8
			}
			if job.Spec.Completions != parts || job.Spec.Parallelism != parts {
				t.Errorf("%s: %d parts, %d completions, %d at a time", step, parts, job.Spec.Completions, job.Spec.Parallelism)
			}
			for _, mount := range c.VolumeMounts {
				if !slices.Contains(pod.Volumes, mount) {
					t.Errorf("%s: no volume %s", step, mount.Name)
				}
			}
		}
		if len(pod.Containers) != 1 || pod.Containers[0].Name != step {
			t.Errorf("%s: %d containers", step, len(pod.Containers))
		}
	}
}

// TestClustersInManual compares the script that the manual shows with the one that runs.
func TestClustersInManual(t *testing.T) {
	manual, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("clusters/slurm/score.sh")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(manual, append([]byte("```sh\n"), append(script, "```\n"...)...)) {
		t.Error("README.md shows another score.sh than clusters/slurm/score.sh")
	}
}
