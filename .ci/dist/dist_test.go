package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var someTime = time.Date(2026, 11, 30, 3, 28, 5, 0, time.UTC)

func someEntries() []entry {
	return []entry{{name: "vkcome", program: true, data: []byte("program")}, {name: "man/man1/vkcome.1", data: []byte("page")}, {name: "LICENSE", data: bytes.Repeat([]byte("text "), 1000)}}
}

// TestArchives: the bytes depend on the entries and the time alone, and what is in the archive is what was put there.
func TestArchives(t *testing.T) {
	for name, write := range map[string]func(string, []entry, time.Time) ([]byte, error){"tar": tarball, "zip": zipped} {
		first, err := write("vkcome-1", someEntries(), someTime)
		if err != nil {
			t.Fatal(err)
		}
		other := someEntries()
		slices.Reverse(other)
		old := syscall.Umask(0o077)
		t.Setenv("TZ", "Asia/Kathmandu")
		local := time.Local
		time.Local = time.FixedZone("elsewhere", 5*3600+45*60)
		again, err := write("vkcome-1", other, someTime)
		time.Local = local
		syscall.Umask(old)
		if err != nil || !bytes.Equal(first, again) {
			t.Errorf("%s: other bytes, %v", name, err)
		}
		if later, err := write("vkcome-1", other, someTime.Add(2*time.Second)); err != nil || bytes.Equal(first, later) {
			t.Errorf("%s: the time is not in it, %v", name, err)
		}
	}
}

func TestTarball(t *testing.T) {
	raw, err := tarball("vkcome-1", append(someEntries(), entry{name: "a.so", link: "a.so.1"}), someTime)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("the header of gzip has %v %q", z.ModTime, z.Name)
	}
	want := []string{"vkcome-1/ 755 ", "vkcome-1/man/ 755 ", "vkcome-1/man/man1/ 755 ", "vkcome-1/LICENSE 644 " + strings.Repeat("text ", 1000), "vkcome-1/a.so 777 ", "vkcome-1/man/man1/vkcome.1 644 page", "vkcome-1/vkcome 755 program"}
	r := tar.NewReader(z)
	for _, w := range want {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if got := h.Name + " " + strings.TrimLeft(modeText(h.Mode), "0") + " " + string(data); err != nil || got != w {
			t.Errorf("%.60s, want %.60s", got, w)
		}
		if (h.Typeflag == tar.TypeSymlink) != (h.Name == "vkcome-1/a.so") || h.Typeflag == tar.TypeSymlink && h.Linkname != "a.so.1" {
			t.Errorf("%s is of type %c and links to %q", h.Name, h.Typeflag, h.Linkname)
		}
		if !h.ModTime.Equal(someTime) || h.Uid != 0 || h.Gid != 0 || h.Uname != "root" {
			t.Errorf("%s: %v, %d %d %s", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Error("there is more")
	}
}

func modeText(mode int64) string {
	digits := ""
	for ; mode > 0; mode /= 8 {
		digits = string(rune('0'+mode%8)) + digits
	}
	return digits
}

func TestZipped(t *testing.T) {
	raw, err := zipped("vkcome-1", someEntries(), someTime)
	if err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		got = append(got, f.Name+" "+f.Mode().String()+" "+string(data[:min(len(data), 7)]))
		if err != nil || !f.Modified.Equal(someTime) {
			t.Errorf("%s: %v, %v", f.Name, f.Modified, err)
		}
	}
	if want := []string{"vkcome-1/LICENSE -rw-r--r-- text te", "vkcome-1/man/man1/vkcome.1 -rw-r--r-- page", "vkcome-1/vkcome -rwxr-xr-x program"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestSums(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b", "a"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("of "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := sums(dir, []string{"b", "a"}); err != nil {
		t.Fatal(err)
	}
	check := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), "sha256sum", "--strict", "-c", sumsName)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C")
		out, err := cmd.Output()
		return string(out), err
	}
	if out, err := check(); err != nil || out != "a: OK\nb: OK\n" {
		t.Errorf("%v: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "b"), []byte("another"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := check(); err == nil {
		t.Errorf("a changed file passes: %s", out)
	}
}

