package safetensors

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/internal/pages"
)

// Writer streams tensors into a file, or into shards with an index. The sizes are known from the start, so the header
// goes first and no tensor is held in memory. Tensors come in the order of the entries, each whole by Write or piece by
// piece through Tensor. After an error every further call returns that error and Close removes what was written.
type Writer struct {
	dir     string
	parts   []part
	index   []byte // nil for a single file
	part    int    // the part being written
	next    int    // the entry of that part that comes next
	left    int    // bytes that the entry before it still lacks
	file    *files.File
	buf     *bufio.Writer
	written pages.Written
	created []string
	err     error
}

// part is one file to be written.
type part struct {
	name    string
	entries []Entry
	header  []byte
}

// Create begins a single file that holds entries in the given order. A nil metadata means {"format": "pt"}. An existing
// file is refused: it might be the one that the tensors are read from.
func Create(path string, entries []Entry, metadata map[string]string) (*Writer, error) {
	return create(filepath.Dir(path), []part{{name: filepath.Base(path), entries: entries}}, metadata, nil)
}

// CreateSharded begins model.safetensors in dir, or, if the data would exceed maxShardBytes, shards named
// model-00001-of-0000N.safetensors and model.safetensors.index.json. A tensor is never split, so one that is larger
// than maxShardBytes gets a shard of its own. Zero or less means no limit. The index is written by Close.
func CreateSharded(dir string, entries []Entry, maxShardBytes int) (*Writer, error) {
	var groups [][]Entry
	used, total := 0, 0
	for _, e := range entries {
		size, err := e.Size()
		if err != nil {
			return nil, fmt.Errorf("safetensors: %s: %w", dir, err)
		}
		if len(groups) == 0 || maxShardBytes > 0 && used > 0 && size > maxShardBytes-used {
			groups, used = append(groups, nil), 0
		}
		last := &groups[len(groups)-1]
		*last = append(*last, e)
		used += size
		total += size
	}
	if len(groups) <= 1 {
		return Create(filepath.Join(dir, SingleFile), entries, nil)
	}
	parts, where, seen := make([]part, len(groups)), map[string]string{}, map[string]bool{}
	for i, group := range groups {
		parts[i] = part{name: fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(groups)), entries: group}
		for _, e := range group {
			if seen[e.Name] {
				return nil, fmt.Errorf("safetensors: %s: tensor %s: named twice", dir, e.Name)
			}
			seen[e.Name], where[e.Name] = true, parts[i].name
		}
	}
	index := map[string]any{"metadata": map[string]int{"total_size": total}, "weight_map": where}
	var text bytes.Buffer
	enc := json.NewEncoder(&text) // it sorts the keys of maps: the same entries give the same bytes
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(index); err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", dir, err)
	}
	return create(dir, parts, nil, text.Bytes())
}

