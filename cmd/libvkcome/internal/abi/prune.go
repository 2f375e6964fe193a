package abi

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
)

// outputRequest says where a model is written. Fields are those of prune.Output.
type outputRequest struct {
	Out       string `json:"out"`
	Type      string `json:"type"`
	Force     bool   `json:"force"`
	Resume    bool   `json:"resume"`
	AnyDevice bool   `json:"any_device"`
	Work      string `json:"work"`
}

// output is where to write, checked as far as it can be before the rest of the request is looked at.
func (o outputRequest) output(source *opened, t *teller) (prune.Output, error) {
	if o.Out == "" {
		return prune.Output{}, fail(Argument, errors.New("out is missing: the folder or .gguf to write"))
	}
	if !o.Resume { // an output that is finished may be resumed
		if err := prune.CheckOutput(o.Out, source.Path, o.Force); err != nil {
			return prune.Output{}, fail(IO, err)
		}
	}
	return prune.Output{Dir: o.Out, Type: o.Type, Force: o.Force, Work: o.Work, Resume: o.Resume, AnyDevice: o.AnyDevice, Note: t.note}, nil
}

// pruneRequest says how to prune. Fields are those of prune.Options.
type pruneRequest struct {
	TargetLayers     int             `json:"target_layers"`
	Sparsity         float64         `json:"sparsity"`
	TargetParameters int64           `json:"target_parameters"`
	TargetBytes      int64           `json:"target_bytes"`
	Method           string          `json:"method"`
	MethodOptions    json.RawMessage `json:"method_options"`
	Protect          []int           `json:"protect"`
	AllScores        bool            `json:"all_scores"`
	Refit            *refit.Options  `json:"refit"`
	Distill          *healingRequest `json:"distill"`
	Corpus           *corpusRequest  `json:"corpus"`
	SaveSteps        bool            `json:"save_steps"`
	outputRequest
}

// healingRequest says how merged layers are trained while a model is pruned.
type healingRequest struct {
	Schedule string          `json:"schedule"`
	Options  distill.Options `json:"options"`
	Corpus   *corpusRequest  `json:"corpus"` // nil: that of the calibration
}

func (r *pruneRequest) check() error {
	switch {
	case r.Method == "" && (r.Refit != nil || len(r.MethodOptions) > 0):
		return fail(Argument, errors.New("refit and method_options go with a method: name it"))
	case r.Corpus != nil:
		return r.Corpus.check()
	}
	return nil
}

func (r *distillRequest) check() error { return r.Corpus.check() }

// plan checks a request against a model.
func (r *pruneRequest) plan(ctx context.Context, m *opened, t *teller) (*prune.Plan, error) {
	o := prune.Options{
		TargetLayers: r.TargetLayers, Sparsity: r.Sparsity, TargetParameters: r.TargetParameters, TargetBytes: r.TargetBytes, Protect: r.Protect, AllScores: r.AllScores,
		Refit: r.Refit,
	}
	if r.Method != "" {
		var err error
		if o.Method, err = method.FromJSON(r.Method, r.MethodOptions); err != nil {
			return nil, fail(Argument, err)
		}
	}
	if r.Corpus != nil || o.Method == nil || o.Refit != nil || o.Method.Needs().Corpus {
		in, err := r.Corpus.load(ctx, m, t, corpus.CalibrationTokens, false)
		if err != nil {
			return nil, err
		}
		o.Windows, o.Seed, o.Source = in.Windows, r.Corpus.Seed, in.Source
	}
	if o.Method == nil {
		o.Method, o.Refit = prune.Recommended(m.Model, len(o.Windows))
	}
	if h := r.Distill; h != nil {
		healing, err := h.load(ctx, r.Corpus, m, t, true)
		if err != nil {
			return nil, err
		}
		o.Distill = &healing
	}
	p, err := prune.NewPlan(m.Model, o)
	return p, fail(Argument, err)
}

// load reads the corpus that layers are trained on, as much of it as the options want.
func (h *healingRequest) load(ctx context.Context, calibration *corpusRequest, m *opened, t *teller, layers bool) (o prune.DistillOptions, err error) {
	in := h.Corpus
	if in == nil && calibration != nil {
		own := *calibration
		own.Windows, own.Docs, own.Tokens = 0, 0, 0
		in = &own
	}
	if err := in.check(); err != nil {
		return o, err
	}
	o = prune.DistillOptions{Schedule: h.Schedule, Options: h.Options, Seed: in.Seed}
	o.Options.Seed = in.Seed
	loaded, err := in.load(ctx, m, t, int(h.Options.CorpusTokens(in.window(m), layers)), false)
	if err != nil {
		return o, err
	}
	o.Windows, o.Source = loaded.Windows, loaded.Source
	return o, nil
}