// TestCheckOut: what is built is the commit, and a checkout that differs from it is refused.
func TestCheckOut(t *testing.T) {
	root := t.TempDir()
	t.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	git := func(args ...string) {
		t.Helper()
		if _, err := command(root, nil, "git", append([]string{"-c", "user.name=n", "-c", "user.email=e"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, "file"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git("init", "-q")
	put("first")
	git("add", "file")
	git("commit", "-qm", "first", "--date", "2026-01-02T03:04:05Z")
	git("tag", "v9.9.9")
	t.Chdir(root)
	r := &release{source: filepath.Join(t.TempDir(), "source")}
	if err := r.checkOut(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(r.source, "file"))
	if tags, _ := command(r.source, nil, "git", "tag"); err != nil || string(raw) != "first" || len(r.commit) != 40 || r.time.IsZero() || tags != "" {
		t.Errorf("%q, %v, %+v, tags %q", raw, err, r, tags)
	}
	put("changed")
	r = &release{source: filepath.Join(t.TempDir(), "source")}
	if err := r.checkOut(); err == nil || !strings.Contains(err.Error(), `1 files differ from the commit, as "M file"`) {
		t.Errorf("%v", err)
	}
}

// TestEnvironment: settings of the one who builds do not reach the compilers.
func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{"GOFLAGS": "-tags=x", "CGO_CFLAGS": "-O0", "GOAMD64": "v3", "CC": "false", "GOPROXY": "https://proxy.example", "LANG": "tr_TR"} {
		t.Setenv(name, value)
	}
	env, err := environment()
	if err != nil {
		t.Fatal(err)
	}
	all := (&release{env: env, time: someTime}).of(host)
	last := map[string]string{}
	for _, pair := range all {
		name, value, _ := strings.Cut(pair, "=")
		last[name] = value
	}
	for name, want := range map[string]string{"GOFLAGS": "", "CGO_CFLAGS": "-O2", "GOAMD64": "v1", "CC": host.cc, "GOPROXY": "https://proxy.example", "GOENV": "off", "SOURCE_DATE_EPOCH": "1796009285"} {
		if got, ok := last[name]; !ok || got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if _, ok := last["LANG"]; ok {
		t.Error("LANG reaches the compilers")
	}
}

func TestFind(t *testing.T) {
	if list, err := find([]string{"linux/arm64", "linux/arm64"}); err != nil || len(list) != 2 || list[0] != host {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := find([]string{"plan9/arm"}); err == nil || !strings.Contains(err.Error(), "linux/amd64, linux/arm64, windows/amd64") {
		t.Error(err)
	}
}

// TestLicenses: each module gets the licences that the notices have of it and of its parts, and one that they lack is an error.
func TestLicenses(t *testing.T) {
	by := licenses("vkcome\n(MIT)\n------\n\ntext\n(C) someone\n----\n\n\nthe Go standard library\nx/y v1\n(BSD-3-Clause)\n-----\n\ntext\n\n\nx/y v1, part/LICENSE\n(Sun, BSD-3-Clause)\n---\n\ntext\n\n\nx/y v1\n(notice)\n----\n\ntext\n")
	raw := []byte(`{"metadata":{"component":{"name":"v"}},"components":[{"name":"x/y","version":"v1"},{"name":"std","version":"go1"}],"bomFormat":"CycloneDX"}`)
	out, err := withLicenses(raw, by)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"bomFormat":"CycloneDX","components":[{"licenses":[{"license":{"id":"BSD-3-Clause"}},{"license":{"name":"Sun"}}],"name":"x/y","version":"v1"},{"licenses":[{"license":{"id":"BSD-3-Clause"}}],"name":"std","version":"go1"}],"metadata":{"component":{"licenses":[{"license":{"id":"MIT"}}],"name":"v"}}}`
	var flat bytes.Buffer
	if err := json.Compact(&flat, out); err != nil || flat.String() != want {
		t.Errorf("%v: %s", err, flat.String())
	}
	delete(by, "x/y v1")
	if _, err := withLicenses(raw, by); err == nil || !strings.Contains(err.Error(), "x/y v1") {
		t.Error(err)
	}
	real, err := os.ReadFile("../../cmd/vkcome/internal/licenses/NOTICES.txt")
	if got := licenses(string(real)); err != nil || len(got) < 20 || !slices.Equal(got["vkcome"], []string{"MIT"}) || !slices.Equal(got["the Go standard library"], []string{"BSD-3-Clause"}) {
		t.Errorf("%v, %v", err, got)
	}
}
