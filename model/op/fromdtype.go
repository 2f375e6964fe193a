package op

import "github.com/vkcome/vkcome/vk"

// FromDType records y = w, element by element, as every operation reads weights.
//
//	y  [rows, cols]  F32
//	w  [rows, cols]  any dtype
func FromDType(r *vk.Recorder, y, w Tensor) {
	if !check(r, "fromdtype", y.Elements() > 0 && words(y) && w.Is(y.Rows, y.Cols), y, w) {
		return
	}
	quads(r, "fromdtype", []Tensor{w, y}, func(_ int, part []Tensor) {
		n := part[0].Elements()
		dispatch(r, "fromdtype"+suffix(w.DType), spec("WORKGROUP", rowGroup), [3]int{ceilDiv(n, 4*rowGroup), 1, 1}, push("count", n), float64(8*n), vk.In(part[0].View), vk.Out(part[1].View))
	})
}

// quads calls f for consecutive parts of tensors of as many elements each, and the number of the first of these, for kernels of rowGroup invocations that take four
// consecutive elements each. Parts are vectors, of multiples of four elements but for the last.
func quads(r *vk.Recorder, op string, tensors []Tensor, f func(begin int, part []Tensor)) {
	n := tensors[0].Elements()
	var bytes []int64
	for _, t := range tensors {
		bytes = append(bytes, int64(4*t.DType.Size()))
	}
	pieces(r, op, ceilDiv(n, 4), rowGroup*maxGroups, func(begin, end int) {
		var part []Tensor
		for _, t := range tensors {
			part = append(part, t.Reshape(n, 1).RowRange(4*begin, min(n, 4*end)))
		}
		f(4*begin, part)
	}, bytes...)
}

// quadTexels says whether a kernel reads t, f32 that lies behind one another, through a texel buffer.
func quadTexels(d *vk.Device, t Tensor) bool {
	return t.Elements()%4 == 0 && texelLoads(d) && t.Size() <= d.Limits().TexelBuffer
}
