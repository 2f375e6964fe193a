package run_test

import (
	"context"
	"fmt"
	"log"
	"math"

	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
)

// The perplexity of a text.
func Example() {
	m, err := embedded.Open()
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
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
	d, err := vk.Open(vk.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	f, err := run.New(d, m, windows)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	if err := f.Run(context.Background(), m, nil); err != nil {
		log.Fatal(err)
	}
	losses, err := f.Loss(context.Background(), m)
	if err != nil {
		log.Fatal(err)
	}
	sum, n := 0.0, 0
	for _, window := range losses {
		for _, nats := range window {
			sum, n = sum+float64(nats), n+1
		}
	}
	fmt.Printf("%.1f\n", math.Exp(sum/float64(n)))
	// Output: 36.7
}
