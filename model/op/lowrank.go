package op

import (
	"fmt"

	"github.com/vkcome/vkcome/vk"
)

const maxRank = 1 << 15 // within vk.LoopLimit

// LowRank records y = w + bᵀ·a, a weight with its low-rank update, added up in f32 in the order of the rank and rounded to nearest even in
// w's dtype.
//
//	y, w  [rows, cols]  any dtype, the same; y is another tensor
//	a     [rank, cols]  F32
//	b     [rank, rows]  F32: LoRA's B, transposed
//
// Source: Hu et al. 2022, LoRA, arXiv 2106.09685, without its factor α/r, which is a matter of b's learning rate.
func LowRank(r *vk.Recorder, y, w, a, b Tensor) {
	ok := w.Elements() > 0 && y.Is(w.Rows, w.Cols) && y.DType == w.DType && words(a, b) && a.Rows > 0 && a.Rows <= maxRank && a.Is(a.Rows, w.Cols) && b.Is(a.Rows, w.Rows)
	if !check(r, "lowrank", ok, y, w, a, b) {
		return
	}
	if most := r.Device().Limits().StorageRange; a.Size() > most || b.Size() > most {
		r.Fail(fmt.Errorf("op lowrank: %v and %v, %s binds at most %s: %w", a, b, r.Device().Info.Name, vk.Bytes(most), vk.ErrLimit))
		return
	}
	const most = 4 * rowGroup * maxGroups // elements of a dispatch
	if w.Cols > most {
		r.Fail(fmt.Errorf("op lowrank: %v, rows hold at most %d: %w", w, most, vk.ErrLimit))
		return
	}
	pieces(r, "lowrank", w.Rows, most/w.Cols, func(begin, end int) {
		n := (end - begin) * w.Cols
		blocked, each := (w.Cols|w.Rows|begin|end)%4 == 0, 4
		if blocked {
			each = 16
		}
		dispatch(r, "lowrank"+suffix(w.DType), spec("WORKGROUP", rowGroup), [3]int{ceilDiv(n, each*rowGroup), 1, 1},
			push("count", n, "cols", w.Cols, "rows", w.Rows, "row", begin, "rank", a.Rows, "blocked", int(flag(blocked))), float64(2*n*a.Rows),
			vk.In(w.RowRange(begin, end).View), vk.In(a.View), vk.In(b.View), vk.InOut(y.RowRange(begin, end).View))
	}, w.RowBytes())
}
