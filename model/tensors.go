package model

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/safetensors"
	"github.com/vkcome/vkcome/model/torchfile"
)

// Tensors is the tensors of a checkpoint, whatever format holds them.
type Tensors interface {
	// Tensor finds a tensor by its name in the files. An error says that it is there and cannot be a weight.
	Tensor(name string) (t Tensor, ok bool, err error)
	// Names lists the tensors of the files.
	Names() []string
	// Unchanged is an error that names a file that changed since it was opened.
	Unchanged() error
	// Close closes the files. No tensor can be read afterwards.
	Close() error
}

// Tensor is a tensor of a checkpoint.
type Tensor struct {
	Name   string
	File   string // for messages
	DType  dtype.DType
	Shape  []int // a matrix is [out, in]
	Source Source
}

// rows is rows [begin, end) of a tensor as a weight; a vector is one row.
func (t Tensor) rows(begin, end int) Weight {
	cols := t.Shape[len(t.Shape)-1]
	return Weight{Name: t.Name, DType: t.DType, Rows: end - begin, Cols: cols, source: t.Source, first: begin * cols}
}

// openTensors opens the weights of a folder. A format more is a case more.
func openTensors(dir string) (Tensors, error) {
	there := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			_, err := os.Stat(filepath.Join(dir, name))
			return err == nil
		})
	}
	if !there(safetensors.SingleFile, safetensors.IndexFile) && there(torchfile.SingleFile, torchfile.IndexFile) {
		c, err := torchfile.Open(dir)
		if err != nil {
			return nil, err
		}
		return torchTensors{c}, nil
	}
	c, err := safetensors.Open(dir)
	if err != nil {
		return nil, err
	}
	return Safetensors{c}, nil
}

// torchTensors is a PyTorch checkpoint as Tensors.
type torchTensors struct{ *torchfile.Checkpoint }

// Tensor finds a tensor by name.
func (c torchTensors) Tensor(name string) (Tensor, bool, error) {
	t, ok := c.Lookup(name)
	if !ok {
		return Tensor{}, false, nil
	}
	d, err := dtype.Parse(t.DType)
	if err != nil {
		return Tensor{}, true, fmt.Errorf("torchfile: %s: tensor %s: %w", t.File, t.Name, err)
	}
	read := t.Read
	if !t.InOrder() {
		whole := sync.OnceValues(t.Bytes)
		read = func(dst []byte, at int) error {
			data, err := whole()
			if err == nil {
				copy(dst, data[at:])
			}
			return err
		}
	}
	return Tensor{Name: t.Name, File: t.File, DType: d, Shape: t.Shape, Source: plain{d.Size(), read}}, true, nil
}

// Safetensors is a safetensors checkpoint as Tensors.
type Safetensors struct{ *safetensors.Checkpoint }

// Tensor finds a tensor by name.
func (s Safetensors) Tensor(name string) (Tensor, bool, error) {
	t, ok := s.Lookup(name)
	if !ok {
		return Tensor{}, false, nil
	}
	d, err := t.Float()
	return Tensor{Name: t.Name, File: t.File, DType: d, Shape: t.Shape, Source: plain{d.Size(), t.Read}}, true, err
}

// expect finds a tensor that must be there with a shape.
func expect(from Tensors, model, name, promised string, shape []int) (Tensor, error) {
	t, ok, err := from.Tensor(name)
	switch {
	case !ok && err == nil:
		return t, fmt.Errorf("model: %s: tensor %s is missing, config.json promises it with shape %v", model, promised, shape)
	case ok && !slices.Equal(t.Shape, shape):
		return t, fmt.Errorf("model: %s: tensor %s: shape %v, config says %v", t.File, t.Name, t.Shape, shape)
	}
	return t, err
}
