package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// absentText is what stands for null in CSV, as pandas and so datasets have it.
var absentText = []string{
	"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
}

// csvReader reads records as pandas does: encoding/csv turns a line's end within quotes into another, and refuses quotes within a field.
type csvReader struct {
	b         *bufio.Reader
	separator byte
	line      int // of the next byte
	size      int // bytes of the record
	field     []byte
}

// readCSV hands on the rows of a table whose first line names the columns: a value is a text, or nil for null.
func readCSV(r io.Reader, separator byte, take func(names []string, values []any) error) error {
	c := &csvReader{b: bufio.NewReaderSize(r, 1<<16), separator: separator, line: 1}
	if mark, _ := c.b.Peek(3); string(mark) == "\ufeff" {
		_, _ = c.b.Discard(3) // they are there
	}
	names, err := c.record()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return at("line", 1, err)
	}
	if len(names) > maxFields {
		return fmt.Errorf("more than %d columns", maxFields)
	}
	for {
		line := c.line
		record, err := c.record()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && len(record) > len(names) {
			err = fmt.Errorf("%d fields, the first line has %d", len(record), len(names))
		}
		if err == nil {
			values := make([]any, len(names)) // those at the end may be missing
			for i, text := range record {
				if !slices.Contains(absentText, text) {
					values[i] = text
				}
			}
			err = take(names, values)
		}
		if err != nil {
			return at("line", line, err)
		}
	}
}

// next reads a byte; the end is io.EOF.
func (c *csvReader) next() (byte, error) {
	b, err := c.b.ReadByte()
	if err != nil {
		return 0, err
	}
	if b == '\n' {
		c.line++
	}
	if c.size++; c.size > maxDocument {
		return 0, errLongLine
	}
	return b, nil
}

// record reads the fields of a record; lines of nothing or of spaces are none. The end of the file is io.EOF.
func (c *csvReader) record() (fields []string, err error) {
	c.size = 0
	for {
		quoted, last, err := c.text()
		if errors.Is(err, io.EOF) && len(fields) > 0 { // a separator ends the file: an empty field follows it
			return append(fields, ""), nil
		}
		if err != nil {
			return nil, err
		}
		if !utf8.Valid(c.field) {
			return nil, errNotUTF8
		}
		if last && !quoted && len(fields) == 0 && len(bytes.Trim(c.field, " \t")) == 0 {
			c.size = 0
			continue
		}
		if fields = append(fields, string(c.field)); last {
			return fields, nil
		}
	}
}

// text reads a field. quoted says that it began with a quote, last that its record ends with it.
func (c *csvReader) text() (quoted, last bool, err error) {
	c.field = c.field[:0]
	inside := false // the quotes
	for first := true; ; first = false {
		b, err := c.next()
		switch {
		case errors.Is(err, io.EOF) && inside:
			return quoted, false, errors.New("a quote has no end")
		case errors.Is(err, io.EOF) && !first:
			return quoted, true, nil
		case err != nil:
			return quoted, false, err
		case first && b == '"':
			quoted, inside = true, true
		case inside && b == '"':
			if after, err := c.b.Peek(1); err == nil && after[0] == '"' {
				c.field = append(c.field, '"')
				_, _ = c.next() // it is there
			} else {
				inside = false
			}
		case inside:
			c.field = append(c.field, b)
		case b == c.separator:
			return quoted, false, nil
		case b == '\r':
			if after, err := c.b.Peek(1); err == nil && after[0] == '\n' {
				_, _ = c.next() // it is there
			}
			return quoted, true, nil
		case b == '\n':
			return quoted, true, nil
		default:
			c.field = append(c.field, b)
		}
	}
}

// separators are those of tables by their ending.
var separators = map[string]byte{".csv": ',', ".tsv": '\t'}

// csvRow hands on the text of a row.
func (f form) csvRow(names []string, values []any, s sink) error {
	if ok, err := s.want(); err != nil || !ok {
		return err
	}
	wanted := make([]any, len(f.fields))
	for i, name := range f.fields {
		column := slices.Index(names, name)
		if column < 0 {
			return missing(name, slices.Clone(names))
		}
		wanted[i] = values[column]
	}
	return f.hand(wanted, s)
}
