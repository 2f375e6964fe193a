package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// answer is how long the program tidies up after a signal: half of the second in which it is to have ended, as a busy machine takes its time to end it. What is behind its context ends by
// itself sooner, or after what the device is doing; this is for all else, such as a parser in the middle of a file, a standard output that nobody
// reads, a folder on a server that does not answer.
//
// Ending in the middle of anything is safe: whatever is written is written under another name and renamed, or has a checksum, so a run can be
// killed at any time, which tests do at random. What may stay is what a kill leaves: a work folder, which --resume goes on with, and temporary
// files beside the output, which --resume and --force remove. What would be lost is work that is done and being written: so the time begins
// anew as long as anything calls saving.
const answer = 500 * time.Millisecond

const interruptedCode = 130 // as shells have it for ^C

// watch listens to signals: the first cancels the context, a second one ends the process at once, whatever it is doing.
type watch struct {
	signals chan os.Signal
	cancel  context.CancelFunc
	heard   atomic.Bool
	ended   chan struct{} // closed when the verb has returned

	mu     sync.Mutex
	saving int // writers of what is done
}

// watching are the signals of this process.
var watching = &watch{signals: make(chan os.Signal, 2), ended: make(chan struct{})}

// start begins to listen. The context that it gives ends with the first signal.
func (w *watch) start() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	list := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
		list = append(list, syscall.SIGHUP)
	}
	signal.Notify(w.signals, list...)
	go w.listen()
	return ctx
}

func (w *watch) listen() {
	<-w.signals
	w.heard.Store(true)
	w.cancel()
	begin := time.Now()
	deadline, told := begin.Add(answer), false
	tick := time.NewTicker(20 * time.Millisecond)
	for {
		select {
		case <-w.signals:
			os.Exit(interruptedCode) // without a word: stderr may be what nobody reads
		case <-w.ended:
			return // main says the rest, as long as nobody interrupts it again
		case now := <-tick.C:
			switch {
			case w.isSaving():
				if deadline = now.Add(answer); !told && now.Sub(begin) > answer {
					told = true
					go say("what is done is being written; a second signal ends that")
				}
			case now.After(deadline):
				w.leave("interrupted, and ended before all was tidied up" + advice())
			}
		}
	}
}

// leave ends the process with a word, if that can be written.
func (w *watch) leave(word string) {
	said := make(chan struct{})
	go func() {
		complain(word)
		close(said)
	}()
	select {
	case <-said:
	case <-time.After(100 * time.Millisecond):
	case <-w.signals:
	}
	os.Exit(interruptedCode)
}

// save does what writes work that is done: a signal waits for its end.
func (w *watch) save(write func() error) error {
	w.saves(true)
	defer w.saves(false)
	return write()
}

// saves is told when such writing begins and ends.
func (w *watch) saves(begun bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if begun {
		w.saving++
	} else {
		w.saving--
	}
}

func (w *watch) isSaving() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.saving > 0
}

// resumes is whether the verb has --resume.
var resumes atomic.Bool

// advice is that for a run that was cut short.
func advice() string {
	if resumes.Load() {
		return "; run the same command with --resume to go on with what is kept, with --force to begin anew"
	}
	return ""
}

// interruptible is a reader whose reads end with a context, though its source, a terminal or a pipe, has nothing to read.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	return &interruptibleReader{ctx: ctx, r: r}
}

type interruptibleReader struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptibleReader) Read(b []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	own, done := make([]byte, min(len(b), 64<<10)), make(chan result, 1) // its own, as it may be filled when nobody waits any more
	go func() {
		n, err := i.r.Read(own)
		done <- result{n, err}
	}()
	select {
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	case r := <-done:
		return copy(b, own[:r.n]), r.err
	}
}
