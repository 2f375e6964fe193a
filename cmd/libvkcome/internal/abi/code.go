package abi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/named"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/printable"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/work"
	"github.com/vkcome/vkcome/vk"
)

// Code is what a function of the interface returns.
type Code int32

// The codes, as vkcome.h has them.
const (
	OK Code = iota
	Argument
	BadHandle
	Busy
	Cancelled
	IO
	Exists
	Model
	Unsupported
	NoDevice
	Device
	DeviceLost
	OutOfMemory
	Failed
	Internal
)

var codeNames = []string{
	"VKCOME_OK", "VKCOME_ERROR_ARGUMENT", "VKCOME_ERROR_HANDLE", "VKCOME_ERROR_BUSY", "VKCOME_ERROR_CANCELLED", "VKCOME_ERROR_IO", "VKCOME_ERROR_EXISTS",
	"VKCOME_ERROR_MODEL", "VKCOME_ERROR_UNSUPPORTED", "VKCOME_ERROR_NO_DEVICE", "VKCOME_ERROR_DEVICE", "VKCOME_ERROR_DEVICE_LOST", "VKCOME_ERROR_OUT_OF_MEMORY",
	"VKCOME_ERROR_FAILED", "VKCOME_ERROR_INTERNAL",
}

// String is the code's name in C.
func (c Code) String() string {
	if c < 0 || int(c) >= len(codeNames) {
		return "unknown"
	}
	return codeNames[c]
}

// failure is an error of which is known what kind it is where nothing within it says more.
type failure struct {
	code Code
	error
}

func (f failure) Unwrap() error { return f.error }

// fail says what kind an error is of, where that is not known yet.
func fail(code Code, err error) error {
	if err == nil || errors.As(err, new(failure)) {
		return err
	}
	return failure{code, err}
}

// kinds are the codes of errors that callers tell apart, the most telling first.
var kinds = []struct {
	code Code
	is   func(err error) bool
}{
	{DeviceLost, of(vk.ErrDeviceLost)},
	{Cancelled, of(context.Canceled)},
	{OutOfMemory, of(vk.ErrOutOfMemory)},
	{NoDevice, of(vk.ErrNoDevice)},
	{Device, of(op.ErrWrong)},
	{Unsupported, of(arch.ErrUnsupported)},
	{Exists, of(prune.ErrExists, work.ErrLocked, work.ErrForeign, work.ErrSteps, work.ErrDifferent)},
	{Model, of(files.ErrChanged)},
	{Model, func(err error) bool {
		return errors.As(err, new(*model.NonFiniteError)) || errors.As(err, new(*run.NonFiniteError))
	}},
	{IO, of(named.ErrNotFound, fs.ErrNotExist, fs.ErrPermission)},
	{IO, func(err error) bool {
		return errors.As(err, new(*fs.PathError)) || errors.As(err, new(*os.LinkError)) || errors.As(err, new(syscall.Errno)) || errors.As(err, new(net.Error))
	}},
}

func of(list ...error) func(err error) bool {
	return func(err error) bool {
		for _, one := range list {
			if errors.Is(err, one) {
				return true
			}
		}
		return false
	}
}

// CodeOf is the code of an error.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	var f failure
	marked := errors.As(err, &f)
	if marked && (f.code == BadHandle || f.code == Busy || f.code == Internal) {
		return f.code
	}
	for _, k := range kinds {
		if k.is(err) {
			return k.code
		}
	}
	if marked {
		return f.code
	}
	return Failed
}

// Text is what an error says, in one line of UTF-8, with the fields of requests where the library names its options.
func Text(err error) string {
	text := strings.ToValidUTF8(printable.Line(spell(err.Error())), "�")
	return strings.ReplaceAll(text, context.Canceled.Error(), "cancelled")
}

// NoPointer is the error for a pointer that must not be null.
func NoPointer(what string) error {
	return fail(Argument, fmt.Errorf("%s pointer is null", what))
}
