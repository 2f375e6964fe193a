package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"

	"github.com/vkcome/vkcome/model/files"
)

// Writer writes a file, its tensors one after the other in the order in which they were announced.
type Writer struct {
	file    *files.File
	out     *bufio.Writer
	tensors []Info
	next    int   // the tensor that is being written, or comes next
	left    int64 // bytes that it still lacks
	pad     int64 // bytes behind it
	size    int64 // bytes written
}

// Create creates the file path, which does not exist, and writes all of it but the tensors' data.
func Create(path string, meta []Pair, tensors []Info) (w *Writer, err error) {
	seen := map[string]bool{}
	for _, t := range tensors {
		if len(t.Name) > maxName || seen[t.Name] {
			return nil, fmt.Errorf("gguf: %s: tensor %.80q is there twice or has more than %d bytes of name", path, t.Name, maxName)
		}
		seen[t.Name] = true
		if _, err := t.Bytes(); err != nil {
			return nil, fmt.Errorf("gguf: %s: %w", path, err)
		}
	}
	head, err := header(meta, tensors)
	if err != nil {
		return nil, fmt.Errorf("gguf: %s: %w", path, err)
	}
	f, err := files.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	w = &Writer{file: f, out: bufio.NewWriterSize(f, 1<<20), tensors: tensors, next: -1}
	head = append(head, make([]byte, padding(int64(len(head))))...)
	if err := w.write(head); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return w, w.advance()
}

// Write writes the next bytes of the tensors' data: none may hold bytes of two tensors.
func (w *Writer) Write(data []byte) (int, error) {
	if int64(len(data)) > w.left {
		return 0, fmt.Errorf("gguf: %s: %d bytes more than the tensor has", w.file.Name(), int64(len(data))-w.left)
	}
	if err := w.write(data); err != nil {
		return 0, err
	}
	if w.left -= int64(len(data)); w.left > 0 {
		return len(data), nil
	}
	return len(data), w.advance()
}

// advance goes on to the next tensor that has data.
func (w *Writer) advance() error {
	for w.left == 0 && w.next < len(w.tensors) {
		if err := w.write(make([]byte, w.pad)); err != nil {
			return err
		}
		w.pad = 0
		if w.next++; w.next < len(w.tensors) {
			n, err := w.tensors[w.next].Bytes()
			if err != nil {
				return err
			}
			w.left, w.pad = int64(n), padding(int64(n))
		}
	}
	return nil
}

func (w *Writer) write(data []byte) error {
	n, err := w.out.Write(data)
	w.size += int64(n)
	if err != nil {
		return fmt.Errorf("gguf: %w", err)
	}
	return nil
}

// Close ends a file that has all of its data: it is on the disk then. size is the file's.
func (w *Writer) Close() (size int64, err error) {
	if w.next < len(w.tensors) {
		return 0, errors.Join(fmt.Errorf("gguf: %s: tensor %s lacks %d bytes", w.file.Name(), w.tensors[w.next].Name, w.left), w.Abort())
	}
	if err := errors.Join(w.out.Flush(), w.file.Sync(), w.file.Close()); err != nil {
		return 0, errors.Join(fmt.Errorf("gguf: %w", err), os.Remove(w.file.Name()))
	}
	return w.size, nil
}

// Abort removes what was written.
func (w *Writer) Abort() error {
	return errors.Join(w.file.Close(), os.Remove(w.file.Name()))
}

// padding is how many bytes lie between an end and the next multiple of the alignment.
func padding(end int64) int64 { return (defaultAlignment - end%defaultAlignment) % defaultAlignment }

// header is a file up to its tensors' data, without the padding.
func header(meta []Pair, tensors []Info) (out []byte, err error) {
	le := binary.LittleEndian
	out = append(out, magic...)
	out = le.AppendUint32(out, version)
	out = le.AppendUint64(out, uint64(len(tensors)))
	out = le.AppendUint64(out, uint64(len(meta)))
	for _, p := range meta {
		out = appendText(out, p.Key)
		if out, err = appendValue(out, p.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Key, err)
		}
	}
	at := int64(0)
	for _, t := range tensors {
		out = appendText(out, t.Name)
		out = le.AppendUint32(out, uint32(len(t.Shape)))
		for i := range t.Shape {
			out = le.AppendUint64(out, uint64(t.Shape[len(t.Shape)-1-i]))
		}
		out = le.AppendUint32(out, uint32(t.Type))
		out = le.AppendUint64(out, uint64(at))
		n, err := t.Bytes()
		if err != nil {
			return nil, err
		}
		at += int64(n) + padding(int64(n))
	}
	return out, nil
}

func appendText(out []byte, text string) []byte {
	return append(binary.LittleEndian.AppendUint64(out, uint64(len(text))), text...)
}

// kinds are those of values in Go.
var kinds = map[reflect.Kind]kind{
	reflect.Uint8: kindUint8, reflect.Int8: kindInt8, reflect.Uint16: kindUint16, reflect.Int16: kindInt16, reflect.Uint32: kindUint32, reflect.Int32: kindInt32,
	reflect.Float32: kindFloat32, reflect.Bool: kindBool, reflect.String: kindString, reflect.Uint64: kindUint64, reflect.Int64: kindInt64, reflect.Float64: kindFloat64,
}

// appendValue writes a metadata value behind its kind.
func appendValue(out []byte, value any) ([]byte, error) {
	le, of, many := binary.LittleEndian, reflect.TypeOf(value), false
	if of != nil && of.Kind() == reflect.Slice {
		of, many = of.Elem(), true
	}
	if of == nil || kinds[of.Kind()] == 0 && of.Kind() != reflect.Uint8 {
		return nil, fmt.Errorf("a value of Go's type %T is not written", value)
	}
	if many {
		out = le.AppendUint32(out, uint32(kindArray))
	}
	out = le.AppendUint32(out, uint32(kinds[of.Kind()]))
	if many {
		out = le.AppendUint64(out, uint64(reflect.ValueOf(value).Len()))
	}
	switch v := value.(type) {
	case string:
		return appendText(out, v), nil
	case []string:
		for _, text := range v {
			out = appendText(out, text)
		}
		return out, nil
	}
	return binary.Append(out, le, value)
}

var _ io.Writer = (*Writer)(nil)
