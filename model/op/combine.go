package op

import (
	"fmt"

	"github.com/vkcome/vkcome/vk"
)

// Combine records y[t] = residual[t] + Σ_c share[t,c]·x[place[t,c]], added up in the order of c, so that the bits are the same each time.
//
//	y, residual  [rows, cols]     F32; y may be residual
//	x            [.., cols]       F32
//	share        [rows, chosen]   F32
//	place        [rows, chosen]   32-bit words, rows of x
func Combine(r *vk.Recorder, y, x, share, place, residual Tensor) {
	ok := words(y, x, share, place, residual) && y.Elements() > 0 && x.Elements() > 0 && share.Elements() > 0 && x.Cols == y.Cols && residual.Is(y.Rows, y.Cols) &&
		share.Rows == y.Rows && place.Is(share.Rows, share.Cols)
	if !check(r, "combine", ok, y, x, share, place, residual) {
		return
	}
	if most := r.Device().Limits().StorageRange; x.Size() > most || ceilDiv(y.Cols, rowGroup) > maxGroups {
		r.Fail(fmt.Errorf("op combine: %v, %s binds at most %s: %w", x, r.Device().Info.Name, vk.Bytes(most), vk.ErrLimit))
		return
	}
	pieces(r, "combine", y.Rows, maxGroups, func(begin, end int) {
		dispatch(r, "combine", spec("WORKGROUP", rowGroup), [3]int{ceilDiv(y.Cols, rowGroup), end - begin, 1}, push("cols", y.Cols, "chosen", share.Cols),
			float64(4*(2+share.Cols)*(end-begin)*y.Cols), vk.In(x.View), vk.In(share.RowRange(begin, end).View), vk.In(place.RowRange(begin, end).View),
			vk.In(residual.RowRange(begin, end).View), vk.Out(y.RowRange(begin, end).View))
	}, y.RowBytes(), share.RowBytes())
}
