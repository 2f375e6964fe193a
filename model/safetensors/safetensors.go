// Package safetensors reads and writes the safetensors format of Hugging Face: one file or a folder of shards, of which
// parts are read when they are asked for, streamed tensor by tensor for writing.
//
// A file is the length n of its header (8 bytes, little-endian), n bytes of JSON that give every tensor's dtype, shape
// and place, then the tensors without gaps. A model comes from a stranger, so nothing in the header is believed before
// it has been held against the size of the file. Format: https://github.com/huggingface/safetensors.
package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/internal/lfs"
	"github.com/vkcome/vkcome/model/internal/shards"
)

const (
	// SingleFile and IndexFile are the names of a checkpoint in one file, and of the list of its shards.
	SingleFile  = "model.safetensors"
	IndexFile   = "model.safetensors.index.json"
	metadataKey = "__metadata__"

	maxHeader = 100_000_000 // bytes, the limit of the reference implementation

	// Limits on what goes into memory, far above those of real files: a model of 400 experts in each of 60 layers has 150,000 tensors.
	maxDims    = 64 // as in PyTorch
	maxTensors = 1 << 20
)

// sizes gives the bytes of one element for each dtype of the format.
var sizes = map[string]int{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
	"U16": 2, "I16": 2, "F16": 2, "BF16": 2,
	"U32": 4, "I32": 4, "F32": 4,
	"U64": 8, "I64": 8, "F64": 8,
}

// Tensor is a named array inside a file.
type Tensor struct {
	Name  string
	DType string // as the file writes it: F32, BF16, I64, …
	Shape []int  // empty for a scalar
	File  string // the path it came from, for messages

	data files.Part
}

// Size is the number of bytes of the tensor's data.
func (t Tensor) Size() int { return t.data.Size() }

// Read reads len(dst) bytes of the tensor's data, little-endian and row-major, from byte at on, until the Checkpoint is closed. A file that
// changed or cannot be read is an error with its name; one that matches files.ErrChanged says that it changed.
func (t Tensor) Read(dst []byte, at int) error {
	if err := t.data.Read(dst, at); err != nil {
		return fmt.Errorf("safetensors: tensor %s: %w", t.Name, err)
	}
	return nil
}

// Bytes reads all of the tensor's data.
func (t Tensor) Bytes() ([]byte, error) {
	data := make([]byte, t.Size())
	return data, t.Read(data, 0)
}

// NumElements is the product of the shape, 1 for a scalar.
func (t Tensor) NumElements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Float gives the tensor's dtype as one that weights may have, or an error that names file and tensor.
func (t Tensor) Float() (dtype.DType, error) {
	d, err := dtype.Parse(t.DType)
	if err != nil {
		return d, fmt.Errorf("safetensors: %s: tensor %s: %w", t.File, t.Name, err)
	}
	return d, nil
}

// Entry is what a header says of a tensor: all that must be known before its data.
type Entry struct {
	Name  string
	DType string
	Shape []int
}

// Size is the number of bytes of the tensor's data. It fails on a dtype that the format lacks, a negative dimension and
// a product beyond an int.
func (e Entry) Size() (int, error) {
	n, ok := sizes[e.DType]
	if !ok {
		return 0, fmt.Errorf("tensor %s: unknown dtype %.40q", e.Name, e.DType)
	}
	for _, d := range e.Shape {
		if d < 0 {
			return 0, fmt.Errorf("tensor %s: shape %v has a negative dimension", e.Name, e.Shape)
		}
		if n > 0 && d > math.MaxInt/n {
			return 0, fmt.Errorf("tensor %s: shape %v of %s overflows", e.Name, e.Shape, e.DType)
		}
		n *= d
	}
	return n, nil
}

// header is a parsed header: where each tensor lies, counted from the end of the header.
type header struct {
	tensors  []placed // by offset
	metadata map[string]string
	size     int // of the 8 length bytes and the JSON
}

type placed struct {
	Entry
	begin, end int
}

// parse checks the header at the start of a file and finds the tensors behind it.
func parse(from *files.Stored) ([]Tensor, map[string]string, error) {
	h, err := parseHeader(from)
	if err != nil {
		return nil, nil, fmt.Errorf("safetensors: %s: %w", from.Path(), err)
	}
	tensors := make([]Tensor, len(h.tensors))
	for i, p := range h.tensors {
		tensors[i] = Tensor{p.Name, p.DType, p.Shape, from.Path(), from.Part(int64(h.size+p.begin), p.end-p.begin)}
	}
	return tensors, h.metadata, nil
}

func parseHeader(from *files.Stored) (*header, error) {
	head, err := from.Head(lfs.Size)
	if err != nil {
		return nil, err
	}
	if err := lfs.Check(head); err != nil {
		return nil, err
	}
	if len(head) < 8 {
		return nil, files.Truncated("truncated: %d bytes, a header needs 8", len(head))
	}
	n := binary.LittleEndian.Uint64(head)
	if n > maxHeader {
		return nil, fmt.Errorf("header of %d bytes, the limit is %d", n, maxHeader)
	}
	if n > uint64(from.Size()-8) {
		return nil, files.Truncated("truncated: header of %d bytes, the file has %d after its length", n, from.Size()-8)
	}
	h := &header{size: 8 + int(n)}
	if n == 0 || head[8] != '{' { // before memory is taken for it
		return nil, errors.New("header is not a JSON object")
	}
	text, err := from.Head(h.size)
	if err != nil {
		return nil, err
	}
	if err := h.decode(text[8:]); err != nil {
		return nil, err
	}
	return h, h.check(int(from.Size()))
}

