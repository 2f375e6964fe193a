package model

import (
	"encoding/json"
	"io/fs"
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

// ChatTemplate names the file of the model's folder that holds its chat template, as transformers looks for it; empty if none does.
func (m *Model) ChatTemplate() string {
	const own, older, config = "chat_template.jinja", "chat_template.json", "tokenizer_config.json"
	if info, err := fs.Stat(m.Files, own); err == nil && info.Mode().IsRegular() {
		return own
	}
	for _, name := range []string{older, config} {
		var file struct {
			Template json.RawMessage `json:"chat_template"`
		}
		raw, err := fs.ReadFile(m.Files, name)
		if err == nil && json.Unmarshal(raw, &file) == nil && len(file.Template) > 0 && string(file.Template) != "null" {
			return name
		}
	}
	return ""
}
