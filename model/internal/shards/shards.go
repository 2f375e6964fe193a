// Package shards reads the index of weights that lie in several files, and says what names tensors and such files may have: those of
// safetensors and of PyTorch alike.
package shards

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/vkcome/vkcome/model/files"
	"github.com/vkcome/vkcome/model/internal/lfs"
)

// Limits on what goes into memory and into messages, far above those of real files.
const (
	MaxIndex = 64 << 20 // bytes; a tensor takes about 100
	maxName  = 1 << 10  // bytes; the longest have about 100
)

// ParseIndex gives the shard of each tensor. A shard must be a plain name, so that an index cannot reach outside its folder.
func ParseIndex(raw []byte) (map[string]string, error) {
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := lfs.Check(raw); err != nil {
		return nil, err
	}
	if err := files.JSON(raw, &index); err != nil {
		return nil, err
	}
	if len(index.WeightMap) == 0 {
		return nil, errors.New("weight_map is empty")
	}
	for _, name := range slices.Sorted(maps.Keys(index.WeightMap)) {
		shard := index.WeightMap[name]
		if err := CheckName(name); err != nil {
			return nil, err
		}
		if len(shard) > maxName || !printable(shard) || shard == "." || strings.ContainsAny(shard, `/\`) || !filepath.IsLocal(shard) {
			return nil, fmt.Errorf("tensor %s: shard %.60q is not a plain file name", name, shard)
		}
	}
	return index.WeightMap, nil
}

// CheckName keeps names of tensors that would fill a screen, break a line or steer a terminal out of messages.
func CheckName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("tensor %.60q…: the name has %d bytes, the limit is %d", name, len(name), maxName)
	}
	if !printable(name) {
		return fmt.Errorf("tensor %.60q: the name has control characters", name)
	}
	return nil
}

func printable(name string) bool { return !strings.ContainsFunc(name, unicode.IsControl) }
