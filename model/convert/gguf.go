// Package convert writes a model in another format than it was read from.
package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/gguf"
)

// The most bytes of files that are taken into memory: of a vocabulary, whose largest real ones have 30 MB, and of texts, of which the losses of
// a long training have some.
const (
	maxVocabulary = 256 << 20
	maxText       = 64 << 20
)

type fileType struct {
	name   string
	of     gguf.Type
	number uint32
}

// fileTypes are the types that a whole file can be written in, with their numbers in general.file_type. Source: LlamaFileType of gguf-py.
var fileTypes = []fileType{{"f32", gguf.F32, 0}, {"f16", gguf.F16, 1}, {"bf16", gguf.BF16, 32}, {"q8_0", gguf.Q8_0, 7}, {"q4_0", gguf.Q4_0, 2}}

// Types lists the types that a GGUF can be written in, by name.
func Types() (list []string) {
	for _, t := range fileTypes {
		list = append(list, t.name)
	}
	return list
}

// ParseType finds a type by its name.
func ParseType(name string) (gguf.Type, error) {
	for _, t := range fileTypes {
		if t.name == strings.ToLower(name) {
			return t.of, nil
		}
	}
	return 0, fmt.Errorf("convert: type %.40q, expected one of %s", name, strings.Join(Types(), ", "))
}

// TypeOf is the type that a GGUF of the model has if none is chosen: that of its first matrix if all values of it fit, so f16, bf16, or f16 for
// f32.
func TypeOf(m *model.Model) gguf.Type {
	if m.Top[arch.Embed].DType == dtype.BF16 {
		return gguf.BF16
	}
	return gguf.F16
}

// Options say how a GGUF is written.
type Options struct {
	Type     gguf.Type // of matrices; vectors, norms, tables of positions and routers are F32 whatever it says
	Name     string    // of the model, as in the folder's name; "" is the name of the folder that it was read from
	Lineage  []byte    // the text of vkcome.json; nil: that of the model, if it has one
	Losses   []byte    // the text of the file of losses; as Lineage
	Progress func(done, total int64)
	Note     func(line string) // receives what llama.cpp does otherwise with the model, and which tensors are of another type; may be nil
}

// Result says what was written.
type Result struct {
	Path    string `json:"path"`
	Type    string `json:"type,omitempty"` // of a GGUF
	Tensors int    `json:"tensors"`
	Bytes   int64  `json:"bytes"` // of the file, or of the folder's
}

// Check is the error for a model that no choice of its layers makes one for llama.cpp: before hours are spent on the choice.
func Check(m *model.Model) error {
	family, err := gguf.FamilyOf(m.Config)
	if err == nil {
		err = family.RefusesRope(m.Config)
	}
	if err == nil {
		_, _, err = about(m, family, Options{}, 0, "")
	}
	if err != nil {
		return fmt.Errorf("convert: %s: %w", m.Name, err)
	}
	return nil
}

// GGUF writes a model as the GGUF file path, which does not exist, tensor by tensor. After an error there is no file. A model that llama.cpp
// knows no architecture for, or computes otherwise, is refused.
func GGUF(ctx context.Context, m *model.Model, path string, o Options) (*Result, error) {
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	family, err := gguf.FamilyOf(m.Config)
	if err != nil {
		return nil, err
	}
	if err := family.Refuses(m.Config); err != nil {
		return nil, fmt.Errorf("convert: %s: %w", m.Name, err)
	}
	if family.Warn != nil {
		if line := family.Warn(m.Config); line != "" {
			o.Note(line)
		}
	}
	if from := blocks(m); from != "" && slices.Contains([]gguf.Type{gguf.Q8_0, gguf.Q4_0}, o.Type) {
		o.Note(fmt.Sprintf("%s is %s: rounding it to %v loses more than rounding the original would", m.Name, from, o.Type))
	}
	list, err := tensors(m, family, o)
	if err != nil {
		return nil, fmt.Errorf("convert: %s: %w", m.Name, err)
	}
	meta, err := metadata(m, family, list, o)
	if err != nil {
		return nil, fmt.Errorf("convert: %s: %w", m.Name, err)
	}
	var infos []gguf.Info
	for _, t := range list {
		infos = append(infos, t.Info)
	}
	w, err := gguf.Create(path, meta, infos)
	if err != nil {
		return nil, err
	}
	if err := writeTensors(ctx, w, list, o.Progress); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	if err := m.Unchanged(); err != nil {
		return nil, errors.Join(fmt.Errorf("convert: %w", err), w.Abort())
	}
	size, err := w.Close()
	if err != nil {
		return nil, err
	}
	return &Result{path, typeName(o.Type), len(infos), size}, nil
}

