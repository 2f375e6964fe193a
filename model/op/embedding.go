package op

import "github.com/vkcome/vkcome/vk"

// Embedding records y[t] = table[tokens[t] − first] for the tokens with first ≤ token < first + rows; the other rows of y stay, so
// that a table too large for the device can pass through it in tiles.
//
//	y       [tokens, hidden]  F32
//	table   [rows, hidden]    any dtype: rows first, first+1, … of the whole
//	tokens  [1, tokens]       32-bit words
func Embedding(r *vk.Recorder, y, table, tokens Tensor, first int) {
	ok := words(y, tokens) && y.Elements() > 0 && table.Rows > 0 && table.Cols == y.Cols && tokens.Is(1, y.Rows) && first >= 0
	if !check(r, "embedding", ok, y, table, tokens) {
		return
	}
	pieces(r, "embedding", table.Rows, 0, func(row, end int) {
		part := table.RowRange(row, end)
		pieces(r, "embedding", y.Rows, maxGroups, func(begin, end int) {
			dispatch(r, "embedding"+suffix(table.DType), spec("WORKGROUP", rowGroup).with(byFour(y.Cols)...), [3]int{end - begin, 1, 1}, push("hidden", y.Cols, "rows", part.Rows, "first", first+row, "token", begin),
				float64(8*y.Cols*(end-begin)), vk.In(part.View), vk.In(tokens.View), vk.Out(y.RowRange(begin, end).View))
		}, y.RowBytes())
	}, table.RowBytes())
}
