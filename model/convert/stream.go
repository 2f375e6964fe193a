package convert

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/vkcome/vkcome/model/gguf"
)

// chunkValues is how many values are rounded at a time, so that the memory of a conversion does not depend on the model.
const chunkValues = 1 << 20

// chunk is rows of a part of a tensor on their way into the file.
type chunk struct {
	to         *tensor
	from       part
	begin, end int // rows
	values     []float32
	stored     []byte // memory to read into
	out        []byte
	done       chan struct{}
}

// writeTensors rounds tensors on all processors and writes them in their order.
func writeTensors(ctx context.Context, w *gguf.Writer, list []tensor, progress func(done, total int64)) error {
	total := int64(0)
	for _, t := range list {
		n, err := t.Bytes()
		if err != nil {
			return err
		}
		total += int64(n)
	}
	workers := runtime.GOMAXPROCS(0)
	todo, order := make(chan *chunk), make(chan *chunk, workers)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(order)
		defer close(todo)
		return eachChunk(list, func(c *chunk) error {
			for _, to := range []chan *chunk{order, todo} {
				select {
				case to <- c:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	for range workers {
		g.Go(func() error {
			values := make([]float32, 0)
			for c := range todo {
				var err error
				if values, err = c.round(values); err != nil {
					return err
				}
				close(c.done)
			}
			return nil
		})
	}
	g.Go(func() error {
		done := int64(0)
		for c := range order {
			select {
			case <-c.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if _, err := w.Write(c.out); err != nil {
				return err
			}
			done += int64(len(c.out))
			progress(done, total)
		}
		return ctx.Err()
	})
	return g.Wait()
}

// eachChunk cuts tensors into chunks.
func eachChunk(list []tensor, use func(*chunk) error) error {
	for i := range list {
		t := &list[i]
		if t.values != nil {
			if err := use(&chunk{to: t, values: t.values, done: make(chan struct{})}); err != nil {
				return err
			}
		}
		for _, p := range t.parts {
			rows := max(1, chunkValues/p.Cols)
			for begin := 0; begin < p.Rows; begin += rows {
				if err := use(&chunk{to: t, from: p, begin: begin, end: min(begin+rows, p.Rows), done: make(chan struct{})}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// round makes a chunk's bytes; values is memory to use, which it gives back.
func (c *chunk) round(values []float32) ([]float32, error) {
	src := c.values
	if src == nil {
		n := (c.end - c.begin) * c.from.Cols
		if cap(values) < n {
			values = make([]float32, n)
		}
		values = values[:n]
		if err := c.read(values); err != nil {
			return values, fmt.Errorf("convert: %w", err)
		}
		src = values
	}
	block, bytes := c.to.Type.Block()
	c.out = make([]byte, len(src)/block*bytes)
	if err := c.to.Type.Encode(c.out, src); err != nil {
		return values, fmt.Errorf("convert: tensor %s: %w", c.to.Name, err)
	}
	return values, nil
}

// read decodes a chunk's rows, in the order and with the shift that the file has.
func (c *chunk) read(values []float32) error {
	p := c.from
	bias := p.headDim > 0 && len(c.to.Shape) == 1 // its one row is what is reordered
	rows := func(to []float32, begin, end int) error {
		c.stored = slices.Grow(c.stored[:0], (end-begin)*p.Cols*p.DType.Size())
		raw, err := p.ReadRows(c.stored[:cap(c.stored)], begin, end)
		if err == nil {
			p.DType.Decode(to, raw)
		}
		return err
	}
	switch {
	case bias:
		whole := make([]float32, p.Cols)
		if err := rows(whole, 0, 1); err != nil {
			return err
		}
		for i := range values {
			values[i] = whole[gguf.Row(i, p.headDim)]
		}
	case p.headDim > 0:
		for i := c.begin; i < c.end; i++ {
			row := gguf.Row(i, p.headDim)
			if err := rows(values[(i-c.begin)*p.Cols:(i-c.begin+1)*p.Cols], row, row+1); err != nil {
				return err
			}
		}
	default:
		if err := rows(values, c.begin, c.end); err != nil {
			return err
		}
	}
	c.stored = nil
	if p.shift != 0 {
		for i := range values {
			values[i] += p.shift
		}
	}
	return nil
}
