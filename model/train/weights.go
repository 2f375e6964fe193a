package train

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// trained is weights on the device with what AdamW needs of each: an f32 master, its gradient and moments, and the copy in its own dtype
// that forward and backward passes read.
type trained struct {
	d       *vk.Device
	r       *vk.Recorder
	first   arch.Role      // that of the first weight; the others' follow
	weights []model.Weight // those that are absent are zero, here and below
	copies  []op.Tensor
	joined  []op.Tensor // the copies for forward passes: those that lie right behind others, where they cannot be bound, are there again
	master  []op.Tensor
	grads   []op.Tensor
	m, v    []op.Tensor
}

// newTrained puts weights on the device, whose roles follow one another from first on, ready for the first step once what it recorded is
// waited for. Of a dry scope it counts.
func newTrained(ctx context.Context, s *vk.Scope, r *vk.Recorder, first arch.Role, weights []model.Weight) *trained {
	d, n := s.Device(), len(weights)
	list := func() []op.Tensor { return make([]op.Tensor, n) }
	t := &trained{d: d, r: r, first: first, weights: weights, copies: list(), joined: list(), master: list(), grads: list(), m: list(), v: list()}
	places, bytes := graph.Layout(d, weights, func(i int) bool { return t.info(i).Joins })
	all := s.Buffer("trained weights", bytes, vk.OnDevice)
	for _, i := range t.present() {
		w := weights[i]
		view := all.View(places[i], w.Size())
		t.joined[i] = op.Of(view, w.DType, w.Rows, w.Cols)
		if places[i] != graph.Aligned(d, places[i]) {
			view = s.Buffer("trained weights", w.Size(), vk.OnDevice).All()
		}
		t.copies[i] = op.Of(view, w.DType, w.Rows, w.Cols)
		for _, kind := range []struct {
			of   []op.Tensor
			name string
		}{{t.master, "master weights"}, {t.grads, "gradients"}, {t.m, "first moments"}, {t.v, "second moments"}} {
			kind.of[i] = graph.Floats(s.Buffer(kind.name, 4*w.Elements(), vk.OnDevice), w.Rows, w.Cols)
		}
		if !s.Live() {
			continue
		}
		s.Fail(graph.Put(ctx, d, view, w))
		t.join(i)
		op.FromDType(r, t.master[i], t.copies[i])
		op.Zero(r, t.m[i])
		op.Zero(r, t.v[i])
	}
	return t
}

func (t *trained) info(i int) arch.Info { return (t.first + arch.Role(i)).Info() }

// join records what makes a copy that cannot be bound in its place the same as the one that can.
func (t *trained) join(i int) {
	if t.joined[i].View != t.copies[i].View {
		t.r.Copy(t.joined[i].View, t.copies[i].View)
	}
}

// present lists the numbers of the weights that are there.
func (t *trained) present() (list []int) {
	for i, w := range t.weights {
		if !w.IsZero() {
			list = append(list, i)
		}
	}
	return list
}

// zero records that all gradients are 0.
func (t *trained) zero(r *vk.Recorder) {
	for _, i := range t.present() {
		op.Zero(r, t.grads[i])
	}
}

// gradients lists those of the weights that are there.
func (t *trained) gradients() (list []op.Tensor) {
	for _, i := range t.present() {
		list = append(list, t.grads[i])
	}
	return list
}

// step records one step of AdamW.
func (t *trained) step(r *vk.Recorder, control op.Tensor, p op.AdamWParams) {
	for _, i := range t.present() {
		own := p
		if !t.info(i).Decays() {
			own.Decay = 0
		}
		op.AdamW(r, t.copies[i], t.master[i], t.grads[i], t.m[i], t.v[i], control, own)
		t.join(i)
	}
}

// values are the weights as they are now, in host memory.
func (t *trained) values(ctx context.Context) ([]model.Weight, error) {
	list := make([]model.Weight, len(t.weights))
	for _, i := range t.present() {
		w := t.weights[i]
		list[i] = model.Weight{Name: w.Name, DType: w.DType, Rows: w.Rows, Cols: w.Cols, Data: make([]byte, w.Size())}
		if err := t.d.Download(ctx, list[i].Data, t.copies[i].View); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// state calls f with every tensor that a step changes, in order.
func (t *trained) state(f func(x op.Tensor) error) error {
	for _, i := range t.present() {
		for _, x := range []op.Tensor{t.copies[i], t.master[i], t.m[i], t.v[i]} {
			if err := f(x); err != nil {
				return err
			}
		}
	}
	return nil
}

// save writes what load reads: the state between two steps.
func (t *trained) save(ctx context.Context, to io.Writer) error {
	buf := make([]byte, model.Piece)
	return t.state(func(x op.Tensor) error {
		return views(x, func(v vk.View) error {
			data := buf[:v.Size()]
			if err := t.d.Download(ctx, data, v); err != nil {
				return err
			}
			_, err := to.Write(data)
			return err
		})
	})
}

func (t *trained) load(ctx context.Context, from io.Reader) error {
	buf := make([]byte, model.Piece)
	err := t.state(func(x op.Tensor) error {
		return views(x, func(v vk.View) error {
			data := buf[:v.Size()]
			if _, err := io.ReadFull(from, data); err != nil {
				return err
			}
			return t.d.Upload(ctx, v, data)
		})
	})
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("model: the state of training is cut short: %w", err)
	}
	for _, i := range t.present() {
		t.join(i)
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
