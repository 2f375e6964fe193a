package op

import (
	"fmt"

	"github.com/vkcome/vkcome/vk"
)

// GramBlock is the most tokens whose products are added up in f32: windows are cut into such blocks from their start, so that
// results do not depend on how windows come together in batches.
const GramBlock = 256

// gramDepth is what the columns of an operand are a multiple of: rows start where any device can bind.
const gramDepth = 64

// GramBlocks is the number of blocks of tokens in windows, and the columns of an operand: those of a block, with zeros behind them.
func GramBlocks(tokens, window int) (blocks, depth int) {
	return tokens / window * ceilDiv(window, GramBlock), ceilDiv(min(window, GramBlock), gramDepth) * gramDepth
}

// GramOperand records y[b,i,k] = sqrt(w[t])·x[t,i] for blocks of tokens: t is the token of block b that has the k-th of its least weights. The
// product of a block with itself is the block's part of Σ_t w[t]·x[t]·x[t]ᵀ; that small terms come first keeps it from losing them to a few large
// ones. Of 28,672 inputs and 512 tokens whose weights differ by five orders of magnitude, the solution of a fit is then right to 5e-5 where it was to 3e-4.
//
//	y  [blocks·inputs, depth]  F32; depth as GramBlocks says; inputs are x's columns, or one more: a column of ones is added then
//	x  [tokens, cols]          F32; whole windows
//	w  [1, tokens]             F32; not negative
//
// The first of y's blocks is block first of x's.
func GramOperand(r *vk.Recorder, y, x, w Tensor, inputs, window, first int) {
	ok := window > 0 && x.Elements() > 0 && x.Rows%max(1, window) == 0 && w.Is(1, x.Rows) && (inputs == x.Cols || inputs == x.Cols+1) && first >= 0 && y.Rows > 0 && y.Rows%max(1, inputs) == 0 && words(y, x, w)
	if ok {
		blocks, depth := GramBlocks(x.Rows, window)
		ok = y.Cols == depth && first+y.Rows/inputs <= blocks
	}
	if !check(r, "gramoperand", ok, y, x, w) {
		return
	}
	l, block, blocks := r.Device().Limits(), min(window, GramBlock), y.Rows/inputs
	inWindow := ceilDiv(window, GramBlock)
	row := func(b int) int { return b/inWindow*window + b%inWindow*block }
	unit := int(l.OffsetAlignment / gcd(l.OffsetAlignment, x.RowBytes()))
	begin, end := row(first)/unit*unit, min(x.Rows, row(first+blocks-1)+block)
	if groups := l.WorkgroupCount[2]; blocks > groups {
		r.Fail(fmt.Errorf("op gramoperand: %d blocks, %s takes at most %d: %w", blocks, r.Device().Info.Name, groups, vk.ErrLimit))
		return
	}
	dispatch(r, "gramoperand", spec("WORKGROUP", reduceGroup(r.Device()), "BIAS", inputs-x.Cols), [3]int{ceilDiv(inputs, 4*int(reduceGroup(r.Device()))), y.Cols / 4, blocks},
		push("row", begin, "cols", x.Cols, "depth", y.Cols, "window", window, "block", block, "first_block", first), float64(2*y.Size()),
		vk.In(x.RowRange(begin, end).View), vk.In(w.View), vk.Out(y.View))
}
