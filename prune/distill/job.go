package distill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/vk"
)

// Job is a student, and the teacher that it learns from.
type Job struct {
	Teacher *model.Model
	Student *model.Model
	Groups  []Group
	Windows [][]uint32 // of equal length
	Options Options
	Memory  *states.HostMemory // bounds host memory; nil: no bound
	Keep    bool               // keep the teacher's states at all boundaries, for layers that come in any order

	Progress func(Status)                          // may be nil
	Store    *states.LayerStore                    // of trained layers; nil keeps them in memory
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

// Check refuses what no run writes: a Progress that is read from a file.
func (p *Progress) Check() error {
	for i, s := range p.Stages {
		switch {
		case s == nil:
			return fmt.Errorf("stage %d is null", i)
		case s.Done < 0 || s.Done > s.Steps || s.Tokens < 0 || s.Skipped < 0 || s.Skipped > s.Done || s.Best < 0 || s.Best > s.Done || s.Failed < 0 || s.Failed > maxFailed || s.Stale < 0:
			return fmt.Errorf("stage %d is at step %d of %d, skipped %d and was best at %d", i, s.Done, s.Steps, s.Skipped, s.Best)
		case s.Ended != "" && !slices.Contains([]string{endSteps, endPatience, endBudget, endEqual}, s.Ended):
			return fmt.Errorf("stage %d ended by %.40q", i, s.Ended)
		case s.Ended == "" && i+1 < len(p.Stages):
			return fmt.Errorf("stage %d has not ended, and %d follow it", i, len(p.Stages)-i-1)
		}
	}
	if p.Spent < 0 || p.Windows < 0 {
		return fmt.Errorf("%v spent on %d windows", p.Spent, p.Windows)
	}
	return nil
}

// of refuses stages that are not those of groups of layers, one after the other, and of all weights behind them.
func (p *Progress) of(groups []Group, o Options) error {
	for i, s := range p.Stages {
		switch {
		case i < len(groups) && (s.Group == nil || *s.Group != groups[i]), i == len(groups) && (s.Group != nil || o.EndToEnd == 0), i > len(groups):
			return fmt.Errorf("stage %d of %d is that of other layers", i, len(groups))
		}
	}
	return nil
}

// Snapshot is a run between two steps.
type Snapshot struct {
	Student  *model.Model // with the layers that are trained
	Progress Progress
	State    func(io.Writer) error // writes the state of the stage on its way; nil between two stages
}

// Result is a distilled model.
type Result struct {
	Model    *model.Model // shares what was not trained with the student
	Progress Progress
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
	if err = CheckGroups(j.Groups, len(j.Student.Layers), len(j.Teacher.Layers)); err != nil {
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
	limit := (d.MemoryLimit() - d.Memory().Reserved) / 32 * 31 // a rest for what the arena rounds up
	tried := 0
	for _, whole := range wholes(o) {
		work := train.Work{Layers: layers, Objective: o.Objective, Student: o.Input == StudentInput, Whole: whole, Setup: o.setup()}
		for _, n := range microBatches(d, o, window) {
			some := o
			some.MicroBatch = n
			if memory, err = train.Predict(d, j.Teacher, j.Student, len(ordered), window, some.forward(j.Memory), work); err == nil && memory.Peak() <= limit {
				return some, memory, nil
			}
			tried = n
		}
	}
	if err == nil {
		err = tooLarge(tried, window, memory, limit)
	}
	return o, memory, err
}

// wholes lists the ways in which the last stage may train, the fastest first.
func wholes(o Options) []train.Whole {
	if o.EndToEnd == 0 {
		return []train.Whole{train.NoWhole}
	}
	return []train.Whole{train.Resident, train.Streamed}
}

// microBatches lists how many windows may be on the device at a time, the best first: what the options say, or divisors of a step's.
func microBatches(d *vk.Device, o Options, window int) (list []int) {
	if o.MicroBatch > 0 {
		return []int{o.MicroBatch}
	}
	for n := o.Batch; n > 0; n-- {
		if o.Batch%n == 0 && (n == 1 || n*window <= maxMicroTokens(d)) {
			list = append(list, n)
		}
	}
	return list
}

func tooLarge(n, window int, memory train.Memory, limit int64) error {
	return fmt.Errorf("distill: %s of device memory for micro-batches of %d windows of %d tokens, %s are free: %w; use a shorter corpus.Options.Window or a larger vk.Options.MaxMemory",
		vk.Bytes(memory.Peak()), n, window, vk.Bytes(limit), vk.ErrOutOfMemory)
}

// maxMicroTokens bounds a micro-batch: beyond it larger matrices gain no speed, and a CPU's caches are left.
func maxMicroTokens(d *vk.Device) int {
	if d.Info.Kind == vk.CPU {
		return 2048
	}
	return 8192
}

// Session keeps the teacher's states from one run to the next, where layers are trained as they are merged.
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

// Distill trains the student's layers on the device, in their order, then all weights if the options say so. With resume it goes on from a
// Snapshot's Progress and state, which is nil between two stages; the job's student is then the Snapshot's. What it gives is the same to
// the bit. session may be nil.
func (j Job) Run(ctx context.Context, d *vk.Device, session *Session, resume *Progress, state io.Reader) (result *Result, err error) {
	r := &distiller{Job: j, d: d, began: time.Now()}
	r.saved = r.began
	if r.o, r.memory, err = j.Plan(d); err != nil {
		return nil, err
	}
	r.window = len(j.Windows[0])
	r.ordered, r.train = split(j.Windows, r.o)
	if r.Progress == nil {
		r.Progress = func(Status) {}
	}
	if resume != nil {
		if err := resume.Check(); err != nil {
			return nil, fmt.Errorf("distill: the checkpoint: %w", err)
		}
		if err := resume.of(j.Groups, r.o); err != nil {
			return nil, fmt.Errorf("distill: the checkpoint: %w", err)
		}
		r.progress = *resume
		r.began = r.began.Add(-resume.Spent)
	}
	if session == nil {
		session = &Session{}
		defer func() { err = errors.Join(err, session.Close()) }()
	}
	if err := r.limit(ctx, session); err != nil {
		return nil, fmt.Errorf("distill: %w", err)
	}
	if session.teacher == nil {
		if session.teacher, err = newBoundaries(d, j.Teacher, r.ordered, r.o.forward(j.Memory), j.Keep); err != nil {
			return nil, err
		}
	}
	r.teacher = session.teacher
	if r.o.Input == StudentInput {
		if r.student, err = newBoundaries(d, j.Student, r.ordered, r.o.forward(j.Memory), false); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, r.student.f.Close()) }()
	}
	for i := range j.Groups {
		if err := r.layer(ctx, i, &state); err != nil {
			return nil, fmt.Errorf("distill: layer %d of %s: %w", j.Groups[i].Layer, j.Student.Name, err)
		}
	}
	if r.o.EndToEnd > 0 {
		if err := r.whole(ctx, state); err != nil {
			return nil, fmt.Errorf("distill: all weights of %s: %w", j.Student.Name, err)
		}
	}
	r.progress.Spent = time.Since(r.began)
	return &Result{r.Student, r.progress}, nil
}
