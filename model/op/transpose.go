package op

import "github.com/vkcome/vkcome/vk"

const (
	transposeTile   = 32 // rows and columns of transpose.comp's tile
	transposeTexels = 4  // of a row, for an invocation of its variant that reads texels
)

// Transpose records y = xᵀ, bit by bit.
//
//	y  [cols, rows]  any dtype; not x
//	x  [rows, cols]  y's dtype
func Transpose(r *vk.Recorder, y, x Tensor) {
	if !check(r, "transpose", x.Elements() > 0 && y.Is(x.Cols, x.Rows) && y.DType == x.DType, y, x) {
		return
	}
	d := r.Device()
	texel := texelBytes / x.DType.Size()
	if x.Cols%texel == 0 && x.Rows%texel == 0 && texelLoads(d) {
		bands(r, y, x, texel, 4*maxGroups, func(to, from Tensor, row, col int) {
			dispatchTexels(r, "transpose_texels"+suffix(x.DType), 0b01, spec("WORKGROUP", cpuLanes), [3]int{ceilDiv(from.Rows/texel, cpuLanes), ceilDiv(to.Rows/texel, transposeTexels), 1},
				push("x_cols", x.Cols, "y_cols", y.Cols, "first_row", row, "rows", from.Rows, "first_col", col, "cols", to.Rows), float64(2*from.Size()), vk.In(from.View), vk.Out(to.View))
		})
		return
	}
	if x.DType.Size() == 2 && x.Rows%2 != 0 { // rows of y share words
		bands(r, y, x, 1, max(1, 2*rowGroup*maxGroups/y.Cols), func(to, from Tensor, row, col int) {
			dispatch(r, "transpose"+suffix(x.DType), spec("WORKGROUP", rowGroup, "DIRECT", 1), [3]int{ceilDiv(to.Elements(), 2*rowGroup), 1, 1},
				push("x_cols", x.Cols, "y_cols", y.Cols, "first_row", row, "rows", from.Rows, "first_col", col, "cols", to.Rows), float64(2*from.Size()), vk.In(from.View), vk.InOut(to.View))
		})
		return
	}
	group := uint32(largeGroup(d))
	if d.Info.Kind == vk.CPU {
		group = reduceGroup(d)
	}
	bands(r, y, x, 2, transposeTile/2*maxGroups, func(to, from Tensor, row, col int) {
		dispatch(r, "transpose"+suffix(x.DType), spec("WORKGROUP", group, "DIRECT", 0), [3]int{ceilDiv(from.Rows, transposeTile), ceilDiv(to.Rows, transposeTile), 1},
			push("x_cols", x.Cols, "y_cols", y.Cols, "first_row", row, "rows", from.Rows, "first_col", col, "cols", to.Rows), float64(2*from.Size()), vk.In(from.View), vk.InOut(to.View))
	})
}

// bands calls f for what bindings hold: rows of x from row on and columns of x, which are rows of y, from col on, both multiples of unit and
// at most most units.
func bands(r *vk.Recorder, y, x Tensor, unit, most int, f func(to, from Tensor, row, col int)) {
	pieces(r, "transpose", ceilDiv(y.Rows, unit), most, func(begin, end int) {
		col := begin * unit
		to := y.RowRange(col, min(end*unit, y.Rows))
		pieces(r, "transpose", ceilDiv(x.Rows, unit), most, func(begin, end int) {
			row := begin * unit
			f(to, x.RowRange(row, min(end*unit, x.Rows)), row, col)
		}, int64(unit)*x.RowBytes())
	}, int64(unit)*y.RowBytes())
}
