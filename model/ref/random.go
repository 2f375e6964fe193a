package ref

// Random gives scale · (h(seed+i) − 1/2) for element i, h a hash with values in [0, 1). Source of the hash: O'Neill 2014, PCG,
// HMC-CS-2014-0905.
func Random(rows, cols int, seed uint32, scale float64) Mat {
	y := NewMat(rows, cols)
	for i := range y.Data {
		s := (seed+uint32(i))*747796405 + 2891336453
		h := ((s >> (s>>28 + 4)) ^ s) * 277803737
		h ^= h >> 22
		y.Data[i] = (float64(h>>8)/(1<<24) - 0.5) * scale
	}
	return y
}
