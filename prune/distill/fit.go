package distill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/train"
)

// Stage is a layer's training, or that of all weights, from its start to its end: what a lineage tells of it, and where it is.
type Stage struct {
	Group *Group `json:"group,omitempty"` // nil: all weights together

	Steps   int     `json:"steps"`   // planned
	Done    int     `json:"done"`    // of them
	Tokens  int64   `json:"tokens"`  // trained on
	Skipped int     `json:"skipped"` // steps whose loss or gradients were not finite
	Before  float64 `json:"held_out_before"`
	After   float64 `json:"held_out_after"` // the best, whose weights are kept
	Best    int     `json:"best_step"`      // after which they are; 0: the start, nothing was gained
	Ended   string  `json:"ended"`          // why: steps, patience, budget, equal

	// The rest is for going on.
	Failed int     `json:"failed,omitempty"` // steps skipped in a row
	Stale  int     `json:"stale,omitempty"`  // evaluations since the best
	Change float64 `json:"change,omitempty"` // nmse: ‖Y−X‖² per token
}

// Why a stage ended.
const (
	endSteps    = "steps"
	endPatience = "patience"
	endBudget   = "budget"
	endEqual    = "equal" // the gradients are exactly 0: the layer gives what it should
)

// Record is one step, for plots.
type Record struct {
	Layer    *int     `json:"layer"` // null: all weights
	Step     int      `json:"step"`  // from 1
	LR       float64  `json:"lr"`
	Loss     *float64 `json:"loss"`      // null: not finite, the step was skipped
	GradNorm *float64 `json:"grad_norm"` // before clipping
	HeldOut  *float64 `json:"held_out,omitempty"`
}

// trainer is what a stage trains.
type trainer interface {
	Begin()
	Step(ctx context.Context, clip float64, p op.AdamWParams) (train.StepResult, error)
	Loss(ctx context.Context) (float64, error)
	Values(ctx context.Context) ([]model.Weight, error)
	Save(ctx context.Context, to io.Writer) error
	Load(ctx context.Context, from io.Reader) error
	Close()
}

// fit is a stage on its way.
type fit struct {
	trainer
	job   *distiller
	stage *Stage
	// batch records a batch by its number: its loss and, to train, its gradients. tokens are those of all batches together.
	batch func(ctx context.Context, number, tokens int, learn bool) error
	peak  float64 // learning rate
	final float64
	best  []model.Weight // nil: those of the start
}

// micro is how many batches a step takes; first is the number of its first.
func (f *fit) micro(step int) (first, n int) {
	n = f.job.o.Batch / f.job.o.MicroBatch
	return step * n % (f.job.train / f.job.o.MicroBatch), n
}

// gradients records a step's batches.
func (f *fit) gradients(ctx context.Context, step int) error {
	first, n := f.micro(step)
	f.Begin()
	for i := range n {
		if err := f.batch(ctx, first+i, f.job.o.Batch*f.job.window, true); err != nil {
			return err
		}
	}
	return nil
}

// heldOut is the loss of what is not trained on.
func (f *fit) heldOut(ctx context.Context) (float64, error) {
	first, n := f.job.train/f.job.o.MicroBatch, f.job.o.HeldOut/f.job.o.MicroBatch
	f.Begin()
	for i := range n {
		if err := f.batch(ctx, first+i, f.job.o.HeldOut*f.job.window, false); err != nil {
			return 0, err
		}
	}
	return f.Loss(ctx)
}

// begin measures where the stage starts, and how many steps the time until then allows.
func (f *fit) begin(ctx context.Context, until time.Time) (err error) {
	s := f.stage
	if s.Before, err = f.heldOut(ctx); err != nil {
		return err
	}
	s.After = s.Before
	if s.Before-s.Before != 0 {
		return model.Lasting(fmt.Errorf("the held-out loss is %v before the first step", s.Before))
	}
	if until.IsZero() {
		return nil
	}
	const trials = 3
	var each time.Duration
	for i, begin := 0, time.Now(); i <= trials; i++ {
		if i == 1 {
			if each = time.Since(begin); each > time.Until(until)/50 { // the first compiles kernels, but more of them would take what the budget is for
				break
			}
			begin = time.Now()
		}
		if err := f.gradients(ctx, 0); err != nil {
			return err
		}
		if _, err := f.Loss(ctx); err != nil {
			return err
		}
		each = time.Since(begin) / time.Duration(max(1, i))
	}
	look := each * time.Duration(f.job.o.HeldOut) / time.Duration(3*f.job.o.Batch) // a pass without gradients takes a third
	s.Steps = min(s.Steps, stepsWithin(time.Until(until), max(1, each), look))
	return nil
}

