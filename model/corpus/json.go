package corpus

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// maxFirstLine is how many bytes are looked at to see whether there are several lines. A longer line is read as objects over several are.
const maxFirstLine = 4 << 20

// readJSON hands on objects: those of an array, one a line, one or more over several lines, or those of the array that the file's one object
// holds beside other things. An object with one of the fields is a row itself.
func readJSON(r io.Reader, fields []string, take func(raw []byte) error) error {
	b := bufio.NewReaderSize(r, 1<<18)
	if mark, _ := b.Peek(3); string(mark) == "\ufeff" {
		_, _ = b.Discard(3) // they are there
	}
	s := &jsonScanner{b: b, line: 1}
	switch c, err := s.next(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	case c == '[':
		return s.onlyArray(take)
	case c != '{':
		return readLines(b, s.line, take)
	}
	// Lines, if the first is an object and there are more.
	start := s.line
	var first []byte
	for len(first) <= maxFirstLine {
		part, err := b.ReadSlice('\n')
		if first = append(first, part...); err == nil {
			s.line++
			break
		} else if errors.Is(err, io.EOF) {
			break
		} else if !errors.Is(err, bufio.ErrBufferFull) {
			return at("line", start, err)
		}
	}
	if json.Valid(first) {
		if _, err := s.next(); err == nil {
			if err := take(first); err != nil {
				return at("line", start, err)
			}
			return readLines(b, s.line, take)
		}
	}
	s = &jsonScanner{b: bufio.NewReaderSize(io.MultiReader(bytes.NewReader(first), b), 1<<18), line: start}
	return s.objects(fields, take)
}

// readLines hands on one object a line, the first of which has a number.
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

// jsonScanner cuts JSON into the values of one list or object without parsing them: who takes them does. It holds one value at a time.
type jsonScanner struct {
	b     *bufio.Reader
	line  int
	value []byte // that was read last
}

// next passes over space and gives the byte after it, which stays.
func (s *jsonScanner) next() (byte, error) {
	for {
		c, err := s.b.ReadByte()
		if err != nil {
			return 0, err
		}
		switch c {
		case '\n':
			s.line++
		case ' ', '\t', '\r':
		default:
			return c, s.b.UnreadByte()
		}
	}
}

// take is next, and the byte does not stay.
func (s *jsonScanner) take() (byte, error) {
	c, err := s.next()
	if err == nil {
		_, err = s.b.Discard(1)
	}
	return c, within(err)
}

// within is the error of what ends before its end.
func within(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// read reads a value whole. depth says how many lists and objects around it are part of it, and were begun.
func (s *jsonScanner) read(depth int) error {
	quoted := false
	for n := 0; ; n++ {
		c, err := s.b.ReadByte()
		if err != nil {
			return within(err)
		}
		if c == '\n' {
			s.line++
		}
		switch {
		case quoted && c == '\\':
			s.value = append(s.value, c)
			if c, err = s.b.ReadByte(); err != nil {
				return within(err)
			}
		case c == '"':
			quoted = !quoted
			if !quoted && depth == 0 {
				s.value = append(s.value, c)
				return nil
			}
		case quoted:
		case c == '{' || c == '[':
			depth++
		case depth == 0 && (c == ',' || c == '}' || c == ']' || c == ':' || c == ' ' || c == '\t' || c == '\r' || c == '\n'): // a number's end
			if c == '\n' {
				s.line--
			}
			if n == 0 {
				return fmt.Errorf("invalid character %q where a value should begin", c)
			}
			return s.b.UnreadByte()
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				s.value = append(s.value, c)
				return nil
			}
		}
		if s.value = append(s.value, c); len(s.value) > maxDocument {
			return errLongLine
		}
	}
}

