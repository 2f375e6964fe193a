// Command gen compiles every shader with glslangValidator: the variants of package shaders into shaders/spv, and the small ones that
// the tests of package vk run into vk/testdata. With -check it compares with the committed files instead of writing.
//
// Two releases of glslang compile the same source to different words, so shaders/spv/glslang.txt names the release behind the
// committed files. With another one -check only makes sure that every shader compiles, and says so; where CI=true it fails.
//
// Run it from the repository's root: go run ./shaders/gen
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/vkcome/vkcome/shaders"
)

var (
	spv         = filepath.Join("shaders", "spv")
	tests       = filepath.Join("vk", "testdata")
	versionFile = filepath.Join(spv, "glslang.txt")
)

func main() {
	check := flag.Bool("check", false, "compare with the committed files and write nothing")
	only := flag.String("only", "", "compile only this .comp file's variants (name without .comp)")
	flag.Parse()
	if err := run(*check, *only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// job is one compilation.
type job struct {
	source, target string
	defines        []string
	words          []byte
}

func jobs() ([]*job, error) {
	var all []*job
	for _, v := range shaders.Variants() {
		all = append(all, &job{source: filepath.Join("shaders", v.Source), target: filepath.Join(spv, v.Name+".spv"), defines: v.Defines})
	}
	sources, err := filepath.Glob(filepath.Join(tests, "*.comp"))
	for _, s := range sources {
		all = append(all, &job{source: s, target: strings.TrimSuffix(s, ".comp") + ".spv"})
	}
	return all, err
}

func run(check bool, only string) error {
	here, err := version()
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(versionFile)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	committed := strings.TrimSpace(string(raw))
	all, err := jobs()
	if err != nil {
		return err
	}
	selected := all
	if only != "" {
		if here != committed {
			return fmt.Errorf("%s: committed with glslang %s, here is %s: run make shaders, which compiles all of them", spv, committed, here)
		}
		selected = slices.DeleteFunc(slices.Clone(all), func(j *job) bool { return filepath.Base(j.source) != only+".comp" })
	}
	if err := compile(selected); err != nil {
		return err
	}
	if check && here != committed {
		if os.Getenv("CI") == "true" {
			return fmt.Errorf("%s: committed with glslang %s, here is %s: CI compares words, so it needs the former", spv, committed, here)
		}
		fmt.Printf("%d shaders compile; comparison skipped: committed with glslang %s, here is %s\n", len(selected), committed, here)
		return nil
	}
	for _, j := range selected {
		old, err := os.ReadFile(j.target)
		switch {
		case err == nil && bytes.Equal(old, j.words):
			continue
		case check:
			return fmt.Errorf("%s is not what %s compiles to: run make shaders and commit", j.target, j.source)
		}
		if err := os.WriteFile(j.target, j.words, 0o644); err != nil {
			return err
		}
	}
	if only == "" {
		if err := strays(all, check); err != nil {
			return err
		}
		if !check && here != committed {
			if err := os.WriteFile(versionFile, []byte(here+"\n"), 0o644); err != nil {
				return err
			}
		}
	}
	fmt.Printf("%d shaders, glslang %s\n", len(selected), here)
	return nil
}

// strays deals with compiled files that belong to no shader any more.
func strays(all []*job, check bool) error {
	known := map[string]bool{}
	for _, j := range all {
		known[j.target] = true
	}
	for _, dir := range []string{spv, tests} {
		files, err := filepath.Glob(filepath.Join(dir, "*.spv"))
		if err != nil {
			return err
		}
		for _, f := range files {
			if known[f] {
				continue
			}
			if check {
				return fmt.Errorf("%s belongs to no shader: run make shaders and commit", f)
			}
			if err := os.Remove(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// version is the release of the glslang here, as in "11:12.0.0".
func version() (string, error) {
	out, err := exec.Command("glslangValidator", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("glslangValidator: %w (package glslang-tools)", err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	_, v, ok := strings.Cut(first, "Version: ")
	if !ok {
		return "", fmt.Errorf("glslangValidator --version says %q", first)
	}
	return strings.TrimSpace(v), nil
}

func compile(all []*job) error {
	tmp, err := os.MkdirTemp("", "vkcome-shaders-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for i, j := range all {
		g.Go(func() error { return j.compile(filepath.Join(tmp, fmt.Sprint(i))) })
	}
	return g.Wait()
}

func (j *job) compile(out string) error {
	args := []string{"-V", "--target-env", "vulkan1.1", "-g0", "--quiet", "-Ishaders"}
	for _, d := range j.defines {
		args = append(args, "-D"+d)
	}
	for _, c := range []*exec.Cmd{
		exec.Command("glslangValidator", append(args, j.source, "-o", out)...),
		exec.Command("spirv-val", "--target-env", "vulkan1.1", out),
	} {
		if msg, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(append([]string{c.Args[0], j.source}, j.defines...), " "), err, bytes.TrimSpace(msg))
		}
	}
	words, err := os.ReadFile(out)
	j.words = words
	return err
}
