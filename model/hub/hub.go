// Package hub finds repositories of the Hugging Face hub in the local cache, which it shares with huggingface_hub, and fetches files
// that are not there: of a data set those that match a pattern, of a model those that it consists of.
//
// The cache is laid out as huggingface_hub does it: models--owner--name or datasets--owner--name with refs/REVISION (the commit of a
// branch), snapshots/COMMIT (links by file name) and blobs, by their hash; a download that has not ended is blobs/HASH.incomplete, and the
// next one goes on with it; .locks beside them keep two programs from fetching the same. The cache is in $HF_HUB_CACHE,
// $HUGGINGFACE_HUB_CACHE, $HF_HOME/hub, $XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub.
//
// What the hub calls a file by, its ETag, is one of two hashes, and what is fetched is held against either: of a large file, which git keeps
// elsewhere (LFS), the SHA-256 of its content, 64 digits; of any other the SHA-1 that git gives a blob, of "blob SIZE\x00" and the content, 40
// digits. A listing with anything else is refused.
//
// The client is small and its own because no name that a server says may reach the file system unchecked, and a download must stop with
// its context and match its hash. github.com/gomlx/go-huggingface v0.3.1 joins the ETag of a response to a path, and does neither.
package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vkcome/vkcome/model/files"
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
	inCache     = regexp.MustCompile(`(?:^|/)models--([^/]+)/snapshots/([0-9a-zA-Z]{1,64})(?:/|$)`)
	fullCommit  = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// IsName says whether a text can be the name of a repository: owner/name.
func IsName(text string) bool {
	return strings.Count(text, "/") == 1 && Repo{Kind: Models, ID: text}.check() == nil
}

// RepoOf is the repository of a model whose folder or file in a cache this is: models--owner--name/snapshots/COMMIT and what is below it. No name
// on the hub has two dashes in a row. Links to a folder of a cache count as that folder.
func RepoOf(path string) (r Repo, ok bool) {
	full, err := filepath.Abs(path)
	if err != nil || path == "" {
		return r, false
	}
	all := []string{full}
	if real, err := filepath.EvalSymlinks(full); err == nil {
		all = append(all, real)
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(full)); err == nil { // a file in a cache is a link to another there
		all = append(all, filepath.Join(dir, filepath.Base(full)))
	}
	for _, path := range all {
		if m := inCache.FindStringSubmatch(filepath.ToSlash(path)); m != nil {
			r = Repo{Kind: Models, ID: strings.ReplaceAll(m[1], "--", "/"), Revision: m[2]}
			return r, IsName(r.ID)
		}
	}
	return r, false
}

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
	Token    string // "" is $HF_TOKEN, else what hf auth login has kept ($HF_TOKEN_PATH or token in $HF_HOME); sent to the endpoint alone
	Offline  bool   // never connect; also $HF_HUB_OFFLINE, $HF_DATASETS_OFFLINE or $TRANSFORMERS_OFFLINE set to 1, true, yes or on
	// Progress, if not nil, is told how many bytes of a file are there.
	Progress func(file string, done, total int64)
	// Begin, if not nil, is told before files are fetched how many and how large.
	Begin func(repo Repo, files int, bytes int64)
	// Config, if not nil, looks at a model's config.json before its weights are fetched; its error ends that.
	Config func(raw []byte) error

	anonymous bool // send no token

	pause func(ctx context.Context, d time.Duration) error // between attempts, where a test does not want to wait
}

// environment is the first variable of several that is set, a ~ in front of it meaning the home folder.
func environment(names ...string) string {
	for _, name := range names {
		value := os.Getenv(name)
		if rest, ok := strings.CutPrefix(value, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
			if home, err := os.UserHomeDir(); err == nil {
				value = home + rest
			}
		}
		if value != "" {
			return value
		}
	}
	return ""
}

// home is the folder of what all programs of the hub share.
func home() (string, error) {
	if dir := environment("HF_HOME"); dir != "" {
		return dir, nil
	}
	if dir := environment("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "huggingface"), nil
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("hub: no cache: %w; set HF_HUB_CACHE", err)
	}
	return filepath.Join(dir, ".cache", "huggingface"), nil
}

// token is sent to the endpoint, "" if there is none.
func (h Hub) token() string {
	if h.anonymous {
		return ""
	}
	if h.Token != "" {
		return h.Token
	}
	if token := strings.TrimSpace(environment("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")); token != "" {
		return token
	}
	file := environment("HF_TOKEN_PATH")
	if file == "" {
		dir, err := home()
		if err != nil {
			return ""
		}
		file = filepath.Join(dir, "token")
	}
	token, err := readShort(file)
	if err != nil || isYes("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		return ""
	}
	return strings.TrimSpace(token)
}

func isYes(variable string) bool {
	return slices.Contains([]string{"1", "TRUE", "YES", "ON"}, strings.ToUpper(os.Getenv(variable)))
}

func (h Hub) cache() (string, error) {
	if h.Cache != "" {
		return h.Cache, nil
	}
	if dir := environment("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := home()
	return filepath.Join(dir, "hub"), err
}

// IsOffline says whether nothing may be fetched.
func (h Hub) IsOffline() bool {
	return h.Offline || slices.ContainsFunc([]string{"HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"}, isYes)
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

// readShort reads a file of one line: a commit or a token.
func readShort(name string) (string, error) {
	raw, err := files.Read(name, 4<<10)
	return string(raw), err
}
