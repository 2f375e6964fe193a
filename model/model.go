package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/safetensors"
	"github.com/vkcome/vkcome/model/tokenizer"
	"github.com/vkcome/vkcome/vk"
)

// Weight is one tensor of a model in host memory, row-major; a vector has one row. The zero Weight is an absent one.
type Weight struct {
	Name       string // as in the file
	DType      dtype.DType
	Rows, Cols int
	Data       []byte // little-endian; a view into the mapped file or memory of its own; never written

	file *safetensors.Checkpoint // that Data may be a view into

	// Where Data is nil, the values are those of op.Random, made on the device: see Synthetic.
	Seed  uint32
	Scale float32
}

// Size is the number of bytes of the values.
func (w Weight) Size() int64 { return int64(w.Rows) * int64(w.Cols) * int64(w.DType.Size()) }

// rows is rows [begin, end) of the weight, with the values that they have in it.
func (w Weight) rows(begin, end int) Weight {
	part, rowBytes := w, w.Cols*w.DType.Size()
	part.Rows = end - begin
	if w.Data != nil {
		part.Data = w.Data[begin*rowBytes : end*rowBytes]
	}
	part.Seed += uint32(begin) * uint32(w.Cols)
	return part
}

// piece is how much of a mapped weight is read before its pages are released.
const piece = 8 << 20

// pieces calls f with the values piece by piece, and where each lies. What it has read leaves the process' resident memory.
func (w Weight) pieces(f func(at int64, data []byte) error) error {
	for at := 0; at < len(w.Data); at += piece {
		data := w.Data[at:min(at+piece, len(w.Data))]
		if err := f(int64(at), data); err != nil {
			return err
		}
		w.release(data)
	}
	return nil
}

// release tells that the values, or a part of them, are not needed for now.
func (w Weight) release(data []byte) {
	if w.file != nil {
		w.file.Release(data)
	}
}

// Put puts the values into a view on the device, which has their size, and returns when they are there.
func (w Weight) Put(ctx context.Context, d *vk.Device, v vk.View) (err error) {
	if w.Data != nil {
		if int64(len(w.Data)) != v.Size() {
			return d.Upload(ctx, v, w.Data) // it says what is wrong
		}
		return w.pieces(func(at int64, data []byte) error { return d.Upload(ctx, v.Slice(at, int64(len(data))), data) })
	}
	r, err := d.NewRecorder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	op.Random(r, op.Of(v, w.DType, w.Rows, w.Cols), w.Seed, w.Scale)
	return r.Wait(ctx)
}

// IsZero says whether the model lacks the tensor.
func (w Weight) IsZero() bool { return w.Rows == 0 }

// Part names a tensor of a decoder layer.
type Part int

// The parts of a layer, in the order of their use. An OPT has its fc1 as Up and its fc2 as Down.
const (
	InputNorm Part = iota
	InputNormBias
	Q
	K
	V
	QBias
	KBias
	VBias
	QNorm
	KNorm
	O
	OBias
	PostNorm
	PostNormBias
	Gate
	GateBias
	Up
	UpBias
	Down
	DownBias
	NumParts
)

// llamaNames and optNames are the parts' names in a layer; those are empty that no model has.
var (
	llamaNames = [NumParts]string{
		InputNorm: "input_layernorm.weight", Q: "self_attn.q_proj.weight", K: "self_attn.k_proj.weight", V: "self_attn.v_proj.weight",
		QBias: "self_attn.q_proj.bias", KBias: "self_attn.k_proj.bias", VBias: "self_attn.v_proj.bias", QNorm: "self_attn.q_norm.weight",
		KNorm: "self_attn.k_norm.weight", O: "self_attn.o_proj.weight", OBias: "self_attn.o_proj.bias", PostNorm: "post_attention_layernorm.weight",
		Gate: "mlp.gate_proj.weight", GateBias: "mlp.gate_proj.bias", Up: "mlp.up_proj.weight", UpBias: "mlp.up_proj.bias",
		Down: "mlp.down_proj.weight", DownBias: "mlp.down_proj.bias",
	}
	optNames = [NumParts]string{
		InputNorm: "self_attn_layer_norm.weight", InputNormBias: "self_attn_layer_norm.bias", Q: "self_attn.q_proj.weight", K: "self_attn.k_proj.weight",
		V: "self_attn.v_proj.weight", QBias: "self_attn.q_proj.bias", KBias: "self_attn.k_proj.bias", VBias: "self_attn.v_proj.bias",
		O: "self_attn.out_proj.weight", OBias: "self_attn.out_proj.bias", PostNorm: "final_layer_norm.weight", PostNormBias: "final_layer_norm.bias",
		Up: "fc1.weight", UpBias: "fc1.bias", Down: "fc2.weight", DownBias: "fc2.bias",
	}
)

