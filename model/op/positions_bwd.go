package op

import "github.com/vkcome/vkcome/vk"

// PositionsBackward records dTable[start + t % window] += dy[t] for every t, those of one position one by one in the order of t: what
// AddPositions passes back to its table.
//
//	dTable  [positions, hidden]  F32
//	dy      [rows, hidden]       F32
func PositionsBackward(r *vk.Recorder, dTable, dy Tensor, window, start int) {
	ok := window > 0 && start >= 0 && dy.Elements() > 0 && words(dTable, dy) && dTable.Cols == dy.Cols && start+min(window, dy.Rows) <= dTable.Rows
	if !check(r, "positions_bwd", ok, dTable, dy) {
		return
	}
	most := min(bindableRows(r, dTable), maxGroups)
	for position := 0; position < min(window, dy.Rows); position += most {
		n := min(most, min(window, dy.Rows)-position)
		table, skip := bindable(r, dTable, start+position, start+position+n)
		pieces(r, "positions_bwd", dy.Rows, sumRows, func(begin, end int) {
			dispatch(r, "positions_bwd", spec("WORKGROUP", rowGroup), [3]int{ceilDiv(dy.Cols, rowGroup), n, 1},
				push("hidden", dy.Cols, "window", window, "position", position, "skip_table", skip, "row", begin, "rows", end-begin), float64(4*dy.Cols*(end-begin)), vk.InOut(table.View), vk.In(dy.RowRange(begin, end).View))
		}, dy.RowBytes())
	}
}
