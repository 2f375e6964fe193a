package lsq

import (
	"context"
	"errors"
	"math"

	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// substitute solves X·L·Lᵀ = R for rows R, of which s.rest has −Rᵀ, and gives X [rows, padded]. All signs are such that products are
// added.
func (s *solver) substitute(ctx context.Context, c *chunk) ([]float32, error) {
	other := tensor(s.other, c.rows, block)
	half, x := tensor(s.forward, s.blocks*c.rows, block), tensor(s.x, s.blocks*c.rows, block)
	of := func(t op.Tensor, k int) op.Tensor { return t.RowRange(k*c.rows, (k+1)*c.rows) }
	if err := s.forwards(ctx, c.rows, func(k int, part op.Tensor) op.Tensor {
		op.LinearFused(s.r, of(half, k), part, s.inverse(k, 0), op.Fused{Batch: true})
		if k+1 < s.blocks {
			op.LinearFused(s.r, other, part, s.inverse(k, 1), op.Fused{Batch: true})
		}
		return other
	}); err != nil {
		return nil, err
	}
	for k := s.blocks - 1; k >= 0; k-- { // X·L = Y
		to := of(half, k)
		if k+1 < s.blocks {
			l, err := s.read(ctx, k)
			if err != nil {
				return nil, err
			}
			transposed := tensor(s.transposed, block, block)
			for i := k + 1; i < s.blocks; i++ {
				op.Transpose(s.r, transposed, l.RowRange((i-k-1)*block, (i-k)*block))
				op.LinearFused(s.r, to, of(x, i), transposed, op.Fused{Residual: to, Batch: true})
			}
		}
		op.LinearFused(s.r, of(x, k), to, s.inverse(k, 2), op.Fused{Batch: true})
	}
	if err := s.r.Wait(ctx); err != nil {
		return nil, err
	}
	panels, err := s.download(ctx, s.x, s.blocks*c.rows*block)
	if err != nil {
		return nil, err
	}
	return s.turn(panels, c.rows, false), nil
}

// forwards goes through Y·Lᵀ = R block column after block column. Of each, made gets what is left of the right-hand side, with the other sign, and
// gives Y's.
func (s *solver) forwards(ctx context.Context, rows int, made func(k int, part op.Tensor) op.Tensor) error {
	rest, part := tensor(s.rest, s.padded, rows), tensor(s.part, rows, block)
	for k := range s.blocks {
		op.Transpose(s.r, part, rest.RowRange(k*block, (k+1)*block))
		y := made(k, part)
		if k+1 == s.blocks {
			break
		}
		l, err := s.read(ctx, k)
		if err != nil {
			return err
		}
		below := rest.RowRange((k+1)*block, s.padded)
		op.LinearFused(s.r, below, l, y, op.Fused{Residual: below, Batch: true})
	}
	return nil
}

// turn makes rows [rows, padded] out of panels [blocks, rows, block], or the other way.
func (s *solver) turn(v []float32, rows int, intoPanels bool) []float32 {
	y := make([]float32, len(v))
	for k := range s.blocks {
		for t := range rows {
			panel, row := (k*rows+t)*block, t*s.padded+k*block
			if intoPanels {
				copy(y[panel:panel+block], v[row:row+block])
			} else {
				copy(y[row:row+block], v[panel:panel+block])
			}
		}
	}
	return y
}

// crossBlock makes columns of block k of C, as two floats each.
func (s *solver) crossBlock(c *chunk, k int, high, low []float32) {
	n, scale := s.q.shape.inputs(), math.Ldexp(1, -s.crossUnit)
	for t := range c.rows {
		row, at := s.q.cross(c.begin + t)[k*block:min(n, (k+1)*block)], t*block
		clear(high[at+len(row) : at+block])
		clear(low[at+len(row) : at+block])
		for j, of := range row {
			v := of.float() * scale
			high[at+j] = float32(v)
			low[at+j] = float32(v - float64(high[at+j]))
		}
	}
}

// residual makes s.rest = −(C − D·(G + ridge·I))ᵀ of the rows of a chunk; of D = 0 if atZero.
func (s *solver) residual(ctx context.Context, c *chunk, atZero bool) error {
	rest, part := tensor(s.rest, s.padded, c.rows), tensor(s.part, c.rows, block)
	if atZero {
		high, low := make([]float32, c.rows*block), make([]float32, c.rows*block)
		for k := range s.blocks {
			s.crossBlock(c, k, high, low)
			for i := range high {
				high[i] = -high[i]
			}
			if err := s.upload(ctx, s.part, high); err != nil {
				return err
			}
			op.Transpose(s.r, rest.RowRange(k*block, (k+1)*block), part)
		}
		return s.r.Err()
	}
	return s.exactProducts(ctx, c, s.ridge, func(k int) error {
		op.Transpose(s.r, rest.RowRange(k*block, (k+1)*block), part)
		return s.r.Flush(ctx)
	})
}

// products make D·(G + ridge·I) − C of the rows of a chunk in s.part, block column after block column, and call f for each.
type products func(ctx context.Context, c *chunk, ridge float64, f func(k int) error) error

// exactProducts are in double-floats.
func (s *solver) exactProducts(ctx context.Context, c *chunk, ridge float64, f func(k int) error) error {
	if err := s.upload(ctx, s.x, s.turn(c.d, c.rows, true)); err != nil {
		return err
	}
	high, low := make([]float32, c.rows*block), make([]float32, c.rows*block)
	for k := range s.blocks {
		s.fill(k, 0, ridge, 1)
		s.crossBlock(c, k, high, low)
		for _, u := range []struct {
			to *vk.Buffer
			v  []float32
		}{{s.column, s.high}, {s.low, s.rests}, {s.cross[0], high}, {s.cross[1], low}} {
			if err := s.upload(ctx, u.to, u.v); err != nil {
				return err
			}
		}
		op.Residual(s.r, tensor(s.part, c.rows, block), tensor(s.x, s.blocks*c.rows, block),
			op.Double{High: tensor(s.column, s.padded, block), Low: tensor(s.low, s.padded, block)},
			op.Double{High: tensor(s.cross[0], c.rows, block), Low: tensor(s.cross[1], c.rows, block)})
		if err := f(k); err != nil {
			return err
		}
	}
	return nil
}

// roughProducts are in f32, without a ridge.
func (s *solver) roughProducts(ctx context.Context, c *chunk, _ float64, f func(k int) error) error {
	if err := s.upload(ctx, s.x, c.d); err != nil {
		return err
	}
	high, low := make([]float32, c.rows*block), make([]float32, c.rows*block)
	for k := range s.blocks {
		s.fill(k, 0, 0, 1)
		s.crossBlock(c, k, high, low)
		for i := range high {
			high[i] = -high[i]
		}
		if err := errors.Join(s.upload(ctx, s.staged, s.high), s.upload(ctx, s.cross[0], high)); err != nil {
			return err
		}
		turned := tensor(s.column, block, s.padded)
		op.Transpose(s.r, turned, tensor(s.staged, s.padded, block))
		op.LinearFused(s.r, tensor(s.part, c.rows, block), tensor(s.x, c.rows, s.padded), turned, op.Fused{Residual: tensor(s.cross[0], c.rows, block), Batch: true})
		if err := f(k); err != nil {
			return err
		}
	}
	return nil
}

// loss gives −2⟨D, C⟩ + ⟨D·G, D⟩ = ⟨D, D·G − C⟩ − ⟨D, C⟩ of a chunk's rows.
func (s *solver) loss(ctx context.Context, c *chunk, by products) (float64, error) {
	// D is scaled as it comes: the product wants it in units of C over G.
	unit := s.crossUnit - s.gramUnit
	scale, crossScale := math.Ldexp(1, -unit), math.Ldexp(1, -s.crossUnit)
	for i, v := range c.d {
		c.d[i] = float32(float64(v) * scale)
	}
	sum, n := 0.0, s.q.shape.inputs()
	err := by(ctx, c, 0, func(k int) error {
		if err := s.r.Wait(ctx); err != nil {
			return err
		}
		left, err := s.download(ctx, s.part, c.rows*block)
		if err != nil {
			return err
		}
		for t := range c.rows {
			row := s.q.cross(c.begin + t)
			for j := range min(block, n-k*block) {
				i := k*block + j
				sum += float64(c.d[t*s.padded+i]) * (float64(left[t*block+j]) - row[i].float()*crossScale)
			}
		}
		return nil
	})
	return math.Ldexp(sum, unit+s.crossUnit), err
}
