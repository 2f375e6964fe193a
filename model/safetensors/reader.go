package safetensors

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/internal/shards"
)

// Checkpoint is the set of tensors of a file or of a folder of shards. Reading it is safe from several goroutines.
type Checkpoint struct {
	tensors  map[string]Tensor
	names    []string
	metadata map[string]string
	open     []*files.Stored
}

// Open opens the weights of a Hugging Face folder: model.safetensors, or else the shards that
// model.safetensors.index.json lists. With an index, the index decides: a tensor that a shard holds beyond it is left
// out. Errors name the file and the tensor; a folder with neither file gives one that matches fs.ErrNotExist.
func Open(dir string) (*Checkpoint, error) {
	single := filepath.Join(dir, SingleFile)
	if _, err := os.Stat(single); err == nil {
		return OpenFile(single)
	}
	index := filepath.Join(dir, IndexFile)
	raw, err := files.Read(index, shards.MaxIndex)
	if errors.Is(err, fs.ErrNotExist) {
		what := ""
		if own, err := filepath.Glob(filepath.Join(dir, "consolidated*")); err == nil && len(own) > 0 {
			what = fmt.Sprintf(" (%s is of Mistral's or Meta's own format: fetch the model in Hugging Face's)", filepath.Base(own[0]))
		}
		return nil, fmt.Errorf("safetensors: %s: neither %s nor %s%s: %w", dir, SingleFile, IndexFile, what, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("safetensors: %w", err)
	}
	weights, err := parseIndex(index, raw)
	if err != nil {
		return nil, err
	}
	return openShards(dir, index, weights)
}

// parseIndex gives the shard of each tensor.
func parseIndex(path string, raw []byte) (map[string]string, error) {
	weights, err := shards.ParseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("safetensors: %s: %w", path, err)
	}
	return weights, nil
}

func openShards(dir, index string, weights map[string]string) (*Checkpoint, error) {
	c := &Checkpoint{tensors: map[string]Tensor{}, metadata: map[string]string{}}
	for _, shard := range slices.Compact(slices.Sorted(maps.Values(weights))) {
		tensors, metadata, err := c.openFile(filepath.Join(dir, shard))
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("safetensors: %s: missing shard %s: %w", index, shard, fs.ErrNotExist)
		}
		if err != nil {
			c.Close()
			return nil, err
		}
		for _, t := range tensors {
			if weights[t.Name] == shard {
				c.tensors[t.Name] = t
			}
		}
		maps.Copy(c.metadata, metadata)
	}
	for _, name := range slices.Sorted(maps.Keys(weights)) {
		if _, ok := c.tensors[name]; !ok {
			c.Close()
			return nil, fmt.Errorf("safetensors: %s: tensor %s: not in its shard %s", index, name, weights[name])
		}
	}
	c.names = slices.Sorted(maps.Keys(c.tensors))
	return c, nil
}

// OpenFile opens one safetensors file of any name.
func OpenFile(path string) (*Checkpoint, error) {
	c := &Checkpoint{}
	tensors, metadata, err := c.openFile(path)
	if err != nil {
		c.Close()
		return nil, err
	}
	return c.fill(tensors, metadata), nil
}

// OpenBytes reads a whole file that is in memory already; name stands for it in messages.
func OpenBytes(name string, raw []byte) (*Checkpoint, error) {
	tensors, metadata, err := parse(files.InMemory(name, raw))
	if err != nil {
		return nil, err
	}
	return (&Checkpoint{}).fill(tensors, metadata), nil
}

func (c *Checkpoint) fill(tensors []Tensor, metadata map[string]string) *Checkpoint {
	c.tensors, c.metadata = make(map[string]Tensor, len(tensors)), metadata
	for _, t := range tensors {
		c.tensors[t.Name] = t
	}
	c.names = slices.Sorted(maps.Keys(c.tensors))
	return c
}

// openFile opens a file, which Close will close, and parses it.
func (c *Checkpoint) openFile(path string) ([]Tensor, map[string]string, error) {
	f, err := files.OpenStored(path)
	if err != nil {
		return nil, nil, fmt.Errorf("safetensors: %w", err)
	}
	c.open = append(c.open, f)
	return parse(f)
}

// Names lists the tensors, sorted.
func (c *Checkpoint) Names() []string { return slices.Clone(c.names) }

// Lookup finds a tensor by its name.
func (c *Checkpoint) Lookup(name string) (Tensor, bool) {
	t, ok := c.tensors[name]
	return t, ok
}

// Metadata is the free text of the header, {"format": "pt"} as a rule; for shards, of all headers together.
func (c *Checkpoint) Metadata() map[string]string { return maps.Clone(c.metadata) }

// Unchanged is an error if one of the files changed since it was opened: with it ends what was made of its tensors.
func (c *Checkpoint) Unchanged() error {
	for _, f := range c.open {
		if err := f.Unchanged(); err != nil {
			return fmt.Errorf("safetensors: %w", err)
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
	c.open, c.tensors, c.names = nil, nil, nil
	if err != nil {
		return fmt.Errorf("safetensors: %w", err)
	}
	return nil
}
