package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/term"

	"github.com/vkcome/vkcome/model/printable"
)

// All that the program says goes through here: nothing else names the standard streams, which a test holds to.
//
// Text for people, on stdout and stderr, never holds control characters, wherever it goes: names in files may have them, and tables end up on
// terminals by less and cat too. Data, that is JSON, CSV and text that a model made, is left as it is in pipes and files; where a terminal shows
// it, its control characters become JSON's \uNNNN, which in JSON means the same.
var (
	standard = &stream{file: os.Stdout}

	stdout io.Writer = &printable.Writer{W: standard} // text
	data   io.Writer = shown(standard)                // data

	terminal   io.Writer = os.Stderr // of the progress bar, which moves the cursor, and of the prompt of a chat
	onTerminal           = term.IsTerminal(int(os.Stderr.Fd()))
)

func shown(s *stream) io.Writer {
	if term.IsTerminal(int(s.file.Fd())) {
		return &printable.Writer{W: s}
	}
	return s
}

// stream is standard output. It remembers the first write that failed, whatever becomes of its error where it was written, and lets nothing
// through after it.
type stream struct {
	file   *os.File
	mu     sync.Mutex
	err    error
	failed func() // is called once; may be nil
}

func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.file.Write(b)
	return n, s.fail(err)
}

// fail remembers an error, in which the name of the stream is the user's: os has /dev/stdout, which may be another file.
func (s *stream) fail(err error) error {
	if err == nil {
		return nil
	}
	if of := (*os.PathError)(nil); errors.As(err, &of) {
		err = of.Err
	}
	s.err = fmt.Errorf("stdout: %w", err)
	if s.failed != nil {
		s.failed()
	}
	return s.err
}

// finish writes what is left and closes standard output, which on some file systems is when a full disk is known. It gives the first error.
func (s *stream) finish() error {
	for _, w := range []io.Writer{stdout, data} {
		if clean, ok := w.(*printable.Writer); ok {
			_ = clean.Flush() // the stream remembers
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	return s.fail(s.file.Close())
}

// listenToPipes has writes to pipes that nobody reads fail, where they would end the process before it has tidied up.
func listenToPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// endOfPipe ends the process as the system ends those that write to such a pipe, without a word: that is how "vkcome ... | head" is meant.
func endOfPipe() {
	signal.Reset(syscall.SIGPIPE)
	_, _ = os.Stdout.WriteString("\n") // which Go answers with the signal
	os.Exit(128 + int(syscall.SIGPIPE))
}

// maxMessage bounds a message, in bytes with its prefix and its end: names in files may have megabytes.
const maxMessage = 4 << 10

// prefix begins the message that ends the program.
const prefix = "vkcome: "

// oneLine puts a message on one line: flags where the library names options, each cause once (what failed and what was cleaned up after it may tell
// the same error), no control characters, and not too long.
func oneLine(text string) string {
	var causes []string
	for line := range strings.Lines(spell(printable.Clip(text, 4*maxMessage))) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(causes, line) {
			causes = append(causes, line)
		}
	}
	return printable.Clip(printable.Line(strings.Join(causes, "; ")), maxMessage-len(prefix)-len("\n"))
}

// say writes a message to stderr. If that fails there is nobody to tell.
func say(text string) { _, _ = io.WriteString(os.Stderr, oneLine(text)+"\n") }

// sayText writes a text of several lines to stderr.
func sayText(text string) { _, _ = io.WriteString(os.Stderr, printable.Text(text)) }

// complain is say of what ends the program.
func complain(text string) { _, _ = io.WriteString(os.Stderr, prefix+oneLine(text)+"\n") }
