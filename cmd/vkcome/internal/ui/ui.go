// Package ui is vkcome's local web application: it chooses a model, a device, a target and a text, prunes with live progress, compares what
// came of it, and chats with the original and the pruned model side by side. It calls what the command calls: plans of package prune, measures
// of model/eval, model/convert and model/generate. It fetches nothing from the network.
//
// A browser runs pages of strangers beside this one, and other users may be on the machine. So the server listens on the loopback address
// alone, answers no request without a session that began with a secret token, and touches no file outside the folders that it was opened
// for; see guard.go and paths.go.
package ui

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/vkcome/vkcome/model/printable"
	"github.com/vkcome/vkcome/vk"
)

// Options say what the application may touch and how it reaches the rest of the program.
type Options struct {
	Roots  []string // folders whose files it may read, and write outputs into
	State  string   // file that keeps recent models and runs; "" keeps nothing
	Tokens int      // of a text that are used at most, to calibrate and to measure
	Device string   // chosen at first, as vk.Options.Device

	Open    func(name string) (*vk.Device, error) // opens a device by its index; "" is Device
	Message func(text string) string              // makes one line for people of an error
	Saving  func(begun bool)                      // is told when work that is done is being written
	Show    func(path string) error               // opens a folder on the desktop
}

// Server is the application.
type Server struct {
	o     Options
	ctx   context.Context // ends with the program
	paths *paths
	guard *guard
	page  *template.Template

	mu      sync.Mutex
	kept    kept
	job     *job          // that runs, or ran last; nil before the first
	changed chan struct{} // closed at the next change

	work sync.WaitGroup
	turn chan struct{} // holds one element while something works on a device
	chat *chatting     // belongs to who holds the turn; nil: no models are open
}

//go:embed web
var web embed.FS

// New makes a server, whose work ends with ctx.
func New(ctx context.Context, o Options) (*Server, error) {
	p, err := newPaths(o.Roots)
	if err != nil {
		return nil, err
	}
	page, err := template.ParseFS(web, "web/index.html")
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, ctx: ctx, paths: p, guard: newGuard(), page: page, changed: make(chan struct{}), turn: make(chan struct{}, 1)}
	if s.kept, err = load(o.State); err != nil {
		return nil, err
	}
	return s, nil
}

// Address is what opens the application on a listener's port. The token in it serves as often as it is used; with once, another one that
// serves once, for command lines that other users see.
func (s *Server) Address(l net.Listener, once bool) string {
	token := s.guard.token
	if once {
		token = s.guard.newOnce()
	}
	return fmt.Sprintf("http://%s/?token=%s", l.Addr(), token)
}

// Times that requests may take. A connection that says nothing, or too little, is closed.
const (
	headerTime = 5 * time.Second
	bodyTime   = 10 * time.Second
	writeTime  = 30 * time.Second // of all but streams, which move theirs on
	idleTime   = 2 * time.Minute
	maxHeader  = 16 << 10
	maxBody    = 64 << 10
)

// Serve answers on a listener, which must be of a loopback address, until the context of New ends. It returns when the work that ran has
// stopped.
func (s *Server) Serve(l net.Listener) error {
	at, ok := l.Addr().(*net.TCPAddr)
	if !ok || !at.IP.IsLoopback() {
		return fmt.Errorf("ui: %v is no loopback address", l.Addr())
	}
	h := &http.Server{
		Handler: s.handler(at.Port), ReadHeaderTimeout: headerTime, ReadTimeout: bodyTime, WriteTimeout: writeTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return s.ctx },
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(l) }()
	var err error
	select {
	case <-s.ctx.Done():
	case err = <-failed:
	}
	err = errors.Join(err, h.Close())
	s.work.Wait()
	s.turn <- struct{}{} // whoever has it gives it back, as its context has ended
	return errors.Join(err, s.closeChat())
}

