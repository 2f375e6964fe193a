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
	PlusOne        bool    // the norms multiply by w + 1
	Rotary         Rotary
}

// Rotary is which channels of a head are turned, and which with which. The zero value is all of them, i with i + HeadDim/2.
type Rotary struct {
	Dim         int  // how many are, the first of a head, an even number; 0 is all
	Interleaved bool // 2i with 2i+1, else i with i + Dim/2
}

// of gives the channels that are turned of a head, and whether there are so many.
func (r Rotary) of(headDim int) (dim int, ok bool) {
	if dim = r.Dim; dim == 0 {
		dim = headDim
	}
	return dim, dim > 0 && dim%2 == 0 && dim <= headDim && headDim%2 == 0
}

// SplitQKV records q, k, v = the columns of qkv, with q and k turned by the angles of their positions where cosSin is there, and normed before
// that, as RMSNorm does, where qNorm and kNorm are there: over each head (Qwen3), or with weights for the channels of all heads over these
// together (OLMo 2). Rows Row to Row+rows−1 of k and v are written, the others stay.
//
//	q             [rows, Heads·HeadDim]                F32
//	k, v          [≥ Row+rows, KVHeads·HeadDim]        F32
//	qkv           [rows, (Heads+2·KVHeads)·HeadDim]    F32; none of the others
//	cosSin        [positions, Rotary.Dim]              F32, as for RoPEBackward; the zero Tensor turns nothing
//	qNorm, kNorm  [1, HeadDim], or [1, cols of q, k]   any dtype, the same; both the zero Tensor where there are no norms
//
// Sources: Su et al. 2021, arXiv 2104.09864; Zhang & Sennrich 2019, arXiv 1910.07467.
func SplitQKV(r *vk.Recorder, q, k, v, qkv, cosSin, qNorm, kNorm Tensor, s QKVShape) {
	rows, norm := qkv.Rows, flag(!qNorm.IsZero())
	rotary, ok := s.Rotary.of(s.HeadDim)
	if qNorm.Cols != s.HeadDim || kNorm.Cols != s.HeadDim {
		norm *= 2 // over rows
	}
	ok = ok && s.Heads > 0 && s.KVHeads > 0 && s.HeadDim > 0 && s.HeadDim%2 == 0 && s.Window > 0 && s.Start >= 0 && s.Row >= 0 && rows > 0 &&
		words(q, k, v, qkv, cosSin) && qkv.Cols == (s.Heads+2*s.KVHeads)*s.HeadDim && q.Is(rows, s.Heads*s.HeadDim) &&
		k.Rows >= s.Row+rows && v.Rows >= s.Row+rows && k.Cols == s.KVHeads*s.HeadDim && v.Cols == k.Cols &&
		(cosSin.IsZero() || cosSin.Cols == rotary && cosSin.Rows >= s.Start+min(s.Window, rows)) &&
		qNorm.IsZero() == kNorm.IsZero() && (norm != 1 || qNorm.Is(1, s.HeadDim) && kNorm.Is(1, s.HeadDim)) &&
		(norm != 2 || qNorm.Is(1, q.Cols) && kNorm.Is(1, k.Cols)) && qNorm.DType == kNorm.DType
	if !check(r, "splitqkv", ok, q, k, v, qkv, cosSin, qNorm, kNorm) {
		return
	}
	if norm == 0 {
		qNorm, kNorm = qkv.RowRange(0, 1), qkv.RowRange(0, 1) // something has to be
	}
	d := r.Device()
	shader, texels, lanes := "splitqkv", uint32(0), min(rowGroup, ceilDiv(s.HeadDim, 8))
	if (s.HeadDim|rotary)%8 != 0 {
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
		dispatchTexels(r, shader+suffix(qNorm.DType), texels, spec("WORKGROUP", rowGroup, "HEAD_DIM", s.HeadDim, "LANES", lanes, "NORM", norm, "TURN", !cosSin.IsZero(),
			"ROTARY", rotary, "INTERLEAVED", s.Rotary.Interleaved, "PLUS_ONE", s.PlusOne),
			[3]int{ceilDiv((end-begin)*heads, perGroup), 1, 1},
			push("rows", end-begin, "heads", s.Heads, "kv_heads", s.KVHeads, "window", s.Window, "first", turn, "skip_x", skipX, "skip_table", row, "skip_q", skipQ,
				"skip_k", skipK, "eps", s.Eps), float64(8*qkv.Cols*(end-begin)),
			vk.In(from.View), vk.In(table.View), vk.Out(toQ.View), vk.Out(toK.View), vk.Out(toV.View), vk.In(qNorm.View), vk.In(kNorm.View))
	}, qkv, q, k, v)
}
