package prune

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/prune/work"
	"github.com/vkcome/vkcome/vk"
)

// Run prunes on the device and keeps the result in memory. progress may be nil.
func (p *Plan) Run(ctx context.Context, d *vk.Device, progress func(Status)) (*Result, error) {
	return p.driver(d, Output{}, progress).run(ctx)
}

// RunTo prunes on the device and writes the model. Every step is kept in a work folder, which is removed when the model has its name:
// after a crash, a kill, a lost device or any other error, RunTo with Output.Resume goes on with the next step, and what it writes is the
// same to the byte. An error that leaves steps in the work folder is an *Unfinished. progress may be nil.
func (p *Plan) RunTo(ctx context.Context, d *vk.Device, o Output, progress func(Status)) (*Lineage, error) {
	return p.driver(d, o, progress).write(ctx)
}

func (p *Plan) driver(d *vk.Device, o Output, progress func(Status)) *driver {
	t := &pruning{plan: p, device: deviceRecord(d)}
	t.driver = newDriver(d, o, p.Options.Memory, t.tells(progress))
	t.driver.task = t
	t.training.pruning = t
	return t.driver
}

// tells adds to progress what layers are left. progress may be nil.
func (t *pruning) tells(progress func(Status)) func(Status) {
	if progress == nil {
		return nil
	}
	return func(s Status) {
		if t.state != nil {
			s.Tree = t.state.Tree
		}
		progress(s)
	}
}

// pruning is the task of a Plan.
type pruning struct {
	plan     *Plan
	driver   *driver
	device   Device
	devices  []Device // that the steps were taken on, each followed by another
	state    *method.State
	taken    []*method.Step
	training training
	release  func() // of reserved memory
}

func (t *pruning) sources() []source { return []source{{"the source", t.plan.Model}} }

func (t *pruning) hashed() {}

func (t *pruning) key() ([]work.Field, map[string]string) {
	return t.plan.key(t.driver.hashes[0], t.device, t.driver.output.SaveSteps), namesFor(t.plan.Method.Effective())
}

func (t *pruning) outputs() []string {
	o, p := t.driver.output, t.plan
	list := []string{o.Dir}
	if o.SaveSteps {
		for n := p.TargetLayers + 1; n < len(p.Model.Layers); n++ {
			list = append(list, StepDir(o.Dir, n))
		}
	}
	return list
}

// made compares all of a lineage that is known before the run.
func (t *pruning) made(l *Lineage, _ []byte) (bool, error) {
	p := t.plan
	if len(l.Tree) != p.TargetLayers {
		return false, nil
	}
	s := p.state(p.Model)
	s.Device = t.driver.device
	want := p.lineage(s, nil)
	want.Source = t.origin()
	bare := *l
	for _, l := range []*Lineage{&want, &bare} {
		l.Tree, l.LayerPasses, l.Devices, l.Distill = nil, nil, nil, nil
	}
	switch r := p.Options.Replay; {
	case r == nil || p.Options.Refit != nil:
		bare.Steps = nil
	default:
		want.Steps = r.Steps
	}
	a, err := want.text()
	if err != nil {
		return false, err
	}
	b, err := bare.text()
	return err == nil && bytes.Equal(a, b), err
}

// begin makes the state before the first step.
func (t *pruning) begin(ctx context.Context) (err error) {
	p, d := t.plan, t.driver.device
	if err := t.checkSource(ctx); err != nil {
		return err
	}
	s := p.state(p.Model)
	s.AllScores = p.Options.AllScores
	s.Device, s.Store, s.Refit = d, t.driver.store, p.Options.Refit
	t.state, t.devices = s, []Device{t.device}
	p.Options.Memory.Begin(d)
	if t.release, err = p.Options.Memory.Reserve("scores and merged layers", p.workBytes()); err != nil {
		return err
	}
	if p.scores() {
		s.Scorer, err = score.NewOn(append([]*vk.Device{d}, p.Options.Devices...), p.Model, p.Options.Windows, p.scoring)
	}
	return err
}

// checkSource refuses stats and plans of another model, whose hash is computed if it is not known.
func (t *pruning) checkSource(ctx context.Context) error {
	p := t.plan
	if t.driver.hashes != nil {
		return p.same(t.driver.hashes[0])
	}
	if p.Options.Stats == nil && (p.Options.Replay == nil || p.Options.Replay.Source.SHA256 == "") {
		return nil
	}
	hash, err := model.Hash(ctx, p.Model.Files)
	if err != nil {
		return fmt.Errorf("prune: hash of the model: %w", err)
	}
	return p.same(hash)
}

