package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Setup says what training changes. The zero value is all weights themselves.
type Setup struct {
	// Rank, if it is not 0, is that of updates that are trained in the place of weights: W + B·A for every matrix of a layer, where A is
	// random at first and B is zero. All else is frozen: norms, biases, the embedding and the LM head. Source: Hu et al. 2022, LoRA, arXiv
	// 2106.09685.
	Rank int
	Seed uint64 // of A

	// Moments is what AdamW keeps its moments in: F32, or BF16, rounded at random (see op.AdamW), for half of their memory.
	Moments dtype.DType
}

// moments allocates a moment.
func (o Setup) moments(s *vk.Scope, name string, rows, cols int) op.Tensor {
	size := int64(rows) * int64(cols) * int64(o.Moments.Size())
	return op.Of(s.Buffer(name, (size+3)/4*4, vk.OnDevice).View(0, size), o.Moments, rows, cols)
}

// factors are the first values of a matrix' update: A [rank, cols] with elements of variance 1/cols, so that A·x is about as large as an element
// of x times the root of the rank, and B transposed [rank, rows]. number tells the matrices of a model apart. The values of A are made with
// live alone.
func (o Setup) factors(w model.Weight, number int, live bool) (a, b model.Weight) {
	make32 := func(name string, cols int) model.Weight {
		f := model.Weight{Name: w.Name + name, DType: dtype.F32, Rows: o.Rank, Cols: cols}
		if live {
			f.Data = make([]byte, f.Size())
		}
		return f
	}
	a, b = make32(", A", w.Cols), make32(", B", w.Rows)
	if !live {
		return a, b
	}
	rng := rand.New(rand.NewPCG(o.Seed, uint64(number)))
	row := make([]float32, w.Cols)
	for k := range o.Rank {
		for i := range row {
			row[i] = float32(rng.NormFloat64() / math.Sqrt(float64(w.Cols)))
		}
		dtype.F32.Encode(a.Data[4*k*w.Cols:4*(k+1)*w.Cols], row)
	}
	return a, b
}

// weightSet is weights whose roles follow one another from first on, of which those that are absent are zero.
type weightSet struct {
	first   arch.Role
	number  int // of the layer
	weights []model.Weight
}

func (w weightSet) info(i int) arch.Info { return (w.first + arch.Role(i)).Info() }

// present lists the numbers of the weights that are there.
func (w weightSet) present() (list []int) {
	for i, w := range w.weights {
		if !w.IsZero() {
			list = append(list, i)
		}
	}
	return list
}

// open puts a set on the device for steps.
func (w weightSet) open(ctx context.Context, s *vk.Scope, r *vk.Recorder, o Setup) *trained {
	return newTrained(ctx, s, r, w, o, w.parameters(o, s.Live()), forSteps)
}

// layerSet is the weights of a layer.
func layerSet(m *model.Model, l int) weightSet {
	return weightSet{number: l, weights: m.Layers[l].Weights[:]}
}

// parameter is a tensor that steps change.
type parameter struct {
	of     int // which of the set's weights it is, or whose update
	weight model.Weight
	decays bool
}

// parameters are those of a set in their order; of updates A, then B.
func (w weightSet) parameters(o Setup, live bool) (list []parameter) {
	for _, i := range w.present() {
		switch {
		case o.Rank == 0:
			list = append(list, parameter{i, w.weights[i], w.info(i).Decays()})
		case w.first+arch.Role(i) < arch.LayerRoles && w.info(i).Kind == arch.Matrix:
			a, b := o.factors(w.weights[i], w.number*int(arch.LayerRoles)+i, live)
			list = append(list, parameter{i, a, true}, parameter{i, b, true})
		}
	}
	return list
}

// tensors are a parameter on the device.
type tensors struct {
	parameter
	copy   op.Tensor // in its own dtype: what passes read, or of which that is made
	master op.Tensor // F32, as the rest
	grad   op.Tensor
	m, v   op.Tensor
}

// state lists what a step changes.
func (t *tensors) state() []op.Tensor { return []op.Tensor{t.copy, t.master, t.m, t.v} }

// Which tensors of parameters a trained has.
type have int

const (
	forPasses   have = iota // what forward passes read
	forGradient             // gradients too
	forSteps                // and what AdamW needs
)

// trained is weights on the device in their own dtype, as forward and backward passes read them, and the parameters behind them.
type trained struct {
	weightSet
	d      *vk.Device
	r      *vk.Recorder
	copies []op.Tensor
	joined []op.Tensor // the copies for forward passes: those that lie right behind others, where they cannot be bound, are there again
	base   []op.Tensor // the weights without their updates, where these are trained
	params []*tensors
	grads  []op.Tensor     // of the weights themselves; absent of those that are frozen
	low    []graph.LowRank // the updates by weight; nil where the weights themselves are trained
}

