package work

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files/filestest"
)

// tree is all that is below a folder: contents of files, where links lead, and that there are folders.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
		case e.IsDir():
			all[name] = "folder"
		case e.Type()&fs.ModeSymlink != 0:
			all[name], err = os.Readlink(path)
		case e.Type().IsRegular():
			var raw []byte
			raw, err = os.ReadFile(path)
			all[name] = "file " + string(raw)
		default:
			all[name] = e.Type().String()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// put makes a file with the folders that it is in.
func put(t testing.TB, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// theirs are names that somebody's files may have, the more alike to those of a work folder the better.
func theirs(rng *rand.Rand) string {
	bases := []string{"layer-cake.txt", "step-by-step", "owner", "lock", "manifest.json", "manifest.json.tmp", "owner.tmp", "lock.tmp", "step-000001", "step-000001.tmp", "step-1", "step-000001x",
		"layer-000001-000002.safetensors", "layer-000001-000002.safetensors.tmp", "layer-000001.safetensors", "layer-1-2.safetensors", "step--00001", "STEP-000001", "thesis.tex", ".hidden", "step-", "layer-"}
	inner := []string{"thesis", "state", "run.json", "layers.json", "SHA256SUMS", "scorer", "config.json", "a/b"}
	name := bases[rng.IntN(len(bases))]
	if rng.IntN(3) == 0 {
		name = filepath.Join(name, inner[rng.IntN(len(inner))])
	}
	return name
}

// TestForeignFiles fills folders with files of somebody's, under names like vkcome's, and with links. Whatever is asked for, they stay as they
// are, and one of them is named.
func TestForeignFiles(t *testing.T) {
	m, _ := spec.Open(t)
	rng := rand.New(rand.NewPCG(16, 8))
	refused := func(dir string) {
		t.Helper()
		before := tree(t, filepath.Dir(dir))
		for _, o := range []Options{{}, {Resume: true}, {Discard: true}, {Resume: true, AnyDevice: true}} {
			f, err := Open(dir, m, key, o)
			if err == nil {
				err = f.Remove()
				t.Fatalf("%v became a work folder, and was removed: %v", before, err)
			}
			if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), dir) {
				t.Errorf("%v: %v, expected one line with the folder's name", before, err)
			}
			if after := tree(t, filepath.Dir(dir)); !reflect.DeepEqual(after, before) {
				t.Fatalf("%+v: %v\nwas %v\nis %v", o, err, before, after)
			}
		}
	}
	folder := func() string { return filepath.Join(t.TempDir(), "work") }
	dir := folder() // the issue's
	put(t, filepath.Join(dir, "layer-cake.txt"), "flour")
	put(t, filepath.Join(dir, "step-by-step", "thesis"), "years")
	put(t, filepath.Join(dir, "owner"), "me")
	refused(dir)
	links := filestest.Links(t)
	for range 300 {
		dir, n := folder(), 1+rng.IntN(4)
		for range n {
			name := filepath.Join(dir, theirs(rng))
			if _, err := os.Lstat(name); err == nil || os.MkdirAll(filepath.Dir(name), 0o755) != nil {
				continue
			}
			if rng.IntN(5) == 0 && links {
				aside := filepath.Join(filepath.Dir(dir), "aside", "precious")
				put(t, aside, "precious")
				if err := os.Symlink([]string{aside, filepath.Dir(aside)}[rng.IntN(2)], name); err != nil {
					t.Fatal(err)
				}
			} else {
				put(t, name, fmt.Sprintf("mine %d", rng.IntN(1e6)))
			}
		}
		refused(dir)
	}
	// The work folder is a link, and its parts are.
	for _, of := range []string{"", lockName, ownerName + temporary, manifestName, manifestName + temporary} {
		if !links {
			break
		}
		dir := folder()
		aside := filepath.Join(filepath.Dir(dir), "aside")
		put(t, filepath.Join(aside, "precious"), "precious")
		target := aside
		if of != "" {
			target = filepath.Join(aside, "precious")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(target, filepath.Join(dir, of)); err != nil {
			t.Fatal(err)
		}
		refused(dir)
	}
	// A pipe in the place of the lock is not waited for.
	dir = folder()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	pipe := filestest.Pipe(t, filepath.Join(dir, lockName))
	if filestest.PipesInFolders {
		refused(dir)
	}
	if _, err := Lock(pipe); err == nil {
		t.Error("a pipe was locked")
	}
	put(t, filepath.Join(dir, "text"), "mine")
	if _, err := Lock(filepath.Join(dir, "text")); err == nil {
		t.Error("somebody's file was taken for a lock")
	}
}

