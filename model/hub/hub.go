// Package hub finds repositories of the Hugging Face hub in the local cache, which it shares with huggingface_hub, and fetches files
// that are not there.
//
// The cache is laid out as huggingface_hub does it: models--owner--name or datasets--owner--name with refs/REVISION (the commit of a
// branch), snapshots/COMMIT (links by file name) and blobs. It is in $HF_HUB_CACHE, $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub,
// $XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub.
//
// The client is small and its own because no name that a server says may reach the file system unchecked, and a download must stop with
// its context and match its hash. github.com/gomlx/go-huggingface v0.3.1 joins the ETag of a response to a path, and does neither.
package hub

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Kind is a kind of repository, as the hub's addresses and the cache's folders name it.
type Kind string

// The kinds that are read here.
const (
	Models   Kind = "models"
	Datasets Kind = "datasets"
)

// Repo names a repository at a revision: a branch, a tag or a commit; "" is main.
type Repo struct {
	Kind     Kind
	ID       string // owner/name, or name alone where the hub has it so
	Revision string
}

func (r Repo) revision() string {
	if r.Revision == "" {
		return "main"
	}
	return r.Revision
}

// folder is the repository's folder in the cache.
func (r Repo) folder() string {
	return string(r.Kind) + "--" + strings.ReplaceAll(r.ID, "/", "--")
}

func (r Repo) String() string {
	if r.Revision == "" {
		return r.ID
	}
	return r.ID + "@" + r.Revision
}

var (
	validID     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?$`)
	validCommit = regexp.MustCompile(`^[0-9a-zA-Z]{1,64}$`)
)

// check refuses names that could lead out of the cache.
func (r Repo) check() error {
	if !validID.MatchString(r.ID) || strings.Contains(r.ID, "..") {
		return fmt.Errorf("hub: %q is not the name of a repository, as in owner/name", r.ID)
	}
	if !fs.ValidPath(r.revision()) || !filepath.IsLocal(r.revision()) || strings.ContainsAny(r.revision(), `\?#%`) || r.revision() == "." {
		return fmt.Errorf("hub: %q is not a revision, as in main or a commit", r.Revision)
	}
	return nil
}

// Hub is where repositories are looked for. The zero Hub means the cache and the address that the environment names.
type Hub struct {
	Cache    string // folder; "" as said in the package's documentation
	Endpoint string // "" is $HF_ENDPOINT or https://huggingface.co
	Token    string // "" is $HF_TOKEN; sent to the endpoint alone
	Offline  bool   // never connect; also $HF_HUB_OFFLINE or $HF_DATASETS_OFFLINE set to 1, true, yes or on
	// Progress, if not nil, is told how many bytes of a file are there; total is -1 where the server does not say.
	Progress func(file string, done, total int64)
}

func (h Hub) cache() (string, error) {
	if h.Cache != "" {
		return h.Cache, nil
	}
	for _, c := range []struct{ variable, below string }{{"HF_HUB_CACHE", ""}, {"HUGGINGFACE_HUB_CACHE", ""}, {"HF_HOME", "hub"}, {"XDG_CACHE_HOME", "huggingface/hub"}} {
		if dir := os.Getenv(c.variable); dir != "" {
			return filepath.Join(dir, c.below), nil
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("hub: no cache: %w; set HF_HUB_CACHE", err)
	}
	return filepath.Join(home, ".cache", "huggingface", "hub"), nil
}

func (h Hub) offline() bool {
	yes := []string{"1", "TRUE", "YES", "ON"}
	return h.Offline || slices.Contains(yes, strings.ToUpper(os.Getenv("HF_HUB_OFFLINE"))) || slices.Contains(yes, strings.ToUpper(os.Getenv("HF_DATASETS_OFFLINE")))
}

// Snapshot is the folder in the cache that holds the repository's files at its revision. A repository that is not there gives an error
// that matches fs.ErrNotExist.
func (h Hub) Snapshot(r Repo) (string, error) {
	if err := r.check(); err != nil {
		return "", err
	}
	cache, err := h.cache()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, r.folder())
	commit := r.revision()
	switch raw, err := readShort(filepath.Join(dir, "refs", filepath.FromSlash(commit))); {
	case err == nil:
		if commit = strings.TrimSpace(raw); !validCommit.MatchString(commit) {
			return "", fmt.Errorf("hub: %s: %.40q is not a commit; delete the file and fetch %s again", filepath.Join(dir, "refs", r.revision()), commit, r)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("hub: %w", err)
	case r.Revision == "":
		// Other programs fill the cache without refs; one snapshot leaves no doubt.
		if entries, err := os.ReadDir(filepath.Join(dir, "snapshots")); err == nil && len(entries) == 1 {
			commit = entries[0].Name()
		}
	}
	snapshot := filepath.Join(dir, "snapshots", filepath.FromSlash(commit))
	if info, err := os.Stat(snapshot); err != nil || !info.IsDir() {
		return "", absent(fmt.Sprintf("hub: %s is not in %s", r, cache))
	}
	return snapshot, nil
}

// absent says what is not there and how to get it; it matches fs.ErrNotExist.
type absent string

func (a absent) Error() string        { return string(a) }
func (a absent) Is(target error) bool { return target == fs.ErrNotExist }

// readShort reads a file of one line.
func readShort(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, 1024))
	return string(raw), err
}

// cached lists the snapshot's files that match a pattern of path.Match, sorted.
func (h Hub) cached(r Repo, pattern string) (files []string, commit string, err error) {
	dir, err := h.Snapshot(r)
	if err != nil {
		return nil, "", err
	}
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if ok, err := path.Match(pattern, filepath.ToSlash(rel)); err != nil || !ok {
			return err
		}
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			return nil // the link of a download that did not end
		}
		files = append(files, name)
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("hub: %w", err)
	}
	return files, filepath.Base(dir), nil
}

// Resolve finds the folder of a model: name itself if there is such a file or folder, else the snapshot of owner/name or
// owner/name@revision in the cache. Nothing is fetched: a model has many gigabytes.
func (h Hub) Resolve(name string) (string, error) {
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	id, revision, _ := strings.Cut(name, "@")
	r := Repo{Kind: Models, ID: id, Revision: revision}
	if !strings.Contains(id, "/") || r.check() != nil {
		return name, nil // no name of a repository: whoever opens it says what is wrong
	}
	dir, err := h.Snapshot(r)
	if errors.Is(err, fs.ErrNotExist) {
		flag := ""
		if revision != "" {
			flag = " --revision " + revision
		}
		return "", absent(fmt.Sprintf("%s is no folder and no model in the Hugging Face cache; fetch it with: hf download %s%s", name, id, flag))
	}
	return dir, err
}

// Resolve is Hub.Resolve with the cache that the environment names.
func Resolve(name string) (string, error) { return Hub{}.Resolve(name) }
