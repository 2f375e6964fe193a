//go:build unix

package hostile

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func init() { kinds["own"] = ownCases; kinds["work"] = workCases }

// written is the clean folder after a run that writes a pruned model, and one that writes scores.
func written() input {
	args := []string{"prune", "model", "small", "-m", "come", "--tokens", "ids.json", "--window", "16", "--samples", "2", "--target-layers", "2", "-q"}
	return ran("written", clean(), args, []string{"stats", "model", "scores.safetensors", "--tokens", "ids.json", "--window", "16", "--samples", "4", "-q"})
}

// results are those of an evaluation, as lm-eval writes them.
const results = `{"results":{"arc_easy":{"alias":"arc_easy","acc,none":0.25,"acc_stderr,none":0.1,"acc_norm,none":0.5,"acc_norm_stderr,none":0.1},"piqa":{"alias":"piqa","acc,none":0.5,"acc_stderr,none":"N/A"}},
 "groups":{},"group_subtasks":{"arc_easy":[],"piqa":[]},"configs":{"arc_easy":{"task":"arc_easy","num_fewshot":0,"metadata":{"version":1.0}},"piqa":{"task":"piqa"}},"versions":{"arc_easy":1.0,"piqa":1.0},"n-shot":{"arc_easy":0,"piqa":0},
 "higher_is_better":{"arc_easy":{"acc":true,"acc_norm":true},"piqa":{"acc":true}},"n-samples":{"arc_easy":{"original":20,"effective":20},"piqa":{"original":10,"effective":10}},
 "config":{"model":"hf","model_args":"pretrained=x","batch_size":1,"limit":null},"date":1.5,"model_name":"x","model_name_sanitized":"x","chat_template":null,"system_instruction":null,"fewshot_as_multiturn":false,"total_evaluation_time_seconds":"1.5"}`

