//go:build unix

package main

import (
	"os"
	"syscall"
)

// endedByPipe says whether a process ended as those do that write to a pipe that nobody reads.
func endedByPipe(p *os.ProcessState) bool {
	status, ok := p.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGPIPE
}