// TestForeignBeside puts somebody's files into a work folder with a checkpoint, before and while a run has it: they are named or left alone.
func TestForeignBeside(t *testing.T) {
	m, _ := spec.Open(t)
	one := step(t, m, 1)
	rng := rand.New(rand.NewPCG(16, 9))
	for range 40 {
		dir := filepath.Join(t.TempDir(), "work")
		f := open(t, dir, m, Options{})
		save(t, f, 1, one)
		name := filepath.ToSlash(theirs(rng))
		path := filepath.Join(dir, filepath.FromSlash(name))
		if first, _, _ := strings.Cut(name, "/"); first == "STEP-000001" {
			if _, err := os.Lstat(filepath.Join(dir, first)); err == nil {
				continue // where capitals make no other name, it is vkcome's
			}
		}
		if _, err := os.Lstat(path); err == nil || os.MkdirAll(filepath.Dir(path), 0o755) != nil {
			continue
		}
		if is, folder := ours(strings.Split(name, "/")[0]); is && !(folder && strings.Contains(name, "/")) || folder && slices.Contains(stepFiles, filepath.Base(name)) {
			continue // vkcome's own names, which a folder with its manifest has the use of
		}
		put(t, path, "mine")
		held := rng.IntN(2) == 0
		if held { // the run goes on, and ends
			save(t, f, 2, step(t, one, 1))
			_ = f.Remove() // it may name the file
		} else {
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			for _, o := range []Options{{Resume: true}, {Discard: true}} {
				if _, err := Open(dir, m, key, o); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), strings.Split(name, "/")[0]) {
					t.Errorf("%s: %v, expected its name", name, err)
				}
			}
		}
		found := false
		for name, text := range tree(t, dir) {
			found = found || text == "file mine" && filepath.Base(name) == filepath.Base(path)
		}
		if !found {
			t.Fatalf("%s, held %v: it is gone; left are %v", name, held, tree(t, dir))
		}
	}
}

// TestSealFlips changes every bit of a sealed text: none is read.
func TestSealFlips(t *testing.T) {
	text, err := Seal("a format", manifest{key})
	if err != nil {
		t.Fatal(err)
	}
	var back manifest
	if err := Unseal(text, "a format", &back); err != nil || !reflect.DeepEqual(back.Key, key) {
		t.Fatalf("%v, %v", back, err)
	}
	for bit := range 8 * len(text) {
		bad := bytes.Clone(text)
		bad[bit/8] ^= 1 << (bit % 8)
		if err := Unseal(bad, "a format", &back); err == nil {
			t.Fatalf("read with bit %d changed: %s", bit, bad)
		}
	}
	for n := range text {
		if err := Unseal(text[:n], "a format", &back); err == nil {
			t.Fatalf("read after %d bytes", n)
		}
	}
}

