package prune

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
)

// When a run that prunes distills. Source: CoMe, arXiv 2510.15304.
const (
	DistillAtEnd = "sp" // prune to the end, then train every merged layer: the paper's CoMe-sp
	DistillEach  = "mp" // train each new layer right after its merge, and score what came of it: CoMe-mp

	// DistillWhole trains no layer by itself, but all weights together in the end (distill.Options.EndToEnd): ours, for where there is time for few steps.
	DistillWhole = "all"
)

// Schedules lists them.
var Schedules = []string{DistillAtEnd, DistillEach, DistillWhole}

// DistillOptions say how layers that stand for several are trained against those, and on what.
type DistillOptions struct {
	Schedule string // DistillAtEnd or DistillEach
	Options  distill.Options
	Windows  [][]uint32 // of equal length
	Seed     uint64     // that the windows were sampled with, for the record
	Source   string     // names of the files that the windows were made of, for the record

	Every time.Duration // between checkpoints inside a layer's training; 0 is half a minute
}

func (o *DistillOptions) check() error {
	switch {
	case o == nil:
		return nil
	case !slices.Contains(Schedules, o.Schedule):
		return fmt.Errorf("prune: heal schedule %q, expected one of %v", o.Schedule, Schedules)
	case len(o.Windows) == 0:
		return errors.New("prune: the corpus to heal on is empty")
	case o.Schedule == DistillWhole && o.Options.EndToEnd == 0:
		return fmt.Errorf("prune: heal schedule %s trains all weights together: say in how many steps (distill.Options.EndToEnd)", o.Schedule)
	}
	return nil
}

// corpus is the record of the windows.
func (o *DistillOptions) corpus() Calibration { return calibration(o.Windows, o.Seed, o.Source) }

// DistillRecord is what a lineage tells of training.
type DistillRecord struct {
	Schedule string           `json:"schedule"`
	Teacher  *Source          `json:"teacher,omitempty"` // where it is not the source
	Options  distill.Options  `json:"options"`
	Corpus   Calibration      `json:"corpus"`
	Device   *Device          `json:"device,omitempty"` // where it is not the lineage's
	Part     *Part            `json:"part,omitempty"`   // of a model whose other layers other parts train
	Stages   []*distill.Stage `json:"stages"`           // layers by their numbers at the time
}

// training is the part of a pruning that trains.
type training struct {
	*pruning
	session distill.Session
	trained
	open func() (io.ReadCloser, error) // the state of the training on its way, in a checkpoint
}

// trained is what a checkpoint holds of the training.
type trained struct {
	Options  *distill.Options  `json:"options"` // with defaults, once they are known
	Steps    int               `json:"steps"`   // of the method, whose layers are trained
	Finished bool              `json:"finished"`
	Done     distill.Progress  `json:"done"`
	Current  *distill.Progress `json:"current,omitempty"` // of the training on its way
}

// check refuses what no training writes after so many steps of the method.
func (t *trained) check(p *Plan, steps int) error {
	if t.Steps < 0 || t.Steps > steps {
		return fmt.Errorf("training: the layers of %d steps were trained, of %d", t.Steps, steps)
	}
	for _, progress := range []*distill.Progress{&t.Done, t.Current} {
		if progress == nil {
			continue
		}
		if err := progress.Check(); err != nil {
			return fmt.Errorf("training: %w", err)
		}
	}
	if t.Options == nil {
		return nil
	}
	o := p.Options.Distill
	if err := sameTraining(p.Model, o.Windows, o.Options, *t.Options); err != nil {
		return fmt.Errorf("training: %w", err)
	}
	return nil
}

// sameTraining refuses options in a checkpoint that are not those of the run with defaults filled in. Micro-batches depend on the memory that
// was free.
func sameTraining(m *model.Model, windows [][]uint32, given, kept distill.Options) error {
	micro := kept.MicroBatch
	given.MicroBatch, kept.MicroBatch = micro, micro
	want, err := given.Defaults(m, len(windows), len(windows[0]))
	if err != nil {
		return err
	}
	if micro < 1 || kept != want {
		return fmt.Errorf("options %+v, expected %+v", kept, want)
	}
	return nil
}

// each says whether the layers of steps that were taken wait to be trained one by one.
func (t *training) each() bool {
	return t.plan.Options.Distill.Schedule == DistillEach && t.Steps < len(t.taken)
}

// pending says whether layers wait for their training, after which steps are kept in full.
func (t *training) pending() bool {
	return t.plan.Options.Distill != nil && (t.each() || len(t.state.Model.Layers) <= t.plan.TargetLayers && !t.Finished)
}

