//go:build lib

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk/vktest/faultlayer"
)

// What `make lib` and `make build` have built.
var (
	bin    = absolute("../../bin")
	shared = filepath.Join(bin, "libvkcome.so")
	tokens = absolute("../../testdata/golden/calib_tokens.json")
)

func absolute(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		panic(err)
	}
	return path
}

// run runs a program and returns what it prints; one that fails fails the test.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), env...), &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(out.String()))
	}
	return out.String()
}

func tail(text string) string { return text[max(0, len(text)-8000):] }

// compile builds a program in C against the library.
func compile(t *testing.T, source string, flags ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	args := append([]string{"-Wall", "-Wextra", "-Werror", "-pthread", "-I", ".", "-o", program, source}, flags...)
	run(t, ".", nil, "cc", append(args, "-L", bin, "-lvkcome", "-Wl,-rpath,"+bin)...)
	return program
}

// TestHeader compiles the header by itself as C and as C++, and compares what it declares with what the library shows.
func TestHeader(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"header.c", "header.cc"} {
		text := "#include \"vkcome.h\"\nint main(void) { return !VKCOME_ABI_FITS(vkcome_abi_version()); }\n"
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	strict := []string{"-Wall", "-Wextra", "-Werror", "-pedantic", "-Wstrict-prototypes", "-fsyntax-only", "-I", absolute(".")}
	for _, std := range []string{"c99", "c11", "c17"} {
		run(t, dir, nil, "cc", append(strict, "-std="+std, "header.c")...)
	}
	for _, std := range []string{"c++11", "c++20"} {
		run(t, dir, nil, "c++", append(slices.DeleteFunc(slices.Clone(strict), func(f string) bool { return f == "-Wstrict-prototypes" }), "-std="+std, "header.cc")...)
	}
	header, err := os.ReadFile("vkcome.h")
	if err != nil {
		t.Fatal(err)
	}
	var declared, shown []string
	for _, m := range regexp.MustCompile(`(?m)^(?:int32_t|uint32_t|char \*|void) ?(vkcome_\w+)\(`).FindAllSubmatch(header, -1) {
		declared = append(declared, string(m[1]))
	}
	for line := range strings.Lines(run(t, ".", nil, "nm", "-D", "--defined-only", shared)) {
		words := strings.Fields(line)
		shown = append(shown, words[len(words)-1])
	}
	slices.Sort(declared)
	slices.Sort(shown)
	if !slices.Equal(declared, shown) || len(shown) < 15 {
		t.Errorf("the header declares\n%s\nthe library shows\n%s", declared, shown)
	}
	built, err := os.ReadFile(filepath.Join(bin, "vkcome.h"))
	if err != nil || !bytes.Equal(built, header) {
		t.Errorf("bin/vkcome.h is not this header: %v", err)
	}
	if name := run(t, ".", nil, "readelf", "-d", shared); !strings.Contains(name, "soname: [libvkcome.so.1]") {
		t.Errorf("the library's name is not libvkcome.so.1:\n%s", name)
	}
}

// folderModel writes the embedded model with a layer less as a folder.
func folderModel(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	run(t, ".", nil, filepath.Join(bin, "vkcome"), "prune", "embedded:tiny12", dir, "-m", "reverse", "--target-layers", "11", "-q")
	return dir
}

