package prune_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/card"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// sourceCard is a card as the hub has them, with what must not be said of another model.
const sourceCard = `---
base_model: owner/base-135M
license: other
license_name: somebody's licence
license_link: LICENSE
language:
- en
- no
pipeline_tag: text-generation
tags:
- onnx
- its-own-tag
datasets:
- owner/its-training-data
model-index:
- name: its-name
  results:
  - task: {type: text-generation}
    dataset: {name: IFEval, type: ifeval}
    metrics:
    - {type: acc, value: 0.299}
---

# The original

It scores 29.9 in IFEval.
`

// isText, isList and the like say what huggingface_hub's ModelCardData takes and the hub's documentation of model cards lists.
func isText(v any) bool { s, ok := v.(string); return ok && s != "" }

func isList(v any) bool {
	list, ok := v.([]any)
	return ok && len(list) > 0 && !slices.ContainsFunc(list, func(v any) bool { return !isText(v) })
}

var hubName = regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`)

func areNames(v any) bool {
	return isList(v) && !slices.ContainsFunc(v.([]any), func(v any) bool { return !hubName.MatchString(v.(string)) })
}

var cardFields = map[string]func(v any) bool{
	"base_model": areNames,
	"base_model_relation": func(v any) bool {
		return slices.Contains([]any{"adapter", "merge", "quantized", "finetune"}, v)
	},
	"library_name": func(v any) bool { return v == "transformers" },
	"license":      func(v any) bool { return isText(v) || isList(v) }, "license_name": isText, "license_link": isText,
	"language": isList, "pipeline_tag": isText, "tags": isList, "datasets": areNames, "model-index": isIndex,
}

// isIndex says whether a value is what model_index_to_eval_results reads, whose EvalResult needs an address where a source has a name.
func isIndex(v any) bool {
	list, ok := v.([]any)
	get := func(v any, keys ...string) any {
		for _, key := range keys {
			m, _ := v.(map[string]any)
			v = m[key]
		}
		return v
	}
	for _, e := range list {
		results, isList := get(e, "results").([]any)
		ok = ok && isText(get(e, "name")) && isList && len(results) > 0
		for _, r := range results {
			metrics, isList := get(r, "metrics").([]any)
			ok = ok && isText(get(r, "task", "type")) && hubName.MatchString(fmt.Sprint(get(r, "dataset", "type"))) && isText(get(r, "dataset", "name")) && isText(get(r, "source", "url")) && isList && len(metrics) > 0
			for _, m := range metrics {
				_, number := get(m, "value").(float64)
				ok = ok && isText(get(m, "type")) && number
			}
		}
	}
	return ok && len(list) == 1
}

// readCard reads the card of a folder as the hub does, and holds it to the fields that there are.
func readCard(t *testing.T, dir string) (head map[string]any, text string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, card.File))
	if err != nil {
		t.Fatal(err)
	}
	text = string(raw)
	front, body, ok := strings.Cut(strings.TrimPrefix(text, "---\n"), "\n---\n")
	if !ok || !strings.HasPrefix(text, "---\n") || yaml.Unmarshal([]byte(front), &head) != nil {
		t.Fatalf("no head in %s", text)
	}
	for key, value := range head {
		if is := cardFields[key]; is == nil || !is(value) {
			t.Errorf("%s: %v is no field of a card, or of another type", key, value)
		}
	}
	if !card.Sealed(raw) || !strings.HasPrefix(body, "\n# ") || strings.Count(body, "```")%2 != 0 {
		t.Errorf("the card is not whole: %s", text)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{os.TempDir(), here, t.Name(), filepath.Base(dir), "%!"} {
		if strings.Contains(text, path) {
			t.Errorf("the card holds %q: %s", path, text)
		}
	}
	return head, text
}

// hasAll says which texts a card lacks.
func hasAll(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in the card: %s", w, text)
		}
	}
}

