package prune

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/work"
	"github.com/vkcome/vkcome/vk"
)

// Output says where a pruned model goes, and where a run keeps what it has done until it is there.
type Output struct {
	Dir       string // the folder to write
	Force     bool   // replace Dir if vkcome wrote it; without Resume, remove what an unfinished run left in Work
	Work      string // the work folder; "" is DefaultWork(Dir)
	Resume    bool   // go on where a run of the same options stopped; where none did, start afresh
	AnyDevice bool   // with Resume: also where the run computed on another device, driver or tier
	SaveSteps bool   // write the model of N layers after every step but the last as well, as StepDir(Dir, N)

	Note func(line string) // is told how a run goes on, and what of it is damaged; may be nil
}

// DefaultWork is the work folder of a run that writes out.
func DefaultWork(out string) string {
	out = filepath.Clean(out)
	return filepath.Join(filepath.Dir(out), "."+filepath.Base(out)+".vkcome-work")
}

// defaults fills in what the zero value stands for.
func (o Output) defaults() Output {
	o.Dir = filepath.Clean(o.Dir)
	if o.Work == "" {
		o.Work = DefaultWork(o.Dir)
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	return o
}

// temporary is the name under which an output is written: the same for each run with the work folder, whose lock makes it this run's.
func (o Output) temporary(out string) string {
	path, err := filepath.Abs(o.Work)
	if err != nil {
		path = o.Work
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(filepath.Dir(out), "."+filepath.Base(out)+".tmp-"+hex.EncodeToString(sum[:6]))
}

// StepDir is where the model of a number of layers goes on the way to out.
func StepDir(out string, layers int) string {
	return fmt.Sprintf("%s.L%d", filepath.Clean(out), layers)
}

// Unfinished is the error of a run of which steps are kept.
type Unfinished struct {
	Err  error
	Work string // the folder that they are in
	Step int    // how many; 0: steps of training
}

func (u *Unfinished) Error() string { return fmt.Sprintf("%v; %s", u.Err, u.Advice()) }
func (u *Unfinished) Unwrap() error { return u.Err }

// Advice says how to go on.
func (u *Unfinished) Advice() string {
	done := ""
	if u.Step > 0 {
		done = fmt.Sprintf(" up to step %d", u.Step)
	}
	return fmt.Sprintf("what was done%s is kept in %s: run the same command with --resume to go on", done, u.Work)
}

// RunTo prunes on the device and writes the model. Every step is kept in a work folder, which goes when the model has its name: after a
// crash, a kill, a lost device or any other error, RunTo with Resume goes on with the next step, and what it writes is the same to the
// byte. An error that leaves steps is an *Unfinished. progress may be nil.
func (p *Plan) RunTo(ctx context.Context, d *vk.Device, o Output, progress func(Status)) (l *Lineage, err error) {
	o = o.defaults()
	if progress == nil {
		progress = func(Status) {}
	}
	if o.Force && !o.Resume { // before anything is removed
		if err := p.check(o); err != nil {
			return nil, err
		}
	}
	k := &keeper{plan: p, output: o, device: deviceRecord(d), progress: progress}
	progress(Status{Stage: "hash the model", Done: 0, Total: 1})
	if k.source, err = model.Hash(ctx, p.Model.Files); err != nil {
		return nil, fmt.Errorf("prune: hash of the source: %w", err)
	}
	progress(Status{Stage: "hash the model", Done: 1, Total: 1})
	k.folder, err = work.Open(o.Work, p.Model, k.key(), work.Options{Resume: o.Resume, Discard: o.Force && !o.Resume, AnyDevice: o.AnyDevice})
	if err != nil {
		return nil, fmt.Errorf("prune: %w", err)
	}
	defer func() {
		if err == nil {
			err = k.folder.Remove()
			return
		}
		if k.step > 0 {
			err = &Unfinished{err, o.Work, k.step}
		}
		err = joined(err, k.folder.Close())
	}()
	for _, out := range k.outputs() {
		if err := sweep(out, o.temporary(out)); err != nil {
			return nil, fmt.Errorf("prune: %s: %w", out, err)
		}
	}
	if o.Resume {
		if l, err = k.finished(d); err != nil || l != nil {
			return l, err
		}
	}
	if err := p.check(o); err != nil {
		return nil, err
	}
	r, err := p.run(ctx, d, k, progress)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return &r.Lineage, r.write(ctx, o.Dir, o.temporary(o.Dir), o.Force, progress, func(dir string) error { return verify(ctx, d, dir) })
}

// joined is err, or with what closing met both: one error stays as it is.
func joined(err, closing error) error {
	if closing == nil {
		return err
	}
	return errors.Join(err, closing)
}

// check refuses outputs that cannot be written, before hours are spent.
func (p *Plan) check(o Output) error {
	if err := CheckOutput(o.Dir, p.Model.Name, o.Force); err != nil || !o.SaveSteps || o.Resume {
		return err
	}
	for n := p.TargetLayers + 1; n < len(p.Model.Layers); n++ {
		if err := CheckOutput(StepDir(o.Dir, n), p.Model.Name, o.Force); err != nil {
			return err
		}
	}
	return nil
}

// keeper keeps the steps of a run in its work folder.
type keeper struct {
	plan     *Plan
	output   Output
	folder   *work.Folder
	source   string // model.Hash of it
	device   Device
	devices  []Device // that the steps were taken on, each followed by another
	step     int      // steps that are kept
	number   int      // of the newest checkpoint
	progress func(Status)

	heal *healing // of the run
}

// record is what a checkpoint holds of a run besides the model and the scores.
type record struct {
	Steps   []*method.Step  `json:"steps"`
	State   json.RawMessage `json:"state"`
	Devices []Device        `json:"devices"`
	Distill *trained        `json:"healing,omitempty"`
}

// key is all that the files of the result depend on.
func (k *keeper) key() []work.Field {
	p := k.plan
	yes := func(is bool) string {
		if is {
			return "given"
		}
		return ""
	}
	options := p.record()
	fields := []work.Field{
		{Name: "vkcome", Value: Version}, {Name: "the model", Value: k.source}, {Name: "the model's " + model.Lineage, Value: hashBytes(p.previous)},
		{Name: "--method", Value: p.Method.Name()},
		{Name: "--target-layers", Value: fmt.Sprint(options.TargetLayers)}, {Name: "--protect", Value: strings.Trim(fmt.Sprint(options.Protect), "[]")},
		{Name: "--all-scores", Value: yes(p.Options.AllScores)}, {Name: "--save-steps", Value: yes(k.output.SaveSteps)},
	}
	fields = append(fields, k.device.fields()...)
	if r := p.Options.Replay; r != nil {
		plan, _ := json.Marshal(r) // it was read from JSON
		return append(fields, work.Field{Name: "--plan", Value: hashBytes(plan)})
	}
	var own map[string]json.RawMessage
	_ = json.Unmarshal(options.Method, &own) // record has made it
	for _, name := range slices.Sorted(maps.Keys(own)) {
		fields = append(fields, work.Field{Name: "--" + strings.ReplaceAll(name, "_", "-"), Value: string(own[name])})
	}
	for _, f := range p.Options.Distill.fields() {
		fields = append(fields, work.Field{Name: f[0], Value: f[1]})
	}
	if p.scores() {
		w := p.Options.Windows
		fields = append(fields, work.Field{Name: "the calibration corpus", Value: fmt.Sprintf("%d windows of %d tokens", len(w), len(w[0]))},
			work.Field{Name: "the files of the corpus", Value: p.Options.Source}, work.Field{Name: "--seed", Value: fmt.Sprint(p.Options.Seed)},
			work.Field{Name: "the text of the corpus", Value: corpus.Hash(w)})
		if f := p.Options.Stats; f != nil {
			fields = append(fields, work.Field{Name: "--stats", Value: strings.Join(f.Computed, "; ")})
		}
	}
	return fields
}

// fields are what a result depends on of the device.
func (d Device) fields() []work.Field {
	return []work.Field{{Name: "device", Value: d.Name, Device: true}, {Name: "driver", Value: d.Driver, Device: true},
		{Name: "driver version", Value: d.DriverVersion, Device: true}, {Name: "tier", Value: d.Tier, Device: true}}
}

// hashBytes is the SHA-256 of a file's contents in hexadecimal, empty where there is none.
func hashBytes(raw []byte) string {
	if raw == nil {
		return ""
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// outputs are the folders that the run may write.
func (k *keeper) outputs() []string {
	list := []string{k.output.Dir}
	if k.output.SaveSteps {
		for n := k.plan.TargetLayers + 1; n < len(k.plan.Model.Layers); n++ {
			list = append(list, StepDir(k.output.Dir, n))
		}
	}
	return list
}

// sweep removes what a run that was killed while writing out left under a temporary name, and gives the folder that it was about to
// replace its name back.
func sweep(out, tmp string) error {
	if _, err := os.Lstat(out); errors.Is(err, os.ErrNotExist) {
		if err := os.Rename(tmp+replaced, out); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return errors.Join(os.RemoveAll(tmp), os.RemoveAll(tmp+replaced))
}

// finished is the lineage of the output folder if it is the result of this run already, which was killed between naming it and its end.
func (k *keeper) finished(d *vk.Device) (*Lineage, error) {
	raw, err := os.ReadFile(filepath.Join(k.output.Dir, model.Lineage))
	if err != nil {
		return nil, nil // not a folder of vkcome's: check says so
	}
	var is Lineage
	if json.Unmarshal(raw, &is) != nil || len(is.Tree) != k.plan.TargetLayers {
		return nil, nil
	}
	s := k.plan.state(k.plan.Model)
	s.Device = d
	want := k.plan.lineage(s, nil)
	want.Source = Source{k.source, len(k.plan.Model.Layers)}
	bare := is
	for _, l := range []*Lineage{&want, &bare} {
		l.Tree, l.LayerPasses, l.Devices, l.Distill = nil, nil, nil, nil
	}
	if r := k.plan.Options.Replay; r != nil {
		want.Steps = r.Steps
	} else {
		bare.Steps = nil
	}
	a, err := want.text()
	if err != nil {
		return nil, err
	}
	b, err := bare.text()
	if err != nil || !bytes.Equal(a, b) {
		return nil, err
	}
	k.output.Note(k.output.Dir + " is finished already")
	return &is, nil
}

// restore brings a state to where the newest checkpoint was made and gives the steps that led there.
func (k *keeper) restore(ctx context.Context, s *method.State) ([]*method.Step, error) {
	k.devices = []Device{k.device}
	c, damaged, err := k.folder.Load()
	for _, line := range damaged {
		k.output.Note(line)
	}
	if err != nil {
		return nil, err
	}
	if c == nil {
		if len(damaged) > 0 {
			k.output.Note("no other checkpoint is left: starting afresh")
		}
		return nil, nil
	}
	var r record
	if err := json.Unmarshal(c.Run, &r); err != nil {
		return nil, err
	}
	k.output.Note(fmt.Sprintf("going on after step %d, with %d layers", len(r.Steps), len(c.Model.Layers)))
	k.progress(Status{Stage: "restore", Done: 0, Total: 1})
	if err := s.Restore(ctx, c.Model, r.State, c.Scorer); err != nil {
		return nil, err
	}
	k.progress(Status{Stage: "restore", Done: 1, Total: 1})
	k.step, k.number = len(r.Steps), c.Step
	if r.Distill != nil {
		k.heal.trained, k.heal.open = *r.Distill, c.Open
	}
	if k.devices = r.Devices; k.devices[len(k.devices)-1] != k.device {
		k.devices = append(k.devices, k.device)
	}
	return r.Steps, k.saveStep(ctx, s, r.Steps)
}

// keep makes a checkpoint after a step, or after the training that follows it.
func (k *keeper) keep(ctx context.Context, s *method.State, steps []*method.Step) error {
	if err := k.keepHalf(ctx, s, steps, nil); err != nil {
		return err
	}
	return k.saveStep(ctx, s, steps)
}

// keepHalf makes a checkpoint in the middle of training, whose state more writes.
func (k *keeper) keepHalf(ctx context.Context, s *method.State, steps []*method.Step, more func(io.Writer) error) error {
	state, scores, err := s.Checkpoint()
	if err != nil {
		return err
	}
	r := record{Steps: steps, State: state, Devices: k.devices}
	if k.plan.Options.Distill != nil {
		r.Distill = &k.heal.trained
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	k.number++
	if err := k.folder.Save(work.Checkpoint{Step: k.number, Model: s.Model, Run: raw, Scorer: scores, State: more}); err != nil {
		return err
	}
	k.step = len(steps)
	return nil
}

// saveStep writes the model on its way, unless it is there or that was not asked for.
func (k *keeper) saveStep(ctx context.Context, s *method.State, steps []*method.Step) error {
	if n := len(s.Model.Layers); k.output.SaveSteps && n > k.plan.TargetLayers && !k.heal.pending(steps, n) {
		out := StepDir(k.output.Dir, n)
		r := Result{Model: s.Model, Lineage: k.lineage(s, steps)}
		text, err := r.Lineage.text()
		if err != nil {
			return err
		}
		if there, err := os.ReadFile(filepath.Join(out, model.Lineage)); err == nil && bytes.Equal(there, text) {
			return nil // written before the run stopped
		}
		return r.write(ctx, out, k.output.temporary(out), k.output.Force, k.progress, nil)
	}
	return nil
}

// lineage is the record of a run so far.
func (k *keeper) lineage(s *method.State, steps []*method.Step) Lineage {
	l := k.plan.lineage(s, steps)
	l.Source = Source{k.source, len(k.plan.Model.Layers)}
	if len(k.devices) > 1 {
		l.Devices = k.devices
	}
	if k.heal != nil {
		l.Distill = k.heal.record()
	}
	return l
}
