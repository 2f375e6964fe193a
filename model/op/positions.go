package op

import "github.com/vkcome/vkcome/vk"

// AddPositions adds row start + t % window of a table to row t of y: learned positions, over windows of window rows each.
//
//	y      [rows, hidden]       F32
//	table  [positions, hidden]  any dtype
func AddPositions(r *vk.Recorder, y, table Tensor, window, start int) {
	ok := window > 0 && start >= 0 && y.Elements() > 0 && words(y) && table.Cols == y.Cols && start+min(window, y.Rows) <= table.Rows
	if !check(r, "positions", ok, y, table) {
		return
	}
	turns(r, "positions", table, y.Rows, maxGroups, window, start, func(begin, end int, rows Tensor, turn, row int) {
		part, skip := bindable(r, y, begin, end)
		dispatch(r, "positions"+suffix(table.DType), spec("WORKGROUP", rowGroup), [3]int{ceilDiv(y.Cols, rowGroup), end - begin, 1},
			push("hidden", y.Cols, "window", window, "first", turn, "skip_y", skip, "skip_table", row), float64(12*y.Cols*(end-begin)), vk.InOut(part.View), vk.In(rows.View))
	}, y)
}
