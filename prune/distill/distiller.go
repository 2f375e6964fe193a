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
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/vk"
)

// distiller is a job on its way.
type distiller struct {
	Job
	d        *vk.Device
	o        Options // with defaults
	memory   train.Memory
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

// limit leaves windows out that the budget has no time for. A run that goes on, and one of a session that has begun, has those that were
// chosen.
func (r *distiller) limit(ctx context.Context, session *Session) (err error) {
	n := r.train
	if len(r.Groups) == 0 { // what no step of the last stage looks at, the teacher need not run
		n = min(n, r.o.EndToEnd*r.o.Batch)
	}
	switch {
	case session.windows > 0:
		n = session.windows
	case r.progress.Windows > 0:
		n = r.progress.Windows
	case r.o.Budget > 0:
		most := n
		if n, err = r.affordable(ctx); err != nil {
			return err
		}
		n = min(n, most)
	}
	if n < 1 || n > r.train || n%r.o.Batch != 0 {
		return fmt.Errorf("the checkpoint trains on %d windows, expected a multiple of %d up to %d", n, r.o.Batch, r.train)
	}
	r.ordered = append(r.ordered[:n:n], r.ordered[r.train:]...)
	r.train, r.progress.Windows, session.windows = n, n, n
	return nil
}

// affordable is how many windows there is time for that the teacher runs and each layer's training sees once, by one batch of each: a
// multiple of a step's, and one step's at least. The last stage has up to half of the time, or all of it where no layer is trained by itself.
func (r *distiller) affordable(ctx context.Context) (windows int, err error) {
	micro := r.o.MicroBatch
	f, err := run.NewWith(r.d, r.Teacher, r.ordered[:micro], r.o.forward(r.Memory))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Embed(ctx, r.Teacher); err != nil {
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
	forward, err := second(func() error { return f.Layer(ctx, r.Teacher, 0, nil) })
	if err != nil {
		return 0, errors.Join(err, f.Rest(ctx))
	}
	if err := f.Rest(ctx); err != nil {
		return 0, err
	}
	layer, layers, last := 0, len(r.Groups), len(r.Teacher.Layers)
	if layers > 0 {
		layer = r.Groups[0].Layer
		if r.o.EndToEnd == 0 && !r.Keep {
			last = r.Groups[layers-1].Last + 1
		}
	}
	t, err := train.NewLayer(ctx, f, r.Teacher, r.Student, layer, r.o.Objective, r.o.setup())
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
		if err := t.Add(x, y, train.Target{Objective: r.o.Objective, Temperature: r.o.Temperature, Tokens: micro * r.window, Change: 1}); err != nil {
			return err
		}
		_, err = t.Loss(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	budget := 0.9 * r.o.Budget.Seconds()
	whole := training * float64(len(r.Student.Layers)) * float64(r.o.Batch/micro)
	if r.memory.Streamed {
		whole *= 4. / 3 // each layer runs forward once more
	}
	if layers == 0 {
		steps := int(budget / (whole + float64(r.o.Batch/micro*last)*forward))
		return min(r.train, max(1, steps)*r.o.Batch), nil
	}
	budget -= min(budget/2, float64(r.o.EndToEnd)*whole)
	budget -= float64(layers) * Evaluations / 2 * float64(r.o.HeldOut/micro) * training / 3 // a pass without gradients takes a third
	batches := int(max(0, budget) / (float64(last)*forward + float64(layers)*training))
	return min(r.train, max(r.o.Batch, batches*micro/r.o.Batch*r.o.Batch)), nil
}

// stage is stage number i: the one to go on with, or a new one. done says that it has ended.
func (r *distiller) stage(i int, group *Group, steps int) (s *Stage, fresh, done bool) {
	if i < len(r.progress.Stages) {
		s = r.progress.Stages[i]
		return s, false, s.Ended != "" && i+1 < len(r.progress.Stages)
	}
	s = &Stage{Group: group, Steps: steps}
	r.progress.Stages = append(r.progress.Stages, s)
	return s, true, false
}

// until is when a stage is to end, so that those after it have their share of what is left: zero is never.
func (r *distiller) until(share float64) time.Time {
	if r.o.Budget == 0 {
		return time.Time{}
	}
	left := r.o.Budget - time.Since(r.began)
	return time.Now().Add(time.Duration(share * float64(left)))
}

// layer trains one layer.
func (r *distiller) layer(ctx context.Context, i int, state *io.Reader) error {
	g := r.Groups[i]
	s, fresh, done := r.stage(i, &g, r.o.steps(r.window))
	if done || !fresh && s.Ended != "" && *state == nil {
		return nil
	}
	wanted := []int{g.First}
	if r.o.EndToEnd > 0 {
		wanted = append(wanted, len(r.Teacher.Layers))
	}
	reach := func(s *boundaries, what string, boundary int) error {
		return s.reach(ctx, boundary, wanted, func(done, total int) { r.Progress(Status{Stage: what, Done: done, Total: total}) })
	}
	source, lower := r.teacher, g.First
	if r.student != nil {
		source, lower = r.student, g.Layer
		r.student.m = r.Student
		if err := reach(r.student, "student", lower); err != nil {
			return err
		}
	} else if err := reach(r.teacher, "teacher", g.First); err != nil {
		return err
	}
	if err := reach(r.teacher, "teacher", g.Last+1); err != nil {
		return err
	}
	t, err := train.NewLayer(ctx, r.teacher.f, r.Teacher, r.Student, g.Layer, r.o.Objective, r.o.setup())
	if err != nil {
		return err
	}
	defer t.Close()
	pair := func(ctx context.Context, batch int) (x, y op.Tensor, err error) {
		return r.teacher.f.States().Pair(ctx, source.f.States(), lower, g.Last+1, batch)
	}
	if fresh && r.o.Objective == train.NMSE {
		total := 0.0
		for b := range r.train / r.o.MicroBatch {
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
		s.Change = total / float64(r.train*r.window)
	}
	f := &fit{trainer: t, job: r, stage: s, peak: r.o.LR, final: r.o.FinalLR}
	f.batch = func(ctx context.Context, number, tokens int, learn bool) error {
		x, y, err := pair(ctx, number)
		if err != nil {
			return err
		}
		target := train.Target{Objective: r.o.Objective, Temperature: r.o.Temperature, Tokens: tokens, Change: s.Change * float64(tokens)}
		if learn {
			return t.Add(x, y, target)
		}
		return t.Measure(x, y, target)
	}
	share := 1 / float64(len(r.Groups)-i)
	if r.o.EndToEnd > 0 {
		share /= 2
	}
	if err := r.fit(ctx, f, fresh, state, r.Student.Layers[g.Layer].Weights[:], r.until(share)); err != nil {
		return err
	}
	if f.best != nil {
		trained, err := r.Store.Keep(model.NewLayer(f.best))
		if err != nil {
			return err
		}
		r.Student = r.Student.Replace(g.Layer, trained)
	}
	r.teacher.forget(g.Last + 1)
	if i+1 < len(r.Groups) || r.o.EndToEnd > 0 {
		return r.between(ctx)
	}
	return nil
}

// whole trains all weights against the teacher's logits.
func (r *distiller) whole(ctx context.Context, state io.Reader) error {
	s, fresh, _ := r.stage(len(r.Groups), nil, r.o.EndToEnd)
	last := len(r.Teacher.Layers)
	if err := r.teacher.reach(ctx, last, nil, func(done, total int) { r.Progress(Status{Stage: "teacher", Done: done, Total: total}) }); err != nil {
		return err
	}
	r.teacher.forget(last)
	t, err := r.openWhole(ctx)
	if err != nil {
		return err
	}
	defer t.Close()
	f := &fit{trainer: t, job: r, stage: s, peak: r.o.EndLR, final: r.o.EndLR / 10}
	f.batch = func(ctx context.Context, number, tokens int, learn bool) error {
		target := train.Target{Temperature: r.o.Temperature, Tokens: tokens}
		if learn {
			return t.Add(ctx, number, target)
		}
		return t.Measure(ctx, number, target)
	}
	if err := r.fit(ctx, f, fresh, &state, r.Student.AllWeights(), r.until(1)); err != nil {
		return err
	}
	if f.best != nil {
		r.Student = r.Student.WithWeights(f.best)
	}
	return nil
}

// wholeTrainer is what the last stage trains.
type wholeTrainer interface {
	trainer
	Add(ctx context.Context, batch int, target train.Target) error
	Measure(ctx context.Context, batch int, target train.Target) error
}

// openWhole opens the training of the whole model, as the plan says.
func (r *distiller) openWhole(ctx context.Context) (wholeTrainer, error) {
	if r.memory.Streamed {
		return train.NewStreamed(ctx, r.teacher.f, r.Teacher, r.Student, r.o.setup(), r.Memory)
	}
	return train.NewModel(ctx, r.teacher.f, r.Teacher, r.Student, r.o.setup())
}

// fit runs a stage, from its start or from where state says; like are weights of the shapes that it trains.
func (r *distiller) fit(ctx context.Context, f *fit, fresh bool, state *io.Reader, like []model.Weight, until time.Time) error {
	r.pace = pace{}
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
func (r *distiller) tell(s *Stage, record Record) {
	r.progress.Records = append(r.progress.Records, record)
	status := Status{Stage: "all weights", Done: s.Done, Total: s.Steps, HeldOut: s.After, Device: r.d.Memory().Reserved, Record: &record}
	if s.Group != nil {
		status.Stage = fmt.Sprintf("layer %d", s.Group.Layer)
	}
	if record.Loss != nil {
		status.Loss = *record.Loss
	}
	if r.pace.began.IsZero() {
		r.pace.began = time.Now() // the first step compiles kernels
	} else {
		r.pace.steps++
		each := time.Since(r.pace.began) / time.Duration(r.pace.steps)
		status.Tokens = float64(r.o.Batch*r.window) / each.Seconds()
		status.Left = each * time.Duration(s.Steps-s.Done)
	}
	r.Progress(status)
}

// defaultEvery is the time between two checkpoints in a stage.
const defaultEvery = 30 * time.Second

// checkpoint saves the stage on its way, if it is time or the stage has ended.
func (r *distiller) checkpoint(ctx context.Context, f *fit, ended bool) error {
	every := r.Every
	if every == 0 {
		every = defaultEvery
	}
	if r.Save == nil || !ended && time.Since(r.saved) < every {
		return nil
	}
	r.progress.Spent = time.Since(r.began)
	err := r.Save(ctx, Snapshot{r.Student, r.progress, func(to io.Writer) error { return f.save(ctx, to) }})
	r.saved = time.Now()
	return err
}

// between saves the run between two stages.
func (r *distiller) between(ctx context.Context) error {
	if r.Save == nil {
		return nil
	}
	r.progress.Spent = time.Since(r.began)
	return r.Save(ctx, Snapshot{Student: r.Student, Progress: r.progress})
}
