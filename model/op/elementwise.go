package op

import (
	"slices"

	"github.com/vkcome/vkcome/vk"
)

// elementwise records y = f(in…) of f32 tensors of one shape; work is the operations or bytes of an element.
func elementwise(r *vk.Recorder, op string, work float64, y Tensor, in ...Tensor) {
	elementwiseTo(r, op, work, []Tensor{y}, in...)
}

// elementwiseTo is elementwise of several results.
func elementwiseTo(r *vk.Recorder, op string, work float64, out []Tensor, in ...Tensor) {
	elementwiseWith(r, op, work, specialized{}, pushed{}, out, in...)
}

// elementwiseWith is elementwiseTo with more constants, which come after those that all such shaders have.
func elementwiseWith(r *vk.Recorder, op string, work float64, special specialized, more pushed, out []Tensor, in ...Tensor) {
	all := slices.Concat(out, in)
	ok := all[0].Elements() > 0 && words(all...)
	for _, x := range all {
		ok = ok && x.Is(all[0].Rows, all[0].Cols)
	}
	if !check(r, op, ok, all...) {
		return
	}
	const perGroup = 4 * rowGroup // an invocation takes four elements
	n := all[0].Elements()
	pieces(r, op, n, perGroup*maxGroups, func(begin, end int) {
		part := func(x Tensor) vk.View { return x.Reshape(n, 1).RowRange(begin, end).View }
		var args []vk.Arg
		for _, x := range in {
			args = append(args, vk.In(part(x)))
		}
		for _, y := range out {
			args = append(args, vk.Out(part(y)))
		}
		variant, mask := op, uint32(0)
		if n%4 == 0 && texelLoads(r.Device()) {
			variant, mask = op+"_texels", 1<<len(in)-1
		}
		dispatchTexels(r, variant, mask, special.after("WORKGROUP", rowGroup), [3]int{ceilDiv(end-begin, perGroup), 1, 1}, more.after("count", end-begin), work*float64(end-begin), args...)
	}, 4)
}
