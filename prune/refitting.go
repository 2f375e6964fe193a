package prune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/refit"
	"github.com/vkcome/vkcome/prune/refit/shards"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/prune/work"
	"github.com/vkcome/vkcome/vk"
)

// RefittingOptions say how a model that was pruned before is fitted to another.
type RefittingOptions struct {
	Refit   refit.Options
	Groups  []distill.Group // which layers stand for which of the teacher's; nil: as the student's lineage says
	Windows [][]uint32      // corpus: windows of equal length
	Seed    uint64          // that the windows were sampled with, for the record
	Source  string          // names of the files that the windows were made of, for the record
	Devices []*vk.Device    // more devices, of the same kind as the one that RunTo is given, which share the windows with it
	Memory  *states.HostMemory

	// Shards is how many processes, on one machine or on several, share the fit: each with a number Shard from 0 on and a part of the windows,
	// all with the same other options and the same Output. They run at the same time and meet in SharedFolder. Their devices are of one kind.
	// Part 0 solves and writes the model, whose bytes are those that one process writes. 0 Shards: the process is alone.
	Shard, Shards int
	Wait          time.Duration // how long a part waits for others at most; 0: without end
}

// RefitRecord is what a lineage tells of layers that were fitted.
type RefitRecord struct {
	refit.Options
	Teacher *Source      `json:"teacher,omitempty"` // where it is not the source
	Corpus  *Calibration `json:"corpus,omitempty"`  // where it is not the calibration
	Device  *Device      `json:"device,omitempty"`  // where it is not the lineage's
	Fits    []refit.Fit  `json:"fits,omitempty"`    // where they are not in the steps
}

// Refitting is the fit of a model that was pruned before, checked and not started.
type Refitting struct {
	Teacher, Student *model.Model
	Groups           []distill.Group
	Options          RefittingOptions
	pair
}

// NewRefitting checks options against models. Without groups, the layers of the student's lineage must be the teacher's.
func NewRefitting(teacher, student *model.Model, o RefittingOptions) (p *Refitting, err error) {
	p = &Refitting{Teacher: teacher, Student: student, Options: o}
	if p.pair, err = newPair(student, "prune.RefittingOptions.Groups"); err != nil {
		return nil, err
	}
	if p.Groups, err = p.groups(teacher, student, o.Groups); err != nil {
		return nil, err
	}
	t, s := teacher.Config, student.Config
	switch {
	case len(p.Groups) == 0:
		return nil, fmt.Errorf("prune: no layer of %s stands for others: there is nothing to fit but what prune.RefittingOptions.Groups says", student.Name)
	case len(o.Windows) == 0:
		return nil, errors.New("prune: the calibration corpus is empty")
	case t.HiddenSize != s.HiddenSize || t.VocabSize != s.VocabSize || t.Heads != s.Heads || t.KVHeads != s.KVHeads || t.HeadDim != s.HeadDim || t.MostUnits() != s.MostUnits():
		return nil, fmt.Errorf("prune: %s and %s differ in more than the number of their layers", teacher.Name, student.Name)
	}
	if o.Refit.Defaults().All {
		p.Groups = allFrom(p.Groups, len(student.Layers))
	}
	if err := distill.CheckGroups(p.Groups, len(student.Layers), len(teacher.Layers)); err != nil {
		return nil, err
	}
	if err := o.Refit.Check(student, len(o.Windows)); err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	switch {
	case o.Shards == 0 && (o.Shard != 0 || o.Wait != 0):
		return nil, errors.New("prune: a fit by one process has no part (prune.RefittingOptions.Shard) and waits for none (prune.RefittingOptions.Wait)")
	case o.Wait < 0:
		return nil, fmt.Errorf("prune: a wait of %v, expected 0 or more (prune.RefittingOptions.Wait)", o.Wait)
	case o.Shards != 0:
		if _, _, err := score.Shard(o.Windows, o.Shard, o.Shards); err != nil {
			return nil, fmt.Errorf("prune: %w", err)
		}
	}
	return p, nil
}

