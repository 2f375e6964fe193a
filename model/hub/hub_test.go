package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/files/filestest"
	"github.com/vkcome/vkcome/model/hub/hubtest"
)

const commit = hubtest.Commit

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

func TestCacheFolder(t *testing.T) {
	hubtest.New(t)
	home := os.Getenv("HOME")
	for _, c := range []struct{ variable, value, want string }{
		{"HOME", home, filepath.Join(home, ".cache/huggingface/hub")},
		{"XDG_CACHE_HOME", "/x", "/x/huggingface/hub"},
		{"HF_HOME", "~/y", filepath.Join(home, "y/hub")},
		{"HUGGINGFACE_HUB_CACHE", "/z", "/z"},
		{"HF_HUB_CACHE", "/c", "/c"},
	} {
		t.Setenv(c.variable, c.value) // each outdoes those before
		if got, err := (Hub{}).cache(); err != nil || filepath.ToSlash(got) != filepath.ToSlash(c.want) {
			t.Errorf("%s=%s: %s, %v; want %s", c.variable, c.value, got, err, c.want)
		}
	}
}

func TestToken(t *testing.T) {
	hubtest.New(t)
	home := os.Getenv("HOME")
	if got := (Hub{}).token(); got != "" {
		t.Errorf("%q without any", got)
	}
	write(t, home, ".cache/huggingface/token", "kept\n")
	for _, c := range []struct{ variable, value, want string }{
		{"HOME", home, "kept"},
		{"HF_HUB_DISABLE_IMPLICIT_TOKEN", "1", ""},
		{"HF_TOKEN", " own\n", "own"},
	} {
		t.Setenv(c.variable, c.value)
		if got := (Hub{}).token(); got != c.want {
			t.Errorf("%s=%s: %q, want %q", c.variable, c.value, got, c.want)
		}
	}
	if got := (Hub{Token: "given"}).token(); got != "given" {
		t.Errorf("%q", got)
	}
}

var set = Repo{Kind: Datasets, ID: "owner/set"}

// newSet is a server with a data set, and a hub that uses it.
func newSet(t *testing.T) (*hubtest.Server, Hub) {
	s := hubtest.New(t)
	s.Repos["datasets/owner/set"] = map[string]string{"README.md": "# a set", "data/train-0.parquet": "rows", "data/train-1.parquet": "more rows", "data/test-0.parquet": "test rows"}
	return s, Hub{Cache: t.TempDir(), Endpoint: s.URL + "/", pause: func(context.Context, time.Duration) error { return nil }}
}

