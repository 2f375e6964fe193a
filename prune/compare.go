package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
)

// CompareOptions say what to compare.
type CompareOptions struct {
	Methods    []method.Method
	Depths     []int          // layers left
	Refit      *refit.Options // fit what each step of each method leaves; nil: nothing is fitted
	Protect    []int          // layers that no method touches; negative numbers count from the end
	Windows    [][]uint32     // calibration: windows of equal length
	Evaluation [][]uint32     // what perplexities are computed on: windows of equal length

	Memory *states.HostMemory // bounds host memory; nil: no bound

	Seed             uint64 // of the calibration's windows, for the record
	Source, EvalText string // names of the files behind the two, for the record
}

// Comparison is what several methods make of one model at several depths.
type Comparison struct {
	Version     string         `json:"vkcome"`
	Model       string         `json:"model"`
	Device      Device         `json:"device"`
	Calibration Calibration    `json:"calibration"`
	Evaluation  Calibration    `json:"evaluation"`
	Refit       *refit.Options `json:"refit,omitempty"` // of what each step left
	Shared      float64        `json:"shared_seconds"`  // the work that all methods share: scores of the model, and its states on the text for evaluation
	Dense       Compared       `json:"dense"`
	Rows        []Compared     `json:"rows"` // by depth, then by perplexity
}

// Compared is a model that a method made.
type Compared struct {
	Method     string        `json:"method"`
	Layers     int           `json:"layers"`
	Parameters int64         `json:"parameters"`
	Bytes      int64         `json:"bytes"` // of weights
	Sparsity   float64       `json:"sparsity"`
	Perplexity float64       `json:"perplexity,omitempty"`
	Seconds    float64       `json:"seconds"` // that the method took to get there from the model's scores; evaluation not counted
	Tree       []method.Tree `json:"tree,omitempty"`
	Error      string        `json:"error,omitempty"` // why there is no such model

	steps   []*method.Step
	fitting time.Duration // of Seconds
	fitted  int           // layers
	solving time.Duration // of Seconds, as in method.State
}

// Compare prunes m by several methods to several depths and measures the perplexity of each result, on the device. The scores of the
// model itself are computed once for all methods, and so are the states of the evaluation text below the first layer that a result
// changes. A method that cannot reach a depth has an error in the row of that depth. Nothing is written. progress may be nil.
func Compare(ctx context.Context, d *vk.Device, m *model.Model, o CompareOptions, progress func(Status)) (c *Comparison, err error) {
	depths, err := o.check(m)
	if err != nil {
		return nil, err
	}
	start, err := newStart(m, o.Protect)
	if err != nil {
		return nil, err
	}
	c = &Comparison{Version: Version, Model: m.Name, Device: deviceRecord(d),
		Calibration: calibration(o.Windows, o.Seed, o.Source), Evaluation: calibration(o.Evaluation, 0, o.EvalText)}
	report := func(stage string) func(done, total int) {
		return func(done, total int) {
			if progress != nil {
				progress(Status{Stage: stage, Done: done, Total: total})
			}
		}
	}

	begin := time.Now()
	o.Memory.Begin(d)
	relative, err := eval.NewRelative(ctx, d, m, o.Evaluation, score.Room(run.Options{Host: o.Memory}, m, len(o.Evaluation)), report("evaluate "+m.Name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, relative.Close()) }()
	fits := o.Refit != nil || slices.ContainsFunc(o.Methods, func(k method.Method) bool { return k.Needs().Held })
	scorer, err := scored(ctx, []*vk.Device{d}, m, o.Windows, o.Memory, fits, report("score "+m.Name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, scorer.Close()) }()
	if o.Refit != nil {
		effective := o.Refit.Defaults()
		c.Refit = &effective
	}
	c.Shared = time.Since(begin).Seconds()
	c.Dense = compared("dense", m, m)
	if c.Dense.Perplexity, err = relative.Perplexity(ctx, m); err != nil {
		return nil, err
	}
	perplexity := func(m *model.Model) (float64, error) { return relative.Perplexity(ctx, m) }
	for _, k := range o.Methods {
		rows, err := start.compare(ctx, d, m, scorer, k, o.Refit, depths, perplexity, o.Memory, report(k.Name()))
		if err != nil {
			return nil, err
		}
		c.Rows = append(c.Rows, rows...)
	}
	slices.SortStableFunc(c.Rows, inOrder)
	return c, nil
}

