//go:build unix

package main

import (
	"bufio"
	"bytes"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vkcome/vkcome/model/files"
)

// systemName is the distribution where a file says it, and else what Go calls the system.
func systemName() string {
	raw, err := files.Read("/etc/os-release", 64<<10)
	if err != nil { // other systems have none
		return runtime.GOOS
	}
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "PRETTY_NAME="); ok {
			if plain, err := strconv.Unquote(value); err == nil {
				return plain
			}
			return value
		}
	}
	return runtime.GOOS
}

// kernel is the kernel's name and release.
func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
