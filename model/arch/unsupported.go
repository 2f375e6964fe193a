package arch

import (
	"errors"
	"fmt"
)

// ErrUnsupported is the error for a model that may be right and that vkcome does not compute: a family, a part of one, or a key that it does
// not know. A model whose files are wrong is no such error.
var ErrUnsupported = errors.New("not supported")

// unsupported is an ErrUnsupported in words of its own.
type unsupported struct{ error }

func (u unsupported) Is(target error) bool { return target == ErrUnsupported }

// Unsupported is an ErrUnsupported that says what is not supported.
func Unsupported(format string, args ...any) error { return unsupported{fmt.Errorf(format, args...)} }
