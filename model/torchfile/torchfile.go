// Package torchfile reads the tensors of PyTorch checkpoints, pytorch_model.bin or its shards, and runs nothing that they hold.
//
// Such a file is a pickle, a program for a stack machine that may call any Python function, and the raw storages of the tensors. The reader
// knows the few opcodes and functions that a dictionary of tensors is made of; anything else is an error that names it. Storages are mapped,
// not read. Formats: torch/serialization.py of PyTorch, the zip archive of 1.6 and later and what came before; pickletools.py of Python.
package torchfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	mmap "github.com/edsrzf/mmap-go"

	"github.com/vkcome/vkcome/model/internal/lfs"
	"github.com/vkcome/vkcome/model/internal/pages"
)

const (
	// SingleFile and IndexFile are the names of a checkpoint in one file, and of the list of its shards.
	SingleFile = "pytorch_model.bin"
	IndexFile  = "pytorch_model.bin.index.json"

	maxIndex = 64 << 20 // bytes; a tensor takes about 100
)

// Tensor is a named array of a checkpoint.
type Tensor struct {
	Name  string
	File  string // for messages
	DType string // as safetensors has it: F32, BF16, I64, …
	Shape []int

	storage []byte // that it is a view of
	size    int    // bytes of an element
	offset  int    // elements
	strides []int
}

// Checkpoint is the set of tensors of a file or of a folder of shards. Reading it is safe from several goroutines.
type Checkpoint struct {
	tensors map[string]Tensor
	maps    []mmap.MMap
}

// Open maps the weights of a Hugging Face folder: pytorch_model.bin, or else the shards that pytorch_model.bin.index.json lists.
func Open(dir string) (*Checkpoint, error) {
	c := &Checkpoint{tensors: map[string]Tensor{}}
	if err := c.open(dir); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Checkpoint) open(dir string) error {
	single := filepath.Join(dir, SingleFile)
	if _, err := os.Stat(single); err == nil {
		tensors, err := c.mapFile(single)
		c.tensors = tensors
		return err
	}
	index := filepath.Join(dir, IndexFile)
	weights, err := readIndex(index)
	if err != nil {
		return fmt.Errorf("torchfile: %s: %w", index, err)
	}
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(weights))) {
		tensors, err := c.mapFile(filepath.Join(dir, shard))
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

// readIndex gives the shard of each tensor; a shard is a plain name within the folder.
func readIndex(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxIndex+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxIndex {
		return nil, fmt.Errorf("larger than %d bytes", maxIndex)
	}
	if err := lfs.Check(raw); err != nil {
		return nil, err
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, err
	}
	if len(index.WeightMap) == 0 {
		return nil, errors.New("weight_map is empty")
	}
	for _, name := range slices.Sorted(maps.Keys(index.WeightMap)) {
		shard := index.WeightMap[name]
		if !printable(name) {
			return nil, fmt.Errorf("tensor %q: the name has control characters", name)
		}
		if !printable(shard) || shard == "." || strings.ContainsAny(shard, `/\`) || !filepath.IsLocal(shard) {
			return nil, fmt.Errorf("tensor %s: shard %q is not a plain file name", name, shard)
		}
	}
	return index.WeightMap, nil
}

func printable(name string) bool { return !strings.ContainsFunc(name, unicode.IsControl) }

// mapFile maps a file, which Close will unmap, and reads what tensors it has.
func (c *Checkpoint) mapFile(path string) (map[string]Tensor, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("torchfile: %w", err)
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return nil, fmt.Errorf("torchfile: %s: not a regular file", path)
	}
	var mapped mmap.MMap
	if info.Size() > 0 { // an empty file cannot be mapped
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("torchfile: %w", err)
		}
		defer f.Close() // the mapping outlives the descriptor
		if mapped, err = mmap.Map(f, mmap.RDONLY, 0); err != nil {
			return nil, fmt.Errorf("torchfile: map %s: %w", path, err)
		}
		c.maps = append(c.maps, mapped)
	}
	return parse(path, mapped)
}

// OpenBytes reads a whole file that is in memory already; name stands for it in messages.
func OpenBytes(name string, raw []byte) (*Checkpoint, error) {
	tensors, err := parse(name, raw)
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

// Release tells that data, a part of a tensor, is not needed for now: what the system has read of it leaves the process' resident memory.
func (c *Checkpoint) Release(data []byte) {
	for _, m := range c.maps {
		pages.Drop(m, data)
	}
}

// Close unmaps the files: every tensor's data is gone after it. A second Close does nothing.
func (c *Checkpoint) Close() error {
	var err error
	for i := range c.maps {
		err = errors.Join(err, c.maps[i].Unmap())
	}
	c.maps, c.tensors = nil, nil
	if err != nil {
		return fmt.Errorf("torchfile: unmap: %w", err)
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

// Data gives the elements row by row, little-endian: a view into the file where they lie there so, else memory of its own.
func (t Tensor) Data() []byte {
	n, next, whole := t.elements(), 1, true
	for i := len(t.Shape) - 1; i >= 0; i-- {
		if t.Shape[i] != 1 {
			whole = whole && t.strides[i] == next
		}
		next *= t.Shape[i]
	}
	if whole || n == 0 {
		begin, end := t.offset*t.size, (t.offset+n)*t.size
		return t.storage[begin:end:end]
	}
	out := make([]byte, 0, n*t.size)
	at := make([]int, len(t.Shape)) // the place of an element, counted up with the last dimension first
	for from := t.offset; ; {
		out = append(out, t.storage[from*t.size:(from+1)*t.size]...)
		i := len(at) - 1
		for ; i >= 0; i-- {
			at[i]++
			from += t.strides[i]
			if at[i] < t.Shape[i] {
				break
			}
			from -= at[i] * t.strides[i]
			at[i] = 0
		}
		if i < 0 {
			return out
		}
	}
}

// newTensor checks a view of a storage: that each element lies within it, and that there are no more elements than it has, as an expanded
// tensor may have without bound.
func newTensor(s storage, offset int64, shape, strides []int64) (Tensor, error) {
	t := Tensor{DType: s.kind.dtype, storage: s.data, size: s.kind.size, Shape: []int{}, strides: []int{}}
	have := int64(len(s.data) / s.kind.size)
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
