package states

import (
	"context"

	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Copy is a copy of a view in one of the two memories of a Store. The zero Copy is none.
type Copy struct{ c chunk }

// NewCopy records a copy of a view, on the device while there is room for states, or waits for what was recorded and copies to host memory. Where
// that has no room either there is none: files are for states, and what is copied can be computed again.
func NewCopy(ctx context.Context, s *Store, v vk.View) (c Copy, err error) {
	if c.c.device, err = s.place(v.Size()); err != nil {
		return c, err
	}
	if c.c.device != nil {
		s.r.Copy(c.c.device.View(0, v.Size()), v)
		return c, s.r.Err()
	}
	if !s.host.take(v.Size()) {
		return c, nil
	}
	if err := s.r.Wait(ctx); err != nil {
		s.host.give(v.Size())
		return c, err
	}
	c.c.host, err = s.download(ctx, v)
	return c, err
}

// There says whether there is a copy.
func (c Copy) There() bool { return c.c.there() }

// Tensor is the copy as a tensor of the shape of staging, good for recording: where it lies, or in staging once what was recorded is done.
func (c Copy) Tensor(ctx context.Context, s *Store, staging op.Tensor) (op.Tensor, error) {
	if c.c.device != nil {
		return op.Of(c.c.device.View(0, staging.Size()), staging.DType, staging.Rows, staging.Cols), nil
	}
	if err := s.r.Wait(ctx); err != nil {
		return op.Tensor{}, err
	}
	return staging, s.load(ctx, c.c.block, staging.View)
}

// Drop frees the copy, which nothing on its way may still use.
func (c Copy) Drop(s *Store) { s.drop(c.c) }
