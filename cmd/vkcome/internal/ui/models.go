package ui

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/chat"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/hub"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/vk"
)

const (
	hubPrefix = "hub:" // of models of the Hugging Face cache
	demoText  = "demo" // the story in the binary: its first half calibrates, its second measures
	// demoWindow is the tokens of a window of the story, as in vkcome demo.
	demoWindow = 128
)

// cache is the Hugging Face cache, of which nothing is fetched.
var cache = hub.Hub{Offline: true}

// canonical is the name of a model as runs keep it: of a file or folder its whole path.
func (s *Server) canonical(name string) (string, error) {
	if name == embedded.Name || strings.HasPrefix(name, hubPrefix) {
		return name, nil
	}
	return s.paths.existing(name)
}

// textPath is the same of a text.
func (s *Server) textPath(name string) (string, error) {
	if name == demoText {
		return name, nil
	}
	return s.paths.existing(name)
}

// openModel opens the model that a page names: the embedded one, one of the cache, or a path within the folders.
func (s *Server) openModel(ctx context.Context, name string) (*model.Model, error) {
	if name == embedded.Name {
		return embedded.Open()
	}
	path, id := "", ""
	if rest, ok := strings.CutPrefix(name, hubPrefix); ok {
		list, err := cache.CachedModels()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, rest) {
			return nil, fmt.Errorf("%s is not in the Hugging Face cache: fetch it with vkcome inspect %s", rest, rest)
		}
		if path, err = cache.Model(ctx, rest); err != nil {
			return nil, err
		}
		id = rest
	} else {
		var err error
		if path, err = s.paths.existing(name); err != nil {
			return nil, err
		}
	}
	m, err := model.Open(path)
	if err == nil && id != "" {
		m.Name = id
	}
	return m, err
}

// withModel opens a model and calls f with it.
func (s *Server) withModel(ctx context.Context, name string, f func(m *model.Model) error) error {
	m, err := s.openModel(ctx, name)
	if err != nil {
		return err
	}
	if err = f(m); err == nil {
		err = m.Unchanged()
	}
	return errors.Join(err, m.Close())
}

// windows are those of a text, to calibrate on or, held out, to measure on.
func (s *Server) windows(ctx context.Context, m *model.Model, text string, held bool) (windows [][]uint32, source string, err error) {
	t, err := m.Tokenizer()
	if err != nil {
		return nil, "", err
	}
	if text == demoText {
		ids, err := corpus.Encode(t, embedded.Text)
		if err != nil {
			return nil, "", err
		}
		if windows, err = corpus.Cut(ids, min(demoWindow, m.Config.MaxPositionEmbeddings)); err != nil {
			return nil, "", err
		}
		if half := len(windows) / 2; held {
			windows = windows[half:]
		} else {
			windows = windows[:half]
		}
		if len(windows) == 0 {
			return nil, "", fmt.Errorf("the embedded story is too short for %s: choose a file", m.Name)
		}
		return windows, "demo.txt", nil
	}
	path, err := s.paths.existing(text)
	if err != nil {
		return nil, "", err
	}
	in, err := corpus.Load(ctx, t, corpus.Options{Sources: []string{path}, Test: held, Context: m.Config.MaxPositionEmbeddings, Tokens: s.o.Tokens, Hub: cache})
	if err != nil {
		return nil, "", err
	}
	return in.Windows, in.Source, nil
}

// how is the method of a spec, with the fit that goes with it.
func (sp spec) how(m *model.Model, windows int) (method.Method, *refit.Options, error) {
	if sp.Method == "" {
		by, fit := prune.Recommended(m, windows)
		return by, fit, nil
	}
	if !slices.ContainsFunc(methods(), func(e method.Entry) bool { return e.Name == sp.Method }) {
		return nil, nil, fmt.Errorf("method %q is not one of this application", sp.Method)
	}
	e, err := method.Lookup(sp.Method)
	if err != nil {
		return nil, nil, err
	}
	return e.New(method.Options{}), nil, nil
}

