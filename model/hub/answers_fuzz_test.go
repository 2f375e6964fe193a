package hub

import (
	"context"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// FuzzAnswers has a hub answer anything when it is asked which commit a revision is, what files there are, and for these. Nothing is written
// outside of the cache.
func FuzzAnswers(f *testing.F) {
	const oid = "0123456789abcdef0123456789abcdef01234567"
	f.Add([]byte(`{"sha":"`+oid+`"}`), []byte(`[{"type":"file","path":"config.json","size":2,"oid":"`+oid+`"}]`), []byte("{}"), "", 200)
	f.Add([]byte(`{"sha":"`+oid+`"}`), []byte(`[{"type":"file","path":"../../x","size":2,"oid":"`+oid+`"}]`), []byte("{}"), `<http://other/>; rel="next"`, 200)
	f.Add([]byte(`{"sha":"../x"}`), []byte(`[null]`), []byte(nil), "", 503)
	f.Add([]byte(`{"sha":"`+oid+`"}`), []byte(`[{"type":"file","path":"a.json","size":-1,"oid":"`+oid+`","lfs":{"oid":"","size":1e18}}]`), []byte("{}"), `</api/models/owner/name/tree>; rel="next"`, 200)
	type answer struct {
		commit, tree, file []byte
		link               string
		status             int
	}
	var now atomic.Pointer[answer]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := now.Load()
		body := a.file
		switch {
		case strings.Contains(r.URL.Path, "/revision/"):
			body = a.commit
		case strings.Contains(r.URL.Path, "/tree/"):
			body = a.tree
			w.Header().Set("Link", a.link)
		}
		w.Header().Set("ETag", `"`+oid+`"`)
		if a.status >= 200 && a.status < 600 {
			w.WriteHeader(a.status)
		}
		_, _ = w.Write(body) // the other side may have gone
	}))
	f.Cleanup(server.Close)
	for _, v := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT"} {
		f.Setenv(v, "")
	}
	f.Setenv("HOME", f.TempDir())
	f.Fuzz(func(t *testing.T, commit, tree, file []byte, link string, status int) {
		if status < 200 || status == http.StatusTooManyRequests { // an answer that is no answer, or asks to be patient
			return
		}
		now.Store(&answer{commit, tree, file, link, status})
		dir := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		h := Hub{Cache: filepath.Join(dir, "cache"), Endpoint: server.URL, pause: func(context.Context, time.Duration) error { return nil }}
		if _, _, err := h.Files(ctx, Repo{Kind: Models, ID: "owner/name"}, "*.json"); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("an error of several lines: %q", err)
		}
		if ctx.Err() != nil {
			t.Error("five seconds did not suffice")
		}
		if err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if name, _ := filepath.Rel(dir, path); name != "." && name != "cache" && !strings.HasPrefix(name, "cache"+string(filepath.Separator)) {
				t.Errorf("%s is outside of the cache", path)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}

// FuzzShards reads an index of weights, whose shards are fetched.
func FuzzShards(f *testing.F) {
	f.Add([]byte(`{"weight_map":{"a":"x.safetensors","b":"x.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x","b":null}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := shardsOf(raw); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("an error of several lines: %q", err)
		}
	})
}
