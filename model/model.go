// Package model says what a model is, apart from how it runs: its config, its weights where a checkpoint holds them, its layers, and how
// it is written. It knows no device.
package model

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/gguf"
	"github.com/vkcome/vkcome/model/tokenizer"
)

// Model is an opened model: its config, and its weights where the files hold them.
type Model struct {
	Config *arch.Config
	// Top is the weights outside the layers by role: arch.Embed, Positions, FinalNorm, FinalNormBias, Head. Absent ones are zero; the
	// head is the embedding where the two are tied.
	Top    [arch.NumRoles]Weight
	Layers []*Layer

	Name  string // the folder, for messages
	Path  string // the folder, or the GGUF file, that was opened; "" of a model that is in none
	Files fs.FS  // the folder's files; tokenizer and the like

	// Converted says of each tensor that is converted when it is read, since an operation, or a merge of layers, reads it with another of
	// a wider dtype, from which dtype to which. They are written as they were converted.
	Converted []string

	weights Tensors
	finite  *atomic.Bool // all values were found finite, see CheckFinite; nil: of a model that shares layers with others
	bare    bool         // tensors are named without "model." in front, as in checkpoints of a bare decoder
}

// stored is a tensor's name in the model's files.
func (m *Model) stored(name string) string {
	if m.bare {
		return arch.Bare(name)
	}
	return name
}

// Open opens a Hugging Face folder and checks that it holds every tensor its config promises, in the promised shape; or a GGUF file, by its
// own path or by that of a folder that holds one and no config.json. The weights stay in the file, which is read when they are asked for, until Close.
// A file of weights that ends before all of them is an error that matches io.ErrUnexpectedEOF; a folder without config.json or weights one that
// matches fs.ErrNotExist.
func Open(path string) (*Model, error) {
	file := path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if file, err = ggufIn(path); err != nil {
			return nil, err
		}
	}
	if strings.HasSuffix(file, ggufEnd) {
		return OpenGGUF(file)
	}
	return openFolder(path)
}

func openFolder(dir string) (*Model, error) {
	if _, err := os.Stat(filepath.Join(dir, adapterConfig)); err == nil {
		return nil, fmt.Errorf("model: %s: the folder holds an adapter, which other programs would add to the weights: merge it into its model first, or remove it", filepath.Join(dir, adapterConfig))
	}
	folder := files.NewFolder(dir)
	raw, err := folder.Read(arch.ConfigFile, arch.MaxConfig)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	config, err := arch.ParseConfig(filepath.Join(dir, arch.ConfigFile), raw)
	if err != nil {
		return nil, err
	}
	weights, err := openTensors(dir)
	if err != nil {
		return nil, err
	}
	m, err := New(dir, config, weights, folder)
	if err != nil {
		return nil, errors.Join(err, weights.Close())
	}
	m.Path = dir
	return m, nil
}

// New makes a model of a config and the tensors of a checkpoint, which it owns from then on if it succeeds.
func New(name string, config *arch.Config, weights Tensors, folder fs.FS) (*Model, error) {
	m := &Model{Config: config, Name: name, Files: folder, weights: weights, finite: new(atomic.Bool)}
	top := config.TopTensors()
	_, whole, _ := weights.Tensor(top[0].Name)
	_, bare, _ := weights.Tensor(arch.Bare(top[0].Name))
	m.bare = bare && !whole
	if err := m.load(top, m.Top[:]); err != nil {
		return nil, err
	}
	m.agree(m.Top[:])
	if config.TieWordEmbeddings {
		m.Top[arch.Head] = m.Top[arch.Embed]
		if err := m.checkTied(); err != nil {
			return nil, err
		}
	}
	for l := range config.Layers {
		layer := &Layer{}
		if err := m.load(config.LayerTensors(l), layer.Weights[:]); err != nil {
			return nil, err
		}
		m.Layers = append(m.Layers, layer)
	}
	var all [][]Weight
	for _, l := range m.Layers {
		all = append(all, l.Weights[:])
	}
	m.agree(all...)
	d := m.Layers[0].Weights[arch.Q].DType
	for _, w := range m.AllWeights() {
		if !w.IsZero() && w.DType == dtype.F16 {
			d = dtype.F16 // it is what takes room of its own on some devices
		}
	}
	m.Config = config.WithDType(d)
	return m, nil
}

