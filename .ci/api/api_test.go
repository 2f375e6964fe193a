package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"
	"time"
)

// sources are two packages of a module, and what is promised of them.
const (
	low = `package low
type T struct{ Secret int }
type Held interface{ Close() error; Rest() }
type Opaque struct{ Field int }
`
	top = `package top
import "m/low"
type Options struct { Layers int; Progress func(done, total int); hidden int }
type Kind int
const ( First Kind = iota; Second )
type inner struct{ Lent string }
func (inner) Given() {}
type Plan struct { inner; Options Options; Kept low.Held }
func (p *Plan) Run(list ...string) (n int, err error) { return }
type Waiter interface{ Wait(seconds int) }
var Err error
func New(o Options, other *low.Opaque) (*Plan, error) { return nil, nil }
func Unpromised() {}
`
)

var promised = []promise{
	{path: "top", all: "New Kind Plan Waiter Err", fields: "Options"},
	{path: "low", parts: map[string]string{"Opaque": "", "Held": "Close"}},
}

type from map[string]*types.Package

func (f from) Import(path string) (*types.Package, error) { return f[path], nil }

// surfaceOf is the record of two sources.
func surfaceOf(t *testing.T, low, top string, s []promise) (list, wrong []string) {
	t.Helper()
	packages := map[string]*types.Package{}
	done := from{}
	for _, p := range []struct{ path, text string }{{"low", low}, {"top", top}} {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, p.path+".go", p.text, 0)
		if err != nil {
			t.Fatal(err)
		}
		checked, err := (&types.Config{Importer: done}).Check("m/"+p.path, set, []*ast.File{file}, nil)
		if err != nil {
			t.Fatal(err)
		}
		packages[p.path], done["m/"+p.path] = checked, checked
	}
	return lines(packages, "m", s)
}

func TestLines(t *testing.T) {
	list, wrong := surfaceOf(t, low, top, promised)
	want := []string{
		"low, method (Held) Close() error",
		"low, type Held interface",
		"low, type Opaque struct",
		"top, const First Kind = 0",
		"top, const Second Kind = 1",
		"top, func New(Options, *low.Opaque) (*Plan, error)",
		"top, method (*Plan) Run(...string) (int, error)",
		"top, method (Plan) Given()",
		"top, type Kind int",
		"top, type Options struct",
		"top, type Options struct, Layers int",
		"top, type Options struct, Progress func(int, int)",
		"top, type Plan struct",
		"top, type Plan struct, Kept low.Held",
		"top, type Plan struct, Lent string",
		"top, type Plan struct, Options Options",
		"top, type Waiter interface { Wait(int) }",
		"top, var Err error",
	}
	if !slices.Equal(list, want) || len(wrong) > 0 {
		t.Errorf("got\n%s\nwrong: %q", strings.Join(list, "\n"), wrong)
	}
}

