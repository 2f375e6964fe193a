package prune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/work"
	"github.com/vkcome/vkcome/vk"
)

// DistillationOptions say what a model learns of another.
type DistillationOptions struct {
	Distill DistillOptions    // its Schedule is DistillAtEnd, or empty
	Groups  []distill.Group   // which layers stand for which of the teacher's; nil: as the student's lineage says
	Memory  *model.HostMemory // bounds host memory; nil: no bound
}

// Distillation is the healing of a model that was pruned before, checked and not started.
type Distillation struct {
	Teacher, Student *model.Model
	Groups           []distill.Group
	Options          DistillationOptions
	lineage          Lineage // the student's, empty if it has none
	own              []byte  // the same as it stands
}

// NewDistillation checks options against models: the layers of the student's lineage must be the teacher's.
func NewDistillation(teacher, student *model.Model, o DistillationOptions) (p *Distillation, err error) {
	if o.Distill.Schedule == "" {
		o.Distill.Schedule = DistillAtEnd
	}
	if err := o.Distill.check(); err != nil {
		return nil, err
	}
	if o.Distill.Schedule != DistillAtEnd {
		return nil, fmt.Errorf("prune: schedule %s is one of pruning (vkcome prune --heal %s): a model that is pruned already can be healed by %s", o.Distill.Schedule, o.Distill.Schedule, DistillAtEnd)
	}
	p = &Distillation{Teacher: teacher, Student: student, Groups: o.Groups, Options: o}
	tree, root, own, err := readLineage(student)
	if err != nil {
		return nil, err
	}
	if p.own = own; own != nil {
		if err := json.Unmarshal(own, &p.lineage); err != nil {
			return nil, fmt.Errorf("prune: %s/%s: %w", student.Name, model.Lineage, err)
		}
	}
	if o.Groups == nil {
		switch p.Groups = distill.Groups(tree, root); {
		case own == nil:
			return nil, fmt.Errorf("prune: %s has no %s that says where its layers come from: give the correspondence (--map 3=4-5)", student.Name, model.Lineage)
		case root != len(teacher.Layers):
			return nil, fmt.Errorf("prune: the layers of %s come from a model of %d layers, %s has %d", student.Name, root, teacher.Name, len(teacher.Layers))
		case len(p.Groups) == 0 && o.Distill.Options.EndToEnd == 0:
			return nil, fmt.Errorf("prune: no layer of %s stands for others: there is nothing to heal but all weights together (--end-to-end), or what --map says", student.Name)
		}
	}
	if own == nil {
		p.lineage = Lineage{Version: Version, Method: "distill", OriginalLayers: len(student.Layers), Tree: tree}
	}
	return p, nil
}

// job is what distill does of it.
func (p *Distillation) job() distill.Job {
	h := p.Options.Distill
	return distill.Job{Teacher: p.Teacher, Student: p.Student, Groups: p.Groups, Windows: h.Windows, Options: h.Options, Memory: p.Options.Memory, Every: h.Every}
}

// Plan is the options with defaults filled in and the device memory that Run takes at most.
func (p *Distillation) Plan(d *vk.Device) (distill.Options, model.TrainingMemory, error) {
	return p.job().Plan(d)
}

// record is where a distillation is, for its checkpoint.
type distillRecord struct {
	Options  distill.Options  `json:"options"` // with defaults
	Progress distill.Progress `json:"progress"`
}