// scored is a scorer of m on devices that has its scores, and with fits room for layers to be fitted to its states.
func scored(ctx context.Context, devices []*vk.Device, m *model.Model, windows [][]uint32, memory *states.HostMemory, fits bool, progress func(done, total int)) (s *score.Scorer, err error) {
	s, err = score.NewOn(devices, m, windows, func(d *vk.Device) run.Options {
		o := score.Options(d)
		o.Host = memory
		if fits {
			o = refit.Room(o, d, m, len(windows[0]))
		}
		return o
	})
	if err != nil {
		return nil, err
	}
	if err = s.Update(ctx, m, 0, 0); err == nil {
		err = s.All(ctx, len(m.Layers), progress)
	}
	if err == nil {
		err = s.Hold(ctx, nil)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// compare takes a method from depth to depth, with a scorer that has m's scores and is left with these. fit is nil where nothing is fitted.
func (s start) compare(ctx context.Context, d *vk.Device, m *model.Model, scorer *score.Scorer, k method.Method, fit *refit.Options, depths []int,
	perplexity func(*model.Model) (float64, error), memory *states.HostMemory, progress func(done, total int)) (rows []Compared, err error) {
	state := s.state(m)
	state.Device, state.Scorer, state.Known, state.Refit, state.Store = d, scorer, true, fit, &states.LayerStore{Host: memory}
	rows, err = compareMethod(ctx, state, k, depths, perplexity, progress)
	scorer.Rewind() // nothing keeps the merged layers any more
	if err = errors.Join(err, state.Store.Close()); err != nil {
		return nil, fmt.Errorf("prune: %s: %s: %w", m.Name, k.Name(), err)
	}
	return rows, nil
}

// check refuses options that make no sense and gives the depths, the deepest model first, each once.
func (o CompareOptions) check(m *model.Model) (depths []int, err error) {
	layers := len(m.Layers)
	depths = slices.Clone(o.Depths)
	slices.SortFunc(depths, func(a, b int) int { return b - a })
	depths = slices.Compact(depths)
	switch {
	case len(o.Methods) == 0 || len(depths) == 0:
		return nil, errors.New("prune: nothing to compare: give methods and depths")
	case depths[0] >= layers || depths[len(depths)-1] < 1:
		return nil, fmt.Errorf("prune: depths %v, %s has %d layers: expected 1 to %d", depths, m.Name, layers, layers-1)
	case len(o.Windows) == 0 || len(o.Evaluation) == 0:
		return nil, errors.New("prune: a comparison needs a text to calibrate on and one to evaluate on")
	}
	if o.Refit != nil {
		if err := o.Refit.Check(m, len(o.Windows)); err != nil {
			return nil, fmt.Errorf("prune: %w", err)
		}
	}
	names := map[string]bool{}
	for _, k := range o.Methods {
		if names[k.Name()] {
			return nil, fmt.Errorf("prune: method %s is given twice", k.Name())
		}
		names[k.Name()] = true
	}
	return depths, nil
}

// inOrder puts the models of more layers first, of these those that there are, and of these the better ones.
func inOrder(a, b Compared) int {
	switch {
	case a.Layers != b.Layers:
		return b.Layers - a.Layers
	case (a.Error != "") != (b.Error != ""):
		return len(a.Error) - len(b.Error)
	case a.Perplexity < b.Perplexity:
		return -1
	case a.Perplexity > b.Perplexity:
		return 1
	}
	return 0 // equal, or not to be compared: NaN
}

// compareMethod takes a state from depth to depth.
func compareMethod(ctx context.Context, s *method.State, k method.Method, depths []int, perplexity func(*model.Model) (float64, error), progress func(done, total int)) (rows []Compared, err error) {
	start := s.Model
	var spent time.Duration
	var steps []*method.Step
	for _, depth := range depths {
		begin := time.Now()
		err := method.CheckRefit(k, s.Refit)
		if err == nil {
			err = k.Check(s, depth)
		}
		for err == nil && len(s.Model.Layers) > depth {
			progress(len(start.Layers)-len(s.Model.Layers), len(start.Layers)-depths[len(depths)-1])
			var step *method.Step
			if step, err = k.Step(ctx, s, depth, nil); err == nil {
				steps = append(steps, step)
			}
		}
		before := s.Model
		if err == nil && s.Refit != nil && s.Refit.Defaults().All {
			err = s.FitAll(ctx, new(method.Step), func(int, int) {})
		}
		spent += time.Since(begin)
		if ctx.Err() != nil || errors.Is(err, vk.ErrDeviceLost) {
			return nil, errors.Join(ctx.Err(), err)
		}
		if err != nil {
			rows = append(rows, Compared{Method: k.Name(), Layers: depth, Error: err.Error()})
			continue
		}
		row := compared(k.Name(), start, s.Model)
		row.Seconds, row.Tree = spent.Seconds(), s.Tree
		row.steps, row.fitting, row.fitted, row.solving = slices.Clone(steps), s.Fitting, s.Fitted, s.Solving
		if row.Perplexity, err = perplexity(s.Model); err != nil {
			return nil, err
		}
		rows = append(rows, row)
		if s.Model != before { // the next depth goes on from what the steps left
			s.Model = before
			s.Touch(0)
		}
	}
	return rows, nil
}

func compared(name string, start, m *model.Model) Compared {
	return Compared{Method: name, Layers: len(m.Layers), Parameters: m.Parameters(), Bytes: m.Bytes(), Sparsity: 1 - float64(m.Parameters())/float64(start.Parameters())}
}
