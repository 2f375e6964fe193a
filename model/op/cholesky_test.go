package op

import (
	"math"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// choleskyBound is of cholesky and triangularinverse.
var choleskyBound = optest.Bound{Max: 1e-4, Why: "f32 roundings times the condition of the matrices, some hundred"}

// definite is a positive definite matrix, of n tokens and as much again on the diagonal.
func definite(n int) ref.Mat {
	a, x := random(n, n), ref.NewMat(n, n)
	for i := range n {
		for j := range n {
			for t := range n {
				x.Row(i)[j] += a.At(t, i) * a.At(t, j) / float64(n)
			}
		}
		x.Row(i)[i] += 0.1
	}
	return x
}

func negated(x ref.Mat) ref.Mat {
	y := ref.NewMat(x.Rows, x.Cols)
	for i, v := range x.Data {
		y.Data[i] = -v
	}
	return y
}

func choleskyTable() optest.Table {
	return optest.Table{Op: "cholesky", Bound: choleskyBound, Cases: func() []optest.Case {
		of := func(name string, x ref.Mat) optest.Case {
			n := x.Rows
			return optest.Case{
				Name: name, In: f32s(negated(x)), Out: likes(x, ref.NewMat(1, 3)), Measured: name == "definite", Flops: float64(n * n * n / 3),
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					Cholesky(r, Tensor(out[0]), Tensor(in[0]), Tensor(out[1]), 1)
				},
				Want: func(in []ref.Mat) []ref.Mat {
					l, _ := ref.Cholesky(negated(in[0]))
					return []ref.Mat{l, vector(math.NaN(), 0, math.NaN())}
				},
			}
		}
		const n = CholeskyBlock
		odd := definite(n) // whose upper triangle is not read
		for i := range n {
			for j := i + 1; j < n; j++ {
				odd.Row(i)[j] = 1e9
			}
		}
		unit := ref.NewMat(n, n)
		for i := range n {
			unit.Row(i)[i] = 1
		}
		cases := []optest.Case{of("definite", definite(n)), of("lower triangle", odd), of("unit", unit)}
		for _, n := range []int{1, 7, 37, 96, 127} {
			cases = append(cases, of(optest.Shape(n, n), definite(n)))
		}
		return cases
	}}
}

func TestCholesky(t *testing.T) { choleskyTable().Test(t) }

func BenchmarkCholesky(b *testing.B) { choleskyTable().Benchmark(b) }

func TestCholeskyFails(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct {
			row, col int
			v        float64
		}{{0, 0, 0}, {0, 0, -1}, {127, 127, 0}, {40, 40, math.NaN()}, {3, 3, math.Inf(1)}, {90, 2, 1e6}} {
			x := definite(CholeskyBlock)
			x.Row(c.row)[c.col] = c.v
			b := newBench(t, d)
			failed := b.empty(dtype.F32, 1, 1)
			Cholesky(b.r, b.empty(dtype.F32, CholeskyBlock, CholeskyBlock), b.upload(negated(x), dtype.F32), failed, 0)
			if got := b.Download(optest.Tensor(failed))[0]; got != 1 {
				t.Errorf("with %v in row %d, column %d: failed is %v, want 1", c.v, c.row, c.col, got)
			}
		}
	})
}

func triangularinverseTable() optest.Table {
	return optest.Table{Op: "triangularinverse", Bound: choleskyBound, Cases: func() (cases []optest.Case) {
		for _, n := range []int{1, 7, 24, 128, 200} {
			l, _ := ref.Cholesky(definite(n))
			cases = append(cases, optest.Case{
				Name: optest.Shape(n, n), In: f32s(l), Out: likes(ref.Mat{Rows: 3 * n, Cols: n}), Measured: n == 128,
				Record: func(r *vk.Recorder, out, in []optest.Tensor) { TriangularInverse(r, Tensor(out[0]), Tensor(in[0])) },
				Want: func(in []ref.Mat) []ref.Mat {
					y := ref.TriangularInverse(in[0])
					minus := negated(y)
					return one(ref.Mat{Rows: 3 * n, Cols: n, Data: append(append(y.Data, minus.Data...), ref.Transpose(minus).Data...)})
				},
			})
		}
		return cases
	}}
}

func TestTriangularInverse(t *testing.T) { triangularinverseTable().Test(t) }

func BenchmarkTriangularInverse(b *testing.B) { triangularinverseTable().Benchmark(b) }

func TestCholeskyShapes(t *testing.T) {
	const n = CholeskyBlock
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, l, failed := b.empty(dtype.F32, n, n), b.empty(dtype.F32, n, n), b.empty(dtype.F32, 1, 2)
	refused(t, d, "half a block", func(r *vk.Recorder) { Cholesky(r, l, x.RowRange(0, 64).Reshape(64, 128), failed, 0) })
	refused(t, d, "a factor of another size", func(r *vk.Recorder) { Cholesky(r, l, x.RowRange(0, 32).Reshape(64, 64), failed, 0) })
	larger := b.empty(dtype.F32, n+1, n+1)
	refused(t, d, "a larger block", func(r *vk.Recorder) { Cholesky(r, b.empty(dtype.F32, n+1, n+1), larger, failed, 0) })
	refused(t, d, "a block beyond the last", func(r *vk.Recorder) { Cholesky(r, l, x, failed, 2) })
	refused(t, d, "one inverse", func(r *vk.Recorder) { TriangularInverse(r, x, l) })
}