// newTrained puts weights and their parameters on the device, ready for use once what it recorded is waited for. Of a dry scope it counts.
func newTrained(ctx context.Context, s *vk.Scope, r *vk.Recorder, set weightSet, o Setup, params []parameter, what have) *trained {
	d, n := s.Device(), len(set.weights)
	list := func() []op.Tensor { return make([]op.Tensor, n) }
	t := &trained{weightSet: set, d: d, r: r, copies: list(), joined: list(), base: list(), grads: list()}
	places, bytes := graph.Layout(d, set.weights, func(i int) bool { return t.info(i).Joins })
	all := s.Buffer("trained weights", bytes, vk.OnDevice)
	for _, i := range t.present() {
		w := set.weights[i]
		view := all.View(places[i], w.Size())
		t.joined[i] = op.Of(view, w.DType, w.Rows, w.Cols)
		if places[i] != graph.Aligned(d, places[i]) {
			view = s.Buffer("trained weights", w.Size(), vk.OnDevice).All()
		}
		t.copies[i] = op.Of(view, w.DType, w.Rows, w.Cols)
		if s.Live() {
			s.Fail(graph.Put(ctx, d, view, w))
		}
	}
	if o.Rank > 0 {
		t.low = make([]graph.LowRank, n)
	}
	for _, p := range params {
		t.add(ctx, s, p, o, what)
	}
	if s.Live() {
		t.merge()
	}
	return t
}

// add puts a parameter on the device.
func (t *trained) add(ctx context.Context, s *vk.Scope, p parameter, o Setup, what have) {
	w := p.weight
	floats := func(name string) op.Tensor {
		return graph.Floats(s.Buffer(name, 4*w.Elements(), vk.OnDevice), w.Rows, w.Cols)
	}
	x := &tensors{parameter: p, copy: t.copies[p.of]}
	if o.Rank > 0 {
		x.copy = graph.PutNew(ctx, s, w)
	}
	if what >= forGradient {
		x.grad = floats("gradients")
	}
	if what >= forSteps {
		x.master, x.m, x.v = floats("master weights"), o.moments(s, "first moments", w.Rows, w.Cols), o.moments(s, "second moments", w.Rows, w.Cols)
		if s.Live() {
			op.FromDType(t.r, x.master, x.copy)
			s.Fail(errors.Join(blankOut(ctx, t.d, x.m), blankOut(ctx, t.d, x.v)))
		}
	}
	t.params = append(t.params, x)
	switch {
	case o.Rank == 0:
		t.grads[p.of] = x.grad
	case t.low[p.of].A.IsZero():
		t.low[p.of].A, t.low[p.of].DA = x.copy, x.grad
		c := t.copies[p.of]
		if t.base[p.of] = op.Of(s.Buffer("frozen weights", c.Size(), vk.OnDevice).All(), c.DType, c.Rows, c.Cols); s.Live() {
			t.r.Copy(t.base[p.of].View, c.View)
		}
	default:
		t.low[p.of].B, t.low[p.of].DB = x.copy, x.grad
	}
}

// merge records what passes read of what steps change: weights with their updates, and copies that cannot be bound in their place.
func (t *trained) merge() {
	for _, i := range t.present() {
		if t.low != nil && !t.low[i].A.IsZero() {
			op.LowRank(t.r, t.copies[i], t.base[i], t.low[i].A, t.low[i].B)
		}
		if t.joined[i].View != t.copies[i].View {
			t.r.Copy(t.joined[i].View, t.copies[i].View)
		}
	}
}

// into is where backward passes put the gradients.
func (t *trained) into(dy, dx op.Tensor) graph.Gradients {
	return graph.Gradients{W: t.grads, Low: t.low, DY: dy, DX: dx}
}

// zero records that all gradients are 0.
func (t *trained) zero(r *vk.Recorder) {
	for _, g := range t.gradients() {
		op.Zero(r, g)
	}
}

// gradients lists those of the parameters.
func (t *trained) gradients() (list []op.Tensor) {
	for _, p := range t.params {
		list = append(list, p.grad)
	}
	return list
}

// gradientsOf are the gradients of parameters, of the weights themselves or of updates, as Gradients lists them, which read reads by their
// numbers.
func (w weightSet) gradientsOf(params []parameter, low bool, read func(p int, values []float32) error) (list [][]float32, err error) {
	if !low {
		list = make([][]float32, len(w.weights))
	}
	for i, p := range params {
		values := make([]float32, p.weight.Elements())
		if err := read(i, values); err != nil {
			return nil, err
		}
		if !low {
			list[p.of] = values
		} else {
			list = append(list, values)
		}
	}
	return list, nil
}

// step records one step of AdamW.
func (t *trained) step(r *vk.Recorder, control op.Tensor, p op.AdamWParams) {
	for _, x := range t.params {
		op.AdamW(r, x.copy, x.master, x.grad, x.m, x.v, control, x.adamW(p))
	}
	t.merge()
}

// adamW is how a step changes the parameter.
func (p parameter) adamW(of op.AdamWParams) op.AdamWParams {
	if !p.decays {
		of.Decay = 0
	}
	return of
}

