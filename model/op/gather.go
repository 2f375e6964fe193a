package op

import "github.com/vkcome/vkcome/vk"

// GatherRows records dst[dstRow+i] = src[index[i]], bit by bit; the other rows of dst stay. An index beyond src takes its last row.
//
//	dst    [.., cols]    any dtype
//	src    [rows, cols]  dst's dtype
//	index  [1, n]        32-bit words
func GatherRows(r *vk.Recorder, dst Tensor, dstRow int, src, index Tensor) {
	n := index.Cols
	ok := n > 0 && words(index) && dst.DType == src.DType && dst.Cols == src.Cols && index.Is(1, n) && dstRow >= 0 && dstRow+n <= dst.Rows
	if !check(r, "gatherrows", ok, dst, src, index) {
		return
	}
	pieces(r, "gatherrows", dst.Rows, gatherBound(dst), func(begin, end int) {
		from, to := max(begin, dstRow), min(end, dstRow+n)
		if from >= to {
			return
		}
		pieces(r, "gatherrows", src.Rows, 0, func(srcBegin, srcEnd int) {
			gather(r, 0, dst.RowRange(begin, end), src.RowRange(srcBegin, srcEnd), index, area{from - begin, to - from, 0, dst.Cols},
				src.Rows-1, from-dstRow, srcBegin)
		}, src.RowBytes())
	}, dst.RowBytes())
}

// GatherCols records dst[t][dstCol+i] = src[t][index[i]] for every row t, bit by bit; the other columns of dst stay. An index beyond
// src takes its last column.
//
//	dst    [rows, ..]    any dtype
//	src    [rows, cols]  dst's dtype
//	index  [1, n]        32-bit words
func GatherCols(r *vk.Recorder, dst Tensor, dstCol int, src, index Tensor) {
	n := index.Cols
	ok := n > 0 && words(index) && dst.DType == src.DType && dst.Rows == src.Rows && index.Is(1, n) && dstCol >= 0 && dstCol+n <= dst.Cols
	if !check(r, "gathercols", ok, dst, src, index) {
		return
	}
	pieces(r, "gathercols", dst.Rows, gatherBound(dst), func(begin, end int) {
		gather(r, 1, dst.RowRange(begin, end), src.RowRange(begin, end), index, area{0, end - begin, dstCol, n}, src.Cols-1, 0, 0)
	}, dst.RowBytes(), src.RowBytes())
}

// area is what a dispatch may write of dst.
type area struct{ row, rows, col, cols int }

func gather(r *vk.Recorder, byColumn uint32, dst, src, index Tensor, a area, last, first, srcFirst int) {
	perWord := 4 / dst.DType.Size()
	word, end := a.row*dst.Cols/perWord, ceilDiv((a.row+a.rows)*dst.Cols, perWord)
	dispatch(r, "gather"+suffix(dst.DType), spec("WORKGROUP", rowGroup, "BY_COLUMN", byColumn), [3]int{ceilDiv(end-word, rowGroup), 1, 1},
		push("cols", dst.Cols, "src_cols", src.Cols, "row", a.row, "rows", a.rows, "col", a.col, "columns", a.cols, "word", word, "end", end, "last", last,
			"first", first, "src_first", srcFirst, "src_rows", src.Rows), float64(8*(end-word)),
		vk.In(src.View), vk.In(index.View), vk.InOut(dst.View))
}

// gatherBound is how many rows one dispatch writes, a word an invocation.
func gatherBound(dst Tensor) int { return max(1, int(4*rowGroup*maxGroups/dst.RowBytes())) }
