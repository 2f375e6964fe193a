package prune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
)

// StatsOptions say what of a corpus to compute stats on.
type StatsOptions struct {
	Windows       [][]uint32 // the whole corpus: windows of equal length
	Shard, Shards int        // compute part Shard of Shards, from 0 on; 0 Shards: all of it
	Memory        *states.HostMemory
	Seed          uint64 // that the windows were sampled with, for the record
	Source        string // names of the files that the windows were made of, for the record
}

// ComputeStats computes what the first step of pruning m needs to know of a corpus, or of a shard of it: score.Merge joins those of all
// shards, and Options.Stats takes the result for the corpus. The devices share the windows. progress may be nil.
func ComputeStats(ctx context.Context, devices []*vk.Device, m *model.Model, o StatsOptions, progress func(Status)) (stats *score.Stats, err error) {
	if len(o.Windows) == 0 {
		return nil, errors.New("prune: the calibration corpus is empty")
	}
	part, begin, err := score.Shard(o.Windows, o.Shard, max(1, o.Shards))
	if err != nil {
		return nil, err
	}
	o.Memory.Begin(devices[0])
	s, err := score.NewOn(devices, m, part, func(d *vk.Device) run.Options {
		options := score.Options(d)
		options.Host = o.Memory
		return options
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Update(ctx, m, 0, 0); err != nil {
		return nil, err
	}
	err = s.All(ctx, len(m.Layers), func(done, total int) {
		if progress != nil {
			progress(Status{Stage: fmt.Sprintf("score %d layers", total), Done: done, Total: total})
		}
	})
	if err != nil {
		return nil, err
	}
	if stats, err = s.Stats(); err != nil {
		return nil, err
	}
	stats.Corpus, stats.Total, stats.Begin, stats.Seed, stats.Source = corpus.Hash(o.Windows), len(o.Windows), begin, o.Seed, o.Source
	if stats.Model, err = model.Hash(ctx, m.Files); err != nil {
		return nil, fmt.Errorf("prune: hash of the model: %w", err)
	}
	return stats, nil
}

// FindStats reads the stats that ComputeStats would compute from a file that is there already, nil if there is none. A file with others is an error.
func FindStats(ctx context.Context, path string, m *model.Model, o StatsOptions) (*score.Stats, error) {
	stats, err := score.OpenStats(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	part, begin, err := score.Shard(o.Windows, o.Shard, max(1, o.Shards))
	if err != nil {
		return nil, err
	}
	hash, err := model.Hash(ctx, m.Files)
	if err != nil {
		return nil, fmt.Errorf("prune: hash of the model: %w", err)
	}
	what := ""
	switch {
	case stats.Model != hash:
		what = "another model"
	case stats.Corpus != corpus.Hash(o.Windows) || stats.Seed != o.Seed || stats.Source != o.Source:
		what = "another corpus"
	case stats.Begin != begin || len(stats.Windows) != len(part):
		what = fmt.Sprintf("windows %d to %d, not of %d to %d", stats.Begin, stats.Begin+len(stats.Windows)-1, begin, begin+len(part)-1)
	default:
		return stats, nil
	}
	return nil, fmt.Errorf("prune: %s %w and holds figures of %s; choose another name, or score.SaveOptions.Force to replace it", path, ErrExists, what)
}
