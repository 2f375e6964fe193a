package main

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// target is a system that is built for.
type target struct {
	os, arch string
	cc       string // its C compiler, by Debian's name
}

var targets = []target{host, {"linux", "arm64", "aarch64-linux-gnu-gcc"}, {"windows", "amd64", "x86_64-w64-mingw32-gcc-win32"}}

// host is the system that dist itself runs on: the program that was built for it prints the completions and pages.
var host = target{"linux", "amd64", "x86_64-linux-gnu-gcc"}

func (t target) name() string { return t.os + "/" + t.arch }

func (t target) program() string {
	if t.os == "windows" {
		return "vkcome.exe"
	}
	return "vkcome"
}

func targetNames() (list []string) {
	for _, t := range targets {
		list = append(list, t.name())
	}
	return list
}

// find gives the targets of these names. The host's is among them whatever is asked for.
func find(names []string) ([]target, error) {
	list := []target{host}
	for _, name := range names {
		i := slices.Index(targetNames(), name)
		if i < 0 {
			return nil, fmt.Errorf("-targets: %q, expected some of %s", name, strings.Join(targetNames(), ", "))
		}
		if !slices.Contains(list, targets[i]) {
			list = append(list, targets[i])
		}
	}
	return list, nil
}

// kept are the variables that builds see: where things lie and how modules are fetched, but nothing that changes what is built.
var kept = []string{"PATH", "HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC"}

// asked are Go's own settings of the same kind, which may also be in its file of settings.
var asked = []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE", "GOAUTH", "GOTOOLCHAIN"}

func environment() (env []string, err error) {
	for _, name := range kept {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	raw, err := command(".", nil, "go", append([]string{"env", "-json"}, asked...)...)
	if err != nil {
		return nil, err
	}
	var values map[string]string
	if err := json.Unmarshal([]byte(raw), &values); err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	for _, name := range asked {
		env = append(env, name+"="+values[name])
	}
	return append(env, "GOENV=off", "GOFLAGS=", "GOWORK=off", "LC_ALL=C.UTF-8", "TZ=UTC"), nil
}

// of is the environment of commands that build for a target. Without -g the C compiler writes no names of folders.
func (r *release) of(t target) []string {
	return append(slices.Clone(r.env), "GOOS="+t.os, "GOARCH="+t.arch, "GOAMD64=v1", "GOARM64=v8.0", "CGO_ENABLED=1", "CC="+t.cc,
		"CGO_CFLAGS=-O2", "CGO_CPPFLAGS=", "CGO_CXXFLAGS=-O2", "CGO_LDFLAGS=", "SOURCE_DATE_EPOCH="+strconv.FormatInt(r.time.Unix(), 10))
}

// built are the files that were compiled for a target.
type built struct{ program, library string }

// libraryName is that of the library, which on Linux names its interface's number.
func (t target) libraryName() string {
	if t.os == "windows" {
		return "vkcome.dll"
	}
	return "libvkcome.so.1"
}

// build compiles the program and the library.
func (r *release) build(t target) (b built, err error) {
	fmt.Fprintf(os.Stderr, "dist: building for %s\n", t.name())
	dir := filepath.Join(r.scratch, t.os+"-"+t.arch)
	b = built{filepath.Join(dir, t.program()), filepath.Join(dir, t.libraryName())}
	link := "-Wl,--build-id=none"
	if t.os == "windows" {
		link += ",--no-insert-timestamp"
	}
	if err := r.compile(t, b.program, "./cmd/vkcome", "exe", link); err != nil {
		return b, err
	}
	if t.os == "linux" { // as `make lib` links it
		link += ",-soname," + t.libraryName() + ",--version-script=" + filepath.Join(r.source, "cmd/libvkcome/exports.map")
	}
	return b, r.compile(t, b.library, "./cmd/libvkcome", "c-shared", link)
}

// compile leaves out what could differ between two builds: names of folders (-trimpath, which also has the C compiler leave them out), ids of
// builds, and the time in the header of a file for Windows.
func (r *release) compile(t target, path, pkg, mode, link string) error {
	_, err := command(r.source, r.of(t), "go", "build", "-trimpath", "-buildvcs=true", "-buildmode="+mode, "-ldflags=-s -w -buildid= -B none -extldflags="+link, "-o", path, pkg)
	return err
}

// glibc says the oldest release of the C library that a file for Linux runs with, empty for others.
func glibc(t target, path string) (string, error) {
	if t.os != "linux" {
		return "", nil
	}
	f, err := elf.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	symbols, err := f.ImportedSymbols()
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	most := 0 // the minor number: glibc is at 2 since 1997
	for _, s := range symbols {
		if minor, ok := strings.CutPrefix(s.Version, "GLIBC_2."); ok {
			minor, _, _ = strings.Cut(minor, ".")
			n, err := strconv.Atoi(minor)
			if err != nil {
				return "", fmt.Errorf("%s: version %s of symbol %s", path, s.Version, s.Name)
			}
			most = max(most, n)
		}
	}
	libraries, err := f.ImportedLibraries()
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Sprintf("; %s runs with glibc 2.%d or newer, links %s", filepath.Base(path), most, strings.Join(libraries, ", ")), nil
}