func ownCases() (list []hostile) {
	made := written()
	base := clean()
	lineage := made["small/vkcome.json"].data
	plan := []string{"prune", "model", "out", "--plan", "plan.json", "--json", "-q"}
	add := func(name string, ok verdict, make func() input, runs ...[]string) {
		list = append(list, hostile{name: name, ok: ok, runs: runs, make: make})
	}
	for i, text := range []string{`{"steps":[null]}`, `{"steps":null}`, `{"steps":[{}]}`, `{"steps":[[]]}`, `{}`, `null`, `[]`, ``, `{"tree":[0,1]}`, `{"vkcome":"0.1.0","tree":[[0,[0,[0]]]],"steps":[{"from":3,"to":2,"merge_list":[0,0]}]}`, `{"steps":[{"from":3,"to":2,"operation":"concat","merge_list":null,"layers":[0,1]}],"original_layers":3}`,
		`{"steps":[{"from":3,"to":2,"operation":"\u001b[31m","layers":[0,1]}],"original_layers":3}`, `{"steps":[` + strings.Repeat("null,", 100_000) + `null]}`, `{"tree":` + strings.Repeat("[", 9900) + "0" + strings.Repeat("]", 9900) + `,"steps":[]}`, `{"tree":` + strings.Repeat("[0,", 9900) + "0" + strings.Repeat("]", 9900) + `,"steps":[]}`} {
		add(fmt.Sprintf("plan %d %s", i, text), never, func() input { return base.file("plan.json", []byte(text)) }, plan)
	}
	for _, c := range changes(random("plan"), lineage, 60) {
		add("plan: "+c.name, sane, func() input { return base.file("plan.json", c.make()) }, plan)
	}
	pruned := clean()
	for name, e := range made {
		if rest, ok := strings.CutPrefix(name, "small/"); ok {
			pruned["model/"+rest] = e
		}
	}
	again := prune("--target-layers", "1")
	for i, text := range []string{`{"tree":` + strings.Repeat("[", 9900) + "0" + strings.Repeat("]", 9900) + `}`, `{"tree":` + strings.Repeat("[0,", 9900) + "0" + strings.Repeat("]", 9900) + `,"original_layers":3,"steps":[]}`, `{"tree":[null,null]}`, `{"tree":[[],[]]}`, `{"tree":[-1,99]}`, `{"steps":[null]}`, `null`, `{"method":"\u001b[31m","tree":[0,1],"original_layers":3}`} {
		add(fmt.Sprintf("lineage %d %s", i, text), sane, func() input { return pruned.file("model/vkcome.json", []byte(text)) }, inspect(), again)
	}
	for _, c := range changes(random("lineage"), lineage, 25) {
		add("lineage: "+c.name, sane, func() input { return pruned.file("model/vkcome.json", c.make()) }, inspect(), again)
	}

	scores, rng := made["scores.safetensors"].data, random("scores")
	by := []string{"prune", "model", "out", "--stats", "scores.safetensors", "--target-layers", "2", "--json", "-q"}
	stats := func(name string, make func() []byte) {
		add("stats: "+name, never, func() input { return base.file("scores.safetensors", make()) }, by)
	}
	for range 24 {
		at, bit := rng.IntN(len(scores)), rng.IntN(8)
		stats(fmt.Sprintf("bit %d of byte %d", bit, at), func() []byte { return flip(scores, at, bit) })
	}
	for range 6 {
		at := rng.IntN(len(scores))
		stats(fmt.Sprintf("cut at %d", at), func() []byte { return scores[:at] })
	}
	header, data := apart(scores)
	for _, c := range changes(rng, header, 25) {
		if !strings.HasPrefix(c.name, "bit") {
			add("stats: "+c.name, sane, func() input { return base.file("scores.safetensors", joined(c.make(), data)) }, by)
		}
	}
	merge := []string{"stats", "merge", "out.safetensors", "scores.safetensors", "-q"}
	for range 6 {
		at, bit := rng.IntN(len(scores)), rng.IntN(8)
		add(fmt.Sprintf("stats merge: bit %d of byte %d", bit, at), never, func() input { return base.file("scores.safetensors", flip(scores, at, bit)) }, merge)
	}

	compare := []string{"eval", "compare", "a.json", "b.json"}
	pair := input{"a.json": {data: []byte(results)}, "b.json": {data: []byte(results)}}
	for _, c := range changes(random("results"), []byte(results), 55) {
		add("results: "+c.name, sane, func() input { return pair.file("b.json", c.make()) }, compare)
	}
	report, err := os.ReadFile("../../../../testdata/bench/lavapipe-22.3.6.json")
	if err != nil {
		panic(err)
	}
	reports := input{"a.json": {data: report}, "b.json": {data: report}}
	bench := []string{"bench", "compare", "a.json", "b.json"}
	for i, c := range changes(random("reports"), report, 45) {
		add("report: "+c.name, sane, func() input { return reports.file("b.json", c.make()) }, append(slices.Clone(bench), [][]string{nil, {"-o", "csv"}, {"--json"}}[i%3]...))
	}
	add("report: escapes in every name", sane, func() input {
		return reports.file("b.json", bytes.ReplaceAll(report, []byte(`"name": "`), []byte(`"name": "\u001b[31m\u009b\u202e`)))
	}, bench)
	add("results: escapes in every name", sane, func() input {
		return pair.file("a.json", bytes.ReplaceAll([]byte(results), []byte(`arc_easy`), []byte(`\u001b[31m\u009b\u202e`))).file("b.json", bytes.ReplaceAll([]byte(results), []byte(`arc_easy`), []byte(`\u001b[31m\u009b\u202e`)))
	}, compare)
	add("results: samples by an index that is huge", sane, func() input { return base.file("samples.json", []byte(`{"arc_easy":[0,99999999999,-1]}`)) }, []string{"eval", "tasks", "model", "--tasks", "arc_easy", "--samples", "samples.json", "--data", "none", "-q"})
	slices.SortStableFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return list
}

// unfinished is the clean folder with the steps of a run that was killed, in "work".
func unfinished() input {
	return once("unfinished", func() (input, error) {
		for range 20 {
			in, err := killed()
			if err != nil || in != nil {
				return in, err
			}
		}
		return nil, errors.New("no run was killed after its first step")
	})
}

