package lsq

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// space is what the solver works with on the device, beside the factor. Sizes are filled up to whole blocks, of inputs that are
// independent of all others and 0 in every solution.
type space struct {
	column, low *vk.Buffer // [padded, block]: a column of blocks of G; what f32 leaves out of it
	staged      *vk.Buffer // [padded, block]: a column of the factor that lies on the host
	diagonal    *vk.Buffer // [block, block]
	transposed  *vk.Buffer // [block, block]
	inverses    *vk.Buffer // [blocks, 3, block, block]: see op.TriangularInverse
	failed      *vk.Buffer // [blocks]
	rest        *vk.Buffer // [padded, rows]: right-hand sides with the other sign, transposed
	forward     *vk.Buffer // [blocks, rows, block]: what forward substitution gives, with the other sign
	x           *vk.Buffer // [blocks, rows, block]: rows of D, or of what D lacks
	cross       [2]*vk.Buffer
	part, other *vk.Buffer // [rows, block]
}

func newSpace(s *vk.Scope, shape Shape) *space {
	blocks, rows := ceilDiv(shape.inputs(), block), max(block, min(chunkRows, shape.Out)) // a block of rows of an inverse at least: see elimination
	of := func(name string, floats int) *vk.Buffer { return s.Buffer(name, 4*int64(floats), vk.OnDevice) }
	w := &space{}
	w.column, w.low, w.staged = of("column of a Gram matrix", blocks*block*block), of("its low part", blocks*block*block), of("column of a factor", blocks*block*block)
	w.diagonal, w.transposed = of("block of a factor", block*block), of("block of a factor", block*block)
	w.inverses, w.failed = of("inverses of blocks", blocks*3*block*block), of("state of blocks", blocks)
	w.rest, w.forward, w.x = of("right-hand sides", blocks*block*rows), of("half a solution", blocks*block*rows), of("solution", blocks*block*rows)
	w.part, w.other = of("part of a solution", rows*block), of("part of a solution", rows*block)
	for i := range w.cross {
		w.cross[i] = of("right-hand sides", rows*block)
	}
	return w
}

// solver is equations on their way through a device. They are scaled by powers of 2, which changes no digit: m is in [1, 2), and the
// largest element of C in [1/2, 1).
type solver struct {
	*space
	q                   *Equations
	scope               *vk.Scope
	r                   *vk.Recorder
	padded, blocks      int
	gramUnit, crossUnit int // G is 2^gramUnit times what is on the device
	m                   float64
	ridge               float64      // λ·m, of the factor that is there
	columns             []column     // of the factor, below the diagonal blocks
	beside              []*vk.Buffer // panels of an elimination
	high, rests         []float32
	raw                 []byte
}

// column is a column of blocks [below, block], on the device or on the host.
type column struct {
	device *vk.Buffer
	host   []byte
}

func newSolver(d *vk.Device, q *Equations) (*solver, error) {
	if err := q.complete(); err != nil {
		return nil, err
	}
	s := &solver{q: q, scope: d.NewScope(), blocks: ceilDiv(q.shape.inputs(), block), m: q.meanDiagonal()}
	s.padded = s.blocks * block
	_, s.gramUnit = math.Frexp(s.m)
	s.gramUnit--
	largest := 0.0
	for o := range q.shape.Out {
		for _, v := range q.cross(o) {
			largest = max(largest, math.Abs(v.float()))
		}
	}
	_, s.crossUnit = math.Frexp(largest)
	s.high, s.rests, s.raw = make([]float32, s.padded*block), make([]float32, s.padded*block), make([]byte, 4*s.padded*block)
	s.space = newSpace(s.scope, q.shape)
	if err := s.scope.Err(); err != nil {
		s.scope.Free()
		return nil, fmt.Errorf("lsq: %v: %w", q.shape, err)
	}
	var err error
	if s.r, err = d.NewRecorder(); err != nil {
		s.scope.Free()
		return nil, err
	}
	return s, nil
}

func (s *solver) close() error {
	err := s.r.Close()
	s.dropFactor()
	s.scope.Device().Free(s.beside...)
	s.scope.Free()
	return err
}

func (s *solver) dropFactor() {
	for _, c := range s.columns {
		s.scope.Device().Free(c.device)
	}
	s.columns = nil
}

func tensor(b *vk.Buffer, rows, cols int) op.Tensor { return op.Of(b.All(), dtype.F32, rows, cols) }

// inverse is the inverse of the factor's diagonal block k: 0 as it is, 1 negative, 2 negative and transposed.
func (s *solver) inverse(k, which int) op.Tensor {
	return tensor(s.inverses, s.blocks*3*block, block).RowRange((3*k+which)*block, (3*k+which+1)*block)
}