// allFrom are groups with those of all layers from the first of them on, which stand for what lies between the groups one for one. Layers that
// do not are left out.
func allFrom(groups []distill.Group, layers int) (all []distill.Group) {
	for i, g := range groups {
		all = append(all, g)
		next := layers
		if i+1 < len(groups) {
			next = groups[i+1].Layer
		}
		for l := g.Layer + 1; l < next; l++ {
			at := g.Last + l - g.Layer
			if i+1 == len(groups) || at < groups[i+1].First {
				all = append(all, distill.Group{Layer: l, First: at, Last: at})
			}
		}
	}
	return all
}

// RunTo fits the student's layers on the device, from below, and writes the student, its lineage with what was done. What is done is kept in a
// work folder, as Plan.RunTo does. progress may be nil.
//
// Of a fit that processes share, part 0 writes the model and keeps its work. The others return when they are needed no more, with the lineage
// that it writes. A part that is stopped, at whatever point, is run again; with Output.Resume also after the end of the fit.
func (p *Refitting) RunTo(ctx context.Context, d *vk.Device, o Output, progress func(Status)) (*Lineage, error) {
	t := &refitting{plan: p, driver: newDriver(d, o, p.Options.Memory, progress), release: func() {}}
	t.driver.task = t
	if p.Options.Shards > 0 {
		return t.runShard(ctx)
	}
	return t.driver.write(ctx)
}

// corpus is the record of the windows.
func (o RefittingOptions) corpus() Calibration { return calibration(o.Windows, o.Seed, o.Source) }

// record is the student's lineage with what was done.
func (p *Refitting) record(d *vk.Device, fits []refit.Fit, teacher, student string) Lineage {
	l, device, corpus := p.lineage, deviceRecord(d), p.Options.corpus()
	if p.own == nil {
		l.Method, l.Device, l.Source = "refit", device, Source{student, len(p.Student.Layers)}
	} else if p.lineage.Refit != nil || p.lineage.Distill != nil { // it was fitted or distilled before
		l.Previous = p.own
	}
	l.Refit = &RefitRecord{Options: p.Options.Refit.Defaults(), Teacher: &Source{teacher, len(p.Teacher.Layers)}, Corpus: &corpus, Device: &device, Fits: fits}
	return l
}

// refitting is the task of a Refitting: a step for each layer.
type refitting struct {
	plan    *Refitting
	driver  *driver
	state   *method.State
	fits    [][]refit.Fit  // by group
	release func()         // of reserved memory
	shared  *shards.Folder // nil: the process is alone
}

func (t *refitting) sources() []source { return t.plan.pair.sources(t.plan.Teacher, t.plan.Student) }

func (t *refitting) hashed() { t.plan.tellOrigin(t.driver, t.plan.Teacher, t.plan.Student) }

func (t *refitting) key() ([]work.Field, map[string]string) {
	p := t.plan
	o, _ := json.Marshal(p.Options.Refit.Defaults()) // plain numbers and strings
	w := p.Options.Windows
	fields := append(p.pair.fields(t.driver.hashes, p.Groups), option("refit", string(o)),
		work.Field{Name: "the corpus", Value: fmt.Sprintf("%d windows of %d tokens", len(w), len(w[0]))}, work.Field{Name: "the files of the corpus", Value: p.Options.Source},
		option("seed", fmt.Sprint(p.Options.Seed)), work.Field{Name: "the text of the corpus", Value: p.Options.corpus().SHA256})
	return append(fields, deviceRecord(t.driver.device).fields()...), namesFor(nil)
}

func (t *refitting) outputs() []string { return []string{t.driver.output.Dir} }

// made compares a lineage with that of the same fits.
func (t *refitting) made(l *Lineage, text []byte) (bool, error) {
	if l.Refit == nil {
		return false, nil
	}
	want, err := t.plan.record(t.driver.device, l.Refit.Fits, t.driver.hashes[0], t.driver.hashes[1]).text()
	return err == nil && string(want) == string(text), nil
}

