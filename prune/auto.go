package prune

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/work"
	"github.com/vkcome/vkcome/vk"
)

// AutoOptions say what an Auto may do. Of the targets exactly one is given, as in Options.
type AutoOptions struct {
	TargetLayers     int     // target: layers left
	Sparsity         float64 // target: share of all parameters to remove at least
	TargetParameters int64   // target: parameters left at most
	TargetBytes      int64   // target: bytes of weights left at most

	// Budget is the time for everything but writing the model; 0 is DefaultBudget. What is chosen depends on the machine's speed.
	Budget time.Duration
	// Candidates are what is tried, in this order; nil is Candidates(m).
	Candidates []Candidate
	// Heal trains with the time that is left; nil: nothing is trained. Its schedule is DistillAtEnd or empty, its own budget is what is left,
	// and without steps for all weights (distill.Options.EndToEnd) it takes as many as there is time for. Where that is few, it takes these alone, and the
	// schedule is DistillWhole.
	Heal *DistillOptions

	// Devices are more devices, of the same kind as the one that RunTo is given, which share the calibration windows with it in trials and in the run of
	// what is chosen. That one alone measures perplexities, and trains. Candidates give the same on one device; what there is time for is another matter.
	Devices []*vk.Device

	Protect []int              // layers that stay as they are; negative numbers count from the end
	Windows [][]uint32         // calibration corpus: windows of equal length, MinAutoWindows or more
	Seed    uint64             // that they were sampled with, for the record
	Source  string             // names of the files that they were made of, for the record
	Memory  *states.HostMemory // bounds host memory; nil: no bound
}

// DefaultBudget is the time that an Auto takes unless told otherwise.
const DefaultBudget = 20 * time.Minute

// firstCandidates are tried before a search says that there is no time for more: of Candidates the quick ones, and what did best on real models.
const firstCandidates = 3

// MinAutoWindows is the smallest corpus that holds what to calibrate and to fit on, and what to choose by.
const MinAutoWindows = 8

// Candidate is a way to make a model shallower that an Auto may try.
type Candidate struct {
	Name   string // for people; each its own
	Method method.Method
	Refit  *refit.Options // nil: nothing is fitted. What refit.Options.All adds is left to the run of what is chosen, unless there is no other fit
}

// Candidates are what is tried by default: two quick ones first, by which times are known and without which a small budget finds nothing, layer by
// layer and a block at once, then those that did best on real models for what they take.
func Candidates(m *model.Model) []Candidate {
	fit := &refit.Options{All: true, Projections: bothOf(m)}
	end := &refit.Options{End: true, Projections: bothOf(m)}
	angular := method.CoMe{Selector: method.SelectAngularAll, Repeat: true}
	return []Candidate{
		{"shortgpt, refit", method.ShortGPT{}, fit},
		{"streamline, refit", method.Streamline{}, fit},
		{"union, 1 candidate, refit", method.Union{Greedy: method.Greedy{Candidates: 1}}, fit},
		{"prune-comp, refit in the end", method.PruneComp{}, end},
		{"greedy, 1 candidate, refit", method.Greedy{Candidates: 1}, fit},
		{"come, all tokens, repeats, refit", angular, fit},
		{"union, by what fits leave, refit", method.Union{Greedy: method.Greedy{Selector: method.SelectRefit}}, fit},
		{"greedy, 3 candidates, refit", method.Greedy{Candidates: 3}, fit},
		{"greedy, refit", method.Greedy{}, fit},
		{"union, refit", method.Union{}, fit},
		{"greedy", method.Greedy{}, nil},
		{"prune-comp", method.PruneComp{}, nil},
		{"replaceme", method.ReplaceMe{}, nil},
		{"replaceme-cos", method.ReplaceMe{Cosine: true}, nil},
		{"come, repeats", method.CoMe{Repeat: true}, nil},
		{"come", method.CoMe{}, nil},
		{"come-p, 4 ratios, repeats", method.CoMeP{CoMe: method.CoMe{Repeat: true}, Granularity: 4}, nil},
		{"sleb", method.SLEB{}, nil},
	}
}

// AutoRecord is what a lineage tells of the search that led to its method.
type AutoRecord struct {
	Budget      float64     `json:"budget_seconds"`
	Calibration Calibration `json:"calibration"` // all windows that were given
	Validation  Calibration `json:"validation"`  // those of them by whose perplexity candidates were compared
	Dense       float64     `json:"dense"`       // perplexity of the unpruned model there
	Trials      []Trial     `json:"trials"`      // in their order
	Chosen      string      `json:"chosen"`      // a candidate's name
	Why         string      `json:"why"`
	Windows     int         `json:"windows"`                // that the chosen candidate then had
	Replayed    bool        `json:"replayed,omitempty"`     // it took the steps of its last trial again, and chose none: with these windows layers were fitted
	Heal        float64     `json:"heal_seconds,omitempty"` // that were left for training

	Key string `json:"key"` // hash of all that the search depended on but time
}

