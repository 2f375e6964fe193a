package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strings"
)

// load gives the types of packages of the module in dir, by their paths below it, and the paths of all packages that other modules can import.
// The types are those that the compiler left in Go's build cache, so this is quick where everything was built.
func load(dir, module string, paths []string) (packages map[string]*types.Package, all []string, err error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export,Name", "./...")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go list: %w", err)
	}
	exports := map[string]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath, Export, Name string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, err
		}
		exports[p.ImportPath] = p.Export
		if path, ok := strings.CutPrefix(p.ImportPath, module+"/"); ok && p.Name != "main" && !strings.Contains("/"+path+"/", "/internal/") {
			all = append(all, path)
		}
	}
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no types of %s", path)
		}
		return os.Open(exports[path])
	})
	packages = map[string]*types.Package{}
	for _, path := range paths {
		if packages[path], err = imports.Import(module + "/" + path); err != nil {
			return nil, nil, err
		}
	}
	return packages, all, nil
}