func create(dir string, parts []part, metadata map[string]string, index []byte) (*Writer, error) {
	w := &Writer{dir: dir, parts: parts, index: index}
	for i := range parts {
		var err error
		if parts[i].header, err = encodeHeader(parts[i].entries, metadata); err != nil {
			return nil, fmt.Errorf("safetensors: %s: %w", filepath.Join(dir, parts[i].name), err)
		}
	}
	if err := w.open(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// open starts the current part.
func (w *Writer) open() error {
	path := w.path()
	f, err := files.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return w.fail(err)
	}
	w.created = append(w.created, path)
	w.file, w.buf, w.written = f, bufio.NewWriterSize(f, 1<<20), pages.Written{}
	if _, err := w.buf.Write(w.parts[w.part].header); err != nil {
		return w.fail(err)
	}
	return nil
}

func (w *Writer) path() string { return filepath.Join(w.dir, w.parts[w.part].name) }

// fail keeps the first error.
func (w *Writer) fail(err error) error {
	if w.err == nil {
		w.err = fmt.Errorf("safetensors: %w", err)
	}
	return w.err
}

// Write writes a whole tensor, which must be the next of the entries and data as long as its dtype and shape say.
func (w *Writer) Write(name string, data []byte) error {
	t, err := w.Tensor(name)
	if err != nil {
		return err
	}
	if len(data) != w.left {
		return w.fail(fmt.Errorf("%s: tensor %s: %d bytes, expected %d", w.path(), name, len(data), w.left))
	}
	_, err = t.Write(data)
	return err
}

// Tensor gives a writer for the data of a tensor, which must be the next of the entries. Exactly the bytes that its
// dtype and shape need must pass through it before the next tensor or Close.
func (w *Writer) Tensor(name string) (io.Writer, error) {
	if err := w.finishTensor(); err != nil {
		return nil, err
	}
	if w.next == len(w.parts[w.part].entries) && w.part+1 < len(w.parts) {
		if err := w.finishPart(); err != nil {
			return nil, err
		}
		w.part, w.next = w.part+1, 0
		if err := w.open(); err != nil {
			return nil, err
		}
	}
	entries := w.parts[w.part].entries
	if w.next == len(entries) {
		return nil, w.fail(fmt.Errorf("%s: tensor %s: all %d tensors are written", w.path(), name, len(entries)))
	}
	e := entries[w.next]
	if e.Name != name {
		return nil, w.fail(fmt.Errorf("%s: tensor %s: the next is %s", w.path(), name, e.Name))
	}
	w.next++
	w.left, _ = e.Size() // encodeHeader checked it
	return tensorWriter{w, w.part, w.next}, nil
}

// tensorWriter writes into the tensor before entry next of a part, as long as that is the current one.
type tensorWriter struct {
	w          *Writer
	part, next int
}

func (t tensorWriter) Write(data []byte) (int, error) {
	w := t.w
	switch {
	case w.err != nil:
		return 0, w.err
	case w.file == nil || w.part != t.part || w.next != t.next:
		return 0, w.fail(fmt.Errorf("%s: tensor %s: written after it was finished", w.path(), w.parts[t.part].entries[t.next-1].Name))
	case len(data) > w.left:
		return 0, w.fail(fmt.Errorf("%s: tensor %s: %d bytes too many", w.path(), w.current(), len(data)-w.left))
	}
	n, err := w.buf.Write(data)
	w.left -= n
	if err != nil {
		return n, w.fail(err)
	}
	w.written.Add(w.file.File, n)
	return n, nil
}

// current names the tensor being written.
func (w *Writer) current() string { return w.parts[w.part].entries[w.next-1].Name }

func (w *Writer) finishTensor() error {
	switch {
	case w.err != nil:
		return w.err
	case w.file == nil:
		return w.fail(fmt.Errorf("%s: closed", w.path()))
	case w.left > 0:
		return w.fail(fmt.Errorf("%s: tensor %s: %d bytes are missing", w.path(), w.current(), w.left))
	}
	return nil
}

// finishPart brings the current file to the disk.
func (w *Writer) finishPart() error {
	err := w.buf.Flush()
	if err == nil {
		err = w.file.Sync()
	}
	if err := errors.Join(err, w.file.Close()); err != nil {
		w.file = nil
		return w.fail(err)
	}
	w.file = nil
	return nil
}

// Abort removes what was written.
func (w *Writer) Abort() {
	w.fail(errors.New("given up"))
	w.Close() // which has no other error to tell
}

// Close checks that every tensor was written in full, flushes to the disk and writes the index. If anything is missing
// or went wrong before, it removes the files and says why.
func (w *Writer) Close() error {
	if w.file == nil && w.err == nil {
		return nil // a second Close
	}
	if w.err == nil {
		w.finish()
	}
	if w.err == nil {
		return nil
	}
	if w.file != nil {
		w.file.Close()
		w.file = nil
	}
	for _, path := range w.created {
		os.Remove(path)
	}
	w.created = nil
	return w.err
}

func (w *Writer) finish() {
	if w.finishTensor() != nil {
		return
	}
	if entries := w.parts[w.part].entries; w.next < len(entries) {
		w.fail(fmt.Errorf("%s: tensor %s: not written", w.path(), entries[w.next].Name))
		return
	}
	if w.part+1 < len(w.parts) {
		w.fail(fmt.Errorf("%s: tensor %s: not written", w.path(), w.parts[w.part+1].entries[0].Name))
		return
	}
	if w.finishPart() != nil || w.index == nil {
		return
	}
	path := filepath.Join(w.dir, IndexFile)
	f, err := files.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		w.fail(err)
		return
	}
	w.created = append(w.created, path)
	_, err = f.Write(w.index)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		w.fail(err)
	}
}
