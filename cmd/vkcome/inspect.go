package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/chat"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/model/tokenizer"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
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
type inspected struct {
	Architecture    string        `json:"architecture"`
	Layers          int           `json:"layers"`
	HiddenSize      int           `json:"hidden_size"`
	Intermediate    int           `json:"intermediate_size"`
	Experts         int           `json:"experts,omitempty"` // of a layer's mixture
	PerToken        int           `json:"experts_per_token,omitempty"`
	ExpertNeurons   int           `json:"expert_intermediate_size,omitempty"`
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

	Facts     map[string]string   `json:"computes"` // norms, MLP, biases, positions, windows: in words
	DTypes    map[string][]string `json:"dtypes"`   // roles by dtype
	Converted []string            `json:"converted,omitempty"`
	Unused    []string            `json:"unused_tensors,omitempty"`
	Stored    map[string]int      `json:"gguf_types,omitempty"` // how many tensors of a GGUF file are of which type

	Generation inspectedGeneration `json:"generation"`
	Tokenizer  inspectedTokenizer  `json:"tokenizer"`
	Keys       map[string]arch.Use `json:"config_keys"`
}

type inspectedGeneration struct {
	File  string `json:"file,omitempty"`
	BOS   []int  `json:"bos"`
	EOS   []int  `json:"eos"`
	Rules string `json:"rules,omitempty"`
	Error string `json:"error,omitempty"`
}

type inspectedTokenizer struct {
	Tokens       int    `json:"tokens"` // 0: there is none
	Added        int    `json:"added_tokens"`
	BOS          *int   `json:"bos"`
	EOS          *int   `json:"eos"`
	Prefix       []int  `json:"before_a_text"` // the tokens that stand there
	Suffix       []int  `json:"after_a_text"`
	ChatTemplate string `json:"chat_template,omitempty"`
	Error        string `json:"error,omitempty"`
}

func inspect(c *common, m *model.Model) error {
	tree, original, err := prune.ReadTree(m)
	if err != nil {
		return err
	}
	config := m.Config
	out := inspected{
		Architecture: config.Architecture, Layers: config.Layers, HiddenSize: config.HiddenSize, Intermediate: config.IntermediateSize, Experts: config.Experts, PerToken: config.PerToken, ExpertNeurons: config.Neurons, Heads: config.Heads,
		KVHeads: config.KVHeads, HeadDim: config.HeadDim, Vocab: config.VocabSize, MaxPosition: config.MaxPositionEmbeddings, Tied: config.TieWordEmbeddings,
		DType: m.Layers[0].Weights[arch.Q].DType.String(), Parameters: m.Parameters(), LayerParameters: m.Layers[0].Parameters(), Bytes: m.Bytes(),
		OriginalLayers: original, Tree: tree, Facts: map[string]string{}, DTypes: map[string][]string{}, Converted: m.Converted, Unused: m.Unused(), Keys: map[string]arch.Use{},
		Generation: inspectGeneration(m),
	}
	t, err := m.Tokenizer()
	out.Tokenizer = inspectTokenizer(m, t, err)
	for _, f := range config.Facts() {
		out.Facts[f.Name] = f.Text
	}
	for d, roles := range m.DTypes() {
		out.DTypes[d.String()] = roles
	}
	for _, k := range config.Keys() {
		out.Keys[k.Name] = k.Use
	}
	if f := m.GGUF(); f != nil {
		out.Stored = f.Types()
	}
	if c.json {
		return printJSON(out)
	}
	return out.print(config, t)
}

func inspectGeneration(m *model.Model) inspectedGeneration {
	g, err := m.Generation()
	if err != nil {
		return inspectedGeneration{BOS: []int{}, EOS: []int{}, Error: err.Error()}
	}
	return inspectedGeneration{File: g.File, BOS: append([]int{}, g.BOS...), EOS: append([]int{}, g.EOS...), Rules: generate.Rules{Generation: *g}.String()}
}

func inspectTokenizer(m *model.Model, t tokenizer.Tokenizer, err error) inspectedTokenizer {
	out := inspectedTokenizer{Prefix: []int{}, Suffix: []int{}}
	templates, chatErr := chat.Load(m.Files)
	switch {
	case chatErr == nil:
		out.ChatTemplate = templates.File
	case !errors.Is(chatErr, chat.ErrNone):
		out.ChatTemplate = chatErr.Error()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return out
	}
	if err != nil {
		out.Error = err.Error()
		return out
	}
	id := func(id int, ok bool) *int {
		if !ok {
			return nil
		}
		return &id
	}
	out.Tokens, out.Added, out.BOS, out.EOS = t.VocabSize(), len(t.Added()), id(t.BOS()), id(t.EOS())
	out.Prefix, out.Suffix = append(out.Prefix, t.Prefix()...), append(out.Suffix, t.Suffix()...)
	return out
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