func (t *refitting) begin(ctx context.Context) (err error) {
	p, d := t.plan, t.driver.device
	s := &method.State{Device: d, Model: p.Student, Tree: p.lineage.Tree, Store: t.driver.store, Refit: &p.Options.Refit, Ends: make([]int, len(p.Student.Layers))}
	for _, g := range p.Groups {
		s.Ends[g.Layer] = g.Last + 1
	}
	t.state = s
	p.Options.Memory.Begin(d)
	if t.release, err = p.Options.Memory.Reserve("fits", refit.HostBytes(p.Student, len(p.Options.Refit.Defaults().Lambdas), false)*5/4); err != nil {
		t.release = func() {}
		return err
	}
	windows := p.Options.Windows
	if p.Options.Shards > 0 {
		if windows, err = t.join(ctx); err != nil {
			return err
		}
	}
	s.Scorer, err = score.NewOn(append([]*vk.Device{d}, p.Options.Devices...), p.Teacher, windows, func(d *vk.Device) run.Options {
		o := score.Options(d)
		o.Host = p.Options.Memory
		return refit.Room(o, d, p.Student, len(windows[0]))
	})
	return err
}

func (t *refitting) resume(ctx context.Context, c *work.Checkpoint, _ bool) error {
	s := t.state
	if c != nil {
		if err := files.JSON(c.Run, &t.fits); err != nil {
			return fmt.Errorf("prune: checkpoint: %w", err)
		}
		if err := t.checkFits(len(c.Model.Layers)); err != nil {
			return fmt.Errorf("prune: checkpoint: %w", err)
		}
		s.Model = c.Model
		t.driver.took(c, 0)
		t.driver.output.Note(fmt.Sprintf("going on after %d layers", len(t.fits)))
	}
	return s.Scorer.HoldOnly(ctx, t.plan.Teacher, func(done, total int) {
		t.driver.progress(Status{Stage: fmt.Sprintf("run %d layers", total), Done: done, Total: total})
	})
}

// checkFits refuses fits in a checkpoint that are not those of the first groups, and a model of another depth.
func (t *refitting) checkFits(layers int) error {
	groups, all := t.plan.Groups, len(t.plan.Student.Layers)
	if layers != all || len(t.fits) > len(groups) {
		return fmt.Errorf("%d layers were fitted, of %d; the model has %d, the student %d", len(t.fits), len(groups), layers, all)
	}
	for i, fits := range t.fits {
		for _, f := range fits {
			if f.Layer != groups[i].Layer {
				return fmt.Errorf("fit %d is that of layer %d, expected layer %d", i, f.Layer, groups[i].Layer)
			}
		}
	}
	return nil
}

// step fits the next layer.
func (t *refitting) step(ctx context.Context) (more bool, err error) {
	groups, done := t.plan.Groups, len(t.fits)
	t.driver.progress(Status{Stage: "fit layers", Done: done, Total: len(groups)})
	if done == len(groups) {
		return false, nil
	}
	fits, err := t.state.Fit(ctx, groups[done].Layer)
	if err != nil {
		return false, err
	}
	t.fits = append(t.fits, fits)
	if !t.driver.keeps() {
		return true, nil
	}
	raw, err := json.Marshal(t.fits)
	if err != nil {
		return false, err
	}
	return true, t.driver.keep(work.Checkpoint{Model: t.state.Model, Run: raw}, 0)
}

func (t *refitting) result() *Result {
	return &Result{Model: t.state.Model, Lineage: t.plan.record(t.driver.device, slices.Concat(t.fits...), t.driver.hashes[0], t.driver.hashes[1]), store: t.driver.store}
}

func (t *refitting) close() (err error) {
	t.release()
	if t.state != nil && t.state.Scorer != nil {
		err = t.state.Scorer.Close()
	}
	if t.shared != nil {
		err = joined(err, t.shared.Close())
	}
	return err
}

func (t *refitting) blame(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("prune: %s: %w", t.plan.Student.Name, err)
}
