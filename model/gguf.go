package model

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/gguf"
)

// ggufEnd is the ending of the names of GGUF files.
const ggufEnd = ".gguf"

// OpenGGUF opens a GGUF file, or all parts of a split one. The model is that of the Hugging Face folder that it could have been made from:
// its config and the files of its tokenizer are composed of the metadata, the rows of its tensors are in the order of that folder, and
// quantized ones are F16, made when they are read.
func OpenGGUF(path string) (*Model, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	m, err := newGGUF(path, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

func newGGUF(path string, f *gguf.File) (*Model, error) {
	raw, family, err := f.ConfigJSON()
	if err != nil {
		return nil, err
	}
	config, err := arch.ParseConfig(path, raw)
	if err != nil {
		return nil, err
	}
	if err := f.Check(family, config); err != nil {
		return nil, err
	}
	m, err := New(path, config, &ggufTensors{File: f, tensors: placeGGUF(f, family, config)}, ggufFiles(f, raw))
	if err != nil {
		return nil, err
	}
	m.Path = path
	return m, nil
}

// ggufIn finds the GGUF file of a folder that is no Hugging Face folder: "" where it has none. Vision towers beside it are passed over.
func ggufIn(dir string) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, arch.ConfigFile)); err == nil {
		return "", nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", nil // reading the config says what is wrong
	}
	var found []string
	for _, e := range entries {
		_, no, _, split := gguf.SplitOf(e.Name())
		if strings.HasSuffix(e.Name(), ggufEnd) && !strings.HasPrefix(e.Name(), "mmproj") && (!split || no == 1) {
			found = append(found, e.Name())
		}
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return filepath.Join(dir, found[0]), nil
	}
	return "", fmt.Errorf("model: %s holds several models, name one of them: %s", dir, strings.Join(found, ", "))
}

// ggufTensors is a GGUF file as Tensors, under the names of the Hugging Face folder.
type ggufTensors struct {
	*gguf.File
	tensors map[string]Tensor
}

// Tensor finds a tensor by its name in the Hugging Face folder.
func (g *ggufTensors) Tensor(name string) (Tensor, bool, error) {
	t, ok := g.tensors[name]
	return t, ok, nil
}

// Names lists the tensors that the config promises: the file's own names are others.
func (g *ggufTensors) Names() []string { return slices.Sorted(maps.Keys(g.tensors)) }

// piece is the values of one role in a tensor of the file.
type piece struct {
	gguf.Tensor
	first  int // the value that the role begins with
	values int
	width  int // of a row; 1 of a vector, whose values may be in another order
	// headDim says that rows of heads of so many are in llama.cpp's order of turned pairs; 0: they are in order.
	headDim int
	shift   float32 // that the file has more
}

// byRole is where the file holds the values of each role of a layer, or of those outside the layers.
type byRole [arch.NumRoles]piece

// placeGGUF lists the tensors that config.json promises with where the file holds their values.
func placeGGUF(f *gguf.File, family *gguf.Family, c *arch.Config) map[string]Tensor {
	sets := []byRole{rolesGGUF(f, family, c, family.TopTensors(c))}
	promised := [][]arch.Tensor{c.TopTensors()}
	for l := range c.Layers {
		sets = append(sets, rolesGGUF(f, family, c, family.LayerTensors(c, l)))
		promised = append(promised, c.LayerTensors(l))
	}
	kinds, tensors := dtypesGGUF(sets), map[string]Tensor{}
	for i, list := range promised {
		for _, want := range list {
			s := &ggufSource{dtype: kinds[want.Roles[0]]}
			for _, r := range want.Roles {
				p := sets[i][r]
				p.values /= want.Parts
				p.first += want.Part * p.values
				s.pieces = append(s.pieces, p)
			}
			tensors[want.Name] = s.tensor(want)
		}
	}
	return tensors
}

// rolesGGUF finds the values of each role in the tensors that hold them.
func rolesGGUF(f *gguf.File, family *gguf.Family, c *arch.Config, held []arch.Tensor) (set byRole) {
	for _, h := range held {
		t, _ := f.Lookup(h.Name)
		at := 0
		for _, r := range h.Roles {
			rows, cols := c.Shape(r)
			p := piece{Tensor: t, first: at, values: rows * cols, width: cols}
			if r.Info().Vector() {
				p.width = 1
			}
			if family.Reordered(r) {
				p.headDim = c.HeadDim
			}
			if r.Info().Kind == arch.Norm {
				p.shift = family.NormShift
			}
			set[r] = p
			at += p.values
		}
	}
	return set
}

// dtypesGGUF is the dtype of each role: that of the file, F16 where it is quantized, and one for the roles that one operation reads, in all
// layers, so that layers can be merged. Vectors follow the matrices that they are read with: the converter writes all vectors as F32, whatever
// they were.
func dtypesGGUF(sets []byRole) (kinds [arch.NumRoles]dtype.DType) {
	var matrices, vectors [arch.NumRoles]map[dtype.DType]bool // by the role that names the group
	group := func(r arch.Role) arch.Role {
		for r.Info().DTypeOf != r {
			r = r.Info().DTypeOf
		}
		return r
	}
	for _, set := range sets {
		for i, p := range set {
			r, found := arch.Role(i), &matrices
			if r.Info().Vector() {
				found = &vectors
			}
			if g := group(r); p.values > 0 {
				if found[g] == nil {
					found[g] = map[dtype.DType]bool{}
				}
				found[g][p.dtype()] = true
			}
		}
	}
	for i := range kinds {
		found := matrices[group(arch.Role(i))]
		if found == nil {
			found = vectors[group(arch.Role(i))]
		}
		for d := range found {
			if kinds[i] = d; len(found) > 1 {
				kinds[i] = dtype.F32 // it holds the values of all
			}
		}
	}
	return kinds
}