// joins says whether a part lies right behind the one before it on the device, so that one matrix product takes both.
func (p Part) joins() bool { return p == K || p == V || p == KBias || p == VBias }

// Bias says whether a part is added, not multiplied.
func (p Part) Bias() bool { return strings.HasSuffix(llamaNames[p]+optNames[p], ".bias") }

// TensorName is the name that Hugging Face gives a part of a layer.
func (c *Config) TensorName(layer int, p Part) string {
	if c.isOPT() {
		return fmt.Sprintf("model.decoder.layers.%d.%s", layer, optNames[p])
	}
	return fmt.Sprintf("model.layers.%d.%s", layer, llamaNames[p])
}

// operation names what computes with a part: its module in a layer.
func (c *Config) operation(p Part) string {
	names := llamaNames
	if c.isOPT() {
		names = optNames
	}
	return strings.TrimSuffix(names[p], ".weight")
}

// Layer is a decoder layer's weights. A Layer is never changed once made, so its pointer stands for its contents.
type Layer struct {
	Parts  [NumParts]Weight
	finite atomic.Bool // seen on a device and found free of NaN
}

// Bytes is the size of the layer's weights.
func (l *Layer) Bytes() int64 {
	var n int64
	for _, w := range l.Parts {
		n += w.Size()
	}
	return n
}

// Parameters is the number of the layer's weights.
func (l *Layer) Parameters() int64 {
	var n int64
	for _, w := range l.Parts {
		n += int64(w.Rows) * int64(w.Cols)
	}
	return n
}

// Model is an opened model: its config, and its weights where the file maps them.
type Model struct {
	Config    *Config
	Embed     Weight
	Positions Weight // learned ones, behind the rows of OPT's offset; absent elsewhere
	Norm      Weight
	NormBias  Weight // of LayerNorm
	Head      Weight // the embedding where the two are tied
	Layers    []*Layer

	Name  string // the folder, for messages
	Files fs.FS  // the folder's files; tokenizer and the like

	weights *safetensors.Checkpoint
	bare    bool // tensors are named without "model." in front, as in checkpoints of a bare decoder
}

// The weights outside the layers by their places in Model.top.
const (
	topEmbed = iota
	topPositions
	topNorm
	topNormBias
	topHead
	numTop
)

// top is the weights outside the layers, in the order of Config.topNames.
func (m *Model) top() [numTop]*Weight {
	return [numTop]*Weight{&m.Embed, &m.Positions, &m.Norm, &m.NormBias, &m.Head}
}

// stored is a tensor's name in the model's files.
func (m *Model) stored(name string) string {
	if m.bare {
		return strings.TrimPrefix(name, "model.")
	}
	return name
}

// Open opens a Hugging Face folder and checks that it holds every tensor its config promises, in the promised shape. The weights
// stay in the file, memory-mapped, until Close.
func Open(dir string) (*Model, error) {
	config, err := LoadConfig(dir)
	if err != nil {
		return nil, err
	}
	weights, err := safetensors.Open(dir)
	if err != nil {
		return nil, err
	}
	m, err := New(dir, config, weights, os.DirFS(dir))
	if err != nil {
		return nil, errors.Join(err, weights.Close())
	}
	return m, nil
}

// New makes a model of a config and the tensors of a checkpoint, which it owns from then on if it succeeds.
func New(name string, config *Config, weights *safetensors.Checkpoint, files fs.FS) (*Model, error) {
	m := &Model{Config: config, Name: name, Files: files, weights: weights}
	_, whole := weights.Lookup(config.topNames()[0])
	_, m.bare = weights.Lookup(strings.TrimPrefix(config.topNames()[0], "model."))
	m.bare = m.bare && !whole
	top := map[string]*Weight{}
	for i, name := range config.topNames() {
		top[name] = m.top()[i]
	}
	for _, shape := range config.TopTensors() {
		w, err := m.weight(shape)
		if err != nil {
			return nil, err
		}
		*top[shape.Name] = w
	}
	if config.TieWordEmbeddings {
		m.Head = m.Embed
		if err := m.checkTied(); err != nil {
			return nil, err
		}
	}
	for i := range config.Layers {
		l := &Layer{}
		for p := range NumParts {
			shape := config.partShape(p)
			if shape == nil {
				continue
			}
			w, err := m.weight(TensorShape{config.TensorName(i, p), shape})
			if err != nil {
				return nil, err
			}
			l.Parts[p] = w
		}
		for _, pair := range sameDType {
			if w, other := l.Parts[pair[0]], l.Parts[pair[1]]; !w.IsZero() && !other.IsZero() && w.DType != other.DType {
				return nil, fmt.Errorf("model: %s: tensor %s is %v, %s is %v: they must have one dtype", name, w.Name, w.DType, other.Name, other.DType)
			}
		}
		m.Layers = append(m.Layers, l)
	}
	if m.Norm.DType != m.NormBias.DType && !m.NormBias.IsZero() {
		return nil, fmt.Errorf("model: %s: tensor %s is %v, %s is %v: they must have one dtype", name, m.Norm.Name, m.Norm.DType, m.NormBias.Name, m.NormBias.DType)
	}
	return m, nil
}