// blocks names a quantized type that a model was read from, "" if there is none.
func blocks(m *model.Model) string {
	f := m.GGUF()
	if f == nil {
		return ""
	}
	for _, name := range f.Names() {
		t, _ := f.Lookup(name)
		if values, _ := t.Type.Block(); values > 1 {
			return t.Type.String()
		}
	}
	return ""
}

func typeName(t gguf.Type) string {
	for _, f := range fileTypes {
		if f.of == t {
			return f.name
		}
	}
	return t.String()
}

// tensor is a tensor to be written: the rows of weights, or values of its own.
type tensor struct {
	gguf.Info
	parts  []part
	values []float32
}

// part is rows of a tensor that are one weight.
type part struct {
	model.Weight
	headDim int     // not 0: the rows of each head of so many are reordered
	shift   float32 // what is added to each value
}

// tensors lists a model's, in the order in which they are written.
func tensors(m *model.Model, family *gguf.Family, o Options) (list []tensor, err error) {
	add := func(from []arch.Tensor, weights []model.Weight) {
		for _, t := range from {
			if gguf.Experts(t.Roles[0]) {
				t.Shape = []int{m.Config.Experts, t.Shape[0] / m.Config.Experts, t.Shape[1]}
			}
			out := tensor{Info: gguf.Info{Name: t.Name, Shape: t.Shape, Type: matrixType(m.Config, t, o.Type)}}
			for _, r := range t.Roles {
				p := part{Weight: weights[r].Exact()}
				if family.Reordered(r) {
					p.headDim = m.Config.HeadDim
				}
				if r.Info().Kind == arch.Norm {
					p.shift = family.NormShift
				}
				out.parts = append(out.parts, p)
			}
			if out.Type != gguf.F32 && out.Type != o.Type {
				o.Note(fmt.Sprintf("%s: %v, not %v", t.Name, out.Type, o.Type))
			}
			list = append(list, out)
		}
	}
	list = ropeTensors(m.Config)
	extra := len(list)
	add(family.TopTensors(m.Config), m.Top[:])
	for l, layer := range m.Layers {
		add(family.LayerTensors(m.Config, l), layer.Weights[:])
	}
	return list, named(m, family, list[extra:])
}

// named refuses a model with a tensor that llama.cpp has no name for.
func named(m *model.Model, family *gguf.Family, list []tensor) error {
	values := func(weights []model.Weight) (n int64) {
		for _, w := range weights {
			n += w.Elements()
		}
		return n
	}
	want, have := values(m.AllWeights()), int64(0)
	for _, t := range list {
		for _, p := range t.parts {
			have += p.Elements()
		}
	}
	if want != have {
		return fmt.Errorf("of %d parameters %d are in tensors that llama.cpp has names for in its %s", want, have, family.Name)
	}
	return nil
}

// matrixType is the type of a tensor in a file of a type: what rows cannot be cut into blocks of is F16. With Q4_0 the LM head, or the
// embedding that it is tied to, has 6 bits, as llama-quantize has it. Source: llama_tensor_get_type in src/llama-quant.cpp.
func matrixType(c *arch.Config, t arch.Tensor, of gguf.Type) gguf.Type {
	r := t.Roles[0]
	switch kind := r.Info().Kind; {
	case kind != arch.Matrix || r == arch.Positions || r == arch.Router:
		return gguf.F32
	case of == gguf.Q4_0 && c.Experts == 8 && (r == arch.K || r == arch.V):
		of = gguf.Q8_0
	case of == gguf.Q4_0 && (r == arch.Head || r == arch.Embed && !c.Has(arch.Head)):
		of = gguf.Q6_K
	}
	cols := t.Shape[len(t.Shape)-1]
	for _, try := range []gguf.Type{of, gguf.Q8_0} {
		if block, _ := try.Block(); cols%block == 0 && (try == of || of == gguf.Q6_K) {
			return try
		}
	}
	return gguf.F16
}