// fill makes rows from `from` on, a multiple of the block, of block column k of the scaled G + ridge·I, times sign, as two floats each.
func (s *solver) fill(k, from int, ridge, sign float64) {
	n, scale, begin := s.q.shape.inputs(), sign*math.Ldexp(1, -s.gramUnit), k*block
	end := min(begin+block, n)
	for j := begin; j < end; j++ { // above the diagonal block, and in it up to the diagonal: what lies left of the diagonal, turned
		for i, v := range s.q.gramRow(j)[min(from, j):j] {
			s.set(i*block+j-begin, v.float()*scale)
		}
	}
	for i := max(from, begin); i < n; i++ {
		for j, of := range s.q.gramRow(i)[begin:min(end, i+1)] {
			v := of.float()
			if i == begin+j {
				v += ridge
			}
			s.set((i-from)*block+j, v*scale)
		}
	}
	for i := from; i < s.padded; i++ { // up to whole blocks
		first := end - begin
		if i >= n {
			first = 0
		}
		for j := first; j < block; j++ {
			v := 0.0
			if i == begin+j {
				v = 1
			}
			s.set((i-from)*block+j, sign*v)
		}
	}
}

// set keeps v as two floats.
func (s *solver) set(at int, v float64) {
	high := float32(v)
	s.high[at], s.rests[at] = high, float32(v-float64(high))
}

// upload waits for the device, and writes.
func (s *solver) upload(ctx context.Context, to *vk.Buffer, v []float32) error {
	if err := s.r.Wait(ctx); err != nil {
		return err
	}
	raw := s.raw
	if len(raw) < 4*len(v) {
		raw = make([]byte, 4*len(v))
	}
	raw = raw[:4*len(v)]
	dtype.F32.Encode(raw, v)
	return s.scope.Device().Upload(ctx, to.View(0, int64(len(raw))), raw)
}

// factor makes L with L·Lᵀ = G + λ·m·I, block column after block column (left-looking: Golub & Van Loan, 4.2.6, 4.2.9): of each, with the
// other sign, the products of those before it are added to the column of G.
func (s *solver) factor(ctx context.Context, lambda float64) error {
	s.dropFactor()
	s.ridge = lambda * s.m
	for k := range s.blocks {
		rows := s.padded - k*block
		s.fill(k, k*block, s.ridge, -1)
		if err := s.upload(ctx, s.column, s.high[:rows*block]); err != nil {
			return err
		}
		left := tensor(s.column, rows, block)
		for j := range k {
			l, err := s.read(ctx, j)
			if err != nil {
				return err
			}
			l = l.RowRange((k-j-1)*block, l.Rows)
			op.LinearFused(s.r, left, l, l.RowRange(0, block), op.Fused{Residual: left, Batch: true})
		}
		op.Cholesky(s.r, tensor(s.diagonal, block, block), left.RowRange(0, block), tensor(s.failed, 1, s.blocks), k)
		op.TriangularInverse(s.r, tensor(s.inverses, s.blocks*3*block, block).RowRange(3*k*block, 3*(k+1)*block), tensor(s.diagonal, block, block))
		if err := s.keep(ctx, k, left); err != nil {
			return err
		}
		if err := s.r.Flush(ctx); err != nil { // runs while the next column is filled
			return err
		}
	}
	if err := s.r.Wait(ctx); err != nil {
		return err
	}
	failed, err := s.download(ctx, s.failed, s.blocks)
	if err != nil {
		return err
	}
	for k, f := range failed {
		if f != 0 {
			return fmt.Errorf("%w: the matrix is not positive definite in f32, as inputs %d to %d show", ErrLambda, k*block, min(s.q.shape.inputs(), (k+1)*block)-1)
		}
	}
	return nil
}

// keep makes what column k of the factor has below its diagonal block, on the device if there is room, else on the host.
func (s *solver) keep(ctx context.Context, k int, left op.Tensor) error {
	rows := left.Rows - block
	if rows == 0 {
		s.columns = append(s.columns, column{})
		return nil
	}
	d := s.scope.Device()
	b, err := d.NewBuffer("column of a factor", 4*int64(rows*block), vk.OnDevice)
	if err != nil && !errors.Is(err, vk.ErrOutOfMemory) {
		return err
	}
	s.columns = append(s.columns, column{device: b})
	to := b
	if b == nil {
		to = s.staged
	}
	op.LinearFused(s.r, tensor(to, rows, block), left.RowRange(block, left.Rows), s.inverse(k, 1), op.Fused{Batch: true})
	if b != nil {
		return nil
	}
	if err := s.r.Wait(ctx); err != nil {
		return err
	}
	raw := make([]byte, 4*rows*block)
	s.columns[k].host = raw
	return d.Download(ctx, raw, to.View(0, int64(len(raw))))
}

// read gives column k of the factor, below its diagonal block. It is there until the next is read.
func (s *solver) read(ctx context.Context, k int) (op.Tensor, error) {
	c, rows := s.columns[k], s.padded-(k+1)*block
	if c.device != nil {
		return tensor(c.device, rows, block), nil
	}
	if err := s.r.Wait(ctx); err != nil {
		return op.Tensor{}, err
	}
	return tensor(s.staged, rows, block), s.scope.Device().Upload(ctx, s.staged.View(0, int64(len(c.host))), c.host)
}

func (s *solver) download(ctx context.Context, b *vk.Buffer, floats int) ([]float32, error) {
	raw, v := make([]byte, 4*floats), make([]float32, floats)
	if err := s.scope.Device().Download(ctx, raw, b.View(0, int64(len(raw)))); err != nil {
		return nil, err
	}
	dtype.F32.Decode(v, raw)
	return v, nil
}
