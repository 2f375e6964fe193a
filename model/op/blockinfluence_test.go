package op

import (
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// blockinfluenceBound is of blockinfluence.
var blockinfluenceBound = optest.Bound{Max: 3e-6, Why: "twice the relative error of the difference of two f32 directions, for angles from 0.003 on"}

// angulardistanceBound is of angulardistance.
var angulardistanceBound = optest.Bound{Max: 2e-6, Why: "half of blockinfluence's, a polynomial of 2e-7 and sqrt"}

// turned is x with every row moved by some noise of this size and then scaled, so that 1 − cos is about noise²/2.
func turned(x ref.Mat, noise float64) ref.Mat {
	y, z := ref.NewMat(x.Rows, x.Cols), random(x.Rows+1, x.Cols)
	for i, v := range x.Data {
		y.Data[i] = (v + noise*z.Data[i]) * 3.7
	}
	return y
}

func TestBlockInfluence(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			rows, hidden int
			noise        float64 // infinite: unrelated rows, half of them more than orthogonal
		}{{9, 1, math.Inf(1)}, {1, 4096, 1}, {7, 120, 0.01}, {3, 4097, 1e-3}, {2, 255, 3e-3}, {200, 20, math.Inf(1)}, {5, 64, 10}} {
			b := newBench(t, d)
			x := random(c.rows, c.hidden)
			y := turned(x, c.noise)
			if math.IsInf(c.noise, 1) {
				y = block(random(c.rows, c.hidden+1), 0, c.rows, 1, c.hidden+1)
			}
			dx, dy := b.upload(x, dtype.F32), b.upload(y, dtype.F32)
			influence, angle := b.empty(dtype.F32, 1, c.rows), b.empty(dtype.F32, 1, c.rows)
			BlockInfluence(b.r, influence, dx, dy)
			AngularDistance(b.r, angle, dx, dy)
			blockinfluenceBound.Near(t, b.download(influence), ref.BlockInfluence(x, y), dtype.F32)
			angulardistanceBound.Near(t, b.download(angle), ref.AngularDistance(x, y), dtype.F32)
		}
	})
}

// Rows without a direction, parallel and opposite rows, and lengths far from 1.
func TestBlockInfluenceEdges(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	x := ref.Mat{Rows: 8, Cols: 3, Data: []float64{0, 0, 0, 1, 2, 3, 0, 0, 0, 1, 2, 3, 1, 2, 3, 1, inf, 0, nan, 1, 0, 1e12, 0, 1e12}}
	y := ref.Mat{Rows: 8, Cols: 3, Data: []float64{1, 2, 3, 0, 0, 0, 0, 0, 0, 1, 2, 3, -1, -2, -3, 1, 1, 1, 1, 1, 1, 1e-12, 0, 0}}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		dx, dy, influence, angle := b.upload(x, dtype.F32), b.upload(y, dtype.F32), b.empty(dtype.F32, 1, x.Rows), b.empty(dtype.F32, 1, x.Rows)
		BlockInfluence(b.r, influence, dx, dy)
		AngularDistance(b.r, angle, dx, dy)
		blockinfluenceBound.Near(t, b.download(influence), ref.BlockInfluence(x, y), dtype.F32)
		angulardistanceBound.Near(t, b.download(angle), ref.AngularDistance(x, y), dtype.F32)
	})
}

func TestBlockInfluenceSplit(t *testing.T) {
	const n, hidden = 1500, 257
	x := random(n, hidden)
	y := turned(x, 0.3)
	run := func(d *vk.Device) []float32 {
		b := newBench(t, d)
		out := b.empty(dtype.F32, 1, n)
		BlockInfluence(b.r, out, b.upload(x, dtype.F32), b.upload(y, dtype.F32))
		return b.download(out)
	}
	if !slices.Equal(run(vktest.Open(t, vk.Options{})), run(vktest.Open(t, vk.Options{StorageRange: 1 << 20}))) {
		t.Error("bindings of 1 MiB change the influence")
	}
	vktest.Clean(t)
}

func TestBlockInfluenceShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, out := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 1, 4)
	refused(t, d, "other rows", func(r *vk.Recorder) { BlockInfluence(r, out, x, x.RowRange(0, 3)) })
	refused(t, d, "16-bit states", func(r *vk.Recorder) { BlockInfluence(r, out, x, Of(x.View, dtype.F16, 4, 6)) })
	refused(t, d, "an angle too many", func(r *vk.Recorder) { AngularDistance(r, b.empty(dtype.F32, 1, 5), x, x) })
	refused(t, d, "absent states", func(r *vk.Recorder) { AngularDistance(r, out, Tensor{}, Tensor{}) })
}