// TestCompare changes the sources in one place each.
func TestCompare(t *testing.T) {
	was, _ := surfaceOf(t, low, top, promised)
	for _, c := range []struct {
		name, old, new string
		want           []string // names that are lost or changed
		added          []string
	}{
		{"same", "", "", nil, nil},
		{"function removed", "func New(o Options, other *low.Opaque) (*Plan, error) { return nil, nil }\n", "", []string{"top.New"}, nil},
		{"signature", "(p *Plan) Run(list ...string)", "(p *Plan) Run(list []string)", []string{"top.Plan.Run"}, nil},
		{"result", "(n int, err error)", "(n int64, err error)", []string{"top.Plan.Run"}, nil},
		{"parameter renamed", "Run(list ...string)", "Run(names ...string)", nil, nil},
		{"receiver", "func (inner) Given()", "func (*inner) Given()", []string{"top.Plan.Given"}, nil},
		{"new field", "Layers int;", "Layers int; More int;", nil, []string{"top.Options.More"}},
		{"field removed", "Layers int;", "", []string{"top.Options.Layers"}, nil},
		{"field of another type", "Layers int;", "Layers uint;", []string{"top.Options.Layers"}, nil},
		{"field no longer exported", "Lent string", "lent string", []string{"top.Plan.Lent"}, nil},
		{"unexported field", "hidden int", "hidden, more int", nil, nil},
		{"value", "= iota; Second", "= iota + 5; Second", []string{"top.First", "top.Second"}, nil},
		{"constant of a promised type", "; Second )", "; Second; Third )", nil, []string{"top.Third"}},
		{"method of what others implement", "Wait(seconds int)", "Wait(seconds int); Stop()", []string{"top.Waiter"}, nil},
		{"method more", "var Err error", "var Err error\nfunc (p *Plan) Close() {}", nil, []string{"top.Plan.Close"}},
		{"type", "type Kind int", "type Kind uint", []string{"top.Kind"}, nil},
		{"not promised", "func Unpromised() {}", "", nil, nil},
	} {
		if !strings.Contains(top, c.old) {
			t.Fatalf("%s: nothing to change", c.name)
		}
		is, _ := surfaceOf(t, low, strings.Replace(top, c.old, c.new, 1), promised)
		var lost, added []string
		for _, d := range compare(was, is) {
			if d.breaks() {
				lost = append(lost, d.name)
				if !strings.Contains(d.String(), d.name) || !strings.Contains(d.String(), "-write -because") {
					t.Errorf("%s: says %q", c.name, d)
				}
			} else {
				added = append(added, d.name)
			}
		}
		if !slices.Equal(lost, c.want) || !slices.Equal(added, c.added) {
			t.Errorf("%s: lost or changed %q, added %q, want %q and %q", c.name, lost, added, c.want, c.added)
		}
	}
}

// TestWhole meets surfaces that do not hold together.
func TestWhole(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"New Nowhere", "top.Nowhere: .ci/api/surface.go promises it"},
		{"New hidden", "top.hidden: .ci/api/surface.go promises it"},
		{"Plan New", "top.Plan.Options mentions top.Options, which is not promised"},
	} {
		s := []promise{{path: "top", all: c.name}, promised[1]}
		if _, wrong := surfaceOf(t, low, top, s); !slices.ContainsFunc(wrong, func(w string) bool { return strings.HasPrefix(w, c.want) }) {
			t.Errorf("%s: %q, want %q", c.name, wrong, c.want)
		}
	}
	s := []promise{{path: "top", parts: map[string]string{"Plan": "Run Walk"}}, promised[1]}
	if _, wrong := surfaceOf(t, low, top, s); len(wrong) != 1 || !strings.HasPrefix(wrong[0], "top.Plan.Walk: ") {
		t.Errorf("a method that is not there: %q", wrong)
	}
}

func TestPage(t *testing.T) {
	list, _ := surfaceOf(t, low, top, promised)
	whole := "`top.New(o)` `top.Options` `top.Plan`, `top.Waiter`, `top.Kind` `top.Err` `low.Opaque` `low.Held`; `top` `low` [`rest`](x)\n"
	all := []string{"top", "low", "rest"}
	for _, c := range []struct{ text, want string }{
		{whole, ""},
		{strings.Replace(whole, "`top.Err`", "top.Err", 1), "prune/API.md: top does not name it: it goes by a line there, as `top.Err`"},
		{whole + "`top.Gone`", "prune/API.md: names top.Gone, which is not promised: take it out, or promise it in .ci/api/surface.go"},
		{whole + changesTitle + "`top.Gone`", ""},
		{strings.Replace(whole, "[`rest`]", "", 1), "prune/API.md: says nothing of package `rest`: it is promised, or one of those that are not"},
	} {
		if got := strings.Join(checkPage(c.text, list, promised, all), "\n"); got != c.want {
			t.Errorf("of %q: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestAnnounce(t *testing.T) {
	day := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	changes := []change{{"top.New", "a", ""}, {"top.Old", "a", "b"}, {"top.More", "", "b"}}
	got := announce("text\n\n"+changesTitle+"\n- earlier\n", changes, "use top.Now", day)
	want := "text\n\n" + changesTitle + "\n- 2026-12-01, `top.New` gone: use top.Now\n- 2026-12-01, `top.Old` changed: use top.Now\n- earlier\n"
	if got != want {
		t.Errorf("got %q", got)
	}
}
