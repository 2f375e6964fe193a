package hub

import (
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/gofrs/flock"

	"github.com/vkcome/vkcome/model/files"
)

// Files gives the files of a repository that match a pattern of path.Match, sorted, and their commit: those of the cache if there is one,
// else all that the hub lists, which are fetched. Offline, and where the hub has none, the error says what to do and matches
// fs.ErrNotExist.
func (h Hub) Files(ctx context.Context, r Repo, pattern string) (files []string, commit string, err error) {
	dir, err := h.Snapshot(r)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	if err == nil {
		files, err := matching(dir, pattern)
		if err != nil || len(files) > 0 {
			return files, filepath.Base(dir), err
		}
	}
	cache, err := h.cache()
	if err != nil {
		return nil, "", err
	}
	how := fmt.Sprintf("fetch it with: hf download --repo-type %s %s --include '%s'", strings.TrimSuffix(string(r.Kind), "s"), r.ID, pattern)
	if h.IsOffline() {
		return nil, "", absent(fmt.Sprintf("hub: %s of %s is not in %s, and this is offline; %s", pattern, r, cache, how))
	}
	wanted, commit, err := h.listed(ctx, r, pattern)
	if err != nil {
		return nil, "", fmt.Errorf("hub: %s: %w; where there is a connection, %s; it belongs in %s", r, err, how, cache)
	}
	if len(wanted) == 0 {
		return nil, "", absent(fmt.Sprintf("hub: %s has no file %s at revision %s", r.ID, pattern, r.revision()))
	}
	dir, err = h.fetch(ctx, r, commit, wanted)
	if err != nil {
		return nil, "", err
	}
	for _, e := range wanted {
		files = append(files, filepath.Join(dir, filepath.FromSlash(e.name)))
	}
	return files, commit, nil
}

// Select fetches those files of a repository that pick wants of all their names, and gives the folder that has them, and their commit. read
// fetches a short file that pick has to see.
func (h Hub) Select(ctx context.Context, r Repo, pick func(names []string, read func(name string) ([]byte, error)) (wanted []string, err error)) (dir, commit string, err error) {
	if err := r.check(); err != nil {
		return "", "", err
	}
	list, commit, err := h.listed(ctx, r, "")
	if err != nil {
		return "", "", fmt.Errorf("hub: %s: %w", r, err)
	}
	by := map[string]entry{}
	var all []string
	for _, e := range list {
		by[e.name] = e
		all = append(all, e.name)
	}
	read := func(name string) ([]byte, error) {
		e := by[name]
		if e.size > maxListing {
			return nil, fmt.Errorf("%s has %d bytes", name, e.size)
		}
		quiet := h
		quiet.Begin = nil
		dir, err := quiet.blobs(ctx, r, commit, []entry{e})
		if err != nil {
			return nil, err
		}
		return files.Read(filepath.Join(dir, "blobs", e.hash), maxListing)
	}
	wanted, err := pick(all, read)
	if err != nil {
		return "", "", fmt.Errorf("hub: %s: %w", r, err)
	}
	var entries []entry
	var size int64
	for _, name := range wanted {
		entries = append(entries, by[name])
		size += by[name].size
	}
	if r.Kind == Datasets && size > maxDataset {
		return "", "", fmt.Errorf("hub: %s: %d files of %s are more than is fetched unasked; fetch those that you want with: hf download --repo-type dataset %s --include PATTERN --local-dir DIR", r, len(wanted), humanize.Bytes(uint64(size)), r.ID)
	}
	dir, err = h.fetch(ctx, r, commit, entries)
	return dir, commit, err
}

// maxDataset is how many bytes of a data set are fetched: some hours of reading. Those that models are trained on have terabytes.
const maxDataset = 20_000_000_000

