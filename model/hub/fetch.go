package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxListing = 64 << 20         // bytes of a repository's listing; the largest data sets have some 10 MB
	stall      = 60 * time.Second // without a byte, after which a download is given up
)

var (
	errStalled = fmt.Errorf("no data for %v", stall)
	validETag  = regexp.MustCompile(`^[0-9a-f]{40,64}$`)
)

// Files gives the files of a repository that match a pattern of path.Match, sorted, and their commit: those of the cache if there is one,
// else all that the hub lists, which are fetched. Offline, and where the hub has none, the error says what to do and matches
// fs.ErrNotExist.
func (h Hub) Files(ctx context.Context, r Repo, pattern string) (files []string, commit string, err error) {
	files, commit, err = h.cached(r, pattern)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(files) > 0 {
		return files, commit, err
	}
	cache, err := h.cache()
	if err != nil {
		return nil, "", err
	}
	how := fmt.Sprintf("fetch it with: hf download --repo-type %s %s --include '%s'", strings.TrimSuffix(string(r.Kind), "s"), r.ID, pattern)
	if h.offline() {
		return nil, "", absent(fmt.Sprintf("hub: %s of %s is not in %s, and this is offline; %s", pattern, r, cache, how))
	}
	commit, names, err := h.list(ctx, r)
	if err != nil {
		return nil, "", fmt.Errorf("hub: %s: %w; where there is a connection, %s; it belongs in %s", r, err, how, cache)
	}
	for _, name := range names {
		if ok, err := path.Match(pattern, name); err != nil {
			return nil, "", fmt.Errorf("hub: pattern %q: %w", pattern, err)
		} else if !ok {
			continue
		}
		file, err := h.fetch(ctx, r, commit, name, filepath.Join(cache, r.folder()))
		if err != nil {
			return nil, "", fmt.Errorf("hub: %s: %s: %w", r, name, err)
		}
		files = append(files, file)
	}
	if len(files) == 0 {
		return nil, "", absent(fmt.Sprintf("hub: %s has no file %s at revision %s", r.ID, pattern, r.revision()))
	}
	ref := filepath.Join(cache, r.folder(), "refs", filepath.FromSlash(r.revision()))
	if err := os.MkdirAll(filepath.Dir(ref), 0o755); err != nil {
		return nil, "", fmt.Errorf("hub: %w", err)
	}
	if err := os.WriteFile(ref, []byte(commit), 0o644); err != nil {
		return nil, "", fmt.Errorf("hub: %w", err)
	}
	return files, commit, nil
}

func (h Hub) endpoint() string {
	for _, e := range []string{h.Endpoint, os.Getenv("HF_ENDPOINT")} {
		if e != "" {
			return strings.TrimSuffix(e, "/")
		}
	}
	return "https://huggingface.co"
}

// get sends a request; linked is the header of the hub's own answer where it redirects to where the bytes are.
func (h Hub) get(ctx context.Context, address string) (res *http.Response, linked http.Header, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	token := h.Token
	if token == "" {
		token = os.Getenv("HF_TOKEN")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if req.Response.Header.Get("X-Linked-ETag") != "" {
			linked = req.Response.Header
		}
		if len(via) >= 10 || via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
			return fmt.Errorf("redirected to %s", req.URL.Redacted())
		}
		return nil
	}}
	res, err = client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	if linked == nil {
		linked = res.Header
	}
	switch res.StatusCode {
	case http.StatusOK:
		return res, linked, nil
	case http.StatusUnauthorized, http.StatusForbidden:
		err = fmt.Errorf("%s; set HF_TOKEN if the repository wants one", res.Status)
	default:
		err = errors.New(res.Status)
	}
	return nil, nil, errors.Join(err, res.Body.Close())
}

// list asks the hub for a revision's commit and files.
func (h Hub) list(ctx context.Context, r Repo) (commit string, names []string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stall, errStalled)
	defer cancel()
	res, _, err := h.get(ctx, fmt.Sprintf("%s/api/%s/%s/revision/%s", h.endpoint(), r.Kind, r.ID, url.PathEscape(r.revision())))
	if err != nil {
		return "", nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxListing+1))
	if err != nil {
		return "", nil, err
	}
	if len(raw) > maxListing {
		return "", nil, fmt.Errorf("the listing is longer than %d bytes", maxListing)
	}
	var listing struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
		} `json:"siblings"`
	}
	if err := json.Unmarshal(raw, &listing); err != nil {
		return "", nil, fmt.Errorf("the listing: %w", err)
	}
	if !validCommit.MatchString(listing.SHA) {
		return "", nil, fmt.Errorf("the listing's commit %.80q is none", listing.SHA)
	}
	for _, s := range listing.Siblings {
		if !fs.ValidPath(s.Name) || !filepath.IsLocal(s.Name) || strings.ContainsAny(s.Name, "\\\x00") {
			return "", nil, fmt.Errorf("the listing names a file %.80q outside of the repository", s.Name)
		}
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return listing.SHA, names, nil
}

// fetch gets one file into the cache, in which it appears whole or not at all.
func (h Hub) fetch(ctx context.Context, r Repo, commit, name, dir string) (file string, err error) {
	link := filepath.Join(dir, "snapshots", commit, filepath.FromSlash(name))
	if info, err := os.Stat(link); err == nil && info.Mode().IsRegular() {
		return link, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watch.Stop()
	address := h.endpoint()
	if r.Kind != Models {
		address += "/" + string(r.Kind)
	}
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	res, linked, err := h.get(ctx, fmt.Sprintf("%s/%s/resolve/%s/%s", address, r.ID, commit, strings.Join(parts, "/")))
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	total := res.ContentLength
	if n, err := strconv.ParseInt(linked.Get("X-Linked-Size"), 10, 64); err == nil && n >= 0 {
		total = n
	}
	etag := linked.Get("X-Linked-ETag")
	if etag == "" {
		etag = linked.Get("ETag")
	}
	etag = strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)

	for _, d := range []string{filepath.Join(dir, "blobs"), filepath.Dir(link)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return "", err
		}
	}
	part, err := os.CreateTemp(filepath.Join(dir, "blobs"), "*.incomplete")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part.Name()))
		}
	}()
	hash := sha256.New()
	body := &progressReader{r: res.Body, total: total, name: name, report: h.Progress, alive: func() { watch.Reset(stall) }}
	_, err = io.Copy(io.MultiWriter(part, hash), body)
	if err == nil {
		err = part.Chmod(0o644)
	}
	if err = errors.Join(err, part.Close()); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return "", err
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	switch {
	case total >= 0 && body.done != total:
		return "", fmt.Errorf("got %d bytes, expected %d", body.done, total)
	case !validETag.MatchString(etag): // it names a file from here on
		etag = sum
	case len(etag) == len(sum) && etag != sum: // of a large file it is the SHA-256
		return "", fmt.Errorf("its SHA-256 is %s, expected %s", sum, etag)
	}
	blob := filepath.Join(dir, "blobs", etag)
	if err := os.Rename(part.Name(), blob); err != nil {
		return "", err
	}
	target, err := filepath.Rel(filepath.Dir(link), blob)
	if err != nil {
		return "", err
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) { // a link whose file is gone
		return "", err
	}
	if err := os.Symlink(target, link); err != nil {
		return "", err
	}
	return link, nil
}

// progressReader counts what passes.
type progressReader struct {
	r           io.Reader
	done, total int64
	name        string
	report      func(file string, done, total int64)
	alive       func()
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.done += int64(n)
	if n > 0 {
		p.alive()
	}
	if p.report != nil {
		p.report(p.name, p.done, p.total)
	}
	return n, err
}
