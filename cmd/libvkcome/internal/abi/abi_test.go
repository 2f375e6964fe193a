package abi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	source "go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

// open is a library with the embedded model and a device.
func open(t *testing.T) (l *Library, device, model Handle) {
	t.Helper()
	l = New()
	device, err := l.OpenDevice("")
	if err != nil {
		t.Fatal(err)
	}
	if model, err = l.OpenModel(embedded.Name, "{}", Watch{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(l.CloseModel(model), l.CloseDevice(device)); err != nil {
			t.Error(err)
		}
		if len(l.objects) > 0 {
			t.Errorf("%d objects are left", len(l.objects))
		}
	})
	return l, device, model
}

// is compares an error's code, and what its text must hold.
func is(t *testing.T, err error, code Code, text string) {
	t.Helper()
	if got := CodeOf(err); got != code {
		t.Errorf("%v: %v, expected %v", got, err, code)
	}
	if err != nil && (!strings.Contains(Text(err), text) || strings.ContainsRune(Text(err), '\n')) {
		t.Errorf("%q lacks %q", Text(err), text)
	}
}

func TestHandles(t *testing.T) {
	l, device, model := open(t)
	_, err := l.InspectModel(device)
	is(t, err, BadHandle, fmt.Sprintf("handle %d is a device, not a model", device))
	_, err = l.InspectModel(0)
	is(t, err, BadHandle, "0 is no model")
	_, err = l.InspectModel(1 << 60)
	is(t, err, BadHandle, "was never given")
	g, err := l.OpenGenerator(device, model, `{"max_tokens":3}`)
	is(t, err, OK, "")
	is(t, l.CloseModel(model), Busy, "is in use: it stays open")
	is(t, l.CloseDevice(device), Busy, "is in use: it stays open")
	is(t, l.CloseGenerator(g), OK, "")
	is(t, l.CloseGenerator(g), BadHandle, "was closed")
	c := l.OpenCancel()
	if c <= g {
		t.Errorf("handle %d after %d", c, g)
	}
	is(t, l.Cancel(c), OK, "")
	is(t, l.CloseCancel(c), OK, "")
	is(t, l.Cancel(c), BadHandle, "was closed")
}

