// Package hubtest is a server that speaks as much of the Hugging Face hub's API as vkcome uses: revisions, listings of trees in pages,
// files with redirects and ranges, and errors with the hub's headers. Written from huggingface_hub 2.4.0.
package hubtest

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Commit is the one commit of every repository.
const Commit = "0123456789abcdef0123456789abcdef01234567"

// Server is a hub. Its fields may be changed between requests.
type Server struct {
	*httptest.Server
	Repos map[string]map[string]string // models/owner/name or datasets/owner/name: the contents of its files
	// Before, if not nil, may answer a request instead.
	Before   func(w http.ResponseWriter, r *http.Request) (answered bool)
	PageSize int // files of a page of a listing; 0 is 1000

	store *httptest.Server // where large files lie
	mu    sync.Mutex
	asked []string
}

// New starts a server that the test ends, and keeps the machine's own settings of the hub out of the test.
func New(t testing.TB) *Server {
	for _, v := range []string{
		"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT",
		"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_DISABLE_IMPLICIT_TOKEN",
	} {
		t.Setenv(v, "")
	}
	home := t.TempDir()
	for _, variable := range []string{"HOME", "USERPROFILE"} { // of Unix and of Windows
		t.Setenv(variable, home)
	}
	s := &Server{Repos: map[string]map[string]string{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.answer))
	s.store = httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(s.Close)
	t.Cleanup(s.store.Close)
	return s
}

// Asked lists the requests since the last call: path, and ?query and the range where there is one.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

// Fail answers with a status and the hub's headers.
func Fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", message)
	w.WriteHeader(status)
}

// BreakOff answers with the bytes of a content between two, as if more were to come, and closes the connection.
func BreakOff(w http.ResponseWriter, content string, from, to int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(content)-from))
	if from > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = io.WriteString(w, content[from:to])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// Hash is what the hub calls a file by: a SHA-256 for large ones, by their endings here, and git's hash for others.
func Hash(name, content string) string {
	if large(name) {
		sum := sha256.Sum256([]byte(content))
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))
	return hex.EncodeToString(sum[:])
}

func large(name string) bool {
	for _, ending := range []string{".safetensors", ".bin", ".gguf", ".parquet", ".gz", ".model"} {
		if strings.HasSuffix(name, ending) {
			return true
		}
	}
	return false
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	line := r.URL.Path
	if r.URL.RawQuery != "" {
		line += "?" + r.URL.RawQuery
	}
	if h := r.Header.Get("Range"); h != "" {
		line += " " + h
	}
	s.mu.Lock()
	s.asked = append(s.asked, line)
	s.mu.Unlock()
	if s.Before != nil && s.Before(w, r) {
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/api/"); ok {
		s.api(w, r, rest)
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/cdn/"); ok {
		if r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusBadRequest) // as the stores do whose addresses are signed
			return
		}
		key, name, _ := strings.Cut(rest, "/-/")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(s.Repos[key][name]))
		return
	}
	page, name, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/resolve/"+Commit+"/")
	key := page
	if !strings.HasPrefix(key, "datasets/") {
		key = "models/" + key
	}
	files, there := s.Repos[key]
	content, has := files[name]
	w.Header().Set("X-Repo-Commit", Commit)
	switch {
	case !ok || !there:
		Fail(w, http.StatusUnauthorized, "RepoNotFound", "Repository not found")
	case !has:
		Fail(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
	case large(name):
		w.Header().Set("X-Linked-ETag", `"`+Hash(name, content)+`"`)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(content)))
		http.Redirect(w, r, s.store.URL+"/cdn/"+key+"/-/"+name, http.StatusFound)
	default:
		w.Header().Set("ETag", `"`+Hash(name, content)+`"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}
}

// api answers /api/KIND/OWNER/NAME/revision/REVISION and /tree/COMMIT[/FOLDER].
func (s *Server) api(w http.ResponseWriter, r *http.Request, rest string) {
	parts := strings.SplitN(rest, "/", 6)
	if len(parts) < 5 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	files, there := s.Repos[strings.Join(parts[:3], "/")]
	switch {
	case !there:
		Fail(w, http.StatusUnauthorized, "RepoNotFound", "Repository not found")
	case parts[3] == "revision" && (parts[4] == "main" || parts[4] == "v1" || parts[4] == Commit):
		fmt.Fprintf(w, `{"id":%q,"sha":%q}`, parts[1]+"/"+parts[2], Commit)
	case parts[3] == "tree" && parts[4] == Commit:
		folder := ""
		if len(parts) > 5 {
			folder = parts[5] + "/"
		}
		s.tree(w, r, files, folder)
	default:
		Fail(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+parts[4])
	}
}

func (s *Server) tree(w http.ResponseWriter, r *http.Request, files map[string]string, folder string) {
	type pointer struct {
		OID         string `json:"oid"`
		Size        int    `json:"size"`
		PointerSize int    `json:"pointerSize"`
	}
	type file struct {
		Type string   `json:"type"`
		OID  string   `json:"oid"`
		Size int      `json:"size"`
		Path string   `json:"path"`
		LFS  *pointer `json:"lfs,omitempty"`
	}
	var list []file
	folders := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		below, ok := strings.CutPrefix(name, folder)
		if !ok {
			continue
		}
		if dir, _, deeper := strings.Cut(below, "/"); deeper {
			if !folders[dir] {
				folders[dir] = true
				list = append(list, file{Type: "directory", OID: strings.Repeat("d", 40), Path: folder + dir})
			}
			if r.URL.Query().Get("recursive") != "true" {
				continue
			}
		}
		f := file{Type: "file", OID: Hash(name, files[name]), Size: len(files[name]), Path: name}
		if large(name) {
			f.OID, f.LFS = strings.Repeat("e", 40), &pointer{f.OID, f.Size, 134}
		}
		list = append(list, f)
	}
	if len(list) == 0 && folder != "" {
		Fail(w, http.StatusNotFound, "EntryNotFound", folder+" does not exist")
		return
	}
	size := s.PageSize
	if size == 0 {
		size = 1000
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	end := min(len(list), from+size)
	if end < len(list) {
		q := r.URL.Query()
		q.Set("cursor", strconv.Itoa(end))
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, s.URL, r.URL.Path, q.Encode()))
	}
	raw, err := json.Marshal(list[min(from, len(list)):end])
	if err != nil {
		panic(err)
	}
	_, _ = w.Write(raw)
}
