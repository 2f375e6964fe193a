package arch_test

import (
	"fmt"
	"log"

	"github.com/vkcome/vkcome/model/arch"
)

// A Phi-3 stores queries, keys and values as one tensor.
func Example() {
	c, err := arch.ParseConfig("config.json", []byte(`{"architectures": ["Phi3ForCausalLM"], "hidden_size": 3072, "intermediate_size": 8192,
		"num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32064, "torch_dtype": "bfloat16"}`))
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range c.LayerTensors(7)[:2] {
		fmt.Println(t.Name, t.Shape)
	}
	rows, cols := c.Shape(arch.K)
	fmt.Println(arch.K.Info().Name, rows, cols)
	// Output:
	// model.layers.7.input_layernorm.weight [3072]
	// model.layers.7.self_attn.qkv_proj.weight [9216 3072]
	// self_attn.k_proj.weight 3072 3072
}
