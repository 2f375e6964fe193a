package work

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
)

var (
	spec = modeltest.Spec{Hidden: 16, Intermediate: 24, Layers: 5, Heads: 2, KVHeads: 1, HeadDim: 8, Vocab: 33, Context: 32, AttentionBias: true, DType: dtype.BF16}
	key  = []Field{{Name: "--psu", Value: "1"}, {Name: "--layers", Value: ""}, {Name: "device", Value: "a", Device: true}}
)

func open(t *testing.T, dir string, m *model.Model, o Options) *Folder {
	t.Helper()
	f, err := Open(dir, m, key, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// step makes a model of m without its layer at, the one below it replaced by a copy with other values.
func step(t *testing.T, m *model.Model, at int) *model.Model {
	t.Helper()
	made := &model.Layer{Weights: m.Layers[at-1].Weights}
	for p := range made.Weights {
		made.Weights[p].Data = bytes.Clone(modeltest.Bytes(t, made.Weights[p]))
		for i := range made.Weights[p].Data {
			made.Weights[p].Data[i] ^= 1
		}
	}
	var keep []int
	for l := range m.Layers {
		if l != at {
			keep = append(keep, l)
		}
	}
	layers := slices.Concat(m.Layers[:at-1], []*model.Layer{made}, m.Layers[at+1:])
	next, err := m.With(layers, keep)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func save(t *testing.T, f *Folder, n int, m *model.Model) {
	t.Helper()
	if err := f.Save(Checkpoint{Step: n, Model: m, Run: []byte{'0' + byte(n)}, Scorer: bytes.Repeat([]byte{byte(n)}, n)}); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, f *Folder, n, damaged int) *Checkpoint {
	t.Helper()
	c, lines, err := f.Load()
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != damaged || strings.Contains(strings.Join(lines, ""), "\n") {
		t.Errorf("%d damaged checkpoints: %q, want %d", len(lines), lines, damaged)
	}
	if c == nil {
		if n != 0 {
			t.Fatalf("no checkpoint, want step %d", n)
		}
		return nil
	}
	if c.Step != n || string(c.Run) != string([]byte{'0' + byte(n)}) || !bytes.Equal(c.Scorer, bytes.Repeat([]byte{byte(n)}, n)) {
		t.Fatalf("step %d: %q and %v, want step %d", c.Step, c.Run, c.Scorer, n)
	}
	return c
}

// written is a model's files.
func written(t *testing.T, m *model.Model) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := m.Write(context.Background(), dir, model.DefaultShard); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range names(t, dir) {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(raw)
	}
	return files
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// TestRestore saves steps that make layers of originals and of made layers, and finds the newest model as it was, file by file.
func TestRestore(t *testing.T) {
	m, _ := spec.Open(t)
	dir := filepath.Join(t.TempDir(), "work")
	f := open(t, dir, m, Options{})
	load(t, f, 0, 0)
	one := step(t, m, 1)   // 0' 2 3 4
	two := step(t, one, 3) // 0' 2 3'
	save(t, f, 1, one)
	save(t, f, 2, two)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, dir, m, Options{Resume: true})
	c := load(t, f, 2, 0)
	if got, want := written(t, c.Model), written(t, two); !reflect.DeepEqual(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	if c.Model.Layers[1] != m.Layers[2] {
		t.Error("layer 1 is not the original's layer 2")
	}
	three := step(t, c.Model, 1) // 0'' 3'
	save(t, f, 3, three)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	want := written(t, step(t, two, 1))
	f = open(t, dir, m, Options{Resume: true})
	if got := written(t, load(t, f, 3, 0).Model); !reflect.DeepEqual(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	save(t, f, 4, step(t, load(t, f, 3, 0).Model, 1))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, dir, m, Options{Resume: true})
	save(t, f, 5, load(t, f, 4, 0).Model)
	if got, want := names(t, dir), []string{"layer-000004-000000.safetensors", "lock", "manifest.json", "owner", "step-000005"}; !reflect.DeepEqual(got, want) {
		t.Errorf("the folder holds %v, want %v", got, want)
	}
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is there after Remove: %v", err)
	}
}

// TestState saves what Save has written, and finds it again, or finds out that it is not what was written.
func TestState(t *testing.T) {
	m, _ := spec.Open(t)
	dir := filepath.Join(t.TempDir(), "work")
	text := strings.Repeat("state", 1000)
	f := open(t, dir, m, Options{})
	save(t, f, 1, m)
	if c := load(t, f, 1, 0); c.Open != nil {
		t.Error("there is a state where none was written")
	}
	failed := errors.New("failed")
	for _, err := range []error{failed, nil} {
		c := Checkpoint{Step: 2, Model: m, Run: []byte("2"), Scorer: []byte{2, 2}, State: func(to io.Writer) error {
			_, writeErr := io.WriteString(to, text)
			return errors.Join(writeErr, err)
		}}
		if got := f.Save(c); !errors.Is(got, err) {
			t.Fatalf("%v, want %v", got, err)
		}
		if err != nil {
			load(t, f, 1, 0) // the one before is there still
		}
	}
	c := load(t, f, 2, 0)
	file, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(file); err != nil || string(got) != text {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "step-000002", "state"), 100); err != nil {
		t.Fatal(err)
	}
	load(t, f, 0, 1)
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
}

// TestDamaged cuts, changes or removes each file of the newest of two checkpoints, or both.
func TestDamaged(t *testing.T) {
	m, _ := spec.Open(t)
	one := step(t, m, 1)
	two := step(t, one, 3)
	files := []string{layersName, configName, runName, scorerName, sumsName, "../layer-000002-000002.safetensors"}
	for _, name := range files {
		for how, damage := range map[string]func(raw []byte) []byte{
			"cut":     func(raw []byte) []byte { return raw[:len(raw)/2] },
			"empty":   func([]byte) []byte { return nil },
			"changed": func(raw []byte) []byte { raw[len(raw)/3] ^= 4; return raw },
			"gone":    nil,
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "work")
				f := open(t, dir, m, Options{})
				save(t, f, 1, one)
				first := filepath.Join(dir, "step-000001")
				aside := filepath.Join(t.TempDir(), "aside")
				if err := os.CopyFS(aside, os.DirFS(first)); err != nil {
					t.Fatal(err)
				}
				save(t, f, 2, two)
				if err := os.CopyFS(first, os.DirFS(aside)); err != nil { // as if the process had been killed before removing it
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, "step-000002", name)
				if damage == nil {
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
				} else {
					raw, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, damage(raw), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				f = open(t, dir, m, Options{Resume: true})
				c := load(t, f, 1, 1)
				if got, want := written(t, c.Model), written(t, one); !reflect.DeepEqual(got, want) {
					t.Error("the model of the checkpoint before is another")
				}
				save(t, f, 2, step(t, c.Model, 3))
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				f = open(t, dir, m, Options{Resume: true})
				if got, want := written(t, load(t, f, 2, 0).Model), written(t, two); !reflect.DeepEqual(got, want) {
					t.Error("the step done again gives another model")
				}
				if err := os.Truncate(filepath.Join(dir, "step-000002", sumsName), 70); err != nil {
					t.Fatal(err)
				}
				load(t, f, 0, 1)
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("a folder without a checkpoint stays: %v", err)
				}
			})
		}
	}
}

