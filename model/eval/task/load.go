package task

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/hub"
)

// maxDocuments of a split; HellaSwag and WinoGrande have some 40,000 to train on.
const maxDocuments = 1 << 20

// Set is a task's documents.
type Set struct {
	Task *Task
	Hash string // SHA-256 of the documents that were read, as JSON, and of the task's definition

	docs, shots []document
	shotsRead   bool
}

type document struct {
	record corpus.Record
	item   item
}

// Len is how many documents are evaluated.
func (s *Set) Len() int { return len(s.docs) }

// Load reads the task's documents. A split that is not there gives an error that says how to fetch it; a row that is not as it should be,
// one that names its file, row and field.
func (t *Task) Load(ctx context.Context, src Source) (*Set, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(t.Config(0)); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	s := &Set{Task: t}
	var err error
	if s.docs, err = t.read(ctx, src, t.Dataset.Test, h); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	if src.Shots > 0 && t.Output != Rolling {
		s.shotsRead = true
		if s.shots = s.docs; t.Dataset.Shots != t.Dataset.Test {
			if s.shots, err = t.read(ctx, src, t.Dataset.Shots, h); err != nil {
				return nil, fmt.Errorf("%s: %w", t.Name, err)
			}
		}
	}
	s.Hash = hex.EncodeToString(h.Sum(nil))
	return s, nil
}

// read reads the documents of a split, and adds them to a hash.
func (t *Task) read(ctx context.Context, src Source, split string, h hash.Hash) ([]document, error) {
	files, err := t.Dataset.files(ctx, src, split)
	if err != nil {
		return nil, err
	}
	var docs []document
	fmt.Fprintf(h, "%s\n", split)
	e := json.NewEncoder(h)
	for _, file := range files {
		err := corpus.Rows(ctx, file, func(record corpus.Record) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			f := fields{record: record}
			d := document{record, t.item(&f)}
			if f.err != nil {
				return f.err
			}
			if docs = append(docs, d); len(docs) > maxDocuments {
				return fmt.Errorf("more than %d documents", maxDocuments)
			}
			return e.Encode(record)
		})
		if err != nil {
			return nil, err
		}
	}
	if len(docs) == 0 {
		return nil, fmt.Errorf("%s: no documents", strings.Join(files, ", "))
	}
	return docs, nil
}

// endings of files of rows, the first that a folder has being taken.
var endings = []string{".parquet", ".jsonl", ".json", ".ndjson", ".jsonl.gz", ".json.gz", ".ndjson.gz", ".jsonl.zst", ".json.zst", ".ndjson.zst"}

// folders are those of a repository that may hold a split's files.
func (d Dataset) folders() []string {
	if d.Config != "" && d.Config != "default" {
		return []string{d.Config}
	}
	return []string{"data", "", "default", "plain_text"}
}

// files gives the files of a split.
func (d Dataset) files(ctx context.Context, src Source, split string) ([]string, error) {
	var partial error
	if src.Dir != "" {
		for _, id := range d.IDs {
			files, err := d.below(filepath.Join(src.Dir, filepath.FromSlash(id)), split)
			if err == nil && len(files) > 0 {
				return files, nil
			}
			partial = cmp.Or(partial, err)
		}
		if partial != nil {
			return nil, partial
		}
		return nil, fmt.Errorf("%s has no %s; expected .parquet, .jsonl or .json there, as %s has on the hub",
			src.Dir, filepath.Join(filepath.FromSlash(d.IDs[0]), d.folders()[0], split+".*"), d.IDs[0])
	}
	for _, id := range d.IDs {
		dir, err := src.Hub.Snapshot(hub.Repo{Kind: hub.Datasets, ID: id})
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files, err := d.below(dir, split)
		if err == nil && len(files) > 0 {
			return files, nil
		}
		partial = cmp.Or(partial, err)
	}
	var err error
	for _, folder := range d.folders() {
		for _, pattern := range []string{split + "-*.parquet", split + "/*.parquet"} { // as they are written today, and as the hub converts
			if folder != "" {
				pattern = folder + "/" + pattern
			}
			var files []string
			files, _, err = src.Hub.Files(ctx, hub.Repo{Kind: hub.Datasets, ID: d.IDs[0]}, pattern)
			if err == nil {
				err = wholeSplit(split, files)
			}
			if err == nil {
				return files, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return nil, d.absent(split, err)
			}
		}
	}
	return nil, d.absent(split, cmp.Or(partial, err))
}

