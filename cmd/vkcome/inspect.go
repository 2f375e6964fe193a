package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/tokenizer"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/vk"
)

var inspectVerb = verb{
	name: "inspect", args: "MODEL", short: "show what a model's files say, its size and its lineage",
	example: "vkcome inspect ~/models/Llama-2-7b-hf",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		c := outputFlags(f)
		c.offlineFlag(f)
		return func(ctx context.Context, args []string) error {
			return c.withModel(ctx, args[0], func(m *model.Model) error { return inspect(c, m) })
		}
	},
}

// inspected is what inspect prints.
type inspected struct{ *prune.Inspection }

func inspect(c *common, m *model.Model) error {
	out, err := prune.Inspect(m)
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(out)
	}
	t, _ := m.Tokenizer() // where that fails, out says why
	return inspected{out}.print(m.Config, t)
}

func (out inspected) print(config *arch.Config, t tokenizer.Tokenizer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "architecture\t%s\nlayers\t%d\nhidden size\t%d\nintermediate size\t%d\nheads\t%d query, %d key/value, of %d\n", out.Architecture, out.Layers, out.HiddenSize, out.Intermediate, out.Heads, out.KVHeads, out.HeadDim)
	fmt.Fprintf(w, "vocabulary\t%d\ncontext\t%d tokens\nweights\t%s, %s\nparameters\t%d, %d a layer\n", out.Vocab, out.MaxPosition, out.dtypes(), vk.Bytes(out.Bytes), out.Parameters, out.LayerParameters)
	if len(out.Stored) > 0 {
		var list []string
		for _, kind := range slices.Sorted(maps.Keys(out.Stored)) {
			list = append(list, fmt.Sprintf("%d %s", out.Stored[kind], kind))
		}
		fmt.Fprintf(w, "GGUF\t%s; quantized ones are F16 when they are read\n", strings.Join(list, ", "))
	}
	if len(out.Converted) > 0 {
		fmt.Fprintf(w, "converted\t%d tensors, to be of one dtype with others: %s\n", len(out.Converted), strings.Join(out.Converted[:min(3, len(out.Converted))], "; "))
	}
	if n := len(out.Unused); n > 0 {
		more := ""
		if n > 3 {
			more = fmt.Sprintf(" and %d others", n-3)
		}
		fmt.Fprintf(w, "unused\t%s%s\n", strings.Join(out.Unused[:min(3, n)], ", "), more)
	}
	for _, f := range config.Facts() {
		fmt.Fprintf(w, "%s\t%s\n", f.Name, f.Text)
	}
	spell := func(ids []int) string {
		list := []string{}
		for _, id := range ids {
			text := fmt.Sprint(id)
			if t != nil {
				if token, ok := t.Token(id); ok {
					text += fmt.Sprintf(" %q", token)
				}
			}
			list = append(list, text)
		}
		if len(list) == 0 {
			return "none"
		}
		return strings.Join(list, ", ")
	}
	g, k := out.Generation, out.Tokenizer
	switch {
	case g.Error != "":
		fmt.Fprintf(w, "generation\t%s\n", g.Error)
	default:
		fmt.Fprintf(w, "end of text\t%s, says %s\n", spell(g.EOS), g.File)
		if g.Rules != "" {
			fmt.Fprintf(w, "generation\t%s\n", g.Rules)
		}
	}
	one := func(id *int) string {
		if id == nil {
			return "none"
		}
		return spell([]int{*id})
	}
	switch {
	case k.Error != "":
		fmt.Fprintf(w, "tokenizer\t%s\n", k.Error)
	case t == nil:
		fmt.Fprintf(w, "tokenizer\tnone\n")
	default:
		fmt.Fprintf(w, "tokenizer\t%d tokens, %d of them added, BOS %s, EOS %s, before a text %s, after it %s\n", k.Tokens, k.Added, one(k.BOS), one(k.EOS), spell(k.Prefix), spell(k.Suffix))
	}
	template := k.ChatTemplate
	if template == "" {
		template = "none"
	}
	fmt.Fprintf(w, "chat template\t%s\n", template)
	var ignored []string
	for _, key := range slices.Sorted(maps.Keys(out.Keys)) {
		if out.Keys[key] == arch.Ignored {
			ignored = append(ignored, key)
		}
	}
	if len(ignored) > 0 {
		fmt.Fprintf(w, "ignored keys\t%s: they change other families\n", strings.Join(ignored, ", "))
	}
	if out.OriginalLayers != out.Layers {
		lineage, err := json.Marshal(out.Tree)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "made of\t%s of %d layers\n", lineage, out.OriginalLayers)
	}
	return w.Flush()
}

// dtypes says the dtype, and which tensors have another one.
func (out inspected) dtypes() string {
	list := []string{out.DType}
	for _, d := range slices.Sorted(maps.Keys(out.DTypes)) {
		if d != out.DType {
			list = append(list, fmt.Sprintf("%s (%s)", d, strings.Join(out.DTypes[d], ", ")))
		}
	}
	return strings.Join(list, " and ")
}
