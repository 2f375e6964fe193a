package op

import "github.com/vkcome/vkcome/vk"

// Random records y[i] = scale · (h(seed+i) − 1/2), h a hash with values in [0, 1): uniform numbers of mean 0 and standard deviation
// scale/√12, the same on every device. Source of the hash: O'Neill 2014, PCG, HMC-CS-2014-0905.
//
//	y  [rows, cols]  any dtype
func Random(r *vk.Recorder, y Tensor, seed uint32, scale float32) {
	if !check(r, "random", y.Elements() > 0, y) {
		return
	}
	perWord, n := 4/y.DType.Size(), y.Elements()
	flat := y.Reshape(n, 1)
	pieces(r, "random", n, rowGroup*maxGroups*perWord, func(begin, end int) {
		dispatch(r, "random"+suffix(y.DType), spec("WORKGROUP", rowGroup), [3]int{ceilDiv(end-begin, rowGroup*perWord), 1, 1}, push("elements", end-begin, "first", begin, "seed", seed, "scale", scale),
			float64(20*(end-begin)), vk.Out(flat.RowRange(begin, end).View))
	}, flat.RowBytes())
}