// ropeTensors are those that say how rotary positions are stretched.
func ropeTensors(c *arch.Config) (list []tensor) {
	add := func(name string, values []float64) {
		t := tensor{Info: gguf.Info{Name: name, Type: gguf.F32, Shape: []int{len(values)}}}
		for _, v := range values {
			t.values = append(t.values, float32(v))
		}
		list = append(list, t)
	}
	switch s := c.RopeScaling; s.Type {
	case arch.RopeLlama3:
		plain, scaled := arch.RopeFrequencies(c.HeadDim, c.RopeTheta, arch.RopeScaling{Type: arch.RopeNone}, 0), arch.RopeFrequencies(c.HeadDim, c.RopeTheta, s, 0)
		for i := range plain {
			plain[i] /= scaled[i]
		}
		add(gguf.RopeFreqs, plain)
	case arch.RopeLong:
		add(gguf.RopeFactorsLong, s.Long)
		add(gguf.RopeFactorsShort, s.Short)
	}
	return list
}

// metadata is all of a file's.
func metadata(m *model.Model, family *gguf.Family, list []tensor, o Options) (meta []gguf.Pair, err error) {
	total, each := int64(0), int64(0) // each: of one expert of every layer
	for _, t := range list {
		n := int64(1)
		for _, d := range t.Shape {
			n *= int64(d)
		}
		if total += n; len(t.Shape) == 3 {
			each += n / int64(t.Shape[0])
		}
	}
	experts := m.Config.Experts
	size := sizeLabel(total, total-each*int64(experts), each, experts)
	what, tokens, err := about(m, family, o, total, size)
	if err != nil {
		return nil, err
	}
	meta = append(append(meta, gguf.Pair{Key: "general.architecture", Value: family.Name}, gguf.Pair{Key: "general.type", Value: "model"}), what...)
	values, err := gguf.ValuesOf(m.Config)
	if err != nil {
		return nil, err
	}
	for _, k := range family.Keys {
		if v := k.Value(values); v != nil {
			meta = append(meta, gguf.Pair{Key: family.Name + "." + k.Name, Value: v})
		}
	}
	at := slices.IndexFunc(fileTypes, func(t fileType) bool { return t.of == o.Type })
	if at < 0 {
		return nil, fmt.Errorf("no file is of type %v", o.Type)
	}
	const quantizationVersion = 2 // GGML_QUANT_VERSION: the layout of blocks
	meta = append(meta, gguf.Pair{Key: "general.file_type", Value: fileTypes[at].number}, gguf.Pair{Key: "general.quantization_version", Value: uint32(quantizationVersion)})
	meta = append(meta, tokens...)
	for _, own := range []struct {
		key, file string
		text      []byte
	}{{gguf.LineageKey, model.Lineage, o.Lineage}, {gguf.LossesKey, model.Losses, o.Losses}} {
		if own.text == nil && o.Lineage == nil {
			if own.text, err = files.ReadFS(m.Files, own.file, maxText); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
		if len(own.text) > 0 {
			meta = append(meta, gguf.Pair{Key: own.key, Value: string(own.text)})
		}
	}
	return meta, nil
}

// about is the metadata that says what a model is, and that of its tokenizer. Those of a model that was read from a GGUF are as they are there.
func about(m *model.Model, family *gguf.Family, o Options, parameters int64, size string) (what, tokens []gguf.Pair, err error) {
	f := m.GGUF()
	if f == nil {
		if what, err = general(m.Files, cmp.Or(o.Name, m.Name), m.Config.JSON(), parameters, size); err != nil {
			return nil, nil, err
		}
		tokens, err = vocabulary(m, family)
		return what, tokens, err
	}
	for _, p := range f.Pairs() {
		switch group, rest, _ := strings.Cut(p.Key, "."); {
		case group == "tokenizer":
			tokens = append(tokens, p)
		case group == "general" && rest == "size_label":
			what = append(what, gguf.Pair{Key: p.Key, Value: size})
		case group == "general" && !slices.Contains([]string{"architecture", "type", "file_type", "quantization_version", "alignment"}, rest):
			what = append(what, p)
		}
	}
	return what, tokens, nil
}
