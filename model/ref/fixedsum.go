package ref

import "math/big"

// FixedSum adds the terms of every column to an integer that counts units of 2^-bits; what a term has below is cut off.
//
//	sum [count] · x [terms, n], n at least count
func FixedSum(sum []*big.Int, x Mat, bits uint) []*big.Int {
	check(len(sum) <= x.Cols, "fixedsum", len(sum), x.shape())
	y := make([]*big.Int, len(sum))
	for i, s := range sum {
		y[i] = new(big.Int).Set(s)
		for p := range x.Rows {
			scaled := new(big.Float).SetMantExp(big.NewFloat(x.At(p, i)), int(bits))
			term, _ := scaled.Int(nil)
			y[i].Add(y[i], term)
		}
	}
	return y
}
