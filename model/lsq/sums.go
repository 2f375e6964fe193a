package lsq

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// ErrRange says that a sum has left the range of its integers: a value was not finite, or not below 2^46.
var ErrRange = model.Lasting(errors.New("lsq: a product of inputs and targets is not finite or too large"))

const (
	gramBatch  = 4    // blocks of tokens that are multiplied before their products are added up
	rowsAtOnce = 4096 // tokens whose ‖e‖² are made together
	fixedBytes = 16
	sumAlign   = 64 // floats: where anything can be bound
)

// Sums are sums over tokens on the device: panels [begin, end) of G and C, and with the last panel T = Σ_t w_t ‖e_t‖².
type Sums struct {
	shape      Shape
	begin, end int
	r          *vk.Recorder
	batch      int
	inputs     *vk.Buffer   // √w·a of blocks of tokens, by columns
	targets    *vk.Buffer   // √w·e
	products   *vk.Buffer   // of the blocks, of one panel
	squares    *vk.Buffer   // w·‖e‖² of tokens
	panels     []*vk.Buffer // integers
	total      *vk.Buffer   // T
	bad        *vk.Buffer   // see op.FixedSum
	tokens     int64
	err        error
}

// NewSums allocates sums, which are zero; of a dry scope it counts.
func NewSums(s *vk.Scope, r *vk.Recorder, shape Shape, begin, end int) *Sums {
	q := &Sums{shape: shape, begin: begin, end: end, r: r, err: shape.check()}
	if q.err == nil && (begin < 0 || end <= begin || end > shape.Panels()) {
		q.err = fmt.Errorf("lsq: panels [%d, %d) of %d", begin, end, shape.Panels())
	}
	if q.err != nil {
		s.Fail(q.err)
		return q
	}
	row := 4 * int64(op.GramBlock)
	q.batch = max(1, min(gramBatch, int(s.Device().Limits().StorageRange/(row*int64(max(shape.inputs(), shape.Out))))))
	q.inputs = s.Buffer("inputs of a regression", int64(q.batch*shape.inputs())*row, vk.OnDevice)
	products := 0
	for p := begin; p < end; p++ {
		products = max(products, q.stride(p))
		q.panels = append(q.panels, s.Buffer("sums of a regression", fixedBytes*int64(shape.elements(p)), vk.OnDevice))
	}
	q.products = s.Buffer("products of inputs", 4*int64(q.batch)*int64(products), vk.OnDevice)
	q.bad = s.Buffer("range of sums", 4, vk.OnDevice)
	if end > shape.gramPanels() {
		q.targets = s.Buffer("targets of a regression", int64(q.batch*shape.Out)*row, vk.OnDevice)
	}
	if end == shape.Panels() {
		q.squares = s.Buffer("squares of targets", 4*rowsAtOnce, vk.OnDevice)
		q.total = s.Buffer("sum of squares", fixedBytes, vk.OnDevice)
	}
	if s.Live() {
		q.zero()
	}
	return q
}

// stride is how far the products of two blocks of tokens lie apart, in floats.
func (s *Sums) stride(p int) int { return ceilDiv(s.shape.elements(p), sumAlign) * sumAlign }

// zero records that there is nothing yet.
func (s *Sums) zero() {
	for _, b := range append([]*vk.Buffer{s.bad, s.total}, s.panels...) {
		if b != nil {
			s.r.Fill(b.All(), 0)
		}
	}
	s.tokens = 0
}

// Add records the sums of tokens, which come in whole windows.
//
//	a  [tokens, in]   F32
//	e  [tokens, out]  F32
//	w  [1, tokens]    F32, none negative
//
// What a window adds does not depend on the windows beside it.
func (s *Sums) Add(a, e, w op.Tensor, window int) {
	s.AddWindows(a, e, w, window, 0, a.Rows/max(1, window))
}

