package graph

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// fewTokens is how many embeddings the host decodes: for so few a dispatch costs more.
const fewTokens = 512

// Embed fills out [tokens, hidden] with the embeddings of tokens, scaled as the model says, and returns when they are there; what was recorded is waited for. Only the
// rows that are used travel, in the table's dtype or, of few tokens, decoded by the host: the values are the same. It refuses rows that
// hold NaN.
func Embed(ctx context.Context, r *vk.Recorder, c *arch.Config, table model.Weight, tokens []uint32, out op.Tensor) error {
	if err := r.Wait(ctx); err != nil {
		return err
	}
	scale := float32(c.EmbeddingScale)
	if len(tokens) <= fewTokens {
		return embedFew(ctx, r.Device(), scale, table, tokens, out)
	}
	return embedMany(ctx, r, scale, table, tokens, out)
}

func embedFew(ctx context.Context, d *vk.Device, scale float32, table model.Weight, tokens []uint32, out op.Tensor) error {
	stored := make([]byte, table.Cols*table.DType.Size())
	row, raw := make([]float32, table.Cols), make([]byte, out.Size())
	for i, t := range tokens {
		values, err := table.ReadRows(stored, int(t), int(t)+1)
		if err != nil {
			return err
		}
		table.DType.Decode(row, values)
		for j, v := range row {
			if scale != 0 {
				row[j] *= scale
			}
			if v-v != 0 {
				n, err := table.NonFinite()
				return cmp.Or(err, fmt.Errorf("tensor %s: %d of %d values are NaN or infinite", table.Name, n, table.Rows*table.Cols))
			}
		}
		dtype.F32.Encode(raw[i*4*len(row):(i+1)*4*len(row)], row)
	}
	return d.Upload(ctx, out.View, raw)
}

func embedMany(ctx context.Context, r *vk.Recorder, scale float32, table model.Weight, tokens []uint32, out op.Tensor) error {
	used := slices.Clone(tokens)
	slices.Sort(used)
	used = slices.Compact(used)
	rowBytes := table.Cols * table.DType.Size()
	rowsInUse := make([]byte, 0, (len(used)*rowBytes+3)&^3)
	stored := make([]byte, rowBytes)
	for _, t := range used {
		row, err := table.ReadRows(stored, int(t), int(t)+1)
		if err != nil {
			return err
		}
		rowsInUse = append(rowsInUse, row...)
	}
	raw := make([]byte, 4*len(tokens))
	for i, t := range tokens {
		row, _ := slices.BinarySearch(used, t)
		binary.LittleEndian.PutUint32(raw[4*i:], uint32(row))
	}
	d := r.Device()
	s := d.NewScope()
	defer s.Free()
	rows, ids := s.Buffer("embedding rows", int64(len(rowsInUse)), vk.OnDevice), s.Buffer("token ids", int64(len(raw)), vk.OnDevice)
	if err := s.Err(); err != nil {
		return err
	}
	if err := d.Upload(ctx, rows.All(), rowsInUse); err != nil {
		return err
	}
	if err := d.Upload(ctx, ids.All(), raw); err != nil {
		return err
	}
	inUse := op.Of(rows.All(), table.DType, len(used), table.Cols)
	if err := CheckFinite(ctx, r, []op.Tensor{inUse}, []model.Weight{table}); err != nil {
		return err
	}
	op.Embedding(r, out, inUse, op.Of(ids.All(), dtype.F32, 1, len(tokens)), 0)
	ScaleEmbeddings(r, scale, out)
	return r.Wait(ctx)
}

// ScaleEmbeddings records that embeddings, or their gradients, are multiplied by a model's EmbeddingScale; 0 is 1.
func ScaleEmbeddings(r *vk.Recorder, scale float32, x op.Tensor) {
	if scale != 0 {
		op.Scale(r, x, x, scale)
	}
}

// EmbedBytes counts what Embed takes for so many tokens while it runs.
func EmbedBytes(s *vk.Scope, table model.Weight, tokens int) {
	if tokens > fewTokens {
		s.Add(int64(tokens) * (int64(table.Cols)*int64(table.DType.Size()) + 4))
	}
}

// AddPositions records out + the learned positions of a batch's rows, unless positions are rotary: from first on in each sequence of a
// window, and where they are in a pack.
func AddPositions(r *vk.Recorder, out, positions op.Tensor, rows Rows, first int) {
	switch {
	case positions.IsZero():
	case rows.Pack != nil:
		op.AddPositions(r, out, rows.Pack.Gather(r, positions), out.Rows, 0)
	default:
		op.AddPositions(r, out, positions, rows.Window, first)
	}
}
