package model

import (
	"slices"
	"strings"

	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
)

// DTypes says which tensors have which dtype: by dtype, the names of their roles. A role that some layers have in another dtype is in both.
func (m *Model) DTypes() map[dtype.DType][]string {
	out := map[dtype.DType][]string{}
	add := func(r arch.Role, w Weight) {
		name := strings.TrimSuffix(r.Info().Name, ".weight")
		if !w.IsZero() && !slices.Contains(out[w.DType], name) {
			out[w.DType] = append(out[w.DType], name)
		}
	}
	for _, l := range m.Layers {
		for r, w := range l.Weights {
			add(arch.Role(r), w)
		}
	}
	for i, w := range m.OwnTop() {
		add(arch.LayerRoles+arch.Role(i), w)
	}
	return out
}

// Unused lists the tensors of the model's files that it does not read: what its config does not promise. transformers leaves them out too.
func (m *Model) Unused() (names []string) {
	if m.weights == nil {
		return nil
	}
	promised := map[string]bool{m.stored(arch.Head.Info().Name): m.Config.TieWordEmbeddings}
	for _, t := range m.Config.TopTensors() {
		promised[m.stored(t.Name)] = true
	}
	for l := range m.Config.Layers {
		for _, t := range m.Config.LayerTensors(l) {
			promised[m.stored(t.Name)] = true
		}
	}
	for _, name := range m.weights.Names() {
		if !promised[name] {
			names = append(names, name)
		}
	}
	return names
}
