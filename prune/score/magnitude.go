package score

import (
	"context"
	"errors"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Magnitude is Σ|w| over a layer's weights, biases not counted. It needs no corpus.
func Magnitude(ctx context.Context, d *vk.Device, l *model.Layer) (total float64, err error) {
	r, err := d.NewRecorder()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for p, w := range l.Weights {
		if w.IsZero() || arch.Role(p).Info().Kind == arch.Bias {
			continue
		}
		n, err := magnitude(ctx, r, w)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

func magnitude(ctx context.Context, r *vk.Recorder, w model.Weight) (float64, error) {
	d := r.Device()
	buf, err := d.NewBuffer("weights", w.Size(), vk.OnDevice)
	if err != nil {
		return 0, err
	}
	defer d.Free(buf)
	sums, err := d.NewBuffer("column sums", 4*int64(w.Cols), vk.OnDevice)
	if err != nil {
		return 0, err
	}
	defer d.Free(sums)
	if err := graph.Put(ctx, d, buf.All(), w); err != nil {
		return 0, err
	}
	out := op.Of(sums.All(), dtype.F32, 1, w.Cols)
	op.ColumnAbsSum(r, out, op.Of(buf.All(), w.DType, w.Rows, w.Cols))
	if err := r.Wait(ctx); err != nil {
		return 0, err
	}
	raw := make([]byte, out.Size())
	if err := d.Download(ctx, raw, out.View); err != nil {
		return 0, err
	}
	return sum(decode(raw)), nil
}
