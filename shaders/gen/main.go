// Command gen compiles every shader with glslangValidator: the variants of package shaders into shaders/spv, and the small ones that
// the tests of package vk run into vk/testdata. With -check it compares with the committed files instead of writing.
//
// Two releases of glslang compile the same source to different words, so shaders/spv/glslang.txt names the release behind the
// committed files. With another one -check only makes sure that every shader compiles, and says so; where CI=true it fails.
//
// Shaders with cooperative matrices need a newer release than others are committed with; glslang-newer.txt names theirs. It is the
// one of -newer, else of .drivers/glslang15 or .drivers/mesa26, which .ci/extra-drivers.sh makes, else that of the system if it is
// new enough. Without one these shaders are left as they are, which is said; where CI=true it is an error.
//
// Run it from the repository's root: go run ./shaders/gen
package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/vkcome/vkcome/shaders"
	"github.com/vkcome/vkcome/shaders/spirv"
)

var (
	spv   = filepath.Join("shaders", "spv")
	tests = filepath.Join("vk", "testdata")
)

// compiler is glslang with spirv-val: command lines, to which arguments are added.
type compiler struct {
	glslang, val []string
	version      string // as in "11:12.0.0"
	committed    string // the version behind the committed files
	versionFile  string
}

// oldestNewer is the first release of glslang that knows GL_NV_cooperative_matrix2.
const oldestNewer = 15

func newCompiler(versionFile string, glslang, val []string) (*compiler, error) {
	c := &compiler{glslang: glslang, val: val, versionFile: filepath.Join(spv, versionFile)}
	out, err := exec.Command(glslang[0], slices.Concat(glslang[1:], []string{"--version"})...).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w (package glslang-tools)", strings.Join(glslang, " "), err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	_, v, ok := strings.Cut(first, "Version: ")
	if !ok {
		return nil, fmt.Errorf("%s --version says %q", strings.Join(glslang, " "), first)
	}
	c.version = strings.TrimSpace(v)
	raw, err := os.ReadFile(c.versionFile)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	c.committed = strings.TrimSpace(string(raw))
	return c, nil
}