// stepsWithin is how many steps there is time for, with the looks at the held-out loss that come with so many.
func stepsWithin(left, each, look time.Duration) int {
	return sort.Search(max(0, int(left/each)), func(n int) bool {
		more, every := n+1, lookEvery(n+1)
		return time.Duration(more)*each+time.Duration((more+every-1)/every)*look > left
	})
}

// lookEvery is how many of a stage's steps lie between two looks at the held-out loss.
func lookEvery(steps int) int { return max(minEvery, (steps+Evaluations-1)/Evaluations) }

// run trains until the stage ends.
func (f *fit) run(ctx context.Context, until time.Time) error {
	s, o := f.stage, f.job.o
	every := lookEvery(s.Steps)
	for s.Ended == "" {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case s.Steps > 0 && s.Done >= s.Steps:
			s.Ended = endSteps
		case s.Steps == 0 || !until.IsZero() && time.Now().After(until):
			s.Ended = endBudget
		}
		if s.Ended == endBudget && s.Done%every != 0 { // what was learned since the last look counts too
			if err := f.evaluate(ctx, new(Record)); err != nil {
				return err
			}
			s.Ended = endBudget
		}
		if s.Ended != "" {
			break
		}
		rate := o.rate(f.peak, f.final, s.Done, s.Steps)
		if err := f.gradients(ctx, s.Done); err != nil {
			return err
		}
		result, err := f.Step(ctx, max(0, o.Clip), op.AdamWParams{LR: float32(rate), Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: float32(max(0, o.Decay)),
			Step: s.Done - s.Skipped + 1})
		if err != nil {
			return err
		}
		s.Done++
		s.Tokens += int64(o.Batch) * int64(f.job.window)
		record := Record{Step: s.Done, LR: rate}
		if s.Group != nil {
			record.Layer = &s.Group.Layer
		}
		if s.Failed++; !result.Skipped {
			s.Failed = 0
			record.Loss, record.GradNorm = &result.Loss, &result.GradNorm
		} else if s.Skipped++; s.Failed == maxFailed {
			return model.Lasting(fmt.Errorf("the loss or its gradients were not finite in %d steps in a row, up to step %d: use a smaller learning rate (distill.Options.LR, now %.3g)", maxFailed, s.Done, f.peak))
		}
		if result.Done && result.Loss == 0 && s.Before == 0 {
			s.Ended = endEqual
		} else if s.Done%every == 0 || s.Done == s.Steps {
			if err := f.evaluate(ctx, &record); err != nil {
				return err
			}
		}
		f.job.tell(s, record)
		if err := f.job.checkpoint(ctx, f, false); err != nil {
			return err
		}
	}
	return f.job.checkpoint(ctx, f, true)
}

// minEvery is the fewest steps between two looks at the held-out loss.
const minEvery = 4

// maxFailed is how many steps in a row may be skipped.
const maxFailed = 3

// evaluate measures the held-out loss and keeps the weights if it is the best.
func (f *fit) evaluate(ctx context.Context, record *Record) (err error) {
	s := f.stage
	loss, err := f.heldOut(ctx)
	if err != nil {
		return err
	}
	record.HeldOut = &loss
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		record.HeldOut = nil
	}
	if loss < s.After {
		s.After, s.Best, s.Stale = loss, s.Done, 0
		f.best, err = f.Values(ctx)
		return err
	}
	if s.Stale++; s.Stale >= f.job.o.Patience {
		s.Ended = endPatience
	}
	return nil
}

// save writes the state of the stage for load, its best weights behind.
func (f *fit) save(ctx context.Context, to io.Writer) error {
	if err := f.Save(ctx, to); err != nil {
		return err
	}
	for _, w := range f.best {
		if err := w.Pieces(func(_ int64, data []byte) error {
			_, err := to.Write(data)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// load reads what save wrote; like are weights of the shapes of the best ones.
func (f *fit) load(ctx context.Context, from io.Reader, like []model.Weight) error {
	if err := f.Load(ctx, from); err != nil || f.stage.Best == 0 {
		return err
	}
	f.best = make([]model.Weight, len(like))
	for i, w := range like {
		if w.IsZero() {
			continue
		}
		f.best[i] = model.Weight{Name: w.Name, DType: w.DType, Rows: w.Rows, Cols: w.Cols, Data: make([]byte, w.Size())}
		if _, err := io.ReadFull(from, f.best[i].Data); err != nil {
			return errors.Join(errors.New("distill: the checkpoint is cut short"), err)
		}
	}
	return nil
}
