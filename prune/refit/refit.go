// Package refit repairs layers of a pruned model in closed form, without training: the projection that a layer adds to the residual stream
// with is fitted, by weighted least squares, so that the layer gives what left the last of the layers that it stands for.
package refit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/lsq"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
)

// What is fitted.
const (
	Down = "down"   // down_proj; of a layer with experts o_proj
	Both = "o,down" // o_proj, the MLP taken as it gives, and then down_proj on what came of it
)

// Projections lists these, the default first.
var Projections = []string{Down, Both}

// Options say how layers are fitted. The zero value of each is the documented default.
type Options struct {
	// Lambdas are the weights of the ridge that are tried: that of the smallest loss on windows that are held out is taken, the first of
	// equals. nil is DefaultLambdas.
	Lambdas []float64 `json:"lambdas"`
	// Projections are what is fitted: one of Projections.
	Projections string `json:"projections"`
	// All fits, after the last step, every layer from the lowest on that stands for others, each to what left its own in the opened model.
	All bool `json:"all,omitempty"`
	// End fits nothing after the steps on the way, and then All. It goes with methods that repair what they leave by themselves, too.
	End bool `json:"end,omitempty"`
	// HeldOut holds out every window of which the number divided by this leaves the largest rest; 0 is 8.
	HeldOut int `json:"held_out"`
}

// DefaultLambdas is a grid around what did best on real models.
var DefaultLambdas = []float64{0.03, 0.1, 0.3, 1}

// Defaults fills in what the zero value stands for.
func (o Options) Defaults() Options {
	if o.Lambdas == nil {
		o.Lambdas = DefaultLambdas
	}
	if o.Projections == "" {
		o.Projections = Down
	}
	if o.HeldOut == 0 {
		o.HeldOut = 8
	}
	o.All = o.All || o.End
	return o
}

// Holds says whether a window of the corpus is held out, by its number. HeldOut is not 0.
func (o Options) Holds(window int) bool { return window%o.HeldOut == o.HeldOut-1 }

var errOneWindow = errors.New("refit: a corpus of one window: none can be held out from the fit; give more text (corpus.Options.Sources) or a shorter window (corpus.Options.Window)")

// Check refuses options out of range for a corpus of so many windows.
func (o Options) Check(m *model.Model, windows int) error {
	o = o.Defaults()
	switch {
	case windows == 1:
		return errOneWindow
	case !slices.Contains(Projections, o.Projections):
		return fmt.Errorf("refit: projections %q, expected one of %v", o.Projections, Projections)
	case o.HeldOut < 2 || o.HeldOut > windows:
		return fmt.Errorf("refit: every %d. of the windows held out, of %d: expected 2 to the number of windows", o.HeldOut, windows)
	case o.Projections == Both && m.Config.OutputNorms:
		return fmt.Errorf("refit: projections %q: what attention gives is normed before it is added in %s, and not kept: expected %q", o.Projections, m.Config.Architecture, Down)
	}
	if len(o.Lambdas) > 32 {
		return fmt.Errorf("refit: %d lambdas, expected at most 32", len(o.Lambdas))
	}
	for _, l := range o.Lambdas {
		if !(l > 0 && l <= 1e6) {
			return fmt.Errorf("refit: lambda %v, expected more than 0 and at most 1e6", l)
		}
	}
	return nil
}

// Fit is what a lineage tells of one projection that was fitted.
type Fit struct {
	Layer      int     `json:"layer"`      // of the model at the time
	Boundary   int     `json:"boundary"`   // the layers below it of the model that was opened are what the layers up to this one stand for
	Projection string  `json:"projection"` // the module: mlp.down_proj
	Lambda     float64 `json:"lambda"`
	// Before and After are the mean of ‖y−h‖²/‖y‖² over the tokens of the windows that were held out, with h what the layer gives and y what
	// it should; of a layer that norms what the MLP gives, divided by the norm's weights channel by channel.
	Before float64 `json:"loss_before"`
	After  float64 `json:"loss_after"`
	Taken  bool    `json:"taken"` // After is less than Before, and of o_proj what the MLP makes of it no more; else the projection stays as it was

	Transform bool `json:"transform,omitempty"` // it is that of Transform, and the losses are ‖y−h‖² alone
	Rounds    int  `json:"rounds,omitempty"`    // of TransformCosine, whose fit it then is, and the losses are sin²/cos of the angles, cosines below 0.1 taken as that
}

