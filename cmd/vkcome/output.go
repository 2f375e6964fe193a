package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rivo/uniseg"
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

	terminal   io.Writer = os.Stderr // of prompts
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

// screen is standard error: messages, and on a terminal the line of progress, which messages do not tear. Neither has colours or escape
// sequences: the line goes back by a carriage return and is written over, which consoles of every system and terminals that can do little
// understand, so NO_COLOR and TERM=dumb change nothing.
var screen = &messages{w: os.Stderr, width: terminalWidth}

type messages struct {
	mu    sync.Mutex
	w     io.Writer
	width func() int // of the terminal, in cells
	json  bool       // --log-format json; is set before anything is said
	line  string     // of progress that stands there
}

// terminalWidth asks each time, as a terminal may be made wider.
func terminalWidth() int {
	if width, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil && width > 0 {
		return width
	}
	return 80
}

// draw puts a line in the place of the one that stands there; "" takes it away.
func (m *messages) draw(line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if line != m.line {
		_, _ = io.WriteString(m.w, m.over(line)) // a terminal that cannot be written to loses its line, not the work
		m.line = line
	}
}

// over is what writes a line over the one that stands there.
func (m *messages) over(line string) string {
	if m.line == "" {
		return line
	}
	rest := uniseg.StringWidth(m.line) - uniseg.StringWidth(line)
	if rest = min(rest, max(0, m.width()-1-uniseg.StringWidth(line))); rest > 0 { // the terminal may be narrower now
		line += strings.Repeat(" ", rest) + "\r" + line
	}
	return "\r" + line
}

// write writes text that ends with a line end, above the line of progress. If that fails there is nobody to tell.
func (m *messages) write(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	line := m.line
	text = m.over("") + text
	if line != "" {
		text += line
	}
	_, _ = io.WriteString(m.w, text)
}

// log writes an entry as a line of JSON.
func (m *messages) log(e entry) { m.write(e.encode(time.Now())) }

// say writes a message to stderr.
func say(text string) { tell("info", text) }

// warn is say of what changes the result.
func warn(text string) { tell("warning", text) }

func tell(level, text string) {
	if screen.json {
		screen.log(entry{Level: level, Message: oneLine(text)})
		return
	}
	screen.write(oneLine(text) + "\n")
}

// sayText writes a text of several lines, which ends with a line end, to stderr.
func sayText(text string) {
	if screen.json {
		screen.log(entry{Level: "info", Message: text})
		return
	}
	screen.write(printable.Text(text))
}

// complain is say of what ends the program.
func complain(text string) {
	if screen.json {
		screen.log(entry{Level: "error", Error: oneLine(text)})
		return
	}
	screen.write(prefix + oneLine(text) + "\n")
}
