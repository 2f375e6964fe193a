package prune_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/prune"
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
	plan, err := prune.NewPlan(m, prune.Options{TargetLayers: 11, Windows: windows})
	if err != nil {
		log.Fatal(err)
	}
	result, err := plan.Run(context.Background(), d, func(s prune.Status) {})
	if err != nil {
		log.Fatal(err)
	}
	tree, err := json.Marshal(result.Lineage.Tree)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(result.Model.Layers), "layers:", string(tree))
	// Output: 11 layers: [0,1,[2,3],4,5,6,7,8,9,10,11]
}
