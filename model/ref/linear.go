package ref

// Linear gives y = x·wᵀ + bias; a nil bias is none.
//
//	x [tokens, in] · w [out, in] · bias [out] · result [tokens, out]
func Linear(x, w Mat, bias []float64) Mat {
	check(x.Cols == w.Cols && (bias == nil || len(bias) == w.Rows), "linear", x.shape(), w.shape(), len(bias))
	y := NewMat(x.Rows, w.Rows)
	const block = 16 // tokens, so that they stay in the cache while the weights pass by
	for t0 := 0; t0 < x.Rows; t0 += block {
		t1 := min(t0+block, x.Rows)
		o := 0
		for ; o+4 <= w.Rows; o += 4 {
			a, b, c, d := w.Row(o), w.Row(o+1), w.Row(o+2), w.Row(o+3)
			for t := t0; t < t1; t++ {
				dots4(y.Row(t)[o:o+4], x.Row(t), a, b, c, d)
			}
		}
		for ; o < w.Rows; o++ {
			for t := t0; t < t1; t++ {
				y.Row(t)[o] = view(x.Row(t)).Dot(view(w.Row(o)))
			}
		}
	}
	if bias != nil {
		for t := range x.Rows {
			view(y.Row(t)).Add(view(y.Row(t)), view(bias))
		}
	}
	return y
}

// dots4 gives x·a, x·b, x·c, x·d. Four sums at a time are four times as fast as one, which waits for its own additions;
// with eight of them Go 1.26 runs out of registers and is slower again.
func dots4(y, x, a, b, c, d []float64) {
	a, b, c, d = a[:len(x)], b[:len(x)], c[:len(x)], d[:len(x)]
	var sa, sb, sc, sd float64
	for i, v := range x {
		sa += v * a[i]
		sb += v * b[i]
		sc += v * c[i]
		sd += v * d[i]
	}
	y[0], y[1], y[2], y[3] = sa, sb, sc, sd
}