// Left is the loss that is left, whether the fit was taken or not.
func (f Fit) Left() float64 {
	if f.Taken {
		return f.After
	}
	return f.Before
}

// Target is a layer and the boundary of the held model whose states it should give.
type Target struct{ Layer, Boundary int }

// Layer fits a layer of m, which below that layer is the scorer's model. It gives the layer that takes its place, nil if no fit was taken.
//
// The correction Δ of a projection's weight is the minimiser of Σ_t w_t‖Δa_t − e_t‖² + λm‖Δ‖², with a_t what the projection reads of token
// t, e_t what the layer's output lacks of the states wanted, y_t, w_t = 1/‖y_t‖², and m the mean of the diagonal of Σ w_t a_t a_tᵀ. The
// weights keep the few tokens of massive norm from deciding the fit.
func Layer(ctx context.Context, s *score.Scorer, m *model.Model, t Target, o Options) (fitted *model.Layer, fits []Fit, err error) {
	return (*Shard)(nil).Layer(ctx, s, m, t, o)
}

// Layer is the function of that name, of processes that share a fit; of a nil Shard it is the same.
func (sh *Shard) Layer(ctx context.Context, s *score.Scorer, m *model.Model, t Target, o Options) (fitted *model.Layer, fits []Fit, err error) {
	o = o.Defaults()
	roles := []arch.Role{arch.O, arch.Down}
	if o.Projections == Down {
		roles = roles[1:]
	}
	if m.Config.Sparse(t.Layer) {
		roles = []arch.Role{arch.O}
	}
	given, number := m, 0
	run := func(role arch.Role) (*model.Layer, Fit, error) {
		f := &fit{scorer: s, model: m, layer: m.Layers[t.Layer], role: role, target: t, options: o, shard: sh, number: number}
		number++
		made, record, err := f.run(ctx)
		if err != nil {
			err = fmt.Errorf("refit: layer %d of %s: %s: %w", t.Layer, m.Name, record.Projection, err)
		}
		return made, record, err
	}
	for i, role := range roles {
		if i > 0 && fitted != nil { // what down_proj reads depends on o_proj
			m = m.Replace(t.Layer, fitted)
		}
		made, record, err := run(role)
		if err != nil {
			return nil, nil, err
		}
		fits = append(fits, record)
		if made != nil {
			fitted = made
		}
	}
	if len(fits) < 2 || !fits[0].Taken || fits[1].Before <= fits[0].Before {
		return fitted, fits, nil
	}
	// The MLP made more of the change of o_proj than that brought.
	m = given
	alone, record, err := run(arch.Down)
	if err != nil || record.Left() > fits[1].Left() {
		return fitted, fits, err
	}
	fits[0].Taken, fits[1] = false, record
	return alone, fits, nil
}

// fit is one projection that is fitted.
type fit struct {
	scorer  *score.Scorer
	model   *model.Model
	layer   *model.Layer
	role    arch.Role
	target  Target
	options Options

	transform bool // of what the projection gives, see Transform
	cosine    bool // by the squares that stand for cosines, see TransformCosine

	shard  *Shard // nil: the scorer has the whole corpus
	number int    // of the layer's fits
}

// bias is the role of the bias that belongs to the projection's.
func (f *fit) bias() arch.Role { return f.role + 1 } // OBias behind O, DownBias behind Down

func (f *fit) shape() lsq.Shape {
	s := shapeOf(f.layer, f.role)
	if f.transform {
		s.In, s.Bias = s.Out, false
	}
	return s
}

