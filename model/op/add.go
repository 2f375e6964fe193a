package op

import "github.com/vkcome/vkcome/vk"

// Add records y = a + b, element by element.
//
//	y, a, b  [rows, cols]  F32; y may be a or b
func Add(r *vk.Recorder, y, a, b Tensor) { elementwise(r, "add", 12, y, a, b) }

// elementwise records y = f(a, b) of f32 tensors of one shape; work is the operations or bytes of an element.
func elementwise(r *vk.Recorder, op string, work float64, y, a, b Tensor) {
	if !check(r, op, y.Elements() > 0 && a.Is(y.Rows, y.Cols) && b.Is(y.Rows, y.Cols) && words(y, a, b), y, a, b) {
		return
	}
	const perGroup = 4 * rowGroup // an invocation takes four elements
	n := y.Elements()
	y, a, b = y.Reshape(n, 1), a.Reshape(n, 1), b.Reshape(n, 1)
	pieces(r, op, n, perGroup*maxGroups, func(begin, end int) {
		dispatch(r, op, []uint32{rowGroup}, [3]int{ceilDiv(end-begin, perGroup), 1, 1}, push(end-begin), work*float64(end-begin),
			vk.In(a.RowRange(begin, end).View), vk.In(b.RowRange(begin, end).View), vk.Out(y.RowRange(begin, end).View))
	}, y.RowBytes())
}
