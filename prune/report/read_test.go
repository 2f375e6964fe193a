package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/bench"
	"github.com/vkcome/vkcome/model/files"
)

func put(t *testing.T, path string, v any) string {
	t.Helper()
	raw, ok := v.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const losses1 = `{"layer":2,"step":1,"lr":0.1,"loss":3.5,"grad_norm":1}
{"layer":2,"step":2,"lr":0.1,"loss":null,"grad_norm":null,"held_out":2.5}

{"layer":null,"step":1,"lr":0.1,"loss":1.5,"grad_norm":1}
`

// TestRead: the content of a file says what it is, whatever its name.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(out, "vkcome.json"), merged())
	put(t, filepath.Join(out, "vkcome-losses.jsonl"), []byte(losses1))
	put(t, filepath.Join(out, "model-00001-of-00002.safetensors"), make([]byte, 1234))
	put(t, filepath.Join(out, "model-00002-of-00002.safetensors"), make([]byte, 4321))
	put(t, filepath.Join(out, "tokenizer.json"), make([]byte, 99))
	device := &bench.Report{Schema: bench.Schema, Tier: "fp16", Results: []bench.Result{{Name: "x", Unit: "s", Value: 1}}}
	results := map[string]any{"results": map[string]any{"boolq": map[string]any{"acc,none": 0.5, "acc_stderr,none": 0.125, "alias": "boolq"}}, "versions": map[string]any{"boolq": 2}, "model_name": "one"}
	p, err := Read(t.Context(), []string{out, put(t, filepath.Join(dir, "a"), merged()), put(t, filepath.Join(dir, "b"), many(2, 9, 8)), put(t, filepath.Join(dir, "c"), device),
		put(t, filepath.Join(dir, "d"), results), put(t, filepath.Join(dir, "e"), results)})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Outputs) != 2 || len(p.Comparisons) != 1 || len(p.Benches) != 1 || len(p.Accuracy) != 1 || len(p.Accuracy[0].Results) != 2 {
		t.Fatalf("read %+v", p)
	}
	if o := p.Outputs[0]; o.Name != "out" || len(o.Losses) != 3 || len(o.Files) != 2 || o.Files[0].Bytes != 1234 || o.Files[1].Bytes != 4321 || len(split(o.Losses)) != 2 {
		t.Errorf("output %+v", o)
	}
	got := parse(t, write(t, *p))
	got.sound(t)
	for _, want := range []string{"Training of layer 2", "Training of all weights", "5555 bytes", "0.125"} {
		if !strings.Contains(got.text, want) {
			t.Errorf("%q is not in the page", want)
		}
	}

	large := put(t, filepath.Join(dir, "large"), []byte("{}"))
	if err := os.Truncate(large, maxJSON+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file", dir: "has no vkcome.json", large: "expected at most", os.DevNull: "is a device",
		put(t, filepath.Join(dir, "f"), []byte("not")):                        "neither a folder or GGUF file that vkcome wrote nor JSON",
		put(t, filepath.Join(dir, "g"), []byte(`{"a":1}`)):                    "JSON of another kind",
		put(t, filepath.Join(dir, "h"), []byte(`{"steps":[null],"tree":[]}`)): "step 0 is null",
		put(t, filepath.Join(dir, "i"), []byte(`{"dense":1,"rows":[]}`)):      "expected an object",
		put(t, filepath.Join(dir, "j"), []byte(`{"schema":9,"results":[]}`)):  "schema 9",
		put(t, filepath.Join(dir, "k"), []byte(`{"results":{}}`)):             "no results of tasks",
		put(t, filepath.Join(dir, "l"), []byte("GGUF")):                       "l",
	} {
		if _, err := Read(t.Context(), []string{path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", path, err, want)
		}
	}
	put(t, filepath.Join(out, "vkcome-losses.jsonl"), []byte(losses1+"{"))
	if _, err := Read(t.Context(), []string{out}); err == nil || !strings.Contains(err.Error(), "losses, line 4") {
		t.Errorf("a broken line of losses: %v", err)
	}
	if _, err := Read(t.Context(), make([]string, maxPaths+1)); err == nil || !strings.Contains(err.Error(), "at most 100") {
		t.Errorf("101 names: %v", err)
	}
}

// TestFile: nothing but a page of vkcome's is replaced, and that only where it is wanted; a write that fails leaves what was there.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	page := Page{Outputs: []Output{{Name: "small", Lineage: merged()}}}
	path := filepath.Join(dir, "a.html")
	refused := func(f File, want string) {
		t.Helper()
		before, _ := os.ReadFile(f.Path)
		for _, err := range []error{f.Check(), func() error { _, err := f.Write(page); return err }()} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, expected %q", f, err, want)
			}
		}
		if after, _ := os.ReadFile(f.Path); !bytes.Equal(before, after) {
			t.Errorf("%+v changed", f)
		}
	}
	refused(File{Path: filepath.Join(dir, "no", "a.html")}, "does not exist")
	for _, force := range []bool{false, true} {
		refused(File{put(t, filepath.Join(dir, "other.html"), []byte("<!DOCTYPE html><title>mine</title>")), force}, "is no report of vkcome")
		refused(File{put(t, filepath.Join(dir, "empty.html"), []byte("")), force}, "is no report of vkcome")
		refused(File{dir, force}, "is no file")
	}
	if err := (File{Path: path}).Check(); err != nil {
		t.Error(err)
	}
	size, err := File{Path: path}.Write(page)
	if info, missing := os.Stat(path); err != nil || missing != nil || info.Size() != int64(size) || info.Mode().Perm() != 0o644 {
		t.Fatalf("%v, %v: %d bytes", info, err, size)
	}
	refused(File{Path: path}, "exists already; choose another name, or report.File.Force to replace it")
	link := filepath.Join(dir, "link.html")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	refused(File{link, true}, "is no file")
	before, _ := os.ReadFile(path)
	for _, step := range []string{"create", "write", "close", "rename"} {
		files.Fault = func(at, _ string) error {
			if at == step {
				return errors.New("full")
			}
			return nil
		}
		_, err := File{path, true}.Write(page)
		files.Fault = nil
		if err == nil || !strings.Contains(err.Error(), "full") {
			t.Errorf("%s fails: %v", step, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s fails: the page that was there has changed", step)
		}
	}
	if _, err := (File{path, true}).Write(page); err != nil {
		t.Error(err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("written again, the page is another")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".vkcome-report-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
