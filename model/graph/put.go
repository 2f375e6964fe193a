package graph

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Put puts a weight's values into a view on the device, which has their size, and returns when they are there.
func Put(ctx context.Context, d *vk.Device, v vk.View, w model.Weight) (err error) {
	if !w.Made() {
		if w.Size() != v.Size() {
			return fmt.Errorf("%s: %d bytes, the place on the device has %d", w.Name, w.Size(), v.Size())
		}
		return w.Pieces(func(at int64, data []byte) error { return d.Upload(ctx, v.Slice(at, int64(len(data))), data) })
	}
	r, err := d.NewRecorder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	op.Random(r, op.Of(v, w.DType, w.Rows, w.Cols), w.Seed, w.Scale)
	return r.Wait(ctx)
}

// PutNew puts a weight into a buffer of a scope. Of a scope that is dry or met an error, the tensor has no values.
func PutNew(ctx context.Context, s *vk.Scope, w model.Weight) op.Tensor {
	if w.IsZero() {
		return op.Tensor{}
	}
	b := s.Buffer(w.Name, w.Size(), vk.OnDevice)
	if s.Live() {
		s.Fail(Put(ctx, s.Device(), b.All(), w))
	}
	return op.Of(b.All(), w.DType, w.Rows, w.Cols)
}

// Words are 32-bit words as the device reads them.
func Words(list []uint32) []byte {
	raw := make([]byte, 0, 4*len(list))
	for _, v := range list {
		raw = binary.LittleEndian.AppendUint32(raw, v)
	}
	return raw
}

// PutWords puts words at the beginning of a buffer, which has room for them.
func PutWords(ctx context.Context, d *vk.Device, b *vk.Buffer, list []uint32) (op.Tensor, error) {
	t := op.Of(b.All(), dtype.F32, 1, len(list))
	return t, d.Upload(ctx, t.View, Words(list))
}

// Read reads a tensor's values, once what made them was waited for.
func Read(ctx context.Context, d *vk.Device, dst []float32, t op.Tensor) error {
	raw := make([]byte, t.Size())
	if err := d.Download(ctx, raw, t.View); err != nil {
		return err
	}
	t.DType.Decode(dst, raw)
	return nil
}

// RoleJoins says of a layer's weights by role which lie right behind the one before.
func RoleJoins(role int) bool { return arch.Role(role).Info().Joins }

// Layout is where each of a set of weights lies in one buffer: at an offset that can be bound, unless it joins the one before it. bytes is
// what the buffer needs at most, whichever join.
func Layout(d *vk.Device, weights []model.Weight, joins func(i int) bool) (places []int64, bytes int64) {
	var at int64
	for i, w := range weights {
		if !joins(i) {
			at = Aligned(d, at)
		}
		places = append(places, at)
		at += w.Size()
		bytes += Aligned(d, w.Size())
	}
	return places, bytes
}

// Aligned rounds an offset up to one that can be bound.
func Aligned(d *vk.Device, n int64) int64 {
	a := max(d.Limits().OffsetAlignment, 4)
	return (n + a - 1) / a * a
}

// LayerBytes is the device memory that a layer's weights take in a Cache.
func LayerBytes(d *vk.Device, l *model.Layer) int64 {
	_, bytes := Layout(d, l.Weights[:], RoleJoins)
	return bytes
}

// CheckFinite refuses weights that hold NaN or infinity, counted on the device. Roles that are joined are counted with the first of
// them, at whose offset they can be bound.
func CheckFinite(ctx context.Context, r *vk.Recorder, tensors []op.Tensor, weights []model.Weight) error {
	d := r.Device()
	buf, err := d.NewBuffer("non-finite counts", int64(4*len(weights)), vk.OnDevice)
	if err != nil {
		return err
	}
	defer d.Free(buf)
	raw := make([]byte, 4*len(weights))
	if err := d.Upload(ctx, buf.All(), raw); err != nil {
		return err
	}
	counts := op.Of(buf.All(), dtype.F32, 1, len(weights))
	for i := 0; i < len(tensors); i++ {
		slot, t := i, tensors[i]
		for ; i+1 < len(tensors) && RoleJoins(i+1); i++ {
			if !t.IsZero() {
				t.View = t.View.Through(tensors[i+1].View)
				t.Rows, t.Cols = 1, t.Elements()+tensors[i+1].Elements()
			}
		}
		if !t.IsZero() {
			op.NonFinite(r, counts, slot, t)
		}
	}
	if err := r.Wait(ctx); err != nil {
		return err
	}
	if err := d.Download(ctx, raw, buf.All()); err != nil {
		return err
	}
	for i := range weights {
		if binary.LittleEndian.Uint32(raw[4*i:]) == 0 {
			continue
		}
		for _, w := range weights[i:] { // which of the joined ones
			for _, p := range w.Parts() {
				if n, err := p.NonFinite(); err != nil {
					return err
				} else if n > 0 {
					return fmt.Errorf("tensor %s: %d of %d values are NaN or infinite", p.Name, n, p.Rows*p.Cols)
				}
			}
		}
	}
	return nil
}