func TestFiles(t *testing.T) {
	s, h := newSet(t)
	s.PageSize = 2
	var last int64
	var begun string
	h.Progress = func(_ string, done, _ int64) { last = done }
	h.Begin = func(r Repo, files int, bytes int64) { begun = fmt.Sprint(r, files, bytes) }
	files, got, err := h.Files(t.Context(), set, "data/train-*.parquet")
	if err != nil || got != commit || len(files) != 2 {
		t.Fatalf("%v at %s, %v", files, got, err)
	}
	if raw, err := os.ReadFile(files[1]); err != nil || string(raw) != "more rows" || last != 9 || begun != "owner/set 2 13" {
		t.Errorf("%q, %v; progress ended at %d, began with %s", raw, err, last, begun)
	}
	if target, err := os.Readlink(files[0]); filestest.Links(t) && (err != nil || target != "../../../blobs/"+hubtest.Hash("data/train-0.parquet", "rows")) {
		t.Errorf("linked to %s, %v", target, err)
	}
	if ref, err := os.ReadFile(filepath.Join(h.Cache, "datasets--owner--set/refs/main")); err != nil || string(ref) != commit {
		t.Errorf("ref %q, %v", ref, err)
	}
	s.Asked()
	h.Offline = true
	again, _, err := h.Files(t.Context(), set, "data/train-*.parquet")
	if err != nil || !slices.Equal(again, files) || len(s.Asked()) != 0 {
		t.Errorf("from the cache: %v, %v", again, err)
	}
	if _, _, err := h.Files(t.Context(), set, "data/test-*.parquet"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "hf download --repo-type dataset owner/set --include 'data/test-*.parquet'") {
		t.Errorf("offline: %v", err)
	}
	h.Offline = false
	for _, v := range []string{"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} {
		t.Setenv(v, "1")
		if _, _, err := h.Files(t.Context(), set, "data/test-*.parquet"); err == nil || !strings.Contains(err.Error(), "offline") || len(s.Asked()) != 0 {
			t.Errorf("%s: %v", v, err)
		}
		t.Setenv(v, "")
	}
	for _, pattern := range []string{"none/*.parquet", "data/none-*"} {
		if _, _, err := h.Files(t.Context(), set, pattern); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}

// onlyParts checks that the cache has no file but locks and parts of downloads.
func onlyParts(t *testing.T, cache string, parts bool) {
	t.Helper()
	err := filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) != ".lock" && (!parts || filepath.Ext(path) != partial) {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestListingRefused(t *testing.T) {
	const file = `[{"type":"file","path":%q,"size":4,"oid":"%s"}]`
	good := strings.Repeat("a", 40)
	for name, c := range map[string]struct{ revision, tree, want string }{
		"up":          {"", fmt.Sprintf(file, "../../evil", good), "outside"},
		"absolute":    {"", fmt.Sprintf(file, "/etc/evil", good), "outside"},
		"backslash":   {"", fmt.Sprintf(file, `..\evil`, good), "outside"},
		"no hash":     {"", fmt.Sprintf(file, "data/train-0.parquet", "../../../../evil"), "no hash"},
		"short hash":  {"", `[{"type":"file","path":"a","size":4,"lfs":{"oid":"` + good + `","size":4}}]`, "no hash"},
		"size":        {"", `[{"type":"file","path":"a","size":-4,"oid":"` + good + `"}]`, "no hash or size"},
		"commit":      {`{"sha":"../../x"}`, "", "commit"},
		"not json":    {"<html>", "", "the listing: byte 1: invalid character"},
		"not a list":  {"", `{"error":"none"}`, "the listing: byte 1: an object, expected a list"},
		"nothing":     {"", `[]`, "no file data/train-*.parquet"},
		"empty page":  {"", "on", "empty page"},
		"other pages": {"", "next", `goes on at "http://other.example/page"`},
	} {
		t.Run(name, func(t *testing.T) {
			s, h := newSet(t)
			s.Before = func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case strings.Contains(r.URL.Path, "/revision/") && c.revision != "":
					fmt.Fprint(w, c.revision)
				case strings.Contains(r.URL.Path, "/tree/") && c.tree == "next":
					w.Header().Set("Link", `<http://other.example/page>; rel="next"`)
					fmt.Fprint(w, "[]")
				case strings.Contains(r.URL.Path, "/tree/") && c.tree == "on":
					w.Header().Set("Link", `<`+r.URL.Path+`>; rel="next"`)
					fmt.Fprint(w, "[]")
				case strings.Contains(r.URL.Path, "/tree/"):
					fmt.Fprint(w, c.tree)
				default:
					return false
				}
				return true
			}
			_, _, err := h.Files(t.Context(), set, "data/train-*.parquet")
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %q", err, c.want)
			}
			onlyParts(t, h.Cache, false)
		})
	}
}