// TestCalls prunes with progress, which comes on the caller's goroutine, one event at a time, and cancels by it and by a token.
func TestCalls(t *testing.T) {
	l, device, model := open(t)
	dir := t.TempDir()
	request := func(out string) string {
		raw, err := json.Marshal(map[string]any{
			"target_layers": 10, "method": "come", "method_options": map[string]any{"psu": 2}, "out": filepath.Join(dir, out),
			"corpus": map[string]any{"token_file": "../../../../testdata/golden/calib_tokens.json", "window": 64, "windows": 2},
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	var events []string
	inside := false
	raw, err := l.Prune(device, model, request("out"), Watch{Progress: func(event []byte) bool {
		if inside {
			t.Error("two events at once")
		}
		inside = true
		defer func() { inside = false }()
		events = append(events, string(event))
		_, err := l.Plan(device, model, request(""), Watch{})
		is(t, err, Busy, "works for another call")
		is(t, l.CloseDevice(device), Busy, "stays open")
		return false
	}})
	is(t, err, OK, "")
	var lineage prune.Lineage
	if err := json.Unmarshal(raw, &lineage); err != nil || len(lineage.Tree) != 10 || !strings.Contains(string(lineage.Options.Method), `"psu":2`) {
		t.Errorf("%v: %s", err, raw)
	}
	if len(events) < 10 || !strings.HasPrefix(events[0], `{"stage":"`) {
		t.Errorf("events %s", events)
	}
	_, err = l.Prune(device, model, request("out"), Watch{})
	is(t, err, Exists, "choose another name, or force to replace it")

	seen := 0
	_, err = l.Prune(device, model, request("other"), Watch{Progress: func([]byte) bool { seen++; return seen > 3 }})
	is(t, err, Cancelled, "cancelled")
	token := l.OpenCancel()
	defer func() { is(t, l.CloseCancel(token), OK, "") }()
	_, err = l.Prune(device, model, request("another"), Watch{Cancel: token, Progress: func([]byte) bool { is(t, l.Cancel(token), OK, ""); return false }})
	is(t, err, Cancelled, "cancelled")
	_, err = l.Evaluate(device, model, `{"corpus":{"token_file":"x"}}`, Watch{Cancel: token})
	is(t, err, Cancelled, "cancelled")
	_, err = l.Evaluate(device, model, `{"tasks":["arc"]}`, Watch{})
	is(t, err, Argument, "arc_easy")

	student, err := l.OpenModel(filepath.Join(dir, "out"), "", Watch{})
	is(t, err, OK, "")
	defer func() { is(t, l.CloseModel(student), OK, "") }()
	trained := 0
	raw, err = l.Distill(device, model, student, `{"options":{"batch":2,"tokens":512,"held_out":2},"corpus":{"token_file":"../../../../testdata/golden/calib_tokens.json","window":64},"out":"`+dir+`/trained"}`, Watch{
		Progress: func(event []byte) bool {
			if strings.Contains(string(event), `"training":{"loss":`) {
				trained++
			}
			return false
		},
	})
	is(t, err, OK, "")
	if lineage = (prune.Lineage{}); json.Unmarshal(raw, &lineage) != nil || lineage.Distill == nil || len(lineage.Distill.Stages) == 0 || trained == 0 {
		t.Errorf("%d events of training, %s", trained, raw)
	}
	raw, err = l.Evaluate(device, model, `{"tasks":["arc_easy"],"limit":2,"data":"../../../../testdata/lmeval/data"}`, Watch{})
	is(t, err, OK, "")
	if !strings.Contains(string(raw), `"accuracy":{"results":{"arc_easy":{`) {
		t.Errorf("%s", raw)
	}

	prediction, err := l.Plan(device, model, request(""), Watch{})
	is(t, err, OK, "")
	var p prune.Prediction
	if err := json.Unmarshal(prediction, &p); err != nil || p.DeviceBytes <= 0 || p.Depths[len(p.Depths)-1].Layers != 10 {
		t.Errorf("%v: %s", err, prediction)
	}
}

// TestGenerate continues a prompt, is cancelled on the way, and continues it again by the same tokens.
func TestGenerate(t *testing.T) {
	l, device, model := open(t)
	g, err := l.OpenGenerator(device, model, `{"max_tokens":8,"temperature":0.7,"seed":3}`)
	is(t, err, OK, "")
	defer func() { is(t, l.CloseGenerator(g), OK, "") }()
	var text strings.Builder
	take := func(event []byte) bool {
		var e textEvent
		if err := json.Unmarshal(event, &e); err != nil {
			t.Error(err)
		}
		text.WriteString(e.Text)
		return false
	}
	raw, err := l.Generate(g, `{"prompt":"The film is"}`, Watch{Progress: take})
	is(t, err, OK, "")
	var first, second generated
	if err := json.Unmarshal(raw, &first); err != nil || first.Text != text.String() || len(first.Tokens) != 8 {
		t.Errorf("%v: %s, told %q", err, raw, &text)
	}
	_, err = l.Generate(g, `{"prompt":"The film is"}`, Watch{Progress: func([]byte) bool { return true }})
	is(t, err, Cancelled, "cancelled")
	raw, err = l.Generate(g, `{"prompt":"The film is"}`, Watch{})
	is(t, err, OK, "")
	if err := json.Unmarshal(raw, &second); err != nil || !reflect.DeepEqual(first, second) {
		t.Errorf("%v: %+v after a cancellation, %+v before", err, second, first)
	}
	_, err = l.Generate(g, `{"prompt":""}`, Watch{})
	is(t, err, OK, "")
	for options, want := range map[string]string{
		`{"max_tokens":-1}`: "expected 1 or more", `{"top_p":2}`: "top_p is 0 to 1", `{"system":"x"}`: "without chat", `{"chat":true,"variables":7}`: "template",
	} {
		_, err := l.OpenGenerator(device, model, options)
		if code := CodeOf(err); code != Argument && code != Model || !strings.Contains(Text(err), want) {
			t.Errorf("%s: %v, %v", options, code, err)
		}
	}
}

// TestChat answers two turns, of which the second has the first in mind, also after one that was cancelled.
func TestChat(t *testing.T) {
	l, device, _ := open(t)
	dir := t.TempDir()
	folder, err := embedded.Files()
	if err == nil {
		err = os.CopyFS(dir, folder)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte("{% for m in messages %}{{ m.role }}{{ sign }} {{ m.content }} {% endfor %}"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := l.OpenModel(dir, "", Watch{})
	is(t, err, OK, "")
	defer func() { is(t, l.CloseModel(m), OK, "") }()
	g, err := l.OpenGenerator(device, m, `{"chat":true,"system":"Be brief.","max_tokens":4,"variables":{"sign":":"}}`)
	is(t, err, OK, "")
	defer func() { is(t, l.CloseGenerator(g), OK, "") }()
	var turns []generated
	for range 2 {
		raw, err := l.Generate(g, `{"prompt":"The film is"}`, Watch{})
		is(t, err, OK, "")
		var turn generated
		if err := json.Unmarshal(raw, &turn); err != nil {
			t.Fatal(err)
		}
		turns = append(turns, turn)
		_, err = l.Generate(g, `{"prompt":"never"}`, Watch{Progress: func([]byte) bool { return true }})
		is(t, err, Cancelled, "cancelled")
	}
	_, err = l.Generate(g, `{"prompt":"x","raw":true}`, Watch{})
	is(t, err, Argument, "raw")
	first, second := turns[0].Prompt[:len(turns[0].Prompt)-1], turns[1].Prompt // the last token is another one where a text goes on
	if len(second) < 2*len(first)-8 || len(second) > 2*len(first)+8 || !slices.Equal(second[:len(first)], first) {
		t.Errorf("prompts %v, %v", first, second)
	}
}

func TestModels(t *testing.T) {
	l := New()
	dir := t.TempDir()
	_, err := l.OpenModel(filepath.Join(dir, "nothing"), `{"offline":true}`, Watch{})
	is(t, err, IO, "nothing")
	folder, err := embedded.Files()
	if err == nil {
		err = os.CopyFS(dir, folder)
	}
	if err != nil {
		t.Fatal(err)
	}
	h, err := l.OpenModel(dir, "", Watch{})
	is(t, err, OK, "")
	weights := filepath.Join(dir, "model.safetensors")
	if err := os.Truncate(weights, 1<<20); err != nil {
		t.Fatal(err)
	}
	_, err = l.InspectModel(h)
	is(t, err, Model, "model.safetensors")
	is(t, l.CloseModel(h), OK, "")
	_, err = l.OpenModel(dir, "", Watch{})
	is(t, err, Model, "model.safetensors")
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"architectures":["MambaForCausalLM"],"model_type":"mamba"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = l.OpenModel(dir, "", Watch{})
	is(t, err, Unsupported, "MambaForCausalLM")
	if len(l.objects) > 0 {
		t.Errorf("%d objects are left", len(l.objects))
	}
}

// TestManyThreads opens, uses and closes from several goroutines at once.
func TestManyThreads(t *testing.T) {
	l, device, model := open(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				c := l.OpenCancel()
				m, err := l.OpenModel(embedded.Name, "", Watch{Cancel: c, Progress: func([]byte) bool { return false }})
				is(t, err, OK, "")
				_, err = l.InspectModel(model)
				is(t, err, OK, "")
				if _, err := l.Evaluate(device, m, `{"corpus":{"token_file":"nowhere.json"}}`, Watch{}); CodeOf(err) != Busy {
					is(t, err, IO, "nowhere.json")
				}
				is(t, l.CloseModel(m), OK, "")
				is(t, l.CloseCancel(c), OK, "")
			}
		})
	}
	all.Wait()
}

func TestCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code Code
		text string
	}{
		{nil, OK, ""},
		{errors.New("x"), Failed, "x"},
		{fmt.Errorf("layer 3: %w: gone", vk.ErrDeviceLost), DeviceLost, "device lost: gone"},
		{errors.Join(context.Canceled, vk.ErrDeviceLost), DeviceLost, ""},
		{fail(Argument, context.Canceled), Cancelled, "cancelled"},
		{fail(Failed, fail(Argument, errors.New("y"))), Argument, "y"},
		{fail(Model, &fs.PathError{Op: "open", Path: "a\nb", Err: fs.ErrNotExist}), IO, `a\u000ab`},
		{fail(Model, arch.Unsupported("z")), Unsupported, "z"},
		{Safely(func() error { panic("oh") }), Internal, "oh (in github.com/vkcome/vkcome/cmd/libvkcome/internal/abi.TestCodes"},
		{Safely(func() error { return errors.New(codeNames[len(os.Args)+100]) }), Internal, "index out of range"},
	} {
		is(t, c.err, c.code, c.text)
	}
	if Code(-1).String() != "unknown" || Code(1000).String() != "unknown" || Busy.String() != "VKCOME_ERROR_BUSY" {
		t.Errorf("%v, %v, %v", Code(-1), Code(1000), Busy)
	}
}

