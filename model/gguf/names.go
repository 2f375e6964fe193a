// Package gguf reads and writes GGUF files, the format of llama.cpp, and says how they name what package arch knows of a model.
package gguf

import (
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model/arch"
)

// Family is how GGUF holds a family of models: the names that llama.cpp's converter writes and its loader looks for. Sources: the
// converter (conversion/*.py), gguf-py and src/models of llama.cpp as llama-cpp-python 0.3.36 has them.
//
// A family more is an entry more in families (names_families.go).
type Family struct {
	Name string // general.architecture, which its keys begin with
	// Of are the families of arch that it holds, by architecture. A file is read as the first of them, one with experts as Sparse.
	Of     []string
	Sparse string

	Top, Layer []arch.Stored // the tensors, those of a layer behind LayerPrefix

	// Interleaved says that of the rows of each head of q and k those that are turned together are neighbours: row 2i is row i of the
	// Hugging Face files, row 2i+1 is row head_dim/2+i.
	Interleaved bool
	// NoSpace says that no space comes before a text.
	NoSpace bool
	// NormShift is what is added to the weights of norms.
	NormShift float32

	// Specials are special tokens by their spelling, where no file names one of the kind.
	Specials []Special

	Keys []Key // in the order in which they are written

	// Fixed are the keys of config.json that llama.cpp has in code.
	Fixed map[string]any
	Ropes []arch.RopeType // how positions may be stretched
	// Check refuses a model whose arithmetic llama.cpp fixes in code, and fixes otherwise. nil: there is nothing to check.
	Check func(c *arch.Config) error
	// Warn says what llama.cpp does otherwise with the model, "" if nothing. nil: there is nothing to say.
	Warn func(c *arch.Config) string
}

// LayerPrefix is what stands before the names of a layer's tensors, with its number for %d.
const LayerPrefix = "blk.%d."

// The names of tensors that follow from a config, not from weights.
const (
	RopeFreqs        = "rope_freqs.weight"         // llama3: what the frequency of each pair is divided by
	RopeFactorsLong  = "rope_factors_long.weight"  // longrope
	RopeFactorsShort = "rope_factors_short.weight" // longrope
)

// Key is a value of a model's config under its name in GGUF.
type Key struct {
	Name   string // behind the family's, as in llama.block_count
	Config string // the key of config.json that holds the same value; "": it is no one key's
	// Value is what is written: a uint32, float32, bool, string, []bool or []float32; nil: the key is not.
	Value func(c *Values) any
}

// RefusesRope is the error for a model whose positions llama.cpp would stretch otherwise, whatever the file said.
func (f *Family) RefusesRope(c *arch.Config) error {
	s := c.RopeScaling
	if !slices.Contains(f.Ropes, s.Type) {
		return fmt.Errorf("rotary positions of type %s, which llama.cpp lacks in its %s", s.Type, f.Name)
	}
	if s.Type == arch.RopeYarn && (s.BetaFast != 32 || s.BetaSlow != 1 || s.Untruncated) { // constants in src/llama-context.cpp
		return fmt.Errorf("yarn with beta_fast %v, beta_slow %v, truncate %v: llama.cpp has 32, 1, true in its %s", s.BetaFast, s.BetaSlow, !s.Untruncated, f.Name)
	}
	return nil
}

// Refuses is the error for a model that llama.cpp would compute otherwise.
func (f *Family) Refuses(c *arch.Config) error {
	if err := f.RefusesRope(c); err != nil || f.Check == nil {
		return err
	}
	return f.Check(c)
}

// Special names a special token: Kind is bos, eos, unk, pad, eot or eom.
type Special struct{ Kind, Token string }

// FamilyOf is the family that a model is written as.
func FamilyOf(c *arch.Config) (*Family, error) {
	for _, f := range families {
		if slices.Contains(f.Of, c.Architecture) {
			return f, nil
		}
	}
	return nil, fmt.Errorf("gguf: vkcome knows no architecture for %s there: %s cannot be written as GGUF", c.Architecture, c.ModelType)
}

// FindFamily is the family of a file by its general.architecture.
func FindFamily(name string) (*Family, error) {
	var known []string
	for _, f := range families {
		if f.Name == name {
			return f, nil
		}
		known = append(known, f.Name)
	}
	slices.Sort(known)
	return nil, arch.Unsupported("general.architecture %.60q is not supported, supported are %v", name, known)
}

// TopTensors lists the tensors outside the layers that a model has: name, shape as Hugging Face has it, and roles.
func (f *Family) TopTensors(c *arch.Config) []arch.Tensor { return c.Tensors(f.Top, "", c.Has) }

// LayerTensors lists the tensors of a layer. Those of experts, which files have in three dimensions, have the rows of all experts here.
func (f *Family) LayerTensors(c *arch.Config, layer int) []arch.Tensor {
	return c.Tensors(f.Layer, fmt.Sprintf(LayerPrefix, layer), func(r arch.Role) bool { return c.HasIn(layer, r) })
}

// Experts says whether a role's tensor holds the matrices of all experts, which files have as one tensor of three dimensions.
func Experts(r arch.Role) bool {
	return r.Info().MLP == arch.SparseMLP && r != arch.Router
}

// Reordered says whether the rows of a role's tensor are in another order than in Hugging Face files.
func (f *Family) Reordered(r arch.Role) bool {
	return f.Interleaved && slices.Contains([]arch.Role{arch.Q, arch.K, arch.QBias, arch.KBias}, r)
}

// Row is the row of the Hugging Face tensor that is row i of a Reordered one, for heads of headDim rows.
func Row(i, headDim int) int {
	in := i % headDim
	return i - in + in%2*(headDim/2) + in/2
}

// StoredRow is the row of a Reordered tensor that is row i of the Hugging Face tensor: the inverse of Row.
func StoredRow(i, headDim int) int {
	in := i % headDim
	return i - in + in%(headDim/2)*2 + in/(headDim/2)
}
