package main

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// listenToPipes has nothing to do: Windows ends no process for a pipe that nobody reads.
func listenToPipes() {}

// unread says whether a write failed as nobody reads the pipe any more.
func unread(err error) bool {
	return errors.Is(err, windows.ERROR_NO_DATA) || errors.Is(err, windows.ERROR_BROKEN_PIPE)
}

const unreadCode = 141 // as shells of other systems, Git's too, have it

// endOfPipe ends the process without a word: that is how "vkcome ... | head" is meant.
func endOfPipe() { os.Exit(unreadCode) }