// absent says how to get a split that is not there: not in the cache and offline, or err when it was looked for on the hub.
func (d Dataset) absent(split string, err error) error {
	what := d.IDs[0]
	if d.Config != "" {
		what += " (" + d.Config + ")"
	}
	why := "and this is offline or the hub has it by another name"
	var failed *url.Error
	var partial *partialError
	switch {
	case errors.As(err, &partial):
		why = "where only " + partial.Error()
	case errors.As(err, &failed):
		why = "and could not be fetched: " + failed.Err.Error()
	case !errors.Is(err, fs.ErrNotExist):
		why = "and could not be fetched: " + err.Error()
	}
	return fmt.Errorf("split %s of %s is not in the cache, %s; fetch it with: hf download %s --repo-type dataset, or name a folder that has it with task.Source.Dir DIR", split, what, why, d.IDs[0])
}

// partialError is of a split some of whose files are missing.
type partialError struct {
	split, folder string
	have, want    int
}

func (e *partialError) Error() string {
	return fmt.Sprintf("%d of %d files of split %s are there, in %s", e.have, e.want, e.split, e.folder)
}

// wholeSplit refuses files whose names say that there are more of them.
func wholeSplit(split string, files []string) error {
	if have, want := corpus.Shards(files); have < want {
		return &partialError{split, filepath.Dir(files[0]), have, want}
	}
	return nil
}

// below finds a split's files in the folder of a repository. If there is none but of a split that is not whole, the error says so.
func (d Dataset) below(dir, split string) (files []string, partial error) {
	shard := regexp.MustCompile(`^` + regexp.QuoteMeta(split) + `(-[^/]*)?$`)
	for _, folder := range d.folders() {
		folder = filepath.Join(dir, filepath.FromSlash(folder))
		for _, look := range []struct {
			folder string
			all    bool
		}{{folder, false}, {filepath.Join(folder, split), true}} {
			entries, err := os.ReadDir(look.folder)
			if err != nil {
				continue
			}
			for _, ending := range endings {
				var files []string
				for _, e := range entries {
					stem, ok := strings.CutSuffix(e.Name(), ending)
					if !ok || !look.all && !shard.MatchString(stem) {
						continue
					}
					path := filepath.Join(look.folder, e.Name())
					if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() { // a link of the cache may lead to a file that is not there
						files = append(files, path)
					}
				}
				if whole := filepath.Join(look.folder, split+ending); slices.Contains(files, whole) {
					return []string{whole}, nil
				}
				err := wholeSplit(split, files)
				if err == nil && len(files) > 0 {
					slices.Sort(files)
					return files, nil
				}
				partial = cmp.Or(partial, err)
			}
		}
	}
	return nil, partial
}

// fields reads a document's fields; the first error stays, and what is read after it is empty.
type fields struct {
	record corpus.Record
	err    error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// get is a field's value.
func (f *fields) get(name string) any {
	value, ok := f.record.Get(name)
	if !ok {
		var there []string
		for _, field := range f.record[:min(len(f.record), 12)] {
			there = append(there, field.Name)
		}
		f.fail("no field %q; there are: %.200s", name, strings.Join(there, ", "))
	}
	return value
}

func (f *fields) text(name string) string {
	text, ok := f.get(name).(string)
	if !ok {
		f.fail("field %q is no text", name)
	}
	return text
}

func (f *fields) texts(name string) []string { return f.list(name, f.get(name)) }

func (f *fields) list(name string, value any) []string {
	list, ok := value.([]any)
	out := make([]string, len(list))
	for i := range list {
		if out[i], ok = list[i].(string); !ok {
			break
		}
	}
	if !ok || len(list) == 0 {
		f.fail("field %q is no list of texts", name)
	}
	return out
}

// index is a number below n, or text of one.
func (f *fields) index(name string, n int) int {
	value := f.get(name)
	number, ok := value.(int64)
	if text, isText := value.(string); isText {
		parsed, err := strconv.ParseUint(text, 10, 31)
		number, ok = int64(parsed), err == nil
	}
	if !ok || number < 0 || number >= int64(n) {
		f.fail("field %q is %.40q, expected a number from 0 to %d", name, fmt.Sprint(value), n-1)
		return 0
	}
	return int(number)
}

// labelled gives the texts of choices that have labels, and which one has this label.
func (f *fields) labelled(name, label string) ([]string, int) {
	choices, ok := f.get(name).(corpus.Record)
	if !ok {
		f.fail(`field %q is no object with the lists "text" and "label"`, name)
		return nil, 0
	}
	var lists [2][]string
	for i, inner := range []string{"text", "label"} {
		value, _ := choices.Get(inner)
		lists[i] = f.list(name+"."+inner, value)
	}
	gold := slices.Index(lists[1], label)
	if gold < 0 || gold >= len(lists[0]) {
		f.fail("the right answer is %.40q, expected one of the labels %.100q, of %d texts", label, lists[1], len(lists[0]))
		return lists[0], 0
	}
	return lists[0], gold
}