func (p piece) dtype() dtype.DType {
	switch p.Type {
	case gguf.F32:
		return dtype.F32
	case gguf.BF16:
		return dtype.BF16
	}
	return dtype.F16
}

// ggufSource makes the values of a tensor out of the pieces that hold them.
type ggufSource struct {
	dtype  dtype.DType
	pieces []piece
}

// tensor is the source as a tensor: its bytes, where the file has them as they are.
func (s *ggufSource) tensor(want arch.Tensor) Tensor {
	p := s.pieces[0]
	t := Tensor{Name: p.Name, File: p.File, DType: s.dtype, Shape: want.Shape, Source: s}
	stored := map[gguf.Type]dtype.DType{gguf.F32: dtype.F32, gguf.F16: dtype.F16, gguf.BF16: dtype.BF16}
	if d, isPlain := stored[p.Type]; isPlain && d == s.dtype && len(s.pieces) == 1 && p.headDim == 0 && p.shift == 0 {
		t.Source = plain{d.Size(), func(dst []byte, at int) error { return p.Tensor.Read(dst, p.first*d.Size()+at) }}
	}
	return t
}

// chunk is how many values a goroutine makes at a time, at least: some 50 µs of work.
const chunk = 1 << 14

// Read makes values [begin, end).
func (s *ggufSource) Read(dst []byte, begin, end int) error {
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	var wrong error
	size, few := s.dtype.Size(), end-begin <= chunk
	s.each(begin, end, func(p piece, at, from, to int) {
		rows := max(1, chunk/p.width)
		for row := from / p.width; row < to/p.width; row += rows {
			last := min(row+rows, to/p.width)
			out := dst[(at+row*p.width-begin)*size : (at+last*p.width-begin)*size]
			if few {
				wrong = cmp.Or(wrong, p.read(out, s.dtype, row, last))
				continue
			}
			work.Go(func() error { return p.read(out, s.dtype, row, last) })
		}
	})
	return cmp.Or(wrong, work.Wait())
}

// Exact is the weight in F32 if its values are made from blocks that its dtype rounds, else the weight.
func (w Weight) Exact() Weight {
	s, ok := w.source.(*ggufSource)
	if !ok || w.Data != nil {
		return w
	}
	exact := *s
	exact.dtype, w.DType = dtype.F32, dtype.F32
	w.source = &exact
	return w
}

// each calls f with the pieces that hold values [begin, end): the value that the piece begins at, and which of its own are meant.
func (s *ggufSource) each(begin, end int, f func(p piece, at, from, to int)) {
	at := 0
	for _, p := range s.pieces {
		if from, to := max(begin-at, 0), min(end-at, p.values); from < to {
			f(p, at, from, to)
		}
		at += p.values
	}
}

// read makes rows [begin, end).
func (p piece) read(dst []byte, to dtype.DType, begin, end int) error {
	values, bytes := p.Type.Block()
	decoded := make([]float32, (end-begin)*p.width)
	stored := make([]byte, len(decoded)/values*bytes)
	switch {
	case p.headDim > 0 && p.width == 1: // a vector, of which the heads are read whole
		first, last := begin/p.headDim*p.headDim, min((end+p.headDim-1)/p.headDim*p.headDim, p.values)
		heads, raw := make([]float32, last-first), make([]byte, (last-first)/values*bytes)
		if err := p.Tensor.Read(raw, (p.first+first)/values*bytes); err != nil {
			return err
		}
		p.Type.Decode(heads, raw)
		for row := begin; row < end; row++ {
			decoded[row-begin] = heads[gguf.StoredRow(row, p.headDim)-first]
		}
	case p.headDim == 0:
		if err := p.Tensor.Read(stored, (p.first+begin*p.width)/values*bytes); err != nil {
			return err
		}
		p.Type.Decode(decoded, stored)
	default:
		stored = stored[:p.width/values*bytes]
		for row := begin; row < end; row++ {
			if err := p.Tensor.Read(stored, (p.first+gguf.StoredRow(row, p.headDim)*p.width)/values*bytes); err != nil {
				return err
			}
			p.Type.Decode(decoded[(row-begin)*p.width:][:p.width], stored)
		}
	}
	if p.shift != 0 {
		for i := range decoded {
			decoded[i] -= p.shift
		}
	}
	to.Encode(dst, decoded)
	return nil
}

// ggufFiles is the files of the Hugging Face folder, made when they are read, and those that hold the weights.
func ggufFiles(f *gguf.File, config []byte) fs.FS {
	folder := made{}
	folder.add(arch.ConfigFile, func() ([]byte, error) { return config, nil })
	if f.HasTokenizer() {
		folder.add("tokenizer.json", f.TokenizerJSON)
		folder.add("tokenizer_config.json", f.TokenizerConfigJSON)
		folder.add(arch.GenerationFile, f.GenerationJSON)
	}
	for name, text := range f.ChatTemplates() {
		file := "chat_template.jinja"
		if name != "" {
			file = path.Join(chatTemplates, name+".jinja")
		}
		folder.add(file, func() ([]byte, error) { return []byte(text), nil })
	}
	for name, key := range map[string]string{Lineage: gguf.LineageKey, Losses: gguf.LossesKey} {
		if v, ok := f.Value(key); ok {
			folder.add(name, func() ([]byte, error) {
				text, ok := v.(string)
				if !ok {
					return nil, fmt.Errorf("gguf: %s: %s: %T, expected a text", f.Path(), key, v)
				}
				return []byte(text), nil
			})
		}
	}
	for _, part := range f.Parts() {
		folder[filepath.Base(part)] = func() (fs.File, error) { return files.Open(part, 0) }
	}
	return folder
}