// killed is nothing where the run was done before it was killed.
func killed() (input, error) {
	dir, err := os.MkdirTemp("", "hostile-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := clean().write(dir); err != nil {
		return nil, err
	}
	cmd := exec.Command(program, resumed()...)
	cmd.Dir, cmd.Env = dir, append(environment(), "HOME="+home, "XDG_CACHE_HOME="+filepath.Join(home, ".cache"), "HF_HUB_OFFLINE=1")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for running := true; running; {
		select {
		case err := <-ended:
			return nil, err
		case <-time.After(time.Millisecond / 4):
			_, err := os.Stat(filepath.Join(dir, "work", "step-000001"))
			running = err != nil
		}
	}
	_ = cmd.Process.Kill() // it may have ended
	<-ended
	work, err := folder(filepath.Join(dir, "work"), "work")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	in := clean()
	for name, e := range work {
		in[name] = e
	}
	if _, ok := in["work/step-000001/run.json"]; !ok {
		return nil, err
	}
	return in, err
}

// resumed is a command that goes on with it.
func resumed(more ...string) []string {
	return append([]string{"prune", "model", "out", "-m", "come", "--tokens", "ids.json", "--window", "16", "--samples", "2", "--target-layers", "1", "--no-repeat=false", "--work", "work", "-q"}, more...)
}

// workCases change the files of a checkpoint. Some are sealed again, as one does who means it; the run then starts afresh, goes on from what it can
// trust, or refuses: it never gives another model.
func workCases() (list []hostile) {
	base := unfinished()
	// The clean input of a comparison is the run that was not interrupted.
	add := func(name string, ok verdict, make func() input) {
		list = append(list, hostile{name: name, ok: ok, clean: clean, runs: [][]string{resumed("--resume")}, make: make})
	}
	const step = "work/step-000001/"
	for _, file := range []string{step + "run.json", step + "layers.json", step + "config.json", "work/manifest.json"} {
		raw := base[file].data
		for _, c := range changes(random(file), raw, 6) {
			add(file+": "+c.name, same, func() input { return base.file(file, c.make()) })
			if strings.HasPrefix(file, step) {
				add("sealed "+file+": "+c.name, sane, func() input {
					changed, sums := c.make(), base[step+"SHA256SUMS"].data
					sums = bytes.ReplaceAll(sums, fmt.Appendf(nil, "%x", sha256.Sum256(raw)), fmt.Appendf(nil, "%x", sha256.Sum256(changed)))
					return base.file(file, changed).file(step+"SHA256SUMS", sums)
				})
			}
		}
	}
	for _, text := range []string{`null`, `[]`, `{}`, `{"steps":[null]}`, `{"Steps":[null]}`, `{"steps":null,"tree":null}`} {
		raw := base[step+"run.json"].data
		add("sealed run.json "+text, sane, func() input {
			sums := bytes.ReplaceAll(base[step+"SHA256SUMS"].data, fmt.Appendf(nil, "%x", sha256.Sum256(raw)), fmt.Appendf(nil, "%x", sha256.Sum256([]byte(text))))
			return base.file(step+"run.json", []byte(text)).file(step+"SHA256SUMS", sums)
		})
	}
	for name := range base {
		if raw := base[name].data; strings.HasPrefix(name, "work/") && len(raw) > 0 {
			at, bit := len(raw)/2, 3
			add(fmt.Sprintf("bit %d of byte %d of %s", bit, at, name), same, func() input { return base.file(name, flip(raw, at, bit)) })
			add("the half of "+name, same, func() input { return base.file(name, raw[:len(raw)/2]) })
		}
	}
	for _, file := range []string{"work/lock", "work/manifest.json", step + "SHA256SUMS", step + "run.json", step + "scorer"} {
		for name, e := range special() {
			add(file+" is "+name, same, func() input {
				return base.with(file, e).with("work/loop", entry{mode: fs.ModeSymlink, to: filepath.Base(file)})
			})
		}
	}
	slices.SortStableFunc(list, func(a, b hostile) int { return strings.Compare(a.name, b.name) })
	return list
}
