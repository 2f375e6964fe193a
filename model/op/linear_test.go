package op

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// linear computes x·wᵀ + bias on the device and compares it with the reference.
func (b *bench) linear(x, w, bias ref.Mat, dt dtype.DType) []float32 {
	b.t.Helper()
	dx, dw, dy := b.upload(x, dtype.F32), b.upload(w, dt), b.empty(dtype.F32, x.Rows, w.Rows)
	var db Tensor
	if bias.Data != nil {
		db = b.upload(bias, dt)
	}
	Linear(b.r, dy, dx, dw, db)
	got := b.download(dy)
	vktest.Near(b.t, got, ref.Linear(x, w, bias.Data).Data, "linear", dt.String())
	return got
}

func TestLinear(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			tokens, out, in int
			biased          bool
		}{
			{1, 1, 1, true}, {1, 131, 127, true}, {1, 66, 512, false}, {2, 5, 120, false}, {4, 37, 300, true}, // matrix-vector
			{5, 1, 1, true}, {7, 129, 127, true}, {66, 3, 50, true}, {70, 130, 18, true}, // a depth that is no multiple of 4
			{5, 70, 120, false}, {17, 64, 20, true}, {33, 131, 24, true}, {100, 1, 4, true},
		} {
			for _, dt := range dtype.All {
				t.Run(fmt.Sprint(c.tokens, c.out, c.in, dt), func(t *testing.T) {
					var bias ref.Mat
					if c.biased {
						bias = random(1, c.out)
					}
					newBench(t, d).linear(random(c.tokens, c.in), random(c.out, c.in), bias, dt)
				})
			}
		}
	})
}

// Every loop goes all the way: lavapipe 22.3 would stop it without a word.
func TestLinearDeep(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct{ tokens, in int }{{1, linearDepth}, {1, linearDepth - 1}, {5, linearDepth}, {5, linearDepth - 1}} {
			newBench(t, d).linear(random(c.tokens, c.in), random(3, c.in), ref.Mat{}, dtype.BF16)
		}
	})
}

// A token's outputs do not depend on the tokens beside it.
func TestLinearBatch(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, depth := range []int{126, 128} {
			x, w := random(71, depth), random(67, depth)
			for _, ns := range [][]int{{4, 1, 2, 3}, {71, 5, 18, 33}} {
				var all []float32
				for _, n := range ns {
					got := newBench(t, d).linear(block(x, 0, n, 0, depth), w, ref.Mat{}, dtype.F16)
					if all == nil {
						all = got
					} else if !slices.Equal(got, all[:n*w.Rows]) {
						t.Errorf("depth %d: %d tokens differ from the same of %d", depth, n, ns[0])
					}
				}
			}
		}
	})
}

// w, x and y are larger than a binding; the last piece has few rows, and they come from the same kernel.
func TestLinearSplit(t *testing.T) {
	for _, c := range []struct{ tokens, out, in int }{{835, 321, 320}, {67, 4000, 131}, {4, 70_016, 64}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			x, w, bias := random(c.tokens, c.in), random(c.out, c.in), random(1, c.out)
			whole := newBench(t, vktest.Open(t, vk.Options{})).linear(x, w, bias, dtype.F32)
			parts := newBench(t, vktest.Open(t, vk.Options{StorageRange: 1 << 20})).linear(x, w, bias, dtype.F32)
			if !slices.Equal(whole, parts) {
				t.Error("split, the numbers differ")
			}
			vktest.Clean(t)
		})
	}
}

func TestLinearShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	y, x, w, bias := b.empty(dtype.F32, 2, 3), b.empty(dtype.F32, 2, 4), b.empty(dtype.F16, 3, 4), b.empty(dtype.F16, 1, 3)
	refused(t, d, "other outputs", func(r *vk.Recorder) { Linear(r, y.Reshape(3, 2), x, w, bias) })
	refused(t, d, "other inputs", func(r *vk.Recorder) { Linear(r, y, x, w.Reshape(4, 3), bias) })
	refused(t, d, "a bias of another dtype", func(r *vk.Recorder) { Linear(r, y, x, w, y.RowRange(0, 1)) })
	refused(t, d, "a bias of another size", func(r *vk.Recorder) { Linear(r, y, x, w, w.RowRange(0, 1)) })
	refused(t, d, "an x of another dtype", func(r *vk.Recorder) { Linear(r, y, Of(x.View, dtype.F16, 2, 4), w, bias) })
	refused(t, d, "nothing", func(r *vk.Recorder) { Linear(r, Tensor{}, Tensor{}, Tensor{}, Tensor{}) })

	deep := newBench(t, d)
	Linear(deep.r, deep.empty(dtype.F32, 1, 1), deep.empty(dtype.F32, 1, linearDepth+1), deep.empty(dtype.F32, 1, linearDepth+1), Tensor{})
	if !errors.Is(deep.r.Err(), vk.ErrLimit) {
		t.Errorf("%d inputs: error %v, want vk.ErrLimit", linearDepth+1, deep.r.Err())
	}
}

func BenchmarkLinear(b *testing.B) {
	d := vktest.Open(b, vk.Options{})
	for _, c := range []struct{ tokens, out, in int }{{512, 2048, 2048}, {256, 1408, 512}, {1, 2048, 2048}} {
		for _, dt := range []dtype.DType{dtype.F32, dtype.BF16} {
			b.Run(fmt.Sprintf("%dx%dx%d/%v", c.tokens, c.out, c.in, dt), func(b *testing.B) {
				f := newBench(b, d)
				x, w, y := f.upload(random(c.tokens, c.in), dtype.F32), f.upload(random(c.out, c.in), dt), f.empty(dtype.F32, c.tokens, c.out)
				run := func() {
					Linear(f.r, y, x, w, Tensor{})
					if err := f.r.Wait(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
				run() // the driver compiles
				for b.Loop() {
					run()
				}
				b.ReportMetric(2*float64(c.tokens)*float64(c.out)*float64(c.in)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
