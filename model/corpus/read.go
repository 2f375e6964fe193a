package corpus

import (
	"cmp"
	"compress/bzip2"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vkcome/vkcome/model/chat"
	"github.com/vkcome/vkcome/model/files"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/pierrec/lz4/v4"
)

const (
	maxDocument = 64 << 20  // bytes of a line or a row; the longest books have some 10 MB
	maxText     = 1 << 30   // bytes of all text that is kept, and of a plain file
	readSize    = 256 << 10 // bytes that are read at once
	maxWindow   = 128 << 20 // bytes that a zstd frame may look back: what zstd --long writes
	shownFields = 12        // in a message
)

var (
	// errEnough ends the reading of a corpus; it is not an error of it.
	errEnough   = errors.New("enough documents")
	errLongLine = fmt.Errorf("longer than %d MiB", maxDocument>>20)
	errNotUTF8  = errors.New("not UTF-8 text")
	// errNull is of a row that has null instead of a text. Such rows are left out and counted.
	errNull = errors.New("null")
)

// sink takes the documents of a corpus one by one.
type sink interface {
	// want moves to the next document and says whether its text is needed, so that others need not be decoded. Its error ends the reading.
	want() (bool, error)
	// more takes a part of the text of the document that want spoke of, take what is left of it.
	more(text string) error
	take(text string) error
	// null counts the document that want spoke of as one without a text.
	null()
}

// form makes the text of a document out of a row's fields: a string, int64, float64, bool, []string or nil each. errNull of text leaves the
// row out.
type form struct {
	fields []string
	text   func(values []any) (string, error)
	chat   *chat.Template // instead of text: the one field holds messages
}

// hand hands the text of a row on.
func (f form) hand(values []any, s sink) error {
	text, err := f.text(values)
	if errors.Is(err, errNull) {
		s.null()
		return nil
	}
	if err != nil {
		return err
	}
	return s.take(text)
}

// oneField is the form of rows whose text stands in one field.
func oneField(name string) form {
	return form{fields: []string{name}, text: func(values []any) (string, error) { return asText(name, values[0]) }}
}

// asText is the text of a field; errNull if it is null.
func asText(name string, value any) (string, error) {
	if value == nil {
		return "", errNull
	}
	text, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("field %q is %s, expected text; choose another with corpus.Options.Field", name, describe(value))
	}
	return text, nil
}

func describe(value any) string {
	switch value.(type) {
	case string:
		return "text"
	case int64, float64:
		return "a number"
	case bool:
		return "true or false"
	case []string:
		return "a list"
	}
	return "an object or a mixed list"
}

// missing is the error of a row without a field; there lists those it has.
func missing(field string, there []string) error {
	slices.Sort(there)
	list := strings.Join(there[:min(len(there), shownFields)], ", ")
	switch {
	case len(there) == 0:
		list = "none"
	case len(there) > shownFields:
		list += fmt.Sprintf(" and %d more", len(there)-shownFields)
	}
	return fmt.Errorf("no field %q; choose one with corpus.Options.Field, there are: %.400s", field, list)
}