// run trains what is to be trained after the steps that were taken.
func (t *training) run(ctx context.Context) error {
	o := t.plan.Options.Distill
	for t.pending() {
		each := t.each()
		groups := t.groups(each)
		if len(groups) > 0 || !each && o.Options.EndToEnd > 0 {
			if err := t.train(ctx, groups, !each); err != nil {
				return err
			}
		}
		if each {
			t.Steps = len(t.taken)
		} else {
			t.Finished = true
		}
		// A checkpoint's model has the original's embedding, final norm and head: after a stage that trained these, its own last checkpoint,
		// which has all weights, is the one to go on from.
		if len(t.taken) > 0 && (each || o.Options.EndToEnd == 0) {
			if err := t.keep(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// groups are the layers to train by themselves: with each those that the last step made, at the end all that stand for several, unless each was
// trained before or none is to be.
func (t *training) groups(each bool) (groups []distill.Group) {
	if !each && t.plan.Options.Distill.Schedule != DistillAtEnd {
		return nil
	}
	layers := len(t.plan.Model.Layers)
	var before []distill.Group
	if each {
		before = spansOf(layers, t.taken[:len(t.taken)-1])
	}
	for _, g := range spansOf(layers, t.taken) {
		known := slices.ContainsFunc(before, func(o distill.Group) bool { return o.First == g.First && o.Last == g.Last })
		if g.First < g.Last && !known {
			groups = append(groups, g)
		}
	}
	return groups
}

// spansOf is for each layer after steps which of a model's layers it stands for. Those that were dropped go to the layer before, or to the
// one behind where none is before.
func spansOf(layers int, steps []*method.Step) (spans []distill.Group) {
	for l := range layers {
		spans = append(spans, distill.Group{First: l, Last: l})
	}
	for _, s := range steps {
		if s.Operation == method.Removal {
			for _, l := range slices.Backward(s.DropList) {
				if l > 0 {
					spans[l-1].Last = spans[l].Last
				} else {
					spans[1].First = spans[0].First
				}
				spans = slices.Delete(spans, l, l+1)
			}
			continue
		}
		first, end := s.MergeList[0], s.MergeList[0]+len(s.MergeList)
		spans[first].Last = spans[end-1].Last
		spans = slices.Delete(spans, first+1, end)
	}
	for l := range spans {
		spans[l].Layer = l
	}
	return spans
}

// train trains layers of the state's model, and with last all weights if that is wanted.
func (t *training) train(ctx context.Context, groups []distill.Group, last bool) (err error) {
	s := t.state
	if s.Scorer != nil {
		if err := s.Scorer.Rest(ctx); err != nil {
			return err
		}
	}
	job := t.plan.distillJob(s.Model)
	job.Groups, job.Store, job.Progress = groups, s.Store, t.driver.tellTraining
	if t.Options == nil {
		o, _, err := job.Plan(s.Device)
		if err != nil {
			return err
		}
		t.Options = &o
	}
	job.Options = t.share(last)
	if t.driver.keeps() {
		job.Save = func(ctx context.Context, now distill.Snapshot) error {
			t.Current = &now.Progress
			half := *s
			half.Model = now.Student
			return t.checkpoint(&half, now.State)
		}
	}
	var state io.Reader
	if t.open != nil && t.Current != nil {
		file, err := t.open()
		if err != nil {
			return err
		}
		defer file.Close() // it was read
		state = file
	}
	t.session.Continue(t.Done.Windows)
	result, err := job.Run(ctx, s.Device, &t.session, t.Current, state)
	if err != nil {
		return err
	}
	t.Current, t.open = nil, nil
	s.Model = result.Model
	if len(groups) > 0 {
		s.Touch(groups[0].Layer)
	}
	t.Done.Stages = append(t.Done.Stages, result.Progress.Stages...)
	t.Done.Records = append(t.Done.Records, result.Progress.Records...)
	t.Done.Spent += result.Progress.Spent
	t.Done.Windows = result.Progress.Windows
	return nil
}

// share is the options of one training of several: its part of the time that is left, and all weights together only in the last.
func (t *training) share(last bool) distill.Options {
	o := *t.Options
	if o.Budget > 0 {
		o.Budget = max(1, o.Budget-t.Done.Spent)
	}
	if last {
		return o
	}
	stages := len(t.state.Model.Layers) - t.plan.TargetLayers + 1
	if o.EndToEnd > 0 {
		stages *= 2
	}
	o.EndToEnd, o.Budget = 0, o.Budget/time.Duration(stages)
	return o
}

// record is what the lineage tells of the training, nil where there is none.
func (t *training) record() *DistillRecord {
	o := t.plan.Options.Distill
	if o == nil {
		return nil
	}
	out := &DistillRecord{Schedule: o.Schedule, Options: o.Options, Corpus: o.corpus(), Stages: t.Done.Stages}
	if t.Options != nil {
		out.Options = *t.Options
	}
	return out
}

// distillJob is the training of a student that is made of the plan's model; its groups are the caller's.
func (p *Plan) distillJob(student *model.Model) distill.Job {
	o := p.Options.Distill
	return distill.Job{Teacher: p.Model, Student: student, Groups: []distill.Group{{Last: 1}}, Windows: o.Windows, Options: o.Options, Memory: p.Options.Memory,
		Keep: o.Schedule == DistillEach, Every: o.Every}
}

// tellTraining makes the progress of training that of the run.
func (d *driver) tellTraining(s distill.Status) {
	d.progress(Status{Stage: s.Stage, Done: s.Done, Total: s.Total, Training: &s})
}
