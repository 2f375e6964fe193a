package op

import (
	"github.com/vkcome/vkcome/vk"
)

// QKVShape is how SplitQKV reads its tensors.
type QKVShape struct {
	Heads, KVHeads int
	HeadDim        int     // even
	Window, Start  int     // row t is at position Start + t % Window
	Row            int     // of k and v, where the first row goes
	Eps            float32 // of the norms
}

// SplitQKV records q, k, v = the columns of qkv, with q and k turned by the angles of their positions where cosSin is there, and normed as RMSNorm does over each head
// before that where qNorm and kNorm are there (Qwen3). Rows Row to Row+rows−1 of k and v are written, the others stay.
//
//	q             [rows, Heads·HeadDim]                F32
//	k, v          [≥ Row+rows, KVHeads·HeadDim]        F32
//	qkv           [rows, (Heads+2·KVHeads)·HeadDim]    F32; none of the others
//	cosSin        [positions, HeadDim]                 F32, as for RoPEBackward; the zero Tensor turns nothing
//	qNorm, kNorm  [1, HeadDim]                         any dtype, the same; both the zero Tensor where there are no norms
//
// Sources: Su et al. 2021, arXiv 2104.09864; Zhang & Sennrich 2019, arXiv 1910.07467.
func SplitQKV(r *vk.Recorder, q, k, v, qkv, cosSin, qNorm, kNorm Tensor, s QKVShape) {
	rows, norm := qkv.Rows, !qNorm.IsZero()
	ok := s.Heads > 0 && s.KVHeads > 0 && s.HeadDim > 0 && s.HeadDim%2 == 0 && s.Window > 0 && s.Start >= 0 && s.Row >= 0 && rows > 0 &&
		words(q, k, v, qkv, cosSin) && qkv.Cols == (s.Heads+2*s.KVHeads)*s.HeadDim && q.Is(rows, s.Heads*s.HeadDim) &&
		k.Rows >= s.Row+rows && v.Rows >= s.Row+rows && k.Cols == s.KVHeads*s.HeadDim && v.Cols == k.Cols &&
		(cosSin.IsZero() || cosSin.Cols == s.HeadDim && cosSin.Rows >= s.Start+min(s.Window, rows)) &&
		norm == !kNorm.IsZero() && (!norm || qNorm.Is(1, s.HeadDim) && kNorm.Is(1, s.HeadDim) && qNorm.DType == kNorm.DType)
	if !check(r, "splitqkv", ok, q, k, v, qkv, cosSin, qNorm, kNorm) {
		return
	}
	if !norm {
		qNorm, kNorm = qkv.RowRange(0, 1), qkv.RowRange(0, 1) // something has to be
	}
	d := r.Device()
	shader, texels, lanes := "splitqkv", uint32(0), min(rowGroup, ceilDiv(s.HeadDim, 8))
	if s.HeadDim%8 != 0 {
		lanes = min(rowGroup, s.HeadDim/2)
	} else if texelLoads(d) {
		shader, texels, lanes = "splitqkv_texels", 0b11, 1 // a head for each lane needs no barrier
	}
	heads := s.Heads + 2*s.KVHeads
	perGroup := rowGroup / lanes
	turns(r, "splitqkv", cosSin, rows, maxGroups*perGroup/heads, s.Window, s.Start, func(begin, end int, table Tensor, turn, row int) {
		from, skipX := bindable(r, qkv, begin, end)
		toQ, skipQ := bindable(r, q, begin, end)
		toK, skipK := bindable(r, k, s.Row+begin, s.Row+end)
		toV, _ := bindable(r, v, s.Row+begin, s.Row+end)
		if table.IsZero() {
			table = from
		}
		dispatchTexels(r, shader+suffix(qNorm.DType), texels, spec("WORKGROUP", rowGroup, "HEAD_DIM", s.HeadDim, "LANES", lanes, "NORM", norm, "TURN", !cosSin.IsZero()),
			[3]int{ceilDiv((end-begin)*heads, perGroup), 1, 1},
			push("rows", end-begin, "heads", s.Heads, "kv_heads", s.KVHeads, "window", s.Window, "first", turn, "skip_x", skipX, "skip_table", row, "skip_q", skipQ,
				"skip_k", skipK, "eps", s.Eps), float64(8*qkv.Cols*(end-begin)),
			vk.In(from.View), vk.In(table.View), vk.Out(toQ.View), vk.Out(toK.View), vk.Out(toV.View), vk.In(qNorm.View), vk.In(kNorm.View))
	}, qkv, q, k, v)
}
