// Package lfs recognizes what git leaves in the place of a large file that it has not fetched.
package lfs

import (
	"bytes"
	"errors"
)

// Size is more bytes than a pointer has.
const Size = 1024

const version = "version https://git-lfs.github.com/spec/v1\n"

// ErrPointer says that a file is a pointer, and what to do.
var ErrPointer = errors.New("a git-lfs pointer, not the file itself: run git lfs pull in its folder, or fetch the model again")

// Check gives ErrPointer where a file, or its first Size bytes, is a pointer. Source: docs/spec.md of git-lfs.
func Check(head []byte) error {
	if len(head) < Size && bytes.HasPrefix(head, []byte(version)) {
		return ErrPointer
	}
	return nil
}