// suffixes are the endings of files that a directory is searched for.
var suffixes = []string{".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".csv", ".tsv"}

// compressions are the endings of compressed files, and what decompresses them with bounded memory.
var compressions = []struct {
	ending string
	open   func(r io.Reader) (io.Reader, func(), error)
}{
	{".gz", func(r io.Reader) (io.Reader, func(), error) {
		z, err := gzip.NewReader(r)
		return z, nil, err
	}},
	{".zst", func(r io.Reader) (io.Reader, func(), error) {
		z, err := newZstd(r)
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}},
	{".bz2", func(r io.Reader) (io.Reader, func(), error) { return bzip2.NewReader(r), nil, nil }},
	{".lz4", func(r io.Reader) (io.Reader, func(), error) { return lz4.NewReader(r), nil, nil }},
	{".br", func(r io.Reader) (io.Reader, func(), error) { return brotli.NewReader(r), nil, nil }},
}

// unread are endings of files of data that are not read here, and what to do with them.
var unread = map[string]string{
	".arrow":    "write it as Parquet: datasets.load_from_disk(DIR) and to_parquet(FILE) in Python",
	".feather":  "write it as Parquet",
	".xz":       "decompress it, or compress it with zstd",
	".zip":      "unpack it",
	".tar":      "unpack it",
	".tgz":      "unpack it",
	".7z":       "unpack it",
	".avro":     "write it as JSON lines or Parquet",
	".orc":      "write it as JSON lines or Parquet",
	".pkl":      "write it as JSON lines or Parquet",
	".bin":      "give token ids as a JSON array, or text",
	".npy":      "give token ids as a JSON array, or text",
	".gguf":     "this is a model",
	".pdf":      "write its text as .txt",
	".tfrecord": "write it as JSON lines or Parquet",
}

// kind is a file's ending without a compression's.
func kind(path string) string {
	path = strings.ToLower(path)
	for _, c := range compressions {
		path = strings.TrimSuffix(path, c.ending)
	}
	return filepath.Ext(path)
}

// instead says of which kinds files are that are not read, for a folder without others.
func instead(names []string) string {
	var kinds []string
	for _, name := range names {
		if k := kind(name); unread[k] != "" && !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) == 0 {
		return ""
	}
	slices.Sort(kinds)
	return fmt.Sprintf("; it has files in %s, which are not read: %s", strings.Join(kinds, ", "), unread[kinds[0]])
}

// found is what a source means.
type found struct {
	files []string
	name  string   // what to call it
	left  []string // files beside them that were not taken
	// partial tells that not all files of the split are there, if so.
	partial string
}

// expand gives the files that a path means: itself, a split of a directory, DIR:SPLIT, DIR:CONFIG:SPLIT, or those that match a glob, sorted.
func expand(path string, test bool) (*found, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return folder(path, "", test)
	case err == nil:
		return &found{files: []string{path}, name: filepath.Base(path)}, nil
	}
	for i := len(path) - 1; i > 0; i-- {
		if path[i] != ':' {
			continue
		}
		if info, err := os.Stat(path[:i]); err == nil && info.IsDir() {
			return folder(path[:i], path[i+1:], test)
		}
	}
	if !strings.ContainsAny(path, "*?[") {
		return nil, err
	}
	matches, err := filepath.Glob(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := &found{name: filepath.Base(path)}
	for _, match := range matches {
		more, err := expand(match, test)
		if err != nil {
			return nil, err
		}
		f.files, f.left = append(f.files, more.files...), append(f.left, more.left...)
		f.partial = cmp.Or(f.partial, more.partial)
	}
	if len(f.files) == 0 {
		return nil, fmt.Errorf("%s: no such file", path)
	}
	return f, nil
}

// read hands the documents of a file to a sink.
func read(ctx context.Context, path string, f form, s sink) error {
	if f.chat != nil {
		return located(path, f.conversations(ctx, path, s))
	}
	var err error
	switch kind(path) {
	case ".parquet":
		err = openParquet(ctx, path, func(r io.ReaderAt, size int64) error { return readParquet(r, size, f, s) })
	case ".json", ".jsonl", ".ndjson":
		err = decompressed(ctx, path, func(r io.Reader) error {
			return readJSON(r, f.fields, func(raw []byte) error { return f.document(raw, s) })
		})
	case ".csv", ".tsv":
		err = decompressed(ctx, path, func(r io.Reader) error {
			return readCSV(r, separators[kind(path)], func(names []string, values []any) error { return f.csvRow(names, values, s) })
		})
	default:
		if advice := unread[kind(path)]; advice != "" {
			err = fmt.Errorf("files in %s are not read: %s", kind(path), advice)
			break
		}
		err = readText(ctx, path, s)
	}
	return located(path, err)
}

// located says in which file an error is, unless it is none or says so itself.
func located(path string, err error) error {
	if err == nil || errors.Is(err, errEnough) {
		return err
	}
	var located *fs.PathError
	var wrong *files.Error
	if errors.As(err, &located) || errors.As(err, &wrong) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// open opens a file, unless git left a pointer in its place.
func open(path string) (*os.File, error) {
	f, err := files.Open(path, 0) // what is read of it is bounded, its size is not
	if err != nil {
		return nil, err
	}
	const lfs = "version https://git-lfs.github.com/spec/"
	head := make([]byte, len(lfs))
	if n, _ := f.ReadAt(head, 0); n == len(lfs) && string(head) == lfs {
		return nil, errors.Join(errors.New("git left a pointer to the file in its place; get it with: git lfs pull"), f.Close())
	}
	return f, nil
}

// decompressed opens a file, through what its ending says that it is compressed with.
func decompressed(ctx context.Context, path string, use func(r io.Reader) error) error {
	f, err := open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	ending := strings.ToLower(filepath.Ext(path))
	for _, c := range compressions {
		if c.ending != ending {
			continue
		}
		z, done, err := c.open(files.Heed(ctx, f))
		if err != nil {
			return fmt.Errorf("%s: %w", ending[1:], err)
		}
		if done != nil {
			defer done()
		}
		return use(files.Heed(ctx, z))
	}
	return use(files.Heed(ctx, f))
}

// heardAt is files.Heed for files that are not read in their order.
type heardAt struct {
	ctx context.Context
	r   io.ReaderAt
}

func (h heardAt) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) && err == nil {
		if err = h.ctx.Err(); err == nil {
			var m int
			m, err = h.r.ReadAt(p[n:min(len(p), n+64*readSize)], at+int64(n))
			n += m
		}
	}
	return n, err
}

