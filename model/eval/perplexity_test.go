package eval_test

import (
	"context"
	"fmt"
	"log"
	"math"
	"testing"

	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

func TestPerplexity(t *testing.T) {
	spec := modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 1999, Context: 32}
	m, dir := spec.Open(t)
	oracle, err := ref.LoadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	windows := modeltest.Windows(spec.Vocab, 5, 17)
	var wide [][]int
	for _, w := range windows {
		var ids []int
		for _, v := range w {
			ids = append(ids, int(v))
		}
		wide = append(wide, ids)
	}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		layers := 0
		p, err := eval.RunPerplexity(t.Context(), d, m, windows, func(done, total int) { layers = done })
		if err != nil {
			t.Fatal(err)
		}
		if want := oracle.Perplexity(wide); math.Abs(p.Perplexity/want-1) > 1e-5 {
			t.Errorf("perplexity %v, want %v", p.Perplexity, want)
		}
		if p.Windows != 5 || p.TokensScored != 5*16 || layers != 2 {
			t.Errorf("%+v after %d layers", p, layers)
		}
		p, err = eval.RunPerplexityWith(t.Context(), d, m, windows, eval.PerplexityOptions{SecondHalf: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := secondHalf(oracle, wide); math.Abs(p.Perplexity/want-1) > 1e-5 || p.TokensScored != 5*8 {
			t.Errorf("second halves: %+v, want perplexity %v of %d tokens", p, want, 5*8)
		}
		if _, err := eval.RunPerplexityWith(t.Context(), d, m, modeltest.Windows(spec.Vocab, 2, 2), eval.PerplexityOptions{SecondHalf: true}, nil); err == nil {
			t.Error("windows without a token to score gave a perplexity")
		}
	})
}

func ExampleRunPerplexity() {
	m, err := embedded.Open()
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	d, err := vk.Open(vk.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	t, err := m.Tokenizer()
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := corpus.Encode(t, embedded.Text)
	if err != nil {
		log.Fatal(err)
	}
	windows, err := corpus.Cut(tokens, 128)
	if err != nil {
		log.Fatal(err)
	}
	p, err := eval.RunPerplexity(context.Background(), d, m, windows[:2], nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.0f over %d tokens\n", p.Perplexity, p.TokensScored)
	// Output: 36 over 254 tokens
}

// secondHalf is the perplexity of tokens 9 to 16 of windows of 17: llama-perplexity scores what follows the logits from n/2 on.
func secondHalf(oracle *ref.Model, windows [][]int) float64 {
	sum, n := 0.0, 0
	for _, w := range windows {
		logits := oracle.Logits(w)
		for t := 8; t < 16; t++ {
			all, row := 0.0, logits.Row(t)
			for _, v := range row {
				all += math.Exp(v)
			}
			sum, n = sum+math.Log(all)-row[w[t+1]], n+1
		}
	}
	return math.Exp(sum / float64(n))
}
