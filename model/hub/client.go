package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/printable"
)

const (
	maxListing  = 64 << 20         // bytes of an answer; a page of a listing has 1,000 files and some 300 kB
	maxFiles    = 1 << 20          // of a listing
	stall       = 60 * time.Second // without a byte, after which a connection is given up
	attempts    = 5                // without a byte gained
	longestWait = 5 * time.Minute  // that a server may ask for
)

var (
	errStalled = fmt.Errorf("no data for %v", stall)
	gitHash    = regexp.MustCompile(`^[0-9a-f]{40}$`)
	sha256Hash = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func (h Hub) endpoint() string {
	for _, e := range []string{h.Endpoint, os.Getenv("HF_ENDPOINT")} {
		if e != "" {
			return strings.TrimSuffix(e, "/")
		}
	}
	return "https://huggingface.co"
}

// statusError is an answer of the hub that is none.
type statusError struct {
	status        int
	code, message string // of the headers X-Error-Code and X-Error-Message
	after         time.Duration
	token         bool   // whether one was sent
	page          string // of the repository, where a person may ask for access
}

func (e *statusError) Error() string {
	denied := e.status == http.StatusUnauthorized || e.status == http.StatusForbidden
	switch {
	case e.code == "GatedRepo" && !e.token:
		return fmt.Sprintf("it is gated: accept its terms on %s, then set HF_TOKEN or run hf auth login", e.page)
	case e.code == "GatedRepo":
		return fmt.Sprintf("it is gated, and the token has no access: accept its terms on %s", e.page)
	case e.code == "RevisionNotFound":
		return "it has no such revision"
	case e.code == "EntryNotFound":
		return "no such file"
	case e.code == "RepoNotFound" || e.status == http.StatusNotFound || denied && e.code == "":
		if e.token {
			return fmt.Sprintf("the hub has no such repository, or not for this token (%d)", e.status)
		}
		return fmt.Sprintf("the hub has no such repository, or it is private: then set HF_TOKEN or run hf auth login (%d)", e.status)
	case e.status == http.StatusTooManyRequests && e.after > 0:
		return fmt.Sprintf("too many requests (429); try again in %v", e.after)
	}
	text := fmt.Sprintf("%d %s", e.status, http.StatusText(e.status))
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

// printed is a text of a server on a line, not too long.
func printed(text string) string { return printable.Clip(printable.Line(text), 200) }

// retryAfter is how long a server asks to wait: a number of seconds, a date, or the t of a RateLimit header; 0 if it does not say.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	for part := range strings.SplitSeq(header.Get("RateLimit"), ";") {
		if t, ok := strings.CutPrefix(strings.TrimSpace(part), "t="); ok {
			if seconds, err := strconv.ParseUint(t, 10, 31); err == nil {
				return time.Duration(seconds) * time.Second
			}
		}
	}
	return 0
}

// get sends a request for the bytes from one on; r is whose it is, for messages.
func (h Hub) get(ctx context.Context, r Repo, address string, from int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "vkcome")
	if from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
	}
	own, err := url.Parse(h.endpoint())
	if err != nil {
		return nil, fmt.Errorf("the endpoint: %w", err)
	}
	token := h.token()
	client := http.Client{Transport: &authorized{origin(own), token, http.DefaultTransport}, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) >= 10 || via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
			return fmt.Errorf("redirected to %s", printed(req.URL.Redacted()))
		}
		return nil
	}}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusPartialContent && from > 0 {
		return res, nil
	}
	failed := &statusError{
		status: res.StatusCode, code: res.Header.Get("X-Error-Code"), message: printed(res.Header.Get("X-Error-Message")),
		after: retryAfter(res.Header), token: token != "", page: h.endpoint() + r.path(),
	}
	return nil, errors.Join(failed, res.Body.Close())
}

// authorized sends a token to one origin alone, whatever request comes: the first, one after a redirect, or one of an address that a listing names.
// net/http by itself would keep it for other ports and for hosts below the first.
type authorized struct {
	origin string
	token  string // "": none
	next   http.RoundTripper
}

func (a *authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Del("Authorization")
	if a.token != "" && origin(req.URL) == a.origin {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	return a.next.RoundTrip(req)
}

// origin is the scheme, host and port of an address.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return strings.ToLower(u.Scheme) + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// path is the repository's page below the endpoint.
func (r Repo) path() string {
	if r.Kind == Models {
		return "/" + r.ID
	}
	return "/" + string(r.Kind) + "/" + r.ID
}

// again says whether to try once more after an error, and how long to wait before.
func again(err error, tries int) (wait time.Duration, ok bool) {
	if tries >= attempts || errors.Is(err, context.Canceled) {
		return 0, false
	}
	wait = time.Second << (tries - 1)
	if failed := (*statusError)(nil); errors.As(err, &failed) {
		switch failed.status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return max(wait, failed.after), failed.after <= longestWait
		}
		return 0, false
	}
	if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
		return 0, false // there is no connection
	}
	var failed net.Error
	return wait, errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, errStalled) || errors.As(err, &failed)
}

