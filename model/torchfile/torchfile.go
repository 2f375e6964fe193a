// Package torchfile reads the tensors of PyTorch checkpoints, pytorch_model.bin or its shards, and runs nothing that they hold.
//
// Such a file is a pickle, a program for a stack machine that may call any Python function, and the raw storages of the tensors. The reader
// knows the few opcodes and functions that a dictionary of tensors is made of; anything else is an error that names it. Storages are read when
// their tensors are asked for. Formats: torch/serialization.py of PyTorch, the zip archive of 1.6 and later and what came before; pickletools.py of Python.
package torchfile

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/internal/shards"
)

const (
	// SingleFile and IndexFile are the names of a checkpoint in one file, and of the list of its shards.
	SingleFile = "pytorch_model.bin"
	IndexFile  = "pytorch_model.bin.index.json"
)

// Tensor is a named array of a checkpoint.
type Tensor struct {
	Name  string
	File  string // for messages
	DType string // as safetensors has it: F32, BF16, I64, …
	Shape []int

	from    *files.Stored
	storage storage // that it is a view of
	offset  int     // elements
	strides []int
}

// Checkpoint is the set of tensors of a file or of a folder of shards. Reading it is safe from several goroutines.
type Checkpoint struct {
	tensors map[string]Tensor
	open    []*files.Stored
}