// writeSource writes a card and a licence into a model's folder.
func writeSource(t *testing.T, dir, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, card.File), []byte(text), 0o444), os.WriteFile(filepath.Join(dir, "LICENSE"), []byte("all rights reserved"), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// cardRun prunes a model into a folder of an unlikely name.
func cardRun(t *testing.T, d *vk.Device, m *model.Model, o prune.Options, out prune.Output) string {
	t.Helper()
	p, err := prune.NewPlan(m, o)
	if err != nil {
		t.Fatal(err)
	}
	if out.Dir == "" {
		out.Dir = filepath.Join(t.TempDir(), "zzzout")
	}
	if _, err := p.RunTo(t.Context(), d, out, nil); err != nil {
		t.Fatal(err)
	}
	return out.Dir
}

// TestCard looks at the card of a pruned model: what is carried over from its source's, and what is not.
func TestCard(t *testing.T) {
	m, dir := seven.Open(t)
	writeSource(t, dir, sourceCard)
	d := vktest.Open(t, vk.Options{})
	o := prune.Options{Method: method.CoMe{}, TargetLayers: 5, Windows: modeltest.Windows(seven.Vocab, 4, 20), Seed: 3, Source: "c4:train (allenai/c4@abc), own.txt; 3 documents | `x`\x1b[31m", Protect: []int{0}}
	out := cardRun(t, d, m, o, prune.Output{})
	head, text := readCard(t, out)
	for key, want := range map[string]string{
		"base_model": "[owner/base-135M]", "base_model_relation": "finetune", "library_name": "transformers", "license": "other", "license_name": "somebody's licence", "license_link": "LICENSE",
		"language": "[en no]", "pipeline_tag": "text-generation", "tags": "[vkcome pruned layer-merging come]", "datasets": "[allenai/c4]", "model-index": "<nil>",
	} {
		if got := fmt.Sprint(head[key]); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	hasAll(t, text, "5 of 7 layers", "Nothing was measured", "https://huggingface.co/owner/base-135M", "or from a model that derives from it", "2510.15304", "7 → 6", "concatenated", "`come`", "own.txt", "(seed 3)",
		"vkcome prune MODEL OUT --method come", "--target-layers 5 --protect 0 --text CORPUS1 --window 20 --samples 4 --seed 3", "--plan vkcome.json", "AutoModelForCausalLM")
	for _, of := range []string{"IFEval", "0.299", "29.9", "its-own-tag", "its-training-data", "its-name", "\x1b"} {
		if strings.Contains(text, of) {
			t.Errorf("%q of the source's card is in the card", of)
		}
	}
	if l, err := os.ReadFile(filepath.Join(out, "LICENSE")); err != nil || string(l) != "all rights reserved" {
		t.Errorf("the licence went along as %q, %v", l, err)
	}
	again := cardRun(t, d, modeltest.Open(t, dir), o, prune.Output{Dir: filepath.Join(t.TempDir(), "zzzother")})
	if _, other := readCard(t, again); other != text {
		t.Errorf("the same run wrote another card: %s", other)
	}
}

// TestCardOrigin finds what a model was made of by where it is, by its card, or by its config; and says so where nothing tells.
func TestCardOrigin(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	o := prune.Options{Method: method.Drop{Layers: []int{2}}}
	for name, c := range map[string]struct {
		card, config string // the source's card, and _name_or_path in its config
		cached       bool
		base, says   string
	}{
		"nothing":             {"", "", false, "<nil>", "whose name on the hub its files do not tell"},
		"the config":          {"", "owner/name", false, "[owner/name]", "or from a model that derives from it"},
		"a path in it":        {"", "/home/alice/secret", false, "<nil>", "whose name on the hub"},
		"a path like a name":  {"", "outputs/checkpoint-100", false, "<nil>", "whose name on the hub"},
		"another":             {"", "alice/checkpoint-100", false, "<nil>", "whose name on the hub"},
		"a number":            {"", "5", false, "<nil>", "whose name on the hub"},
		"the card":            {"---\nbase_model: owner/base\n---\n", "owner/name", false, "[owner/base]", "or from a model that derives from it"},
		"the cache":           {"---\nbase_model: owner/base\n---\n", "owner/name", true, "[some/model-7]", "# some/model-7, 6 of 7 layers"},
		"a card that is none": {"---\n\x00: [\n---\n", "", false, "<nil>", "whose name on the hub"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := seven
			if c.config != "" {
				spec.Extra = map[string]any{"_name_or_path": c.config}
			}
			m, dir := spec.Open(t)
			if c.card != "" {
				writeSource(t, dir, c.card)
			}
			if c.cached {
				to := filepath.Join(t.TempDir(), "models--some--model-7", "snapshots", "0123456789abcdef0123456789abcdef01234567")
				if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				m = modeltest.Open(t, to)
			}
			notes := ""
			out := cardRun(t, d, m, o, prune.Output{Dir: filepath.Join(t.TempDir(), "zzzout"), Note: func(line string) { notes += line }})
			head, text := readCard(t, out)
			if got := fmt.Sprint(head["base_model"]); got != c.base || (head["base_model_relation"] == nil) != (c.base == "<nil>") {
				t.Errorf("base_model %s, want %s", got, c.base)
			}
			hasAll(t, text, c.says, "layer-dropping", "layer 2 dropped", "--method drop --layers 2")
			if strings.Contains(text, "alice") || strings.Contains(text, "checkpoint") || strings.Contains(notes, "carried on") != (name == "a card that is none") {
				t.Errorf("notes %q, card %s", notes, text)
			}
		})
	}
}

// TestCardChain prunes a model twice, fits it and trains it: base_model stays what it was, and each card tells of all that was done.
func TestCardChain(t *testing.T) {
	m, dir := sixLayers.Open(t)
	writeSource(t, dir, sourceCard)
	d := vktest.Open(t, vk.Options{})
	windows := repeated(sixLayers.Vocab, 6, 16)
	base := t.TempDir()
	dirs := map[string]string{}
	for _, name := range []string{"once", "twice", "fitted", "trained", "trained again"} {
		dirs[name] = filepath.Join(base, "zzz"+name)
	}
	cardRun(t, d, m, prune.Options{Method: method.ShortGPT{}, TargetLayers: 5, Windows: windows, Refit: &refit.Options{HeldOut: 3}}, prune.Output{Dir: dirs["once"]})
	once := modeltest.Open(t, dirs["once"])
	cardRun(t, d, once, prune.Options{Method: method.WeightSum{}, TargetLayers: 4, Windows: windows}, prune.Output{Dir: dirs["twice"]})
	fitting, err := prune.NewRefitting(m, modeltest.Open(t, dirs["twice"]), prune.RefittingOptions{Refit: refit.Options{HeldOut: 3}, Windows: windows, Source: "fit.txt"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fitting.RunTo(t.Context(), d, prune.Output{Dir: dirs["fitted"]}, nil); err != nil {
		t.Fatal(err)
	}
	for _, run := range [][2]string{{"fitted", "trained"}, {"trained", "trained again"}} {
		training, err := prune.NewDistillation(m, modeltest.Open(t, dirs[run[0]]), prune.DistillationOptions{Distill: *distilling("", distill.Options{EndToEnd: 2})})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := training.RunTo(t.Context(), d, prune.Output{Dir: dirs[run[1]]}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][]string{
		"once":          {"5 of 6 layers", "fit: loss before → after", " mlp.down_proj 0.", "Fits were judged", "--refit --lambda 0.03,0.1,0.3,1 --projections down --fit-held-out 3", "vkcome prune MODEL OUT --method shortgpt"},
		"twice":         {"4 of 6 layers", "### Layers (1 of 2)", "### Layers (2 of 2)", "summed", "vkcome prune OUT OUT2 --method weightsum"},
		"fitted":        {"### Fit", "vkcome refit MODEL OUT2 OUT3 --text CORPUS3", "fit.txt"},
		"trained":       {"### Fit", "### Healing", "all weights", "vkcome distill MODEL OUT3 OUT4 --text CORPUS4", "--end-to-end 2"},
		"trained again": {"### Fit", "### Healing", "vkcome distill MODEL OUT3 OUT4 --text CORPUS4", "vkcome distill MODEL OUT4 OUT5 --text CORPUS5"},
	} {
		head, text := readCard(t, dirs[name])
		if fmt.Sprintf("%v %v %v", head["base_model"], head["license"], head["language"]) != "[owner/base-135M] other [en no]" {
			t.Errorf("%s: the head is %v", name, head)
		}
		hasAll(t, text, want...)
		for _, section := range []string{"### Fit\n", "## Commands", "### Layers (1 of"} {
			if n := strings.Count(text, section); n > 1 {
				t.Errorf("%s: %d times %q: %s", name, n, section, text)
			}
		}
	}
	if head, _ := readCard(t, dirs["trained"]); fmt.Sprint(head["tags"]) != "[vkcome pruned layer-dropping shortgpt layer-merging weightsum distillation]" {
		t.Errorf("tags %v", head["tags"])
	}
	// A lineage may come from anywhere: one before it that cannot be read loses no run.
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.CopyFS(broken, os.DirFS(dirs["twice"])); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(broken, model.Lineage))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(raw, []byte(`"previous"`))
	if err := os.WriteFile(filepath.Join(broken, model.Lineage), append(raw[:at:at], `"previous": {"steps": [null]}}`...), 0o644); err != nil {
		t.Fatal(err)
	}
	out := cardRun(t, d, modeltest.Open(t, broken), prune.Options{Method: method.Drop{Layers: []int{1}}}, prune.Output{})
	_, text := readCard(t, out)
	hasAll(t, text, "3 of 6 layers", "under `previous`, and cannot be told here")
}

// results are those of a model in a task, as eval tasks writes them.
func results(t *testing.T, m *model.Model, acc float64, documents int) *eval.Results {
	t.Helper()
	hash, err := model.Hash(t.Context(), m.Files)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "r.json")
	text := fmt.Sprintf(`{"results": {"winogrande": {"name": "winogrande", "alias": "winogrande", "sample_len": %d, "acc,none": %v, "acc_stderr,none": 0.01},
		"piqa": {"name": "piqa", "alias": "piqa", "sample_len": %[1]d, "acc,none": %[2]v, "acc_norm,none": "N/A"}}, "group_subtasks": {}, "n-shot": {"winogrande": 5, "piqa": 0}, "versions": {"winogrande": 1, "piqa": 1},
		"n-samples": {"winogrande": {"original": 1267, "effective": %[1]d}, "piqa": {"original": %[1]d, "effective": %[1]d}}, "higher_is_better": {}, "task_hashes": {}, "model_name": "/home/alice/secret", "vkcome": {"model_sha256": "%[3]s", "chance": {"winogrande": 0.5, "piqa": 0.5}}}`, documents, acc, hash)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := eval.ReadResults(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestWriteCard writes cards again, with results and with a name, and over nothing that somebody wrote.
func TestWriteCard(t *testing.T) {
	m, dir := seven.Open(t)
	writeSource(t, dir, sourceCard)
	d := vktest.Open(t, vk.Options{})
	drop := prune.Options{Method: method.Drop{Layers: []int{2}}}
	out := cardRun(t, d, m, drop, prune.Output{})
	small := modeltest.Open(t, out)
	_, first := readCard(t, out)
	write := func(o prune.CardOptions) error {
		_, err := prune.WriteCard(t.Context(), small, o, nil)
		return err
	}
	if err := write(prune.CardOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, text := readCard(t, out); text != first {
		t.Errorf("the card was written again as %s", text)
	}

	own, original := results(t, small, 0.6, 200), results(t, m, 0.75, 200)
	if err := write(prune.CardOptions{Base: "some/model", Results: []*eval.Results{original, own}}); err != nil {
		t.Fatal(err)
	}
	head, text := readCard(t, out)
	if fmt.Sprint(head["base_model"]) != "[some/model]" || head["license"] != "other" {
		t.Errorf("the head is %v", head)
	}
	hasAll(t, text, "# some/model, 6 of 7 layers", "vkcome prune some/model OUT", "| original", "this model", "winogrande 200 of 1267", "name: model-6-of-7-layers", "type: allenai/winogrande", "config: winogrande_xl",
		"num_few_shot: 5", "documents_of: 1267", "value: 0.6", "40.0") // of what is above chance
	for _, no := range []string{"alice", "Nothing was measured", "NaN", "acc_norm\n", ".nan"} {
		if strings.Contains(text, no) {
			t.Errorf("%q is in the card: %s", no, text)
		}
	}
	if err := write(prune.CardOptions{Results: []*eval.Results{own}}); err != nil {
		t.Fatal(err)
	}
	_, text = readCard(t, out)
	hasAll(t, text, "# some/model, 6 of 7 layers", "The original was not measured beside it", "0.6") // the name is kept
	if err := small.Unchanged(); err != nil {
		t.Errorf("the model counts as changed: %v", err)
	}
	// The folder is still vkcome's, as a whole.
	if err := prune.CheckOutput(out, dir, true); err != nil {
		t.Errorf("after its card was written again: %v", err)
	}

	other := *own
	run := *own.Run
	other.Run, run.ModelHash = &run, strings.Repeat("0", 64)
	bare := *own
	bare.Run = nil
	for name, c := range map[string]struct {
		o    prune.CardOptions
		want string
	}{
		"of another model":    {prune.CardOptions{Results: []*eval.Results{&other}}, "neither of"},
		"of no model":         {prune.CardOptions{Results: []*eval.Results{&bare}}, "do not say"},
		"twice":               {prune.CardOptions{Results: []*eval.Results{own, own}}, "two results"},
		"of the original":     {prune.CardOptions{Results: []*eval.Results{original}}, "no results are of"},
		"a base without name": {prune.CardOptions{Base: "/home/x"}, "prune.CardOptions.Base"},
	} {
		if err := write(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
	if _, again := readCard(t, out); again != text {
		t.Error("a refusal changed the card")
	}

	mine := strings.Replace(text, "## Use", "## How I use it", 1)
	path := filepath.Join(out, card.File)
	if err := os.WriteFile(path, []byte(mine), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := write(prune.CardOptions{}); !errors.Is(err, prune.ErrExists) || !strings.Contains(err.Error(), "prune.CardOptions.Path") {
		t.Errorf("a card that somebody changed: %v", err)
	}
	if err := prune.CheckOutput(out, dir, true); !errors.Is(err, prune.ErrExists) || !strings.Contains(err.Error(), card.File) {
		t.Errorf("a folder whose card somebody changed may be replaced: %v", err)
	}
	elsewhere := filepath.Join(t.TempDir(), "card.md")
	for range 2 { // the second time over its own
		if err := write(prune.CardOptions{Path: elsewhere}); err != nil {
			t.Error(err)
		}
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != mine {
		t.Errorf("somebody's card is now %s, %v", raw, err)
	}
	if raw, err := os.ReadFile(elsewhere); err != nil || !card.Sealed(raw) || !bytes.Contains(raw, []byte("# some/model")) {
		t.Errorf("the card elsewhere is %s, %v", raw, err)
	}
	link := filepath.Join(t.TempDir(), "link.md")
	if err := errors.Join(os.Symlink(elsewhere, link), os.WriteFile(elsewhere, []byte("mine"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{elsewhere, link, t.TempDir()} {
		if err := write(prune.CardOptions{Path: path}); !errors.Is(err, prune.ErrExists) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := write(prune.CardOptions{Base: "some/model"}); err != nil {
		t.Errorf("where no card is: %v", err)
	}
	readCard(t, out)
	if _, err := prune.WriteCard(t.Context(), m, prune.CardOptions{}, nil); err == nil || !strings.Contains(err.Error(), "no model that vkcome made") {
		t.Errorf("of a model that is not vkcome's: %v", err)
	}

	// A folder without a list, as convert writes them; and as an earlier vkcome wrote them with the source's card in them.
	if err := os.Remove(filepath.Join(out, model.FileList)); err != nil {
		t.Fatal(err)
	}
	if err := prune.CheckOutput(out, dir, true); err != nil {
		t.Errorf("a folder without a list, with a card of vkcome's: %v", err)
	}
	if err := write(prune.CardOptions{}); err != nil {
		t.Errorf("of a folder without a list: %v", err)
	}
	if err := os.WriteFile(path, []byte(sourceCard), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := write(prune.CardOptions{}); !errors.Is(err, prune.ErrExists) {
		t.Errorf("the source's own card: %v", err)
	}
	if err := prune.CheckOutput(out, dir, true); err != nil {
		t.Errorf("a folder of an earlier vkcome: %v", err)
	}
	if err := os.WriteFile(path, []byte("# Mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := prune.CheckOutput(out, dir, true); !errors.Is(err, prune.ErrExists) {
		t.Errorf("a folder of an earlier vkcome with somebody's card may be replaced: %v", err)
	}
}
