package prune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/work"
	"github.com/vkcome/vkcome/vk"
)

// DistillationOptions say what a model that was pruned before learns of another.
type DistillationOptions struct {
	Distill DistillOptions     // its Schedule is DistillAtEnd, or empty
	Part    *Part              // train one part of the layers, for MergeParts to join with the others; nil: all of them
	Groups  []distill.Group    // which layers stand for which of the teacher's; nil: as the student's lineage says; empty: none is trained by itself, before all weights are (distill.Options.EndToEnd)
	Memory  *states.HostMemory // bounds host memory; nil: no bound
}

// Distillation is the training of a model that was pruned before, checked and not started.
type Distillation struct {
	Teacher, Student *model.Model
	Groups           []distill.Group
	Options          DistillationOptions
	pair
}

// NewDistillation checks options against models. Without groups, the layers of the student's lineage must be the teacher's.
func NewDistillation(teacher, student *model.Model, o DistillationOptions) (p *Distillation, err error) {
	if o.Distill.Schedule == "" {
		o.Distill.Schedule = DistillAtEnd
	}
	if err := o.Distill.check(); err != nil {
		return nil, err
	}
	if s := o.Distill.Schedule; s != DistillAtEnd {
		return nil, fmt.Errorf("prune: schedule %s is one of pruning (prune.Options.Distill %s): a model that is pruned already can be healed by %s", s, s, DistillAtEnd)
	}
	if err := student.Config.CheckGradients(); err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	p = &Distillation{Teacher: teacher, Student: student, Options: o}
	if p.pair, err = newPair(student, "prune.DistillationOptions.Groups"); err != nil {
		return nil, err
	}
	if p.Groups, err = p.groups(teacher, student, o.Groups); err != nil {
		return nil, err
	}
	if o.Groups == nil && len(p.Groups) == 0 && o.Distill.Options.EndToEnd == 0 {
		return nil, fmt.Errorf("prune: no layer of %s stands for others: there is nothing to heal but all weights together (distill.Options.EndToEnd), or what prune.DistillationOptions.Groups says", student.Name)
	}
	if d := p.lineage.Distill; d != nil && d.Part != nil {
		return nil, fmt.Errorf("prune: %s is part %v of a distillation: merge the parts first, all of them", student.Name, *d.Part)
	}
	if o.Part != nil {
		if err := p.cut(*o.Part); err != nil {
			return nil, err
		}
	}
	if o.Groups != nil && len(p.Groups) == 0 && o.Distill.Options.EndToEnd == 0 {
		return nil, errors.New("prune: no layer is to be trained, nor all weights (distill.Options.EndToEnd)")
	}
	return p, nil
}

// job is the training of the student.
func (p *Distillation) job() distill.Job {
	o := p.Options.Distill
	return distill.Job{Teacher: p.Teacher, Student: p.Student, Groups: p.Groups, Windows: o.Windows, Options: o.Options, Memory: p.Options.Memory, Every: o.Every}
}

// Plan is the options with defaults filled in and the device memory that RunTo takes at most.
func (p *Distillation) Plan(d *vk.Device) (distill.Options, train.Memory, error) {
	return p.job().Plan(d)
}

// RunTo trains the student on the device and writes it, its lineage with what was done. What is done is kept in a work folder, as
// Plan.RunTo does: after a crash, a kill, a lost device or any other error, RunTo with Output.Resume goes on, and what it writes is the
// same to the byte. An error that leaves something in the work folder is an *Unfinished. progress may be nil.
func (p *Distillation) RunTo(ctx context.Context, d *vk.Device, o Output, progress func(Status)) (*Lineage, error) {
	t := &distilling{plan: p, driver: newDriver(d, o, p.Options.Memory, progress)}
	t.driver.task = t
	return t.driver.write(ctx)
}

// record is the student's lineage with what was done.
func (p *Distillation) record(d *vk.Device, o distill.Options, stages []*distill.Stage, teacher, student string) Lineage {
	l, device := p.lineage, deviceRecord(d)
	if p.own == nil {
		l.Method, l.Device, l.Source = "distill", device, Source{student, len(p.Student.Layers)}
	} else if p.lineage.Distill != nil { // it was distilled before
		l.Previous = p.own
	}
	l.Distill = &DistillRecord{Schedule: DistillAtEnd, Teacher: &Source{teacher, len(p.Teacher.Layers)}, Options: o, Corpus: p.Options.Distill.corpus(), Device: &device,
		Part: p.Options.Part, Stages: stages}
	return l
}

