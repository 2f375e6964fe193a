package task

import (
	"slices"
	"testing"
)

// TestPythonRandom: numbers that Python 3.11's random.Random(seed) gives, one after the other: three of getrandbits(32), random(), and
// samples by both of its ways.
func TestPythonRandom(t *testing.T) {
	for _, c := range []struct {
		seed    int64
		bits    []uint32
		random  float64
		samples [][]int // of range(10), range(1000), range(22), range(21), range(277), range(278)
	}{
		{0, []uint32{3626764237, 1654615998, 3255389356}, 0.890243920837131, [][]int{
			{0, 4, 7}, {414, 940, 802, 849, 310, 991}, {15, 11, 18, 6, 16}, {4, 9, 20, 3, 8}, {272, 75, 158, 50, 37, 169},
			{241, 51, 181, 222, 161, 104, 244, 226, 266, 133, 31, 7, 47, 204, 0, 252, 170, 124, 166, 32},
		}},
		{1234, []uint32{4150886329, 3342196574, 1892932127}, 0.11685051774599753, [][]int{
			{1, 0, 9}, {100, 784, 363, 242, 17, 31}, {0, 11, 20, 19, 15}, {19, 14, 4, 2, 5}, {58, 7, 257, 249, 127, 33},
			{277, 238, 35, 45, 263, 23, 138, 32, 154, 246, 181, 136, 127, 102, 232, 271, 9, 260, 36, 2},
		}},
		{-5, []uint32{2675342405, 1097127993, 3185950873}, 0.35853551175589526, [][]int{
			{8, 0, 7}, {794, 965, 255, 664, 53, 922}, {5, 3, 11, 15, 7}, {12, 17, 3, 7, 0}, {110, 208, 143, 93, 199, 81},
			{36, 71, 227, 64, 67, 0, 2, 107, 110, 84, 85, 148, 160, 101, 276, 104, 93, 100, 196, 152},
		}},
		{1<<40 + 3, []uint32{943978446, 261273136, 2359950418}, 0.8337623036996417, [][]int{
			{9, 4, 6}, {239, 482, 570, 573, 758, 337}, {8, 21, 18, 9, 15}, {10, 17, 11, 3, 1}, {235, 62, 252, 34, 14, 184},
			{52, 135, 104, 126, 156, 218, 85, 154, 255, 8, 127, 38, 274, 91, 4, 72, 45, 228, 233, 192},
		}},
	} {
		r := newPythonRandom(c.seed)
		for i, want := range c.bits {
			if got := r.Uint32(); got != want {
				t.Errorf("seed %d: draw %d is %d, want %d", c.seed, i, got, want)
			}
		}
		if got := r.random(); got != c.random {
			t.Errorf("seed %d: random() is %v, want %v", c.seed, got, c.random)
		}
		for i, n := range []int{10, 1000, 22, 21, 277, 278} {
			if got := r.sample(n, len(c.samples[i])); !slices.Equal(got, c.samples[i]) {
				t.Errorf("seed %d: sample(range(%d), %d) is %d, want %d", c.seed, n, len(c.samples[i]), got, c.samples[i])
			}
		}
	}
}
