package op

import (
	"fmt"

	"github.com/vkcome/vkcome/vk"
)

// CholeskyBlock is the largest size of the blocks that Cholesky factors.
const CholeskyBlock = 128

// Cholesky records the factor of a block, l·lᵀ = −x. A factorization in blocks adds up products for x, and so has no need to
// subtract: its x starts as the matrix with the other sign.
//
//	l       [n, n]       F32; 0 above the diagonal; n at most 128
//	x       [n, n]       F32, of which the lower triangle is read; not l
//	failed  [1, blocks]  F32; element block becomes 1 where −x is not positive definite, l is of no use then; otherwise 0
//
// Source: Golub & Van Loan, Matrix Computations, 4.2.
func Cholesky(r *vk.Recorder, l, x, failed Tensor, block int) {
	n := x.Rows
	if !check(r, "cholesky", n > 0 && n <= CholeskyBlock && x.Is(n, n) && l.Is(n, n) && words(l, x, failed) && failed.Rows == 1 && block >= 0 && block < failed.Cols, l, x, failed) {
		return
	}
	dispatch(r, "cholesky", spec("WORKGROUP", n), [3]int{1, 1, 1}, push("block", block), float64(n*n*n), vk.In(x.View), vk.InOut(l.View), vk.Out(failed.View))
}

// TriangularInverse records what a lower triangular block's inverse is used as: l⁻¹, −l⁻¹ and −(l⁻¹)ᵀ, one below the other.
//
//	y  [3·n, n]  F32
//	l  [n, n]    F32, of which the lower triangle is read; n at most 256
func TriangularInverse(r *vk.Recorder, y, l Tensor) {
	const most = 256
	if !check(r, "triangularinverse", l.Rows > 0 && l.Rows == l.Cols && y.Is(3*l.Rows, l.Rows) && words(y, l), y, l) {
		return
	}
	if l.Rows > most {
		r.Fail(fmt.Errorf("op triangularinverse: %d rows, at most %d: %w", l.Rows, most, vk.ErrLimit))
		return
	}
	group := int(reduceGroup(r.Device()))
	dispatch(r, "triangularinverse", spec("WORKGROUP", group), [3]int{ceilDiv(l.Rows, group), 1, 1}, push("n", l.Rows), float64(l.Rows*l.Elements()), vk.In(l.View), vk.InOut(y.View))
}
