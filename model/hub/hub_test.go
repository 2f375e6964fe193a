package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// write makes a file and its folders.
func write(t *testing.T, parts ...string) {
	t.Helper()
	name := filepath.Join(parts[:len(parts)-1]...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(parts[len(parts)-1]), 0o644); err != nil {
		t.Fatal(err)
	}
}

// isolate keeps the machine's own settings out of a test.
func isolate(t *testing.T) {
	for _, v := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_ENDPOINT", "HF_TOKEN"} {
		t.Setenv(v, "")
	}
	t.Setenv("HOME", t.TempDir())
}

func TestCacheFolder(t *testing.T) {
	isolate(t)
	home := os.Getenv("HOME")
	for _, c := range []struct{ variable, value, want string }{
		{"HOME", home, filepath.Join(home, ".cache/huggingface/hub")},
		{"XDG_CACHE_HOME", "/x", "/x/huggingface/hub"},
		{"HF_HOME", "/y", "/y/hub"},
		{"HUGGINGFACE_HUB_CACHE", "/z", "/z"},
		{"HF_HUB_CACHE", "/c", "/c"},
	} {
		t.Setenv(c.variable, c.value) // each outdoes those before
		if got, err := (Hub{}).cache(); err != nil || got != c.want {
			t.Errorf("%s=%s: %s, %v; want %s", c.variable, c.value, got, err, c.want)
		}
	}
}

func TestResolve(t *testing.T) {
	isolate(t)
	cache := t.TempDir()
	h := Hub{Cache: cache}
	other := strings.Repeat("b", 40)
	write(t, cache, "models--meta--Tiny-1.1", "refs", "main", commit+"\n")
	write(t, cache, "models--meta--Tiny-1.1", "refs", "refs/pr/1", other)
	for _, c := range []string{commit, other} {
		write(t, cache, "models--meta--Tiny-1.1", "snapshots", c, "config.json", "{}")
	}
	write(t, cache, "models--meta--NoRefs", "snapshots", other, "config.json", "{}")
	write(t, cache, "models--meta--Bad", "refs", "main", "../../../etc")
	dir := t.TempDir()
	main := filepath.Join(cache, "models--meta--Tiny-1.1", "snapshots", commit)
	pull := filepath.Join(cache, "models--meta--Tiny-1.1", "snapshots", other)
	for name, want := range map[string]string{
		dir:                           dir,
		"meta/Tiny-1.1":               main,
		"meta/Tiny-1.1@main":          main,
		"meta/Tiny-1.1@" + commit:     main,
		"meta/Tiny-1.1@refs/pr/1":     pull,
		"meta/NoRefs":                 filepath.Join(cache, "models--meta--NoRefs", "snapshots", other),
		"no-such-folder":              "no-such-folder",
		"../up/and/away":              "../up/and/away",
		"meta/Tiny-1.1@../../NoRefs":  "meta/Tiny-1.1@../../NoRefs",
		filepath.Join(dir, "nothing"): filepath.Join(dir, "nothing"),
	} {
		if got, err := h.Resolve(name); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, want)
		}
	}
	for name, want := range map[string]string{
		"meta/Other":         "hf download meta/Other",
		"meta/Tiny-1.1@v2":   "download meta/Tiny-1.1 --revision v2",
		"meta/NoRefs@branch": "--revision branch",
		"meta/Bad":           "not a commit",
	} {
		if got, err := h.Resolve(name); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %s, %v; want an error with %q", name, got, err, want)
		}
	}
}

// server is a hub with one data set; its files are changed by what a test puts into them.
type server struct {
	*httptest.Server
	listing string
	files   map[string]string // path below the commit: contents
	etag    func(contents string) string
	size    string // X-Linked-Size, if any
	asked   []string
}