// Open opens the weights of a Hugging Face folder: pytorch_model.bin, or else the shards that pytorch_model.bin.index.json lists.
func Open(dir string) (*Checkpoint, error) {
	c := &Checkpoint{tensors: map[string]Tensor{}}
	if err := c.read(dir); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Checkpoint) read(dir string) error {
	single := filepath.Join(dir, SingleFile)
	if _, err := os.Stat(single); err == nil {
		tensors, err := c.openFile(single)
		c.tensors = tensors
		return err
	}
	index := filepath.Join(dir, IndexFile)
	weights, err := readIndex(index)
	if err != nil {
		return fmt.Errorf("torchfile: %s: %w", index, err)
	}
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(weights))) {
		tensors, err := c.openFile(filepath.Join(dir, shard))
		if err != nil {
			return err
		}
		for name, t := range tensors {
			if weights[name] == shard {
				c.tensors[name] = t
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		if _, ok := c.tensors[name]; !ok {
			return fmt.Errorf("torchfile: %s: tensor %s: not in its shard %s", index, name, weights[name])
		}
	}
	return nil
}

// readIndex gives the shard of each tensor.
func readIndex(path string) (map[string]string, error) {
	raw, err := files.Read(path, shards.MaxIndex)
	if err != nil {
		return nil, err
	}
	return shards.ParseIndex(raw)
}

// openFile opens a file, which Close will close, and reads what tensors it has.
func (c *Checkpoint) openFile(path string) (map[string]Tensor, error) {
	f, err := files.OpenStored(path)
	if err != nil {
		return nil, fmt.Errorf("torchfile: %w", err)
	}
	c.open = append(c.open, f)
	return parse(f)
}

// OpenBytes reads a whole file that is in memory already; name stands for it in messages.
func OpenBytes(name string, raw []byte) (*Checkpoint, error) {
	tensors, err := parse(files.InMemory(name, raw))
	if err != nil {
		return nil, err
	}
	return &Checkpoint{tensors: tensors}, nil
}

// Names lists the tensors, sorted.
func (c *Checkpoint) Names() []string { return slices.Sorted(maps.Keys(c.tensors)) }

// Lookup finds a tensor by its name.
func (c *Checkpoint) Lookup(name string) (Tensor, bool) {
	t, ok := c.tensors[name]
	return t, ok
}

// Unchanged is an error if one of the files changed since it was opened: with it ends what was made of its tensors.
func (c *Checkpoint) Unchanged() error {
	for _, f := range c.open {
		if err := f.Unchanged(); err != nil {
			return fmt.Errorf("torchfile: %w", err)
		}
	}
	return nil
}

// Close closes the files: no Tensor can be read after it. A second Close does nothing.
func (c *Checkpoint) Close() error {
	var err error
	for _, f := range c.open {
		err = errors.Join(err, f.Close())
	}
	c.open, c.tensors = nil, nil
	if err != nil {
		return fmt.Errorf("torchfile: %w", err)
	}
	return nil
}

// elements is the number of the tensor's elements; newTensor has seen that it is no more than its storage has.
func (t Tensor) elements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Size is the number of bytes of the tensor's data.
func (t Tensor) Size() int { return t.elements() * t.storage.kind.size }

// InOrder says whether the elements lie in the file row by row, so that Read can give any part of them.
func (t Tensor) InOrder() bool {
	next := 1
	for i := len(t.Shape) - 1; i >= 0; i-- {
		if t.Shape[i] != 1 && t.strides[i] != next {
			return t.elements() == 0
		}
		next *= t.Shape[i]
	}
	return true
}

// Read reads len(dst) bytes of a tensor that is InOrder, little-endian and row-major, from byte at on, until the Checkpoint is closed. A file
// that changed or cannot be read is an error with its name; one that matches files.ErrChanged says that it changed.
func (t Tensor) Read(dst []byte, at int) error {
	if !t.InOrder() || at < 0 || at > t.Size() || len(dst) > t.Size()-at {
		return fmt.Errorf("torchfile: %s: tensor %s: bytes %d to %d of %d in order", t.File, t.Name, at, at+len(dst), t.Size())
	}
	return t.read(dst, t.offset*t.storage.kind.size+at)
}

// read reads bytes of the storage.
func (t Tensor) read(dst []byte, at int) error {
	if len(dst) == 0 {
		return nil
	}
	if _, err := t.from.ReadAt(dst, t.storage.begin+int64(at)); err != nil {
		return fmt.Errorf("torchfile: tensor %s: %w", t.Name, err)
	}
	return nil
}

// window is how many bytes of a storage are read at a time for elements that do not lie row by row.
const window = 16 << 10

// Bytes reads all elements, little-endian and row-major, whatever their order in the file.
func (t Tensor) Bytes() ([]byte, error) {
	out, size := make([]byte, t.Size()), t.storage.kind.size
	if t.InOrder() {
		return out, t.Read(out, 0)
	}
	// The elements are walked in the order in which they lie, the dimension with the smallest stride first, through a window of the storage.
	order, places := make([]int, len(t.Shape)), make([]int, len(t.Shape)) // places: how far in out an element is from the next of its dimension
	for i, place := len(t.Shape)-1, size; i >= 0; i-- {
		order[i], places[i] = i, place
		place *= t.Shape[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return t.strides[a] - t.strides[b] })
	room := make([]byte, min(window, t.storage.elements*size))
	begin, end := 0, 0 // what of the storage the room holds
	at := make([]int, len(t.Shape))
	for from, to := t.offset*size, 0; ; {
		if from < begin || from+size > end {
			begin, end = from, min(from+len(room), t.storage.elements*size)
			if err := t.read(room[:end-begin], begin); err != nil {
				return nil, err
			}
		}
		copy(out[to:to+size], room[from-begin:])
		i := 0
		for ; i < len(order); i++ {
			d := order[i]
			at[d]++
			from, to = from+t.strides[d]*size, to+places[d]
			if at[d] < t.Shape[d] {
				break
			}
			from, to = from-at[d]*t.strides[d]*size, to-at[d]*places[d]
			at[d] = 0
		}
		if i == len(order) {
			return out, nil
		}
	}
}

// newTensor checks a view of a storage: that each element lies within it, and that there are no more elements than it has, as an expanded
// tensor may have without bound.
func newTensor(s storage, offset int64, shape, strides []int64) (Tensor, error) {
	t := Tensor{DType: s.kind.dtype, storage: s, Shape: []int{}, strides: []int{}}
	have := int64(s.elements)
	if len(shape) != len(strides) || len(shape) > 64 {
		return t, fmt.Errorf("a tensor of %d dimensions with %d strides", len(shape), len(strides))
	}
	if offset < 0 || offset > have {
		return t, fmt.Errorf("a tensor begins at element %d of a storage of %d", offset, have)
	}
	n, last := int64(1), offset
	for i, d := range shape {
		if d < 0 || strides[i] < 0 || d > have && n != 0 || d > 0 && n > have/d {
			return t, fmt.Errorf("a tensor of shape %v with strides %v has more elements than its storage, %d", shape, strides, have)
		}
		n *= d
		if d > 1 && (strides[i] > have || (d-1) > (have-last)/max(1, strides[i])) {
			return t, fmt.Errorf("a tensor of shape %v with strides %v at element %d reaches beyond its storage, %d", shape, strides, offset, have)
		}
		last += max(0, d-1) * strides[i]
		t.Shape, t.strides = append(t.Shape, int(d)), append(t.strides, int(strides[i]))
	}
	if n > 0 && last >= have {
		return t, fmt.Errorf("a tensor of shape %v with strides %v at element %d reaches beyond its storage, %d", shape, strides, offset, have)
	}
	t.offset = int(offset)
	return t, nil
}
