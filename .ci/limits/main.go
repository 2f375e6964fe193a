// Command limits says which functions and types of the packages under some folders have grown too large: functions of more than 100 lines,
// and types with more than 25 exported methods, those of embedded types of the same package included; and which exported names of internal packages nobody uses. It exits with 1 if there are any.
//
//	go run ./.ci/limits [-lines N] [-methods N] [folder...]
//
// Without folders these are model and prune. Tests and testdata are left out.
package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	lines := flag.Int("lines", 100, "lines of a function at most, from its first to its last")
	methods := flag.Int("methods", 25, "exported methods of a type at most")
	flag.Parse()
	folders := flag.Args()
	if len(folders) == 0 {
		folders = []string{"model", "prune"}
	}
	var found []string
	for _, folder := range folders {
		list, err := check(folder, *lines, *methods)
		if err != nil {
			fmt.Fprintln(os.Stderr, "limits:", err)
			os.Exit(2)
		}
		found = append(found, list...)
	}
	list, err := unused(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "limits:", err)
		os.Exit(2)
	}
	found = append(found, list...)
	for _, line := range found {
		fmt.Println(line)
	}
	if len(found) > 0 {
		os.Exit(1)
	}
}

// check lists what is too large in the packages below a folder.
func check(root string, lines, methods int) (found []string, err error) {
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		if e.Name() == "testdata" {
			return filepath.SkipDir
		}
		list, err := checkPackage(path, lines, methods)
		found = append(found, list...)
		return err
	})
	return found, err
}

func checkPackage(dir string, lines, methods int) (found []string, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	exported, embedded := map[string][]string{}, map[string][]string{} // by type
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				first, last := set.Position(d.Pos()), set.Position(d.End())
				if n := last.Line - first.Line + 1; n > lines {
					found = append(found, fmt.Sprintf("%s:%d: %s has %d lines, at most %d are allowed", path, first.Line, d.Name.Name, n, lines))
				}
				if d.Recv != nil && d.Name.IsExported() {
					of := typeName(d.Recv.List[0].Type)
					exported[of] = append(exported[of], d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if t, ok := spec.(*ast.TypeSpec); ok {
						embedded[t.Name.Name] = embeds(t.Type)
					}
				}
			}
		}
	}
	for of := range exported {
		if n := len(promoted(of, exported, embedded, nil)); n > methods {
			found = append(found, fmt.Sprintf("%s: type %s has %d exported methods, at most %d are allowed", dir, of, n, methods))
		}
	}
	slices.Sort(found)
	return found, nil
}

// typeName is the name of a receiver's or an embedded field's type, empty for one of another package.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.IndexListExpr:
		return typeName(e.X)
	}
	return ""
}

// embeds lists the types of the same package that a struct embeds.
func embeds(e ast.Expr) (list []string) {
	s, ok := e.(*ast.StructType)
	if !ok {
		return nil
	}
	for _, field := range s.Fields.List {
		if name := typeName(field.Type); len(field.Names) == 0 && name != "" {
			list = append(list, name)
		}
	}
	return list
}

// promoted lists the exported methods of a type, its own and those of the types that it embeds.
func promoted(of string, exported, embedded map[string][]string, seen []string) (list []string) {
	if slices.Contains(seen, of) {
		return nil
	}
	seen = append(seen, of)
	list = slices.Clone(exported[of])
	for _, inner := range embedded[of] {
		for _, name := range promoted(inner, exported, embedded, seen) {
			if !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list
}
