package distill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/vk"
)

// Job is what is to be healed, and what it learns from.
type Job struct {
	Teacher *model.Model
	Student *model.Model
	Groups  []Group
	Windows [][]uint32 // of equal length
	Options Options
	Memory  *states.HostMemory // bounds host memory; nil: no bound
	Keep    bool               // keep the teacher's states at all boundaries, for layers that come in any order

	Progress func(Status)                          // may be nil
	Store    *states.LayerStore                    // of healed layers; nil keeps them in memory
	Save     func(context.Context, Snapshot) error // is given what Resume goes on from, now and then; nil: nothing is kept
	Every    time.Duration                         // between two of these inside a stage; 0 is half a minute, less than that every step
}

// Status is how far a run is.
type Status struct {
	Stage       string // "teacher", "layer 3", "all weights"
	Done, Total int    // layers run, or steps
	Loss        float64
	HeldOut     float64 // the best so far; 0: not known yet
	Tokens      float64 // per second
	Left        time.Duration
	Device      int64   // bytes of its memory in use
	Record      *Record // the step that was just taken; nil where there was none
}

// Progress is where a run is between two steps, for its checkpoint.
type Progress struct {
	Stages  []*Stage      `json:"stages"` // the last of which may be on its way
	Records []Record      `json:"records"`
	Spent   time.Duration `json:"spent_ns"`
	Windows int           `json:"windows"` // that are trained on
}

// Snapshot is a run between two steps.
type Snapshot struct {
	Student  *model.Model // with the layers that are healed
	Progress Progress
	State    func(io.Writer) error // writes the state of the stage on its way; nil between two stages
}

// Result is a healed model.
type Result struct {
	Model    *model.Model // shares what is not healed with the student
	Progress Progress
}

// healer is a run.
type healer struct {
	Job
	d        *vk.Device
	o        Options // with defaults
	window   int
	ordered  [][]uint32
	train    int // windows
	teacher  *boundaries
	student  *boundaries
	progress Progress
	began    time.Time
	saved    time.Time
	pace     pace
}

// forward is how Forwards of a run go.
func (o Options) forward(memory *states.HostMemory) run.Options {
	return run.Options{BatchWindows: o.MicroBatch, StatesOnHost: true, Host: memory}
}

// Plan is the options with defaults filled in, and the device memory that a run takes at most.
func (j Job) Plan(d *vk.Device) (o Options, memory train.Memory, err error) {
	if len(j.Windows) == 0 {
		return o, memory, errors.New("distill: the corpus is empty")
	}
	window := len(j.Windows[0])
	if o, err = j.Options.Defaults(j.Student, len(j.Windows), window); err != nil {
		return o, memory, err
	}
	if err = checkGroups(j.Groups, len(j.Student.Layers), len(j.Teacher.Layers)); err != nil {
		return o, memory, err
	}
	t, s := j.Teacher.Config, j.Student.Config
	if t.HiddenSize != s.HiddenSize || t.VocabSize != s.VocabSize {
		return o, memory, fmt.Errorf("distill: %s has hidden_size %d and vocab_size %d, %s %d and %d: expected the same", j.Teacher.Name, t.HiddenSize, t.VocabSize,
			j.Student.Name, s.HiddenSize, s.VocabSize)
	}
	var layers []int
	for _, g := range j.Groups {
		layers = append(layers, g.Layer)
	}
	ordered, _ := split(j.Windows, o)
	predict := func(micro int) (train.Memory, error) {
		some := o
		some.MicroBatch = micro
		return train.Predict(d, j.Teacher, j.Student, layers, len(ordered), window, some.forward(j.Memory), o.Objective, o.Input == StudentInput, o.EndToEnd > 0)
	}
	limit := (d.MemoryLimit() - d.Memory().Reserved) / 32 * 31 // a rest for what the arena rounds up
	if o.MicroBatch > 0 {
		if memory, err = predict(o.MicroBatch); err == nil && memory.Peak() > limit {
			err = tooLarge(o.MicroBatch, window, memory, limit)
		}
		return o, memory, err
	}
	for n := o.Batch; n > 0; n-- {
		if o.Batch%n != 0 || n > 1 && n*window > maxMicroTokens(d) {
			continue
		}
		if memory, err = predict(n); err == nil && memory.Peak() <= limit {
			o.MicroBatch = n
			return o, memory, nil
		}
	}
	if err == nil {
		err = tooLarge(1, window, memory, limit)
	}
	return o, memory, err
}