// TestUnfinished leaves behind what a kill between any two writes may leave: it is no checkpoint, and goes.
func TestUnfinished(t *testing.T) {
	m, _ := spec.Open(t)
	dir := filepath.Join(t.TempDir(), "work")
	for _, name := range []string{"step-000003.tmp", "layer-000003-000000.safetensors", "layer-000003-000001.safetensors.tmp", "manifest.json.tmp", "owner.tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []Options{{}, {Resume: true}} {
		f := open(t, dir, m, o)
		load(t, f, 0, 0)
		if got, want := names(t, dir), []string{"lock", "manifest.json", "owner"}; !reflect.DeepEqual(got, want) {
			t.Errorf("the folder holds %v, want %v", got, want)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHalfRemoved finds what a kill at each point of a removal leaves: no step that cannot be resumed.
func TestHalfRemoved(t *testing.T) {
	m, _ := spec.Open(t)
	dir := filepath.Join(t.TempDir(), "work")
	f := open(t, dir, m, Options{})
	save(t, f, 1, step(t, m, 1))
	whole := filepath.Join(t.TempDir(), "whole")
	if err := os.CopyFS(whole, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	for n := range 12 {
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		f := open(t, dir, m, Options{Resume: true})
		calls := 0
		defer func() { removeAll = removeOurs }()
		removeAll = func(path string) error {
			if calls++; calls > n {
				return errors.New("killed")
			}
			return os.RemoveAll(path)
		}
		err := f.Remove()
		removeAll = removeOurs
		if (err == nil) != (calls <= n) {
			t.Fatal(calls, err)
		}
		if err == nil && n < 4 {
			t.Fatalf("removed by %d calls", calls)
		}
		f = open(t, dir, m, Options{Resume: true})
		if c, damaged, err := f.Load(); err != nil || len(damaged) > 0 || c != nil && n > 0 {
			t.Errorf("after %d calls: %v, %v, %v", n, c, damaged, err)
		}
		if err := f.Remove(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRefused(t *testing.T) {
	m, _ := spec.Open(t)
	dir := filepath.Join(t.TempDir(), "work")
	refused := func(want error, word string, key []Field, o Options) {
		t.Helper()
		_, err := Open(dir, m, key, o)
		if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "\n") {
			t.Fatalf("%v, want %v and one line with %q", err, want, word)
		}
	}
	f := open(t, dir, m, Options{})
	refused(ErrLocked, "process ", key, Options{Resume: true})
	refused(ErrLocked, "process ", key, Options{Discard: true})
	save(t, f, 1, step(t, m, 1))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	with := func(at int, value string) []Field {
		k := slices.Clone(key)
		k[at].Value = value
		return k
	}
	resume := Options{Resume: true}
	refused(ErrSteps, "prune.Output.Resume", key, Options{})
	refused(ErrDifferent, "--psu was 1, is 2", with(0, "2"), resume)
	refused(ErrDifferent, "--layers was not given, is 3", with(1, "3"), resume)
	refused(ErrDifferent, "--psu was 1, is 2", with(0, "2"), Options{Resume: true, AnyDevice: true})
	refused(ErrDifferent, "device was a, is b", with(2, "b"), resume)
	refused(ErrDifferent, "--psu was 1, is not given", key[1:], resume)
	refused(ErrDifferent, "--seed was not given, is 1", append(slices.Clone(key), Field{Name: "--seed", Value: "1"}), resume)
	f, err := Open(dir, m, with(2, "b"), Options{Resume: true, AnyDevice: true})
	if err != nil {
		t.Fatal(err)
	}
	load(t, f, 1, 0)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(dir, manifestName)
	if err := os.Truncate(manifest, 20); err != nil {
		t.Fatal(err)
	}
	refused(nil, "damaged manifest.json", key, resume)
	if err := os.Remove(manifest); err != nil {
		t.Fatal(err)
	}
	held := names(t, dir)
	refused(ErrForeign, "and no manifest.json that says whose it is", key, resume)
	refused(ErrForeign, "layer-000001-000000.safetensors and 2 more", key, Options{Discard: true}) // nothing says that they are vkcome's
	if got := names(t, dir); !reflect.DeepEqual(got, held) {
		t.Errorf("a folder without a manifest holds %v, held %v", got, held)
	}
	if err := os.WriteFile(manifest, []byte(`{"format":"vkcome work 2","sha2`), 0o644); err != nil { // a damaged one says so
		t.Fatal(err)
	}
	f = open(t, dir, m, Options{Discard: true})
	load(t, f, 0, 0)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	letter := filepath.Join(dir, "letter.txt")
	if err := os.WriteFile(letter, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	refused(ErrForeign, "letter.txt", key, Options{Discard: true})
	if got := names(t, dir); !reflect.DeepEqual(got, []string{"letter.txt"}) {
		t.Errorf("a folder of somebody's holds %v", got)
	}
	if err := os.Remove(letter); err != nil {
		t.Fatal(err)
	}
	f = open(t, dir, m, Options{}) // an empty folder may become one
	if err := os.WriteFile(letter, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !reflect.DeepEqual(got, []string{"letter.txt"}) {
		t.Errorf("Remove leaves %v, want somebody's letter alone", got)
	}
	dir = filepath.Join(dir, "none", "work")
	refused(os.ErrNotExist, "none", key, Options{})
}

// TestLockHandover opens and removes a folder from many goroutines: one at a time has it, and none is left with a folder that is gone.
func TestLockHandover(t *testing.T) {
	m, _ := spec.Open(t)
	dir := filepath.Join(t.TempDir(), "work")
	token := make(chan struct{}, 1)
	done := make(chan error)
	const workers, turns = 8, 25
	for range workers {
		go func() {
			for won := 0; won < turns; {
				f, err := Open(dir, m, key, Options{})
				if errors.Is(err, ErrLocked) {
					continue
				}
				if err != nil {
					done <- err
					return
				}
				select {
				case token <- struct{}{}:
				default:
					done <- errors.New("two have the folder at once")
					return
				}
				_, err = os.Stat(filepath.Join(dir, manifestName))
				<-token
				if err = errors.Join(err, f.Remove()); err != nil {
					done <- err
					return
				}
				won++
			}
			done <- nil
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
