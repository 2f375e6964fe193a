package model

import (
	"context"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// lens is a final norm and an LM head on the device.
type lens struct{ norm, normBias, head op.Tensor }

// lensPass computes losses of logits, with their gradients, for some tokens at a time: those of a whole corpus, or a micro-batch, would
// not fit.
type lensPass struct {
	d      *vk.Device
	config *Config
	vocab  int
	step   int // tokens

	x, y, dx        *vk.Buffer // [tokens, hidden]: normed states, the teacher's, and the gradient of the former
	logits, teacher *vk.Buffer // [step, vocab]
	dy, columns     *vk.Buffer // [vocab, step] and [hidden, step], transposed: for the gradients of a trained head
	turned          *vk.Buffer // the head transposed
	spare           *vk.Buffer // logits' gradients in half precision
	ready           bool       // turned holds the head, which stays as it is
	bufs            []*vk.Buffer
}

// lensStep is how many tokens' logits are on the device at a time: a multiple of 64, so that the next rows of any tensor start at an
// offset that can be bound, and some 64 MiB each.
func lensStep(vocab, tokens int) int { return min(tokens, max(64, (16<<20)/vocab/64*64)) }

// sized is a buffer of so many bytes.
type sized struct {
	buf  **vk.Buffer
	size int64
}

// plan lists the buffers of a pass over tokens tokens.
func (p *lensPass) plan(m *Model, tokens int, teacher, train bool) []sized {
	h, v, n, s := int64(m.Config.HiddenSize), int64(p.vocab), int64(tokens), int64(p.step)
	list := []sized{{&p.x, 4 * n * h}, {&p.dx, 4 * n * h}, {&p.logits, 4 * s * v}, {&p.turned, m.Head.Size()}}
	if teacher {
		list = append(list, sized{&p.y, 4 * n * h}, sized{&p.teacher, 4 * s * v})
	}
	if train {
		list = append(list, sized{&p.dy, 4 * s * v}, sized{&p.columns, 4 * s * h})
	}
	if op.LinearScratch(p.d, m.Head.DType) {
		list = append(list, sized{&p.spare, 4 * s * max(h, v)})
	}
	return list
}

// newLensPass allocates a pass over at most so many tokens: with a teacher's logits, or not; with gradients of the head, or not.
func newLensPass(d *vk.Device, m *Model, tokens int, teacher, train bool) (p *lensPass, err error) {
	p = &lensPass{d: d, config: m.Config, vocab: m.Head.Rows, step: lensStep(m.Head.Rows, tokens)}
	for _, e := range p.plan(m, tokens, teacher, train) {
		if *e.buf, err = d.NewBuffer("logits", e.size, vk.OnDevice); err != nil {
			p.free()
			return nil, err
		}
		p.bufs = append(p.bufs, *e.buf)
	}
	return p, nil
}

// lensBytes is the device memory that a pass takes.
func lensBytes(d *vk.Device, m *Model, tokens int, teacher, train bool) (n int64) {
	p := &lensPass{d: d, config: m.Config, vocab: m.Head.Rows, step: lensStep(m.Head.Rows, tokens)}
	for _, e := range p.plan(m, tokens, teacher, train) {
		n += aligned(d, e.size)
	}
	return n
}

func (p *lensPass) free() { p.d.Free(p.bufs...) }

// lensTarget is what logits are compared with: a teacher's, or tokens.
type lensTarget struct {
	y       op.Tensor // [tokens, hidden]: states that leave the teacher's last layer
	teacher lens
	tau     float32   // the temperature
	tokens  op.Tensor // [1, tokens] words, instead: see op.CrossEntropyBackward
}

// record records the loss of each of x's rows, times scale, and dx, the gradient of the states x before the final norm, unless it is
// absent. g are the gradients of the lens, to which its parts are added; absent ones are frozen.
//
//	loss  [1, tokens]       F32
//	x     [tokens, hidden]  F32
func (p *lensPass) record(r *vk.Recorder, loss, dx, x op.Tensor, of lens, target lensTarget, g lens, scale float32) {
	c, n, hidden := p.config, x.Rows, x.Cols
	normed, want := rows(p.x, n, hidden), op.Tensor{}
	c.recordNorm(r, normed, x, of.norm, of.normBias)
	if target.tokens.IsZero() {
		want = rows(p.y, n, hidden)
		c.recordNorm(r, want, target.y, target.teacher.norm, target.teacher.normBias)
	}
	dnormed := rows(p.dx, n, hidden)
	turned := op.Of(p.turned.All(), of.head.DType, hidden, p.vocab)
	if !dx.IsZero() && !p.ready {
		op.Transpose(r, turned, of.head)
		p.ready = g.head.IsZero()
	}
	logitsOf := func(buf *vk.Buffer, x, head op.Tensor) op.Tensor {
		y := rows(buf, x.Rows, p.vocab)
		f := op.Fused{Batch: true}
		if p.spare != nil {
			f.Scratch = rows(p.spare, x.Rows, x.Cols)
		}
		op.LinearFused(r, y, x, head, f)
		return y
	}
	for begin := 0; begin < n; begin += p.step {
		end := min(n, begin+p.step)
		part := normed.RowRange(begin, end)
		logits, grad, some := logitsOf(p.logits, part, of.head), op.Tensor{}, slice(loss, begin, end)
		if !dx.IsZero() {
			grad = logits
		}
		if target.tokens.IsZero() {
			op.KLDivergence(r, some, grad, logits, logitsOf(p.teacher, want.RowRange(begin, end), target.teacher.head), scale, target.tau)
		} else {
			op.CrossEntropyBackward(r, some, grad, logits, slice(target.tokens, begin, end), scale)
		}
		if dx.IsZero() {
			continue
		}
		lg := op.LinearGrads{X: dnormed.RowRange(begin, end), WT: turned, Ready: true}
		if p.spare != nil {
			lg.Half = rows(p.spare, grad.Rows, grad.Cols)
		}
		if !g.head.IsZero() {
			lg.W, lg.DYT, lg.XT = g.head, rows(p.dy, p.vocab, grad.Rows), rows(p.columns, hidden, grad.Rows)
			op.Transpose(r, lg.XT, part)
		}
		op.LinearBackward(r, grad, of.head, lg)
	}
	if !dx.IsZero() {
		c.normBackward(r, dx, dnormed, x, of.norm, op.Tensor{}, g.norm, g.normBias)
	}
}

// frozenLens is a model's final norm and LM head on the device, as they are.
type frozenLens struct {
	lens
	fixed fixed // what holds them
}

func newFrozenLens(ctx context.Context, r *vk.Recorder, m *Model) (f frozenLens, err error) {
	for _, c := range []struct {
		to *op.Tensor
		w  Weight
	}{{&f.norm, m.Norm}, {&f.normBias, m.NormBias}, {&f.head, m.Head}} {
		if c.w.IsZero() || err != nil {
			continue
		}
		*c.to, err = f.fixed.put(ctx, r.Device(), c.w)
	}
	if err == nil {
		err = checkFinite(ctx, r, []op.Tensor{f.norm, f.normBias, f.head}, []Weight{m.Norm, m.NormBias, m.Head})
	}
	if err != nil {
		f.fixed.free(r.Device())
	}
	return f, err
}

// frozenLensBytes is the device memory that it takes.
func frozenLensBytes(d *vk.Device, m *Model) int64 {
	return residentBytes(d, []Weight{m.Norm, m.NormBias, m.Head})
}

// wordsOf is a list of 32-bit words on the device, which has room for them.
func wordsOf(ctx context.Context, d *vk.Device, b *vk.Buffer, list []uint32) (op.Tensor, error) {
	t := op.Of(b.All(), dtype.F32, 1, len(list))
	return t, d.Upload(ctx, t.View, words(list))
}