// array hands on the elements of a list, of which the bracket was read.
func (s *jsonScanner) array(take func(raw []byte) error) error {
	for n := 1; ; n++ {
		c, err := s.next()
		if err == nil && c == ']' && n == 1 {
			_, err = s.b.Discard(1)
			return err
		}
		if err == nil {
			s.value = s.value[:0]
			err = s.read(0)
		}
		if err == nil {
			err = take(s.value)
		}
		if err != nil {
			return at("element", n, within(err))
		}
		switch c, err := s.take(); {
		case err != nil:
			return at("element", n, fmt.Errorf("the array has no end: %w", err))
		case c == ']':
			return nil
		case c != ',':
			return at("element", n, fmt.Errorf("invalid character %q after it", c))
		}
	}
}

// onlyArray is array for a file that has nothing else.
func (s *jsonScanner) onlyArray(take func(raw []byte) error) error {
	if _, err := s.take(); err != nil {
		return err
	}
	if err := s.array(take); err != nil {
		return err
	}
	if _, err := s.next(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the array")
	}
	return nil
}

// objects hands on objects, or what the one of the file holds.
func (s *jsonScanner) objects(fields []string, take func(raw []byte) error) error {
	for {
		start := s.line
		rows, err := s.object(fields, take)
		if err != nil && rows {
			return err // it says which element
		} else if err != nil {
			return at("line", start, err)
		}
		end := s.line
		switch c, err := s.next(); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case rows || c != '{' || s.line == end:
			return at("line", s.line, errors.New("there is more after the object"))
		}
	}
}

// object hands on the elements of the list of objects that an object holds, or the object if it holds none or has one of the fields; rows
// says that it was the former.
func (s *jsonScanner) object(fields []string, take func(raw []byte) error) (rows bool, err error) {
	if _, err := s.take(); err != nil {
		return false, err
	}
	whole, list, row := []byte{'{'}, "", ""
	for n := 0; ; n++ {
		c, err := s.next()
		if err == nil && c == '}' && n == 0 {
			_, _ = s.b.Discard(1) // it is there
			break
		}
		var name string
		if err == nil {
			name, err = s.name(c)
		}
		if err != nil {
			return false, within(err)
		}
		if slices.Contains(fields, name) {
			row = name
		}
		whole = append(append(whole, s.value...), ':')
		s.value = s.value[:0]
		c, err = s.next()
		if err != nil {
			return false, within(err)
		}
		if c == '[' {
			_, _ = s.b.Discard(1) // it is there
			if c, err = s.next(); err != nil {
				return false, within(err)
			}
			if c == '{' && row == "" {
				if list != "" {
					return false, fmt.Errorf("it holds two lists, %q and %q; write the rows alone", list, name)
				}
				list = name
				if err := s.array(take); err != nil {
					return true, err
				}
				s.value = append(s.value, "[]"...)
			} else {
				s.value = append(s.value, '[')
				err = s.read(1)
			}
		} else {
			err = s.read(0)
		}
		if err != nil {
			return false, err
		}
		if whole = append(whole, s.value...); len(whole) > maxDocument {
			return false, errLongLine
		}
		if c, err = s.take(); err != nil {
			return false, err
		}
		if c == '}' {
			break
		}
		if c != ',' {
			return false, fmt.Errorf("invalid character %q after the value of %q", c, name)
		}
		whole = append(whole, ',')
	}
	if list != "" && row != "" {
		return false, fmt.Errorf("it has a field %q and the list %q of rows; write the rows alone", row, list)
	}
	if list != "" {
		return true, nil
	}
	return false, take(append(whole, '}'))
}

// name reads a member's name, which c begins, and what is between it and the value.
func (s *jsonScanner) name(c byte) (name string, err error) {
	if c != '"' {
		return "", fmt.Errorf("invalid character %q where a name should begin", c)
	}
	s.value = s.value[:0]
	if err := s.read(0); err != nil {
		return "", err
	}
	if err := json.Unmarshal(s.value, &name); err != nil {
		return "", err
	}
	c, err = s.take()
	if err == nil && c != ':' {
		err = fmt.Errorf("invalid character %q after the name %q", c, name)
	}
	return name, err
}