// TestDownload breaks a download of a large file in every way that it can be broken.
func TestDownload(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 4000)
	const name = "data/train-0.parquet"
	hash := hubtest.Hash(name, content)
	cdn := func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/cdn/") }
	for label, c := range map[string]struct {
		before func(n int, w http.ResponseWriter, r *http.Request) bool // n counts requests for the file from 1
		part   string                                                   // what an earlier run left
		want   string                                                   // of an error
		asked  int                                                      // requests for the file
		ranges []string
	}{
		"plain":           {asked: 1},
		"goes on":         {part: content[:5000], asked: 1, ranges: []string{"bytes=5000-"}},
		"all there":       {part: content, asked: 0},
		"too long":        {part: content + "more", asked: 1},
		"of another file": {part: strings.Repeat("x", 5000), asked: 2, ranges: []string{"bytes=5000-"}},
		"all of another":  {part: strings.Repeat("x", len(content)), asked: 1},
		"breaks off": {asked: 3, ranges: []string{"bytes=1000-", "bytes=2000-"}, before: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n < 3 {
				hubtest.BreakOff(w, content, 1000*(n-1), 1000*n)
			}
			return false
		}},
		"always breaks off": {asked: attempts, want: "unexpected EOF", before: func(_ int, w http.ResponseWriter, r *http.Request) bool {
			hubtest.BreakOff(w, content, 0, 0)
			return true
		}},
		"ends early": {asked: 2, ranges: []string{"bytes=7-"}, before: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				fmt.Fprint(w, content[:7])
			}
			return n == 1
		}},
		"no ranges": {part: content[:100], asked: 1, ranges: []string{"bytes=100-"}, before: func(_ int, w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprint(w, content)
			return true
		}},
		"another range": {part: content[:100], asked: 1, want: `sends "bytes 7-`, before: func(_ int, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 7-%d/%d", len(content)-1, len(content)))
			w.WriteHeader(http.StatusPartialContent)
			return true
		}},
		"range refused": {part: content[:100], asked: 2, ranges: []string{"bytes=100-"}, before: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 1 {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			}
			return n == 1
		}},
		"wrong hash": {asked: 1, want: "its SHA-256 is ", before: func(_ int, w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprint(w, strings.ToUpper(content))
			return true
		}},
		"longer": {asked: 1, before: func(_ int, w http.ResponseWriter, r *http.Request) bool {
			fmt.Fprint(w, content+"more")
			return true
		}},
		"busy": {asked: 3, before: func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n < 3 {
				w.WriteHeader([]int{http.StatusServiceUnavailable, http.StatusTooManyRequests}[n-1])
			}
			return n < 3
		}},
		"broken": {asked: attempts, want: "500 Internal Server Error: out of cheese", before: func(_ int, w http.ResponseWriter, r *http.Request) bool {
			hubtest.Fail(w, http.StatusInternalServerError, "", "out of\ncheese")
			return true
		}},
		"come back tomorrow": {asked: 1, want: "too many requests (429); try again in 24h0m0s", before: func(_ int, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Retry-After", "86400")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}},
		"forbidden": {asked: 1, want: "the hub has no such repository, or it is private", before: func(_ int, w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusForbidden)
			return true
		}},
	} {
		t.Run(label, func(t *testing.T) {
			s, h := newSet(t)
			s.Repos["datasets/owner/set"] = map[string]string{name: content}
			n := 0
			var ranges []string
			s.Before = func(w http.ResponseWriter, r *http.Request) bool {
				if !cdn(r) {
					return false
				}
				if n++; r.Header.Get("Range") != "" {
					ranges = append(ranges, r.Header.Get("Range"))
				}
				return c.before != nil && c.before(n, w, r)
			}
			if c.part != "" {
				write(t, h.Cache, "datasets--owner--set/blobs", hash+partial, c.part)
			}
			files, _, err := h.Files(t.Context(), set, "data/train-*.parquet")
			if n != c.asked || c.ranges != nil && !slices.Equal(ranges, c.ranges) {
				t.Errorf("asked %d times, want %d; ranges %q, want %q", n, c.asked, ranges, c.ranges)
			}
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%v, want %q", err, c.want)
				}
				onlyParts(t, h.Cache, label != "wrong hash")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if raw, err := os.ReadFile(files[0]); err != nil || string(raw) != content {
				t.Errorf("%d bytes, %v", len(raw), err)
			}
		})
	}
}

