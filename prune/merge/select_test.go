package merge

import (
	"fmt"
	"math"
	"testing"
)

func TestRatio(t *testing.T) {
	for _, c := range []struct {
		bi           []float64
		power, floor float64
		originals    int
		want         []float64
	}{
		{[]float64{1, 3}, 1, 0, 2, []float64{0.25, 0.75}},
		{[]float64{1, 3}, 2, 0, 2, []float64{0.1, 0.9}},
		{[]float64{1, 3}, 1, 0.8, 2, []float64{0.2, 0.8}},
		{[]float64{3, 1}, 1, 0.7, 2, []float64{0.75, 0.25}},       // the floor is below
		{[]float64{1, 3}, 1, 0.81, 3, []float64{0.1, 0.9}},        // 0.81^(1/2)
		{[]float64{1, 1, 2}, 1, 0.6, 2, []float64{0.2, 0.2, 0.6}}, // the others keep their proportion
		{[]float64{0, 0}, 1, 0, 2, []float64{0.5, 0.5}},
		{[]float64{0, 5}, 1, 0, 2, []float64{0, 1}},
	} {
		got := Ratio(c.bi, c.power, c.floor, c.originals)
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 1e-12 {
				t.Errorf("Ratio(%v, %v, %v, %d) = %v, want %v", c.bi, c.power, c.floor, c.originals, got, c.want)
				break
			}
		}
	}
}

func TestCounts(t *testing.T) {
	for _, c := range []struct {
		ratio []float64
		n     int
		want  []int
	}{
		{[]float64{0.25, 0.75}, 4, []int{1, 3}}, {[]float64{0.46, 0.54}, 4, []int{1, 3}}, {[]float64{0.46, 0.54}, 384, []int{176, 208}},
		{[]float64{0.5, 0.5}, 3, []int{2, 1}}, {[]float64{0, 1}, 4, []int{0, 4}}, {[]float64{0.3, 0.4, 0.3}, 5, []int{1, 3, 1}}, {[]float64{0.1, 0.9}, 1, []int{0, 1}},
	} {
		if got := Counts(c.ratio, c.n); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("Counts(%v, %d) = %v, want %v", c.ratio, c.n, got, c.want)
		}
	}
}

func TestTop(t *testing.T) {
	for _, c := range []struct {
		scores []float64
		n      int
		want   []int
	}{{[]float64{3, 1, 2}, 2, []int{0, 2}}, {[]float64{1, 1, 1}, 2, []int{0, 1}}, {[]float64{1, 2}, 0, []int{}}, {[]float64{1, 5, 2, 5}, 2, []int{1, 3}}} {
		if got := Top(c.scores, c.n); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("Top(%v, %d) = %v, want %v", c.scores, c.n, got, c.want)
		}
	}
}

func TestQueryHeads(t *testing.T) {
	for _, c := range []struct {
		kept           []int
		heads, kvHeads int
		tiled          bool
		want           []int
	}{
		{[]int{1, 3}, 8, 4, false, []int{2, 3, 6, 7}}, {[]int{1, 3}, 8, 4, true, []int{1, 3, 5, 7}},
		{[]int{0, 2}, 3, 3, true, []int{0, 2}}, {[]int{0}, 4, 1, true, []int{0, 1, 2, 3}}, {nil, 4, 2, false, nil},
	} {
		if got := queryHeads(c.kept, c.heads, c.kvHeads, c.tiled); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("queryHeads(%v, %d, %d, %v) = %v, want %v", c.kept, c.heads, c.kvHeads, c.tiled, got, c.want)
		}
	}
}

func ExampleCounts() {
	ratio := Ratio([]float64{7.77, 8.95}, 1, 0, 2)
	fmt.Printf("%.3f %v of 4 heads\n", ratio, Counts(ratio, 4))
	// Output: [0.465 0.535] [1 3] of 4 heads
}
