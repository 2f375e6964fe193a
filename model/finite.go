package model

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"

	"github.com/vkcome/vkcome/model/dtype"
)

// NonFiniteError says that a model's weight holds NaN or infinity: what is computed with it has no meaning, however often it is tried.
type NonFiniteError struct {
	Model, Tensor string // the tensor's name as in the file
	Row, Col      int    // of the first such value there; a vector has one row
	Value         float32
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("model: %s: tensor %s: value [%d, %d] is %v, expected a finite number: the file is damaged, or its training diverged; take another copy of the model",
		e.Model, e.Tensor, e.Row, e.Col, e.Value)
}

// CheckFinite reads all weights and gives a *NonFiniteError for the first value, in the order of the tensors, that is NaN or infinite. It
// takes as long as reading the file, and is done on all cores. A model that was found right is not read again. progress may
// be nil.
func (m *Model) CheckFinite(ctx context.Context, progress func(done, total int64)) error {
	if m.finite != nil && m.finite.Load() {
		return nil
	}
	c := &finiteCheck{ctx: ctx, model: m.Name, progress: progress}
	for _, w := range m.AllWeights() {
		c.add(w)
	}
	if err := c.run(); err != nil {
		return err
	}
	if m.finite != nil {
		m.finite.Store(true)
	}
	return nil
}

// finiteCheck looks at parts of weights on all cores.
type finiteCheck struct {
	ctx      context.Context
	model    string
	progress func(done, total int64)
	parts    []finitePart
	total    int64

	mu    sync.Mutex
	next  int   // part
	done  int64 // bytes
	found error // in the earliest part so far that has one
	in    int   // that part
}

// finitePart is rows of a tensor.
type finitePart struct {
	Weight
	row int // the first one's, in the tensor
}

// add cuts a weight into parts that are a piece or little more.
func (c *finiteCheck) add(w Weight) {
	if w.IsZero() || w.Made() {
		return // a device makes what Made says, from whole numbers
	}
	for _, p := range w.Parts() {
		for conv, ok := p.source.(converted); ok; conv, ok = p.source.(converted) { // what it is made of has its place in the tensor, and is finite where it is
			row := p.first / p.Cols
			p = conv.of.RowRange(row, row+p.Rows)
		}
		first := p.first / p.Cols
		rows := max(1, Piece/(p.Cols*p.DType.Size()))
		for at := 0; at < p.Rows; at += rows {
			end := min(at+rows, p.Rows)
			c.parts = append(c.parts, finitePart{p.RowRange(at, end), first + at})
		}
		c.total += p.Size()
	}
}

func (c *finiteCheck) run() error {
	var g sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(c.parts)) {
		g.Go(func() {
			for {
				part, ok := c.take()
				if !ok {
					return
				}
				c.put(part, c.look(c.parts[part]))
			}
		})
	}
	g.Wait()
	return c.found
}

// take gives the next part to look at. Parts behind one with an error are left out; those before it were taken before.
func (c *finiteCheck) take() (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found != nil || c.next == len(c.parts) {
		return 0, false
	}
	c.next++
	return c.next - 1, true
}

// put takes what was found in a part.
func (c *finiteCheck) put(part int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && (c.found == nil || part < c.in) {
		c.found, c.in = err, part
	}
	if c.done += c.parts[part].Size(); c.progress != nil {
		c.progress(c.done, c.total)
	}
}

// look reads a part.
func (c *finiteCheck) look(p finitePart) error {
	return p.Pieces(func(at int64, data []byte) error {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		size := p.DType.Size()
		i := nonFinite(data, p.DType)
		if i < 0 {
			return nil
		}
		value := make([]float32, 1)
		p.DType.Decode(value, data[i*size:(i+1)*size])
		i += int(at) / size
		return &NonFiniteError{Model: c.model, Tensor: p.Name, Row: p.row + i/p.Cols, Col: i % p.Cols, Value: value[0]}
	})
}

// nonFinite is the index of the first value that is NaN or infinite, −1 where there is none. Such a value has an exponent of all ones: a one
// added at the exponent's end then carries into the sign's place, in all values of a word at once.
func nonFinite(data []byte, d dtype.DType) int {
	e := exponents[d]
	const block = 64 // bytes that are looked at with one branch
	at := 0
	for ; at+block <= len(data); at += block {
		b, bad := data[at:at+block:at+block], uint64(0)
		for k := 0; k < block; k += 8 {
			bad |= binary.LittleEndian.Uint64(b[k:])&e.mask + e.one
		}
		if bad&e.sign != 0 {
			break
		}
	}
	value := make([]float32, 1)
	for size := d.Size(); at < len(data); at += size {
		if d.Decode(value, data[at:at+size]); value[0]-value[0] != 0 {
			return at / size
		}
	}
	return -1
}

// exponents are, for all values of a dtype in 64 bits, where the exponents are, where they end, and where the signs are.
var exponents = map[dtype.DType]struct{ mask, one, sign uint64 }{
	dtype.F32:  {0x7f800000_7f800000, 0x00800000_00800000, 0x80000000_80000000},
	dtype.F16:  {0x7c00_7c00_7c00_7c00, 0x0400_0400_0400_0400, 0x8000_8000_8000_8000},
	dtype.BF16: {0x7f80_7f80_7f80_7f80, 0x0080_0080_0080_0080, 0x8000_8000_8000_8000},
}