// TestWait: a pause is as long as the server asks for, and ends with the context.
func TestWait(t *testing.T) {
	s, h := newSet(t)
	var pauses []time.Duration
	h.pause = func(_ context.Context, d time.Duration) error {
		pauses = append(pauses, d)
		return nil
	}
	n := 0
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		n++
		switch n {
		case 1:
			w.Header().Set("Retry-After", "17")
		case 2:
			w.Header().Set("RateLimit", `"api";r=0;t=33`)
		case 3:
			w.Header().Set("Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
		default:
			return false
		}
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	if _, _, err := h.Files(t.Context(), set, "data/test-*.parquet"); err != nil || len(pauses) != 3 || pauses[0] != 17*time.Second || pauses[1] != 33*time.Second || pauses[2] < 50*time.Second {
		t.Errorf("%v, %v", pauses, err)
	}
	h.pause = nil
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := h.Files(ctx, set, "data/train-*.parquet"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, _, err := h.Files(ctx, set, "data/train-*.parquet"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestTokenStays: a token goes to the hub, and not to where it sends for large files.
func TestTokenStays(t *testing.T) {
	s, h := newSet(t)
	h.Token = "secret"
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.Header.Get("Authorization"))
		fmt.Fprint(w, "test rows")
	}))
	defer other.Close()
	sent := 0
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer secret" {
			sent++
		}
		if strings.Contains(r.URL.Path, "/resolve/") {
			http.Redirect(w, r, other.URL+"/blob", http.StatusFound)
			return true
		}
		return false
	}
	if _, _, err := h.Files(t.Context(), set, "data/test-*.parquet"); err != nil || sent != 3 || !slices.Equal(elsewhere, []string{""}) {
		t.Errorf("%v; sent %d times, elsewhere %q", err, sent, elsewhere)
	}
}

// TestTogether: two that want the same file fetch it once.
func TestTogether(t *testing.T) {
	s, h := newSet(t)
	var mu sync.Mutex
	fetched := 0
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/cdn/") {
			mu.Lock()
			fetched++
			mu.Unlock()
			time.Sleep(50 * time.Millisecond)
		}
		return false
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if _, _, err := h.Files(t.Context(), set, "data/test-*.parquet"); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if fetched != 1 {
		t.Errorf("fetched %d times", fetched)
	}
}

// TestRepoOf finds the repository of what lies in a cache, by whatever name.
func TestRepoOf(t *testing.T) {
	cache := t.TempDir()
	snapshot := filepath.Join(cache, "models--owner--my-name", "snapshots", commit)
	if err := errors.Join(os.MkdirAll(snapshot, 0o755), os.MkdirAll(filepath.Join(cache, "models--owner--my-name", "blobs"), 0o755), os.WriteFile(filepath.Join(cache, "models--owner--my-name", "blobs", "x"), nil, 0o644),
		os.Symlink("../../blobs/x", filepath.Join(snapshot, "m.gguf")), os.Symlink(snapshot, filepath.Join(cache, "link"))); err != nil {
		t.Fatal(err)
	}
	links := filestest.Links(t)
	t.Chdir(snapshot)
	for path, want := range map[string]string{
		snapshot: "owner/my-name@" + commit, snapshot + "/": "owner/my-name@" + commit, ".": "owner/my-name@" + commit, filepath.Join(snapshot, "m.gguf"): "owner/my-name@" + commit, "m.gguf": "owner/my-name@" + commit,
		filepath.Join(cache, "link"): "owner/my-name@" + commit, filepath.Join(cache, "link", "m.gguf"): "owner/my-name@" + commit,
		cache: "", "": "", filepath.Join(cache, "models--owner--my-name"): "", "/models--owner--name/snapshots": "", "/models--name/snapshots/main": "", "/models--a--b--c/snapshots/main": "",
		"/datasets--owner--name/snapshots/" + commit: "", "/xmodels--owner--name/snapshots/" + commit: "", "/models--..--name/snapshots/main": "", "/not/there/models--a--b/snapshots/main/x": "a/b@main",
	} {
		if strings.HasPrefix(path, filepath.Join(cache, "link")) && !links {
			continue
		}
		got, ok := RepoOf(path)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%q: %v, %v; want %q", path, got, ok, want)
		}
	}
}