// Trial is one candidate in one round.
type Trial struct {
	Candidate  string  `json:"candidate"`
	Round      int     `json:"round"`
	Windows    int     `json:"windows"` // of the calibration corpus that it was given
	Perplexity float64 `json:"perplexity,omitempty"`
	Seconds    float64 `json:"seconds"`
	Fitting    float64 `json:"fitting_seconds,omitempty"` // of these
	Fitted     int     `json:"fitted_layers,omitempty"`
	Solving    float64 `json:"solving_seconds,omitempty"` // of these as well: choices by equations, which take as long for any number of windows
	Outcome    string  `json:"outcome"`                   // "goes on", "is behind", or why there is no perplexity
}

// What became of a trial that has a perplexity.
const (
	goesOn = "goes on"
	behind = "is behind"
)

// Auto is a search for the best way to make a model shallower within a time, checked and not started: successive halving (Jamieson and Talwalkar,
// arXiv 1502.07943). A round gives each candidate some windows of the calibration corpus and keeps the better half, by the perplexity on windows
// that none of them saw; the next round gives twice as many. What is chosen is done again with all windows, or with as many as there is time for. Where
// these are not twice as many as its trial had, its steps are those of the trial, and its layers are fitted with what there is time for.
type Auto struct {
	Model        *model.Model
	TargetLayers int
	Options      AutoOptions
	start        start
}

// NewAuto checks options against a model.
func NewAuto(m *model.Model, o AutoOptions) (*Auto, error) {
	if o.Budget == 0 {
		o.Budget = DefaultBudget
	}
	if o.Candidates == nil {
		o.Candidates = Candidates(m)
	}
	names := map[string]bool{}
	for _, c := range o.Candidates {
		if names[c.Name] {
			return nil, fmt.Errorf("prune: candidate %q is given twice", c.Name)
		}
		names[c.Name] = true
	}
	switch n := len(o.Windows); {
	case o.Budget < 0:
		return nil, fmt.Errorf("prune: a budget of %v, expected more than 0 (prune.AutoOptions.Budget)", o.Budget)
	case len(o.Candidates) == 0:
		return nil, errors.New("prune: there is nothing to try")
	case n < MinAutoWindows:
		return nil, fmt.Errorf("prune: a corpus of %d windows, expected %d or more, of which a quarter is kept to choose by: give more text (corpus.Options.Sources) or shorter windows (corpus.Options.Window)", n, MinAutoWindows)
	}
	plan, err := NewPlan(m, Options{TargetLayers: o.TargetLayers, Sparsity: o.Sparsity, TargetParameters: o.TargetParameters, TargetBytes: o.TargetBytes, Method: method.Reverse{}, Protect: o.Protect})
	if err != nil {
		return nil, err
	}
	if h := o.Heal; h != nil {
		own := *h
		own.Schedule = DistillAtEnd
		if err := own.check(); err != nil {
			return nil, err
		}
		if err := m.Config.CheckGradients(); err != nil {
			return nil, fmt.Errorf("prune: %w", err)
		}
		o.Heal = &own
	}
	return &Auto{Model: m, TargetLayers: plan.TargetLayers, Options: o, start: plan.start}, nil
}

// parts are the windows to calibrate on and those to choose by: every fourth, which have something of all texts.
func (a *Auto) parts() (calibrate, choose [][]uint32) {
	for i, w := range a.Options.Windows {
		if i%4 == 3 {
			choose = append(choose, w)
		} else {
			calibrate = append(calibrate, w)
		}
	}
	return calibrate, choose
}

// key is the hash of all that a search depends on but time, which more devices give more of.
func (a *Auto) key(source string, d *vk.Device) string {
	type candidate struct {
		Name   string
		Method method.Method
		Refit  *refit.Options
	}
	var list []candidate
	for _, c := range a.Options.Candidates {
		list = append(list, candidate{c.Name, c.Method.Effective(), c.Refit})
	}
	var heal []byte
	if h := a.Options.Heal; h != nil {
		heal, _ = json.Marshal([]any{h.Options, corpus.Hash(h.Windows)}) // plain numbers and strings
	}
	raw, _ := json.Marshal([]any{Version, source, a.start.previous, a.TargetLayers, a.start.protected, a.Options.Budget, list, string(heal), corpus.Hash(a.Options.Windows), deviceRecord(d), 1 + len(a.Options.Devices)})
	return hashBytes(raw)
}

