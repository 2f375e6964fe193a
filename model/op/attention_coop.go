package op

import (
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

const (
	coopAttentionSubgroups = 4  // of a workgroup of attention_coopmat.comp
	coopAttentionKeys      = 32 // of its tiles
)

// coopWay is the kernel with cooperative matrices, where the device has it for the shape: the largest matrices and subgroups that fit.
func (s AttentionShape) coopWay(d *vk.Device, activity bool) (way attentionWay, ok bool) {
	l := d.Limits()
	if d.Tier < vk.CoopMatrix || l.SubgroupMin == 0 || !l.SubgroupShuffle || s.HeadDim%8 != 0 {
		return way, false
	}
	best := vk.CoopShape{}
	for _, m := range d.Info.CoopShapes {
		if m.Input == "f16" && m.Sum == "f32" && m.M*m.N*m.K > best.M*best.N*best.K && s.coopTakes(m) {
			best = m
		}
	}
	if best.K == 0 {
		return way, false
	}
	for _, size := range coopSubgroups(d) {
		perRow, shared := size/best.M, int64(16*(s.coopTile()+coopAttentionSubgroups*best.M*(coopAttentionKeys/4+1))+8*coopAttentionKeys)
		if size%best.M != 0 || coopAttentionKeys/4%perRow != 0 || best.M*s.HeadDim/size > maxSums(d) || coopAttentionSubgroups*size > l.WorkgroupSize {
			continue
		}
		if shared <= l.SharedMemory {
			return attentionWay{shader: "attention_coopmat", rows: coopAttentionSubgroups * best.M, half: true, subgroup: size, shared: shared,
				spec: spec("WORKGROUP", coopAttentionSubgroups*size, "HEAD_DIM", s.HeadDim, "CAP", s.cap(), "SUBGROUP", size, "MATRIX_M", best.M, "MATRIX_N", best.N,
					"MATRIX_K", best.K, "ACTIVITY", activity)}, true
		}
	}
	return way, false
}

// coopTile is 16 bytes of a tile's keys and values in shared memory, rows of both padded by one.
func (s AttentionShape) coopTile() int {
	return coopAttentionKeys*(s.HeadDim/8+1) + s.HeadDim*(coopAttentionKeys/8+1)
}

// coopTakes says whether matrices of a shape make up a head and a tile of keys, in whose place the rows of q pass through.
func (s AttentionShape) coopTakes(m vk.CoopShape) bool {
	of := func(n, whole int) bool { return n%8 == 0 && whole%n == 0 }
	return of(m.N, s.HeadDim) && of(m.K, s.HeadDim) && of(m.N, coopAttentionKeys/2) && of(m.K, coopAttentionKeys) &&
		coopAttentionSubgroups*m.M*(s.HeadDim/8+1) <= s.coopTile()
}

// attentionHalves are heads of rows in f16, and what undoes the scale of each.
type attentionHalves struct{ half, unscale Tensor }

// headHalves is what rows of heads take as attentionHalves, in bytes that end where something can be bound.
func headHalves(d *vk.Device, rows, heads, headDim int) int64 {
	return bindableAt(d, 2*int64(rows)*int64(heads)*int64(headDim)) + bindableAt(d, 4*int64(rows)*int64(heads))
}

// put records the heads of x's rows in f16, from an offset of scratch on, and gives the offset behind them.
func (s AttentionShape) put(r *vk.Recorder, x, scratch Tensor, at int64) (h attentionHalves, next int64) {
	d, heads := r.Device(), x.Elements()/s.HeadDim
	size := 2 * int64(x.Elements())
	h.half = Of(scratch.View.Slice(at, size), dtype.F16, heads, s.HeadDim)
	at += bindableAt(d, size)
	h.unscale = Of(scratch.View.Slice(at, 4*int64(heads)), dtype.F32, heads, 1)
	toHalf(r, h.half, h.unscale, x.Reshape(heads, s.HeadDim), Tensor{}, 0, false)
	return h, at + bindableAt(d, 4*int64(heads))
}