// readText reads a plain file: one document.
func readText(ctx context.Context, path string, s sink) error {
	if ok, err := s.want(); err != nil || !ok {
		return err
	}
	return decompressed(ctx, path, func(r io.Reader) error {
		part := make([]byte, 0, readSize+utf8.UTFMax) // what is left of a character, and what comes after it
		for size := 0; ; {
			n, err := r.Read(part[len(part) : len(part)+readSize])
			part = part[:len(part)+n]
			if size += n; size > maxText {
				return fmt.Errorf("more than %d GiB of text; split the file", maxText>>30)
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			whole := len(part)
			if err == nil {
				whole = wholeRunes(part)
			}
			if !utf8.Valid(part[:whole]) {
				return errNotUTF8
			}
			if err != nil {
				return s.take(string(part))
			}
			if err := s.more(string(part[:whole])); err != nil {
				return err
			}
			part = part[:copy(part, part[whole:])]
		}
	})
}

// wholeRunes is how many bytes of a text there are before a last character that breaks off.
func wholeRunes(text []byte) int {
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if at := len(text) - back; utf8.RuneStart(text[at]) {
			if !utf8.FullRune(text[at:]) {
				return at
			}
			break
		}
	}
	return len(text)
}

// document hands on the text of a JSON object.
func (f form) document(raw []byte, s sink) error {
	if ok, err := s.want(); err != nil || !ok {
		return err
	}
	if !utf8.Valid(raw) {
		return errNotUTF8
	}
	var row map[string]json.RawMessage
	if err := json.Unmarshal(raw, &row); err != nil {
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			return fmt.Errorf("expected an object with a field %q, got a %s (lists of token ids go to corpus.ReadTokens)", f.fields[0], wrong.Value)
		}
		return err
	}
	values := make([]any, len(f.fields))
	for i, name := range f.fields {
		field, ok := row[name]
		if !ok {
			var there []string
			for name := range row {
				there = append(there, name)
			}
			return missing(name, there)
		}
		if err := json.Unmarshal(field, &values[i]); err != nil {
			return err
		}
		if list, ok := values[i].([]any); ok {
			values[i] = texts(list)
		}
	}
	return f.hand(values, s)
}

// texts is list as []string, or list where it holds anything but texts and whole numbers.
func texts(list []any) any {
	out := make([]string, len(list))
	for i, v := range list {
		switch v := v.(type) {
		case string:
			out[i] = v
		case int64: // JSON's are float64
			out[i] = strconv.FormatInt(v, 10)
		default:
			return list
		}
	}
	return out
}

// at says where an error is, unless it is none.
func at(what string, n int, err error) error {
	if err == nil || errors.Is(err, errEnough) {
		return err
	}
	return fmt.Errorf("%s %d: %w", what, n, err)
}
