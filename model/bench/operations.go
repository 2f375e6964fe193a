package bench

import (
	"fmt"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
)

// product is a matrix product of some tokens, named as C[tokens, out] = x[tokens, in] · w[out, in]ᵀ.
type product struct {
	of              string
	tokens, out, in int
	dt              dtype.DType
}

// products are those that decide how fast models run: two small ones, a large square, and the projections of two 7B shapes.
var products = []product{
	{"", 512, 2048, 2048, dtype.F32}, {"", 512, 2048, 2048, dtype.F16}, {"", 256, 1408, 512, dtype.F16},
	{"", 4096, 4096, 4096, dtype.F32}, {"", 4096, 4096, 4096, dtype.F16},
	{"llama-2-7b q/k/v ", 512, 12_288, 4096, dtype.F16}, {"llama-2-7b o ", 512, 4096, 4096, dtype.F16},
	{"llama-2-7b gate ", 512, 11_008, 4096, dtype.F16}, {"llama-2-7b down ", 512, 4096, 11_008, dtype.F16},
	{"llama-3-8b q/k/v ", 512, 6144, 4096, dtype.F16}, {"llama-3-8b gate ", 512, 14_336, 4096, dtype.F16},
	{"llama-3-8b down ", 512, 4096, 14_336, dtype.F16},
	{"", 1, 2048, 2048, dtype.F32}, {"", 1, 2048, 2048, dtype.F16}, {"", 1, 2048, 2048, dtype.BF16},
	{"llama-2-7b o ", 1, 4096, 4096, dtype.F16}, {"llama-2-7b gate ", 1, 11_008, 4096, dtype.F16}, {"llama-3-8b down ", 1, 4096, 14_336, dtype.F16},
}

func (b *bencher) operations() []benchmark {
	var cases []benchmark
	for _, p := range products {
		cases = append(cases, b.linear(p))
	}
	for _, s := range []struct {
		what                    string
		queries, keys           int
		heads, kvHeads, headDim int
	}{
		{"attention prefill 512, 8/4 heads of 64", 512, 512, 8, 4, 64}, {"attention prefill 2048, 32/8 heads of 128", 2048, 2048, 32, 8, 128},
		{"attention decode after 2048, 32/8 heads of 128", 1, 2048, 32, 8, 128},
	} {
		cases = append(cases, b.attend(s.what, op.AttentionShape{Windows: 1, QueryLen: s.queries, KeyLen: s.keys, Heads: s.heads, KVHeads: s.kvHeads, HeadDim: s.headDim, Half: true}))
	}
	return append(cases, b.rmsNorm(4096, 4096))
}

// attend is Attention on random operands.
func (b *bencher) attend(what string, s op.AttentionShape) benchmark {
	seen := float64(2*(s.KeyLen-s.QueryLen)+s.QueryLen+1) / 2
	q, k := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	choice := new(op.Choice)
	return benchmark{name: what, unit: "GFLOP/s", arithmetic: peakF32, flops: 4 * seen * float64(s.QueryLen*q), bytes: 4 * float64(2*s.QueryLen*q+2*s.KeyLen*k), choice: choice,
		prepare: func(p *pool) (_ func() error, err error) {
			if *choice, err = op.AttentionChoice(b.d, s); err != nil {
				return nil, err
			}
			return b.attention(p, s)
		}}
}

func (b *bencher) rmsNorm(rows, hidden int) benchmark {
	return benchmark{name: fmt.Sprintf("rmsnorm %d×%d", rows, hidden), unit: "GB/s", bytes: 8 * float64(rows*hidden), prepare: func(p *pool) (func() error, error) {
		x, err := p.random(dtype.F32, rows, hidden)
		if err != nil {
			return nil, err
		}
		y, err := p.random(dtype.F32, rows, hidden)
		if err != nil {
			return nil, err
		}
		w, err := p.random(dtype.F16, 1, hidden)
		return func() error { op.RMSNorm(b.r, y, x, w, 1e-5, op.NormOptions{}); return b.r.Err() }, err
	}}
}

func (b *bencher) linear(s product) benchmark {
	kind := "gemm"
	c := benchmark{unit: "GFLOP/s", arithmetic: b.arithmetic(s.dt), choice: new(op.Choice)}
	if s.tokens == 1 {
		kind, c.unit, c.arithmetic = "gemv", "GB/s", peakF32
	}
	c.name = fmt.Sprintf("%s %s%d×%d×%d %v", kind, s.of, s.tokens, s.out, s.in, s.dt)
	c.flops = 2 * float64(s.tokens) * float64(s.out) * float64(s.in)
	c.bytes = float64(s.out)*float64(s.in)*float64(s.dt.Size()) + 4*float64(s.tokens)*float64(s.in+s.out)
	c.prepare = func(p *pool) (func() error, error) {
		x, err := p.random(dtype.F32, s.tokens, s.in)
		if err != nil {
			return nil, err
		}
		y, err := p.random(dtype.F32, s.tokens, s.out)
		if err != nil {
			return nil, err
		}
		scratch, err := p.random(dtype.F32, s.tokens, s.in)
		if err != nil {
			return nil, err
		}
		w, err := p.random(s.dt, s.out, s.in)
		if err != nil {
			return nil, err
		}
		halves := op.Tensor{}
		if n := op.LinearHalves(b.d, s.dt, s.out, s.in); n > 0 {
			halves, err = p.random(dtype.F32, 1, n)
		}
		fused := op.Fused{Scratch: scratch, Halves: halves}
		*c.choice = op.LinearChoice(b.d, x, w, fused)
		return func() error {
			op.LinearFused(b.r, y, x, w, fused)
			return b.r.Err()
		}, err
	}
	return c
}

// arithmetic is the peak that products of many tokens with weights of a dtype are set against. Those of F32 in two parts of f16 may be beyond theirs.
func (b *bencher) arithmetic(weights dtype.DType) string {
	if weights != dtype.F32 && op.LinearScratch(b.d, weights) { // cooperative matrices want it
		return peakCoop
	}
	return peakF32
}

func (b *bencher) attention(p *pool, s op.AttentionShape) (func() error, error) {
	var q, k, v, o, scratch op.Tensor
	for _, t := range []struct {
		to         *op.Tensor
		rows, cols int
	}{
		{&q, s.QueryLen, s.Heads * s.HeadDim}, {&o, s.QueryLen, s.Heads * s.HeadDim}, {&k, s.KeyLen, s.KVHeads * s.HeadDim}, {&v, s.KeyLen, s.KVHeads * s.HeadDim},
		{&scratch, 1, max(1, op.AttentionScratch(b.d, s))},
	} {
		var err error
		if *t.to, err = p.random(dtype.F32, t.rows, t.cols); err != nil {
			return nil, err
		}
	}
	return func() error {
		op.Attention(b.r, o, q, k, v, s, op.AttentionExtra{Scratch: scratch})
		return b.r.Err()
	}, nil
}
