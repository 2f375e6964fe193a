package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
)

// inCards are the files that write what a model's card says: commands of vkcome, for whoever finds the model, which are no messages of the library.
var inCards = []string{"../../prune/cardcommands.go", "../../prune/cardtext.go"}

// library is what the packages that a program may embed declare and say.
type library struct {
	names    map[string]bool // "vk.Options.MaxMemory", "corpus.ReadTokens"
	packages map[string]bool
	literals map[string]string // strings in the code, by file and line
}

func readLibrary(t *testing.T) library {
	t.Helper()
	lib := library{map[string]bool{}, map[string]bool{}, map[string]string{}}
	set := token.NewFileSet()
	for _, root := range []string{"../../model", "../../prune", "../../vk"} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			lib.packages[file.Name.Name] = true
			lib.declared(file)
			if slices.Contains(inCards, path) {
				return nil
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.Field:
					return n.Tag == nil // JSON keys
				case *ast.BasicLit:
					if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil {
						lib.literals[set.Position(n.Pos()).String()] = text
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return lib
}

// declared adds the functions of a file and the fields of its structs.
func (lib library) declared(file *ast.File) {
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				lib.names[file.Name.Name+"."+d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				of, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				if s, ok := of.Type.(*ast.StructType); ok {
					for _, field := range s.Fields.List {
						for _, name := range field.Names {
							lib.names[file.Name.Name+"."+of.Name.Name+"."+name.Name] = true
						}
					}
				}
			}
		}
	}
}

// TestLibraryNamesOptions: no message of the library has a flag of vkcome, and each option that one names is in the table.
func TestLibraryNamesOptions(t *testing.T) {
	lib := readLibrary(t)
	flag := regexp.MustCompile(`--[a-z]`)
	foreign := regexp.MustCompile(`hf download [^;,]*|^ --revision $`) // flags of the program that fetches from the hub
	option := regexp.MustCompile(`[a-z]+(\.[A-Z][A-Za-z]*)+`)
	for at, text := range lib.literals {
		if flag.MatchString(foreign.ReplaceAllString(text, "")) {
			t.Errorf("%s: %q names a flag: name the option, and have optionFlags spell it", at, text)
		}
		for _, name := range option.FindAllString(text, -1) {
			pkg, _, _ := strings.Cut(name, ".")
			switch _, ok := flagsByOption[name]; {
			case !lib.packages[pkg]:
			case !lib.names[name]:
				t.Errorf("%s: there is no %s", at, name)
			case !ok:
				t.Errorf("%s: option %s is not in optionFlags", at, name)
			}
		}
	}
	for _, e := range method.Registry {
		own := method.OptionNames(e.New(method.Options{}).Effective())
		for _, name := range own {
			if _, ok := flagsByOption[name]; !ok {
				t.Errorf("method %s: option %s is not in optionFlags", e.Name, name)
			}
		}
		for _, name := range e.Options() {
			if _, ok := flagsByOption[name]; !ok {
				t.Errorf("method %s: option %s is not in optionFlags", e.Name, name)
			}
		}
	}
}

// TestOptionFlags: each option of the table exists, once, and so does its flag.
func TestOptionFlags(t *testing.T) {
	lib := readLibrary(t)
	flags := map[string]bool{}
	for _, v := range verbs {
		f := pflag.NewFlagSet(v.name, pflag.ContinueOnError)
		v.flags(f)
		f.VisitAll(func(f *pflag.Flag) { flags[f.Name] = true })
	}
	if len(flagsByOption) != len(optionFlags) {
		t.Error("an option is in the table twice")
	}
	for _, o := range optionFlags {
		if name := strings.TrimSuffix(o.option, "=true"); !lib.names[name] {
			t.Errorf("there is no %s", name)
		}
		if !flags[o.flag] {
			t.Errorf("%s: no verb has --%s", o.option, o.flag)
		}
	}
}

func TestSpell(t *testing.T) {
	for text, want := range map[string]string{
		"protect fewer (prune.Options.Protect)":                       "protect fewer (--protect)",
		"no target (prune.Options.TargetLayers), or vk.Options.Tier":  "no target (--target-layers), or vk.Options.Tier",
		"use vk.Options.MaxMemory vk.Options.MaxMemory of 3 MiB":      "use --max-device-memory --max-device-memory of 3 MiB",
		"allow merges (method.CoMe.Repeat=true); go on":               "allow merges (--no-repeat=false); go on",
		"method.CoMe.Repeat was false, is true":                       "--repeat was false, is true",
		"one of pruning (prune.Options.Distill mp): a model":          "one of pruning (vkcome prune --heal mp): a model",
		"open /tmp/prune.Output.Force/x.prune.Output.Work: not there": "open /tmp/prune.Output.Force/x.prune.Output.Work: not there",
		"two lines\nprune.Output.Resume\nprune.Output.Resume":         "two lines\n--resume\n--resume",
	} {
		if got := spell(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// TestSpelledErrors: what a user reads has flags, word for word.
func TestSpelledErrors(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run := func(args ...string) []string { return append([]string{"prune", embedded.Name, out, "-q"}, args...) }
	scored := func(args ...string) []string {
		return append(run("--method", "come", "--tokens", calib, "--window", "128", "--samples", "2"), args...)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"5 target layers: with each layer merged at most once, the model reaches 6; allow repeated merges (--no-repeat=false)", scored("--target-layers", "5")},
		{"1 target layers: 2 layers are protected; protect fewer (--protect)", run("-m", "reverse", "--target-layers", "1", "--protect", "0,-1")},
		{"with the protected layers left alone, the model reaches 2; protect fewer (--protect)", scored("--target-layers", "1", "--protect", "0", "--no-repeat=false")},
		{"give the correspondence (--map 3=4-5)", []string{"distill", embedded.Name, embedded.Name, out, "--tokens", calib, "--window", "128"}},
		{"use a shorter --window or a larger --max-device-memory", []string{"eval", "ppl", embedded.Name, "--tokens", calib, "--window", "128", "--max-device-memory", "16KiB"}},
		{`no field "text"; choose one with --field, there are: body`, run("--target-layers", "9", "--text", file("a.jsonl", `{"body":"x"}`))},
		{"(lists of token ids go to --tokens)", run("--target-layers", "9", "--text", file("b.jsonl", `[1,2]`))},
		{"are too little for", scored("--target-layers", "9", "--max-host-memory", "1MiB")},
		{"use a larger --max-host-memory", scored("--target-layers", "9", "--max-host-memory", "1MiB")},
		{out + " exists already; choose another name, or --force to replace it", run("-m", "reverse", "--target-layers", "9")},
	} {
		if strings.Contains(c.want, "exists already") {
			vkcome(t, run("-m", "reverse", "--target-layers", "11")...)
		}

		refuse(t, 1, c.want, c.args...)
	}
	var table prune.Comparison
	parseJSON(t, vkcome(t, "compare", embedded.Name, "--methods", "come,reverse", "--depths", "5", "--tokens", calib, "--eval-tokens", evalSet, "--window", "64", "--samples", "1", "--eval-samples", "1", "-q", "--json"), &table)
	if !slices.ContainsFunc(table.Rows, func(r prune.Compared) bool {
		return strings.HasSuffix(r.Error, "allow repeated merges (--no-repeat=false)")
	}) {
		t.Errorf("no row of %+v tells of --no-repeat", table.Rows)
	}
}
