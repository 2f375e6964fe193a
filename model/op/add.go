package op

import "github.com/vkcome/vkcome/vk"

// Add records y = a + b, element by element.
//
//	y, a, b  [rows, cols]  F32; y may be a or b
func Add(r *vk.Recorder, y, a, b Tensor) { elementwise(r, "add", 12, y, a, b) }

// elementwise records y = f(in…) of f32 tensors of one shape; work is the operations or bytes of an element.
func elementwise(r *vk.Recorder, op string, work float64, y Tensor, in ...Tensor) {
	ok := y.Elements() > 0 && words(y) && words(in...)
	for _, x := range in {
		ok = ok && x.Is(y.Rows, y.Cols)
	}
	if !check(r, op, ok, append([]Tensor{y}, in...)...) {
		return
	}
	const perGroup = 4 * rowGroup // an invocation takes four elements
	n := y.Elements()
	pieces(r, op, n, perGroup*maxGroups, func(begin, end int) {
		var args []vk.Arg
		for _, x := range in {
			args = append(args, vk.In(x.Reshape(n, 1).RowRange(begin, end).View))
		}
		args = append(args, vk.Out(y.Reshape(n, 1).RowRange(begin, end).View))
		dispatch(r, op, []uint32{rowGroup}, [3]int{ceilDiv(end-begin, perGroup), 1, 1}, push(end-begin), work*float64(end-begin), args...)
	}, 4)
}