// checkpointed is what a checkpoint holds of a run besides the model and the scores.
type checkpointed struct {
	Steps   []*method.Step  `json:"steps"`
	State   json.RawMessage `json:"state"`
	Devices []Device        `json:"devices"`
	Distill *trained        `json:"healing,omitempty"`
}

// check refuses what no run of a plan writes, for a model of so many layers.
func (c *checkpointed) check(p *Plan, layers int) error {
	if err := method.CheckSteps(p.Model, c.Steps); err != nil {
		return err
	}
	left := len(p.Model.Layers)
	if n := len(c.Steps); n > 0 {
		left = c.Steps[n-1].To
	}
	switch o, d := p.Options.Distill, c.Distill; {
	case left != layers || left < p.TargetLayers:
		return fmt.Errorf("%d steps lead to %d layers, the model has %d, and %d are the target", len(c.Steps), left, layers, p.TargetLayers)
	case len(c.Devices) == 0:
		return errors.New("it was made on no device")
	case (o == nil) != (d == nil):
		return errors.New("it is of a run with training, or this one is")
	case d != nil:
		return d.check(p, len(c.Steps))
	}
	return nil
}

// resume brings the state to where the checkpoint was made; without one, stats are loaded if there are any.
func (t *pruning) resume(ctx context.Context, c *work.Checkpoint, damaged bool) error {
	if c != nil {
		return t.blame(t.restore(ctx, c))
	}
	if damaged {
		t.driver.output.Note("no other checkpoint is left: starting afresh")
	}
	s, stats := t.state, t.plan.Options.Stats
	if s.Scorer == nil || stats == nil && !t.plan.holds() {
		return nil
	}
	if err := s.Scorer.Update(ctx, t.plan.Model, 0, 0); err != nil {
		return err
	}
	s.Known = true
	if stats != nil {
		if err := s.Scorer.Load(stats); err != nil {
			return err
		}
	}
	if !t.plan.holds() {
		return nil
	}
	return t.blame(s.Scorer.Hold(ctx, t.holding()))
}

// holding reports how far the states of the model are that layers are fitted to.
func (t *pruning) holding() func(done, total int) {
	return func(done, total int) {
		t.driver.progress(Status{Stage: fmt.Sprintf("run %d layers", total), Done: done, Total: total})
	}
}

func (t *pruning) restore(ctx context.Context, c *work.Checkpoint) error {
	var was checkpointed
	if err := files.JSON(c.Run, &was); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := was.check(t.plan, len(c.Model.Layers)); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	t.driver.output.Note(fmt.Sprintf("going on after step %d, with %d layers", len(was.Steps), len(c.Model.Layers)))
	t.driver.progress(Status{Stage: "restore", Done: 0, Total: 1})
	if t.plan.holds() {
		if err := t.state.Scorer.HoldOnly(ctx, t.plan.Model, t.holding()); err != nil {
			return err
		}
	}
	if err := t.state.Restore(ctx, c.Model, was.State, c.Scorer); err != nil {
		return err
	}
	t.driver.progress(Status{Stage: "restore", Done: 1, Total: 1})
	t.taken = was.Steps
	t.driver.took(c, len(t.taken))
	if was.Distill != nil {
		t.training.trained, t.training.open = *was.Distill, c.Open
	}
	if t.devices = was.Devices; t.devices[len(t.devices)-1] != t.device {
		t.devices = append(t.devices, t.device)
	}
	return t.saveStep(ctx)
}

// step trains what waits for it, and takes layers away once.
func (t *pruning) step(ctx context.Context) (more bool, err error) {
	if err := t.training.run(ctx); err != nil {
		return false, t.blame(err)
	}
	if len(t.state.Model.Layers) <= t.plan.TargetLayers {
		return false, nil
	}
	t.tell()
	step, err := t.next(ctx)
	if err == nil && len(t.state.Model.Layers) == t.plan.TargetLayers && t.state.Refit != nil && t.state.Refit.Defaults().All {
		err = t.state.FitAll(ctx, step, func(done, total int) {
			t.driver.progress(Status{Stage: "fit all layers", Done: done, Total: total})
		})
	}
	if err != nil {
		return false, t.blame(err)
	}
	t.taken = append(t.taken, step)
	if err := t.keep(ctx); err != nil {
		return false, t.blame(err)
	}
	t.tell()
	return true, nil
}

