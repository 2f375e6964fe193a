package graph

import (
	"context"
	"fmt"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Shared is what all layers of a model read on the device, and the final norm: rotary or learned positions, of which the other is absent,
// and a norm's bias where there is one.
type Shared struct {
	// Ropes are the rotary positions of each kind that layers have, see arch.Attention and op.SplitQKV: for each of the lengths of NewShared,
	// one behind the other, all positions.
	Ropes           [arch.LocalRope + 1]op.Tensor
	Positions, Norm op.Tensor
	NormBias        op.Tensor
	stride          int
}

// NewShared allocates and fills what sequences of up to so many positions need. lengths are those of sequences, of which each has its own
// rotary positions where these depend on it (see arch.Config.RopeSwitch); none is the number of positions.
func NewShared(ctx context.Context, s *vk.Scope, r *vk.Recorder, m *model.Model, positions int, lengths ...int) (f Shared) {
	if len(lengths) == 0 {
		lengths = []int{positions}
	}
	if f.stride = positions; len(lengths) > 1 {
		f.stride = (positions + 63) / 64 * 64 // each begins where it can be bound
	}
	table := model.Weight{}
	if m.Config.LearnedPositions {
		table = m.Top[arch.Positions].RowRange(arch.PositionOffset, arch.PositionOffset+positions)
	} else {
		for kind := range m.Config.Ropes() {
			rope := model.Weight{Name: "rotary positions", DType: dtype.F32, Rows: f.stride * len(lengths), Cols: m.Config.Rotated(m.Config.HeadDim)}
			if s.Live() {
				for _, length := range lengths {
					values := m.Config.RopeTable(kind, f.stride, length)
					raw := make([]byte, 4*len(values))
					dtype.F32.Encode(raw, values)
					rope.Data = append(rope.Data, raw...)
				}
			}
			f.Ropes[kind] = PutNew(ctx, s, rope)
		}
	}
	for _, c := range []struct {
		to *op.Tensor
		w  model.Weight
	}{{&f.Positions, table}, {&f.Norm, m.Top[arch.FinalNorm]}, {&f.NormBias, m.Top[arch.FinalNormBias]}} {
		if *c.to = PutNew(ctx, s, c.w); s.Live() && !c.to.IsZero() {
			s.Fail(CheckFinite(ctx, r, []op.Tensor{*c.to}, []model.Weight{c.w}))
		}
	}
	s.Wrap(fmt.Sprintf("model: %s", m.Name))
	return f
}

// Stride is how many rows of Ropes lie before those of the second length.
func (f Shared) Stride() int { return f.stride }

// Rope is the rotary positions of a layer, for sequences of all lengths.
func (f Shared) Rope(c *arch.Config, layer int) op.Tensor {
	return f.Ropes[arch.AttentionOf(c, layer).Rope]
}

// RopeOf is those of sequences of the i-th length.
func (f Shared) RopeOf(c *arch.Config, layer, i int) op.Tensor {
	rope := f.Rope(c, layer)
	if rope.IsZero() {
		return rope
	}
	return rope.RowRange(i*f.stride, (i+1)*f.stride)
}

// LogitsOf is what becomes of products with the LM head.
func LogitsOf(c *arch.Config) op.Logits {
	return op.Logits{Scale: float32(c.LogitScale), Cap: float32(c.LogitCap)}
}

// HeadOf is rows w of a model's LM head, for products of x.
func HeadOf(c *arch.Config, w op.Tensor, spare Spare, x op.Tensor) op.Head {
	h := op.Head{W: w, Logits: LogitsOf(c)}
	h.Scratch, h.Halves = spare.For(x)
	return h
}

// RecordFinalNorm records the final norm of states.
func (f Shared) RecordFinalNorm(r *vk.Recorder, c *arch.Config, y, x op.Tensor) {
	RecordNorm(r, c, y, x, f.Norm, f.NormBias)
}
