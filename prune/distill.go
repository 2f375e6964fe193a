package prune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
)

// Schedules of healing. Source: CoMe, arXiv 2510.15304.
const (
	DistillAtEnd = "sp" // prune to the end, then train every merged layer: the paper's CoMe-sp
	DistillEach  = "mp" // train each new layer right after its merge, and score what came of it: CoMe-mp
)

// Schedules lists them.
var Schedules = []string{DistillAtEnd, DistillEach}

// DistillOptions say how merged layers are trained, and on what.
type DistillOptions struct {
	Schedule string
	Options  distill.Options
	Windows  [][]uint32 // of equal length
	Seed     uint64     // that the windows were sampled with, for the record
	Source   string     // names of the files that the windows were made of, for the record

	Every time.Duration // between checkpoints inside a layer's training; 0 is half a minute
}

func (h *DistillOptions) check() error {
	switch {
	case h == nil:
		return nil
	case !slices.Contains(Schedules, h.Schedule):
		return fmt.Errorf("prune: heal schedule %q, expected one of %v", h.Schedule, Schedules)
	case len(h.Windows) == 0:
		return errors.New("prune: the corpus to heal on is empty")
	}
	return nil
}

// DistillRecord is what a lineage tells of training.
type DistillRecord struct {
	Schedule string           `json:"schedule"`
	Teacher  *Source          `json:"teacher,omitempty"` // where it is not the source
	Options  distill.Options  `json:"options"`
	Corpus   Calibration      `json:"corpus"`
	Device   *Device          `json:"device,omitempty"` // where it is not the lineage's
	Stages   []*distill.Stage `json:"stages"`           // layers by their numbers at the time
}

func (h *DistillOptions) corpus() Calibration {
	return Calibration{SHA256: corpus.Hash(h.Windows), Windows: len(h.Windows), Window: len(h.Windows[0]), Seed: h.Seed, Source: h.Source}
}

// fields are what the result of healing depends on.
func (h *DistillOptions) fields() (list [][2]string) {
	if h == nil {
		return nil
	}
	options, _ := json.Marshal(h.Options) // plain numbers and strings
	var own map[string]json.RawMessage
	_ = json.Unmarshal(options, &own) // it was marshalled just now
	for _, name := range slices.Sorted(maps.Keys(own)) {
		list = append(list, [2]string{"healing's " + name, string(own[name])})
	}
	return append(list, [2]string{"--heal", h.Schedule}, [2]string{"the text to heal on", corpus.Hash(h.Windows)}, [2]string{"the files to heal on", h.Source})
}

// healing is the training of a run that prunes.
type healing struct {
	p       *Plan
	k       *keeper // nil: nothing is kept
	session distill.Session
	trained
	open func() (io.ReadCloser, error) // the state of the training on its way
}

// trained is what a checkpoint holds of it.
type trained struct {
	Options  *distill.Options  `json:"options"` // with defaults, once they are known
	Steps    int               `json:"steps"`   // of the method whose layers are healed
	Finished bool              `json:"finished"`
	Done     distill.Progress  `json:"done"`
	Current  *distill.Progress `json:"current,omitempty"` // of the training on its way
}

// healing is the training of a run that is at its start.
func (p *Plan) healing(k *keeper) *healing {
	h := &healing{p: p, k: k}
	if k != nil {
		k.heal = h
	}
	return h
}

func (h *healing) close() error { return h.session.Close() }

// pending says whether layers wait for their training, after which steps are kept in full.
func (h *healing) pending(steps []*method.Step, layers int) bool {
	heal := h.p.Options.Distill
	return heal != nil && (heal.Schedule == DistillEach && h.Steps < len(steps) || layers <= h.p.TargetLayers && !h.Finished)
}