func tooLarge(n, window int, memory train.Memory, limit int64) error {
	return fmt.Errorf("distill: %s of device memory for micro-batches of %d windows of %d tokens, %s are free: %w; use a shorter --window or a larger --max-device-memory",
		vk.Bytes(memory.Peak()), n, window, vk.Bytes(limit), vk.ErrOutOfMemory)
}

// maxMicroTokens bounds a micro-batch: beyond it larger matrices gain no speed, and a CPU's caches are left.
func maxMicroTokens(d *vk.Device) int {
	if d.Info.Kind == vk.CPU {
		return 2048
	}
	return 8192
}

// Session keeps the teacher's states from one run to the next, where layers are healed as they are merged.
type Session struct {
	teacher *boundaries
	windows int // that are trained on
}

// Continue makes a session go on from one whose runs had so many windows, as their Progress tells; 0 is none.
func (s *Session) Continue(windows int) { s.windows = max(s.windows, windows) }

// Close frees what the session holds.
func (s *Session) Close() error {
	if s.teacher == nil {
		return nil
	}
	err := s.teacher.f.Close()
	s.teacher = nil
	return err
}

// Heal trains the student's layers on the device, in their order, then all weights if the options say so. With resume it goes on from a
// Snapshot's Progress and state, which is nil between two stages; the job's student is then the Snapshot's. What it gives is the same to
// the bit. session may be nil.
func (j Job) Heal(ctx context.Context, d *vk.Device, session *Session, resume *Progress, state io.Reader) (result *Result, err error) {
	h := &healer{Job: j, d: d, began: time.Now()}
	h.saved = h.began
	if h.o, _, err = j.Plan(d); err != nil {
		return nil, err
	}
	h.window = len(j.Windows[0])
	h.ordered, h.train = split(j.Windows, h.o)
	if h.Progress == nil {
		h.Progress = func(Status) {}
	}
	if resume != nil {
		h.progress = *resume
		h.began = h.began.Add(-resume.Spent)
	}
	if session == nil {
		session = &Session{}
		defer func() { err = errors.Join(err, session.Close()) }()
	}
	if err := h.limit(ctx, session); err != nil {
		return nil, fmt.Errorf("distill: %w", err)
	}
	if session.teacher == nil {
		if session.teacher, err = newBoundaries(d, j.Teacher, h.ordered, h.o.forward(j.Memory), j.Keep); err != nil {
			return nil, err
		}
	}
	h.teacher = session.teacher
	if h.o.Input == StudentInput {
		if h.student, err = newBoundaries(d, j.Student, h.ordered, h.o.forward(j.Memory), false); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, h.student.f.Close()) }()
	}
	for i := range j.Groups {
		if err := h.layer(ctx, i, &state); err != nil {
			return nil, fmt.Errorf("distill: layer %d of %s: %w", j.Groups[i].Layer, j.Student.Name, err)
		}
	}
	if h.o.EndToEnd > 0 {
		if err := h.whole(ctx, state); err != nil {
			return nil, fmt.Errorf("distill: all weights of %s: %w", j.Student.Name, err)
		}
	}
	h.progress.Spent = time.Since(h.began)
	return &Result{h.Student, h.progress}, nil
}

// limit leaves windows out that the budget has no time for. A run that goes on, and one of a session that has begun, has those that were
// chosen.
func (h *healer) limit(ctx context.Context, session *Session) (err error) {
	n := h.train
	switch {
	case session.windows > 0:
		n = session.windows
	case h.progress.Windows > 0:
		n = h.progress.Windows
	case h.o.Budget > 0:
		if n, err = h.affordable(ctx); err != nil {
			return err
		}
	}
	h.ordered = append(h.ordered[:n:n], h.ordered[h.train:]...)
	h.train, h.progress.Windows, session.windows = n, n, n
	return nil
}

