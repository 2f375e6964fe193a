package lsq

import (
	"context"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// benchShape is the down projection of SmolLM2-135M, benchTokens some of its windows.
var benchShape = Shape{1536, 576, false}

const benchTokens, benchWindow = 2048, 512

// BenchmarkSums counts the products of half of G and of C, of which the sums add all tokens.
func BenchmarkSums(b *testing.B) {
	d := vktest.Open(b, vk.Options{})
	for _, part := range []struct {
		name       string
		begin, end int
		flops      float64
	}{
		{"gram", 0, benchShape.gramPanels(), benchTokens * 1536 * 1536},
		{"all", 0, benchShape.Panels(), benchTokens * (1536*1536 + 2*1536*576)},
	} {
		b.Run(part.name, func(b *testing.B) {
			w := optest.New(b, d)
			p := regression(benchShape, benchTokens, benchWindow)
			scope := d.NewScope()
			defer scope.Free()
			s := NewSums(scope, w.R, p.Shape, part.begin, part.end)
			a, e, weights := op.Tensor(w.Upload(p.a, dtype.F32)), op.Tensor(w.Upload(p.e, dtype.F32)), op.Tensor(w.Upload(p.w, dtype.F32))
			w.Measure(1, func() { s.Add(a, e, weights, p.window) })
			b.ReportMetric(part.flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

// BenchmarkLinear is what the sums are compared with: the product of a window with a weight of [in, in].
func BenchmarkLinear(b *testing.B) {
	w := optest.New(b, vktest.Open(b, vk.Options{}))
	x, y := op.Tensor(w.Upload(optest.Random(benchWindow, 1536), dtype.F32)), op.Tensor(w.Empty(dtype.F32, benchWindow, 1536))
	weight := op.Tensor(w.Upload(optest.Random(1536, 1536), dtype.F32))
	w.Measure(1, func() { op.LinearFused(w.R, y, x, weight, op.Fused{}) })
	b.ReportMetric(2*benchWindow*1536*1536*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

// BenchmarkSolve counts the factor, which is n³/3, and each solution of rows with its residuals apart.
func BenchmarkSolve(b *testing.B) {
	ctx, d := context.Background(), vktest.Open(b, vk.Options{})
	q := regression(benchShape, benchTokens, benchWindow).equations(b, d, 1)
	s, err := newSolver(d, q)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.close(); err != nil {
			b.Error(err)
		}
	})
	b.Run("factor", func(b *testing.B) {
		for b.Loop() {
			if err := s.factor(ctx, 0.1); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(1536*1536*1536/3.0*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	})
	c := s.chunk(0)
	b.Run("substitute", func(b *testing.B) {
		for b.Loop() {
			if err := s.residual(ctx, c, true); err != nil {
				b.Fatal(err)
			}
			if _, err := s.substitute(ctx, c); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(2*chunkRows*1536*1536*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	})
	b.Run("residual", func(b *testing.B) {
		for b.Loop() {
			if err := s.residual(ctx, c, false); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(2*chunkRows*1536*1536*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	})
	b.Run("solution", func(b *testing.B) {
		for b.Loop() {
			if _, err := Solve(ctx, d, q, 0.1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("loss", func(b *testing.B) {
		one, err := Solve(ctx, d, q, 0.1)
		for b.Loop() && err == nil {
			_, err = Loss(ctx, d, q, one.D, one.Bias)
		}
		if err != nil {
			b.Fatal(err)
		}
	})
	b.Run("elimination", func(b *testing.B) {
		_, w := weight(benchShape)
		for b.Loop() {
			if _, err := Eliminate(ctx, d, q, w, benchShape.In/2, 0.1); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((17/12.0*1536+3*576)*1536*1536*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	})
	b.Run("choice of 4", func(b *testing.B) {
		for b.Loop() {
			if _, err := Choose(ctx, d, q, q, []float64{0.03, 0.1, 0.3, 1}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