// values are the weights as they are now, in host memory.
func (t *trained) values(ctx context.Context) ([]model.Weight, error) {
	list := make([]model.Weight, len(t.weights))
	for _, i := range t.present() {
		list[i] = blank(t.weights[i])
		if err := t.d.Download(ctx, list[i].Data, t.copies[i].View); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// blank is a weight of the same shape in host memory.
func blank(w model.Weight) model.Weight {
	return model.Weight{Name: w.Name, DType: w.DType, Rows: w.Rows, Cols: w.Cols, Data: make([]byte, w.Size())}
}

// save writes what load reads: the state between two steps.
func (t *trained) save(ctx context.Context, to io.Writer) error {
	for _, p := range t.params {
		for _, x := range p.state() {
			if err := write(ctx, t.d, to, x); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *trained) load(ctx context.Context, from io.Reader) error {
	for _, p := range t.params {
		for _, x := range p.state() {
			if err := read(ctx, t.d, from, x); err != nil {
				return err
			}
		}
	}
	t.merge()
	return nil
}

// blankOut makes a tensor of any dtype 0.
func blankOut(ctx context.Context, d *vk.Device, x op.Tensor) error {
	zero := make([]byte, min(model.Piece, x.Size()))
	return views(x, func(v vk.View) error { return d.Upload(ctx, v, zero[:v.Size()]) })
}

// write writes a tensor's bytes.
func write(ctx context.Context, d *vk.Device, to io.Writer, x op.Tensor) error {
	buf := make([]byte, min(model.Piece, x.Size()))
	return views(x, func(v vk.View) error {
		data := buf[:v.Size()]
		if err := d.Download(ctx, data, v); err != nil {
			return err
		}
		_, err := to.Write(data)
		return err
	})
}

// read fills a tensor with what write wrote.
func read(ctx context.Context, d *vk.Device, from io.Reader, x op.Tensor) error {
	buf := make([]byte, min(model.Piece, x.Size()))
	return views(x, func(v vk.View) error {
		data := buf[:v.Size()]
		if err := readFull(from, data); err != nil {
			return err
		}
		return d.Upload(ctx, v, data)
	})
}

// readFull is io.ReadFull of a saved state.
func readFull(from io.Reader, data []byte) error {
	_, err := io.ReadFull(from, data)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("model: the state of training is cut short: %w", err)
	}
	return err
}

// views calls f with model.Pieces of a tensor.
func views(x op.Tensor, f func(v vk.View) error) error {
	for at := int64(0); at < x.Size(); at += model.Piece {
		if err := f(x.View.Slice(at, min(model.Piece, x.Size()-at))); err != nil {
			return err
		}
	}
	return nil
}

// optimizer is what a step of AdamW over several sets of weights takes on the device.
type optimizer struct {
	control, partial *vk.Buffer
	mirror           *vk.Buffer // of control, where the host reads it
	any              bool       // there is a loss since begin
}

func newOptimizer(s *vk.Scope, grads []op.Tensor) *optimizer {
	words := func(n int, use vk.Use) *vk.Buffer { return s.Buffer("optimizer", 4*int64(n), use) }
	return &optimizer{control: words(op.ControlWords, vk.OnDevice), partial: words(op.GradNormScratch(grads...), vk.OnDevice), mirror: words(op.ControlWords, vk.ToHost)}
}

func (o *optimizer) tensor() op.Tensor { return graph.Floats(o.control, 1, op.ControlWords) }

// begin says that the next loss is the first of a step.
func (o *optimizer) begin() { o.any = false }

// addLoss records that the losses of a batch's rows are part of the step's.
func (o *optimizer) addLoss(r *vk.Recorder, loss op.Tensor) {
	op.SumLoss(r, o.tensor(), 0, loss, o.any)
	o.any = true
}

// StepResult is what a step of training did.
type StepResult struct {
	Loss     float64
	GradNorm float64 // of all gradients together, before clipping
	Skipped  bool    // loss or gradients were not finite, and nothing changed
	Done     bool    // all gradients are exactly 0, and nothing changed
}

// step records the steps of all sets, waits for it and tells of it.
func (o *optimizer) step(ctx context.Context, r *vk.Recorder, clip float32, p op.AdamWParams, sets []*trained) (s StepResult, err error) {
	var grads []op.Tensor
	for _, t := range sets {
		grads = append(grads, t.gradients()...)
	}
	op.GradNorm(r, o.tensor(), graph.Floats(o.partial, 1, op.GradNormScratch(grads...)), clip, grads...)
	for _, t := range sets {
		t.step(r, o.tensor(), p)
	}
	return o.result(ctx, r)
}

// result waits for what GradNorm made of a step and tells of it.
func (o *optimizer) result(ctx context.Context, r *vk.Recorder) (s StepResult, err error) {
	control, err := o.read(ctx, r)
	if err != nil {
		return s, err
	}
	return StepResult{Loss: float64(control[0]), GradNorm: float64(control[1]), Skipped: control[3] == 1, Done: control[3] == 2}, nil
}

// read waits for what was recorded and gives the control words.
func (o *optimizer) read(ctx context.Context, r *vk.Recorder) ([]float32, error) {
	r.Copy(o.mirror.All(), o.control.All())
	if err := r.Wait(ctx); err != nil {
		return nil, err
	}
	control := make([]float32, op.ControlWords)
	dtype.F32.Decode(control, o.mirror.Bytes())
	return control, nil
}
