package op

import (
	"cmp"
	"slices"

	"github.com/vkcome/vkcome/vk"
)

const sumRows = 1 << 15 // rows of dy in a dispatch that adds them one by one: within vk.LoopLimit, and the sums are the same

// EmbeddingRows are the tokens of a batch in the order in which EmbeddingBackward takes them: what SortTokens makes.
type EmbeddingRows struct {
	IDs    Tensor // [1, n]       32-bit words: the distinct tokens
	Starts Tensor // [1, n+1]     32-bit words: where the rows of each begin in Order, and the end
	Order  Tensor // [1, tokens]  32-bit words: the rows of each distinct token, ascending
}

// SortTokens gives what EmbeddingRows holds for tokens: the distinct ones, ascending, where the rows of each begin in order, and those
// rows, ascending.
func SortTokens(tokens []uint32) (ids, starts, order []uint32) {
	order = make([]uint32, len(tokens))
	for t := range order {
		order[t] = uint32(t)
	}
	slices.SortStableFunc(order, func(a, b uint32) int { return cmp.Compare(tokens[a], tokens[b]) })
	for i, t := range order {
		if i == 0 || tokens[t] != ids[len(ids)-1] {
			ids, starts = append(ids, tokens[t]), append(starts, uint32(i))
		}
	}
	return ids, append(starts, uint32(len(order))), order
}

// EmbeddingBackward records dTable[tokens[t]] += dy[t] for every t, those of one token one by one in the order of t. Tokens beyond the
// table are left out.
//
//	dTable  [vocab, hidden]   F32
//	dy      [tokens, hidden]  F32
func EmbeddingBackward(r *vk.Recorder, dTable, dy Tensor, rows EmbeddingRows) {
	n := rows.IDs.Cols
	ok := words(dTable, dy, rows.IDs, rows.Starts, rows.Order) && dy.Elements() > 0 && dTable.Rows > 0 && dTable.Cols == dy.Cols && n > 0 &&
		rows.IDs.Is(1, n) && rows.Starts.Is(1, n+1) && rows.Order.Is(1, dy.Rows)
	if !check(r, "embedding_bwd", ok, dTable, dy, rows.IDs, rows.Starts, rows.Order) {
		return
	}
	shader, texels, group, columns := "embedding_bwd", uint32(0), rowGroup, rowGroup
	if dy.Cols%4 == 0 && texelLoads(r.Device()) {
		shader, texels, group, columns = "embedding_bwd_texels", 0b11, cpuLanes, 4*cpuLanes
	}
	pieces(r, "embedding_bwd", dTable.Rows, 0, func(first, last int) {
		pieces(r, "embedding_bwd", dy.Rows, sumRows, func(begin, end int) {
			for id := 0; id < n; id += maxGroups {
				dispatchTexels(r, shader, texels, spec("WORKGROUP", group), [3]int{min(n-id, maxGroups), ceilDiv(dy.Cols, columns), 1},
					push("hidden", dy.Cols, "table_rows", last-first, "first", first, "id", id, "row", begin, "rows", end-begin), float64(4*dy.Cols*(end-begin)), vk.InOut(dTable.RowRange(first, last).View),
					vk.In(dy.RowRange(begin, end).View), vk.In(rows.IDs.View), vk.In(rows.Starts.View), vk.In(rows.Order.View))
			}
		}, dy.RowBytes())
	}, dTable.RowBytes())
}
