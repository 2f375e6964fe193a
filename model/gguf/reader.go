package gguf

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"math/bits"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/internal/lfs"
)

// File is an opened GGUF file, or all parts of one that is split. Reading it is safe from several goroutines.
type File struct {
	path    string // of the first part
	pairs   []Pair
	values  map[string]any
	tensors map[string]Tensor
	parts   []string
	open    []*files.Stored
}

// Tensor is a tensor in a file.
type Tensor struct {
	Info
	File string // the path it came from, for messages

	data files.Part
}

// Size is the number of bytes of the tensor's data.
func (t Tensor) Size() int { return t.data.Size() }

// Read reads len(dst) bytes of the tensor's data, which lie row by row, from byte at on, until the File is closed. A file that changed or
// cannot be read is an error with its name; one that matches files.ErrChanged says that it changed.
func (t Tensor) Read(dst []byte, at int) error {
	if err := t.data.Read(dst, at); err != nil {
		return fmt.Errorf("gguf: tensor %s: %w", t.Name, err)
	}
	return nil
}

// The keys of a split file.
const (
	splitNo      = "split.no"
	splitCount   = "split.count"
	splitTensors = "split.tensors.count"

	maxSplits = 1 << 12
)

// splitName is how llama.cpp names the parts of a split file, counted from 1.
var splitName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// SplitOf takes the name of a part of a split file apart: part no of count, counted from 1.
func SplitOf(name string) (prefix string, no, count int, ok bool) {
	m := splitName.FindStringSubmatch(name)
	if m == nil {
		return "", 0, 0, false
	}
	no, _ = strconv.Atoi(m[2]) // five digits
	count, _ = strconv.Atoi(m[3])
	return m[1], no, count, true
}

// Open opens a GGUF file, and all others where it is a part of a split one. Nothing in it is believed before it was held against the size
// of the file. Errors name the file and the key or the tensor.
func Open(path string) (f *File, err error) {
	f = &File{path: path, tensors: map[string]Tensor{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
			f = nil
		}
	}()
	prefix, _, count, split := SplitOf(filepath.Base(path))
	if split {
		f.path = filepath.Join(filepath.Dir(path), fmt.Sprintf("%s-%05d-of-%05d.gguf", prefix, 1, count))
	}
	first, err := f.openFile(f.path)
	if err != nil {
		return f, err
	}
	f.pairs, f.values = first.pairs, first.values
	n, err := first.split(0)
	switch {
	case err != nil:
	case !split && n > 1:
		err = fmt.Errorf("gguf: %s: it is a part of %d, and its name does not end in -00001-of-%05d.gguf: the other parts cannot be found", f.path, n, n)
	case split && n != count:
		err = fmt.Errorf("gguf: %s: %s is %d, the file's name says %d", f.path, splitCount, n, count)
	}
	if err == nil {
		err = f.take(first)
	}
	for no := 1; err == nil && no < n; no++ {
		err = f.part(filepath.Join(filepath.Dir(path), fmt.Sprintf("%s-%05d-of-%05d.gguf", prefix, no+1, n)), no, n)
	}
	if err == nil {
		err = f.checkCount()
	}
	return f, err
}

// OpenBytes reads a whole file that is in memory already; name stands for it in messages.
func OpenBytes(name string, raw []byte) (*File, error) {
	p, err := parse(files.InMemory(name, raw))
	if err != nil {
		return nil, err
	}
	if n, err := p.split(0); err != nil || n > 1 {
		return nil, cmp.Or(err, fmt.Errorf("gguf: %s: it is a part of %d", name, n))
	}
	f := &File{path: name, pairs: p.pairs, values: p.values, tensors: map[string]Tensor{}}
	return f, f.take(p)
}

