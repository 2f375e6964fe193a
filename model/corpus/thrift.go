package corpus

import (
	"encoding/binary"
	"errors"
)

// The types of Thrift's compact protocol (github.com/apache/thrift, doc/specs/thrift-compact-protocol.md).
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
	thriftUUID   = 13
)

const (
	maxThriftDepth    = 32
	maxThriftElements = 1 << 20 // of all lists; 10,000 row groups of 10 columns have half of them
)

var (
	errThriftShort = errors.New("it breaks off")
	errThriftDeep  = errors.New("it is nested too deeply")
	errThriftMany  = errors.New("it has too many elements")
	errThriftType  = errors.New("it has an unknown type")
)

// thriftScan passes over a struct of Thrift's compact protocol and holds every length in it against the bytes that are there. A decoder
// that makes room for what a length says may follow.
type thriftScan struct {
	b        []byte
	pos      int
	elements int
}

// thriftStructSize is the number of bytes of the struct that b begins with.
func thriftStructSize(b []byte) (int, error) {
	s := &thriftScan{b: b}
	err := s.skip(thriftStruct, 0)
	return s.pos, err
}

func (s *thriftScan) advance(n uint64) error {
	if n > uint64(len(s.b)-s.pos) {
		return errThriftShort
	}
	s.pos += int(n)
	return nil
}

func (s *thriftScan) byte() (byte, error) {
	if err := s.advance(1); err != nil {
		return 0, err
	}
	return s.b[s.pos-1], nil
}

func (s *thriftScan) varint() (uint64, error) {
	v, n := binary.Uvarint(s.b[s.pos:])
	if n <= 0 {
		return 0, errThriftShort
	}
	s.pos += n
	return v, nil
}

// count takes note of a list's elements, of which each has a byte at least.
func (s *thriftScan) count(n uint64) error {
	if n > uint64(len(s.b)-s.pos) {
		return errThriftShort
	}
	if s.elements += int(n); s.elements > maxThriftElements {
		return errThriftMany
	}
	return nil
}

// skip passes over a value that is no field: a bool has a byte there.
func (s *thriftScan) skip(kind byte, depth int) error {
	if depth > maxThriftDepth {
		return errThriftDeep
	}
	switch kind {
	case thriftTrue, thriftFalse, thriftByte:
		return s.advance(1)
	case thriftI16, thriftI16 + 1, thriftI64:
		_, err := s.varint()
		return err
	case thriftDouble:
		return s.advance(8)
	case thriftUUID:
		return s.advance(16)
	case thriftBinary:
		n, err := s.varint()
		if err != nil {
			return err
		}
		return s.advance(n)
	case thriftList, thriftSet:
		head, err := s.byte()
		if err != nil {
			return err
		}
		n := uint64(head >> 4)
		if n == 15 {
			if n, err = s.varint(); err != nil {
				return err
			}
		}
		return s.items(n, depth, head&15)
	case thriftMap:
		n, err := s.varint()
		if err != nil || n == 0 {
			return err
		}
		kinds, err := s.byte()
		if err != nil {
			return err
		}
		return s.items(n, depth, kinds>>4, kinds&15)
	case thriftStruct:
		return s.fields(depth)
	}
	return errThriftType
}

// items passes over n times values of the kinds.
func (s *thriftScan) items(n uint64, depth int, kinds ...byte) error {
	if err := s.count(n); err != nil {
		return err
	}
	for range n {
		for _, kind := range kinds {
			if err := s.skip(kind, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *thriftScan) fields(depth int) error {
	for {
		head, err := s.byte()
		if err != nil || head == 0 {
			return err
		}
		if head>>4 == 0 { // the field's number follows
			if _, err := s.varint(); err != nil {
				return err
			}
		}
		if kind := head & 15; kind != thriftTrue && kind != thriftFalse {
			if err := s.skip(kind, depth+1); err != nil {
				return err
			}
		}
	}
}
