package bench

import (
	"fmt"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
)

// kernels are an operation or two for every kernel that the device has for it, so that its alternatives can be told apart.
func (b *bencher) kernels() []benchmark {
	var cases []benchmark
	for _, f := range op.Alternatives(b.d) {
		for _, kernel := range f.Kernels {
			for _, c := range b.ofFamily(f.Name, kernel) {
				cases = append(cases, b.by(op.Kernels{f.Name: kernel}, kernel, c))
			}
		}
	}
	return cases
}

// ofFamily are the operations that a kernel of a family is timed with.
func (b *bencher) ofFamily(family, kernel string) []benchmark {
	prompt := op.AttentionShape{Windows: 1, QueryLen: 512, KeyLen: 512, Heads: 8, KVHeads: 4, HeadDim: 64}
	switch family {
	case "linear":
		if kernel == "linear_coopmat" { // which does not take weights of f32
			return []benchmark{b.linear(product{"", 512, 2048, 2048, dtype.F16}), b.linear(product{"", 512, 2048, 2048, dtype.BF16})}
		}
		return []benchmark{b.linear(product{"", 512, 2048, 2048, dtype.F32}), b.linear(product{"", 512, 2048, 2048, dtype.F16})}
	case "linear_vec":
		return []benchmark{b.linear(product{"", 1, 2048, 2048, dtype.F32}), b.linear(product{"", 1, 2048, 2048, dtype.F16})}
	case "attention":
		return []benchmark{b.attend("attention prefill 512, 8/4 heads of 64", prompt)}
	case "attention_decode":
		after := op.AttentionShape{Windows: 1, QueryLen: 1, KeyLen: 2048, Heads: 32, KVHeads: 8, HeadDim: 128}
		return []benchmark{b.attend("attention decode after 2048, 32/8 heads of 128", after)}
	case "attention_bwd":
		return []benchmark{b.attendBackward("attention backward 512, 8/4 heads of 64", prompt)}
	}
	return []benchmark{b.rmsNorm(4096, 4096)}
}

// by is a benchmark with a kernel forced.
func (b *bencher) by(k op.Kernels, kernel string, c benchmark) benchmark {
	c.name, c.kernels = c.name+" by "+kernel, k
	return c
}

// attendBackward is the gradients of attention: 5 products of queries and keys, where Attention has 2.
func (b *bencher) attendBackward(what string, s op.AttentionShape) benchmark {
	c := b.attend(what, s)
	c.flops, c.bytes, c.choice = 2.5*c.flops, 2*c.bytes, nil // the name says by which kernel
	c.prepare = func(p *pool) (func() error, error) {
		var q, k, v, o, do, dq, dk, dv, scratch op.Tensor
		queries, keys := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
		for _, t := range []struct {
			to         *op.Tensor
			rows, cols int
		}{
			{&q, s.QueryLen, queries}, {&o, s.QueryLen, queries}, {&do, s.QueryLen, queries}, {&dq, s.QueryLen, queries},
			{&k, s.KeyLen, keys}, {&v, s.KeyLen, keys}, {&dk, s.KeyLen, keys}, {&dv, s.KeyLen, keys}, {&scratch, 1, op.AttentionBackwardScratch(b.d, s)},
		} {
			var err error
			if *t.to, err = p.random(dtype.F32, t.rows, t.cols); err != nil {
				return nil, fmt.Errorf("attention backward: %w", err)
			}
		}
		return func() error {
			op.AttentionBackward(b.r, dq, dk, dv, q, k, v, o, do, s, scratch)
			return b.r.Err()
		}, nil
	}
	return c
}
