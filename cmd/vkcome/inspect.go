package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/vk"
)

var inspectVerb = verb{
	name: "inspect", args: "MODEL", short: "show a model's shape, size and lineage",
	example: "vkcome inspect ~/models/Llama-2-7b-hf",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		c := outputFlags(f)
		c.offlineFlag(f)
		return func(ctx context.Context, args []string) error {
			return c.withModel(ctx, args[0], func(m *model.Model) error { return inspect(c, m) })
		}
	},
}

func inspect(c *common, m *model.Model) error {
	tree, original, err := prune.ReadTree(m)
	if err != nil {
		return err
	}
	config := m.Config
	out := struct {
		Architecture    string        `json:"architecture"`
		Layers          int           `json:"layers"`
		HiddenSize      int           `json:"hidden_size"`
		Intermediate    int           `json:"intermediate_size"`
		Heads           int           `json:"heads"`
		KVHeads         int           `json:"kv_heads"`
		HeadDim         int           `json:"head_dim"`
		Vocab           int           `json:"vocab_size"`
		MaxPosition     int           `json:"max_position_embeddings"`
		Tied            bool          `json:"tie_word_embeddings"`
		DType           string        `json:"dtype"`
		Parameters      int64         `json:"parameters"`
		LayerParameters int64         `json:"parameters_per_layer"`
		Bytes           int64         `json:"bytes"`
		OriginalLayers  int           `json:"original_layers"`
		Tree            []method.Tree `json:"tree"`
	}{
		config.Architecture, config.Layers, config.HiddenSize, config.IntermediateSize, config.Heads, config.KVHeads, config.HeadDim, config.VocabSize,
		config.MaxPositionEmbeddings, config.TieWordEmbeddings, m.Layers[0].Weights[arch.Q].DType.String(), m.Parameters(), m.Layers[0].Parameters(), m.Bytes(), original, tree,
	}
	if c.json {
		return printJSON(out)
	}
	lineage, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "architecture\t%s\nlayers\t%d\nhidden size\t%d\nintermediate size\t%d\nheads\t%d query, %d key/value, of %d\n", out.Architecture, out.Layers, out.HiddenSize, out.Intermediate, out.Heads, out.KVHeads, out.HeadDim)
	fmt.Fprintf(w, "vocabulary\t%d\ncontext\t%d tokens\nweights\t%s, %s\nparameters\t%d, %d a layer\n", out.Vocab, out.MaxPosition, out.DType, vk.Bytes(out.Bytes), out.Parameters, out.LayerParameters)
	if original != out.Layers {
		fmt.Fprintf(w, "made of\t%s of %d layers\n", lineage, original)
	}
	return w.Flush()
}