// wait waits, or ends with the context.
func (h Hub) wait(ctx context.Context, d time.Duration) error {
	if h.pause != nil {
		return h.pause(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// guarded is a context that ends where nothing calls alive for too long.
func guarded(ctx context.Context) (inner context.Context, alive func(), end func()) {
	inner, cancel := context.WithCancelCause(ctx)
	watch := time.AfterFunc(stall, func() { cancel(errStalled) })
	return inner, func() { watch.Reset(stall) }, func() { watch.Stop(); cancel(nil) }
}

// json asks for a short answer, several times if need be, and decodes it; next is the address of the page that follows it.
func (h Hub) json(ctx context.Context, r Repo, address string, v any) (next string, err error) {
	for tries := 1; ; tries++ {
		if next, err = h.jsonOnce(ctx, r, address, v); err == nil {
			return next, nil
		}
		pause, ok := again(err, tries)
		if !ok {
			return "", err
		}
		if err := h.wait(ctx, pause); err != nil {
			return "", err
		}
	}
}

func (h Hub) jsonOnce(ctx context.Context, r Repo, address string, v any) (next string, err error) {
	inner, alive, end := guarded(ctx)
	defer end()
	res, err := h.get(inner, r, address, 0)
	if err != nil {
		return "", caused(inner, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(&aliveReader{res.Body, alive}, maxListing+1))
	if err != nil {
		return "", caused(inner, err)
	}
	if len(raw) > maxListing {
		return "", fmt.Errorf("the listing is longer than %d bytes", maxListing)
	}
	if err := parse(raw, v); err != nil {
		return "", fmt.Errorf("the listing: %w", err)
	}
	for _, link := range strings.Split(res.Header.Get("Link"), ",") {
		target, rest, ok := strings.Cut(strings.TrimSpace(link), ">")
		if !ok || !strings.HasPrefix(target, "<") || !strings.Contains(strings.ReplaceAll(rest, `"`, ""), "rel=next") {
			continue
		}
		u, err := res.Request.URL.Parse(target[1:])
		if err != nil || origin(u) != origin(res.Request.URL) { // a server speaks for itself alone
			return "", fmt.Errorf("the listing goes on at %.100q", target[1:])
		}
		next = u.String()
	}
	return next, nil
}

// parse reads JSON of strangers. A value of two bytes takes a hundred in memory, so their number is bounded as well as their bytes are.
func parse(raw []byte, v any) error {
	if n := bytes.Count(raw, []byte{','}); n > maxFiles {
		return fmt.Errorf("%d values, expected at most %d", n, maxFiles)
	}
	return files.JSON(raw, v)
}

// caused is the error that ended a context, where that is why another came.
func caused(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

type aliveReader struct {
	r     io.Reader
	alive func()
}

func (a *aliveReader) Read(b []byte) (int, error) {
	n, err := a.r.Read(b)
	if n > 0 {
		a.alive()
	}
	return n, err
}

// entry is a file of a repository.
type entry struct {
	name string // with slashes
	size int64
	hash string // SHA-256 of a large file, which git keeps elsewhere; of others git's own, a SHA-1 of size and content
}

// commit asks which commit a revision is.
func (h Hub) commit(ctx context.Context, r Repo) (string, error) {
	if fullCommit.MatchString(r.Revision) {
		return r.Revision, nil
	}
	var info struct {
		SHA string `json:"sha"`
	}
	if _, err := h.json(ctx, r, fmt.Sprintf("%s/api/%s/%s/revision/%s", h.endpoint(), r.Kind, r.ID, url.PathEscape(r.revision())), &info); err != nil {
		return "", err
	}
	if !fullCommit.MatchString(info.SHA) {
		return "", fmt.Errorf("the listing's commit %.80q is none", info.SHA)
	}
	return info.SHA, nil
}

// tree lists the files of a commit: those of a folder, or with "" all.
func (h Hub) tree(ctx context.Context, r Repo, commit, folder string) (list []entry, err error) {
	address := fmt.Sprintf("%s/api/%s/%s/tree/%s", h.endpoint(), r.Kind, r.ID, commit)
	if folder == "" {
		address += "?recursive=true"
	} else {
		address += "/" + escaped(folder)
	}
	for address != "" {
		var page []struct {
			Type string `json:"type"`
			Path string `json:"path"`
			OID  string `json:"oid"`
			Size int64  `json:"size"`
			LFS  *struct {
				OID  string `json:"oid"`
				Size int64  `json:"size"`
			} `json:"lfs"`
		}
		if address, err = h.json(ctx, r, address, &page); err != nil {
			return nil, err
		}
		for _, f := range page {
			if f.Type != "file" {
				continue
			}
			e := entry{f.Path, f.Size, f.OID}
			if f.LFS != nil {
				e.size, e.hash = f.LFS.Size, f.LFS.OID
			}
			switch {
			case !fs.ValidPath(e.name) || !filepath.IsLocal(filepath.FromSlash(e.name)) || strings.ContainsAny(e.name, "\\\x00"):
				return nil, fmt.Errorf("the listing names a file %.80q outside of the repository", e.name)
			case f.LFS != nil && !sha256Hash.MatchString(e.hash) || f.LFS == nil && !gitHash.MatchString(e.hash) || e.size < 0:
				return nil, fmt.Errorf("the listing has no hash or size of %.80q: hash %.80q, size %d; expected a SHA-256 of a large file, 64 digits, and git's hash of others, 40", e.name, e.hash, e.size)
			}
			list = append(list, e)
		}
		if len(list) > maxFiles || len(page) == 0 && address != "" {
			return nil, fmt.Errorf("the listing has more than %d files, or an empty page", maxFiles)
		}
	}
	return list, nil
}

// escaped is a path in an address.
func escaped(name string) string {
	parts := strings.Split(path.Clean(name), "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}
