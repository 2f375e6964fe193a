// Package named opens models by what people call them: a Hugging Face folder, a GGUF file, a name on the Hugging Face hub, or that of the
// embedded model.
package named

import (
	"context"
	"errors"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/hub"
)

// ErrNotFound is the error for a name of which there is no folder, no file, and nothing that can be had from the hub.
var ErrNotFound = errors.New("no model of that name")

type notFound struct{ error }

func (n notFound) Unwrap() error      { return n.error }
func (notFound) Is(target error) bool { return target == ErrNotFound }

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
		return nil, notFound{err}
	}
	m, err := model.Open(path)
	if err == nil {
		m.Name = name // of the hub, rather than a folder of the cache named after a commit
	}
	return m, err
}
