package prune

import (
	"errors"
	"io/fs"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/chat"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/model/tokenizer"
	"github.com/vkcome/vkcome/prune/method"
)

// Inspection is what a model's files say: its shape and size, what they make it compute, and where its layers come from.
type Inspection struct {
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

	Generation InspectedGeneration `json:"generation"`
	Tokenizer  InspectedTokenizer  `json:"tokenizer"`
	Keys       map[string]arch.Use `json:"config_keys"`
}

// InspectedGeneration is what they say of generation. Error, if it is not empty, says why they cannot be used for it.
type InspectedGeneration struct {
	File  string `json:"file,omitempty"`
	BOS   []int  `json:"bos"`
	EOS   []int  `json:"eos"`
	Rules string `json:"rules,omitempty"`
	Error string `json:"error,omitempty"`
}

// InspectedTokenizer is the tokenizer. Error, if it is not empty, says why it cannot be used.
type InspectedTokenizer struct {
	Tokens       int    `json:"tokens"` // 0: there is none
	Added        int    `json:"added_tokens"`
	BOS          *int   `json:"bos"`
	EOS          *int   `json:"eos"`
	Prefix       []int  `json:"before_a_text"` // the tokens that stand there
	Suffix       []int  `json:"after_a_text"`
	ChatTemplate string `json:"chat_template,omitempty"`
	Error        string `json:"error,omitempty"`
}

// Inspect says what a model's files say.
func Inspect(m *model.Model) (*Inspection, error) {
	tree, original, err := ReadTree(m)
	if err != nil {
		return nil, err
	}
	config := m.Config
	out := &Inspection{
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
	return out, nil
}

func inspectGeneration(m *model.Model) InspectedGeneration {
	g, err := m.Generation()
	if err != nil {
		return InspectedGeneration{BOS: []int{}, EOS: []int{}, Error: err.Error()}
	}
	return InspectedGeneration{File: g.File, BOS: append([]int{}, g.BOS...), EOS: append([]int{}, g.EOS...), Rules: generate.Rules{Generation: *g}.String()}
}

func inspectTokenizer(m *model.Model, t tokenizer.Tokenizer, err error) InspectedTokenizer {
	out := InspectedTokenizer{Prefix: []int{}, Suffix: []int{}}
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
