package graph

import (
	"context"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Lens is a final norm and an LM head that lie on the device whole, or the gradients of them.
type Lens struct{ Norm, NormBias, Head op.Tensor }

// NewLens puts a model's final norm and LM head, as they are, on the device.
func NewLens(ctx context.Context, s *vk.Scope, r *vk.Recorder, m *model.Model) Lens {
	weights := []model.Weight{m.Top[arch.FinalNorm], m.Top[arch.FinalNormBias], m.Top[arch.Head]}
	l := Lens{PutNew(ctx, s, weights[0]), PutNew(ctx, s, weights[1]), PutNew(ctx, s, weights[2])}
	if s.Live() {
		s.Fail(CheckFinite(ctx, r, []op.Tensor{l.Norm, l.NormBias, l.Head}, weights))
	}
	return l
}

// LensPass computes losses of logits, with their gradients, for some tokens at a time: those of a whole corpus, or a micro-batch, would
// not fit.
type LensPass struct {
	config *arch.Config
	vocab  int
	step   int // tokens

	x, y, dx        *vk.Buffer // [tokens, hidden]: normed states, the teacher's, and the gradient of the former
	logits, teacher *vk.Buffer // [step, vocab]
	grads           *vk.Buffer // [step, vocab]: where logits are capped, for the derivative is of what they are; else theirs is their place
	dy, columns     *vk.Buffer // [vocab, step] and [hidden, step], transposed: for the gradients of a trained head
	turned          *vk.Buffer // the head transposed
	spare           Spare
	ready           bool // turned holds the head, which stays as it is
}

// lensStep is how many tokens' logits are on the device at a time: a multiple of 64, so that the next rows of any tensor start at an
// offset that can be bound, and some 64 MiB each.
func lensStep(vocab, tokens int) int { return min(tokens, max(64, (16<<20)/vocab/64*64)) }

// NewLensPass allocates a pass over at most so many tokens: with a teacher's logits, or not; with gradients of the head, or not.
func NewLensPass(s *vk.Scope, m *model.Model, tokens int, teacher, train bool) *LensPass {
	head := m.Top[arch.Head]
	p := &LensPass{config: m.Config, vocab: head.Rows, step: lensStep(head.Rows, tokens)}
	all, some := table{s, tokens}, table{s, p.step}
	h := m.Config.HiddenSize
	p.x, p.dx, p.logits = all.floats("normed states", h), all.floats("gradients of normed states", h), some.floats("logits", p.vocab)
	p.turned = s.Buffer("LM head transposed", head.Size(), vk.OnDevice)
	if m.Config.LogitCap != 0 {
		p.grads = some.floats("gradients of logits", p.vocab)
	}
	if teacher {
		p.y, p.teacher = all.floats("the teacher's normed states", h), some.floats("the teacher's logits", p.vocab)
	}
	if train {
		p.dy, p.columns = some.floats("gradients of logits, transposed", p.vocab), some.floats("normed states, transposed", h)
	}
	spare := NewSpare
	if train {
		spare = newGradSpare
	}
	p.spare = spare(s, head.DType, p.step, max(h, p.vocab), max(h, p.vocab))
	return p
}

// LensTarget is what logits are compared with: a teacher's, or tokens.
type LensTarget struct {
	Y       op.Tensor // [tokens, hidden]: states that leave the teacher's last layer
	Teacher Lens
	Tau     float32   // the temperature
	Tokens  op.Tensor // [1, tokens] words, instead: see op.CrossEntropyBackward
}

// Record records the loss of each of x's rows, times scale, and dx, the gradient of the states x before the final norm, unless it is
// absent. g are the gradients of the lens, to which its parts are added; absent ones are frozen.
//
//	loss  [1, tokens]       F32
//	x     [tokens, hidden]  F32
func (p *LensPass) Record(r *vk.Recorder, loss, dx, x op.Tensor, of Lens, target LensTarget, g Lens, scale float32) {
	c, n, hidden := p.config, x.Rows, x.Cols
	normed, want := Floats(p.x, n, hidden), op.Tensor{}
	RecordNorm(r, c, normed, x, of.Norm, of.NormBias)
	if target.Tokens.IsZero() {
		want = Floats(p.y, n, hidden)
		RecordNorm(r, c, want, target.Y, target.Teacher.Norm, target.Teacher.NormBias)
	}
	dnormed := Floats(p.dx, n, hidden)
	turned := op.Of(p.turned.All(), of.Head.DType, hidden, p.vocab)
	if !dx.IsZero() && !p.ready {
		op.Transpose(r, turned, of.Head)
		p.ready = g.Head.IsZero()
	}
	logitsOf := func(buf *vk.Buffer, x, head op.Tensor) op.Tensor {
		y := Floats(buf, x.Rows, p.vocab)
		op.LinearFused(r, y, x, head, p.spare.in(x, op.Fused{Batch: true}))
		LogitsOf(c).Record(r, y)
		return y
	}
	for begin := 0; begin < n; begin += p.step {
		end := min(n, begin+p.step)
		part := normed.RowRange(begin, end)
		logits, grad, some := logitsOf(p.logits, part, of.Head), op.Tensor{}, Slice(loss, begin, end)
		if !dx.IsZero() {
			if grad = logits; p.grads != nil {
				grad = Floats(p.grads, logits.Rows, logits.Cols)
			}
		}
		if target.Tokens.IsZero() {
			op.KLDivergence(r, some, grad, logits, logitsOf(p.teacher, want.RowRange(begin, end), target.Teacher.Head), scale, target.Tau)
		} else {
			op.CrossEntropyBackward(r, some, grad, logits, Slice(target.Tokens, begin, end), scale)
		}
		if dx.IsZero() {
			continue
		}
		if l := LogitsOf(c); !l.IsZero() {
			op.SoftCapBackward(r, grad, grad, logits, l)
		}
		lg := op.LinearGrads{X: dnormed.RowRange(begin, end), WT: turned, Ready: true}
		lg.Scratch, lg.Halves = p.spare.For(grad)
		if !g.Head.IsZero() {
			lg.W, lg.DYT, lg.XT = g.Head, Floats(p.dy, p.vocab, grad.Rows), Floats(p.columns, hidden, grad.Rows)
			op.Transpose(r, lg.XT, part)
		}
		op.LinearBackward(r, grad, of.Head, lg)
	}
	if !dx.IsZero() {
		normBackward(r, c, dx, dnormed, x, of.Norm, op.Tensor{}, g.Norm, g.NormBias)
	}
}