func shapeOf(l *model.Layer, role arch.Role) lsq.Shape {
	w := l.Weights[role]
	return lsq.Shape{In: w.Cols, Out: w.Rows, Bias: !l.Weights[role+1].IsZero()}
}

func (f *fit) run(ctx context.Context) (made *model.Layer, record Fit, err error) {
	if f.shard != nil {
		made, record, err = f.shard.Rounds.Fit(ctx, Round{Fit: f.record(), Number: f.number, Layer: f.layer, Role: f.role, Sums: f.equations, Solve: f.solve})
	} else {
		var fitted, held *lsq.Equations
		if fitted, held, err = f.equations(ctx); err == nil {
			made, record, err = f.solve(ctx, fitted, held)
		}
	}
	if err != nil {
		return nil, f.record(), err
	}
	return made, record, nil
}

// record is what is known of the fit before it is made.
func (f *fit) record() Fit {
	return Fit{Layer: f.target.Layer, Boundary: f.target.Boundary, Projection: f.model.Config.Operation(f.role), Transform: f.transform}
}

// solve makes the fit of the equations of the windows to fit and of those that are held out.
func (f *fit) solve(ctx context.Context, fitted, held *lsq.Equations) (made *model.Layer, record Fit, err error) {
	record = f.record()
	d := f.scorer.Recorders()[0].Device()
	best, err := lsq.Choose(ctx, d, fitted, held, f.options.Lambdas)
	if err != nil {
		return nil, record, err
	}
	tokens := float64(held.Tokens())
	record.Before = held.Loss0() / tokens
	record.Lambda = best.Lambda
	if f.transform {
		least, err := lsq.Loss(ctx, d, held, best.D, best.Bias)
		if err != nil {
			return nil, record, err
		}
		record.After = least / tokens
		if record.Taken = record.After < record.Before; record.Taken {
			made, err = f.transformed(best.D)
		}
		return made, record, err
	}
	made, dw, db, err := f.corrected(best)
	if err != nil {
		return nil, record, err
	}
	after, err := lsq.Loss(ctx, d, held, dw, db) // as the model's dtype has it
	if err != nil {
		return nil, record, err
	}
	record.After = after / tokens
	if record.Taken = record.After < record.Before; !record.Taken {
		return nil, record, nil
	}
	return made, record, nil
}

// corrected is the layer with a correction of its projection, and the correction that the layer's dtype left of it.
func (f *fit) corrected(s *lsq.Solution) (made *model.Layer, dw, db []float32, err error) {
	old, weights := f.layer.Weights, map[arch.Role]model.Weight{}
	weights[f.role], dw, err = added(old[f.role], s.D)
	if err == nil && s.Bias != nil {
		weights[f.bias()], db, err = added(old[f.bias()], s.Bias)
	}
	return f.layer.With(weights), dw, db, err
}

// added is w + d in w's dtype, and what that is more than w.
func added(w model.Weight, d []float32) (sum model.Weight, more []float32, err error) {
	old, err := w.Floats()
	if err != nil {
		return sum, nil, fmt.Errorf("refit: %w", err)
	}
	sum, err = w.Map(func(r int, values []float32) {
		for c := range values {
			values[c] += d[r*w.Cols+c]
		}
	})
	if err == nil {
		more, err = sum.Floats()
	}
	if err != nil {
		return sum, nil, fmt.Errorf("refit: %w", err)
	}
	for i := range more {
		more[i] -= old[i]
	}
	return sum, more, nil
}

// worker is what a device takes to add up equations.
type worker struct {
	r            *vk.Recorder
	scope        *vk.Scope
	fitted, held *lsq.Sums
	lack, weight *vk.Buffer // e and w of a batch
	given        *vk.Buffer // what the projection gives of one, where that is transformed
}

