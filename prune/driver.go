package prune

import (
	"context"
	"errors"
	"fmt"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/convert"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/work"
	"github.com/vkcome/vkcome/vk"
)

// Status is how far a run is.
type Status struct {
	Stage       string // "score 12 layers", "write", "verify"
	Done, Total int
	Training    *distill.Status // more of a stage that trains; nil elsewhere
	Tree        []method.Tree   // of a Plan's run, once it has begun: where the layers that are left so far come from
}

// Unfinished is the error of a run whose work is kept. RunTo with Output.Resume goes on with it, unless what ended the run lasts.
type Unfinished struct {
	Err  error  // what ended the run
	Work string // the folder that its work is in
	Step int    // steps that are kept; 0: those of training
}

func (u *Unfinished) Error() string { return fmt.Sprintf("%v; %s", u.Err, u.Advice()) }

// Unwrap is what ended the run.
func (u *Unfinished) Unwrap() error { return u.Err }

// Lasts says whether the same run, resumed, would end in the same way: the error comes of its model, its text and its options, or is a limit of
// the device.
func (u *Unfinished) Lasts() bool {
	return errors.Is(u.Err, model.ErrLasting) || errors.Is(u.Err, vk.ErrLimit)
}

// Advice says how to go on.
func (u *Unfinished) Advice() string {
	done := ""
	if u.Step > 0 {
		done = fmt.Sprintf(" up to step %d", u.Step)
	}
	if u.Lasts() {
		return fmt.Sprintf("what was done%s is kept in %s, but the same command with prune.Output.Resume would end in the same way: change what the error is about, and start anew with prune.Output.Force", done, u.Work)
	}
	return fmt.Sprintf("what was done%s is kept in %s: run the same command with prune.Output.Resume to go on", done, u.Work)
}

// task is a long run as a driver sees it: first begin, then resume, then step until there is nothing more to do, then result, then close.
type task interface {
	// sources are the models that the result depends on. Checkpoints refer to the layers of the last.
	sources() []source
	// hashed is called when the driver knows the hashes of the sources.
	hashed()
	// key is all that the files of the result depend on. Fields of options have the names that option gives them.
	key() (fields []work.Field, options map[string]string)
	// outputs are the folders that the run may write, the result's first.
	outputs() []string
	// made says whether a lineage, which stands as text in the result's folder, is that of this run's result.
	made(l *Lineage, text []byte) (bool, error)

	// begin takes what steps need. close gives it back, also when begin failed.
	begin(ctx context.Context) error
	// resume takes a run over from a checkpoint, nil where there is none. damaged says that there was one.
	resume(ctx context.Context, c *work.Checkpoint, damaged bool) error
	// step takes the next step and has the driver keep it. more says that it may not have been the last.
	step(ctx context.Context) (more bool, err error)
	// result is what the steps gave.
	result() *Result
	close() error

	// blame adds to an error what a user needs to know of where it came from.
	blame(err error) error
}

// source is a model that a run reads.
type source struct {
	name  string // for messages
	model *model.Model
}

// driver carries out a task. With a work folder it keeps what is done, takes it up again, and writes the result.
type driver struct {
	task
	device   *vk.Device
	output   Output // with defaults
	progress func(Status)
	store    *states.LayerStore // of layers that the task makes

	hashes []string     // of the sources; nil where no work folder needs them
	folder *work.Folder // nil: nothing is kept
	number int          // of the newest checkpoint; 0: there is none
	steps  int          // of the task, that the newest checkpoint is of
}

// newDriver makes a driver without a task. progress may be nil.
func newDriver(d *vk.Device, o Output, memory *states.HostMemory, progress func(Status)) *driver {
	if progress == nil {
		progress = func(Status) {}
	}
	return &driver{device: d, output: o.defaults(), progress: progress, store: &states.LayerStore{Host: memory}}
}

// run takes the task's steps, from the newest checkpoint on if there is one.
func (d *driver) run(ctx context.Context) (r *Result, err error) {
	defer func() {
		if err = joined(err, d.close()); err != nil {
			err = joined(err, d.store.Close())
		}
	}()
	for _, s := range d.sources() {
		if err := checkFinite(ctx, s.model, d.progress); err != nil {
			return nil, err
		}
	}
	if err := d.begin(ctx); err != nil {
		return nil, err
	}
	c, damaged, err := d.load()
	if err != nil {
		return nil, d.blame(err)
	}
	if err := d.resume(ctx, c, damaged); err != nil {
		return nil, err
	}
	for more := true; more; {
		if err := ctx.Err(); err != nil { // there are steps that take no waiting
			return nil, err
		}
		if more, err = d.step(ctx); err != nil {
			return nil, err
		}
	}
	return d.result(), nil
}

