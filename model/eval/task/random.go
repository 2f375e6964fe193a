package task

import (
	"math"
	"math/bits"

	"gonum.org/v1/gonum/mathext/prng"
)

// pythonRandom draws what Python's random.Random(seed) draws: the Mersenne Twister MT19937 of Matsumoto and Nishimura 1998, seeded by
// init_by_array with the seed's absolute value in words of 32 bits, the lowest first.
type pythonRandom struct{ *prng.MT19937 }

func newPythonRandom(seed int64) pythonRandom {
	magnitude := uint64(seed)
	if seed < 0 {
		magnitude = -magnitude
	}
	keys := []uint32{uint32(magnitude)}
	if high := uint32(magnitude >> 32); high != 0 {
		keys = append(keys, high)
	}
	r := pythonRandom{prng.NewMT19937()}
	r.SeedFromKeys(keys)
	return r
}

// below is _randbelow: a number from 0 to n-1, n ≥ 1.
func (r pythonRandom) below(n int) int {
	width := bits.Len(uint(n))
	for {
		if v := int(r.Uint32() >> (32 - width)); v < n {
			return v
		}
	}
}

// random is random(): a number in [0, 1) with 53 bits.
func (r pythonRandom) random() float64 {
	a, b := r.Uint32()>>5, r.Uint32()>>6
	return (float64(a)*(1<<26) + float64(b)) / (1 << 53)
}

// sample is sample(range(n), k), 0 ≤ k ≤ n < 2³¹.
func (r pythonRandom) sample(n, k int) []int {
	out := make([]int, k)
	listed := 21 // what a set of a few takes, in entries of a list
	if k > 5 {
		listed += int(math.Pow(4, math.Ceil(math.Log(float64(k*3))/math.Log(4))))
	}
	if n <= listed {
		pool := make([]int, n)
		for i := range pool {
			pool[i] = i
		}
		for i := range out {
			j := r.below(n - i)
			out[i], pool[j] = pool[j], pool[n-i-1]
		}
		return out
	}
	chosen := make(map[int]bool, k)
	for i := range out {
		j := r.below(n)
		for chosen[j] {
			j = r.below(n)
		}
		chosen[j], out[i] = true, j
	}
	return out
}