// RunTo searches, prunes, heals, and writes the model with the search in its lineage. With Output.Resume it goes on with a search, or a run, that
// was stopped: the time that was spent before counts. progress may be nil.
func (a *Auto) RunTo(ctx context.Context, d *vk.Device, o Output, progress func(Status)) (lineage *Lineage, err error) {
	o = o.defaults()
	if progress == nil {
		progress = func(Status) {}
	}
	source, err := model.Hash(ctx, a.Model.Files)
	if err != nil {
		return nil, fmt.Errorf("prune: hash of the model: %w", err)
	}
	s := &search{Auto: a, device: d, progress: progress, path: searchFile(o.Dir), record: AutoRecord{Key: a.key(source, d)}}
	unlock, err := work.Lock(s.path + ".lock")
	if errors.Is(err, work.ErrLocked) {
		return nil, fmt.Errorf("prune: another process searches for %s: one at a time", o.Dir)
	} else if err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if done, err := s.open(o); err != nil || done != nil {
		return done, err
	}
	if err := checkFinite(ctx, a.Model, progress); err != nil {
		return nil, err
	}
	if err := s.run(ctx); err != nil {
		return nil, s.left(err)
	}
	plan, err := s.plan(source)
	if err != nil {
		return nil, s.left(err)
	}
	lineage, err = plan.RunTo(ctx, d, o, progress)
	if err != nil {
		return nil, s.left(err)
	}
	return lineage, s.remove()
}

// searchFile is where a search for what is written to out keeps what it found.
func searchFile(out string) string {
	return filepath.Join(filepath.Dir(out), "."+filepath.Base(out)+".vkcome-auto.json")
}

// ours refuses a file with the name of a search's that none wrote. An earlier vkcome's has no checksum and begins as the record does.
func (s *search) ours(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	raw, err := files.Read(path, maxSearch)
	if err == nil && len(raw) > 0 && !work.Sealed(raw, searchFormat) && !bytes.HasPrefix(raw, []byte(`{"search":{"budget_seconds":`)) {
		err = &work.Foreign{Dir: filepath.Dir(path), Name: filepath.Base(path), Why: "is no search of vkcome auto"}
	}
	return err
}

// remove removes the search's file, if there is one.
func (s *search) remove() error {
	err := s.ours(s.path)
	if err == nil {
		err = os.Remove(s.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// left adds to an error how to go on, if something was found.
func (s *search) left(err error) error {
	var unfinished *Unfinished
	if len(s.record.Trials) == 0 || errors.As(err, &unfinished) {
		return err
	}
	return &Unfinished{Err: err, Work: s.path}
}

// open takes up what a search found that was stopped, or gives the lineage of the model that is there already.
func (s *search) open(o Output) (done *Lineage, err error) {
	if o.Resume {
		text, err := lineageOf(o.Dir)
		var l *Lineage
		if err == nil {
			l, err = ParseLineage(text)
		}
		if err == nil && l.Auto != nil && l.Auto.Key == s.record.Key {
			o.Note(o.Dir + " is finished already")
			if err := s.remove(); err != nil { // it was killed between naming its result and its end
				return nil, fmt.Errorf("prune: %w", err)
			}
			return l, nil
		}
	}
	if err := CheckOutput(o.Dir, s.Model.Name, o.Force); err != nil {
		return nil, err
	}
	if err := s.Model.CheckFiles(); err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	for _, path := range []string{s.path, s.path + ".tmp"} { // the other is what work.WriteFile writes
		if err := s.ours(path); err != nil {
			return nil, fmt.Errorf("prune: %w", err)
		}
	}
	raw, err := files.Read(s.path, maxSearch)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.begin()
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("prune: %w", err)
	case !o.Resume && !o.Force:
		return nil, fmt.Errorf("prune: an unfinished search is in %s: go on with it (prune.Output.Resume), or begin anew (prune.Output.Force)", s.path)
	case !o.Resume:
		s.begin()
		return nil, s.remove()
	}
	was, err := readSearch(raw)
	if err == nil {
		err = s.check(was)
	}
	if err != nil {
		return nil, fmt.Errorf("prune: %s: %w: begin anew (prune.Output.Force, without prune.Output.Resume)", s.path, err)
	}
	if was.Record.Key != s.record.Key {
		return nil, fmt.Errorf("prune: the search in %s was one with other options, another corpus, model, device or number of devices: give the same, or begin anew (prune.Output.Force, without prune.Output.Resume)", s.path)
	}
	s.begin()
	s.record, s.steps, s.pass, s.compare, s.began = was.Record, was.Steps, was.Pass, was.Compare, s.began.Add(-was.Spent)
	o.Note(fmt.Sprintf("going on after %d trials, %v spent", len(was.Record.Trials), was.Spent.Round(time.Second)))
	return nil, nil
}
