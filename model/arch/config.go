// Package arch says what kinds of models there are: the config keys, tensor names and layer recipe of each family, and the one table of
// what is known of a tensor by its role. It computes nothing and knows no device.
//
// To add an architecture is to add a file that registers a Family: see llama.go for the ordinary case.
package arch

import (
	"bytes"
	"fmt"
	"path/filepath"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/files"
)

// ConfigFile is the name of a model's configuration in its folder.
const ConfigFile = "config.json"

// MaxConfig is the most bytes that config.json and generation_config.json may have; real ones have a few thousand.
const MaxConfig = 4 << 20

// Config is what config.json says of a model, under the names that Hugging Face uses. All sizes are positive and small
// enough that the product of any two fits an int.
type Config struct {
	Architecture string // the family's, as LlamaForCausalLM
	ModelType    string // the family's, as llama

	HiddenSize            int
	IntermediateSize      int // ffn_dim of an OPT
	Layers                int // num_hidden_layers
	Heads                 int // num_attention_heads, a multiple of KVHeads
	KVHeads               int // num_key_value_heads
	HeadDim               int // even
	VocabSize             int
	MaxPositionEmbeddings int
	RMSNormEps            float64 // of LayerNorm too

	RopeTheta   float64 // 0 where positions are learned
	RopeScaling RopeScaling

	LayerNorm        bool // norms take the mean away and have biases; else they are RMSNorm
	LearnedPositions bool // rows of a table are added to the embeddings; else q and k are turned
	ReLU             bool // the MLP is down · relu(up · x); else down · (silu(gate · x) · (up · x))

	TieWordEmbeddings bool // the LM head is the embedding
	AttentionBias     bool // q, k and v have biases
	OutputBias        bool // o has one
	MLPBias           bool // gate, up and down have; fc1 and fc2 of an OPT
	QKNorm            bool // q and k are normed before RoPE: see RowNorm

	SlidingWindow   int      // positions that a query sees, itself included; 0 means all
	MaxWindowLayers int      // without LayerTypes, the first layer that has the window
	LayerTypes      []string // per layer full_attention or sliding_attention; nil if the file has none

	NoRope []bool // per layer, whether its q and k are not turned; nil: those of every layer are, unless positions are learned

	Mixture // of experts
	Recipe  // what is otherwise than in a Llama

	BOS, EOS []int       // token ids; empty when the file gives none
	DType    dtype.DType // of the weights, as dtype or torch_dtype says; F32 when neither does

	family *Family
	name   string
	raw    []byte
	keys   []Key
}

// WithDType is the config of a model whose weights have another dtype than the file says.
func (c *Config) WithDType(d dtype.DType) *Config {
	out := *c
	out.DType = d
	return &out
}

// LoadConfig reads config.json in a Hugging Face folder.
func LoadConfig(dir string) (*Config, error) {
	path := filepath.Join(dir, ConfigFile)
	raw, err := files.Read(path, MaxConfig)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	return ParseConfig(path, raw)
}

// ParseConfig reads and checks a config.json; name stands for it in messages, each of which names the key, what it
// holds and what was expected. Whatever would change the arithmetic and is not supported is an error, not a guess.
func ParseConfig(name string, raw []byte) (*Config, error) {
	c, err := parseConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("model: %s: %w", name, err)
	}
	c.name = name
	return c, nil
}

func parseConfig(raw []byte) (*Config, error) {
	f := Fields{}
	if err := f.parse(raw); err != nil {
		return nil, err
	}
	family, err := findFamily(&f)
	if err != nil {
		return nil, err
	}
	if f.has("quantization_config") {
		var q struct {
			Method string `json:"quant_method"`
		}
		f.get("quantization_config", &q)
		return nil, Unsupported("quantization_config %q: quantized weights are not supported", q.Method)
	}
	c := &Config{Architecture: family.Architecture, ModelType: family.ModelType, family: family, raw: bytes.Clone(raw)}
	c.HiddenSize = f.size("hidden_size", 1<<20, required)
	c.Layers = f.size("num_hidden_layers", 1<<14, required)
	c.Heads = f.size("num_attention_heads", 1<<14, required)
	c.VocabSize = f.size("vocab_size", 1<<24, required)
	c.MaxPositionEmbeddings = f.size("max_position_embeddings", 1<<30, family.MaxPosition)
	c.BOS, c.EOS = f.ids("bos_token_id"), f.ids("eos_token_id")
	f.dtype(c)
	if f.err != nil {
		return nil, f.err
	}
	family.Read(&f, c)
	if c.keys = append(f.settle("", otherKeys), c.keys...); f.err != nil {
		return nil, f.err
	}
	switch {
	case c.Heads%c.KVHeads != 0:
		return nil, fmt.Errorf("num_attention_heads %d is no multiple of num_key_value_heads %d", c.Heads, c.KVHeads)
	case c.HeadDim%2 != 0:
		return nil, fmt.Errorf("head_dim %d is odd, supported are even ones", c.HeadDim)
	case c.RMSNormEps < 0 || c.RMSNormEps > 1:
		return nil, fmt.Errorf("rms_norm_eps %v, expected 0 to 1", c.RMSNormEps)
	}
	return c, nil
}