// load finds the tensors that the config promises and cuts them into weights by role.
func (m *Model) load(tensors []arch.Tensor, weights []Weight) error {
	parts := map[arch.Role][]Weight{}
	for _, want := range tensors {
		t, err := expect(m.weights, m.Name, m.stored(want.Name), want.Name, want.Shape)
		if err != nil {
			return err
		}
		row := 0
		for _, r := range want.Roles {
			rows, _ := m.Config.Shape(r)
			rows /= want.Parts
			parts[r] = append(parts[r], t.rows(row, row+rows))
			row += rows
		}
	}
	for r := range arch.NumRoles {
		if list := parts[r]; list != nil {
			w, err := Stack(m.alike(list)...)
			if err != nil {
				return fmt.Errorf("model: %s: %w", m.Name, err)
			}
			weights[r] = w
		}
	}
	return nil
}

// agree converts the weights that one operation reads, or that layers put together have side by side, to one dtype that holds the values of
// all, where theirs differ.
func (m *Model) agree(layers ...[]Weight) {
	var common [arch.NumRoles]dtype.DType
	group := func(r arch.Role) arch.Role {
		for r.Info().DTypeOf != r {
			r = r.Info().DTypeOf
		}
		return r
	}
	seen := map[arch.Role]bool{}
	for _, weights := range layers {
		for i, w := range weights {
			if g := group(arch.Role(i)); !w.IsZero() {
				if common[g] != w.DType && seen[g] {
					w.DType = dtype.F32
				}
				common[g], seen[g] = w.DType, true
			}
		}
	}
	for _, weights := range layers {
		for i, w := range weights {
			if d := common[group(arch.Role(i))]; !w.IsZero() && w.DType != d {
				weights[i] = m.convert(w, d)
			}
		}
	}
}

// convert is a weight in another dtype.
func (m *Model) convert(w Weight, d dtype.DType) Weight {
	m.Converted = append(m.Converted, fmt.Sprintf("%s from %v to %v", w.Name, w.DType, d))
	return w.as(d)
}

// alike converts the tensors of one role, where their dtypes differ, to one that holds the values of all.
func (m *Model) alike(list []Weight) []Weight {
	if !slices.ContainsFunc(list, func(w Weight) bool { return w.DType != list[0].DType }) {
		return list
	}
	out := slices.Clone(list)
	for i, w := range out {
		if w.DType != dtype.F32 {
			out[i] = m.convert(w, dtype.F32)
		}
	}
	return out
}

// Generation is what the model's files say of the choice of tokens: those of generation_config.json, or else of config.json.
func (m *Model) Generation() (*arch.Generation, error) {
	raw, err := files.ReadFS(m.Files, arch.GenerationFile, arch.MaxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return arch.ParseGeneration(path.Join(m.Name, arch.ConfigFile), m.Config.JSON(), true)
	}
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	return arch.ParseGeneration(path.Join(m.Name, arch.GenerationFile), raw, false)
}

