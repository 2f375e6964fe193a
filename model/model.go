package model

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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

// The parts of a layer, in the order of their use.
const (
	InputNorm Part = iota
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
	Gate
	GateBias
	Up
	UpBias
	Down
	DownBias
	NumParts
)

var partNames = [NumParts]string{
	"input_layernorm.weight", "self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight", "self_attn.q_proj.bias",
	"self_attn.k_proj.bias", "self_attn.v_proj.bias", "self_attn.q_norm.weight", "self_attn.k_norm.weight", "self_attn.o_proj.weight",
	"self_attn.o_proj.bias", "post_attention_layernorm.weight", "mlp.gate_proj.weight", "mlp.gate_proj.bias", "mlp.up_proj.weight",
	"mlp.up_proj.bias", "mlp.down_proj.weight", "mlp.down_proj.bias",
}

// joins says whether a part lies right behind the one before it on the device, so that one matrix product takes both.
func (p Part) joins() bool { return p == K || p == V || p == KBias || p == VBias }

// TensorName is the name that Hugging Face gives the part in a layer.
func (p Part) TensorName(layer int) string {
	return fmt.Sprintf("model.layers.%d.%s", layer, partNames[p])
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
	Config *Config
	Embed  Weight
	Norm   Weight
	Head   Weight // the embedding where the two are tied
	Layers []*Layer

	Name  string // the folder, for messages
	Files fs.FS  // the folder's files; tokenizer and the like

	weights *safetensors.Checkpoint
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
	top := map[string]*Weight{"model.embed_tokens.weight": &m.Embed, "model.norm.weight": &m.Norm, "lm_head.weight": &m.Head}
	for _, shape := range config.TopTensors() {
		w, err := weight(name, weights, shape)
		if err != nil {
			return nil, err
		}
		*top[shape.Name] = w
	}
	if config.TieWordEmbeddings {
		m.Head = m.Embed
	}
	for i := range config.Layers {
		l := &Layer{}
		byName := map[string]Part{}
		for p := range NumParts {
			byName[p.TensorName(i)] = p
		}
		for _, shape := range config.LayerTensors(i) {
			w, err := weight(name, weights, shape)
			if err != nil {
				return nil, err
			}
			l.Parts[byName[shape.Name]] = w
		}
		for p := range NumParts {
			if w, before := l.Parts[p], l.Parts[max(p, 1)-1]; p.joins() && (w.DType != before.DType || w.IsZero() != before.IsZero()) {
				return nil, fmt.Errorf("model: %s: tensor %s is %v, %s is %v: they must have one dtype", name, w.Name, w.DType, before.Name, before.DType)
			}
		}
		m.Layers = append(m.Layers, l)
	}
	return m, nil
}

func weight(name string, weights *safetensors.Checkpoint, want TensorShape) (Weight, error) {
	t, ok := weights.Lookup(want.Name)
	if !ok {
		return Weight{}, fmt.Errorf("model: %s: tensor %s is missing, config.json promises it with shape %v", name, want.Name, want.Shape)
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
	return Weight{Name: t.Name, DType: d, Rows: rows, Cols: cols, Data: t.Data, file: weights}, nil
}

// Close unmaps the weights. No Layer of the model may be used afterwards.
func (m *Model) Close() error {
	if m.weights == nil {
		return nil // a synthetic model
	}
	return m.weights.Close()
}

// Parameters is the number of weights, a tied LM head not counted twice.
func (m *Model) Parameters() int64 {
	n := int64(m.Embed.Rows)*int64(m.Embed.Cols) + int64(m.Norm.Cols)
	if !m.Config.TieWordEmbeddings {
		n += int64(m.Head.Rows) * int64(m.Head.Cols)
	}
	for _, l := range m.Layers {
		n += l.Parameters()
	}
	return n
}

// Bytes is the size of the weights.
func (m *Model) Bytes() int64 {
	n := m.Embed.Size() + m.Norm.Size()
	if !m.Config.TieWordEmbeddings {
		n += m.Head.Size()
	}
	for _, l := range m.Layers {
		n += l.Bytes()
	}
	return n
}

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