// run trains what is to be trained after these steps.
func (h *healing) run(ctx context.Context, s *method.State, steps []*method.Step, progress func(Status)) error {
	heal := h.p.Options.Distill
	for h.pending(steps, len(s.Model.Layers)) {
		each := heal.Schedule == DistillEach && h.Steps < len(steps)
		var groups, before []distill.Group
		if each {
			before = spansOf(len(h.p.Model.Layers), steps[:len(steps)-1])
		}
		if each || heal.Schedule == DistillAtEnd {
			for _, g := range spansOf(len(h.p.Model.Layers), steps) {
				known := slices.ContainsFunc(before, func(o distill.Group) bool { return o.First == g.First && o.Last == g.Last })
				if g.First < g.Last && !known {
					groups = append(groups, g)
				}
			}
		}
		if len(groups) > 0 || !each && heal.Options.EndToEnd > 0 {
			if err := h.train(ctx, s, steps, groups, !each, progress); err != nil {
				return err
			}
		}
		if each {
			h.Steps = len(steps)
		} else {
			h.Finished = true
		}
		// A checkpoint's model has the original's embedding, final norm and head: after a stage that trained these, its own last checkpoint,
		// which has all weights, is the one to go on from.
		if h.k != nil && len(steps) > 0 && (each || heal.Options.EndToEnd == 0) {
			if err := h.k.keep(ctx, s, steps); err != nil {
				return err
			}
		}
	}
	return nil
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

// train heals layers of the state's model, and all weights in the end if that is wanted.
func (h *healing) train(ctx context.Context, s *method.State, steps []*method.Step, groups []distill.Group, last bool, progress func(Status)) (err error) {
	p := h.p
	if s.Scorer != nil {
		if err := s.Scorer.Rest(ctx); err != nil {
			return err
		}
	}
	job := p.distillJob(s.Model)
	job.Groups, job.Store, job.Progress = groups, s.Store, training(progress)
	if h.Options == nil {
		o, _, err := job.Plan(s.Device)
		if err != nil {
			return err
		}
		h.Options = &o
	}
	job.Options = *h.Options
	if !last {
		job.Options.EndToEnd = 0
		if job.Options.Budget > 0 {
			left := max(1, job.Options.Budget-h.Done.Spent)
			stages := len(s.Model.Layers) - p.TargetLayers + 1
			if h.Options.EndToEnd > 0 {
				stages *= 2
			}
			job.Options.Budget = left / time.Duration(stages)
		}
	} else if job.Options.Budget > 0 {
		job.Options.Budget = max(1, job.Options.Budget-h.Done.Spent)
	}
	if h.k != nil {
		job.Save = func(ctx context.Context, now distill.Snapshot) error {
			h.Current = &now.Progress
			half := *s
			half.Model = now.Student
			return h.k.keepHalf(ctx, &half, steps, now.State)
		}
	}
	var state io.Reader
	if h.open != nil && h.Current != nil {
		file, err := h.open()
		if err != nil {
			return err
		}
		defer file.Close() // it was read
		state = file
	}
	h.session.Continue(h.Done.Windows)
	result, err := job.Run(ctx, s.Device, &h.session, h.Current, state)
	if err != nil {
		return err
	}
	h.Current, h.open = nil, nil
	s.Model = result.Model
	h.Done.Stages = append(h.Done.Stages, result.Progress.Stages...)
	h.Done.Records = append(h.Done.Records, result.Progress.Records...)
	h.Done.Spent += result.Progress.Spent
	h.Done.Windows = result.Progress.Windows
	return nil
}

// distillJob is the training of a student that is made of the plan's model; its groups are the caller's.
func (p *Plan) distillJob(student *model.Model) distill.Job {
	h := p.Options.Distill
	return distill.Job{Teacher: p.Model, Student: student, Groups: []distill.Group{{Last: 1}}, Windows: h.Windows, Options: h.Options, Memory: p.Options.Memory,
		Keep: h.Schedule == DistillEach, Every: h.Every}
}

// training makes the progress of training that of a run.
func training(progress func(Status)) func(distill.Status) {
	if progress == nil {
		return nil
	}
	return func(s distill.Status) { progress(Status{Stage: s.Stage, Done: s.Done, Total: s.Total, Training: &s}) }
}

// record is what the lineage tells of it.
func (h *healing) record() *DistillRecord {
	heal := h.p.Options.Distill
	if heal == nil {
		return nil
	}
	out := &DistillRecord{Schedule: heal.Schedule, Options: heal.Options, Corpus: heal.corpus(), Stages: h.Done.Stages}
	if h.trained.Options != nil {
		out.Options = *h.trained.Options
	}
	return out
}
