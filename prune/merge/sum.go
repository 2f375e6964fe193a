package merge

import (
	"context"
	"errors"
	"fmt"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/vk"
)

// Sum joins layers into one whose every tensor is Σ weights[i]·layers[i], added up in that order in f32 and rounded once: the merge that
// weighted-sum methods make. It is done on the device, one tensor at a time.
func Sum(ctx context.Context, d *vk.Device, layers []*model.Layer, weights []float64) (out *model.Layer, err error) {
	r, err := d.NewRecorder()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	j := joiner{ctx: ctx, d: d, r: r, layers: layers}
	shares := make([]float32, len(weights))
	for i, w := range weights {
		shares[i] = float32(w)
	}
	if !layers[0].Weights[arch.Router].IsZero() {
		return nil, fmt.Errorf("merge: %s: experts of different layers do not correspond, so that their weights cannot be summed", layers[0].Weights[arch.Router].Name)
	}
	if err := j.alike(); err != nil {
		return nil, err
	}
	out = &model.Layer{}
	for p := range arch.LayerRoles {
		if out.Weights[p], err = j.sum(p, shares); err != nil {
			return nil, fmt.Errorf("merge: %s: %w", layers[0].Weights[p].Name, err)
		}
	}
	return out, nil
}
