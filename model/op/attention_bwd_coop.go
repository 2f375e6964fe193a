package op

import "github.com/vkcome/vkcome/vk"

// coopBackwardOthers is OTHERS of attention_bwd_coopmat.comp.
const coopBackwardOthers = 32

// coopBackward is the kernel of a pass of the backward with cooperative matrices, where the device has it for the shape: the largest matrices and
// subgroups that fit.
func (s AttentionShape) coopBackward(d *vk.Device, ofKeys bool) (way backwardWay, ok bool) {
	l, best := d.Limits(), largestCoop(d, s.coopBackwardTakes)
	if best.K == 0 || !l.SubgroupShuffle {
		return way, false
	}
	pass := "_q"
	if ofKeys {
		pass = "_kv"
	}
	for _, size := range coopSubgroups(d) {
		b, fits := s.coopBackwardBands(d, best, size, ofKeys)
		group, perRow, shared := b.bands*b.split*size, b.split*size/best.M, s.coopBackwardShared(best, b, ofKeys)
		if !fits || size%best.M != 0 || perRow > size || coopBackwardOthers/4%perRow != 0 || group > l.WorkgroupSize || shared > l.SharedMemory {
			continue
		}
		return backwardWay{shader: "attention_bwd_coopmat" + pass, rows: b.bands * best.M, half: true, subgroup: size, shared: shared,
			spec: spec("WORKGROUP", group, "HEAD_DIM", s.HeadDim, "CAP", s.cap(), "SUBGROUP", size, "MATRIX_M", best.M, "MATRIX_N", best.N,
				"MATRIX_K", best.K, "SPLIT", b.split, "BANDS", b.bands, "APART", b.apart)}, true
	}
	return way, false
}

// coopBands is how a workgroup divides its rows: bands of a matrix' rows, and the subgroups that share each.
type coopBands struct {
	bands, split int
	apart        bool // the first tile of the others stands before the loop
}

// coopBackwardBands has as few subgroups for a band as have room for its sums beside what they hold of its rows, by what compilers say of heads of 64 to
// 256 (.ci/gpu); false where none has.
func (s AttentionShape) coopBackwardBands(d *vk.Device, m vk.CoopShape, size int, ofKeys bool) (coopBands, bool) {
	of := m.M * s.HeadDim / size // sums of a head, of an invocation
	switch {
	case d.Info.Kind == vk.CPU:
		return coopBands{4, 2, false}, true
	case d.Info.Has(vk.ThreadRegisters): // Xe2, 16 invocations: heads of 96 take 255 of 256 registers in 8 bands, and spill in 4, which fetch more each; those of 128 spill
		return coopBands{8, 4, false}, of <= 3*size
	case d.Info.Has(vk.HalfRegisters) && of <= 40: // NVK: heads of 80 take 128 registers, those of 96 would take 152
		return coopBands{4, 2, !ofKeys || of <= 32}, true // and keys and values of 80 would take 160 with a tile before the loop
	case d.Info.Has(vk.HalfRegisters):
		return coopBands{4, 4, true}, of <= 64
	case of > 32: // RDNA 3, 64 invocations: heads of 256 take 256 registers in workgroups of 256, those of 512 have but 192; with keys and values they spill
		return coopBands{2, 2, false}, of <= 64 && !ofKeys
	}
	return coopBands{4, 2, false}, true // and heads of 128 take 192
}

// coopBackwardTakes says whether matrices of a shape make up a head and a tile of the others.
func (s AttentionShape) coopBackwardTakes(m vk.CoopShape) bool {
	of := func(n, whole int) bool { return n%8 == 0 && whole%n == 0 }
	return of(m.N, s.HeadDim) && of(m.K, s.HeadDim) && of(m.N, coopBackwardOthers/2) && of(m.K, coopBackwardOthers)
}

// coopBackwardShared is the memory that a workgroup takes: first its rows of both sides; then a tile of the others, or that transposed, and products and
// weights of two sides; and numbers of the others, of subgroups and of rows.
func (s AttentionShape) coopBackwardShared(m vk.CoopShape, b coopBands, ofKeys bool) int64 {
	rows, sides, numbers, pitch := b.bands*m.M, 1, 2, s.HeadDim/8+1
	if ofKeys {
		sides, numbers = 2, 4
	}
	tile := max(2*coopBackwardOthers*pitch, sides*s.HeadDim*(coopBackwardOthers/8+1))
	return int64(16*max(2*rows*pitch, tile+2*rows*(coopBackwardOthers/4+1)) + 4*(numbers*coopBackwardOthers+b.bands*b.split+sides*rows))
}

// halfParts are q, do, k and v of some windows as putHeads puts them behind the statistics, in one binding.
type halfParts struct {
	view        vk.View
	at, unscale [4]int // where heads begin, in 16 bytes, and their scales, in floats
}

// backwardHalves are the heads of a row of each part, where in scratch the parts begin, and the offset behind them.
func (s AttentionShape) backwardHalves(d *vk.Device, windows int) (heads [4]int, at [4]int64, end int64) {
	end = aligned(bindableAt(d, 4*int64(s.statistics())))
	for i, n := range []int{s.Heads, s.Heads, s.KVHeads, s.KVHeads} {
		heads[i], at[i] = n, end
		end = aligned(end + s.headHalves(d, windows*s.QueryLen, n))
	}
	return heads, at, end
}

// halvesBound says whether a binding holds the halves of so many windows.
func (s AttentionShape) halvesBound(d *vk.Device, windows int) bool {
	_, at, end := s.backwardHalves(d, windows)
	return end-at[0] <= d.Limits().StorageRange
}

// aligned is the first multiple of 16 from n on, which can be bound where n can.
func aligned(n int64) int64 { return (n + 15) &^ 15 }

// putBackward records q, do, k and v of some windows in f16 into scratch.
func (s AttentionShape) putBackward(r *vk.Recorder, windows int, scratch Tensor, x [4]Tensor) (p halfParts) {
	heads, at, end := s.backwardHalves(r.Device(), windows)
	begin := at[0]
	for i := range x {
		s.putHeads(r, x[i], scratch, at[i])
		rows := Tensor{Rows: x[i].Rows * heads[i], Cols: s.HeadDim}
		p.at[i], p.unscale[i] = int((at[i]-begin)/16), int((at[i]-begin+unscaleAt(r.Device(), rows))/4)
	}
	p.view = scratch.View.Slice(begin, end-begin)
	return p
}

// places are the push constants that say where x, y, a and b of a pass are. The shader adds the rows that are bound before the first of q and of k, which
// have no place here: places are that much before, and wrap.
func (p halfParts) places(s AttentionShape, ofKeys bool, skipQ, skipK int) []any {
	skip := [4]int{skipQ * s.Heads, skipQ * s.Heads, skipK * s.KVHeads, skipK * s.KVHeads}
	order := [4]int{0, 1, 2, 3}
	if ofKeys {
		order = [4]int{2, 3, 0, 1}
	}
	var at, unscale []any
	for i, name := range []string{"x", "y", "a", "b"} {
		from := order[i]
		at = append(at, name+"_at", p.at[from]-skip[from]*(s.HeadDim/8))
		unscale = append(unscale, name+"_unscale", p.unscale[from]-skip[from])
	}
	return append(at, unscale...)
}