// RunTo heals the student on the device and writes it, its lineage with what was done. What is done is kept in a work folder, as Plan.RunTo
// does: after a crash, a kill, a lost device or any other error, RunTo with Resume goes on, and what it writes is the same to the byte.
// progress may be nil.
func (p *Distillation) RunTo(ctx context.Context, d *vk.Device, o Output, progress func(Status)) (l *Lineage, err error) {
	o = o.defaults()
	if progress == nil {
		progress = func(Status) {}
	}
	check := func() error {
		return errors.Join(CheckOutput(o.Dir, p.Student.Name, o.Force), CheckOutput(o.Dir, p.Teacher.Name, o.Force))
	}
	if o.Force && !o.Resume { // before anything is removed
		if err := check(); err != nil {
			return nil, err
		}
	}
	progress(Status{Stage: "hash the models", Done: 0, Total: 2})
	var hashes [2]string
	for i, m := range []*model.Model{p.Teacher, p.Student} {
		if hashes[i], err = model.Hash(ctx, m.Files); err != nil {
			return nil, fmt.Errorf("prune: hash of %s: %w", m.Name, err)
		}
		progress(Status{Stage: "hash the models", Done: i + 1, Total: 2})
	}
	if source := p.lineage.Source; source.SHA256 != "" && source.SHA256 != hashes[0] && p.lineage.Previous == nil {
		o.Note(fmt.Sprintf("%s is not the model that %s was made of: their hashes differ", p.Teacher.Name, p.Student.Name))
	}
	folder, err := work.Open(o.Work, p.Student, p.key(d, hashes), work.Options{Resume: o.Resume, Discard: o.Force && !o.Resume, AnyDevice: o.AnyDevice})
	if err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	kept := 0
	defer func() {
		if err == nil {
			err = folder.Remove()
			return
		}
		if kept > 0 {
			err = &Unfinished{Err: err, Work: o.Work}
		}
		err = joined(err, folder.Close())
	}()
	tmp := o.temporary(o.Dir)
	if err := sweep(o.Dir, tmp); err != nil {
		return nil, fmt.Errorf("prune: %s: %w", o.Dir, err)
	}
	if o.Resume {
		if l := p.finished(d, o, hashes); l != nil {
			o.Note(o.Dir + " is finished already")
			return l, nil
		}
	}
	if err := check(); err != nil {
		return nil, err
	}
	job := p.job()
	options, _, err := job.Plan(d)
	if err != nil {
		return nil, err
	}
	c, damaged, err := folder.Load()
	for _, line := range damaged {
		o.Note(line)
	}
	if err != nil {
		return nil, err
	}
	var resume *distill.Progress
	var state io.Reader
	if c != nil {
		var r distillRecord
		if err := json.Unmarshal(c.Run, &r); err != nil {
			return nil, err
		}
		options, resume, job.Student, kept = r.Options, &r.Progress, c.Model, c.Step
		if c.Open != nil {
			file, err := c.Open()
			if err != nil {
				return nil, err
			}
			defer file.Close() // it was read
			state = file
		}
		n := len(r.Progress.Records)
		o.Note(fmt.Sprintf("going on after %d steps", n))
	}
	job.Options, job.Progress = options, training(progress)
	job.Store = &model.LayerStore{Host: p.Options.Memory}
	defer func() { err = joined(err, job.Store.Close()) }()
	job.Save = func(ctx context.Context, now distill.Snapshot) error {
		raw, err := json.Marshal(distillRecord{options, now.Progress})
		if err != nil {
			return err
		}
		kept++
		return folder.Save(work.Checkpoint{Step: kept, Model: now.Student, Run: raw, State: now.State})
	}
	healed, err := job.Run(ctx, d, nil, resume, state)
	if err != nil {
		return nil, err
	}
	r := &Result{Model: healed.Model, Lineage: p.record(d, options, healed.Progress.Stages, hashes), Losses: healed.Progress.Records}
	return &r.Lineage, r.write(ctx, o.Dir, tmp, o.Force, progress, func(dir string) error { return verify(ctx, d, dir) })
}

// record is the student's lineage with what was done.
func (p *Distillation) record(d *vk.Device, o distill.Options, stages []*distill.Stage, hashes [2]string) Lineage {
	l, device := p.lineage, deviceRecord(d)
	if p.own == nil {
		l.Device, l.Source = device, Source{hashes[1], len(p.Student.Layers)}
	} else if p.lineage.Distill != nil { // it was healed before
		l.Previous = p.own
	}
	l.Distill = &DistillRecord{Schedule: DistillAtEnd, Teacher: &Source{hashes[0], len(p.Teacher.Layers)}, Options: o, Corpus: p.Options.Distill.corpus(), Device: &device, Stages: stages}
	return l
}

// finished is the lineage of the output folder if it is the result of this run already, which was killed between naming it and its end.
func (p *Distillation) finished(d *vk.Device, o Output, hashes [2]string) *Lineage {
	raw, err := os.ReadFile(filepath.Join(o.Dir, model.Lineage))
	var is Lineage
	if err != nil || json.Unmarshal(raw, &is) != nil || is.Distill == nil {
		return nil // not of a distillation: check says so
	}
	options, _, err := p.Plan(d)
	if err != nil {
		return nil
	}
	options.MicroBatch = is.Distill.Options.MicroBatch // which depends on the memory that was free
	want := p.record(d, options, is.Distill.Stages, hashes)
	text, err := want.text()
	if err != nil || string(text) != string(raw) {
		return nil
	}
	return &is
}

// key is all that the files of the result depend on.
func (p *Distillation) key(d *vk.Device, hashes [2]string) []work.Field {
	device := deviceRecord(d)
	fields := []work.Field{
		{Name: "vkcome", Value: Version}, {Name: "the teacher", Value: hashes[0]}, {Name: "the student", Value: hashes[1]},
		{Name: "the student's " + model.Lineage, Value: hashBytes(p.own)}, {Name: "--map", Value: fmt.Sprint(p.Groups)},
	}
	for _, f := range p.Options.Distill.fields() {
		fields = append(fields, work.Field{Name: f[0], Value: f[1]})
	}
	return append(fields, device.fields()...)
}
