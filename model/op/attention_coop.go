package op

import "github.com/vkcome/vkcome/vk"

const (
	coopAttentionBands = 4  // of rows, of a workgroup of common/attention_coop.glsl
	coopAttentionKeys  = 32 // of its tiles

	coopAttention     = "attention_coopmat"
	coopAttentionRows = "attention_coopmat2"
)

// coopWay is a kernel with cooperative matrices, where the device has it for the shape: of the largest matrices and subgroups that fit. Where the
// device weighs logits as matrices without much ado, that is the kernel, unless name is that of the other.
func (s AttentionShape) coopWay(d *vk.Device, activity bool, name string) (way attentionWay, ok bool) {
	if name == coopAttentionRows || name == "" && !d.Info.Has(vk.SlowConversions) {
		if way, ok = s.coopRowsWay(d, activity); ok {
			return way, ok
		}
	}
	l, best := d.Limits(), largestCoop(d, s.coopTakes)
	if best.K == 0 || !l.SubgroupShuffle {
		return way, false
	}
	for _, size := range coopSubgroups(d) {
		split := s.coopSplit(d, best, size)
		group, perRow := coopAttentionBands*split*size, split*size/best.M
		shared := int64(16*(s.coopTile()+coopAttentionBands*best.M*(coopAttentionKeys/4+1)) + 8*coopAttentionKeys + 4*coopAttentionBands*split)
		if size%best.M != 0 || coopAttentionKeys/4%perRow != 0 || !s.coopFits(d, best, size, split) || group > l.WorkgroupSize || shared > l.SharedMemory {
			continue
		}
		return attentionWay{shader: coopAttention, rows: coopAttentionBands * best.M, half: true, subgroup: size, shared: shared,
			spec: spec("WORKGROUP", group, "HEAD_DIM", s.HeadDim, "CAP", s.cap(), "SUBGROUP", size, "MATRIX_M", best.M, "MATRIX_N", best.N,
				"MATRIX_K", best.K, "ACTIVITY", activity, "SPLIT", split, "APART", s.coopApart(d, best, size, split, activity))}, true
	}
	return way, false
}

// coopRowsWay is the kernel that weighs logits as matrices (VK_NV_cooperative_matrix2), and in which no two subgroups share rows. RDNA 4 by RADV takes a
// third fewer instructions for a tile of keys than with the logits in shared memory where subgroups would share rows (heads of 64, 96 and 128), else
// as many, and a third fewer of shared memory (.ci/gpu). Of NVIDIA's own driver, which has the extension, nothing is known here but that the elements
// of a sum and of a factor lie in the same lanes (PTX ISA, mma.m16n8k16), so that a conversion moves none.
func (s AttentionShape) coopRowsWay(d *vk.Device, activity bool) (way attentionWay, ok bool) {
	l := d.Limits()
	best := largestCoop(d, func(m vk.CoopShape) bool { return m.N == m.K && s.coopTakes(m) })
	if best.K == 0 || !l.MatrixReductions {
		return way, false
	}
	for _, size := range coopSubgroups(d) {
		rows, group := coopAttentionBands*best.M, coopAttentionBands*size
		shared := int64(16*(s.coopTile()+rows*(best.N/4+1)) + 4*(3*coopAttentionKeys+2*rows))
		if !s.coopFits(d, best, size, 1) || group > l.WorkgroupSize || shared > l.SharedMemory {
			continue
		}
		return attentionWay{shader: coopAttentionRows, rows: rows, half: true, subgroup: size, shared: shared,
			spec: spec("WORKGROUP", group, "HEAD_DIM", s.HeadDim, "CAP", s.cap(), "SUBGROUP", size, "MATRIX_M", best.M, "MATRIX_N", best.N,
				"MATRIX_K", best.K, "ACTIVITY", activity)}, true
	}
	return way, false
}

// coopFits says whether an invocation has room for its sums of o beside q, by what compilers say of heads of 64 to 256 (.ci/gpu).
func (s AttentionShape) coopFits(d *vk.Device, m vk.CoopShape, size, split int) bool {
	of := m.M * s.HeadDim / size
	switch {
	case d.Info.Has(vk.ThreadRegisters):
		return of/split+of/2 <= 3*size // Xe2, 16 invocations: heads of 64, and halves of 96, take 253 and 245 of 256 registers, halves of 128 take 295
	case d.Info.Has(vk.HalfRegisters):
		return of/split <= 40
	}
	return of/split <= maxSums(d)
}

// coopApart says whether the first tile of keys stands before the loop: by NVK, and not where 12 subgroups had registers then and 16 have without,
// as with heads of 80, and with those of 128 that have both a cap and activity.
func (s AttentionShape) coopApart(d *vk.Device, m vk.CoopShape, size, split int, activity bool) bool {
	of := m.M * s.HeadDim / size
	return d.Info.Has(vk.HalfRegisters) && of/split <= 32 && !(activity && s.Cap != 0 && of > 48)
}

// coopSplit is how many subgroups share a band of rows: two where the sums of a whole head are too many (NVK: heads of 96 and 128 would take 152 and 168
// registers for 128), and where subgroups have 64 invocations, AMD's: RDNA 3 has 16 waves for 12 with heads of 64 and for 8 with 96, RDNA 4 has 24 and
// 16, and 16 for 8 with 128. With heads of 256 RDNA 3 would spill.
func (s AttentionShape) coopSplit(d *vk.Device, m vk.CoopShape, size int) int {
	more := size == 64 && s.HeadDim <= 128 && 2*coopAttentionBands*size <= d.Limits().WorkgroupSize
	if (more || !s.coopFits(d, m, size, 1)) && s.HeadDim/m.N%2 == 0 {
		return 2
	}
	return 1
}

// coopTile is 16 bytes of a tile's keys and values in shared memory, rows of both padded by one.
func (s AttentionShape) coopTile() int {
	return coopAttentionKeys*(s.HeadDim/8+1) + s.HeadDim*(coopAttentionKeys/8+1)
}

// coopTakes says whether matrices of a shape make up a head and a tile of keys, in whose place the rows of q pass through.
func (s AttentionShape) coopTakes(m vk.CoopShape) bool {
	of := func(n, whole int) bool { return n%8 == 0 && whole%n == 0 }
	return of(m.N, s.HeadDim) && of(m.K, s.HeadDim) && of(m.N, coopAttentionKeys/2) && of(m.K, coopAttentionKeys) &&
		coopAttentionBands*m.M*(s.HeadDim/8+1) <= s.coopTile()
}

// headHalves is what rows of heads take as putHeads puts them, in bytes that end where something can be bound.
func (s AttentionShape) headHalves(d *vk.Device, rows, heads int) int64 {
	x := Tensor{Rows: rows * heads, Cols: s.HeadDim}
	return bindableAt(d, unscaleAt(d, x)+4*int64(x.Rows))
}

// putHeads records the heads of x's rows in f16, each by its own scale, from an offset of scratch on, and gives the offset behind them.
func (s AttentionShape) putHeads(r *vk.Recorder, x, scratch Tensor, at int64) (half, unscale Tensor, next int64) {
	d := r.Device()
	x = x.Reshape(x.Elements()/s.HeadDim, s.HeadDim)
	size := s.headHalves(d, x.Rows, 1)
	scratch.View = scratch.View.Slice(at, size)
	half, unscale = halves(d, x, scratch)
	toHalf(r, half, unscale, x, Tensor{}, 0, false)
	return half, unscale, at + size
}