// TestSpell puts the fields of requests where the library names its options: a field that is named must be one.
func TestSpell(t *testing.T) {
	known := map[string]bool{}
	for _, v := range []any{pruneRequest{}, distillRequest{}, corpusRequest{}, deviceOptions{}, evaluateRequest{}, generatorOptions{}} {
		fieldsOf(reflect.TypeOf(v), known)
	}
	for option, want := range map[string]string{
		"prune.Options.TargetLayers": "target_layers", "prune.Options.Sparsity": "sparsity", "prune.Options.TargetParameters": "target_parameters", "prune.Options.TargetBytes": "target_bytes",
		"prune.Options.Protect": "protect", "prune.Options.Refit": "refit", "prune.Options.Distill": "distill", "prune.Output.Force": "force", "prune.Output.Resume": "resume",
		"prune.Output.AnyDevice": "any_device", "prune.Output.Work": "work", "prune.Output.SaveSteps": "save_steps", "prune.DistillOptions.Schedule": "schedule",
		"prune.DistillationOptions.Groups": "map", "distill.Options.LR": "lr", "distill.Options.EndToEnd": "end_to_end", "distill.Options.Batch": "batch", "distill.Options.Budget": "budget_ns",
		"distill.Options.Tokens": "tokens", "corpus.Options.Sources": "sources", "corpus.Options.Window": "window", "corpus.Options.Docs": "docs", "corpus.Options.Field": "field",
		"corpus.ReadTokens": "token_file", "corpus.Options.Dir": "spill_dir", "task.Source.Dir": "data", "vk.Options.MaxMemory": "max_memory",
	} {
		if got := spell("give " + option + ", or else"); got != "give "+want+", or else" || !known[want] {
			t.Errorf("%s becomes %q, a field: %v", option, got, known[want])
		}
	}
	for _, text := range []string{"/home/a.Options.B/x", "model.safetensors", "see vk.Options"} {
		if got := spell(text); got != text && text != "see vk.Options" {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

// fieldsOf adds the keys that JSON has for a type.
func fieldsOf(of reflect.Type, known map[string]bool) {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	for i := range of.NumField() {
		f := of.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" {
			known[name] = true
		}
		inner := f.Type
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && (name != "" || f.Anonymous) {
			fieldsOf(inner, known)
		}
	}
}

// TestDecode refuses requests that are no object of JSON, or have fields that nobody reads.
func TestDecode(t *testing.T) {
	for text, want := range map[string]string{
		"\xff": "not UTF-8", "{": "ends too soon", "[]": "object of JSON", "null": "object of JSON", `{}{}`: "behind", `{"x":1}`: `unknown key "x"`, `{"max_memory":"1"}`: "max_memory",
		`{"device":"` + "\xff" + `"}`: "not UTF-8", strings.Repeat("[", 1<<20): "object of JSON",
	} {
		is(t, decode(text, &deviceOptions{}), Argument, want)
	}
	for _, text := range []string{"", "{}", " {\n}\t"} {
		is(t, decode(text, &deviceOptions{}), OK, "")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"target_layers":3,"method":"come","corpus":{"sources":["x"]}}`)
	f.Add(`{"distill":{"options":{"lr":1e-3}},"refit":{"lambdas":[1]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var in pruneRequest
		if err := decode(text, &in); err != nil {
			is(t, err, Argument, "request")
		} else if err := in.check(); err != nil {
			is(t, err, Argument, "")
		}
	})
}

// TestHeader compares vkcome.h with the functions that package main exports: their names and the types of their parameters, as both reach the
// linker without meeting.
func TestHeader(t *testing.T) {
	raw, err := os.ReadFile("../../vkcome.h")
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^((?:int32_t|uint32_t|char \*|void) ?)(vkcome_\w+)\(([^)]*)\);`).FindAllStringSubmatch(string(raw), -1) {
		types := []string{strings.ReplaceAll(strings.TrimSpace(m[1]), " ", "")}
		for _, p := range strings.Split(m[3], ",") {
			p = strings.TrimPrefix(strings.TrimSpace(p), "const ")
			if i := strings.LastIndexAny(p, " *"); p != "void" && i >= 0 {
				types = append(types, strings.ReplaceAll(p[:i+1], " ", ""))
			}
		}
		header[m[2]] = strings.Join(types, " ")
	}
	file, err := parser.ParseFile(source.NewFileSet(), "../../main.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	inC := strings.NewReplacer("C.uintptr_t", "void*", "C.", "")
	exported := map[string]string{}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(f.Name.Name, "vkcome_") {
			continue
		}
		if f.Doc == nil || f.Doc.List[0].Text != "//export "+f.Name.Name {
			t.Errorf("%s is not exported", f.Name.Name)
		}
		types := []string{"void"}
		if f.Type.Results != nil {
			types[0] = inC.Replace(typeText(f.Type.Results.List[0].Type))
		}
		for _, p := range f.Type.Params.List {
			for range p.Names {
				types = append(types, inC.Replace(typeText(p.Type)))
			}
		}
		exported[f.Name.Name] = strings.Join(types, " ")
	}
	if !reflect.DeepEqual(header, exported) || len(header) < 15 {
		t.Errorf("the header has\n%v\nthe code has\n%v", header, exported)
	}
	var names []string
	for i, m := range regexp.MustCompile(`(VKCOME_(?:OK|ERROR_\w+)) = (\d+)`).FindAllStringSubmatch(string(raw), -1) {
		if names = append(names, m[1]); m[2] != fmt.Sprint(i) {
			t.Errorf("%s is %s, not %d", m[1], m[2], i)
		}
	}
	if !slices.Equal(names, codeNames) || names[Internal] != "VKCOME_ERROR_INTERNAL" {
		t.Errorf("codes %v in the header, %v here", names, codeNames)
	}
}

// typeText is a type of cgo, its stars behind it as in C.
func typeText(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeText(e.X) + "*"
	case *ast.SelectorExpr:
		return typeText(e.X) + "." + e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return "?"
}
