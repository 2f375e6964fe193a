package bench

import (
	"fmt"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/generate"
)

// models are the rates of the model as llama-bench reports them: ppN, a prompt of N tokens with the logits of its last one; tgN, N tokens
// one by one, each a pass of its own, from an empty context on.
func (b *bencher) models() []benchmark {
	m := b.o.Model
	const generated = 128
	var cases []benchmark
	weights := float64(m.Bytes())
	flops := 2 * float64(m.Parameters()-int64(m.Top[arch.Embed].Rows*m.Top[arch.Embed].Cols)) // of a token, attention and LM head aside
	for _, n := range []int{256, 512, 2048} {
		if n > m.Config.MaxPositionEmbeddings {
			b.report.LeftOut = append(b.report.LeftOut, fmt.Sprintf("pp%d: the model has max_position_embeddings %d", n, m.Config.MaxPositionEmbeddings))
			continue
		}
		prompt := make([]uint32, n)
		for i := range prompt {
			prompt[i] = uint32((i*7919 + 1) % m.Config.VocabSize)
		}
		c := benchmark{name: fmt.Sprintf("pp%d", n), unit: "tokens/s", work: float64(n), flops: flops * float64(n), bytes: weights, host: true}
		c.arithmetic = b.arithmetic(m.Layers[0].Weights[arch.Q].DType)
		c.prepare = func(p *pool) (func() error, error) {
			g, err := b.generator(p, n)
			return func() error {
				g.Reset()
				_, err := g.Feed(b.ctx, prompt)
				return err
			}, err
		}
		cases = append(cases, c)
	}
	n := min(generated, m.Config.MaxPositionEmbeddings)
	return append(cases, benchmark{name: fmt.Sprintf("tg%d", n), unit: "tokens/s", work: float64(n), flops: flops * float64(n), bytes: (weights - float64(m.Top[arch.Embed].Size())) * float64(n),
		arithmetic: peakF32, host: true, prepare: func(p *pool) (func() error, error) {
			g, err := b.generator(p, n)
			return func() error {
				g.Reset()
				for i := range n {
					if _, err := g.Feed(b.ctx, []uint32{uint32((i*7919 + 1) % m.Config.VocabSize)}); err != nil {
						return err
					}
				}
				return nil
			}, err
		}})
}

func (b *bencher) generator(p *pool, capacity int) (*generate.Generator, error) {
	g, err := generate.New(b.d, b.o.Model, capacity)
	if err != nil {
		return nil, err
	}
	p.closes = append(p.closes, func() { _ = g.Close() }) // an error was the recorder's before
	return g, nil
}
