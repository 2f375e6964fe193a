package files

import (
	"context"
	"io"
)

// heeded is how many bytes are read between two looks at a context: on a slow disk, or out of a slow decompressor, a small part of a second.
const heeded = 256 << 10

// Heed is a reader that ends with a context: what is read may be large, or be small and become large, and say nothing for a long time.
func Heed(ctx context.Context, r io.Reader) io.Reader { return &heeding{ctx, r} }

type heeding struct {
	ctx context.Context
	r   io.Reader
}

func (h *heeding) Read(p []byte) (int, error) {
	if err := h.ctx.Err(); err != nil {
		return 0, err
	}
	return h.r.Read(p[:min(len(p), heeded)])
}
