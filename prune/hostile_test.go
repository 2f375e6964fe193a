package prune

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files/filestest"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/work"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

var five = modeltest.Spec{Hidden: 16, Intermediate: 24, Layers: 5, Heads: 2, KVHeads: 1, HeadDim: 8, Vocab: 33, Context: 32}

// plans are lineages of five that somebody may give as a plan; the first two are good.
var plans = []string{
	`{"steps":[{"from":5,"to":4,"operation":"drop","drop_list":[2],"layers":[2]}]}`,
	`{"original_layers":5,"tree":[0,[1,2],3,4],"steps":[{"from":5,"to":4,"operation":"sum","merge_list":[1,2],"layers":[1,2],"ratio":[0.5,0.5]}]}`,
	`{"steps":[null]}`, `{"steps":[{"from":5,"to":4,"operation":"drop","drop_list":[2],"layers":[2]},null]}`, `{"steps":[]}`, `null`, `[]`, ``, `{}`,
	`{"steps":[{"from":5,"to":4,"operation":"drop","drop_list":[-1]}]}`, `{"steps":[{"from":5,"to":4,"operation":"drop","drop_list":[5]}]}`,
	`{"steps":[{"from":5,"to":3,"operation":"drop","drop_list":[2]}]}`, `{"steps":[{"from":5,"to":4,"operation":"drop","drop_list":[2],"scale":-1}]}`,
	`{"steps":[{"from":5,"to":4,"operation":"sum","merge_list":[1,2],"ratio":[0.5,1e300]}]}`, `{"steps":[{"from":5,"to":4,"operation":"sum","merge_list":[1,3],"ratio":[0.5,0.5]}]}`,
	`{"steps":[{"from":5,"to":4,"operation":"concat","merge_list":[1,2],"ratio":[1.5,-0.5],"kept":[{},{}]}]}`,
	`{"steps":[{"from":5,"to":4,"operation":"concat","merge_list":[1,2],"ratio":[0.5,0.5],"kept":[{"kv_heads":[0],"neurons":[0,1,1]},{}]}]}`,
	`{"steps":[{"from":5,"to":4,"operation":"concat","merge_list":[1,2],"ratio":[0.5,0.5],"norm":"other","kept":[{},{}]}]}`,
	`{"steps":[{"from":5,"to":4,"operation":"drop","drop_list":[2]},{"from":5,"to":4,"operation":"drop","drop_list":[2]}]}`,
	`{"original_layers":5,"tree":[-5]}`, `{"original_layers":5,"tree":[0,0]}`, `{"original_layers":5,"tree":[1,0]}`, `{"original_layers":5,"tree":[9]}`, `{"original_layers":-1}`,
	`{"original_layers":5,"tree":[[]]}`, `{"original_layers":5,"tree":[null]}`, `{"healing":{"stages":[null],"part":{"index":0,"of":1}}}`, `{"healing":{"part":{"index":-1,"of":1}}}`,
	`{"healing":{"stages":[{"group":{"layer":-1,"first":0,"last":1}}],"part":{"index":0,"of":1}}}`,
}

// FuzzPlan reads plans and holds them against a model: those that pass can be taken step by step.
func FuzzPlan(f *testing.F) {
	for _, text := range plans {
		f.Add([]byte(text))
	}
	m, _ := five.Open(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := ParseLineage(raw)
		if err != nil {
			return
		}
		p, err := NewPlan(m, Options{Replay: l})
		if err != nil || l.Steps[0].From != len(m.Layers) { // that of another model: see same
			return
		}
		if p.TargetLayers < 1 || p.TargetLayers >= len(m.Layers) || p.TargetLayers != l.Steps[len(l.Steps)-1].To {
			t.Errorf("%s: %d layers are left", raw, p.TargetLayers)
		}
		if _, err := json.Marshal(l); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	})
}