// TestCheckpointFlips changes bits of every file of a checkpoint, all of the small ones: it is left out, or gives what it gave.
func TestCheckpointFlips(t *testing.T) {
	m, _ := spec.Open(t)
	dir := filepath.Join(t.TempDir(), "work")
	f := open(t, dir, m, Options{})
	two := step(t, step(t, m, 1), 3)
	c := Checkpoint{Step: 1, Model: two, Run: []byte(`{"steps":[1,2]}`), Scorer: []byte("scores"), State: func(to io.Writer) error { _, err := to.Write([]byte("state")); return err }}
	if err := f.Save(c); err != nil {
		t.Fatal(err)
	}
	want := written(t, two)
	list := []string{manifestName}
	for _, name := range stepFiles {
		list = append(list, filepath.Join("step-000001", name))
	}
	list = append(list, "layer-000001-000000.safetensors")
	rng := rand.New(rand.NewPCG(16, 7))
	refused, kept := 0, 0
	for _, name := range list[1:] {
		path := filepath.Join(dir, name)
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bits := rng.Perm(8 * len(raw))
		for _, bit := range bits[:min(len(bits), 400)] {
			bad := bytes.Clone(raw)
			bad[bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(path, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := f.load(filepath.Join(dir, "step-000001"))
			if err != nil {
				refused++
				continue
			}
			kept++
			if string(got.Run) != string(c.Run) || string(got.Scorer) != string(c.Scorer) || got.Open == nil || !reflect.DeepEqual(written(t, got.Model), want) {
				t.Fatalf("%s with bit %d changed gives another checkpoint", name, bit)
			}
		}
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d flips refused, %d without effect", refused, kept)
	if _, err := f.load(filepath.Join(dir, "step-000001")); err != nil || refused < 1000 {
		t.Errorf("%d refused, and as it was: %v", refused, err)
	}
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
}

// forge writes files of a checkpoint, and the sums that belong to them, as somebody would who means harm.
func forge(dir string, parts map[string][]byte, layers []string) error {
	step := filepath.Join(dir, "step-000001")
	var sums bytes.Buffer
	for _, name := range layers {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  ../%s\n", sha256.Sum256(raw), name)
	}
	for name, raw := range parts {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(raw), name)
		if err := os.WriteFile(filepath.Join(step, name), raw, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(step, sumsName), sums.Bytes(), 0o644)
}

// FuzzCheckpoint reads checkpoints with the right sums and forged contents.
func FuzzCheckpoint(f *testing.F) {
	config := func(m *model.Model) []byte { return m.Config.JSON() }
	m, _ := spec.Open(f)
	one, err := m.Config.Choose([]int{0, 2, 3, 4})
	if err != nil {
		f.Fatal(err)
	}
	file := fmt.Sprintf(layerPattern, 1, 0)
	good := fmt.Sprintf(`[{"original":0,"file":%q},{"original":2},{"original":3},{"original":4}]`, file)
	for _, layers := range []string{good, `null`, `[null]`, `[{"original":-1}]`, `[{"original":9}]`, `[{"original":1},{"original":0}]`, `[{"file":"../../etc/passwd"}]`, `[]`,
		`[{"original":0},{"original":2},{"original":3},{"original":4}]`} {
		f.Add([]byte(layers), one.JSON())
		f.Add([]byte(layers), config(m))
	}
	f.Add([]byte(good), bytes.Replace(one.JSON(), []byte(`"hidden_size"`), []byte(`"hidden_sizes"`), 1))
	f.Add([]byte(good), bytes.Replace(one.JSON(), []byte(`16`), []byte(`32`), 1))
	dir := filepath.Join(f.TempDir(), "work")
	folder, err := Open(dir, m, key, Options{})
	if err != nil {
		f.Fatal(err)
	}
	if err := model.SaveLayer(filepath.Join(dir, file), m.Layers[0]); err != nil {
		f.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "step-000001"), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = folder.lock.Close() })
	f.Fuzz(func(t *testing.T, layers, config []byte) {
		var named []string
		if bytes.Contains(layers, []byte(file)) {
			named = append(named, file)
		}
		if err := forge(dir, map[string][]byte{layersName: layers, configName: config, runName: []byte("{}"), scorerName: nil}, named); err != nil {
			t.Fatal(err)
		}
		c, err := folder.load(filepath.Join(dir, "step-000001"))
		if err := folder.closeLayers(); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			return
		}
		if n := len(c.Model.Layers); n == 0 || n != c.Model.Config.Layers || c.Model.Config.HiddenSize != spec.Hidden || c.Model.Config.VocabSize != spec.Vocab {
			t.Errorf("%s and %s give a model of %d layers", layers, config, n)
		}
	})
}

// FuzzManifest reads manifests and lists of files that somebody wrote, with and without the right sum.
func FuzzManifest(f *testing.F) {
	for _, text := range []string{`{"key":[{"name":"a","value":"1"}]}`, `{"key":null}`, `{"key":[null]}`, `null`, `{"files":[{"name":"../x","size":1}]}`, `{"files":[{"name":"a","size":-1}]}`,
		`{"unfinished":true,"files":[{"name":"[","size":0}]}`, `{"files":[{"name":"a/b/c"}]}`, `[]`, ``} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m manifest
		_ = Unseal(raw, manifestFormat, &m)
		dir := t.TempDir()
		for format, read := range map[string]func(text []byte){
			manifestFormat: func(text []byte) { _ = Unseal(text, manifestFormat, &m) },
			listFormat: func(text []byte) {
				if err := os.WriteFile(filepath.Join(dir, model.FileList), text, 0o644); err != nil {
					t.Fatal(err)
				}
				put(t, filepath.Join(dir, "mine"), "mine")
				l, err := readList(dir)
				if err != nil {
					return
				}
				if slices.ContainsFunc(l.Files, func(f listed) bool { return !filepath.IsLocal(f.Name) }) {
					t.Errorf("%s is a list", text)
				}
				_ = Check(t.Context(), dir, true)
			},
		} {
			read(raw)
			if json.Valid(raw) {
				text, err := Seal(format, json.RawMessage(raw))
				if err == nil {
					read(text)
				}
			}
		}
	})
}