// checkTied refuses a checkpoint that stores an LM head other than the embedding that it is tied to: which of the two is meant, no
// one can tell.
func (m *Model) checkTied() error {
	head, ok, err := m.weights.Tensor(arch.Head.Info().Name)
	if !ok || err != nil {
		return err
	}
	embed := m.Top[arch.Embed]
	other, same := head, head.DType == embed.DType && slices.Equal(head.Shape, []int{embed.Rows, embed.Cols})
	if same {
		room := make([]byte, min(Piece, embed.Size()))
		size := int64(head.DType.Size())
		err = embed.Pieces(func(at int64, data []byte) error {
			if len(data) > len(room) {
				room = make([]byte, len(data))
			}
			err := other.Source.Read(room[:len(data)], int(at/size), int((at+int64(len(data)))/size))
			same = same && bytes.Equal(room[:len(data)], data)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if !same {
		return fmt.Errorf("model: %s: tensor %s is another than %s, to which config.json ties it: set tie_word_embeddings to false there, or remove one of the tensors", m.Name, head.Name, embed.Name)
	}
	return nil
}

// Unchanged is an error that names a file of the model that was read, and is another now or was written to since: what was made of the model
// is then of two. Who writes something that was made of a model asks for it last.
func (m *Model) Unchanged() error {
	if m.weights != nil {
		if err := m.weights.Unchanged(); err != nil {
			return fmt.Errorf("model: %w", err)
		}
	}
	if folder, ok := m.Files.(*files.Folder); ok {
		if err := folder.Unchanged(); err != nil {
			return fmt.Errorf("model: %w", err)
		}
	}
	return nil
}

// Close closes the files of the weights. No Layer of the model may be used afterwards.
func (m *Model) Close() error {
	if m.weights == nil {
		return nil // a synthetic model
	}
	return m.weights.Close()
}

// sum adds up a figure of all weights, a tied LM head not counted twice.
func (m *Model) sum(top func(Weight) int64, layer func(*Layer) int64) (n int64) {
	for _, w := range m.OwnTop() {
		n += top(w)
	}
	for _, l := range m.Layers {
		n += layer(l)
	}
	return n
}

// OwnTop is the weights outside the layers in the order of their roles, from arch.Embed on; those that the model lacks are zero, and so is
// a tied LM head.
func (m *Model) OwnTop() []Weight {
	list := make([]Weight, arch.NumRoles-arch.LayerRoles)
	for i := range list {
		if r := arch.LayerRoles + arch.Role(i); m.Config.Has(r) {
			list[i] = m.Top[r]
		}
	}
	return list
}

// Parameters is the number of weights.
func (m *Model) Parameters() int64 { return m.sum(Weight.Elements, (*Layer).Parameters) }

// Bytes is the size of the weights.
func (m *Model) Bytes() int64 { return m.sum(Weight.Size, (*Layer).Bytes) }

// With is the same model with other layers: what a merge makes. keep names for each the layer of m whose place in the config it
// takes. The new model shares everything else and must not be closed.
func (m *Model) With(layers []*Layer, keep []int) (*Model, error) {
	config, err := m.Config.Choose(keep)
	if err != nil {
		return nil, err
	}
	out := *m
	out.finite = nil
	out.Config, out.Layers = config, layers
	return &out, nil
}

// Replace is the same model with another layer in the place of layer l. It shares everything else and must not be closed.
func (m *Model) Replace(l int, layer *Layer) *Model {
	out := *m
	out.finite = nil
	out.Layers = slices.Clone(m.Layers)
	out.Layers[l] = layer
	return &out
}

// AllWeights are the weights of the model layer by layer, by role, then those outside the layers as OwnTop lists them.
func (m *Model) AllWeights() (list []Weight) {
	for _, l := range m.Layers {
		list = append(list, l.Weights[:]...)
	}
	return append(list, m.OwnTop()...)
}

// WithWeights is the model with other values, in the order of AllWeights. It shares all else and must not be closed.
func (m *Model) WithWeights(weights []Weight) *Model {
	out := *m
	out.finite = nil
	out.Layers = nil
	for range m.Layers {
		out.Layers = append(out.Layers, NewLayer(weights[:arch.LayerRoles]))
		weights = weights[arch.LayerRoles:]
	}
	for i, w := range weights {
		if !w.IsZero() {
			out.Top[arch.LayerRoles+arch.Role(i)] = w
		}
	}
	if out.Config.TieWordEmbeddings {
		out.Top[arch.Head] = out.Top[arch.Embed]
	}
	return &out
}

// GGUF is the file that the model was opened from, nil if it is no GGUF file. The model's Close closes it.
func (m *Model) GGUF() *gguf.File {
	if g, ok := m.weights.(*ggufTensors); ok {
		return g.File
	}
	return nil
}

// Tokenizer reads the tokenizer in the model's folder.
func (m *Model) Tokenizer() (tokenizer.Tokenizer, error) { return tokenizer.LoadFS(m.Name, m.Files) }