// distilling is the task of a Distillation: one step, which keeps itself on the way.
type distilling struct {
	plan   *Distillation
	driver *driver
	job    distill.Job
	was    *distill.Progress // of the run that is resumed
	state  io.ReadCloser     // of the stage that it was at
	done   *distill.Result
}

func (t *distilling) sources() []source {
	return t.plan.pair.sources(t.plan.Teacher, t.plan.Student)
}

// hashes are those of the teacher and the student.
func (t *distilling) hashes() (teacher, student string) {
	return t.driver.hashes[0], t.driver.hashes[1]
}

func (t *distilling) hashed() { t.plan.tellOrigin(t.driver, t.plan.Teacher, t.plan.Student) }

func (t *distilling) key() ([]work.Field, map[string]string) {
	return t.plan.key(t.driver.hashes, deviceRecord(t.driver.device)), namesFor(nil)
}

func (t *distilling) outputs() []string { return []string{t.driver.output.Dir} }

// made compares a lineage with that of the same stages.
func (t *distilling) made(l *Lineage, text []byte) (bool, error) {
	if l.Distill == nil {
		return false, nil
	}
	options, _, err := t.plan.Plan(t.driver.device)
	if err != nil {
		return false, nil // begin meets it again
	}
	options.MicroBatch = l.Distill.Options.MicroBatch // which depends on the memory that was free
	teacher, student := t.hashes()
	want, err := t.plan.record(t.driver.device, options, l.Distill.Stages, teacher, student).text()
	return err == nil && string(want) == string(text), nil
}

func (t *distilling) begin(context.Context) (err error) {
	t.job = t.plan.job()
	if t.job.Options, _, err = t.job.Plan(t.driver.device); err != nil {
		return err
	}
	t.job.Progress, t.job.Store, t.job.Save = t.driver.tellTraining, t.driver.store, t.keep
	return nil
}

// distilled is what a checkpoint holds of a distillation besides the student.
type distilled struct {
	Options  distill.Options  `json:"options"` // with defaults
	Progress distill.Progress `json:"progress"`
}

func (t *distilling) resume(_ context.Context, c *work.Checkpoint, _ bool) (err error) {
	if c == nil {
		return nil
	}
	var was distilled
	if err := files.JSON(c.Run, &was); err != nil {
		return fmt.Errorf("prune: checkpoint: %w", err)
	}
	o := t.plan.Options.Distill
	err = was.Progress.Check()
	if err == nil {
		err = sameTraining(t.plan.Student, o.Windows, o.Options, was.Options)
	}
	if n, all := len(c.Model.Layers), len(t.plan.Student.Layers); err == nil && n != all {
		err = fmt.Errorf("%d layers, the student has %d", n, all)
	}
	if err != nil {
		return fmt.Errorf("prune: checkpoint: %w", err)
	}
	t.job.Options, t.job.Student, t.was = was.Options, c.Model, &was.Progress
	t.driver.took(c, 0)
	if c.Open != nil {
		if t.state, err = c.Open(); err != nil {
			return err
		}
	}
	t.driver.output.Note(fmt.Sprintf("going on after %d steps", len(was.Progress.Records)))
	return nil
}

// keep makes a checkpoint of the training on its way.
func (t *distilling) keep(_ context.Context, now distill.Snapshot) error {
	raw, err := json.Marshal(distilled{t.job.Options, now.Progress})
	if err != nil {
		return err
	}
	return t.driver.keep(work.Checkpoint{Model: now.Student, Run: raw, State: now.State}, 0)
}

// step trains all that is to be trained.
func (t *distilling) step(ctx context.Context) (more bool, err error) {
	var state io.Reader
	if t.state != nil {
		state = t.state
	}
	t.done, err = t.job.Run(ctx, t.driver.device, nil, t.was, state)
	return false, err
}

func (t *distilling) result() *Result {
	teacher, student := t.hashes()
	progress := t.done.Progress
	return &Result{Model: t.done.Model, Lineage: t.plan.record(t.driver.device, t.job.Options, progress.Stages, teacher, student), Losses: progress.Records, store: t.driver.store}
}

func (t *distilling) close() error {
	if t.state == nil {
		return nil
	}
	if err := t.state.Close(); !errors.Is(err, fs.ErrClosed) { // the training closes it when it was read
		return err
	}
	return nil
}

func (t *distilling) blame(err error) error { return err }
