// Command arrows checks which way the packages import one another: a package may import those of its own level and of the levels below it,
// and none above. It also says what an embedding program must not be made to link.
//
//	go run ./.ci/arrows          check; exit 1 if an import points up
//	go run ./.ci/arrows -draw    print each package with what it imports, level by level
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

const module = "github.com/vkcome/vkcome/"

// levels are the packages from the top down. A name that ends in a slash stands for all packages below it.
var levels = [][]string{
	{"cmd/"},
	{"prune/report"},
	{"prune"},
	{"prune/refit/shards"},
	{"prune/distill", "prune/work", "prune/card"},
	{"prune/method"},
	{"prune/refit"},
	{"prune/score", "prune/merge", "model/eval", "model/bench"},
	{"model/train", "model/generate"},
	{"model/run"},
	{"model/graph", "model/states", "model/lsq"},
	{"model/op"},
	{"vk", "shaders"},
	{"shaders/spirv"},
	{"model/named"},
	{"vk/internal/", "model/embedded", "model/eval/task"},
	{"model/corpus", "model/convert"},
	{"model"},
	{"model/gguf", "model/chat"},
	{"model/chat/jinja", "model/arch", "model/safetensors", "model/torchfile", "model/tokenizer", "model/hub"},
	{"model/dtype", "model/files", "model/memory", "model/printable", "model/internal/"},
}

// aside are packages that only tests and generators import: they may import anything, and nothing else may import them.
var aside = []string{"model/modeltest", "model/ref", "vk/vktest", "vk/vktest/faultlayer", "shaders/gen", "model/op/optest", "model/hub/hubtest", "model/files/filestest"}

// never are packages that a package must not depend on, even through others.
var never = map[string][]string{
	"model":      {"vk", "shaders", "model/op", "model/embedded"}, // what a model is, free of how it runs
	"model/arch": {"model", "vk"},
	"prune":      {"model/embedded"}, // 4.5 MB that an embedding program does not want
}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func main() {
	draw := flag.Bool("draw", false, "print the graph")
	flag.Parse()
	list, err := packages()
	if err != nil {
		fmt.Fprintln(os.Stderr, "arrows:", err)
		os.Exit(2)
	}
	if *draw {
		drawn(list)
		return
	}
	if found := check(list); len(found) > 0 {
		fmt.Println(strings.Join(found, "\n"))
		os.Exit(1)
	}
}

// packages lists the module's packages with their names shortened.
func packages() (list []pkg, err error) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		p.ImportPath, p.Imports, p.Deps = strings.TrimPrefix(p.ImportPath, module), own(p.Imports), own(p.Deps)
		list = append(list, p)
	}
}

// own keeps the imports from this module.
func own(imports []string) (list []string) {
	for _, i := range imports {
		if strings.HasPrefix(i, module) {
			list = append(list, strings.TrimPrefix(i, module))
		}
	}
	return list
}

// level is a package's, −1 where the table lacks it.
func level(name string) int {
	return slices.IndexFunc(levels, func(names []string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return n == name || strings.HasSuffix(n, "/") && strings.HasPrefix(name, n) })
	})
}

func isAside(name string) bool {
	return slices.ContainsFunc(aside, func(n string) bool { return n == name || strings.HasPrefix(name, n+"/") })
}

func check(list []pkg) (found []string) {
	for _, p := range list {
		if isAside(p.ImportPath) || strings.HasPrefix(p.ImportPath, ".ci") {
			continue
		}
		from := level(p.ImportPath)
		if from < 0 {
			found = append(found, p.ImportPath+": .ci/arrows/main.go does not know its level")
			continue
		}
		for _, i := range p.Imports {
			switch to := level(i); {
			case isAside(i):
				found = append(found, fmt.Sprintf("%s imports %s, which is for tests", p.ImportPath, i))
			case to < from:
				found = append(found, fmt.Sprintf("%s imports %s, which lies above it", p.ImportPath, i))
			}
		}
		for _, n := range never[p.ImportPath] {
			if slices.Contains(p.Deps, n) {
				found = append(found, fmt.Sprintf("%s depends on %s", p.ImportPath, n))
			}
		}
	}
	return found
}

func drawn(list []pkg) {
	for n := range levels {
		for _, p := range list {
			if level(p.ImportPath) == n && !isAside(p.ImportPath) {
				fmt.Printf("%-2d %-20s → %s\n", n, p.ImportPath, strings.Join(p.Imports, " "))
			}
		}
	}
}
