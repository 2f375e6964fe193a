package merge

import (
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
)

// Scale is a layer that adds to the residual stream what l adds, times a factor: the output projections and their biases are multiplied by
// it, or, where their outputs are normed before they are added, the weights of these norms.
func Scale(c *arch.Config, l *model.Layer, factor float64) (*model.Layer, error) {
	roles := []arch.Role{arch.O, arch.OBias, arch.Down, arch.DownBias, arch.ExpertDown}
	if c.OutputNorms {
		roles = []arch.Role{arch.AttentionNorm, arch.MLPNorm}
	}
	weights := slices.Clone(l.Weights[:])
	for _, role := range roles {
		w := weights[role]
		if w.IsZero() {
			continue
		}
		scaled, err := w.Map(func(_ int, values []float32) {
			for i, v := range values {
				if c.OutputNorms && c.NormPlusOne {
					values[i] = float32(factor*(1+float64(v)) - 1)
				} else {
					values[i] = float32(factor * float64(v))
				}
			}
		})
		if err != nil {
			return nil, fmt.Errorf("merge: %w", err)
		}
		weights[role] = scaled
	}
	return model.NewLayer(weights), nil
}