// sameDType are the parts that one operation reads as one dtype. All others may differ: norms in F32 beside matrices in BF16, or
// matrices of several kinds.
var sameDType = [][2]Part{
	{Q, K}, {Q, V}, {Q, QBias}, {Q, KBias}, {Q, VBias}, {QNorm, KNorm}, {O, OBias}, {Gate, Up}, {Gate, GateBias}, {Up, UpBias}, {Down, DownBias},
	{InputNorm, InputNormBias}, {PostNorm, PostNormBias},
}

// checkTied refuses a checkpoint that stores an LM head other than the embedding that it is tied to: which of the two is meant, no
// one can tell.
func (m *Model) checkTied() error {
	head, ok := m.weights.Lookup("lm_head.weight")
	if !ok {
		return nil
	}
	d, err := head.Float()
	if err != nil {
		return err
	}
	same := d == m.Embed.DType && bytes.Equal(head.Data, m.Embed.Data)
	m.weights.Release(head.Data)
	m.Embed.release(m.Embed.Data)
	if !same {
		return fmt.Errorf("model: %s: tensor %s is another than %s, to which config.json ties it: set tie_word_embeddings to false there, or remove one of the tensors", m.Name, head.Name, m.Embed.Name)
	}
	return nil
}

// weight finds a tensor that the config promises.
func (m *Model) weight(want TensorShape) (Weight, error) {
	t, ok := m.weights.Lookup(m.stored(want.Name))
	if !ok {
		return Weight{}, fmt.Errorf("model: %s: tensor %s is missing, config.json promises it with shape %v", m.Name, want.Name, want.Shape)
	}
	if fmt.Sprint(t.Shape) != fmt.Sprint(want.Shape) {
		return Weight{}, fmt.Errorf("model: %s: tensor %s: shape %v, config says %v", t.File, t.Name, t.Shape, want.Shape)
	}
	d, err := t.Float()
	if err != nil {
		return Weight{}, err
	}
	rows, cols := 1, t.Shape[0]
	if len(t.Shape) == 2 {
		rows, cols = t.Shape[0], t.Shape[1]
	}
	return Weight{Name: t.Name, DType: d, Rows: rows, Cols: cols, Data: t.Data, file: m.weights}, nil
}

// Close unmaps the weights. No Layer of the model may be used afterwards.
func (m *Model) Close() error {
	if m.weights == nil {
		return nil // a synthetic model
	}
	return m.weights.Close()
}

// sum adds up a figure of all weights, a tied LM head not counted twice.
func (m *Model) sum(top func(Weight) int64, layer func(*Layer) int64) (n int64) {
	for i, name := range m.Config.topNames() {
		if name != "" {
			n += top(*m.top()[i])
		}
	}
	for _, l := range m.Layers {
		n += layer(l)
	}
	return n
}

// Parameters is the number of weights.
func (m *Model) Parameters() int64 {
	return m.sum(func(w Weight) int64 { return int64(w.Rows) * int64(w.Cols) }, (*Layer).Parameters)
}

// Bytes is the size of the weights.
func (m *Model) Bytes() int64 { return m.sum(Weight.Size, (*Layer).Bytes) }

// With is the same model with other layers: what a merge makes. keep names for each the layer of m whose place in the config it
// takes. The new model shares everything else and must not be closed.
func (m *Model) With(layers []*Layer, keep []int) (*Model, error) {
	raw, err := m.Config.WithLayers(keep)
	if err != nil {
		return nil, err
	}
	out := *m
	if out.Config, err = ParseConfig(m.Config.name, raw); err != nil {
		return nil, err
	}
	out.Layers = layers
	return &out, nil
}

// Tokenizer reads the tokenizer in the model's folder.
func (m *Model) Tokenizer() (tokenizer.Tokenizer, error) { return tokenizer.LoadFS(m.Name, m.Files) }
