package graph

import (
	"context"
	"errors"
	"fmt"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// HeadUnit is how many columns of logits are folded into a token's loss at a time, and what tiles of the LM head are multiples of.
// It is fixed, whatever the memory: the last bits of a streamed softmax depend on where it is cut.
const HeadUnit = 1024

// headTile is the key of rows of an LM head that are on the device, by the head's number among those that are streamed together.
type headTile struct{ head, begin, end int }

// HeadTiles calls visit with the LM head tile by tile, each as large as half the cache's budget allows, the next on its way while
// the current one is used. The recorder is waited for after each.
func HeadTiles(ctx context.Context, c *Cache, r *vk.Recorder, m *model.Model, visit func(first int, w op.Tensor) error) error {
	return HeadTilesOf(ctx, c, r, []*model.Model{m}, func(first int, w []op.Tensor) error { return visit(first, w[0]) })
}

// HeadTilesOf is HeadTiles for the LM heads of several models, which have the same number of rows: visit gets the same rows of each.
// The heads of a cache are always these.
func HeadTilesOf(ctx context.Context, c *Cache, r *vk.Recorder, models []*model.Model, visit func(first int, w []op.Tensor) error) error {
	rowBytes, rows := 0, models[0].Top[arch.Head].Rows
	for _, m := range models {
		rowBytes += m.Top[arch.Head].Cols * m.Top[arch.Head].DType.Size()
	}
	step := max(HeadUnit, int(c.budget/2/int64(rowBytes))/HeadUnit*HeadUnit)
	tile := func(head, begin int) (headTile, []model.Weight) {
		end := min(begin+step, rows)
		return headTile{head, begin, end}, []model.Weight{models[head].Top[arch.Head].RowRange(begin, end)}
	}
	tensors := make([]op.Tensor, len(models))
	visitTile := func(begin int) (err error) {
		var keys []headTile
		defer func() {
			for _, key := range keys {
				c.Release(key)
			}
		}()
		for i, m := range models {
			key, weights := tile(i, begin)
			w, err := c.Acquire(ctx, key, weights)
			if err != nil {
				return fmt.Errorf("model: %s: LM head: %w", m.Name, err)
			}
			keys, tensors[i] = append(keys, key), w[0]
		}
		for i, m := range models {
			key, weights := tile(i, begin)
			if key.end < rows {
				next, nextWeights := tile(i, key.end)
				c.Prefetch(ctx, next, nextWeights)
			}
			if !c.checked[key] {
				if err := CheckFinite(ctx, r, tensors[i:i+1], weights); err != nil {
					return fmt.Errorf("model: %s: LM head: %w", m.Name, err)
				}
				c.checked[key] = true
			}
		}
		if err := errors.Join(visit(begin, tensors), r.Wait(ctx)); err != nil {
			return fmt.Errorf("model: %s: LM head: %w", models[0].Name, err)
		}
		return nil
	}
	for begin := 0; begin < rows; begin += step {
		if err := visitTile(begin); err != nil {
			return err
		}
	}
	return nil
}