// handler is the application on a port, behind its guard.
func (s *Server) handler(port int) http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /{$}", s.index)
	for _, name := range []string{"app.js", "style.css"} {
		m.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, web, "web/"+name) })
	}
	m.HandleFunc("GET /report/{id}", s.report)
	m.HandleFunc("GET /api/events", s.events)
	for pattern, f := range map[string]func(r *http.Request) (any, error){
		"GET /api/devices": s.devices, "GET /api/models": s.models, "GET /api/browse": s.browse, "POST /api/model": s.describe, "POST /api/plan": s.plan,
		"POST /api/run": s.run, "POST /api/resume": s.resume, "POST /api/stop": s.stop, "POST /api/measure": s.measure, "POST /api/export": s.export,
		"POST /api/open": s.open, "POST /api/forget": s.forget,
	} {
		m.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, f) })
	}
	m.HandleFunc("POST /api/chat", s.talk)
	return s.guard.protect(m, port)
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = s.page.Execute(w, map[string]any{"CSRF": s.guard.csrf, "Roots": s.paths.roots, "Methods": methods(), "Tokens": s.o.Tokens}) // a browser that is gone needs no page
}

// refused is an error with its HTTP status.
type refused struct {
	status int
	error
}

func refusedf(status int, format string, args ...any) error {
	return refused{status, fmt.Errorf(format, args...)}
}

// answer writes what f gives as JSON, or its error as one line.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, f func(r *http.Request) (any, error)) {
	err := takeBody(w, r)
	var v any
	if err == nil {
		v, err = f(r)
	}
	s.reply(w, v, err)
}

// reply writes v as JSON, or an error as one line.
func (s *Server) reply(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	if err != nil {
		status = http.StatusBadRequest
		if of := (refused{}); errors.As(err, &of) {
			status = of.status
		}
		v = map[string]string{"error": s.line(err)}
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime)) // of a connection, which there is
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // as above
}

// takeBody reads the body of a request, all of it, and lifts the bounds on time: from here on it is the program that takes its time.
func takeBody(w http.ResponseWriter, r *http.Request) error {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return refusedf(http.StatusBadRequest, "the request: %w", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	c := http.NewResponseController(w)
	return errors.Join(c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{}))
}

// line is an error in one line without control characters.
func (s *Server) line(err error) string { return printable.Line(s.o.Message(err.Error())) }

// read parses the JSON of a request, which must be all that is there and have no other keys.
func read[T any](r *http.Request) (v T, err error) {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, refusedf(http.StatusBadRequest, "the request: %w", err)
	}
	if d.More() {
		return v, refusedf(http.StatusBadRequest, "the request: more than one value")
	}
	return v, nil
}

// change does something to what pages show, and tells them.
func (s *Server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// shown is what pages show: all of it, so that a page that was gone for a while misses nothing.
type shown struct {
	Job    *job     `json:"job"`
	Runs   []record `json:"runs"`
	Recent []string `json:"recent"`
}

func (s *Server) snapshot() (shown, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := shown{Runs: append([]record{}, s.kept.Runs...), Recent: append([]string{}, s.kept.Recent...)}
	if s.job != nil {
		j := *s.job
		if j.State == running {
			j.Seconds = time.Since(j.began).Seconds()
		}
		out.Job = &j
	}
	for i := range out.Runs {
		out.Runs[i].Perplexity = slices.Clone(out.Runs[i].Perplexity)
	}
	return out, s.changed
}

// How often a page is told: at most, and at least, so that time is seen to pass and a connection that is lost is found.
const (
	mostOften  = 100 * time.Millisecond
	leastOften = time.Second
)

// events tells a page of every change, as server-sent events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if err := takeBody(w, r); err != nil {
		s.reply(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		now, changed := s.snapshot()
		if err := send(w, "data: %s\n\n", now); err != nil {
			return
		}
		wait := time.After(leastOften)
		select {
		case <-r.Context().Done():
			return
		case <-wait:
		case <-changed:
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(mostOften):
		}
	}
}

// send writes v as JSON into a stream, and moves on the time that the stream may take.
func send(w http.ResponseWriter, format string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c := http.NewResponseController(w)
	if err := c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, format, raw); err != nil {
		return err
	}
	return c.Flush()
}