// truncated is such a model whose weights are cut off.
func truncated(t *testing.T) string {
	t.Helper()
	dir := folderModel(t)
	weights := filepath.Join(dir, "model.safetensors")
	info, err := os.Stat(weights)
	if err == nil {
		err = os.Truncate(weights, info.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// embeds runs a program that embeds the library, as it is and with a device that is lost while it prunes.
func embeds(t *testing.T, dir string, env []string, name string, args ...string) {
	broken, layer := truncated(t), faultlayer.Build(t)
	whole := func(env []string, said ...string) {
		t.Helper()
		folder := t.TempDir()
		out := run(t, dir, env, name, append(slices.Clone(args), "embedded:tiny12", tokens, folder, broken)...)
		for _, want := range append(said, "a truncated model: ", "with progress\n", "a cancelled run: ", "generated: ", "a device in use: ", "done\n") {
			if !strings.Contains(out, want) {
				t.Errorf("the program does not say %q:\n%s", want, tail(out))
			}
		}
		if strings.Contains(out, "another text") || strings.Contains(out, "stood still") {
			t.Errorf("the program says:\n%s", tail(out))
		}
		if _, err := os.Stat(filepath.Join(folder, "cancelled")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a cancelled run left its output: %v", err)
		}
		if _, err := os.Stat(filepath.Join(folder, "pruned", "vkcome.json")); err != nil {
			t.Error(err)
		}
	}
	counts := filepath.Join(t.TempDir(), "counts")
	whole(slices.Concat(env, layer.Env(nil, faultlayer.Fault{}, counts)))
	submitted := uint64(0)
	for _, c := range faultlayer.Counts(t, counts) {
		if c.Call == "vkQueueSubmit" {
			submitted = c.N
		}
	}
	if submitted < 30 {
		t.Fatalf("%d submissions in all: the layer was not there", submitted)
	}
	t.Logf("%d submissions; number %d says that the device is lost", submitted, submitted/3)
	lost := faultlayer.Fault{Call: "vkQueueSubmit", At: submitted / 3, Result: faultlayer.DeviceLost}
	whole(slices.Concat(env, layer.Env(nil, lost, filepath.Join(t.TempDir(), "counts"))), "lost: ")
}

func TestC(t *testing.T) {
	embeds(t, ".", nil, compile(t, "examples/c/embed.c", "-std=c99", "-pedantic"))
}

// python is the system's Python, for which Debian has what builds a wheel.
func python() string {
	if _, err := os.Stat("/usr/bin/python3"); err == nil {
		return "/usr/bin/python3"
	}
	return "python3"
}

// copied copies an example's files.
func copied(t *testing.T, example string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), filepath.Base(example))
	if err := os.CopyFS(dir, os.DirFS(example)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// put copies the library into a folder.
func put(t *testing.T, dir string) {
	t.Helper()
	raw, err := os.ReadFile(shared)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "libvkcome.so"), raw, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestPython builds the wheel with the library in it, installs it without a network, and runs the example with nothing else.
func TestPython(t *testing.T) {
	dir := copied(t, "examples/python")
	put(t, filepath.Join(dir, "vkcome"))
	offline := []string{"PIP_NO_INDEX=1", "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_ROOT_USER_ACTION=ignore"}
	run(t, dir, offline, python(), "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", "dist", ".")
	wheels, err := filepath.Glob(filepath.Join(dir, "dist", "vkcome-*-py3-none-linux_*.whl"))
	if err != nil || len(wheels) != 1 {
		t.Fatalf("%v, %v", wheels, err)
	}
	venv := filepath.Join(t.TempDir(), "venv")
	run(t, dir, nil, python(), "-m", "venv", venv)
	inside := filepath.Join(venv, "bin", "python3")
	run(t, dir, offline, inside, "-m", "pip", "install", "-q", wheels[0])
	alone := t.TempDir() // not beside the package's source, which Python would take
	if err := os.Rename(filepath.Join(dir, "example.py"), filepath.Join(alone, "example.py")); err != nil {
		t.Fatal(err)
	}
	embeds(t, alone, []string{"VKCOME_LIBRARY="}, inside, "example.py")
}

// TestNode installs what package-lock.json names, and runs the example.
func TestNode(t *testing.T) {
	dir := copied(t, "examples/node")
	if err := os.RemoveAll(filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	run(t, dir, nil, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund") // koffi comes compiled
	put(t, dir)
	embeds(t, dir, nil, "node", "example.js")
}

// TestWrongUse uses the library wrongly, from four threads at once. Go's race detector cannot be in it, as it has no shadow memory for where a
// program's loader puts libraries; it looks at the same from four goroutines, in package abi.
func TestWrongUse(t *testing.T) {
	program := compile(t, "testdata/wrong.c", "-std=gnu11")
	if out := run(t, ".", nil, program, "embedded:tiny12", tokens, t.TempDir()); !strings.HasSuffix(out, "done\n") {
		t.Errorf("it says\n%s", out)
	}
}

// holding is what a process holds after so many cycles.
type holding struct {
	Cycle, Files, Threads int
	Resident              int64
}

func holdings(t *testing.T, out string) (list []holding) {
	t.Helper()
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "{") {
			var h holding
			if err := json.Unmarshal([]byte(line), &h); err != nil {
				t.Fatal(err)
			}
			list = append(list, h)
		}
	}
	if len(list) != 2 {
		t.Fatalf("it says\n%s", out)
	}
	return list
}

// TestLeaks opens and closes tokens, models and devices a thousand times, and prunes on a hundred devices, one after the other. Files and
// threads must be as many after the last cycle as after a tenth of them, and so must resident memory be, but for what the driver leaks.
func TestLeaks(t *testing.T) {
	program, model := compile(t, "testdata/leak.c", "-std=gnu11"), folderModel(t)
	layer, counts := faultlayer.Build(t), filepath.Join(t.TempDir(), "counts")
	for _, c := range []struct {
		name   string
		cycles string
		args   []string
	}{
		{"models", "1000", nil},
		{"devices", "1000", []string{"device"}},
		{"runs", "100", []string{"device", tokens, t.TempDir()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			growth, env := int64(8<<20), []string{"MALLOC_ARENA_MAX=1"} // what the arena of one more thread keeps, some 8 MiB, is no leak
			if c.name == "runs" {
				env = layer.Env(env, faultlayer.Fault{}, counts)
			}
			list := holdings(t, run(t, ".", env, program, append([]string{c.cycles, model}, c.args...)...))
			if c.name == "runs" {
				growth += int64(created(t, counts)) * pipelineLeak
			}
			first, last := list[0], list[1]
			t.Logf("%+v: %d MiB more, %d at most", list, (last.Resident-first.Resident)>>20, growth>>20)
			if last.Files != first.Files || last.Threads > first.Threads+runtime.NumCPU()+2 || last.Resident > first.Resident+growth {
				t.Errorf("after %d cycles the process holds more than after %d: %+v", last.Cycle, first.Cycle, list)
			}
		})
	}
}

// pipelineLeak is what lavapipe 22.3.6 leaks of a pipeline that is created and destroyed, whoever does it: about 480 KB, and a third for what
// lies between.
const pipelineLeak = 640 << 10

// created is how many pipelines a table counts.
func created(t *testing.T, counts string) uint64 {
	t.Helper()
	for _, c := range faultlayer.Counts(t, counts) {
		if c.Call == "vkCreateComputePipelines" && c.N > 0 {
			return c.N
		}
	}
	t.Fatal("no pipelines were counted")
	return 0
}

// TestValgrind does it under valgrind's memcheck: models fifty times, and devices ten times; a thousand times takes half an hour. No block may
// be lost, and after the models none may be there in the end for each cycle. What memcheck says of reads and writes means nothing, as it knows
// no stacks of goroutines.
func TestValgrind(t *testing.T) {
	program, model := compile(t, "testdata/leak.c", "-std=gnu11"), folderModel(t)
	for _, c := range []struct {
		args []string
		left int // blocks: what drivers and their libraries keep until the process ends
	}{{[]string{"50", model}, 40}, {[]string{"10", model, "device"}, 20_000}} {
		checked(t, c.left, append([]string{"--leak-check=full", "--show-leak-kinds=definite", "--undef-value-errors=no", program}, c.args...)...)
	}
}

func checked(t *testing.T, most int, args ...string) {
	t.Helper()
	out := run(t, ".", nil, "valgrind", args...)
	number := func(what string) int {
		t.Helper()
		m := regexp.MustCompile(what).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("valgrind says nothing of %q:\n%s", what, tail(out))
		}
		n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	allocated, left, lost := number(`total heap usage: ([\d,]+) allocs`), number(`in use at exit: [\d,]+ bytes in ([\d,]+) blocks`), number(`definitely lost: ([\d,]+) bytes`)
	t.Logf("%d blocks allocated, %d there in the end, %d bytes lost", allocated, left, lost)
	if allocated < 60 || left > most || lost > 0 {
		t.Errorf("%s", tail(out))
	}
}
