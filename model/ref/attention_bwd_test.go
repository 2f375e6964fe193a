package ref

import (
	"fmt"
	"math"
	"testing"
)

// The gradients are what central differences of the forward pass say.
func TestAttentionBackward(t *testing.T) {
	for _, c := range []struct {
		queries, keys, heads, kvHeads, headDim, window int
		LogitOptions
	}{
		{1, 1, 1, 1, 2, 0, LogitOptions{}},
		{5, 5, 4, 2, 6, 0, LogitOptions{}},
		{7, 7, 3, 1, 4, 3, LogitOptions{}},
		{3, 8, 2, 2, 5, 0, LogitOptions{0.7, 1.5}},
		{4, 9, 6, 2, 2, 4, LogitOptions{0, 0.6}},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			q, k, v := random(c.queries, c.heads*c.headDim), random(c.keys, c.kvHeads*c.headDim), random(c.keys+1, c.kvHeads*c.headDim)
			v = Mat{c.keys, v.Cols, v.Data[v.Cols:]} // not k
			do := random(c.heads*c.headDim, c.queries)
			do.Rows, do.Cols = do.Cols, do.Rows
			loss := func() float64 {
				return view(Attention(q, k, v, c.heads, c.kvHeads, c.headDim, c.window, c.LogitOptions).Data).Dot(view(do.Data))
			}
			dq, dk, dv := AttentionBackward(q, k, v, do, c.heads, c.kvHeads, c.headDim, c.window, c.LogitOptions)
			for i, x := range []Mat{q, k, v} {
				got := []Mat{dq, dk, dv}[i].Data
				rms := view(got).Len() / math.Sqrt(float64(len(got)))
				for e, value := range x.Data {
					const step = 1e-5
					x.Data[e] = value + step
					above := loss()
					x.Data[e] = value - step
					want := (above - loss()) / (2 * step)
					x.Data[e] = value
					if !(math.Abs(got[e]-want) <= 1e-6*(math.Abs(want)+rms)+1e-9) {
						t.Errorf("gradient by %s, element %d: %v, differences say %v", []string{"q", "k", "v"}[i], e, got[e], want)
					}
				}
			}
		})
	}
}
