package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
)

// unused lists the exported names in packages below an internal folder (functions, types, constants, variables, methods and fields) that no
// code of the module mentions, tests left out. It goes by names, so it may miss one that another thing shares.
func unused(root string) (found []string, err error) {
	set := token.NewFileSet()
	type declared struct {
		name string
		at   token.Pos
	}
	var names []declared
	mentioned := map[string]int{}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() != "." && e.Name() != ".ci" && strings.HasPrefix(e.Name(), "."):
			return filepath.SkipDir
		case e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		own := map[*ast.Ident]bool{}
		if strings.Contains(filepath.ToSlash(path), "/internal/") || strings.HasPrefix(path, "internal/") {
			ast.Inspect(file, func(n ast.Node) bool {
				for _, id := range declares(n) {
					own[id] = true
					if id.IsExported() {
						names = append(names, declared{id.Name, id.Pos()})
					}
				}
				return true
			})
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && !own[id] {
				mentioned[id.Name]++
			}
			return true
		})
		return nil
	})
	for _, d := range names {
		if mentioned[d.name] == 0 {
			found = append(found, fmt.Sprintf("%v: %s is exported and nobody uses it", set.Position(d.at), d.name))
		}
	}
	return found, err
}

// declares lists the names that a node declares for other packages.
func declares(n ast.Node) (list []*ast.Ident) {
	switch n := n.(type) {
	case *ast.FuncDecl:
		return []*ast.Ident{n.Name}
	case *ast.TypeSpec:
		return []*ast.Ident{n.Name}
	case *ast.ValueSpec:
		return n.Names
	case *ast.StructType:
		for _, f := range n.Fields.List {
			list = append(list, f.Names...)
		}
	}
	return list
}