// Plan says what Prune would give and take, as JSON.
func (l *Library) Plan(onDevice, of Handle, request string, w Watch) ([]byte, error) {
	var in pruneRequest
	return l.compute(onDevice, []Handle{of}, request, &in, w, func(ctx context.Context, d *device, m []*opened, t *teller) (any, error) {
		p, err := in.plan(ctx, m[0], t)
		if err != nil {
			return nil, err
		}
		t.stage("measure a layer", 0, 1)
		out, err := p.Predict(ctx, d.Device)
		return out, err
	})
}

// Prune prunes a model and gives its lineage as JSON.
func (l *Library) Prune(onDevice, of Handle, request string, w Watch) ([]byte, error) {
	var in pruneRequest
	return l.compute(onDevice, []Handle{of}, request, &in, w, func(ctx context.Context, d *device, m []*opened, t *teller) (any, error) {
		to, err := in.output(m[0], t)
		if err != nil {
			return nil, err
		}
		to.SaveSteps = in.SaveSteps
		p, err := in.plan(ctx, m[0], t)
		if err != nil {
			return nil, err
		}
		out, err := p.RunTo(ctx, d.Device, to, t.status)
		return out, err
	})
}

// distillRequest says how a pruned model is trained. Fields are those of prune.DistillationOptions.
type distillRequest struct {
	healingRequest
	Map string `json:"map"` // as in 3=4-5,7=9-11, or none
	outputRequest
}

// Distill trains the merged layers of a student against those of its teacher, and gives the lineage as JSON.
func (l *Library) Distill(onDevice, teacher, student Handle, request string, w Watch) ([]byte, error) {
	var in distillRequest
	return l.compute(onDevice, []Handle{teacher, student}, request, &in, w, func(ctx context.Context, d *device, m []*opened, t *teller) (any, error) {
		to, err := in.output(m[1], t)
		if err != nil {
			return nil, err
		}
		var o prune.DistillationOptions
		if in.Map != "" {
			if o.Groups, err = distill.ParseMap(in.Map); err != nil {
				return nil, fail(Argument, err)
			}
		}
		if o.Distill, err = in.load(ctx, nil, m[0], t, in.Map != distill.NoGroups); err != nil {
			return nil, err
		}
		p, err := prune.NewDistillation(m[0].Model, m[1].Model, o)
		if err != nil {
			return nil, fail(Argument, err)
		}
		out, err := p.RunTo(ctx, d.Device, to, t.status)
		return out, err
	})
}

// status tells how far a run is.
func (t *teller) status(s prune.Status) {
	e := progressEvent{Stage: s.Stage, Done: int64(s.Done), Total: int64(s.Total)}
	if now := s.Training; now != nil {
		e = progressEvent{Stage: now.Stage, Done: int64(now.Done), Total: int64(now.Total), Training: &trainingEvent{
			Loss: now.Loss, HeldOut: now.HeldOut, TokensPerSecond: now.Tokens, LeftSeconds: now.Left.Seconds(), DeviceBytes: now.Device,
		}}
	}
	t.tell(e)
}

// checker is a request that can be wrong by itself, which is said whatever the device does.
type checker interface{ check() error }

// compute reads a request into in, takes the device for itself and the models into use, and gives as JSON what work gives. That a model has
// changed meanwhile is an error.
func (l *Library) compute(onDevice Handle, models []Handle, request string, in checker, w Watch, work func(ctx context.Context, d *device, m []*opened, t *teller) (any, error)) ([]byte, error) {
	if err := decode(request, in); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	list, release, err := l.models(models)
	if err != nil {
		return nil, err
	}
	defer release()
	d, free, err := claim[*device](l, onDevice)
	if err != nil {
		return nil, err
	}
	defer free()
	var out []byte
	err = l.run(w, func(ctx context.Context, t *teller) error {
		v, err := work(ctx, d, list, t)
		if err != nil {
			return err
		}
		for _, m := range list {
			if err := m.Unchanged(); err != nil {
				return fail(Model, err) // what was computed is of two models
			}
		}
		out, err = json.Marshal(v)
		return err
	})
	return out, fail(Failed, err)
}

// models takes models into use.
func (l *Library) models(handles []Handle) (list []*opened, release func(), err error) {
	var all []func()
	release = func() {
		for _, r := range all {
			r()
		}
	}
	for _, h := range handles {
		m, r, err := use[*opened](l, h)
		if err != nil {
			release()
			return nil, nil, err
		}
		list, all = append(list, m), append(all, r)
	}
	return list, release, nil
}