// listed asks the hub for the files that match a pattern, or for all with "", sorted, and their commit.
func (h Hub) listed(ctx context.Context, r Repo, pattern string) (wanted []entry, commit string, err error) {
	if commit, err = h.commit(ctx, r); err != nil {
		return nil, "", err
	}
	folder := path.Dir(pattern)
	if folder == "." || strings.ContainsAny(folder, `*?[\`) {
		folder = ""
	}
	list, err := h.tree(ctx, r, commit, folder)
	if failed := (*statusError)(nil); errors.As(err, &failed) && failed.status == http.StatusNotFound && folder != "" {
		return nil, commit, nil // there is no such folder
	}
	if err != nil {
		return nil, "", err
	}
	for _, e := range list {
		ok, err := pattern == "", error(nil)
		if !ok {
			ok, err = path.Match(pattern, e.name)
		}
		if err != nil {
			return nil, "", fmt.Errorf("pattern %q: %w", pattern, err)
		}
		if ok {
			wanted = append(wanted, e)
		}
	}
	slices.SortFunc(wanted, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return wanted, commit, nil
}

// matching lists the files of a folder that match a pattern of path.Match, sorted.
func matching(dir, pattern string) (files []string, err error) {
	names, err := names(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if ok, err := path.Match(pattern, name); err != nil {
			return nil, fmt.Errorf("hub: pattern %q: %w", pattern, err)
		} else if ok {
			files = append(files, filepath.Join(dir, filepath.FromSlash(name)))
		}
	}
	return files, nil
}

// names lists the files below a folder, with slashes; links of downloads that did not end are left out.
func names(dir string) (list []string, err error) {
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if !isFile(name) {
			return nil
		}
		rel, err := filepath.Rel(dir, name)
		list = append(list, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return list, nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// fetch gets files into the cache and gives the snapshot's folder. There they appear when all are there.
func (h Hub) fetch(ctx context.Context, r Repo, commit string, list []entry) (snapshot string, err error) {
	dir, err := h.blobs(ctx, r, commit, list)
	if err != nil {
		return "", err
	}
	snapshot = filepath.Join(dir, "snapshots", commit)
	var made []string
	for i, e := range list {
		name := filepath.Join(snapshot, filepath.FromSlash(e.name))
		err := distinct(snapshot, list[:i], e)
		if err == nil && isFile(name) {
			continue
		}
		if err == nil {
			made = append(made, name)
			err = link(ctx, filepath.Join(dir, "blobs", e.hash), name)
		}
		if err != nil {
			for _, name := range made { // some of the files would be taken for all
				_ = os.Remove(name) // the last may not be there
			}
			return "", fmt.Errorf("hub: %w", err)
		}
	}
	if r.revision() == commit {
		return snapshot, nil
	}
	ref := filepath.Join(dir, "refs", filepath.FromSlash(r.revision()))
	if err := files.MkdirAll(filepath.Dir(ref), 0o755); err != nil {
		return "", fmt.Errorf("hub: %w", err)
	}
	if err := replace(ref, func(temporary string) error { return files.WriteFile(temporary, []byte(commit), 0o644) }); err != nil {
		return "", fmt.Errorf("hub: %w", err)
	}
	return snapshot, nil
}

// blobs gets the contents of files into the cache and gives the repository's folder there.
func (h Hub) blobs(ctx context.Context, r Repo, commit string, list []entry) (dir string, err error) {
	cache, err := h.cache()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(cache, r.folder())
	blobs := filepath.Join(dir, "blobs")
	for _, d := range []string{blobs, filepath.Join(dir, "snapshots", commit)} { // without the latter huggingface_hub calls the cache damaged
		if err := files.MkdirAll(d, 0o755); err != nil {
			return "", fmt.Errorf("hub: %w", err)
		}
	}
	var missing []entry
	var size int64
	for _, e := range list {
		if isFile(filepath.Join(blobs, e.hash)) {
			continue
		}
		missing = append(missing, e)
		if size += e.size; size < 0 {
			return "", fmt.Errorf("hub: %s: files of more than 2^63 bytes", r)
		}
		if info, err := os.Stat(filepath.Join(blobs, e.hash+partial)); err == nil && info.Size() <= e.size {
			size -= info.Size()
		}
	}
	if len(missing) == 0 {
		return dir, nil
	}
	if free, ok := space(blobs); ok && uint64(size) > free {
		return "", fmt.Errorf("hub: %s: %s are to be fetched, and %s has room for %s; free some, or set HF_HUB_CACHE to a folder elsewhere", r, humanize.Bytes(uint64(size)), cache, humanize.Bytes(free))
	}
	if h.Begin != nil {
		h.Begin(r, len(missing), size)
	}
	for _, e := range missing {
		if err := h.blob(ctx, r, commit, e, filepath.Join(cache, ".locks", r.folder()), filepath.Join(blobs, e.hash)); err != nil {
			return "", fmt.Errorf("hub: %s: %s: %w", r, e.name, err)
		}
	}
	return dir, nil
}

// partial is the ending of a blob that is not all there.
const partial = ".incomplete"

// blob gets the content of a file, unless another program does while this one waits for it.
func (h Hub) blob(ctx context.Context, r Repo, commit string, e entry, locks, blob string) (err error) {
	if err := files.MkdirAll(locks, 0o755); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(locks, e.hash+".lock"))
	if _, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if isFile(blob) {
		return nil
	}
	part, err := files.OpenFile(blob+partial, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	d := &download{Hub: h, repo: r, entry: e, part: part, address: h.endpoint() + r.path() + "/resolve/" + commit + "/" + escaped(e.name)}
	if err := errors.Join(d.run(ctx), part.Close()); err != nil {
		if errors.As(err, new(*wrongHash)) {
			err = errors.Join(err, os.Remove(part.Name()))
		}
		return err
	}
	return files.Rename(part.Name(), blob)
}

// download is a file on its way.
type download struct {
	Hub
	repo    Repo
	entry   entry
	address string
	part    *files.File
	done    int64 // bytes in part, which are in sum too
	sum     hash.Hash
}

// wrongHash is of bytes that are not the file.
type wrongHash struct{ name, got, want string }

func (w *wrongHash) Error() string {
	return fmt.Sprintf("its %s is %s, expected %s", w.name, w.got, w.want)
}

// run fetches what is missing, in several attempts if need be, and checks the hash. What an earlier run left is tried once; if it is not
// the beginning of the file, all is fetched again.
func (d *download) run(ctx context.Context) error {
	info, err := d.part.Stat()
	if err != nil {
		return err
	}
	left := info.Size()
	if left > d.entry.size {
		left = 0
	}
	if err := d.restart(ctx, left); err != nil {
		return err
	}
	err = d.fetch(ctx)
	if left > 0 && errors.As(err, new(*wrongHash)) {
		if err := d.restart(ctx, 0); err != nil {
			return err
		}
		err = d.fetch(ctx)
	}
	return err
}

// restart keeps so many bytes of what is there.
func (d *download) restart(ctx context.Context, keep int64) error {
	d.sum, d.done = sha256.New(), 0
	if len(d.entry.hash) != 2*sha256.Size {
		d.sum = sha1.New() // git's: of the file with its size in front
		fmt.Fprintf(d.sum, "blob %d\x00", d.entry.size)
	}
	if err := d.part.Truncate(keep); err != nil {
		return err
	}
	if _, err := d.part.Seek(0, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(d.sum, files.Heed(ctx, d.part))
	d.done = n
	return err
}

func (d *download) fetch(ctx context.Context) error {
	for tries := 1; d.done < d.entry.size; {
		before := d.done
		err := d.attempt(ctx)
		if err == nil {
			continue
		}
		if d.done > before {
			tries = 1
		}
		pause, ok := again(err, tries)
		if !ok {
			return err
		}
		tries++
		if err := d.wait(ctx, pause); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(d.sum.Sum(nil)); got != d.entry.hash {
		name := "SHA-256"
		if len(got) == 2*sha1.Size {
			name = "git hash"
		}
		return &wrongHash{name, got, d.entry.hash}
	}
	return nil
}

// attempt fetches from where the file ends.
func (d *download) attempt(ctx context.Context) error {
	inner, alive, end := guarded(ctx)
	defer end()
	res, err := d.get(inner, d.repo, d.address, d.done)
	if failed := (*statusError)(nil); errors.As(err, &failed) && failed.status == http.StatusRequestedRangeNotSatisfiable && d.done > 0 {
		return d.restart(ctx, 0)
	}
	if err != nil {
		return caused(inner, err)
	}
	defer res.Body.Close()
	if d.done > 0 && (res.StatusCode != http.StatusPartialContent || !strings.HasPrefix(res.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.done))) {
		if res.StatusCode == http.StatusPartialContent {
			return fmt.Errorf("the server sends %q, asked for bytes from %d on", printed(res.Header.Get("Content-Range")), d.done)
		}
		if err := d.restart(ctx, 0); err != nil { // it sends all of it
			return err
		}
	}
	body := &progressReader{aliveReader{res.Body, alive}, d}
	_, err = io.Copy(io.MultiWriter(d.part, d.sum), io.LimitReader(body, d.entry.size-d.done))
	if err != nil {
		return caused(inner, err)
	}
	if d.done < d.entry.size {
		return fmt.Errorf("%w: %d bytes came, expected %d", io.ErrUnexpectedEOF, d.done, d.entry.size)
	}
	return nil
}

// progressReader counts what passes.
type progressReader struct {
	aliveReader
	d *download
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.aliveReader.Read(b)
	p.d.done += int64(n)
	if p.d.Progress != nil {
		p.d.Progress(p.d.entry.name, p.d.done, p.d.entry.size)
	}
	return n, err
}

// distinct is an error if the file system takes the name of a file for that of another one, which is there: Windows and macOS do for names that differ
// in capitals alone.
func distinct(snapshot string, before []entry, e entry) error {
	for _, other := range before {
		if !strings.EqualFold(other.name, e.name) || other.hash == e.hash {
			continue
		}
		a, err := os.Stat(filepath.Join(snapshot, filepath.FromSlash(other.name)))
		if err != nil {
			continue
		}
		if b, err := os.Stat(filepath.Join(snapshot, filepath.FromSlash(e.name))); err == nil && os.SameFile(a, b) {
			return fmt.Errorf("%s and %s are one file on this file system: set HF_HUB_CACHE to a folder where names differ by capitals", other.name, e.name)
		}
	}
	return nil
}

// link makes a file of the snapshot out of a blob.
func link(ctx context.Context, blob, name string) error {
	if err := files.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	target, err := filepath.Rel(filepath.Dir(name), blob)
	if err != nil {
		return err
	}
	return replace(name, func(temporary string) error { // also the link of a file that is gone
		if os.Symlink(target, temporary) == nil && isFile(temporary) { // Wine says that it has made one, and has not
			return nil
		}
		if files.Link(blob, temporary) == nil { // who has no right to make symbolic links, as is the rule on Windows
			return nil
		}
		return files.Copy(ctx, temporary, os.DirFS(filepath.Dir(blob)), filepath.Base(blob)) // a file system without links, as FAT
	})
}

// replace makes a file under another name and then gives it its own.
func replace(name string, create func(temporary string) error) error {
	temporary := fmt.Sprintf("%s.%016x.tmp", name, rand.Uint64()) // that nobody else makes at the same time
	err := create(temporary)
	if err == nil {
		err = files.Rename(temporary, name)
	}
	if err != nil {
		_ = os.Remove(temporary) // it may not be there
	}
	return err
}