// checkFinite reads the weights of a model for values that are not finite, which a run may otherwise meet after hours, or never.
func checkFinite(ctx context.Context, m *model.Model, progress func(Status)) error {
	err := m.CheckFinite(ctx, func(done, total int64) {
		progress(Status{Stage: "check the weights of " + m.Name, Done: int(done), Total: int(total)})
	})
	if err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	return nil
}

// write runs the task and writes its result. What is done is kept in a work folder until the result has its name.
func (d *driver) write(ctx context.Context) (l *Lineage, err error) {
	o := d.output
	anew := o.Force && !o.Resume
	if anew { // before anything is removed
		if err := d.check(); err != nil {
			return nil, err
		}
	}
	if err := d.hash(ctx); err != nil {
		return nil, err
	}
	key, names := d.key()
	sources := d.sources()
	err = o.patiently(ctx, func() (err error) {
		d.folder, err = work.Open(o.Work, sources[len(sources)-1].model, key, work.Options{Resume: o.Resume, Discard: anew, AnyDevice: o.AnyDevice, Names: names})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	defer func() { err = d.leave(err) }()
	for _, out := range d.outputs() {
		if err := sweep(ctx, out, o.temporary(out)); err != nil {
			return nil, fmt.Errorf("prune: %s: %w", out, err)
		}
	}
	if o.Resume {
		if l, err = d.finished(); err != nil || l != nil {
			return l, err
		}
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	r, err := d.run(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = joined(err, r.Close()) }()
	return &r.Lineage, r.write(ctx, o, o.temporary(o.Dir), d.progress, func(dir string) error { return verify(ctx, d.device, dir) })
}

// check refuses outputs that cannot be written, before hours are spent. A run that is resumed has written some.
func (d *driver) check() error {
	outputs, sources := d.outputs(), d.sources()
	if d.output.Resume {
		outputs = outputs[:1]
	}
	if convert.IsGGUF(d.output.Dir) {
		if err := convert.Check(sources[len(sources)-1].model); err != nil {
			return fmt.Errorf("prune: %s: %w", d.output.Dir, err)
		}
	}
	if _, err := convert.TypeFor(sources[0].model, d.output.Dir, d.output.Type); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	if err := sources[len(sources)-1].model.CheckFiles(); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	for _, out := range outputs {
		var err error
		for _, s := range sources {
			err = joined(err, CheckOutput(out, s.model.Name, d.output.Force))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hash learns the hashes of the sources.
func (d *driver) hash(ctx context.Context) error {
	sources, stage := d.sources(), "hash the model"
	if len(sources) > 1 {
		stage = "hash the models"
	}
	d.progress(Status{Stage: stage, Done: 0, Total: len(sources)})
	for i, s := range sources {
		sum, err := model.Hash(ctx, s.model.Files)
		if err != nil {
			return fmt.Errorf("prune: hash of %s: %w", s.name, err)
		}
		d.hashes = append(d.hashes, sum)
		d.progress(Status{Stage: stage, Done: i + 1, Total: len(sources)})
	}
	d.hashed()
	return nil
}

// finished is the lineage of the output if it is the result of this run already, which was killed between naming it and its end.
func (d *driver) finished() (*Lineage, error) {
	text, err := lineageOf(d.output.Dir)
	var l *Lineage
	if err == nil {
		l, err = ParseLineage(text)
	}
	if err != nil {
		return nil, nil // nothing of vkcome's: check says so
	}
	if made, err := d.made(l, text); err != nil || !made {
		return nil, err
	}
	d.output.Note(d.output.Dir + " is finished already")
	return l, nil
}

// load reads the newest checkpoint that is whole, and says whether another was damaged.
func (d *driver) load() (c *work.Checkpoint, damaged bool, err error) {
	if d.folder == nil {
		return nil, false, nil
	}
	c, lines, err := d.folder.Load()
	for _, line := range lines {
		d.output.Note(line)
	}
	return c, len(lines) > 0, err
}

// took notes that a task that is resumed goes on from a checkpoint, after so many steps.
func (d *driver) took(c *work.Checkpoint, steps int) { d.number, d.steps = c.Step, steps }

// keeps says whether checkpoints are made.
func (d *driver) keeps() bool { return d.folder != nil }

// keep makes a checkpoint after so many steps, in place of the one before.
func (d *driver) keep(c work.Checkpoint, steps int) error {
	d.output.Saving(true)
	defer d.output.Saving(false)
	c.Step = d.number + 1
	if err := d.folder.Save(c); err != nil {
		return err
	}
	d.number, d.steps = c.Step, steps
	return nil
}

// leave lets go of the work folder, whose checkpoint stays if the run ended with an error.
func (d *driver) leave(err error) error {
	if err == nil {
		return d.folder.Remove()
	}
	if d.number > 0 {
		err = &Unfinished{err, d.output.Work, d.steps}
	}
	return joined(err, d.folder.Close())
}

// joined is both errors, or the one that there is as it stands.
func joined(err, other error) error {
	switch {
	case other == nil:
		return err
	case err == nil:
		return other
	}
	return errors.Join(err, other)
}
