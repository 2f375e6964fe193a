package op

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// The kernels for GPUs. A workgroup multiplies a tile of x with a tile of w through shared memory: the larger the tile, the fewer
// times x and w are read; the smaller, the more workgroups there are to fill the device.

// linearTile is a tile of linear.comp: its rows and columns and, of these, those of an invocation.
type linearTile struct{ rows, columns, edgeM, edgeN int }

// linearTiles are in the order in which they are tried. The bits of y are the same with each.
var linearTiles = []linearTile{
	{128, 128, 8, 8},
	{64, 128, 8, 8},
	{64, 64, 8, 8},
	{64, 64, 4, 8},
	{64, 64, 4, 4},
	{32, 128, 4, 8},
	{32, 64, 4, 8},
}

// fits says whether a device's registers hold an invocation's sums and what they are made of, for as many subgroups at once as hide how long loads
// take (.ci/gpu). What is fetched one by one takes more where subgroups share the registers of a thread. CPU drivers have a stack.
func (t linearTile) fits(d *vk.Device, byFour bool) bool {
	sums := t.edgeM * t.edgeN
	switch {
	case d.Info.Has(vk.QuarterRegisters):
		return sums == 16
	case d.Info.Has(vk.ThreadRegisters):
		return sums == 32 && (byFour || t.group() >= 128)
	case d.Info.Has(vk.FewRegisters):
		return sums == 32
	case d.Info.Has(vk.HalfRegisters):
		return sums == 32 || sums == 64 && t.group() == 256 // smaller workgroups fetch more for each invocation
	}
	return sums >= 32 || d.Info.Kind == vk.CPU
}

func (t linearTile) group() int    { return t.rows / t.edgeM * (t.columns / t.edgeN) }
func (t linearTile) shared() int64 { return 128 * int64(t.rows+t.columns) }

func (t linearTile) kernel(x, w Tensor, f Fused) linearKernel {
	k := linearKernel{shader: "linear", group: t.group(), rows: t.rows, columns: t.columns, shared: t.shared(), tile: Tile{t.rows, t.columns, t.edgeM, t.edgeN}}
	k.spec = spec("BY_FOUR", x.Cols%4 == 0, "ROWS", t.rows, "COLUMNS", t.columns, "EDGE_M", t.edgeM, "EDGE_N", t.edgeN)
	return k.gated(f)
}

// gated takes account of up, which has half of a tile's columns where it is there.
func (k linearKernel) gated(f Fused) linearKernel {
	if !f.Up.IsZero() {
		k.columns /= 2
	}
	return k
}

// coopTile is a tile of linear_coopmat.comp: its rows and columns, those of a subgroup, and the depth of a slice.
type coopTile struct{ rows, columns, high, wide, slice int }

// coopTiles are in the order in which they are tried. The bits of y are the same with each.
var coopTiles = []coopTile{
	{128, 128, 64, 64, 32},
	{128, 128, 32, 64, 32},
	{64, 128, 32, 64, 32},
	{64, 64, 32, 32, 32},
	{64, 64, 32, 32, 16},
	{32, 128, 32, 32, 32},
	{32, 64, 16, 32, 32},
	{32, 64, 16, 32, 16},
}

// threadTiles take their place where subgroups share the registers of a thread: slices of a matrix, or of two with 16 sums an invocation, and no more than
// two fetches, or three with up (64×64 in workgroups of 64, of four fetches, spills on Xe HPG; see .ci/gpu).
var threadTiles = []coopTile{
	{128, 128, 32, 32, 16},
	{128, 128, 16, 32, 16},
	{64, 64, 16, 32, 16},
	{64, 64, 16, 16, 16},
	{32, 64, 8, 32, 32},
	{32, 64, 8, 16, 32},
}

// maxSums is how many sums an invocation can hold: most GPUs give it 256 registers, and with twice as many sums so few subgroups fit a core
// that nothing hides how long its loads take (2 a SIMD unit on RDNA 3, 8 on an NVIDIA core; see .ci/gpu). CPU drivers have a stack.
func maxSums(d *vk.Device) int {
	if d.Info.Kind == vk.CPU {
		return 128
	}
	return 64
}

