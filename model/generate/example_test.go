package generate_test

import (
	"context"
	"fmt"
	"log"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/vk"
)

func Example() {
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
	g, err := generate.New(d, m, 16)
	if err != nil {
		log.Fatal(err)
	}
	defer g.Close()
	tokens := []uint32{0, 504, 463, 311} // "The film is"
	for next := tokens; len(tokens) < 8; next = tokens[len(tokens)-1:] {
		logits, err := g.Feed(context.Background(), next)
		if err != nil {
			log.Fatal(err)
		}
		tokens = append(tokens, generate.Sampling{}.Next(logits, nil))
	}
	fmt.Println(tokens)
	// Output: [0 504 463 311 259 996 1309 46]
}