// newer is the compiler for variants marked so, from a folder that extra-drivers.sh made; nil where there is none.
func newer(folder string, system *compiler) (*compiler, error) {
	const versionFile = "glslang-newer.txt"
	folders := []string{folder}
	if folder == "" {
		folders = []string{filepath.Join(".drivers", "glslang15"), filepath.Join(".drivers", "mesa26")}
	}
	for _, f := range folders {
		run := filepath.Join(f, "run")
		if _, err := os.Stat(run); err == nil || folder != "" {
			bin := func(name string) []string { return []string{run, filepath.Join(f, "root", "usr", "bin", name)} }
			return newCompiler(versionFile, bin("glslangValidator"), bin("spirv-val"))
		}
	}
	_, release, _ := strings.Cut(system.version, ":")
	major, _, _ := strings.Cut(release, ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldestNewer {
		return nil, nil
	}
	return newCompiler(versionFile, system.glslang, system.val)
}

func main() {
	check := flag.Bool("check", false, "compare with the committed files and write nothing")
	only := flag.String("only", "", "compile only this .comp file's variants (name without .comp)")
	folder := flag.String("newer", "", "folder made by .ci/extra-drivers.sh glslang15, for shaders with cooperative matrices")
	logs := flag.String("coverage", "", "compile nothing: say which kernels ran on no device, by the logs that tests wrote into this folder (VKCOME_KERNEL_LOG)")
	flag.Parse()
	if *logs != "" {
		if err := coverage(os.Stdout, *logs, notRunFile); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := run(*check, *only, *folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// job is one compilation.
type job struct {
	source, target string
	defines        []string
	env            string
	newer          bool
	by             *compiler
	words          []byte
	takes          *spirv.Interface // nil where it was not compiled
}

func jobs() ([]*job, error) {
	var all []*job
	for _, v := range shaders.Variants() {
		all = append(all, &job{source: filepath.Join("shaders", v.Source), target: filepath.Join(spv, v.Name+".spv"), defines: v.Defines, env: v.Env, newer: v.Newer})
	}
	sources, err := filepath.Glob(filepath.Join(tests, "*.comp"))
	for _, s := range sources {
		all = append(all, &job{source: s, target: strings.TrimSuffix(s, ".comp") + ".spv"})
	}
	return all, err
}

func run(check bool, only, folder string) error {
	system, err := newCompiler("glslang.txt", []string{"glslangValidator"}, []string{"spirv-val"})
	if err != nil {
		return err
	}
	later, err := newer(folder, system)
	if err != nil {
		return err
	}
	all, err := jobs()
	if err != nil {
		return err
	}
	selected, skipped := map[*compiler][]*job{}, 0
	for _, j := range all {
		j.by = system
		if j.newer {
			j.by = later
		}
		switch {
		case only != "" && filepath.Base(j.source) != only+".comp":
		case j.by == nil:
			skipped++
		default:
			selected[j.by] = append(selected[j.by], j)
		}
	}
	if skipped > 0 {
		const need = "%d shaders need glslang %d or newer, here is %s: run .ci/extra-drivers.sh glslang15 .drivers/glslang15"
		if os.Getenv("CI") == "true" || only != "" {
			return fmt.Errorf(need, skipped, oldestNewer, system.version)
		}
		fmt.Printf("left as they are: "+need+"\n", skipped, oldestNewer, system.version)
	}
	for _, c := range []*compiler{system, later} {
		if len(selected[c]) == 0 {
			continue
		}
		if err := c.run(selected[c], check, only != ""); err != nil {
			return err
		}
	}
	if err := interfaces(all, check); err != nil {
		return err
	}
	if only != "" {
		return nil
	}
	return strays(all, check)
}

// run compiles what a compiler is for and compares it with the committed files, or writes it.
func (c *compiler) run(jobs []*job, check, some bool) error {
	if some && c.version != c.committed {
		return fmt.Errorf("%s: committed with glslang %s, here is %s: run make shaders, which compiles all of them", spv, c.committed, c.version)
	}
	if err := compile(jobs); err != nil {
		return err
	}
	if check && c.version != c.committed {
		if os.Getenv("CI") == "true" {
			return fmt.Errorf("%s: committed with glslang %s, here is %s: CI compares words, so it needs the former", spv, c.committed, c.version)
		}
		fmt.Printf("%d shaders compile; comparison skipped: committed with glslang %s, here is %s\n", len(jobs), c.committed, c.version)
		for _, j := range jobs {
			j.takes = nil // another release may declare what no line of the shader uses
		}
		return nil
	}
	for _, j := range jobs {
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
	if !check && c.version != c.committed {
		if err := os.WriteFile(c.versionFile, []byte(c.version+"\n"), 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("%d shaders, glslang %s\n", len(jobs), c.version)
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
	env := cmp.Or(j.env, "vulkan1.1")
	args := []string{"-V", "--target-env", env, "--quiet", "-Ishaders"}
	for _, d := range j.defines {
		args = append(args, "-D"+d)
	}
	command := func(tool []string, args ...string) *exec.Cmd {
		return exec.Command(tool[0], slices.Concat(tool[1:], args)...)
	}
	for _, c := range []*exec.Cmd{
		command(j.by.glslang, append(args, j.source, "-o", out)...), command(j.by.val, "--target-env", env, out),
	} {
		if msg, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(append([]string{filepath.Base(j.by.glslang[len(j.by.glslang)-1]), j.source}, j.defines...), " "), err, bytes.TrimSpace(msg))
		}
	}
	named, err := os.ReadFile(out)
	if err != nil {
		return err
	}
	if j.takes, err = spirv.Parse(named); err != nil {
		return fmt.Errorf("%s: %w", j.source, err)
	}
	j.words, err = spirv.Strip(named)
	return err
}