// TestPlans says which of the plans are refused.
func TestPlans(t *testing.T) {
	m, _ := five.Open(t)
	for i, text := range plans {
		l, err := ParseLineage([]byte(text))
		if err == nil {
			_, err = NewPlan(m, Options{Replay: l})
		}
		if good := i < 2; (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range plans { // what a program makes by itself
		var l Lineage
		if json.Unmarshal([]byte(text), &l) == nil {
			_, _ = NewPlan(m, Options{Replay: &l})
		}
	}
}

// FuzzLineage opens models with lineages that somebody wrote.
func FuzzLineage(f *testing.F) {
	for _, text := range plans {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"original_layers":9,"tree":[0,1,[2,[3,4]],6,8],"healing":{"stages":[{"group":{"layer":2,"first":2,"last":4}}],"part":{"index":0,"of":1}}}`))
	m, _ := five.Open(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		own := *m
		own.Files = fstest.MapFS{model.Lineage: {Data: raw}, model.Losses: {Data: []byte("{}")}}
		tree, root, err := ReadTree(&own)
		if err == nil {
			if err := distill.CheckGroups(distill.Groups(tree, root), len(own.Layers), root); err != nil {
				t.Errorf("%s: %v", raw, err)
			}
		}
		if p, err := newPair(&own, "option"); err == nil {
			_, _ = p.groups(m, &own, nil)
		}
		if p, err := openPart(&own); err == nil && p.lineage.Distill.Part.Of == 1 {
			_, _ = joinParts(t.Context(), []distilledPart{p})
		}
	})
}

// TestDeepLineage reads trees and other arrays that nest too deep, too many values and too many objects, in a time in proportion to their size.
func TestDeepLineage(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + "0" + strings.Repeat("]", n) }
	within := `{"original_layers":5,"tree":[` + deep(1000) + `,1,2,3,4]}`
	if l, err := ParseLineage([]byte(within)); err != nil || l.Tree[0].Originals() != 1 {
		t.Errorf("1,000 deep: %v", err)
	}
	for _, text := range []string{
		`{"tree":` + deep(9900) + `}`, `{"previous":` + deep(9900) + `}`, `{"original_layers":5,"tree":[` + deep(1100) + `]}`, strings.Repeat("[", 1<<20), strings.Repeat(`{"previous":`, 9900),
		`{"tree":[` + strings.Repeat("0,", 1<<24) + `0]}`, `{"steps":[` + strings.Repeat("{},", 1<<16) + `{}]}`,
	} {
		begin := time.Now()
		_, err := ParseLineage([]byte(text))
		if err == nil || len(err.Error()) > 300 {
			t.Errorf("%.40s, %d bytes: %.300v", text, len(text), err)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%.40s took %v", text, took)
		}
	}
}

// TestNoPlan gives what is no file as a plan, and as a model's lineage.
func TestNoPlan(t *testing.T) {
	dir := t.TempDir()
	pipe, sparse := filestest.Pipe(t, filepath.Join(dir, "pipe")), filepath.Join(dir, "sparse")
	if err := errors.Join(os.WriteFile(sparse, nil, 0o600), os.Truncate(sparse, 20<<30)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, sparse, filestest.Device, filepath.Join(dir, "none")} {
		done := make(chan error, 1)
		go func() { _, err := ReadLineage(path); done <- err }()
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v", path, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s is still read", path)
		}
	}
	m, folder := five.Open(t)
	if !filestest.PipesInFolders {
		return
	}
	filestest.Pipe(t, filepath.Join(folder, model.Lineage))
	if _, _, err := ReadTree(m); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a pipe as a lineage: %v", err)
	}
	if _, err := lineageOf(folder); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a pipe as a lineage: %v", err)
	}
}

// FuzzRun reads what checkpoints hold of runs that prune, distill and fit, as somebody forged it.
func FuzzRun(f *testing.F) {
	step := `{"from":5,"to":4,"operation":"drop","drop_list":[2],"layers":[2]}`
	for _, text := range []string{
		`{"steps":[` + step + `],"state":{"tree":[0,1,3,4],"protected":null,"ends":[1,3,4,5],"valid":2,"merged":0,"known":false},"devices":[{"name":"x"}]}`,
		`{"steps":[null],"devices":[{}]}`, `{"steps":[` + step + `]}`, `{"steps":[],"devices":[]}`, `{"steps":[` + step + `],"devices":[{}],"state":null}`, `null`,
		`{"steps":[` + step + `],"devices":[{}],"state":{"tree":[0],"ends":[9]}}`, `{"steps":[` + step + `],"devices":[{}],"state":{"tree":[0,1,3,4],"protected":[true],"valid":-1}}`,
		`{"steps":[` + step + `],"devices":[{}],"healing":{"steps":7,"done":{"stages":[null]}}}`, `{"options":{},"progress":{"stages":[null]}}`, `[[{"layer":9}]]`, `[null,null,null,null,null,null]`,
		`{"options":{"batch":0,"held_out":-1},"progress":{"stages":[{"steps":-1,"done":5}],"windows":-1}}`,
	} {
		f.Add([]byte(text))
	}
	m, _ := five.Open(f)
	windows := modeltest.Windows(33, 8, 16)
	plan, err := NewPlan(m, Options{TargetLayers: 3, Method: method.Reverse{}})
	healed, healErr := NewPlan(m, Options{TargetLayers: 3, Method: method.Reverse{}, Distill: &DistillOptions{Schedule: DistillEach, Windows: windows}})
	if err := errors.Join(err, healErr); err != nil {
		f.Fatal(err)
	}
	four, err := m.With(slices.Delete(slices.Clone(m.Layers), 2, 3), []int{0, 1, 3, 4})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := &work.Checkpoint{Step: 1, Model: four, Run: raw}
		for _, p := range []*Plan{plan, healed} {
			task := &pruning{plan: p, driver: newDriver(nil, Output{Dir: "out"}, nil, nil), state: p.state(m)}
			task.training.pruning = task
			if err := task.restore(t.Context(), c); err != nil {
				continue
			}
			s := task.state
			if len(s.Tree) != 4 || len(task.taken) == 0 || s.Ends != nil && len(s.Ends) != 4 || s.Protected != nil && len(s.Protected) != 4 {
				t.Errorf("%s: a state of %d layers after %d steps", raw, len(s.Tree), len(task.taken))
			}
		}
		student := &Distillation{Teacher: m, Student: four, Options: DistillationOptions{Distill: DistillOptions{Windows: windows}}}
		_ = (&distilling{plan: student, driver: newDriver(nil, Output{Dir: "out"}, nil, nil)}).resume(t.Context(), c, false)
		var fits refitting
		fits.plan = &Refitting{Student: four, Groups: []distill.Group{{Layer: 1, First: 1, Last: 2}}}
		if json.Unmarshal(raw, &fits.fits) == nil && fits.checkFits(4) == nil && len(fits.fits) > 1 {
			t.Errorf("%s: %d fits of a group", raw, len(fits.fits))
		}
	})
}

// FuzzSearchFile reads files of searches, with the right sum, that somebody forged.
func FuzzSearchFile(f *testing.F) {
	for _, text := range []string{`{"search":{"trials":[{"candidate":"sleb","round":0,"windows":4,"seconds":1,"perplexity":9,"outcome":"goes on"}],"chosen":"sleb","windows":8},"compare":4}`,
		`{"steps":{"sleb":[null]}}`, `{"steps":{"none":[]}}`, `null`, `{"search":{"chosen":"none"}}`, `{"search":{"trials":[{"candidate":"sleb","round":-1,"windows":0}]}}`, `{"compare":-1}`,
		`{"search":{"windows":99}}`, `{"search":{"trials":[{"candidate":"greedy, refit","windows":4}],"chosen":"greedy, refit","windows":1,"replayed":true,"heal_seconds":1e300}}`} {
		f.Add([]byte(text))
	}
	m, _ := five.Open(f)
	a, err := NewAuto(m, AutoOptions{TargetLayers: 3, Windows: modeltest.Windows(33, 16, 16)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := readSearch(raw); err == nil && !bytes.HasPrefix(raw, []byte(`{"format"`)) {
			t.Errorf("%s is a search", raw)
		}
		if !json.Valid(raw) {
			return
		}
		text, err := work.Seal(searchFormat, json.RawMessage(raw))
		if err != nil {
			return
		}
		was, err := readSearch(text)
		s := &search{Auto: a}
		if err != nil || s.check(was) != nil {
			return
		}
		s.begin()
		s.record, s.steps, s.pass, s.compare = was.Record, was.Steps, was.Pass, was.Compare
		for round := range fractions {
			s.halve(round)
			s.quickest(round)
		}
		for _, t := range s.last() {
			s.most(s.candidate(t.Candidate), t)
		}
		for name := range s.steps {
			s.replays(s.candidate(name))
		}
	})
}

// snapshotOf is all that is below a folder, but for where a file that was changed is another.
func snapshotOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil || e.IsDir():
			return err
		case e.Type().IsRegular():
			raw, err := os.ReadFile(path)
			all[path] = string(raw)
			return err
		}
		all[path], err = os.Readlink(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestForceLosesNothing puts somebody's files into and beside what a run writes, or changes what one wrote, and runs again by all means: whatever
// becomes of the run, no file of somebody's is changed or gone, and what is in the way is named.
func TestForceLosesNothing(t *testing.T) {
	m, source := five.Open(t)
	if err := os.WriteFile(filepath.Join(source, "tokenizer.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := vktest.Open(t, vk.Options{})
	run := func(o Output, target int) error {
		p, err := NewPlan(m, Options{TargetLayers: target, Method: method.Reverse{}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.RunTo(t.Context(), d, o, nil)
		return err
	}
	rng := rand.New(rand.NewPCG(16, 6))
	base := t.TempDir()
	clean := filepath.Join(base, "out")
	if err := run(Output{Dir: clean, SaveSteps: true}, 3); err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Base(Output{Dir: clean}.defaults().temporary(clean))
	names := []string{"out/notes.txt", "out/folder/notes.txt", "out/model.safetensors.bak", "out/config.json.orig", "out/.hidden", "out/tokenizer.json/x", "out/README.md", "out.L4/notes.txt",
		"out.L4/adapter.safetensors", tmp + "/notes.txt", tmp + "/config.json", tmp + ".old/config.json", tmp + ".old/vkcome.json", ".out.vkcome-work/layer-cake.txt", ".out.vkcome-work/step-by-step/thesis",
		".out.vkcome-work/owner", ".out.vkcome-work/step-000001/thesis", "out/vkcome-files.json.tmp"}
	changes := []string{"out/config.json", "out/model.safetensors", "out/vkcome.json", "out/tokenizer.json", "out.L4/config.json"}
	refused := 0
	for i := range 60 {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
			t.Fatal(err)
		}
		// The temporary names go by the path of the work folder.
		own := filepath.Base(Output{Dir: filepath.Join(dir, "out")}.defaults().temporary(filepath.Join(dir, "out")))
		mine := map[string]string{}
		for range 1 + rng.IntN(2) {
			name := names[rng.IntN(len(names))]
			change := rng.IntN(3) == 0
			if change {
				name = changes[rng.IntN(len(changes))]
			}
			path := filepath.Join(dir, strings.Replace(name, tmp, own, 1))
			if os.MkdirAll(filepath.Dir(path), 0o755) != nil {
				continue
			}
			switch {
			case change && rng.IntN(2) == 0: // of the same size
				raw, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				raw[rng.IntN(len(raw))] ^= 1 << rng.IntN(8)
				mine[path] = string(raw)
			case !change && rng.IntN(4) == 0:
				aside := filepath.Join(dir, "aside", fmt.Sprint(len(mine)), "precious")
				if err := errors.Join(os.MkdirAll(filepath.Dir(aside), 0o755), os.WriteFile(aside, []byte("precious"), 0o644)); err != nil {
					t.Fatal(err)
				}
				to := []string{aside, filepath.Dir(aside)}[rng.IntN(2)]
				if os.Symlink(to, path) == nil {
					mine[path], mine[aside] = to, "precious"
				}
				continue
			default:
				mine[path] = fmt.Sprintf("mine %d", rng.IntN(1e6))
			}
			if err := os.WriteFile(path, []byte(mine[path]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		o := Output{Dir: filepath.Join(dir, "out"), Force: rng.IntN(5) > 0, Resume: rng.IntN(3) == 0, SaveSteps: rng.IntN(2) == 0}
		if rng.IntN(6) == 0 {
			o.Work = filepath.Join(dir, "aside")
		}
		err := run(o, 3+rng.IntN(2))
		after := snapshotOf(t, dir)
		for path, text := range mine {
			if after[path] != text {
				t.Fatalf("run %d, %+v: %v\n%s is gone or changed; left are %v", i, o, err, path, slices.Sorted(maps.Keys(after)))
			}
		}
		if err != nil {
			refused++
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("run %d: more than a line: %v", i, err)
			}
		}
	}
	if refused < 20 {
		t.Errorf("%d of 60 runs were refused", refused)
	}
	// As it was written, it is replaced; through a link it is not.
	link := filepath.Join(base, "link")
	if err := os.Symlink("out", link); err != nil {
		t.Fatal(err)
	}
	before := snapshotOf(t, base)
	if err := run(Output{Dir: link, Force: true}, 4); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), "is a link") {
		t.Errorf("through a link: %v", err)
	}
	if after := snapshotOf(t, base); !reflect.DeepEqual(after, before) {
		t.Error("a refused run changed something")
	}
	if err := run(Output{Dir: clean, Force: true, SaveSteps: true}, 3); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(base); err != nil || len(left) != 3 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestForceEarlier replaces a folder of an earlier vkcome, which has no list: the parts of a model and copies of the source's files may go.
func TestForceEarlier(t *testing.T) {
	m, source := five.Open(t)
	if err := os.WriteFile(filepath.Join(source, "tokenizer.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := vktest.Open(t, vk.Options{})
	out := filepath.Join(t.TempDir(), "out")
	run := func(o Output) error {
		p, err := NewPlan(m, Options{TargetLayers: 4, Method: method.Reverse{}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.RunTo(t.Context(), d, o, nil)
		return err
	}
	if err := run(Output{Dir: out}); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(out, model.FileList)
	for _, c := range []struct{ name, text, want string }{{"", "", ""}, {"tokenizer.json", "[]", "tokenizer.json"}, {"notes", "mine", "notes"}, {"folder/x", "mine", "folder"}} {
		if err := os.Remove(list); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if c.name != "" {
			path := filepath.Join(out, c.name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(c.text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		before := snapshotOf(t, out)
		err := run(Output{Dir: out, Force: true})
		if c.want == "" {
			if _, lost := os.Lstat(list); err != nil || lost != nil {
				t.Errorf("%v, %v", err, lost)
			}
			continue
		}
		if !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), c.want) || !reflect.DeepEqual(snapshotOf(t, out), before) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := os.RemoveAll(filepath.Join(out, strings.Split(c.name, "/")[0])); err != nil {
			t.Fatal(err)
		}
		if c.name == "tokenizer.json" {
			if err := os.WriteFile(filepath.Join(out, c.name), []byte("{}"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
