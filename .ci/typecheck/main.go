// Command typecheck checks the types of every package and test of the module for other systems, without their C compilers: what cgo would make
// of C is taken for granted, as go/types does with FakeImportC, and a binding of another module has the types that it has here. So it finds
// what is missing or named otherwise on a system, and nothing in C.
//
//	go run ./.ci/typecheck darwin/arm64...
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	failed := false
	for _, target := range os.Args[1:] {
		goos, goarch, ok := strings.Cut(target, "/")
		if !ok {
			fmt.Fprintf(os.Stderr, "typecheck: %q, expected a system and an architecture as darwin/arm64\n", target)
			os.Exit(2)
		}
		n, found, err := check(".", goos, goarch)
		if err != nil {
			fmt.Fprintln(os.Stderr, "typecheck:", err)
			os.Exit(2)
		}
		for _, line := range found {
			fmt.Println(line)
		}
		failed = failed || len(found) > 0
		fmt.Printf("%s: %d packages and tests, %d errors\n", target, n, len(found))
	}
	if failed {
		os.Exit(1)
	}
}

// pkg is what go list says of a package, or of one as its tests are built with it.
type pkg struct {
	ImportPath, Dir   string
	GoFiles, CgoFiles []string
	ImportMap         map[string]string // of imports that mean another package: vendored ones, and those with tests
	Module            *struct{ Main bool }
	Standard          bool
	Error             *struct{ Err string }
}

// own says whether it is of the module that is checked; what it imports is taken to be right.
func (p *pkg) own() bool { return p.Module != nil && p.Module.Main }

// check gives how many packages and tests of the module in dir were checked, and an error a line.
func check(dir, goos, goarch string) (n int, found []string, err error) {
	list, err := packages(dir, goos, goarch)
	if err != nil {
		return 0, nil, err
	}
	set, done := token.NewFileSet(), map[string]*types.Package{"unsafe": types.Unsafe}
	for _, p := range list {
		if p.Error != nil {
			found = append(found, fmt.Sprintf("%s: %s", p.ImportPath, p.Error.Err))
		}
		if p.ImportPath == "unsafe" || strings.HasSuffix(p.ImportPath, ".test") { // Go writes the main package of a test when it builds it
			continue
		}
		conf := types.Config{
			FakeImportC: true, IgnoreFuncBodies: !p.own(), Sizes: types.SizesFor("gc", goarch),
			Importer: known{p.ImportMap, done},
			Error: func(err error) {
				if p.own() && !(len(p.CgoFiles) > 0 && strings.Contains(err.Error(), "invalid type")) { // what go/types calls a type of C
					found = append(found, err.Error())
				}
			},
		}
		if !p.own() && !p.Standard && len(p.CgoFiles) > 0 {
			if done[p.ImportPath], err = asHere(dir, p.ImportPath); err != nil {
				return 0, nil, err
			}
			continue
		}
		var files []*ast.File
		for _, name := range append(p.GoFiles, p.CgoFiles...) {
			f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return 0, nil, err
			}
			files = append(files, f)
		}
		path, _, _ := strings.Cut(p.ImportPath, " ") // of "a/b [a/b.test]"
		done[p.ImportPath], _ = conf.Check(path, set, files, nil)
		if p.own() {
			n++
		}
	}
	return n, found, nil
}

// asHere gives a package with the types that the compiler gave it on this system.
func asHere(dir, path string) (*types.Package, error) {
	cmd := exec.Command("go", "list", "-export", "-f", "{{.Export}}", path)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(string) (io.ReadCloser, error) {
		return os.Open(strings.TrimSpace(string(out)))
	}).Import(path)
}

// packages lists those of the module and their tests, and what they need, each behind what it imports.
func packages(dir, goos, goarch string) (list []*pkg, err error) {
	cmd := exec.Command("go", "list", "-e", "-deps", "-test", "-json=ImportPath,Dir,GoFiles,CgoFiles,ImportMap,Module,Standard,Error", "./...")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=1")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		p := new(pkg)
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
}

type known struct {
	names map[string]string
	done  map[string]*types.Package
}

func (i known) Import(path string) (*types.Package, error) {
	if other := i.names[path]; other != "" {
		path = other
	}
	if p := i.done[path]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("no package %s for this system", path)
}