func newServer(t *testing.T) *server {
	s := &server{files: map[string]string{}, etag: func(c string) string {
		sum := sha256.Sum256([]byte(c))
		return hex.EncodeToString(sum[:])
	}}
	s.listing = `{"sha":"` + commit + `","siblings":[{"rfilename":"README.md"},{"rfilename":"data/train-0.parquet"},{"rfilename":"data/test-0.parquet"}]}`
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked = append(s.asked, r.URL.Path)
		switch {
		case r.URL.Path == "/api/datasets/owner/set/revision/main":
			fmt.Fprint(w, s.listing)
		case strings.HasPrefix(r.URL.Path, "/datasets/owner/set/resolve/"+commit+"/"): // large files lie elsewhere
			name := strings.TrimPrefix(r.URL.Path, "/datasets/owner/set/resolve/"+commit+"/")
			w.Header().Set("X-Linked-ETag", `"`+s.etag(s.files[name])+`"`)
			if s.size != "" {
				w.Header().Set("X-Linked-Size", s.size)
			}
			http.Redirect(w, r, "/cdn/"+name, http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/cdn/"):
			fmt.Fprint(w, s.files[strings.TrimPrefix(r.URL.Path, "/cdn/")])
		case strings.Contains(r.URL.Path, "gated"):
			http.Error(w, "", http.StatusUnauthorized)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

var set = Repo{Kind: Datasets, ID: "owner/set"}

func TestFetch(t *testing.T) {
	isolate(t)
	s := newServer(t)
	s.files["data/train-0.parquet"] = "rows"
	var last int64
	h := Hub{Cache: t.TempDir(), Endpoint: s.URL + "/", Progress: func(_ string, done, _ int64) { last = done }}
	files, got, err := h.Files(t.Context(), set, "data/train-*.parquet")
	if err != nil || got != commit || len(files) != 1 {
		t.Fatalf("%v at %s, %v", files, got, err)
	}
	if raw, err := os.ReadFile(files[0]); err != nil || string(raw) != "rows" || last != 4 {
		t.Errorf("%q, %v; progress ended at %d", raw, err, last)
	}
	if target, err := os.Readlink(files[0]); err != nil || filepath.IsAbs(target) || filepath.Base(target) != s.etag("rows") {
		t.Errorf("linked to %s, %v", target, err)
	}
	asked := len(s.asked)
	h.Offline = true
	again, _, err := h.Files(t.Context(), set, "data/train-*.parquet")
	if err != nil || len(again) != 1 || again[0] != files[0] || len(s.asked) != asked {
		t.Errorf("from the cache: %v, %v, %d requests", again, err, len(s.asked)-asked)
	}
	if _, _, err := h.Files(t.Context(), set, "data/test-*.parquet"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "hf download --repo-type dataset owner/set --include 'data/test-*.parquet'") {
		t.Errorf("offline: %v", err)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	h.Offline = false
	if _, _, err := h.Files(t.Context(), set, "data/test-*.parquet"); err == nil || !strings.Contains(err.Error(), "offline") || len(s.asked) != asked {
		t.Errorf("HF_HUB_OFFLINE: %v", err)
	}
}

func TestFetchRefuses(t *testing.T) {
	isolate(t)
	for _, c := range []struct {
		name, want string
		change     func(s *server)
	}{
		{"up", "outside", func(s *server) { s.listing = `{"sha":"` + commit + `","siblings":[{"rfilename":"../../evil"}]}` }},
		{"absolute", "outside", func(s *server) { s.listing = `{"sha":"` + commit + `","siblings":[{"rfilename":"/etc/evil"}]}` }},
		{"backslash", "outside", func(s *server) { s.listing = `{"sha":"` + commit + `","siblings":[{"rfilename":"..\\evil"}]}` }},
		{"commit", "commit", func(s *server) { s.listing = `{"sha":"../../x","siblings":[{"rfilename":"a"}]}` }},
		{"no json", "listing", func(s *server) { s.listing = `<html>` }},
		{"no file", "no file", func(s *server) { s.listing = `{"sha":"` + commit + `","siblings":[]}` }},
		{"hash", "SHA-256", func(s *server) { s.etag = func(string) string { return strings.Repeat("0", 64) } }},
		{"size", "expected 5", func(s *server) { s.size = "5" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			s.files["data/train-0.parquet"] = "rows"
			c.change(s)
			cache := t.TempDir()
			_, _, err := Hub{Cache: cache, Endpoint: s.URL}.Files(t.Context(), set, "data/train-*.parquet")
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %q", err, c.want)
			}
			err = filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					t.Errorf("left behind: %s", path)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	s := newServer(t)
	h := Hub{Cache: t.TempDir(), Endpoint: s.URL}
	if _, _, err := h.Files(t.Context(), Repo{Kind: Datasets, ID: "owner/gated"}, "*"); err == nil || !strings.Contains(err.Error(), "HF_TOKEN") {
		t.Errorf("gated: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := h.Files(ctx, set, "*"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestHostileETag: what a server calls a file never becomes a path.
func TestHostileETag(t *testing.T) {
	isolate(t)
	s := newServer(t)
	s.files["data/train-0.parquet"] = "rows"
	s.etag = func(string) string { return "../../../../evil" }
	outer := t.TempDir()
	files, _, err := Hub{Cache: filepath.Join(outer, "a/b"), Endpoint: s.URL}.Files(t.Context(), set, "data/train-*.parquet")
	if err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(files[0])
	if err != nil || !strings.HasPrefix(real, filepath.Join(outer, "a/b", "datasets--owner--set", "blobs")) {
		t.Errorf("%s, %v", real, err)
	}
}

func ExampleResolve() {
	dir, err := Resolve(".")
	fmt.Println(dir, err)
	// Output: . <nil>
}
