package train

import (
	"context"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/vk"
)

// Memory is the device memory that training takes at most, states and all, phase by phase.
type Memory struct {
	Forward  int64 `json:"forward"`            // while layers run for the states that are trained on
	Layer    int64 `json:"layer"`              // while the largest layer is trained
	Whole    int64 `json:"whole,omitempty"`    // while the whole model is trained
	Streamed bool  `json:"streamed,omitempty"` // that is by StreamedTraining
	Host     int64 `json:"host,omitempty"`     // what that keeps of weights, masters, moments and gradients in host memory and files
}

// Peak is the most of the phases.
func (t Memory) Peak() int64 { return max(t.Forward, t.Layer, t.Whole) }

// Whole says how a whole model is trained in the end.
type Whole int

// The ways.
const (
	NoWhole  Whole = iota // it is not
	Resident              // by ModelTraining
	Streamed              // by StreamedTraining
)

// Work is what is to be trained.
type Work struct {
	Layers    []int
	Objective Objective
	Student   bool // they learn from states of the student
	Whole     Whole
	Setup     Setup
}

// Predict is the device memory for the work on m, which learns from teacher on so many windows, in batches as the options say.
func Predict(d *vk.Device, teacher, m *model.Model, windows, window int, o run.Options, w Work) (t Memory, err error) {
	f, err := run.PredictMemory(d, teacher, windows, window, o)
	if err != nil {
		return t, err
	}
	ctx, rest := context.Background(), f.Resting
	t.Forward = f.Taken
	if w.Student {
		t.Forward += rest
		rest *= 2
	}
	for _, l := range w.Layers {
		t.Layer = max(t.Layer, rest+d.DryRun(func(s *vk.Scope) { newLayer(ctx, s, nil, teacher, m, l, window, f.Rows, w.Objective, w.Setup) }))
	}
	switch w.Whole {
	case Resident:
		t.Whole = rest + d.DryRun(func(s *vk.Scope) { newModel(ctx, s, nil, teacher, m, window, f.Rows, w.Setup) })
	case Streamed:
		p := streamPlan{teacher, m, w.Setup, window, f.Rows}
		weights, shelf := p.host()
		t.Whole, t.Streamed, t.Host = rest+p.device(d), true, weights+shelf
	}
	return t, nil
}

// PredictGradients is the footprint of Gradients of each window by itself, for a number of windows of some tokens, beside a Forward of the
// options o, with StatesOnHost, that rests and keeps the states of one boundary, and beside extra bytes of host memory.
func PredictGradients(d *vk.Device, m *model.Model, windows, window int, extra int64, o run.Options) (p run.Footprint, err error) {
	if p, err = run.Predict(d, m, windows, window, GradientBoundaries(m), extra+states.RunBytes, o); err != nil {
		return p, err
	}
	beside, err := run.PredictMemory(d, m, windows, window, o)
	if err != nil {
		return p, err
	}
	f, err := run.PredictMemory(d, m, windows, window, GradientOptions(o))
	if err != nil {
		return p, err
	}
	pass := d.DryRun(func(s *vk.Scope) {
		g := newGradientPass(s, nil, m, graph.Shared{}, window, window)
		g.headPass(context.Background(), s, nil, window)
	})
	p.Device = max(p.Device, beside.Resting+max(f.Taken, f.Resting+f.Weights+pass))
	return p, nil
}
