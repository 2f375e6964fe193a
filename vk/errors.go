package vk

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"

	"github.com/vkcome/vkcome/vk/internal/native"
)

// Errors that callers tell apart with errors.Is; the message names what was asked for.
var (
	ErrNoDevice    = errors.New("no such Vulkan device")
	ErrOutOfMemory = errors.New("out of device memory")
	ErrDeviceLost  = errors.New("device lost")
	ErrLimit       = errors.New("beyond a limit of the device")
	ErrClosed      = errors.New("used after Close")
)

// wrap turns a driver's result into the package's errors.
func wrap(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, native.OutOfDeviceMemory), errors.Is(err, native.OutOfHostMemory):
		return fmt.Errorf("%w: %v", ErrOutOfMemory, err)
	case errors.Is(err, native.DeviceLost):
		return fmt.Errorf("%w: %v (the driver reset it or the GPU hung; work that was not saved is gone)", ErrDeviceLost, err)
	}
	return err
}

// Bytes prints a size with a binary unit, as in "7.5 MiB".
func Bytes(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
