// Command gen compiles every variant of the shaders into spv/ with glslangValidator; with -check it compares instead of writing.
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
	"sync"

	"github.com/vkcome/vkcome/shaders"
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

func run(check bool, only string) error {
	tmp, err := os.MkdirTemp("", "vkcome-shaders-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	variants := slices.DeleteFunc(shaders.Variants(), func(v shaders.Variant) bool { return only != "" && v.Source != only+".comp" })
	errs := make([]error, len(variants))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.NumCPU())
	for i, v := range variants {
		wg.Add(1)
		go func() {
			defer wg.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = compile(v, filepath.Join(tmp, v.Name+".spv"))
		}()
	}
	wg.Wait()
	known := map[string]bool{}
	for i, v := range variants {
		if errs[i] != nil {
			return errs[i]
		}
		known[v.Name+".spv"] = true
		fresh, err := os.ReadFile(filepath.Join(tmp, v.Name+".spv"))
		if err != nil {
			return err
		}
		target := filepath.Join("shaders", "spv", v.Name+".spv")
		old, err := os.ReadFile(target)
		if err == nil && bytes.Equal(old, fresh) {
			continue
		}
		if check {
			return fmt.Errorf("%s is not what %s compiles to: run make shaders and commit", target, v.Source)
		}
		if err := os.WriteFile(target, fresh, 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("%d shader variants\n", len(variants))
	if only != "" {
		return nil
	}
	old, err := filepath.Glob(filepath.Join("shaders", "spv", "*.spv"))
	if err != nil {
		return err
	}
	for _, f := range old {
		if known[filepath.Base(f)] {
			continue
		}
		if check {
			return fmt.Errorf("%s belongs to no shader: run make shaders and commit", f)
		}
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return nil
}

func compile(v shaders.Variant, out string) error {
	args := []string{"-V", "--target-env", "vulkan1.1", "-g0", "--quiet", "-Ishaders"}
	for _, d := range v.Defines {
		args = append(args, "-D"+d)
	}
	args = append(args, filepath.Join("shaders", v.Source), "-o", out)
	if msg, err := exec.Command("glslangValidator", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %v\n%s", v.Source, strings.Join(v.Defines, " "), err, msg)
	}
	if msg, err := exec.Command("spirv-val", "--target-env", "vulkan1.1", out).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: spirv-val: %v\n%s", v.Source, strings.Join(v.Defines, " "), err, msg)
	}
	return nil
}
