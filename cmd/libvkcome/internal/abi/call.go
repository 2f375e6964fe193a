package abi

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
)

// Watch is who follows a call, and may end it.
type Watch struct {
	// Progress gets JSON, on the goroutine of the call; true cancels the call. nil: nobody is told.
	Progress func(event []byte) (cancel bool)
	Cancel   Handle // a token; 0: none
}

// The events that Progress gets, as JSON.
type (
	progressEvent struct {
		Stage    string         `json:"stage"`
		Done     int64          `json:"done"`
		Total    int64          `json:"total"`
		Training *trainingEvent `json:"training,omitempty"`
	}
	trainingEvent struct {
		Loss            float64 `json:"loss"`
		HeldOut         float64 `json:"held_out_loss"`
		TokensPerSecond float64 `json:"tokens_per_second"`
		LeftSeconds     float64 `json:"left_seconds"`
		DeviceBytes     int64   `json:"device_bytes"`
	}
	noteEvent struct {
		Note string `json:"note"`
	}
	textEvent struct {
		Text string `json:"text"`
	}
)

// teller hands events of a call to whoever watches it, and waits until they are taken.
type teller struct {
	watched bool
	events  chan []byte
	taken   chan struct{}
	over    chan struct{} // closed when the call has returned: nobody listens any more
	lost    atomic.Pointer[error]
}

// tell tells an event.
func (t *teller) tell(event any) {
	if !t.watched {
		return
	}
	raw, err := json.Marshal(event)
	if err != nil {
		t.lost.CompareAndSwap(nil, &err)
		return
	}
	select {
	case t.events <- raw:
		select {
		case <-t.taken:
		case <-t.over:
		}
	case <-t.over:
	}
}

// stage tells how far a stage is.
func (t *teller) stage(name string, done, total int) {
	t.tell(progressEvent{Stage: name, Done: int64(done), Total: int64(total)})
}

// note tells a line of the library's.
func (t *teller) note(line string) { t.tell(noteEvent{spell(line)}) }

// run does work on a goroutine of its own, whatever thread the caller's is bound to, and meanwhile tells the caller what work tells.
func (l *Library) run(w Watch, work func(ctx context.Context, t *teller) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if w.Cancel != 0 {
		of, release, err := use[*token](l, w.Cancel)
		if err != nil {
			return err
		}
		defer release()
		defer context.AfterFunc(of.ctx, cancel)()
		if err := of.ctx.Err(); err != nil {
			return err
		}
	}
	t := &teller{watched: w.Progress != nil, events: make(chan []byte), taken: make(chan struct{}), over: make(chan struct{})}
	defer close(t.over)
	done := make(chan error, 1)
	go func() { done <- Safely(func() error { return work(ctx, t) }) }()
	for {
		select {
		case event := <-t.events:
			if w.Progress(event) {
				cancel()
			}
			t.taken <- struct{}{}
		case err := <-done:
			if lost := t.lost.Load(); err == nil && lost != nil {
				err = fail(Internal, fmt.Errorf("progress: %w", *lost))
			}
			return err
		}
	}
}

// Safely makes an error of a panic in f.
func Safely(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fail(Internal, fmt.Errorf("a defect of vkcome: %v%s", r, panicked()))
		}
	}()
	return f()
}

// panicked says where the panic that is being recovered was.
func panicked() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if f.Function != "" && !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf(" (in %s, line %d)", f.Function, f.Line)
		}
		if !more {
			return ""
		}
	}
}
