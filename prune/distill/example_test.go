package distill_test

import (
	"context"
	"fmt"
	"log"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/vk"
)

// Layer 3 of a model from which layer 4 was dropped learns to stand for both.
func Example() {
	m, err := embedded.Open()
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	keep := []int{0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11}
	var layers []*model.Layer
	for _, l := range keep {
		layers = append(layers, m.Layers[l])
	}
	student, err := m.With(layers, keep)
	if err != nil {
		log.Fatal(err)
	}
	t, err := m.Tokenizer()
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := corpus.Encode(t, embedded.Text)
	if err != nil {
		log.Fatal(err)
	}
	windows, err := corpus.Cut(tokens, 64)
	if err != nil {
		log.Fatal(err)
	}
	d, err := vk.Open(vk.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	groups, err := distill.ParseMap("3=3-4")
	if err != nil {
		log.Fatal(err)
	}
	job := distill.Job{Teacher: m, Student: student, Groups: groups, Windows: windows, Options: distill.Options{Batch: 4, Tokens: 20 * 4 * 64}}
	result, err := job.Run(context.Background(), d, nil, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range result.Progress.Stages {
		fmt.Printf("%v: %d steps, better: %v\n", *s.Group, s.Done, s.After < s.Before)
	}
	// Output: 3=3-4: 20 steps, better: true
}