func TestParseModel(t *testing.T) {
	for name, want := range map[string]string{
		"owner/name":                            "owner/name  ",
		"owner/name@v1":                         "owner/name@v1  ",
		"owner/name@refs/pr/1":                  "owner/name@refs/pr/1  ",
		"owner/name:Q4_K_M":                     "owner/name  Q4_K_M",
		"owner/name@v1:q8_0":                    "owner/name@v1  q8_0",
		"owner/name/file.gguf":                  "owner/name file.gguf ",
		"owner/name/a/file-00001-of-00002.gguf": "owner/name a/file-00001-of-00002.gguf ",
		"owner/name@v1/a/file.GGUF":             "owner/name@v1 a/file.GGUF ",
		"owner/name@refs/pr/1/file.gguf":        "owner/name@refs/pr/1 file.gguf ",
		"name":                                  "",
		"owner/name/":                           "",
		"./owner/name":                          "",
		"/owner/name":                           "",
		"~/owner":                               "",
		"../owner":                              "",
		"a/b/c":                                 "",
		"owner/name:":                           "",
		"owner/name@":                           "",
		"owner/name.gguf":                       "",
		"owner/name@../../x":                    "",
		"owner/name@v1/../x.gguf":               "",
		"owner/name/file.gguf:Q4_0":             "",
		"owner/na me":                           "",
		`owner\name`:                            "",
		"https://huggingface.co/owner/name":     "",
	} {
		m, ok := parseModel(name)
		if got := fmt.Sprint(m.repo, " ", m.file, " ", m.quant); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v; want %q", name, got, ok, want)
		}
	}
}

// shards is an index of two.
const shards = `{"metadata":{},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors","c":"model-00001-of-00002.safetensors"}}`

