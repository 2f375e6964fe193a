package ref

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/go-gl/mathgl/mgl64"
)

// rows makes a matrix of its rows.
func rows(rs ...[]float64) Mat { return Mat{len(rs), len(rs[0]), slices.Concat(rs...)} }

func random(rows, cols int) Mat {
	r := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
	m := NewMat(rows, cols)
	for i := range m.Data {
		m.Data[i] = r.NormFloat64()
	}
	return m
}

// equal fails where got is not want up to the rounding of float64.
func equal(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if !mgl64.NewVecNFromData(got).ApproxEqualThreshold(mgl64.NewVecNFromData(want), 1e-12) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestOps compares with figures worked out by hand.
func TestOps(t *testing.T) {
	table := rows([]float64{1, 2}, []float64{3, 4}, []float64{5, 6})
	equal(t, "embedding", Embedding(table, []int{2, 0, 2}).Data, []float64{5, 6, 1, 2, 5, 6})
	equal(t, "gather rows", GatherRows(table, []int{1}).Data, []float64{3, 4})
	equal(t, "gather columns", GatherCols(table, []int{1}).Data, []float64{2, 4, 6})
	equal(t, "concat rows", ConcatRows(table, table).Data, []float64{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6})
	equal(t, "concat columns", ConcatCols(table, GatherCols(table, []int{0})).Data, []float64{1, 2, 1, 3, 4, 3, 5, 6, 5})

	// mean(3², 4²) + 12 = 24.5, mean(0², 7²) + 12 = 36.5
	norm := []float64{1, 10}
	equal(t, "rmsnorm", RMSNorm(rows([]float64{3, 4}, []float64{0, 7}), norm, 12).Data,
		[]float64{3 / math.Sqrt(24.5), 40 / math.Sqrt(24.5), 0, 70 / math.Sqrt(36.5)})
	equal(t, "headnorm", HeadNorm(rows([]float64{3, 4, 0, 7}), norm, 2, 12).Data,
		[]float64{3 / math.Sqrt(24.5), 40 / math.Sqrt(24.5), 0, 70 / math.Sqrt(36.5)})

	x := rows([]float64{1, 2}, []float64{-1, 1})
	equal(t, "linear", Linear(x, table, nil).Data, []float64{5, 11, 17, 1, 1, 1})
	equal(t, "linear with bias", Linear(x, table, []float64{10, 20, 30}).Data, []float64{15, 31, 47, 11, 21, 31})

	equal(t, "swiglu", SwiGLU(rows([]float64{0, math.Log(3)}), rows([]float64{5, 4})).Data, []float64{0, 3 * math.Log(3)}) // SiLU(ln 3) = ¾ ln 3
	equal(t, "add", Add(x, x).Data, []float64{2, 4, -2, 2})
	equal(t, "weightedsum", WeightedSum([]Mat{x, rows([]float64{8, 8}, []float64{8, 8})}, []float64{0.5, 0.25}).Data, []float64{2.5, 3, 1.5, 2.5})

	logits := rows([]float64{0, math.Log(3)}, []float64{1e4, 1e4}, []float64{1, 2})
	equal(t, "crossentropy", CrossEntropy(logits, []int{1, 0, -1}), []float64{math.Log(4.0 / 3), math.Log(2), 0})
	equal(t, "layernorm", LayerNorm(rows([]float64{1, 3}, []float64{5, 5}), []float64{2, 4}, []float64{10, 20}, 0.25).Data, []float64{10 - 2/math.Sqrt(1.25), 20 + 4/math.Sqrt(1.25), 10, 20})
	equal(t, "relu", ReLU(x).Data, []float64{1, 2, 0, 1})
	equal(t, "positions", AddPositions(rows([]float64{1, 2}, []float64{3, 4}), table, []int{2, 0}).Data, []float64{6, 8, 4, 6})
}

// TestLinear compares the blocked loops with mathgl's matrix-vector product, at sizes that leave a rest.
func TestLinear(t *testing.T) {
	for _, s := range []struct{ tokens, in, out int }{{1, 1, 1}, {1, 7, 4}, {5, 24, 9}, {33, 120, 31}} {
		x, w := random(s.tokens, s.in), random(s.out, s.in)
		wide := mgl64.NewMatrixFromData(w.Data, s.in, s.out).Transpose(nil) // mathgl counts down the columns
		y := Linear(x, w, nil)
		for i := range s.tokens {
			equal(t, "linear", y.Row(i), wide.MulNx1(nil, mgl64.NewVecNFromData(x.Row(i))).Raw())
		}
	}
}

func TestRoPE(t *testing.T) {
	equal(t, "frequencies", RopeFrequencies(4, 100, RopeScaling{}), []float64{1, 0.1})
	equal(t, "linear", RopeFrequencies(4, 100, RopeScaling{Type: "linear", Factor: 4}), []float64{0.25, 0.025})
	// Of an original context of 40π the frequencies 1, 0.1, 0.01 turn 20, 2 and 0.2 times: kept, halfway, stretched.
	equal(t, "llama3", RopeFrequencies(6, 1000, RopeScaling{Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 3, OriginalMaxPosition: 126}),
		[]float64{1, 0.1*smooth(126) + 0.1/8*(1-smooth(126)), 0.01 / 8})

	// Two heads of two pairs (0,2), (1,3); at position 1 the pairs turn by a quarter and by a half.
	x := rows([]float64{1, 2, 3, 4, 5, 6, 7, 8}, []float64{1, 2, 3, 4, 5, 6, 7, 8})
	equal(t, "rope", RoPE(x, 4, []int{0, 1}, []float64{math.Pi / 2, math.Pi}, false).Data,
		[]float64{1, 2, 3, 4, 5, 6, 7, 8, -3, -2, 1, -4, -7, -6, 5, -8})
	equal(t, "interleaved rope", RoPE(x, 4, []int{0, 1}, []float64{math.Pi / 2, math.Pi}, true).Data,
		[]float64{1, 2, 3, 4, 5, 6, 7, 8, -2, 1, -3, -4, -6, 5, -7, -8})
	equal(t, "partial rope", RoPE(x, 4, []int{0, 1}, []float64{math.Pi / 2}, false).Data, []float64{1, 2, 3, 4, 5, 6, 7, 8, -2, 1, 3, 4, -6, 5, 7, 8})
}

// smooth is the share of the kept frequency in the case of TestRoPE: (turns − 1)/(3 − 1).
func smooth(context float64) float64 { return (context*0.1/(2*math.Pi) - 1) / 2 }

func TestAttention(t *testing.T) {
	// Heads of one channel. Keys 0, ln 2, ln 4 weigh 1, 2, 4 for a query of 1 and alike for a query of 0.
	k := rows([]float64{0}, []float64{math.Log(2)}, []float64{math.Log(4)})
	v := rows([]float64{7}, []float64{14}, []float64{21})
	q := rows([]float64{1, 0}, []float64{1, 0}, []float64{1, 0})
	causal := []float64{7, 7, 35.0 / 3, 10.5, 17, 14}
	equal(t, "grouped", Attention(q, k, v, 2, 1, 1, 0, LogitOptions{}).Data, causal)
	equal(t, "last queries", Attention(GatherRows(q, []int{1, 2}), k, v, 2, 1, 1, 0, LogitOptions{}).Data, causal[2:])
	equal(t, "window of 2", Attention(q, k, v, 2, 1, 1, 2, LogitOptions{}).Data, []float64{7, 7, 35.0 / 3, 10.5, (2*14 + 4*21) / 6.0, 17.5})
	equal(t, "window of 1", Attention(q, k, v, 2, 1, 1, 1, LogitOptions{}).Data, []float64{7, 7, 14, 14, 21, 21})

	// Four query heads on two key/value heads: of one token, each gets the values of head h/2.
	equal(t, "groups in order", Attention(NewMat(1, 8), NewMat(1, 4), rows([]float64{1, 2, 3, 4}), 4, 2, 2, 0, LogitOptions{}).Data,
		[]float64{1, 2, 1, 2, 3, 4, 3, 4})
	// The scale of two channels is 1/√2: q·k = √2·ln 3 weighs 3 to 1.
	equal(t, "scale", Attention(rows([]float64{math.Sqrt2, 0}), rows([]float64{math.Log(3), 9}, []float64{0, -9}),
		rows([]float64{4, 0}, []float64{0, 4}), 1, 1, 2, 0, LogitOptions{}).Data, []float64{3, 1})
	// A logit of 2·ln 3, half of it, under a cap of 2·ln 3.
	equal(t, "cap", Attention(rows([]float64{0}, []float64{1}), rows([]float64{2 * math.Log(3)}, []float64{0}), rows([]float64{0}, []float64{4}), 1, 1, 1, 0,
		LogitOptions{Scale: 0.5, Cap: 2 * math.Log(3)}).Data, []float64{0, 4 / (1 + math.Exp(2*math.Log(3)*math.Tanh(0.5)))})
	equal(t, "softcap", SoftCap(rows([]float64{math.Log(3) / 2, 0, -math.Log(3) / 2}), 3, 3).Data, []float64{1.5, 0, -1.5})
	equal(t, "scale of logits", SoftCap(rows([]float64{1, -4}), 0.5, 0).Data, []float64{0.5, -2})
}

func TestSensitivity(t *testing.T) {
	w := rows([]float64{1, -2, 3, 0}, []float64{-1, 2, 0, 4}) // columns sum to 2, 4, 3, 4
	a := rows([]float64{1, -1, 2, 0}, []float64{-3, 1, 0, 1}) // means 2, 1, 1, ½
	equal(t, "columns", ColumnAbsSum(w), []float64{2, 4, 3, 4})
	equal(t, "neurons", NeuronSensitivity(a, w), []float64{4, 4, 3, 2})
	equal(t, "head groups", HeadGroupSensitivity(a, w, 2, 2, 1), []float64{4, 2.5})
}

func TestBlockInfluence(t *testing.T) {
	x := rows([]float64{1, 0}, []float64{1, 0}, []float64{1, 0}, []float64{1, 0}, []float64{0, 0})
	y := rows([]float64{2, 0}, []float64{1, 1}, []float64{0, 3}, []float64{-1, 0}, []float64{1, 0})
	equal(t, "influence", BlockInfluence(x, y), []float64{0, 1 - math.Sqrt2/2, 1, 1, 0.5})
	equal(t, "angle", AngularDistance(x, y), []float64{0, 0.25, 0.5, 0.5, 1.0 / 3})
}

func TestFusionRatio(t *testing.T) {
	for _, c := range []struct {
		bi         []float64
		psu, floor float64
		originals  int
		want       []float64
	}{
		{[]float64{1, 3}, 1, 0, 2, []float64{0.25, 0.75}},
		{[]float64{1, 3}, 2, 0, 2, []float64{0.1, 0.9}},
		{[]float64{1, 3}, 1, 0.8, 2, []float64{0.2, 0.8}},
		{[]float64{1, 3}, 1, 0.7, 2, []float64{0.25, 0.75}},
		{[]float64{3, 1}, 1, 0.64, 3, []float64{0.8, 0.2}}, // √0.64
		{[]float64{1, 1, 2}, 1, 0.64, 3, []float64{0.1, 0.1, 0.8}},
		{[]float64{0, 0}, 1, 0, 2, []float64{0.5, 0.5}},
	} {
		equal(t, "ratio", FusionRatio(c.bi, c.psu, c.floor, c.originals), c.want)
	}
	for _, c := range []struct {
		ratio []float64
		n     int
		want  []int
	}{{[]float64{0.3, 0.7}, 4, []int{1, 3}}, {[]float64{0.7, 0.3}, 4, []int{3, 1}}, {[]float64{0.5, 0.5}, 3, []int{2, 1}}, {[]float64{0.2, 0.2, 0.6}, 4, []int{0, 0, 4}}} {
		if got := Counts(c.ratio, c.n); !slices.Equal(got, c.want) {
			t.Errorf("%v of %d: %v, want %v", c.ratio, c.n, got, c.want)
		}
	}
	if got := Top([]float64{1, 5, 3, 5, 3}, 3); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("top 3: %v", got)
	}
}

func TestMismatchPanics(t *testing.T) {
	defer func() {
		if got, want := recover(), "ref: linear: sizes disagree: [[1 3] [2 4] 0]"; got != want {
			t.Errorf("panic %v, want %v", got, want)
		}
	}()
	Linear(NewMat(1, 3), NewMat(2, 4), nil)
}
