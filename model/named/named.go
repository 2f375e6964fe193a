// Package named opens models by what people call them: a Hugging Face folder, a GGUF file, a name on the Hugging Face hub, or that of the
// embedded model.
package named

import (
	"context"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/hub"
)

// Open opens a model: embedded.Name, else a folder or a file, else a name of the hub, of which is fetched what its cache lacks. A model that
// vkcome does not read is refused before its weights are fetched.
func Open(ctx context.Context, name string, h hub.Hub) (*model.Model, error) {
	if name == embedded.Name {
		return embedded.Open()
	}
	h.Config = func(raw []byte) error {
		_, err := arch.ParseConfig(arch.ConfigFile, raw)
		return err
	}
	path, err := h.Model(ctx, name)
	if err != nil {
		return nil, err
	}
	m, err := model.Open(path)
	if err == nil {
		m.Name = name // of the hub, rather than a folder of the cache named after a commit
	}
	return m, err
}