// newWorker allocates for panels [begin, end) and batches of so many rows; a dry scope counts.
func newWorker(s *vk.Scope, r *vk.Recorder, shape lsq.Shape, rows, begin, end int, transform bool) *worker {
	w := &worker{r: r, scope: s, fitted: lsq.NewSums(s, r, shape, begin, end), held: lsq.NewSums(s, r, shape, begin, end),
		lack: s.Buffer("what layers lack", 4*int64(rows)*int64(shape.Out), vk.OnDevice), weight: s.Buffer("weights of tokens", 4*int64(rows), vk.OnDevice)}
	if transform {
		w.given = s.Buffer("what a projection gives", 4*int64(rows)*int64(shape.Out), vk.OnDevice)
	}
	return w
}

// Room is options of a Forward with what fitting layers of a model on windows of some tokens takes: layers of twice as many neurons may run, and
// the device memory is left that all sums take at once, or, where that is more than a quarter of the device's limit, as many as fit, one panel
// at least. The layer runs again for the rest. Solutions and choices of neurons come after the sums and have this memory then, for what else would
// stream; it is what they cannot do without at least.
func Room(o run.Options, d *vk.Device, m *model.Model, window int) run.Options {
	rows, c := max(o.BatchTokens, window), m.Config
	o.Neurons = 2 * c.DenseNeurons()
	for _, role := range []arch.Role{arch.O, arch.Down} {
		for _, l := range m.Layers {
			if l.Weights[role].IsZero() {
				continue
			}
			shape := shapeOf(l, role)
			if role == arch.Down {
				shape.In *= 2 // see Union
			}
			need := func(begin, end int) int64 {
				return d.DryRun(func(s *vk.Scope) { newWorker(s, nil, shape, rows, begin, end, true) })
			}
			o.Free = max(o.Free, min(need(0, shape.Panels()), d.MemoryLimit()/4), lsq.SolveMemory(d, shape), lsq.EliminateMemory(d, shape))
			for p := range shape.Panels() {
				o.Free = max(o.Free, need(p, p+1))
			}
		}
	}
	return o
}

// equations adds up the equations of the windows to fit and of those that are held out. Where the device's memory does not hold all of
// them, the layer runs several times.
func (f *fit) equations(ctx context.Context) (fitted, held *lsq.Equations, err error) {
	shape := f.shape()
	fitted, held = lsq.NewEquations(shape), lsq.NewEquations(shape)
	for begin := 0; begin < shape.Panels(); {
		workers, end, err := f.workers(begin)
		if err == nil {
			err = f.pass(ctx, fitted, held, workers)
		}
		if err != nil {
			return nil, nil, err
		}
		begin = end
	}
	return fitted, held, nil
}

// workers are one for each device, for the panels from begin to end: as many as every device has room for. What is counted as room may lie in
// pieces, so where that many do not fit, half as many are tried.
func (f *fit) workers(begin int) (list []*worker, end int, err error) {
	_, rows := f.scorer.Size()
	for end = f.panels(begin); ; end = begin + (end-begin)/2 {
		for _, r := range f.scorer.Recorders() {
			s := r.Device().NewScope()
			list = append(list, newWorker(s, r, f.shape(), rows, begin, end, f.transform))
			if err = s.Err(); err != nil {
				break
			}
		}
		if err == nil {
			return list, end, nil
		}
		for _, w := range list {
			w.scope.Free()
		}
		if list = nil; !errors.Is(err, vk.ErrOutOfMemory) || end == begin+1 {
			return nil, 0, err
		}
	}
}

// panels is the end of the panels from begin on that every device has room for, by what is free in all.
func (f *fit) panels(begin int) (end int) {
	shape := f.shape()
	_, rows := f.scorer.Size()
	end = shape.Panels()
	for _, r := range f.scorer.Recorders() {
		d := r.Device()
		left := (d.MemoryLimit() - d.Memory().Reserved) / 32 * 31 // a rest for what the arena rounds up
		fits := func(end int) bool {
			return d.DryRun(func(s *vk.Scope) { newWorker(s, nil, shape, rows, begin, end, f.transform) }) <= left
		}
		for end > begin+1 && !fits(end) {
			end--
		}
	}
	return end
}