// tell reports how many layers are gone: not every method says how far it is within a step.
func (t *pruning) tell() {
	all := len(t.plan.Model.Layers)
	t.driver.progress(Status{Stage: "prune", Done: all - len(t.state.Model.Layers), Total: all - t.plan.TargetLayers})
}

// next takes the next step: the method's, or the one that is replayed.
func (t *pruning) next(ctx context.Context) (*method.Step, error) {
	p, s, done := t.plan, t.state, len(t.taken)
	from := len(s.Model.Layers)
	if p.Options.Replay == nil {
		// What a method does before and after its scores, or without any, has no count of its own.
		t.driver.progress(Status{Stage: "take layers away", Done: len(p.Model.Layers) - from, Total: len(p.Model.Layers) - p.TargetLayers})
		return p.Method.Step(ctx, s, p.TargetLayers, func(done, total int) {
			t.driver.progress(Status{Stage: fmt.Sprintf("score %d layers", from), Done: done, Total: total})
		})
	}
	steps := p.Options.Replay.Steps
	if done == len(steps) {
		return nil, model.Lasting(errors.New("the plan ends before its target"))
	}
	t.driver.progress(Status{Stage: "replay", Done: done, Total: len(steps)})
	step := *steps[done]
	to := step.To
	if err := s.Apply(ctx, &step); err != nil {
		return nil, err
	}
	if step.To != to {
		return nil, model.Lasting(fmt.Errorf("step %d of the plan leads to %d layers, not to %d as it says", done, step.To, to))
	}
	return &step, nil
}

// keep makes a checkpoint after a step, or after the training that follows it, and writes the model on its way if that is wanted.
func (t *pruning) keep(ctx context.Context) error {
	if !t.driver.keeps() {
		return nil
	}
	if err := t.checkpoint(t.state, nil); err != nil {
		return err
	}
	return t.saveStep(ctx)
}

// checkpoint makes a checkpoint of a state, after a step or in the middle of training, whose own state more writes.
func (t *pruning) checkpoint(s *method.State, more func(io.Writer) error) error {
	state, scores, err := s.Checkpoint()
	if err != nil {
		return err
	}
	now := checkpointed{Steps: t.taken, State: state, Devices: t.devices}
	if t.plan.Options.Distill != nil {
		now.Distill = &t.training.trained
	}
	raw, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return t.driver.keep(work.Checkpoint{Model: s.Model, Run: raw, Scorer: scores, State: more}, len(t.taken))
}

// saveStep writes the model on its way, unless it is there or that was not asked for.
func (t *pruning) saveStep(ctx context.Context) error {
	n, o := len(t.state.Model.Layers), t.driver.output
	if !o.SaveSteps || n <= t.plan.TargetLayers || t.training.pending() {
		return nil
	}
	out := StepDir(o.Dir, n)
	r := Result{Model: t.state.Model, Lineage: t.lineage()}
	text, err := r.Lineage.text()
	if err != nil {
		return err
	}
	if there, err := lineageOf(out); err == nil && bytes.Equal(there, text) {
		return nil // written before the run stopped
	}
	o.Dir = out
	return r.write(ctx, o, o.temporary(out), t.driver.progress, nil)
}

// origin is the model that is pruned, as lineages have it.
func (t *pruning) origin() Source { return Source{t.driver.hashes[0], len(t.plan.Model.Layers)} }

// lineage is the record of the run so far. That of a run that writes nothing lacks the hash of its model: see Result.Save.
func (t *pruning) lineage() Lineage {
	l := t.plan.lineage(t.state, t.taken)
	l.Distill = t.training.record()
	if !t.driver.keeps() {
		return l
	}
	l.Source = t.origin()
	if len(t.devices) > 1 {
		l.Devices = t.devices
	}
	return l
}

func (t *pruning) result() *Result {
	return &Result{Model: t.state.Model, Lineage: t.lineage(), Losses: t.training.Done.Records, store: t.driver.store}
}

func (t *pruning) close() error {
	err := t.training.session.Close()
	if t.state != nil && t.state.Scorer != nil {
		err = errors.Join(err, t.state.Scorer.Close())
	}
	if t.release != nil {
		t.release()
	}
	return err
}

func (t *pruning) blame(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("prune: %s: %w", t.plan.Model.Name, err)
}
