package files

import (
	"fmt"
	"io"
)

// Truncated is the error for a file that ends before what it says it holds: it was not copied or fetched whole. It matches
// io.ErrUnexpectedEOF, and its text is that of format and args alone.
func Truncated(format string, args ...any) error { return truncated(fmt.Sprintf(format, args...)) }

type truncated string

func (t truncated) Error() string { return string(t) }

func (t truncated) Unwrap() error { return io.ErrUnexpectedEOF }
