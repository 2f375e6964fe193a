//go:build !linux

package files

import "os"

func clone(*os.File, *os.File) bool { return false }

func nextData(_ *os.File, at, size int64) (begin, end int64, err error) { return at, size, nil }