// AddWindows is Add for windows from begin to below end alone.
func (s *Sums) AddWindows(a, e, w op.Tensor, window, begin, end int) {
	switch {
	case s.err != nil:
		s.r.Fail(s.err)
		return
	case a.Rows == 0 || a.Cols != s.shape.In || !e.Is(a.Rows, s.shape.Out) || !w.Is(1, a.Rows) || window < 1 || a.Rows%window != 0 || begin < 0 || begin > end || end > a.Rows/window:
		s.r.Fail(&op.ShapeError{Op: "lsq", Detail: fmt.Sprintf("inputs %v, targets %v, weights %v, windows of %d; sums are of %v", a, e, w, window, s.shape)})
		return
	}
	blocks, depth := op.GramBlocks(window, window) // of a window
	for first := begin * blocks; first < end*blocks; first += s.batch {
		s.blocks(a, e, w, window, first, min(s.batch, end*blocks-first), depth)
	}
	if s.total != nil {
		s.addSquares(e, w, begin*window, end*window)
	}
	s.tokens += int64((end - begin) * window)
}

// blocks adds count blocks of tokens from first on.
func (s *Sums) blocks(a, e, w op.Tensor, window, first, count, depth int) {
	n := s.shape.inputs()
	inputs := op.Of(s.inputs.All(), dtype.F32, count*n, depth)
	op.GramOperand(s.r, inputs, a, w, n, window, first)
	var targets op.Tensor
	if s.targets != nil {
		targets = op.Of(s.targets.All(), dtype.F32, count*s.shape.Out, depth)
		op.GramOperand(s.r, targets, e, w, s.shape.Out, window, first)
	}
	for p := s.begin; p < s.end; p++ {
		begin, end, cols, ofC := s.shape.panel(p)
		from, rows := inputs, n
		if ofC {
			from, rows = targets, s.shape.Out
		}
		products := op.Of(s.products.All(), dtype.F32, count, s.stride(p))
		for b := range count {
			to := op.Of(products.RowRange(b, b+1).View, dtype.F32, end-begin, cols)
			op.LinearFused(s.r, to, from.RowRange(b*rows+begin, b*rows+end), inputs.RowRange(b*n, b*n+cols), op.Fused{Batch: true})
		}
		s.sum(s.panels[p-s.begin], products, 0, products.Rows)
	}
}

// sum adds rows of products to integers.
func (s *Sums) sum(to *vk.Buffer, terms op.Tensor, begin, end int) {
	op.FixedSum(s.r, op.Of(to.All(), dtype.F32, int(to.Size()/fixedBytes), 4), terms, op.Of(s.bad.All(), dtype.F32, 1, 1), begin, end)
}

// addSquares adds the loss of D = 0.
func (s *Sums) addSquares(e, w op.Tensor, from, to int) {
	weights := w.Reshape(e.Rows, 1)
	for begin := from / rowsAtOnce * rowsAtOnce; begin < to; begin += rowsAtOnce {
		end := min(begin+rowsAtOnce, e.Rows)
		squares := op.Of(s.squares.All(), dtype.F32, 1, end-begin)
		op.WeightedSquares(s.r, squares, e.RowRange(begin, end), weights.RowRange(begin, end).Reshape(1, end-begin))
		s.sum(s.total, squares.Reshape(end-begin, 1), max(from, begin)-begin, min(to, end)-begin)
	}
}

// Collect waits for what was recorded, adds the sums to those of the host, and sets them to zero. It fails with ErrRange where a sum
// has left its range.
func (s *Sums) Collect(ctx context.Context, into *Equations) error {
	if s.err != nil {
		return s.err
	}
	if into.shape != s.shape {
		return fmt.Errorf("lsq: sums of %v for equations of %v", s.shape, into.shape)
	}
	if err := s.r.Wait(ctx); err != nil {
		return err
	}
	bad, err := s.download(ctx, s.bad)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(bad) != 0 {
		return ErrRange
	}
	for i, b := range s.panels {
		raw, err := s.download(ctx, b)
		if err != nil {
			return err
		}
		if err := into.add(s.begin+i, decode(raw), s.tokens); err != nil {
			return err
		}
	}
	if s.total != nil {
		raw, err := s.download(ctx, s.total)
		if err != nil {
			return err
		}
		if err := into.total.add(decode(raw)[0]); err != nil {
			return err
		}
	}
	s.zero()
	return nil
}

func (s *Sums) download(ctx context.Context, b *vk.Buffer) ([]byte, error) {
	raw := make([]byte, b.Size())
	return raw, s.r.Device().Download(ctx, raw, b.All())
}