// fits says whether a device's registers hold a tile's sums in subgroups of a size and, where those share registers, what a slice is multiplied with.
// Workgroups of fewer than 256 fetch more for each invocation.
func (t coopTile) fits(d *vk.Device, size int, gated bool) bool {
	sums := t.high * t.wide / size
	switch {
	case d.Info.Has(vk.ThreadRegisters):
		most := 8 * maxSums(d)
		if t.subgroups()*size >= 256 && !(gated && size < 16) { // Xe HPG's registers spill by two with up
			most *= 2
		}
		return sums*t.slice <= most
	case d.Info.Has(vk.HalfRegisters):
		return sums < maxSums(d) || sums == maxSums(d) && t.subgroups()*size >= 256
	}
	return sums <= maxSums(d)
}

func (t coopTile) subgroups() int { return t.rows / t.high * (t.columns / t.wide) }

// shared is the two slices, or in the end a row of matrices of every subgroup; the lines of both end in 16 bytes that keep others out
// of their banks.
func (t coopTile) shared(s vk.CoopShape) int64 {
	return 16 * int64(max(2*(t.rows+t.columns)*(t.slice/8+1), t.subgroups()*s.M*(t.wide/4+1)))
}

// takes says whether matrices of a shape make up a subgroup's part of the tile, and one half of its columns with SwiGLU.
func (t coopTile) takes(s vk.CoopShape) bool {
	return s.M%8 == 0 && s.N%8 == 0 && s.K%8 == 0 && t.high%s.M == 0 && t.high/s.M <= 8 && t.wide/2%s.N == 0 && t.slice%s.K == 0
}

// evenly says whether all of a workgroup's invocations fetch as many 16 bytes of a slice's x, and of its w, as of up where that is there; or each half of
// them of one of these.
func (t coopTile) evenly(group int, gated bool) bool {
	of := t.columns * t.slice / 8
	return t.rows*t.slice/8%group == 0 && of%group == 0 && (!gated || of == group || of%(2*group) == 0)
}

// LinearScratch says whether a device multiplies weights of a dtype faster where Fused.Scratch is there, and Fused.Halves of LinearHalves floats.
func LinearScratch(d *vk.Device, weights dtype.DType) bool {
	name, _ := forced(d, linearMany)
	taken := name == "linear_coopmat" || name == "" && !d.Info.Has(vk.SlowMatrices)
	return taken && coopTakes(d, weights, false) && coopShape(d).K > 0
}

// mostHalves is the bytes of Fused.Halves at most: at 8192 inputs 4096 outputs, whose products fill a GPU.
const mostHalves = 64 << 20

// LinearHalves is how many floats Fused.Halves has, 0 where it is of no use, for weights of a dtype and matrices of at most rows × cols, with up
// twice as many rows. Larger matrices are multiplied in pieces.
func LinearHalves(d *vk.Device, weights dtype.DType, rows, cols int) int {
	if weights == dtype.F16 || !LinearScratch(d, weights) {
		return 0
	}
	return halvesOf(d, rows, cols, weights == dtype.F32)
}

// halvesOf is how many floats hold rows as halfRows writes them and, where they are in parts, the scales of x; or as many of them as there may be.
func halvesOf(d *vk.Device, rows, cols int, parts bool) int {
	n := int64(rows)*halfRowBytes(cols, parts) + 2*d.Limits().OffsetAlignment
	if parts {
		n += partsScales(d)
	}
	return int(min(mostHalves, n) / 4)
}

// LinearGradHalves is how many floats LinearGrads.Halves has for weights [out, in] of a dtype and so many tokens: w transposed takes it for the gradient of
// x, and x transposed for that of w.
func LinearGradHalves(d *vk.Device, weights dtype.DType, out, in, tokens int) int {
	n := LinearHalves(d, weights, in, out)
	if weights != dtype.F32 && LinearScratch(d, weights) {
		n = max(n, halvesOf(d, in, tokens, false))
	}
	return n
}

