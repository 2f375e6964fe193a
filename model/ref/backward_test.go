package ref

import (
	"math"
	"testing"
)

// slopes compares an analytic gradient of Σ weights·f() with central differences of it in every element of x, relative to the root mean
// square of the gradient.
func slopes(t *testing.T, what string, x, gradient []float64, weights Mat, f func() Mat) {
	t.Helper()
	loss := func() float64 { return view(f().Data).Dot(view(weights.Data)) }
	squares := view(gradient).LenSqr() / float64(len(gradient))
	for i, v := range x {
		const h = 1e-5
		x[i] = v + h
		above := loss()
		x[i] = v - h
		below := loss()
		x[i] = v
		numeric := (above - below) / (2 * h)
		if e := math.Abs(numeric-gradient[i]) / math.Sqrt(squares); !(e < 1e-6) {
			t.Errorf("%s: gradient %d is %v, differences say %v: off by %.2g", what, i, gradient[i], numeric, e)
			return
		}
	}
}

func TestBackward(t *testing.T) {
	const rows, cols, eps = 3, 7, 0.25
	dy, x := random(rows, cols), random(cols, rows)
	x.Rows, x.Cols = rows, cols
	w, b := random(1, cols).Data, random(2, cols).Row(1)

	dx, products := RMSNormBackward(dy, x, w, eps)
	norm := func() Mat { return RMSNorm(x, w, eps) }
	slopes(t, "rmsnorm dx", x.Data, dx.Data, dy, norm)
	slopes(t, "rmsnorm dw", w, ColumnSum(products), dy, norm)

	dx, products = LayerNormBackward(dy, x, w, eps)
	layer := func() Mat { return LayerNorm(x, w, b, eps) }
	slopes(t, "layernorm dx", x.Data, dx.Data, dy, layer)
	slopes(t, "layernorm dw", w, ColumnSum(products), dy, layer)
	slopes(t, "layernorm db", b, ColumnSum(dy), dy, layer)

	gate, up := random(rows, cols+1), x
	gate.Cols, gate.Data = cols, gate.Data[:rows*cols]
	dgate, dup := SwiGLUBackward(dy, gate, up)
	glu := func() Mat { return SwiGLU(gate, up) }
	slopes(t, "swiglu dgate", gate.Data, dgate.Data, dy, glu)
	slopes(t, "swiglu dup", up.Data, dup.Data, dy, glu)
	dgate, dup = GeGLUBackward(dy, gate, up)
	glu = func() Mat { return GeGLU(gate, up) }
	slopes(t, "geglu dgate", gate.Data, dgate.Data, dy, glu)
	slopes(t, "geglu dup", up.Data, dup.Data, dy, glu)

	capped := SoftCap(x, 1.5, 2)
	slopes(t, "softcap", x.Data, SoftCapBackward(dy, capped, 1.5, 2).Data, dy, func() Mat { return SoftCap(x, 1.5, 2) })

	slopes(t, "relu", x.Data, ReLUBackward(dy, x).Data, dy, func() Mat { return ReLU(x) })

	matrix, bias, dout := random(5, cols), random(3, 5).Row(1), random(rows, 5)
	dx, dw, dbias := LinearBackward(dout, x, matrix)
	linear := func() Mat { return Linear(x, matrix, bias) }
	slopes(t, "linear dx", x.Data, dx.Data, dout, linear)
	slopes(t, "linear dw", matrix.Data, dw.Data, dout, linear)
	slopes(t, "linear dbias", bias, dbias, dout, linear)

	positions, freqs := []int{3, 0, 5}, []float64{1.25, 0.5}
	heads := random(rows, 8)
	d := random(rows, 9)
	d.Cols, d.Data = 8, d.Data[:rows*8]
	slopes(t, "rope", heads.Data, RoPEBackward(d, 4, positions, freqs, false).Data, d, func() Mat { return RoPE(heads, 4, positions, freqs, false) })

	slopes(t, "partial interleaved rope", heads.Data, RoPEBackward(d, 8, positions, freqs, true).Data, d, func() Mat { return RoPE(heads, 8, positions, freqs, true) })

	table, dTable, tokens := random(4, cols), NewMat(4, cols), []int{3, 0, 3}
	EmbeddingBackward(dTable, dy, tokens)
	slopes(t, "embedding", table.Data, dTable.Data, dy, func() Mat { return Embedding(table, tokens) })
	slopes(t, "positions", table.Data, dTable.Data, dy, func() Mat { return AddPositions(x, table, tokens) })
}
