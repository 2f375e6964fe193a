package corpus

import (
	"bufio"
	"bytes"
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

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	maxDocument = 64 << 20  // bytes of a line or a row; the longest books have some 10 MB
	maxText     = 1 << 30   // bytes of all text that is kept, and of a plain file
	maxWindow   = 128 << 20 // bytes that a zstd frame may look back: what zstd --long writes
	shownFields = 12        // in a message
)

var (
	// errEnough ends the reading of a corpus; it is not an error of it.
	errEnough   = errors.New("enough documents")
	errLongLine = fmt.Errorf("longer than %d MiB", maxDocument>>20)
	errNotUTF8  = errors.New("not UTF-8 text")
)

// sink takes the documents of a corpus one by one.
type sink interface {
	// want moves to the next document and says whether its text is needed, so that others need not be decoded. Its error ends the reading.
	want() (bool, error)
	// take takes the text of the document that want spoke of.
	take(text string) error
}

// form makes the text of a document out of a row's fields: a string, int64, float64, bool, []string or nil each.
type form struct {
	fields []string
	text   func(values []any) (string, error)
}

// oneField is the form of rows whose text stands in one field.
func oneField(name string) form {
	return form{[]string{name}, func(values []any) (string, error) { return asText(name, values[0]) }}
}

func asText(name string, value any) (string, error) {
	text, ok := value.(string)
	if !ok {
		return "", fmt.Errorf("field %q is %s, expected text; choose another with corpus.Options.Field", name, describe(value))
	}
	return text, nil
}

func describe(value any) string {
	switch value.(type) {
	case nil:
		return "null"
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
var suffixes = []string{".txt", ".json", ".jsonl", ".ndjson", ".parquet"}

// kind is a file's ending without a compression's.
func kind(path string) string {
	path = strings.ToLower(path)
	return filepath.Ext(strings.TrimSuffix(strings.TrimSuffix(path, ".gz"), ".zst"))
}

// expand gives the files that a path means: itself, those below a directory, or those that match a glob, sorted.
func expand(path string) ([]string, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return below(path)
	case err == nil:
		return []string{path}, nil
	case !strings.ContainsAny(path, "*?["):
		return nil, err
	}
	matches, err := filepath.Glob(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var files []string
	for _, match := range matches {
		more, err := expand(match)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no such file", path)
	}
	return files, nil
}

// below finds the files of a directory that have a known ending, hidden ones left out.
func below(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != dir && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() || !slices.Contains(suffixes, kind(path)):
			return nil
		}
		info, err := os.Stat(path) // the Hugging Face cache consists of links
		if err == nil && info.Mode().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no file below it ends in %s, or these with .gz or .zst", dir, strings.Join(suffixes, ", "))
	}
	slices.Sort(files)
	return files, nil
}

// read hands the documents of a file to a sink.
func read(path string, f form, s sink) error {
	var err error
	switch kind(path) {
	case ".parquet":
		err = openParquet(path, func(r io.ReaderAt, size int64) error { return readParquet(r, size, f, s) })
	case ".json", ".jsonl", ".ndjson":
		err = decompressed(path, func(r io.Reader) error {
			return readJSON(r, func(raw []byte) error { return f.document(raw, s) })
		})
	default:
		err = readText(path, s)
	}
	return located(path, err)
}

// located says in which file an error is, unless it is none or says so itself.
func located(path string, err error) error {
	if err == nil || errors.Is(err, errEnough) {
		return err
	}
	var located *fs.PathError
	if errors.As(err, &located) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// decompressed opens a file, through gzip or zstd where its ending says so.
func decompressed(path string, use func(r io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	switch strings.ToLower(filepath.Ext(path)) {
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			return fmt.Errorf("gzip: %w", err)
		}
		return use(z)
	case ".zst":
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return fmt.Errorf("zstd: %w", err)
		}
		defer z.Close()
		return use(z)
	}
	return use(f)
}

// readText reads a plain file: one document.
func readText(path string, s sink) error {
	if ok, err := s.want(); err != nil || !ok {
		return err
	}
	return decompressed(path, func(r io.Reader) error {
		raw, err := io.ReadAll(io.LimitReader(r, maxText+1))
		switch {
		case err != nil:
			return err
		case len(raw) > maxText:
			return fmt.Errorf("more than %d GiB of text; split the file", maxText>>30)
		case !utf8.Valid(raw):
			return errNotUTF8
		}
		return s.take(string(raw))
	})
}

// readJSON hands on the objects of an array, or one a line.
func readJSON(r io.Reader, take func(raw []byte) error) error {
	b := bufio.NewReaderSize(r, 1<<18)
	if mark, _ := b.Peek(3); string(mark) == "\ufeff" {
		_, _ = b.Discard(3) // they are there
	}
	line := 1
	for {
		c, err := b.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch c {
		case '\n':
			line++
			continue
		case ' ', '\t', '\r':
			continue
		}
		if err := b.UnreadByte(); err != nil {
			return err
		}
		if c == '[' {
			return readArray(b, take)
		}
		return readLines(b, line, take)
	}
}

func readLines(b *bufio.Reader, line int, take func(raw []byte) error) error {
	var long []byte // a line that the buffer does not hold
	for ; ; line++ {
		long = long[:0]
		raw, err := b.ReadSlice('\n')
		for errors.Is(err, bufio.ErrBufferFull) {
			if long = append(long, raw...); len(long) > maxDocument {
				return fmt.Errorf("line %d: %w", line, errLongLine)
			}
			raw, err = b.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("line %d: %w", line, err)
		}
		last := err != nil
		if len(long) > 0 {
			if long = append(long, raw...); len(long) > maxDocument {
				return fmt.Errorf("line %d: %w", line, errLongLine)
			}
			raw = long
		}
		if len(bytes.TrimSpace(raw)) > 0 {
			if err := take(raw); err != nil {
				return at("line", line, err)
			}
		}
		if last {
			return nil
		}
	}
}

// at says where an error is, unless it is none.
func at(what string, n int, err error) error {
	if err == nil || errors.Is(err, errEnough) {
		return err
	}
	return fmt.Errorf("%s %d: %w", what, n, err)
}

// leash ends a reader after so many bytes.
type leash struct {
	r    io.Reader
	left int
}

func (l *leash) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLongLine
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

func readArray(r io.Reader, take func(raw []byte) error) error {
	limited := &leash{r, maxDocument}
	d := json.NewDecoder(limited)
	if _, err := d.Token(); err != nil {
		return err
	}
	n := 1
	for ; d.More(); n++ {
		limited.left = maxDocument
		var raw json.RawMessage
		err := d.Decode(&raw)
		if err == nil {
			err = take(raw)
		}
		if err != nil {
			return at("element", n, err)
		}
	}
	limited.left = maxDocument
	if _, err := d.Token(); err != nil {
		return at("element", n, fmt.Errorf("the array has no end: %w", err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the array")
	}
	return nil
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
	text, err := f.text(values)
	if err != nil {
		return err
	}
	return s.take(text)
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