// decode reads the JSON token by token, since encoding/json would let the last of two equal names win.
func (h *header) decode(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("header: %w", unexpected(err))
	}
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return fmt.Errorf("header: %w", unexpected(err))
		}
		name, ok := key.(string)
		if !ok {
			return fmt.Errorf("header: %v, expected a name", key)
		}
		if err := shards.CheckName(name); err != nil {
			return err
		}
		if seen[name] {
			return fmt.Errorf("tensor %s: named twice", name)
		}
		seen[name] = true
		if name == metadataKey {
			if err := dec.Decode(&h.metadata); err != nil {
				return fmt.Errorf("header: %s: %w", name, unexpected(err))
			}
			continue
		}
		var entry struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets []int  `json:"data_offsets"`
		}
		if err := dec.Decode(&entry); err != nil {
			return fmt.Errorf("tensor %s: %w", name, unexpected(err))
		}
		if entry.Shape == nil {
			return fmt.Errorf("tensor %s: no shape", name)
		}
		if len(entry.Shape) > maxDims {
			return fmt.Errorf("tensor %s: %d dimensions, the limit is %d", name, len(entry.Shape), maxDims)
		}
		if len(entry.Offsets) != 2 {
			return fmt.Errorf("tensor %s: data_offsets %v, expected a begin and an end", name, entry.Offsets[:min(len(entry.Offsets), 3)])
		}
		if len(h.tensors) == maxTensors {
			return fmt.Errorf("more than %d tensors", maxTensors)
		}
		h.tensors = append(h.tensors, placed{Entry{name, entry.DType, entry.Shape}, entry.Offsets[0], entry.Offsets[1]})
	}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("header: %w", unexpected(err))
	}
	if rest := text[dec.InputOffset():]; len(bytes.TrimRight(rest, " \t\r\n")) > 0 {
		return fmt.Errorf("header: %d bytes follow the JSON object", len(rest))
	}
	return nil
}

// unexpected tells that JSON stopped early; a bare EOF would read like success. What quotes a number of the file's is cut to a short line.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if text := err.Error(); len(text) > 200 {
		return fmt.Errorf("%.200s…", text)
	}
	return err
}

// check sorts the tensors by offset and sees that they fill a file of fileSize bytes without gap or overlap.
func (h *header) check(fileSize int) error {
	slices.SortStableFunc(h.tensors, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at, last := 0, "the header"
	for _, t := range h.tensors {
		size, err := t.Size()
		switch {
		case err != nil:
			return err
		case t.begin < 0 || t.end < t.begin:
			return fmt.Errorf("tensor %s: data_offsets [%d %d] are no range", t.Name, t.begin, t.end)
		case t.end-t.begin != size:
			return fmt.Errorf("tensor %s: %d bytes, shape %v of %s needs %d", t.Name, t.end-t.begin, t.Shape, t.DType, size)
		case t.begin < at:
			return fmt.Errorf("tensor %s: overlaps tensor %s", t.Name, last)
		case t.begin > at:
			return fmt.Errorf("tensor %s: a hole of %d bytes after %s", t.Name, t.begin-at, last)
		case t.end > fileSize-h.size:
			// Unsigned, since an offset near the largest int plus the header would turn negative.
			return files.Truncated("truncated: tensor %s ends at byte %d, the file has %d", t.Name, uint64(t.end)+uint64(h.size), fileSize)
		}
		at, last = t.end, t.Name
	}
	if extra := fileSize - h.size - at; extra > 0 {
		return fmt.Errorf("%d bytes after %s belong to no tensor", extra, last)
	}
	return nil
}

// encodeHeader writes a header for the entries, in their order, padded with spaces so that the data starts at a
// multiple of 8. The same input gives the same bytes.
func encodeHeader(entries []Entry, metadata map[string]string) ([]byte, error) {
	if metadata == nil {
		metadata = map[string]string{"format": "pt"}
	}
	var out bytes.Buffer
	out.Write(make([]byte, 8))
	fmt.Fprintf(&out, "{%s:{", quote(metadataKey))
	for i, key := range slices.Sorted(maps.Keys(metadata)) {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, "%s:%s", quote(key), quote(metadata[key]))
	}
	out.WriteByte('}')
	at, seen := 0, map[string]bool{metadataKey: true}
	for _, e := range entries {
		if seen[e.Name] {
			return nil, fmt.Errorf("tensor %s: named twice", e.Name)
		}
		seen[e.Name] = true
		size, err := e.Size()
		if err != nil {
			return nil, err
		}
		if size > math.MaxInt-at {
			return nil, fmt.Errorf("tensor %s: the file's size overflows", e.Name)
		}
		shape := strings.Join(strings.Fields(fmt.Sprint(e.Shape)), ",")
		fmt.Fprintf(&out, `,%s:{"dtype":%s,"shape":%s,"data_offsets":[%d,%d]}`, quote(e.Name), quote(e.DType), shape, at, at+size)
		at += size
	}
	out.WriteByte('}')
	for out.Len()%8 != 0 {
		out.WriteByte(' ')
	}
	if out.Len()-8 > maxHeader {
		return nil, fmt.Errorf("header of %d bytes, the limit is %d", out.Len()-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(out.Bytes(), uint64(out.Len()-8))
	return out.Bytes(), nil
}

// quote is s as a JSON string, without the escapes that encoding/json adds for HTML.
func quote(s string) string {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.Encode(s) // a string cannot fail
	return strings.TrimSuffix(out.String(), "\n")
}
