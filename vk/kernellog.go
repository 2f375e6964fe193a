package vk

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// kernelLogVariable names a folder for tests to find out which kernels ran: each process writes a file into it, with a line for each
// kernel and device that it dispatched, "KERNEL\tDEVICE, DRIVER VERSION". `go run ./shaders/gen -coverage FOLDER` reads them.
const kernelLogVariable = "VKCOME_KERNEL_LOG"

// kernelLog is the process's file, nil where nothing is logged.
var kernelLog = sync.OnceValues(func() (*os.File, error) {
	folder := os.Getenv(kernelLogVariable)
	if folder == "" {
		return nil, nil
	}
	return os.CreateTemp(folder, filepath.Base(os.Args[0])+"-*.txt")
})

// log notes, the first time, that the kernel is dispatched. A kernel missing from the log would count as one that did not run, so what
// cannot be written is an error.
func (k *Kernel) log(d *Device) error {
	if k.logged.Swap(true) {
		return nil
	}
	f, err := kernelLog()
	if f != nil && err == nil {
		// One write appends a whole line, whichever goroutine it is of.
		_, err = fmt.Fprintf(f, "%s\t%s, %s %s\n", k.name, d.Info.Name, d.Info.Driver, d.Info.DriverVersion)
	}
	if err != nil {
		return fmt.Errorf("vk: %s: %w", kernelLogVariable, err)
	}
	return nil
}