// models are repositories as they are found.
func models(s *hubtest.Server) {
	files := func(list string, more ...string) map[string]string {
		m := map[string]string{}
		for _, name := range strings.Fields(list) {
			m[name] = "content of " + name
		}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	s.Repos["models/owner/single"] = files("README.md LICENSE .gitattributes config.json generation_config.json tokenizer.json tokenizer_config.json special_tokens_map.json chat_template.jinja model.safetensors pytorch_model.bin tf_model.h5 onnx/model.onnx onnx/config.json additional_chat_templates/tools.jinja training_args.bin original/consolidated.00.pth")
	s.Repos["models/owner/sharded"] = files("config.json tokenizer.model tokenizer_config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors consolidated.safetensors", "model.safetensors.index.json", shards)
	s.Repos["models/owner/pickle"] = files("config.json vocab.json merges.txt pytorch_model.bin flax_model.msgpack")
	s.Repos["models/owner/gguf"] = files("README.md config.json m-Q4_K_M.gguf m.Q8_0.gguf m-IQ2_XXS.gguf mmproj-F16.gguf BF16/m-BF16-00001-of-00002.gguf BF16/m-BF16-00002-of-00002.gguf a/m-F16.gguf b/m-F16.gguf")
	s.Repos["models/owner/torn"] = files("config.json tokenizer.json model-00001-of-00002.safetensors", "model.safetensors.index.json", shards)
	s.Repos["models/owner/none"] = files("README.md adapter_model.safetensors")
	s.Repos["models/owner/flax"] = files("config.json tokenizer.json flax_model.msgpack")
}

func TestModel(t *testing.T) {
	s := hubtest.New(t)
	models(s)
	t.Chdir(t.TempDir())
	for _, c := range []struct{ name, want, open string }{
		{"owner/single", "LICENSE README.md additional_chat_templates/tools.jinja chat_template.jinja config.json generation_config.json model.safetensors special_tokens_map.json tokenizer.json tokenizer_config.json", ""},
		{"owner/single@v1", "LICENSE README.md additional_chat_templates/tools.jinja chat_template.jinja config.json generation_config.json model.safetensors special_tokens_map.json tokenizer.json tokenizer_config.json", ""},
		{"owner/single@" + commit, "LICENSE README.md additional_chat_templates/tools.jinja chat_template.jinja config.json generation_config.json model.safetensors special_tokens_map.json tokenizer.json tokenizer_config.json", ""},
		{"owner/sharded", "config.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json tokenizer.model tokenizer_config.json", ""},
		{"owner/pickle", "config.json merges.txt pytorch_model.bin vocab.json", ""},
		{"owner/gguf:q4_k_m", "m-Q4_K_M.gguf", "m-Q4_K_M.gguf"},
		{"owner/gguf/m.Q8_0.gguf", "m.Q8_0.gguf", "m.Q8_0.gguf"},
		{"owner/gguf:bf16", "BF16/m-BF16-00001-of-00002.gguf BF16/m-BF16-00002-of-00002.gguf", "BF16/m-BF16-00001-of-00002.gguf"},
		{"owner/gguf/BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00001-of-00002.gguf BF16/m-BF16-00002-of-00002.gguf", "BF16/m-BF16-00001-of-00002.gguf"},
	} {
		h := Hub{Cache: t.TempDir(), Endpoint: s.URL}
		path, err := h.Model(t.Context(), c.name)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		id := strings.Split(strings.FieldsFunc(c.name, func(r rune) bool { return r == '@' || r == ':' })[0], "/")
		snapshot := filepath.Join(h.Cache, "models--owner--"+id[1], "snapshots", commit)
		list, err := names(snapshot)
		if got := strings.Join(list, " "); err != nil || got != c.want || path != filepath.Join(snapshot, c.open) {
			t.Errorf("%s: %s with %s, %v; want %s", c.name, path, got, err, c.want)
		}
		for _, name := range list {
			if raw, err := os.ReadFile(filepath.Join(snapshot, name)); err != nil || string(raw) != s.Repos["models/owner/"+id[1]][name] {
				t.Errorf("%s: %s is %q, %v", c.name, name, raw, err)
			}
		}
		s.Asked()
		if again, err := h.Model(t.Context(), c.name); err != nil || again != path || len(s.Asked()) != 0 {
			t.Errorf("%s from the cache: %s, %v", c.name, again, err)
		}
	}
	h := Hub{Cache: t.TempDir(), Endpoint: s.URL}
	for name, want := range map[string]string{
		"owner/nothing":     "owner/nothing is no folder; hub: owner/nothing: the hub has no such repository, or it is private: then set HF_TOKEN or run hf auth login (401)",
		"owner/single@v2":   "it has no such revision",
		"owner/gguf":        "nor an index of several; it has owner/gguf:BF16, owner/gguf:F16, owner/gguf:IQ2_XXS, owner/gguf:Q4_K_M, owner/gguf:Q8_0",
		"owner/gguf:Q6_K":   "it has no GGUF file of type Q6_K; it has owner/gguf:BF16",
		"owner/gguf:F16":    "several GGUF files of type F16; name one: a/m-F16.gguf, b/m-F16.gguf",
		"owner/gguf/x.gguf": "it has no file x.gguf; it has",
		"owner/torn":        "no model-00002-of-00002.safetensors, which model.safetensors.index.json names",
		"owner/none":        "it has no config.json",
		"owner/flax":        "it has neither model.safetensors nor pytorch_model.bin",
	} {
		if path, err := h.Model(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %s, %v; want %q", name, path, err, want)
		}
	}
	// A folder of that name wins, and what is no name is left to whoever opens it.
	write(t, "owner/single/config.json", "{}")
	s.Asked()
	for _, name := range []string{"owner/single", "no-such-folder", "../up/and/away", "owner/Tiny@../../x", filepath.Join(t.TempDir(), "nothing")} {
		if got, err := h.Model(t.Context(), name); err != nil || got != name || len(s.Asked()) != 0 {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

// TestModelGated: what a person must do, with and without a token.
func TestModelGated(t *testing.T) {
	s := hubtest.New(t)
	models(s)
	h := Hub{Cache: t.TempDir(), Endpoint: s.URL}
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/resolve/") {
			hubtest.Fail(w, http.StatusForbidden, "GatedRepo", "Access to model owner/single is restricted")
			return true
		}
		return false
	}
	if _, err := h.Model(t.Context(), "owner/single"); err == nil || !strings.Contains(err.Error(), "it is gated: accept its terms on "+s.URL+"/owner/single, then set HF_TOKEN or run hf auth login") {
		t.Error(err)
	}
	h.Token = "secret"
	if _, err := h.Model(t.Context(), "owner/single"); err == nil || !strings.Contains(err.Error(), "the token has no access: accept its terms on ") || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	s.Before = nil
	if _, err := h.Model(t.Context(), "owner/single"); err != nil {
		t.Error(err)
	}
}

// TestModelInterrupted: a model of which not all is there is none, goes on where it ended, and can be used offline once it is whole.
func TestModelInterrupted(t *testing.T) {
	s := hubtest.New(t)
	models(s)
	h := Hub{Cache: t.TempDir(), Endpoint: s.URL, pause: func(context.Context, time.Duration) error { return nil }}
	broken := true
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if broken && strings.HasSuffix(r.URL.Path, "model-00002-of-00002.safetensors") && strings.HasPrefix(r.URL.Path, "/cdn") {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusBadGateway)
				return true
			}
			hubtest.BreakOff(w, s.Repos["models/owner/sharded"]["model-00002-of-00002.safetensors"], 0, 14)
		}
		return false
	}
	if _, err := h.Model(t.Context(), "owner/sharded"); err == nil || !strings.Contains(err.Error(), "model-00002-of-00002.safetensors: 502 Bad Gateway") {
		t.Fatal(err)
	}
	h.Offline = true
	if _, err := h.Model(t.Context(), "owner/sharded"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "this is offline") {
		t.Errorf("offline: %v", err)
	}
	h.Offline, broken = false, false
	s.Asked()
	if _, err := h.Model(t.Context(), "owner/sharded"); err != nil {
		t.Fatal(err)
	}
	var fetched []string
	for _, line := range s.Asked() {
		if rest, ok := strings.CutPrefix(line, "/cdn/models/owner/sharded/-/"); ok {
			fetched = append(fetched, rest)
		}
	}
	if !slices.Equal(fetched, []string{"model-00002-of-00002.safetensors bytes=14-"}) {
		t.Errorf("fetched %q", fetched)
	}
}