// affordable is how many windows there is time for that the teacher runs and each layer's training sees once, by one batch of each: a
// multiple of a step's, and one step's at least. The last stage has up to half of the time.
func (h *healer) affordable(ctx context.Context) (windows int, err error) {
	micro := h.o.MicroBatch
	f, err := run.NewWith(h.d, h.Teacher, h.ordered[:micro], h.o.forward(h.Memory))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Embed(ctx, h.Teacher); err != nil {
		return 0, err
	}
	second := func(run func() error) (took float64, err error) { // the first compiles kernels
		for range 2 {
			begin := time.Now()
			if err := run(); err != nil {
				return 0, err
			}
			took = time.Since(begin).Seconds()
		}
		return took, nil
	}
	forward, err := second(func() error { return f.Layer(ctx, h.Teacher, 0, nil) })
	if err != nil {
		return 0, errors.Join(err, f.Rest(ctx))
	}
	if err := f.Rest(ctx); err != nil {
		return 0, err
	}
	layer, layers, last := 0, len(h.Groups), len(h.Teacher.Layers)
	if layers > 0 {
		layer = h.Groups[0].Layer
		if h.o.EndToEnd == 0 && !h.Keep {
			last = h.Groups[layers-1].Last + 1
		}
	}
	t, err := train.NewLayer(ctx, f, h.Teacher, h.Student, layer, h.o.Objective)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	training, err := second(func() error {
		x, y, err := f.States().Pair(ctx, f.States(), 0, 1, 0)
		if err != nil {
			return err
		}
		t.Begin()
		if err := t.Add(x, y, train.Target{Objective: h.o.Objective, Temperature: h.o.Temperature, Tokens: micro * h.window, Change: 1}); err != nil {
			return err
		}
		_, err = t.Loss(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	budget := 0.9 * h.o.Budget.Seconds()
	whole := training * float64(len(h.Student.Layers)) * float64(h.o.Batch/micro)
	budget -= min(budget/2, float64(h.o.EndToEnd)*whole)
	budget -= float64(layers) * Evaluations / 2 * float64(h.o.HeldOut/micro) * training / 3 // a pass without gradients takes a third
	batches := int(max(0, budget) / (float64(last)*forward + float64(layers)*training))
	return min(h.train, max(h.o.Batch, batches*micro/h.o.Batch*h.o.Batch)), nil
}

// stage is stage number i: the one to go on with, or a new one. done says that it has ended.
func (h *healer) stage(i int, group *Group, steps int) (s *Stage, fresh, done bool) {
	if i < len(h.progress.Stages) {
		s = h.progress.Stages[i]
		return s, false, s.Ended != "" && i+1 < len(h.progress.Stages)
	}
	s = &Stage{Group: group, Steps: steps}
	h.progress.Stages = append(h.progress.Stages, s)
	return s, true, false
}

// until is when a stage is to end, so that those after it have their share of what is left: zero is never.
func (h *healer) until(share float64) time.Time {
	if h.o.Budget == 0 {
		return time.Time{}
	}
	left := h.o.Budget - time.Since(h.began)
	return time.Now().Add(time.Duration(share * float64(left)))
}

// layer heals one layer.
func (h *healer) layer(ctx context.Context, i int, state *io.Reader) error {
	g := h.Groups[i]
	s, fresh, done := h.stage(i, &g, h.o.steps(h.window))
	if done || !fresh && s.Ended != "" && *state == nil {
		return nil
	}
	wanted := []int{g.First}
	if h.o.EndToEnd > 0 {
		wanted = append(wanted, len(h.Teacher.Layers))
	}
	reach := func(s *boundaries, what string, boundary int) error {
		return s.reach(ctx, boundary, wanted, func(done, total int) { h.Progress(Status{Stage: what, Done: done, Total: total}) })
	}
	source, lower := h.teacher, g.First
	if h.student != nil {
		source, lower = h.student, g.Layer
		h.student.m = h.Student
		if err := reach(h.student, "student", lower); err != nil {
			return err
		}
	} else if err := reach(h.teacher, "teacher", g.First); err != nil {
		return err
	}
	if err := reach(h.teacher, "teacher", g.Last+1); err != nil {
		return err
	}
	t, err := train.NewLayer(ctx, h.teacher.f, h.Teacher, h.Student, g.Layer, h.o.Objective)
	if err != nil {
		return err
	}
	defer t.Close()
	pair := func(ctx context.Context, batch int) (x, y op.Tensor, err error) {
		return h.teacher.f.States().Pair(ctx, source.f.States(), lower, g.Last+1, batch)
	}
	if fresh && h.o.Objective == train.NMSE {
		total := 0.0
		for b := range h.train / h.o.MicroBatch {
			x, y, err := pair(ctx, b)
			if err != nil {
				return err
			}
			change, err := t.Change(ctx, x, y)
			if err != nil {
				return err
			}
			total += change
		}
		s.Change = total / float64(h.train*h.window)
	}
	f := &fit{trainer: t, h: h, stage: s, peak: h.o.LR, final: h.o.FinalLR}
	f.batch = func(ctx context.Context, number, tokens int, learn bool) error {
		x, y, err := pair(ctx, number)
		if err != nil {
			return err
		}
		target := train.Target{Objective: h.o.Objective, Temperature: h.o.Temperature, Tokens: tokens, Change: s.Change * float64(tokens)}
		if learn {
			return t.Add(x, y, target)
		}
		return t.Measure(x, y, target)
	}
	share := 1 / float64(len(h.Groups)-i)
	if h.o.EndToEnd > 0 {
		share /= 2
	}
	if err := h.fit(ctx, f, fresh, state, h.Student.Layers[g.Layer].Weights[:], h.until(share)); err != nil {
		return err
	}
	if f.best != nil {
		healed, err := h.Store.Keep(model.NewLayer(f.best))
		if err != nil {
			return err
		}
		out := *h.Student
		out.Layers = append([]*model.Layer{}, out.Layers...)
		out.Layers[g.Layer] = healed
		h.Student = &out
	}
	h.teacher.forget(g.Last + 1)
	if i+1 < len(h.Groups) || h.o.EndToEnd > 0 {
		return h.between(ctx)
	}
	return nil
}

// whole trains all weights against the teacher's logits.
func (h *healer) whole(ctx context.Context, state io.Reader) error {
	s, fresh, _ := h.stage(len(h.Groups), nil, h.o.EndToEnd)
	last := len(h.Teacher.Layers)
	if err := h.teacher.reach(ctx, last, nil, func(done, total int) { h.Progress(Status{Stage: "teacher", Done: done, Total: total}) }); err != nil {
		return err
	}
	h.teacher.forget(last)
	t, err := train.NewModel(ctx, h.teacher.f, h.Teacher, h.Student)
	if err != nil {
		return err
	}
	defer t.Close()
	batches := h.teacher.f.Corpus.Batches
	f := &fit{trainer: t, h: h, stage: s, peak: h.o.EndLR, final: h.o.EndLR / 10}
	f.batch = func(ctx context.Context, number, tokens int, learn bool) error {
		_, y, err := h.teacher.f.States().Pair(ctx, h.teacher.f.States(), last, last, number)
		if err != nil {
			return err
		}
		target := train.Target{Temperature: h.o.Temperature, Tokens: tokens}
		if learn {
			return t.Add(ctx, batches[number], y, target)
		}
		return t.Measure(ctx, batches[number], y, target)
	}
	if err := h.fit(ctx, f, fresh, &state, h.Student.AllWeights(), h.until(1)); err != nil {
		return err
	}
	if f.best != nil {
		h.Student = h.Student.WithWeights(f.best)
	}
	return nil
}

// fit runs a stage, from its start or from where state says; like are weights of the shapes that it trains.
func (h *healer) fit(ctx context.Context, f *fit, fresh bool, state *io.Reader, like []model.Weight, until time.Time) error {
	h.pace = pace{}
	if *state != nil {
		err := f.load(ctx, *state, like)
		if file, ok := (*state).(io.Closer); ok { // so that it can be removed
			err = errors.Join(err, file.Close())
		}
		if *state = nil; err != nil {
			return err
		}
	} else if fresh || f.stage.Done == 0 {
		if err := f.begin(ctx, until); err != nil {
			return err
		}
	}
	return f.run(ctx, until)
}

// pace is how fast a stage goes.
type pace struct {
	began time.Time
	steps int
}

// tell reports a step.
func (h *healer) tell(s *Stage, r Record) {
	h.progress.Records = append(h.progress.Records, r)
	status := Status{Stage: "all weights", Done: s.Done, Total: s.Steps, HeldOut: s.After, Device: h.d.Memory().Reserved, Record: &r}
	if s.Group != nil {
		status.Stage = fmt.Sprintf("layer %d", s.Group.Layer)
	}
	if r.Loss != nil {
		status.Loss = *r.Loss
	}
	if h.pace.began.IsZero() {
		h.pace.began = time.Now() // the first step compiles kernels
	} else {
		h.pace.steps++
		each := time.Since(h.pace.began) / time.Duration(h.pace.steps)
		status.Tokens = float64(h.o.Batch*h.window) / each.Seconds()
		status.Left = each * time.Duration(s.Steps-s.Done)
	}
	h.Progress(status)
}

// defaultEvery is the time between two checkpoints in a stage.
const defaultEvery = 30 * time.Second

// checkpoint saves the stage on its way, if it is time or the stage has ended.
func (h *healer) checkpoint(ctx context.Context, f *fit, ended bool) error {
	every := h.Every
	if every == 0 {
		every = defaultEvery
	}
	if h.Save == nil || !ended && time.Since(h.saved) < every {
		return nil
	}
	h.progress.Spent = time.Since(h.began)
	err := h.Save(ctx, Snapshot{h.Student, h.progress, func(to io.Writer) error { return f.save(ctx, to) }})
	h.saved = time.Now()
	return err
}

// between saves the run between two stages.
func (h *healer) between(ctx context.Context) error {
	if h.Save == nil {
		return nil
	}
	h.progress.Spent = time.Since(h.began)
	return h.Save(ctx, Snapshot{Student: h.Student, Progress: h.progress})
}
