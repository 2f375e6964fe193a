package op

import (
	"fmt"
	"math"

	"github.com/vkcome/vkcome/vk"
)

// AttentionShape is how Attention reads its tensors.
type AttentionShape struct {
	Windows        int // independent sequences
	QueryLen       int // queries of a window, its last positions
	KeyLen         int // keys of a window, at positions 0 to KeyLen−1
	KeyStride      int // rows of k and v that a window has, KeyLen of them filled; 0 is KeyLen
	Heads, KVHeads int // query head h reads key/value head h/(Heads/KVHeads)
	HeadDim        int // even, at most 256
	SlidingWindow  int // positions that a query sees, its own included; 0 is all
}

// Attention records o = softmax(q·kᵀ/√HeadDim)·v for every window and head, causal: query i of a window is at position
// KeyLen−QueryLen+i and sees the keys up to there.
//
//	q, o  [Windows·QueryLen, Heads·HeadDim]     F32; o may be q
//	k, v  [Windows·KeyStride, KVHeads·HeadDim]  F32
//
// The logits are never in memory. A query's numbers do not depend on how many others, or windows, are in the call. Where k or v of one
// window outgrow a binding, or the loops that a CPU driver allows, the error is a vk.ErrLimit. Sources: Ainslie et al.
// 2023, arXiv 2305.13245 (grouped queries); Milakov & Gimelshein 2018, arXiv 1805.02867 (online softmax).
func Attention(r *vk.Recorder, o, q, k, v Tensor, s AttentionShape) {
	if s.KeyStride == 0 {
		s.KeyStride = s.KeyLen
	}
	ok := s.Windows > 0 && s.QueryLen > 0 && s.QueryLen <= s.KeyLen && s.KeyLen <= s.KeyStride && s.SlidingWindow >= 0 &&
		s.KVHeads > 0 && s.Heads > 0 && s.Heads%s.KVHeads == 0 && s.HeadDim > 0 && s.HeadDim <= MaxHeadDim && s.HeadDim%2 == 0
	ok = ok && q.Is(s.Windows*s.QueryLen, s.Heads*s.HeadDim) && o.Is(q.Rows, q.Cols) &&
		k.Is(s.Windows*s.KeyStride, s.KVHeads*s.HeadDim) && v.Is(k.Rows, k.Cols) && words(o, q, k, v)
	if !check(r, "attention", ok, o, q, k, v) {
		return
	}
	d := r.Device()
	fit := func(t Tensor) int { return int(d.Limits().StorageRange/t.RowBytes()) - rowUnit(r, t) + 1 }
	if fit(k) < s.KeyLen || fit(q) < 1 {
		r.Fail(fmt.Errorf("op attention: a window's %d keys or values of %s, or a query of %s: %s binds at most %s: %w", s.KeyLen,
			vk.Bytes(k.RowBytes()), vk.Bytes(q.RowBytes()), d.Info.Name, vk.Bytes(d.Limits().StorageRange), vk.ErrLimit))
		return
	}
	// As many windows as bindings hold; where the queries of one are too many, some of them.
	windows, queries := min(1+(fit(k)-s.KeyLen)/s.KeyStride, fit(q)/s.QueryLen, s.Windows, maxGroups), s.QueryLen
	if windows == 0 {
		windows, queries = 1, fit(q)
	}
	for window := 0; window < s.Windows; window += windows {
		n := min(windows, s.Windows-window)
		keys := window * s.KeyStride
		partK, skipK := bindable(r, k, keys, keys+(n-1)*s.KeyStride+s.KeyLen)
		partV, _ := bindable(r, v, keys, keys+(n-1)*s.KeyStride+s.KeyLen)
		for begin := 0; begin < s.QueryLen; begin += queries {
			end := min(begin+queries, s.QueryLen)
			partQ, skipQ := bindable(r, q, window*s.QueryLen+begin, (window+n-1)*s.QueryLen+end)
			partO, _ := bindable(r, o, window*s.QueryLen+begin, (window+n-1)*s.QueryLen+end)
			group, first := s.Heads/s.KVHeads, s.KeyLen-s.QueryLen+begin
			variant, spec, rows, err := s.kernel(d, (end-begin)*group)
			if err != nil {
				r.Fail(err)
				return
			}
			seen := float64(2*first+end-begin+1) / 2
			if s.SlidingWindow > 0 {
				seen = min(seen, float64(s.SlidingWindow))
			}
			dispatch(r, variant, spec, [3]int{ceilDiv((end-begin)*group, rows), s.KVHeads, n},
				push(end-begin, s.KeyLen, s.KeyStride, s.KVHeads, group, first, s.SlidingWindow, skipQ, skipK, float32(math.Log2E/math.Sqrt(float64(s.HeadDim)))),
				4*seen*float64(n*(end-begin)*q.Cols), vk.In(partQ.View), vk.In(partK.View), vk.In(partV.View), vk.Out(partO.View))
		}
	}
}

// MaxHeadDim is the largest head that the shaders hold.
const MaxHeadDim = 256

const (
	laneGroups          = 2      // keys that an invocation of attention_subgroup.comp reads for a tile
	attentionIterations = 60_000 // lavapipe 22.3 stops the loops of an invocation at 65,535
)

// kernel chooses the variant for a number of rows, queries times heads of a group, and says how many of them a workgroup takes.
func (s AttentionShape) kernel(d *vk.Device, rows int) (variant string, spec []uint32, perGroup int, err error) {
	dims := ceilDiv(s.HeadDim, 4)
	lanes := d.Limits().SubgroupSize
	if d.Info.Kind == vk.CPU && d.Tier >= vk.Subgroup && s.HeadDim%4 == 0 && (lanes == 4 || lanes == 8 || lanes == 16) &&
		ceilDiv(s.KeyLen, laneGroups*lanes)*(1+2*dims)+5*dims <= attentionIterations {
		perLane := 4
		if rows <= lanes {
			perLane = 1
		}
		return "attention_subgroup", []uint32{uint32(lanes), uint32(s.HeadDim), uint32(perLane), laneGroups}, lanes * perLane, nil
	}
	chunks := ceilDiv(dims, 8)
	if n := ceilDiv(s.KeyLen, 64) * (1 + chunks + 17*ceilDiv(dims, 16)); d.Info.Kind == vk.CPU && n > attentionIterations {
		return "", nil, 0, fmt.Errorf("op attention: %d keys of %d take %d iterations on %s, its driver may stop at %d: %w", s.KeyLen, s.HeadDim, n,
			d.Info.Name, attentionIterations, vk.ErrLimit)
	}
	threads := 8 // along the rows, 4 of them each
	if rows <= 8 {
		threads = 2
	}
	return "attention", []uint32{uint32(16 * threads), uint32(s.HeadDim), uint32(threads), uint32(ceilDiv(dims, chunks))}, 4 * threads, nil
}
