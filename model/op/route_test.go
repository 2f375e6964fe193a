package op

import (
	"context"
	"math"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func routeTable() optest.Table {
	bound := optest.Bound{Max: 2e-6, Why: "exp of f32 (3 + 2|x| ulp in Vulkan), a sum of up to 1024 of them, and two divisions"}
	return optest.Table{Op: "route", Bound: bound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			tokens, experts, chosen int
			divide                  bool
			size                    float64 // of the products
		}{{1, 1, 1, true, 1}, {1, 8, 2, true, 1}, {1, 128, 8, false, 1}, {70, 128, 8, true, 3}, {33, 5, 5, false, 1}, {9, 131, 7, true, 20}, {3, 1024, 64, true, 1}} {
			cases = append(cases, routeCase(ref.Scale(random(c.tokens, c.experts), c.size), c.chosen, c.divide))
		}
		equal := random(4, 12) // of equal products the lower expert is chosen, wherever it lies in the workgroup
		for i := range equal.Data {
			equal.Data[i] = math.Floor(equal.Data[i])
		}
		return append(cases, routeCase(equal, 5, true), routeCase(ref.NewMat(2, 70), 6, false))
	}}
}

func routeCase(x ref.Mat, chosen int, divide bool) optest.Case {
	return optest.Case{
		Name: optest.Shape(x.Rows, x.Cols, chosen, divide), In: []optest.Input{{Mat: ref.Mat{Rows: 1, Cols: 1, Data: []float64{0}}}},
		Out: []optest.Output{{Rows: x.Rows, Cols: x.Cols, Start: x}, {Rows: x.Rows, Cols: chosen, Words: true}, {Rows: x.Rows, Cols: chosen}},
		Record: func(r *vk.Recorder, out, _ []optest.Tensor) {
			Route(r, Tensor(out[0]), Tensor(out[1]), Tensor(out[2]), divide)
		},
		Want: func([]ref.Mat) []ref.Mat {
			choice, share, gates := ref.Route(x, chosen, divide)
			return []ref.Mat{gates, choice, share}
		},
	}
}

func TestRoute(t *testing.T) { routeTable().Test(t) }

// A product that is not a number is seen in what comes of it, and still chooses experts that there are.
func TestRouteNaN(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, bad := range []float64{math.NaN(), math.Inf(1)} {
			b := newBench(t, d)
			x := random(3, 9)
			x.Data[9+4] = bad
			dx, choice, share := b.upload(x, dtype.F32), b.empty(dtype.F32, 3, 2), b.empty(dtype.F32, 3, 2)
			Route(b.r, dx, choice, share, true)
			shares := b.download(share)
			raw := make([]byte, choice.Size())
			if err := d.Download(context.Background(), raw, choice.View); err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(raw); i += 4 {
				if raw[i] >= 9 || raw[i+1] != 0 {
					t.Errorf("with %v: expert %v of 9", bad, raw[i:i+4])
				}
			}
			if v := shares[2]; v == v || shares[0] != shares[0] || shares[5] != shares[5] {
				t.Errorf("with %v in the second row: shares %v", bad, shares)
			}
		}
	})
}

func TestRouteShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, choice := b.empty(dtype.F32, 3, 4), b.empty(dtype.F32, 3, 2)
	refused(t, d, "shares of another shape", func(r *vk.Recorder) { Route(r, x, choice, choice.Reshape(2, 3), true) })
	refused(t, d, "more than there are", func(r *vk.Recorder) {
		Route(r, x.Reshape(6, 2), b.empty(dtype.F32, 6, 3), b.empty(dtype.F32, 6, 3), true)
	})
	refused(t, d, "another dtype", func(r *vk.Recorder) { Route(r, Of(x.View, dtype.F16, 3, 4), choice, choice, true) })
	refused(t, d, "none chosen", func(r *vk.Recorder) { Route(r, x, Tensor{}, Tensor{}, true) })
	refused(t, d, "too many experts", func(r *vk.Recorder) {
		Route(r, b.empty(dtype.F32, 1, MaxExperts+1), b.empty(dtype.F32, 1, 2), b.empty(dtype.F32, 1, 2), true)
	})
}
