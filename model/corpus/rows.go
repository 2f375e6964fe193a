package corpus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/format"
)

// Field is a named value of a row.
type Field struct {
	Name  string
	Value any
}

// Record is a row, or an object within one: its fields in their order in the file. A value is nil, a bool, an int64, a float64, a string,
// a []any of these, or a Record.
type Record []Field

// Get is the value of a field; ok says whether there is such a field.
func (r Record) Get(name string) (value any, ok bool) {
	for i := range r {
		if r[i].Name == name {
			return r[i].Value, true
		}
	}
	return nil, false
}

// MarshalJSON writes an object with the fields in their order.
func (r Record) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, f := range r {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := e.Encode(f.Name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := e.Encode(f.Value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

const (
	maxDepth  = 32   // of lists and objects in a row
	maxFields = 1000 // of an object
)

// Rows hands on the rows of a file, Parquet, JSON or CSV by its ending: all their fields, in order. A Parquet column of structs is a Record; one
// of lists of structs a Record of lists, as Hugging Face's Sequence has it; nulls in lists, lists of lists and columns of other types are
// left out, and times are numbers; of CSV every value is a text. An error says in which file and row it is, also that of take, which ends the reading.
func Rows(ctx context.Context, path string, take func(Record) error) error {
	var err error
	switch kind(path) {
	case ".parquet":
		err = openParquet(ctx, path, func(r io.ReaderAt, size int64) error { return parquetRecords(r, size, take) })
	case ".json", ".jsonl", ".ndjson":
		err = decompressed(ctx, path, func(r io.Reader) error {
			return readJSON(r, nil, func(raw []byte) error {
				record, err := jsonRecord(raw)
				if err != nil {
					return err
				}
				return take(record)
			})
		})
	case ".csv", ".tsv":
		err = decompressed(ctx, path, func(r io.Reader) error {
			return readCSV(r, separators[kind(path)], func(names []string, values []any) error {
				record := make(Record, len(names))
				for i, name := range names {
					record[i] = Field{name, values[i]}
				}
				return take(record)
			})
		})
	default:
		err = fmt.Errorf("expected a file of rows, that ends in %s, or these but .parquet with .gz or .zst", strings.Join(suffixes[1:], ", "))
	}
	return located(path, err)
}

func parquetRecords(r io.ReaderAt, size int64, take func(Record) error) error {
	readable := []format.Type{format.ByteArray, format.Int32, format.Int64, format.Boolean, format.Float, format.Double}
	row := 1
	return rowGroups(r, size, func(leaves []leaf) ([]leaf, error) {
		return slices.DeleteFunc(leaves, func(l leaf) bool { return l.maxRep > 1 || !slices.Contains(readable, l.kind) }), nil
	}, func(columns []*column, rows int64) error {
		if len(columns) == 0 {
			return errors.New("no column of text or numbers")
		}
		for range rows {
			var record Record
			for _, c := range columns {
				value, err := c.row(true)
				if err != nil {
					return at("row", row, fmt.Errorf("column %q: %w", c.name, err))
				}
				record = record.put(append([]string{c.name}, c.path...), value)
			}
			if err := take(record); err != nil {
				return at("row", row, err)
			}
			row++
		}
		return nil
	})
}

// put adds a value whose path leads through records; those of one record follow each other.
func (r Record) put(path []string, value any) Record {
	if len(path) == 1 {
		return append(r, Field{path[0], value})
	}
	if last := len(r) - 1; last >= 0 && r[last].Name == path[0] {
		if inner, ok := r[last].Value.(Record); ok {
			r[last].Value = inner.put(path[1:], value)
			return r
		}
	}
	return append(r, Field{path[0], Record(nil).put(path[1:], value)})
}

func jsonRecord(raw []byte) (Record, error) {
	if !utf8.Valid(raw) {
		return nil, errNotUTF8
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	value, err := jsonValue(d, 0)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	record, ok := value.(Record)
	if !ok {
		return nil, errors.New("expected an object, fields by name")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the object")
	}
	return record, nil
}

// jsonValue decodes the next value.
func jsonValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("lists and objects in each other, more than %d deep", maxDepth)
	}
	switch t := token.(type) {
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return n, nil
		}
		return t.Float64()
	case json.Delim:
		if t == '[' {
			list := []any{}
			for d.More() {
				value, err := jsonValue(d, depth+1)
				if err != nil {
					return nil, err
				}
				list = append(list, value)
			}
			_, err := d.Token()
			return list, err
		}
		record := Record{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			value, err := jsonValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			text, _ := name.(string) // the decoder takes nothing else
			if i := slices.IndexFunc(record, func(f Field) bool { return f.Name == text }); i >= 0 {
				record[i].Value = value // as Python's json does
				continue
			}
			if record = append(record, Field{text, value}); len(record) > maxFields {
				return nil, fmt.Errorf("an object of more than %d fields", maxFields)
			}
		}
		_, err := d.Token()
		return record, err
	}
	return token, nil // nil, a bool or a string
}
