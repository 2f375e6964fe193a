package ui

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/prune/method"
)

// kept is what the application remembers from one start to the next.
type kept struct {
	Recent []string `json:"recent"` // models, newest first
	Runs   []record `json:"runs"`   // oldest first
}

// spec is what a run does.
type spec struct {
	Model  string `json:"model"`
	Device string `json:"device"` // index, "" for the usual one
	Layers int    `json:"layers"` // that are left
	Method string `json:"method"` // "" is what prune.Recommended says
	Text   string `json:"text"`   // path, or demoText
	Out    string `json:"out"`
}

// States of jobs and runs.
const (
	running = "running"
	done    = "done"
	stopped = "stopped"
	failed  = "failed"
)

// record is a run.
type record struct {
	ID    int    `json:"id"`
	Spec  spec   `json:"spec"`
	State string `json:"state"`
	Error string `json:"error,omitempty"`
	// Resumable says that Resume may go further: the run was stopped, or failed of what need not last.
	Resumable bool `json:"resumable,omitempty"`

	Name       string        `json:"name"` // of the model
	Originals  int           `json:"originals"`
	Method     string        `json:"method,omitempty"` // that was used
	Tree       []method.Tree `json:"tree,omitempty"`
	Parameters int64         `json:"parameters,omitempty"`
	Bytes      int64         `json:"bytes,omitempty"`
	Seconds    float64       `json:"seconds"`
	GGUF       string        `json:"gguf,omitempty"`
	Perplexity []measured    `json:"perplexity,omitempty"`
}

// measured is the perplexity on a text.
type measured struct {
	Text     string  `json:"text"`
	Original float64 `json:"original"`
	Pruned   float64 `json:"pruned"`
}

const (
	maxRecent = 8
	maxRuns   = 100
	maxKept   = 16 << 20 // bytes of the file
)

// load reads what an earlier start kept. A run that was going on then was stopped, or killed.
func load(path string) (k kept, err error) {
	if path == "" {
		return k, nil
	}
	raw, err := files.Read(path, maxKept)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		err = files.JSON(raw, &k)
	}
	if err != nil {
		return k, fmt.Errorf("ui: %w; remove the file to begin without what it keeps", files.Plain(err))
	}
	for i := range k.Runs {
		if k.Runs[i].State == running {
			k.Runs[i].State, k.Runs[i].Resumable = stopped, true
		}
	}
	return k, nil
}

// save keeps what there is. The lock is held.
func (s *Server) save() error {
	if s.o.State == "" {
		return nil
	}
	raw, err := json.MarshalIndent(s.kept, "", " ")
	if err == nil {
		err = files.MkdirAll(filepath.Dir(s.o.State), 0o700)
	}
	if err == nil {
		err = files.WriteFile(s.o.State+".new", raw, 0o600)
	}
	if err == nil {
		err = files.Rename(s.o.State+".new", s.o.State)
	}
	return err
}

// used puts a model first among the recent ones.
func (s *Server) used(model string) error {
	var err error
	s.change(func() {
		list := slices.DeleteFunc(s.kept.Recent, func(m string) bool { return m == model })
		s.kept.Recent = slices.Insert(list, 0, model)
		s.kept.Recent = s.kept.Recent[:min(len(s.kept.Recent), maxRecent)]
		err = s.save()
	})
	return err
}

// find is a run by its number. The lock is held.
func (k *kept) find(id int) *record {
	for i := range k.Runs {
		if k.Runs[i].ID == id {
			return &k.Runs[i]
		}
	}
	return nil
}

// runByID copies a run that has this state; "" is any.
func (s *Server) runByID(id int, state string) (record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.kept.find(id)
	switch {
	case r == nil:
		return record{}, fmt.Errorf("there is no run %d", id)
	case state != "" && r.State != state:
		return record{}, fmt.Errorf("run %d is %s, not %s", id, r.State, state)
	}
	return *r, nil
}

// amend changes a run and keeps that.
func (s *Server) amend(id int, f func(r *record)) error {
	var err error
	s.change(func() {
		if r := s.kept.find(id); r != nil {
			f(r)
		}
		err = s.save()
	})
	return err
}