// methods are those that need nothing but a target: not a list of layers, and not a fit, which the recommended way has.
func methods() []method.Entry {
	return slices.DeleteFunc(slices.Clone(method.Registry), func(e method.Entry) bool {
		return e.Needs().Target != nil || e.Name == (method.Union{}).Name()
	})
}

// newPlan checks a run against its model.
func (s *Server) newPlan(ctx context.Context, m *model.Model, sp spec) (*prune.Plan, error) {
	if sp.Layers < 1 || sp.Layers >= len(m.Layers) {
		return nil, fmt.Errorf("%s has %d layers: choose from 1 to %d to be left, not %d", m.Name, len(m.Layers), len(m.Layers)-1, sp.Layers)
	}
	windows, source, err := s.windows(ctx, m, sp.Text, false)
	if err != nil {
		return nil, err
	}
	o := prune.Options{TargetLayers: sp.Layers, Windows: windows, Source: source}
	if o.Method, o.Refit, err = sp.how(m, len(windows)); err != nil {
		return nil, err
	}
	return prune.NewPlan(m, o)
}

// devices lists the devices, best first.
func (s *Server) devices(*http.Request) (any, error) {
	list, err := vk.Devices()
	if err != nil {
		return nil, err
	}
	type device struct {
		Index  int    `json:"index"`
		Name   string `json:"name"`
		Kind   string `json:"kind"`
		Tier   string `json:"tier"`
		Memory string `json:"memory"`
	}
	out := []device{}
	for _, d := range list {
		out = append(out, device{d.Index, d.Name, d.KindName, d.TierName, vk.Bytes(d.Limits.DeviceMemory)})
	}
	return map[string]any{"devices": out, "chosen": s.o.Device}, nil
}

// models lists what the cache has.
func (s *Server) models(*http.Request) (any, error) {
	list, err := cache.CachedModels()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, id := range list {
		names = append(names, hubPrefix+id)
	}
	return map[string]any{"embedded": embedded.Name, "cached": names}, nil
}

func (s *Server) browse(r *http.Request) (any, error) {
	dir, parent, entries, err := s.paths.list(r.URL.Query().Get("dir"))
	return map[string]any{"dir": dir, "parent": parent, "entries": entries}, err
}

// described is a model, and what it is with each number of layers.
type described struct {
	Model  string        `json:"model"`
	Name   string        `json:"name"`
	Layers int           `json:"layers"`
	Depths []prune.Depth `json:"depths"`
	Chat   bool          `json:"chat"` // it has a chat template
	Out    string        `json:"out"`  // a name that is free
}

// describe opens a model, which becomes one of the recent.
func (s *Server) describe(r *http.Request) (any, error) {
	in, err := read[struct {
		Model string `json:"model"`
	}](r)
	if err != nil {
		return nil, err
	}
	d := &described{}
	if d.Model, err = s.canonical(in.Model); err != nil {
		return nil, err
	}
	if err := s.withModel(r.Context(), in.Model, func(m *model.Model) error {
		d.Name, d.Layers, d.Depths = m.Name, len(m.Layers), prune.Depths(m)
		t, err := m.Tokenizer()
		if err != nil {
			return err
		}
		switch _, err := chat.Open(m.Files, t, ""); {
		case err == nil:
			d.Chat = true
		case !errors.Is(err, chat.ErrNone):
			return err
		}
		return nil
	}); err != nil {
		return nil, err
	}
	base := strings.TrimLeft(strings.TrimSuffix(filepath.Base(strings.ReplaceAll(d.Name, ":", "-")), ".gguf"), ".")
	d.Out = free(filepath.Join(s.paths.roots[0], base+"-pruned"))
	return d, s.used(d.Model)
}

// free is a path like this one where nothing is, and no work of an unfinished run.
func free(path string) string {
	for n := 1; ; n++ {
		try := path
		if n > 1 {
			try = fmt.Sprintf("%s-%d", path, n)
		}
		_, there := os.Lstat(try)
		_, unfinished := os.Lstat(prune.DefaultWork(try))
		if there != nil && unfinished != nil {
			return try
		}
	}
}
