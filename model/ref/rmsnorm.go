package ref

import "math"

// RMSNorm gives y = x / sqrt(mean(x²) + eps) · w for every row of x. Source: Zhang & Sennrich 2019, arXiv 1910.07467.
//
//	x [tokens, hidden] · w [hidden] · result [tokens, hidden]
func RMSNorm(x Mat, w []float64, eps float64) Mat {
	check(len(w) == x.Cols, "rmsnorm", x.shape(), len(w))
	return HeadNorm(x, w, x.Cols, eps)
}

// HeadNorm is RMSNorm of every run of headDim columns by itself: the q and k norm of Qwen3, before RoPE.
//
//	x [tokens, heads·headDim] · w [headDim] · result [tokens, heads·headDim]
func HeadNorm(x Mat, w []float64, headDim int, eps float64) Mat {
	check(len(w) == headDim && x.Cols%headDim == 0, "headnorm", x.shape(), len(w), headDim)
	y := NewMat(x.Rows, x.Cols)
	for at := 0; at < len(x.Data); at += headDim {
		head, out := x.Data[at:at+headDim], y.Data[at:at+headDim]
		scale := 1 / math.Sqrt(view(head).LenSqr()/float64(headDim)+eps)
		view(head).Mul(view(out), scale)
		for i := range out {
			out[i] *= w[i]
		}
	}
	return y
}
