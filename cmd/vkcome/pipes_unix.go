//go:build unix

package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// listenToPipes has writes to pipes that nobody reads fail, where they would end the process before it has tidied up.
func listenToPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// unread says whether a write failed as nobody reads the pipe any more.
func unread(err error) bool { return errors.Is(err, syscall.EPIPE) }

// endOfPipe ends the process as the system ends those that write to such a pipe, without a word: that is how "vkcome ... | head" is meant.
func endOfPipe() {
	signal.Reset(syscall.SIGPIPE)
	_, _ = standard.file.WriteString("\n") // which Go answers with the signal
	os.Exit(128 + int(syscall.SIGPIPE))
}
