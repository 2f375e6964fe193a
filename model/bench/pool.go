package bench

import (
	"math"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// pool is the device memory of one case.
type pool struct {
	b      *bencher
	bufs   []*vk.Buffer
	closes []func()
}

func (p *pool) close() {
	for _, f := range p.closes {
		f()
	}
	p.b.d.Free(p.bufs...)
}

// buffer is memory of a size.
func (p *pool) buffer(size int64, use vk.Use) (*vk.Buffer, error) {
	b, err := p.b.d.NewBuffer("benchmark", size, use)
	if err == nil {
		p.bufs = append(p.bufs, b)
	}
	return b, err
}

// random is a tensor of random numbers of standard deviation 1/√cols.
func (p *pool) random(d dtype.DType, rows, cols int) (op.Tensor, error) {
	b, err := p.buffer((int64(rows)*int64(cols)*int64(d.Size())+3)&^3, vk.OnDevice)
	if err != nil {
		return op.Tensor{}, err
	}
	t := op.Of(b.All(), d, rows, cols)
	op.Random(p.b.r, t, uint32(len(p.bufs)), float32(math.Sqrt(12/float64(cols))))
	return t, p.b.r.Wait(p.b.ctx)
}