// halvesRows is how many rows of w, and of up where that is there, fit Fused.Halves and a binding.
func (f Fused) halvesRows(d *vk.Device, cols int, parts bool) int {
	if f.Halves.IsZero() {
		return 0
	}
	bytes := 4 * int64(f.Halves.Elements()) // which tuning asks of tensors without memory
	if parts {
		bytes -= partsScales(d)
	}
	if !f.Up.IsZero() {
		bytes /= 2
	}
	l := d.Limits()
	return int(min(max(0, bytes-l.OffsetAlignment), l.StorageRange) / halfRowBytes(cols, parts))
}

// putHalves records rows of w, and of up, in f16 into Halves.
func (f Fused) putHalves(r *vk.Recorder, w, up Tensor, parts bool) (halfW, halfUp Tensor) {
	at := int64(0)
	if parts {
		at = partsScales(r.Device())
	}
	put := func(w Tensor) Tensor {
		if w.IsZero() {
			return w
		}
		row := halfRowBytes(w.Cols, parts)
		y := Of(f.Halves.View.Slice(at, int64(w.Rows)*row), dtype.F32, w.Rows, int(row/4))
		at = bindableAt(r.Device(), at+y.Size())
		halfRows(r, y, w)
		return y
	}
	return put(w), put(up)
}

// coopShape is the largest product of f16 matrices that a device offers and tiles of products can be made of; none has a K of 0.
func coopShape(d *vk.Device) vk.CoopShape { return largestCoop(d, coopTiles[0].takes) }

// largestCoop is the largest product of f16 matrices that a device offers and a kernel takes; none has a K of 0.
func largestCoop(d *vk.Device, takes func(vk.CoopShape) bool) (best vk.CoopShape) {
	if d.Tier < vk.CoopMatrix || d.Limits().SubgroupMin == 0 {
		return best
	}
	for _, s := range d.Info.CoopShapes {
		if s.Input == "f16" && s.Sum == "f32" && takes(s) && s.M*s.N*s.K > best.M*best.N*best.K {
			best = s
		}
	}
	return best
}

// coopTakes says whether cooperative matrices of f16 hold weights of a dtype: bf16 is beyond f16's range, but not when its rows are scaled; f32 would lose
// bits, unless it may, with half, or is put in two parts, whose product is three times as long.
func coopTakes(d *vk.Device, weights dtype.DType, half bool) bool {
	return weights != dtype.F32 || half || inParts(d)
}

// inParts says whether F32 weights are multiplied in two parts of f16, by cooperative matrices: where f32 arithmetic is slow, or these were asked for.
func inParts(d *vk.Device) bool {
	name, _ := forced(d, linearMany)
	return name == "linear_coopmat" || name == "" && d.Info.Has(vk.SlowFloats)
}

// linearCoop are the kernels with cooperative matrices.
func linearCoop(d *vk.Device, x, w Tensor, f Fused) (able []linearKernel) {
	sizes := coopSubgroups(d)
	if f.few(x) || noMatrices(d, x, w, f) != "" {
		return nil
	}
	all := coopTiles
	if d.Info.Has(vk.ThreadRegisters) {
		all = threadTiles
	}
	for _, t := range all {
		for _, size := range sizes {
			if k, ok := t.kernel(d, w.DType, f, size); ok && t.fits(d, size, !f.Up.IsZero()) {
				able = append(able, k)
			}
		}
	}
	return able
}

// kernel is that of a tile in subgroups of a size, where the device's limits and matrices allow it.
func (t coopTile) kernel(d *vk.Device, weights dtype.DType, f Fused, size int) (k linearKernel, ok bool) {
	l, best, group := d.Limits(), coopShape(d), t.subgroups()*size
	if group > l.WorkgroupSize || t.shared(best) > l.SharedMemory || !t.takes(best) || !t.evenly(group, !f.Up.IsZero()) {
		return k, false
	}
	k = linearKernel{
		shader: "linear_coopmat", group: group, rows: t.rows, columns: t.columns, half: true, subgroup: size, shared: t.shared(best),
		scaled: weights != dtype.F16, parts: weights == dtype.F32 && !f.Half, tile: Tile{t.rows, t.columns, t.high, t.wide, t.slice},
	}
	if size != l.SubgroupMin {
		k.tile[5] = size
	}
	k.spec = spec("SUBGROUP", size, "MATRIX_M", best.M, "MATRIX_N", best.N, "MATRIX_K", best.K, "ROWS", t.rows, "COLUMNS", t.columns, "HIGH", t.high, "WIDE", t.wide, "SLICE", t.slice, "PARTS", k.parts)
	return k.gated(f), true
}