// TestModelOfOthers uses what other programs put into the cache.
func TestModelOfOthers(t *testing.T) {
	s := hubtest.New(t)
	models(s)
	h := Hub{Cache: t.TempDir(), Endpoint: s.URL}
	snapshot := filepath.Join(h.Cache, "models--owner--single", "snapshots", commit)
	write(t, h.Cache, "models--owner--single", "refs", "main", commit+"\n")
	write(t, snapshot, "config.json", "{}")
	write(t, snapshot, "model.safetensors", "theirs")
	h.Offline = true
	if got, err := h.Model(t.Context(), "owner/single"); err != nil || got != snapshot {
		t.Errorf("without a tokenizer: %s, %v", got, err)
	}
	h.Offline = false
	if got, err := h.Model(t.Context(), "owner/single"); err != nil || got != snapshot {
		t.Errorf("%s, %v", got, err)
	}
	if list, err := names(snapshot); err != nil || !slices.Contains(list, "tokenizer.json") {
		t.Errorf("%q, %v", list, err)
	}
	if raw, err := os.ReadFile(filepath.Join(snapshot, "model.safetensors")); err != nil || string(raw) != "theirs" {
		t.Errorf("%q, %v", raw, err)
	}
	write(t, h.Cache, "models--meta--Bad", "refs", "main", "../../../etc")
	if _, err := h.Model(t.Context(), "meta/Bad"); err == nil || !strings.Contains(err.Error(), "not a commit") {
		t.Error(err)
	}
	write(t, h.Cache, "models--meta--NoRefs", "snapshots", strings.Repeat("b", 40), "config.json", "{}")
	write(t, h.Cache, "models--meta--NoRefs", "snapshots", strings.Repeat("b", 40), "model.safetensors", "")
	write(t, h.Cache, "models--meta--NoRefs", "snapshots", strings.Repeat("b", 40), "tokenizer.json", "{}")
	if got, err := h.Model(t.Context(), "meta/NoRefs"); err != nil || filepath.Base(got) != strings.Repeat("b", 40) {
		t.Errorf("%s, %v", got, err)
	}
}

// TestModelConfig: a model that is of no use is known before its weights are fetched.
func TestModelConfig(t *testing.T) {
	s := hubtest.New(t)
	models(s)
	own := errors.New("not supported")
	h := Hub{Cache: t.TempDir(), Endpoint: s.URL, Config: func(raw []byte) error {
		if string(raw) != "content of config.json" {
			t.Errorf("%q", raw)
		}
		return own
	}}
	if _, err := h.Model(t.Context(), "owner/single"); !errors.Is(err, own) {
		t.Error(err)
	}
	for _, line := range s.Asked() {
		if strings.Contains(line, "safetensors") {
			t.Errorf("asked for %s", line)
		}
	}
}