// pass runs the layer once for the panels of workers, which are freed then.
func (f *fit) pass(ctx context.Context, fitted, held *lsq.Equations, workers []*worker) (err error) {
	defer func() {
		for _, w := range workers {
			err = errors.Join(err, w.r.Wait(context.WithoutCancel(ctx)))
			w.scope.Free()
		}
	}()
	if err := f.scorer.Beside(ctx, f.model, f.target.Layer, f.target.Boundary, func(h score.Held) error { return f.add(workers[h.Part], h) }); err != nil {
		return err
	}
	for _, w := range workers {
		if err := errors.Join(w.fitted.Collect(ctx, fitted), w.held.Collect(ctx, held)); err != nil {
			return err
		}
	}
	return nil
}

// add adds a batch's windows to the equations that they belong to.
func (f *fit) add(w *worker, h score.Held) error {
	c, rows := f.model.Config, h.Out.Rows
	e, weight := graph.Floats(w.lack, rows, c.HiddenSize), graph.Floats(w.weight, 1, rows)
	a := h.MLP
	if f.role == arch.O {
		a = h.Attention
	}
	var norm op.FitNorm
	if c.OutputNorms && f.role == arch.Down {
		norm = op.FitNorm{Z: h.Fed, G: h.Weights[arch.MLPNorm], PlusOne: c.NormPlusOne, Eps: float32(c.RMSNormEps)}
	}
	scale := 1 / cmp.Or(float32(c.ResidualScale), 1)
	if f.cosine {
		op.CosineTarget(w.r, e, weight, h.Out, h.Y, scale)
	} else {
		op.FitTarget(w.r, e, weight, h.Out, h.Y, scale, norm)
	}
	if f.transform {
		a = h.Fed
		if a.IsZero() {
			a = graph.Floats(w.given, rows, c.HiddenSize)
			op.LinearFused(w.r, a, h.MLP, h.Weights[arch.Down], op.Fused{Bias: h.Weights[arch.DownBias], Batch: true})
		}
		if !f.cosine {
			w.r.Fill(weight.View, math.Float32bits(1))
		}
	}
	window := rows / h.Batch.Windows()
	first := h.First
	if f.shard != nil {
		first += f.shard.First
	}
	isHeld := func(i int) bool { return f.options.Holds(first + i) }
	for i, n := 0, h.Batch.Windows(); i < n; {
		end, sums := i+1, w.fitted
		for end < n && isHeld(end) == isHeld(i) {
			end++
		}
		if isHeld(i) {
			sums = w.held
		}
		sums.AddWindows(a, e, weight, window, i, end)
		i = end
	}
	return w.r.Err()
}

// HostBytes is the host memory that fitting a layer takes at most: the sums of the windows that are fitted and of those that are held out, in
// integers of 16 bytes, the half of those of the inputs with one another; and a solution of 4 for each lambda. Where layers are made of two by Union
// these sums have the neurons of both, and what a device has no room for when it chooses lies beside them: see lsq.Eliminate.
func HostBytes(m *model.Model, lambdas int, union bool) (most int64) {
	for _, role := range []arch.Role{arch.O, arch.Down} {
		for _, l := range m.Layers {
			w := l.Weights[role]
			in, out := int64(w.Cols+1), int64(w.Rows)
			sums := func(in int64) int64 { return 2 * (8*in*in + 16*in*out) }
			most = max(most, sums(in)+4*int64(lambdas+3)*in*out)
			if both := int64(2*w.Cols + 1); union && role == arch.Down {
				most = max(most, sums(both)+lsq.EliminateHostBytes(lsq.Shape{In: 2 * w.Cols, Out: w.Rows, Bias: true}))
			}
		}
	}
	return most
}