// coopSubgroups are the sizes of subgroups that are tried with each tile, the largest that a device asks for by itself first: an invocation
// then holds fewer sums, and more subgroups are on their way at once (RDNA 3, 128×128/64×64/32: 32 invocations take 256 registers and 2
// subgroups run on a SIMD unit, 64 take 204 and it is 4; see .ci/gpu). Where subgroups share the registers of a thread it is the other way round.
func coopSubgroups(d *vk.Device) []int {
	least, usual := d.Limits().SubgroupMin, d.Limits().SubgroupSize
	if usual > least && usual&(usual-1) == 0 && d.Info.Kind != vk.CPU && !d.Info.Has(vk.ThreadRegisters) {
		return []int{usual, least}
	}
	return []int{least}
}

// halves are x in f16 and what undoes the scale of its rows, one after the other in scratch.
func halves(d *vk.Device, x, scratch Tensor) (half, unscale Tensor) {
	half = Of(scratch.View, dtype.F16, x.Rows, x.Cols)
	at := unscaleAt(d, x)
	return half, Of(scratch.View.Slice(at, 4*int64(x.Rows)), dtype.F32, x.Rows, 1)
}

// unscaleAt is where in scratch the scales start.
func unscaleAt(d *vk.Device, x Tensor) int64 { return bindableAt(d, 2*int64(x.Elements())) }

// bindableAt is the first offset from n on that can be bound.
func bindableAt(d *vk.Device, n int64) int64 {
	align := d.Limits().OffsetAlignment
	return (n + align - 1) / align * align
}

// halvesFit says whether a scratch of 4 bytes for each element of x holds them, whatever its rows: the choice of a kernel must not
// depend on these.
func halvesFit(d *vk.Device, cols int) bool { return 2*int64(cols) >= 4+d.Limits().OffsetAlignment }

// fillGroups is how many workgroups are enough to fill a large GPU: it has up to some 150 cores.
const fillGroups = 120

// tileSubgroup is the size of subgroups that tiles ask for, 0 where it is of no matter: AMD's compilers pair multiply-adds in subgroups of 32 alone,
// where 64 is usual (RDNA 3, 128×128: 1026 in 840 instructions, 1024 in 1303 with 64; see .ci/gpu).
func tileSubgroup(d *vk.Device) int {
	if l := d.Limits(); l.SubgroupMin == 32 && l.SubgroupSize == 64 {
		return 32
	}
	return 0
}

// linearGPU are the kernels that a device can run on these operands, by families, the best first; within a family from the largest
// tile to the smallest.
func linearGPU(d *vk.Device, x, w Tensor, f Fused) [][]linearKernel {
	var vec, tiles []linearKernel
	if f.few(x) {
		const columns = 4
		k := linearKernel{shader: "linear_vec", group: rowGroup, rows: linearVecRows, columns: columns, norms: true}
		k.spec = spec("BY_FOUR", x.Cols%4 == 0, "ROWS", x.Rows, "COLUMNS", columns)
		vec = append(vec, k.gated(f))
	}
	l := d.Limits()
	for _, t := range linearTiles {
		if t.group() <= l.WorkgroupSize && t.shared() <= l.SharedMemory && t.fits(d, x.Cols%4 == 0) {
			k := t.kernel(x, w, f)
			k.subgroup = tileSubgroup(d)
			tiles = append(tiles, k)
		}
	}
	coop := linearCoop(d, x, w, f)
	if d.Info.Has(vk.SlowMatrices) {
		return [][]linearKernel{vec, tiles, coop}
	}
	return [][]linearKernel{vec, coop, tiles}
}

// fitting is the first kernel of a family whose tiles are enough to fill the device and not half empty, else the last.
func fitting(family []linearKernel, rows, columns int) (linearKernel, chosenBy) {
	for _, k := range family {
		if ceilDiv(rows, k.rows)*ceilDiv(columns, k.columns) >= fillGroups && rows > k.rows/2 {
			return k, byFilling
		}
	}
	return family[len(family)-1], byLast
}