func TestSpace(t *testing.T) {
	free, ok := space(t.TempDir())
	if ok && (free == 0 || free > 1<<60) {
		t.Errorf("%d bytes", free)
	}
	s, h := newSet(t)
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/tree/") {
			fmt.Fprintf(w, `[{"type":"file","path":"data/test-0.parquet","size":1,"oid":"%s","lfs":{"oid":"%s","size":%d}}]`, strings.Repeat("a", 40), strings.Repeat("a", 64), int64(1)<<61)
			return true
		}
		return false
	}
	if _, _, err := h.Files(t.Context(), set, "data/test-*.parquet"); ok && (err == nil || !strings.Contains(err.Error(), "2.3 EB are to be fetched, and "+h.Cache+" has room for ")) {
		t.Error(err)
	}
	if asked := s.Asked(); len(asked) != 2 {
		t.Errorf("asked %q", asked)
	}
}

// TestSelectTooMuch: terabytes are not fetched because a name was given.
func TestSelectTooMuch(t *testing.T) {
	s, h := newSet(t)
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/tree/") {
			fmt.Fprintf(w, `[{"type":"file","path":"a.parquet","size":1,"oid":"%s","lfs":{"oid":"%s","size":30000000000}}]`, strings.Repeat("a", 40), strings.Repeat("a", 64))
			return true
		}
		return false
	}
	_, _, err := h.Select(t.Context(), set, func(names []string, _ func(string) ([]byte, error)) ([]string, error) { return names, nil })
	if err == nil || !strings.Contains(err.Error(), "1 files of 30 GB are more than is fetched unasked; fetch those that you want with: hf download --repo-type dataset owner/set") {
		t.Error(err)
	}
	if _, _, err := h.Select(t.Context(), Repo{Kind: Datasets, ID: "../../x"}, nil); err == nil || !strings.Contains(err.Error(), "not the name of a repository") {
		t.Error(err)
	}
}

func FuzzParseModel(f *testing.F) {
	for _, name := range []string{"owner/name", "owner/name@refs/pr/1:Q4_K_M", "owner/name@v1/a/b.gguf", "../x", "a/b/../../c.gguf", "owner/..:x"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		m, ok := parseModel(name)
		if !ok {
			return
		}
		if dir := filepath.Join("/cache", m.repo.folder()); filepath.Dir(dir) != filepath.FromSlash("/cache") {
			t.Errorf("%q leads to %s", name, dir)
		}
		if m.file != "" && !filepath.IsLocal(m.file) {
			t.Errorf("%q is %q", name, m.file)
		}
	})
}

func ExampleHub_Model() {
	dir, err := Hub{}.Model(context.Background(), ".")
	fmt.Println(dir, err)
	// Output: . <nil>
}

// TestPublic asks without a token whether a repository can be seen.
func TestPublic(t *testing.T) {
	s := hubtest.New(t)
	s.Repos["models/some/Public"] = map[string]string{"config.json": "{}"}
	s.Repos["models/some/Private"] = map[string]string{"config.json": "{}"}
	s.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("%s was asked for with a token", r.URL)
		}
		switch {
		case strings.Contains(r.URL.Path, "some/Private"):
			hubtest.Fail(w, http.StatusUnauthorized, "RepoNotFound", "")
		case strings.Contains(r.URL.Path, "some/Broken"):
			hubtest.Fail(w, http.StatusNotImplemented, "", "")
		default:
			return false
		}
		return true
	}
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, dir, "some", "Local", "x")
	h := Hub{Endpoint: s.URL, Token: "secret"}
	for name, want := range map[string]bool{"some/Public": true, "some/Public@v1": true, "some/Public:Q4_K_M": true, "some/Private": false, "some/None": false, "some/Local": false, "/etc": false, "embedded:tiny12": false} {
		if got, err := h.Public(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", name, got, err, want)
		}
	}
	if got, err := h.Public(t.Context(), "some/Broken"); err == nil || got {
		t.Errorf("a hub that fails: %v, %v", got, err)
	}
	h.Offline = true
	if got, err := h.Public(t.Context(), "some/Public"); err != nil || got {
		t.Errorf("offline: %v, %v", got, err)
	}
}