// part reads a part of a split file behind the first.
func (f *File) part(path string, no, count int) error {
	p, err := f.openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("gguf: %s: missing part %s: %w", f.path, filepath.Base(path), fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	n, err := p.split(no)
	if err == nil && n != count {
		err = fmt.Errorf("gguf: %s: %s is %d, that of the first part %d", path, splitCount, n, count)
	}
	if err != nil {
		return err
	}
	return f.take(p)
}

// take enters a part's tensors.
func (f *File) take(p *parsed) error {
	f.parts = append(f.parts, p.name)
	for _, t := range p.tensors {
		if other, ok := f.tensors[t.Name]; ok {
			return fmt.Errorf("gguf: %s: tensor %s: named twice, in %s too", t.File, t.Name, other.File)
		}
		f.tensors[t.Name] = t
	}
	return nil
}

func (f *File) checkCount() error {
	want, ok := f.values[splitTensors]
	if n, isInt := asInt(want); ok && (!isInt || n != int64(len(f.tensors))) {
		return fmt.Errorf("gguf: %s: %s is %s, the parts hold %d tensors", f.path, splitTensors, shown(want), len(f.tensors))
	}
	return nil
}

// openFile opens a file, which Close will close, and parses it.
func (f *File) openFile(path string) (*parsed, error) {
	in, err := files.OpenStored(path)
	if err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	f.open = append(f.open, in)
	return parse(in)
}

// Path is the path of the file, or of its first part.
func (f *File) Path() string { return f.path }

// Parts lists the paths of the files that were read.
func (f *File) Parts() []string { return slices.Clone(f.parts) }

// Pairs are the metadata in the order of the file.
func (f *File) Pairs() []Pair { return slices.Clone(f.pairs) }

// Value finds a metadata value.
func (f *File) Value(key string) (any, bool) {
	v, ok := f.values[key]
	return v, ok
}

// Names lists the tensors, sorted.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.tensors)) }

// Types counts the tensors by type.
func (f *File) Types() map[string]int {
	count := map[string]int{}
	for _, t := range f.tensors {
		count[t.Type.String()]++
	}
	return count
}

// Lookup finds a tensor by its name.
func (f *File) Lookup(name string) (Tensor, bool) {
	t, ok := f.tensors[name]
	return t, ok
}

// Unchanged is an error if one of the files changed since it was opened: with it ends what was made of its tensors.
func (f *File) Unchanged() error {
	for _, in := range f.open {
		if err := in.Unchanged(); err != nil {
			return fmt.Errorf("gguf: %w", err)
		}
	}
	return nil
}

// Close closes the files: no Tensor can be read after it. A second Close does nothing.
func (f *File) Close() error {
	var err error
	for _, in := range f.open {
		err = errors.Join(err, in.Close())
	}
	f.open, f.tensors = nil, nil
	if err != nil {
		return fmt.Errorf("gguf: %w", err)
	}
	return nil
}

// Limits on what a stranger's file may ask for, far above those of real ones.
const (
	maxHeader   = 1 << 28 // bytes before the tensors' data; a vocabulary of 260,000 tokens takes 15 MB
	maxElements = 1 << 23 // of all arrays together; the vocabulary has three, and its merges
	maxPairs    = 1 << 16 // metadata values; 20 to 60
	maxTensors  = 1 << 18 // a file of 60 layers has about 1,000
	maxKey      = 1 << 10 // bytes; about 40
)

// parsed is one file.
type parsed struct {
	name    string
	pairs   []Pair
	values  map[string]any
	tensors []Tensor
}

// split is how many files the file is a part of, 1 for a whole one. It must be the one that is expected, counted from 0.
func (p *parsed) split(no int) (count int, err error) {
	n, ok := p.values[splitCount]
	if !ok && no == 0 {
		return 1, nil
	}
	all, isInt := asInt(n)
	if !isInt || all < 0 || all > maxSplits {
		return 0, fmt.Errorf("gguf: %s: %s is %s, expected 0 to %d", p.name, splitCount, shown(n), maxSplits)
	}
	if own, isInt := asInt(p.values[splitNo]); !isInt || own != int64(no) {
		return 0, fmt.Errorf("gguf: %s: %s is %s, by its name it is %d", p.name, splitNo, shown(p.values[splitNo]), no)
	}
	return max(1, int(all)), nil
}

// cursor reads the part of a file before the tensors' data. After an error every further read gives zeros.
type cursor struct {
	in       *bufio.Reader
	size     int64 // of the file
	at       int
	elements int // of arrays so far
	err      error
}

func newCursor(from *files.Stored) *cursor {
	return &cursor{in: bufio.NewReaderSize(io.NewSectionReader(from, 0, min(from.Size(), maxHeader)), 1<<16), size: from.Size()}
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *cursor) left() int { return int(min(c.size, maxHeader)) - c.at }

// reserve says whether n bytes more are there.
func (c *cursor) reserve(n int) bool {
	if c.err == nil && n > c.left() {
		c.err = files.Truncated("truncated: %d bytes at byte %d, the file has %d", n, c.at, c.size)
		if c.size > maxHeader {
			c.err = fmt.Errorf("more than %d bytes before the tensors' data", maxHeader)
		}
	}
	return c.err == nil
}

// take gives the next n bytes, 8 at most, good until the next call.
func (c *cursor) take(n int) []byte {
	if c.reserve(n) {
		raw, err := c.in.Peek(n)
		if err == nil {
			_, err = c.in.Discard(n)
		}
		if c.err = err; err == nil {
			c.at += n
			return raw
		}
	}
	return make([]byte, n)
}

func (c *cursor) u32() uint32 { return binary.LittleEndian.Uint32(c.take(4)) }
func (c *cursor) u64() uint64 { return binary.LittleEndian.Uint64(c.take(8)) }

// count reads a number of things that take at least size bytes each.
func (c *cursor) count(what string, size int) int {
	n := c.u64()
	if c.err == nil && n > uint64(c.left()/size) {
		c.err = files.Truncated("%d %s at byte %d, the file has %d bytes", n, what, c.at-8, c.size)
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

func (c *cursor) text() string {
	n := c.count("bytes of text", 1)
	if !c.reserve(n) {
		return ""
	}
	var text strings.Builder
	text.Grow(n)
	_, c.err = io.CopyN(&text, c.in, int64(n))
	c.at += n
	return text.String()
}

// parse reads what a file has before its tensors' data, and finds these.
func parse(from *files.Stored) (*parsed, error) {
	p := &parsed{name: from.Path(), values: map[string]any{}}
	head, err := from.Head(lfs.Size)
	if err == nil {
		err = lfs.Check(head)
	}
	c := newCursor(from)
	var infos []Info
	var offsets []uint64
	if err == nil {
		infos, offsets, err = p.header(c, head)
	}
	if err == nil {
		err = p.place(from, c.at, infos, offsets)
	}
	if err != nil {
		return nil, fmt.Errorf("gguf: %s: %w", p.name, err)
	}
	return p, nil
}

func (p *parsed) header(c *cursor, head []byte) (infos []Info, offsets []uint64, err error) {
	if err := checkMagic(c, head); err != nil {
		return nil, nil, err
	}
	tensors := c.count("tensors", 8+4+8+4+8)
	pairs := c.count("metadata values", 8+1+4+1)
	if tensors > maxTensors || pairs > maxPairs {
		c.fail("%d tensors and %d metadata values, the limits are %d and %d", tensors, pairs, maxTensors, maxPairs)
	}
	for range pairs {
		key := c.text()
		if c.err == nil && (key == "" || len(key) > maxKey || !printable(key)) {
			c.fail("metadata key %.60q: empty, of more than %d bytes, or with control characters", key, maxKey)
		}
		if _, twice := p.values[key]; twice {
			c.fail("%s: it is there twice", key)
		}
		value := c.value(key)
		if c.err != nil {
			return nil, nil, c.err
		}
		p.pairs, p.values[key] = append(p.pairs, Pair{key, value}), value
	}
	for range tensors {
		info, offset := c.info()
		if c.err != nil {
			return nil, nil, c.err
		}
		infos, offsets = append(infos, info), append(offsets, offset)
	}
	return infos, offsets, c.err
}

// checkMagic reads what a file begins with, and says of other files what they are.
func checkMagic(c *cursor, head []byte) error {
	switch {
	case len(head) >= 4 && slices.Contains([]string{"lmgg", "fmgg", "tjgg", "algg"}, string(head[:4])):
		return errors.New("a GGML file from before GGUF: not supported, convert the model anew")
	case !bytes.HasPrefix(head, []byte(magic)):
		return fmt.Errorf("it begins with %q, a GGUF file with %q", head[:min(len(head), 4)], magic)
	}
	c.take(len(magic))
	switch v := c.u32(); {
	case c.err != nil:
		return c.err
	case v&0xffff == 0 && bits.ReverseBytes32(v) < 1<<16:
		return fmt.Errorf("a big-endian file (version %d): not supported", bits.ReverseBytes32(v))
	case v != version && v != version-1:
		return fmt.Errorf("version %d of GGUF, supported are %d and %d", v, version-1, version)
	}
	return nil
}

// value reads a metadata value behind its kind.
func (c *cursor) value(key string) any {
	k := kind(c.u32())
	if k != kindArray {
		return c.scalar(key, k)
	}
	k = kind(c.u32())
	switch k {
	case kindUint8:
		return array[uint8](c, key, k, 1)
	case kindInt8:
		return array[int8](c, key, k, 1)
	case kindUint16:
		return array[uint16](c, key, k, 2)
	case kindInt16:
		return array[int16](c, key, k, 2)
	case kindUint32:
		return array[uint32](c, key, k, 4)
	case kindInt32:
		return array[int32](c, key, k, 4)
	case kindFloat32:
		return array[float32](c, key, k, 4)
	case kindBool:
		return array[bool](c, key, k, 1)
	case kindString:
		return array[string](c, key, k, 8)
	case kindUint64:
		return array[uint64](c, key, k, 8)
	case kindInt64:
		return array[int64](c, key, k, 8)
	case kindFloat64:
		return array[float64](c, key, k, 8)
	case kindArray:
		c.fail("%s: an array of arrays: not supported", key)
	default:
		c.fail("%s: an array of kind %d, which is not known", key, k)
	}
	return nil
}

func array[T any](c *cursor, key string, k kind, size int) []T {
	n := c.count("values of "+key, size)
	if c.elements += n; c.elements > maxElements {
		c.fail("%s: %d values, supported are up to %d in all arrays together", key, n, maxElements)
		return nil
	}
	list := make([]T, 0, n)
	for range n {
		v, ok := c.scalar(key, k).(T)
		if !ok || c.err != nil {
			return nil
		}
		list = append(list, v)
	}
	return list
}

// scalar reads a value that is no array.
func (c *cursor) scalar(key string, k kind) any {
	switch k {
	case kindUint8:
		return c.take(1)[0]
	case kindInt8:
		return int8(c.take(1)[0])
	case kindUint16:
		return binary.LittleEndian.Uint16(c.take(2))
	case kindInt16:
		return int16(binary.LittleEndian.Uint16(c.take(2)))
	case kindUint32:
		return c.u32()
	case kindInt32:
		return int32(c.u32())
	case kindFloat32:
		return math.Float32frombits(c.u32())
	case kindBool:
		v := c.take(1)[0]
		if v > 1 {
			c.fail("%s: a truth value of %d", key, v)
		}
		return v == 1
	case kindString:
		return c.text()
	case kindUint64:
		return c.u64()
	case kindInt64:
		return int64(c.u64())
	case kindFloat64:
		return math.Float64frombits(c.u64())
	}
	c.fail("%s: a value of kind %d, which is not known", key, k)
	return nil
}

// info reads what the file says of a tensor. offset counts from the beginning of the tensors' data.
func (c *cursor) info() (info Info, offset uint64) {
	info.Name = c.text()
	dims := c.u32()
	switch {
	case c.err != nil:
		return info, 0
	case info.Name == "" || len(info.Name) > maxName || !printable(info.Name):
		c.fail("tensor %.80q: the name is empty, has more than %d bytes or control characters", info.Name, maxName)
	case dims < 1 || dims > maxDims:
		c.fail("tensor %s: %d dimensions, expected 1 to %d", info.Name, dims, maxDims)
	}
	if c.err != nil {
		return info, 0
	}
	info.Shape = make([]int, dims)
	for i := range info.Shape {
		n := c.u64()
		if n > maxBytes {
			c.fail("tensor %s: a dimension of %d", info.Name, n)
		}
		info.Shape[len(info.Shape)-1-i] = int(n)
	}
	info.Type = Type(c.u32())
	return info, c.u64()
}

// place cuts the tensors out of the file, whose data begins at the first multiple of the alignment after byte at.
func (p *parsed) place(from *files.Stored, at int, infos []Info, offsets []uint64) error {
	align, err := p.alignment()
	if err != nil {
		return err
	}
	begin, whole := (at+align-1)/align*align, uint64(from.Size())
	order := make([]int, len(infos))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(offsets[a], offsets[b]) })
	end, last := uint64(0), "the metadata"
	seen := map[string]bool{}
	for _, i := range order {
		t, offset := infos[i], offsets[i]
		size, err := t.Bytes()
		switch {
		case err != nil:
			return err
		case seen[t.Name]:
			return fmt.Errorf("tensor %s: named twice", t.Name)
		case offset%uint64(align) != 0:
			return fmt.Errorf("tensor %s: begins at byte %d of the data, not at a multiple of the alignment %d", t.Name, offset, align)
		case offset < end:
			return fmt.Errorf("tensor %s: overlaps %s", t.Name, last)
		case offset > whole || uint64(size) > whole-offset || uint64(begin) > whole-offset-uint64(size):
			return files.Truncated("truncated: tensor %s has %d bytes at byte %d of the data, which begins at byte %d: the file has %d", t.Name, size, offset, begin, whole)
		}
		seen[t.Name] = true
		p.tensors = append(p.tensors, Tensor{t, p.name, from.Part(int64(begin)+int64(offset), size)})
		end, last = offset+uint64(size), "tensor "+t.Name
	}
	return nil
}

func (p *parsed) alignment() (int, error) {
	v, ok := p.values[alignmentKey]
	if !ok {
		return defaultAlignment, nil
	}
	n, isInt := asInt(v)
	if !isInt || n < 1 || n > 1<<30 || n&(n-1) != 0 {
		return 0, fmt.Errorf("%s %s, expected a power of two", alignmentKey, shown(v))
	}
	return int(n), nil
}

// printable keeps names that would break a line or steer a terminal out of messages.
func printable(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// shown is a metadata value for a message: the beginning of it, where it is a long text or a list.
func shown(v any) string {
	text := fmt.Sprint(v)
	if s, ok := v.(string); ok && !printable(s) {
		text = fmt.Sprintf("%.60q", s)
	}
	if len(text) > 80 {
		text = strings.ToValidUTF8(text[:80], "") + "…"
	}
	return text
}

// asInt is a metadata value of any kind of integer.
func asInt(v any) (int64, bool) {
	switch v := v.(type) {
	case uint8:
		return int64(v), true
	case int8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case int16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case int64:
		return v, true
	}
	return 0, false
}
