package op

import (
	"fmt"
	"math/bits"

	"github.com/vkcome/vkcome/vk"
)

const (
	absBlock = 64      // rows that abssum.comp adds up before it adds them to the total
	absRows  = 1 << 15 // rows of one invocation: within vk.LoopLimit, and the sums are the same
)

// AbsSum records sums[g,c] = Σ |x[i,c]| over the rows i of every window g.
//
//	sums  [windows, channels]         F32
//	x     [windows·window, channels]  F32
func AbsSum(r *vk.Recorder, sums, x Tensor, window int) {
	if check(r, "abssum", window > 0 && x.Elements() > 0 && words(sums, x) && x.Is(sums.Rows*window, sums.Cols), sums, x) {
		absSum(r, "abssum", ofAbs, sums, x, Tensor{}, window, false)
	}
}

// ColumnAbsSum records sums[c] = Σ_i |w[i,c]|.
//
//	sums  [1, cols]     F32
//	w     [rows, cols]  any dtype
func ColumnAbsSum(r *vk.Recorder, sums, w Tensor) {
	if check(r, "columnabssum", w.Elements() > 0 && words(sums) && sums.Is(1, w.Cols), sums, w) {
		absSum(r, "columnabssum", ofAbs, sums, w, Tensor{}, w.Rows, false)
	}
}

// SquareSum records sums[g,c] = Σ x[i,c]² over the rows i of every window g.
//
//	sums  [windows, channels]         F32
//	x     [windows·window, channels]  any dtype
func SquareSum(r *vk.Recorder, sums, x Tensor, window int) {
	if check(r, "squaresum", window > 0 && x.Elements() > 0 && words(sums) && x.Is(sums.Rows*window, sums.Cols), sums, x) {
		absSum(r, "squaresum", ofSquares, sums, x, Tensor{}, window, false)
	}
}

// ColumnSum records sums[c] = Σ_i x[i,c], or with accumulate sums[c] += Σ_i x[i,c].
//
//	sums  [1, cols]     F32
//	x     [rows, cols]  any dtype
func ColumnSum(r *vk.Recorder, sums, x Tensor, accumulate bool) {
	if check(r, "columnsum", x.Elements() > 0 && words(sums) && sums.Is(1, x.Cols), sums, x) {
		absSum(r, "columnsum", ofValues, sums, x, Tensor{}, x.Rows, accumulate)
	}
}

// ColumnAbsDot records sums[c] += Σ_i |w[i,c]·g[i,c]|: of a weight and its gradient, the Taylor scores of its columns.
//
//	sums  [1, cols]     F32
//	w     [rows, cols]  any dtype
//	g     [rows, cols]  F32
//
// Source: Molchanov et al. 2019, arXiv 1906.10771.
func ColumnAbsDot(r *vk.Recorder, sums, w, g Tensor) {
	if check(r, "columnabsdot", w.Elements() > 0 && words(sums, g) && sums.Is(1, w.Cols) && g.Is(w.Rows, w.Cols), sums, w, g) {
		absSum(r, "columnabsdot", ofProducts, sums, w, g, w.Rows, true)
	}
}

// What abssum.comp adds up.
const (
	ofAbs uint32 = iota
	ofSquares
	ofValues
	ofProducts
)

// absSum gives a dispatch as many windows as a binding holds, or, where that is less than one, cuts a window between the shader's
// blocks, so that the additions stay the same. y is there for ofProducts.
func absSum(r *vk.Recorder, op string, of uint32, sums, x, y Tensor, window int, accumulate bool) {
	d := r.Device()
	widest, fit := x, bindableRows(r, x)
	if !y.IsZero() && bindableRows(r, y) < fit {
		widest, fit = y, bindableRows(r, y)
	}
	count, step := 1, window
	if fit >= window && window <= absRows {
		count = min(fit/window, maxGroups)
	} else if step = min(fit, absRows) / absBlock * absBlock; step <= 0 {
		r.Fail(fmt.Errorf("op %s: %d rows of %s, %s binds at most %s: %w", op, absBlock, vk.Bytes(widest.RowBytes()), d.Info.Name, vk.Bytes(d.Limits().StorageRange), vk.ErrLimit))
		return
	}
	for first := 0; first < sums.Rows; first += count {
		n := min(count, sums.Rows-first)
		to, sum := bindable(r, sums, first, first+n)
		for begin := 0; begin < window; begin += step {
			low, high := first*window+begin, (first+n-1)*window+min(begin+step, window)
			part, row := bindable(r, x, low, high)
			other, rowY := part, 0 // something has to be bound
			if !y.IsZero() {
				other, rowY = bindable(r, y, low, high)
			}
			shader, texels, group, columns := "abssum", uint32(0), uint32(rowGroup), 4*rowGroup
			special := byFour(x.Cols)
			if t := texelBytes / x.DType.Size(); x.Cols%t == 0 && texelLoads(d) {
				shader, texels, group, columns = "abssum_texels", 0b101, cpuLanes, cpuLanes*t
				special = nil
			}
			dispatchTexels(r, shader+suffix(x.DType), texels, spec("WORKGROUP", group, "OF", of).with(special...), [3]int{ceilDiv(x.Cols, columns), n, 1},
				push("cols", x.Cols, "rows", min(step, window-begin), "window", window, "row", row, "sum", sum, "more", flag(accumulate || begin > 0), "row_y", rowY), float64(part.Size()), vk.In(part.View), vk.InOut(to.View), vk.In(other.View))
		}
	}
}

// Sensitivity records s[k] = 1/(tokens·width) · Σ_c (Σ_g sums[g,c]) · columns[c] over the width channels c of every group k: with
// sums from AbsSum over the windows of a corpus and columns from ColumnAbsSum, the mean of |x|·Σ|w| by which units are ranked.
//
//	s        [1, channels/width]  F32
//	sums     [windows, channels]  F32
//	columns  [1, channels]        F32
func Sensitivity(r *vk.Recorder, s, sums, columns Tensor, width, tokens int) {
	ok := width > 0 && tokens > 0 && s.Elements() > 0 && words(s, sums, columns) && s.Is(1, columns.Cols/max(width, 1)) && columns.Is(1, s.Cols*width)
	if !check(r, "sensitivity", ok && sums.Rows > 0 && sums.Cols == columns.Cols, s, sums, columns) {
		return
	}
	share := min(rowGroup, 1<<bits.Len(uint(width-1)))
	scale := float32(1 / (float64(tokens) * float64(width)))
	// Half a MiB of sums at a time, however much a binding holds, so that the order of the additions is the same on every device.
	step := max(1, 1<<17/sums.Cols)
	for begin := 0; begin < sums.Rows; begin += step {
		end := min(begin+step, sums.Rows)
		part, row := bindable(r, sums, begin, end)
		dispatch(r, "sensitivity", spec("WORKGROUP", rowGroup, "SHARE", share), [3]int{ceilDiv(s.Cols, rowGroup/share), 1, 1},
			push("groups", s.Cols, "width", width, "rows", end-begin, "row", row, "scale", scale, "more", min(begin, 1)), float64(part.Size()), vk.In(part.View), vk.In(columns.View), vk.InOut(s.View))
	}
}