// TestList writes, ends, replaces and removes folders with somebody's files in them at each point.
func TestList(t *testing.T) {
	ctx := t.Context()
	make := func(text string) string {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "out")
		if err := Begin(dir, []string{"config.json", "model-[0-9].bin", "templates/*.jinja"}); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "config.json"), text)
		put(t, filepath.Join(dir, "model-1.bin"), text)
		put(t, filepath.Join(dir, "templates", "a.jinja"), text)
		return dir
	}
	gone := func(dir string) {
		t.Helper()
		if err := Discard(ctx, dir); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left: %v", tree(t, dir))
		}
	}
	stays := func(dir, what string) {
		t.Helper()
		before := tree(t, dir)
		var foreign *Foreign
		if err := Check(ctx, dir, true); !errors.As(err, &foreign) || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, expected it to name %s", err, what)
		}
		if err := Discard(ctx, dir); !errors.As(err, &foreign) {
			t.Errorf("%v, expected it to name %s", err, what)
		}
		if after := tree(t, dir); !reflect.DeepEqual(after, before) {
			t.Errorf("was %v, is %v", before, after)
		}
	}
	gone(make("a"))
	gone(filepath.Join(t.TempDir(), "none"))
	for _, theirs := range []string{"mine", "templates/mine", "templates/b/c.jinja", "model-10.bin", "folder/mine", "config.json.orig"} {
		for _, ended := range []bool{false, true} {
			dir := make("a")
			if ended {
				if err := End(ctx, dir); err != nil {
					t.Fatal(err)
				}
				if err := Check(ctx, dir, true); err != nil {
					t.Error(err)
				}
			}
			put(t, filepath.Join(dir, theirs), "mine")
			stays(dir, strings.Split(theirs, "/")[0])
		}
	}
	for what, change := range map[string]func(dir string) error{
		"config.json": func(dir string) error { return os.WriteFile(filepath.Join(dir, "config.json"), []byte("b"), 0o644) },
		"model-1.bin": func(dir string) error { return os.Truncate(filepath.Join(dir, "model-1.bin"), 100) },
		"templates": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "templates/a.jinja"), []byte("b"), 0o644)
		},
		"empty": func(dir string) error { return os.Mkdir(filepath.Join(dir, "empty"), 0o755) },
		"config.json is n": func(dir string) error {
			if !filestest.Links(t) {
				return errors.Join(os.Remove(filepath.Join(dir, "config.json")), os.Mkdir(filepath.Join(dir, "config.json"), 0o755))
			}
			return errors.Join(os.Remove(filepath.Join(dir, "config.json")), os.Symlink("model-1.bin", filepath.Join(dir, "config.json")))
		},
	} {
		dir := make("a")
		if err := errors.Join(End(ctx, dir), change(dir)); err != nil {
			t.Fatal(err)
		}
		stays(dir, what)
	}
	// A crash at any point of a removal leaves what the next one removes.
	for n := range 4 {
		dir := make("a")
		if err := End(ctx, dir); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"config.json", "model-1.bin", "templates/a.jinja", "templates"}[:n+1] {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		gone(dir)
	}
	torn := filepath.Join(t.TempDir(), "torn")
	put(t, filepath.Join(torn, model.FileList+temporary), `{"format":"vkcome fil`)
	gone(torn)
	put(t, filepath.Join(torn, model.FileList+temporary), "a letter")
	before := tree(t, torn)
	if err := Discard(ctx, torn); err == nil || !reflect.DeepEqual(tree(t, torn), before) {
		t.Errorf("somebody's file: %v", err)
	}
	// One takes the place of another.
	out, tmp := make("old"), make("new")
	if err := errors.Join(End(ctx, out), End(ctx, tmp), Replace(tmp, out)); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, out)["config.json"]; got != "file new" {
		t.Errorf("config.json is %q", got)
	}
	if _, err := os.Lstat(tmp + Replaced); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the old folder is left")
	}
}
