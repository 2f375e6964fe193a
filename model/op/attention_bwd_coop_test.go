package op

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// attentionBackwardRoundedBound is of the gradients by cooperative matrices, beside a reference of q, k, v and do as they are.
var attentionBackwardRoundedBound = optest.Bound{Max: 1e-2, Why: "probabilities as in attention, 8e-3, and their gradients of do and v rounded to 11 bits"}

// coopBackwardRounding is by how much of itself a weight of such a gradient may be off, beside a reference of what toHalf makes of q, k, v and do.
const coopBackwardRounding = 0x1p-11 + 1e-4 // f16 has 11 bits; the rest is f32: exp2 of logits up to 100, and sums

// backwardWeights are the sums over |weight|·|what it multiplies| that a rounding of every weight moves dq, dk and dv by, times that rounding at most. A
// weight of dq and dk is p·(dp − mean): dp and mean are rounded by themselves, so that their sizes are added.
func backwardWeights(s AttentionShape, q, k, v, do ref.Mat) (of [3]ref.Mat) {
	for i, m := range []ref.Mat{q, k, v} {
		of[i] = ref.NewMat(m.Rows, m.Cols)
	}
	scale, group := cmp.Or(s.Scale, 1/math.Sqrt(float64(s.HeadDim))), s.Heads/s.KVHeads
	head := func(m ref.Mat, row, h int) []float64 { return m.Row(row)[h*s.HeadDim : (h+1)*s.HeadDim] }
	inner := func(x, y []float64) (sum float64) {
		for i := range x {
			sum += x[i] * y[i]
		}
		return sum
	}
	add := func(to, x []float64, w float64) {
		for i := range to {
			to[i] += w * math.Abs(x[i])
		}
	}
	for i := range q.Rows {
		window, position := i/s.QueryLen*s.QueryLen, i%s.QueryLen
		first := 0
		if s.SlidingWindow > 0 {
			first = max(0, position-s.SlidingWindow+1)
		}
		for h := range s.Heads {
			p, dp := make([]float64, position+1-first), make([]float64, position+1-first)
			top, sum, mean := math.Inf(-1), 0.0, 0.0
			for j := range p {
				p[j] = scale * inner(head(q, i, h), head(k, window+first+j, h/group))
				if s.Cap > 0 {
					p[j] = s.Cap * math.Tanh(p[j]/s.Cap)
				}
				dp[j] = inner(head(do, i, h), head(v, window+first+j, h/group))
				top = max(top, p[j])
			}
			for j := range p {
				p[j] = math.Exp(p[j] - top)
				sum += p[j]
			}
			for j := range p {
				p[j] /= sum
				mean += p[j] * dp[j]
			}
			for j := range p {
				w, row := scale*p[j]*(math.Abs(dp[j])+math.Abs(mean)), window+first+j
				add(head(of[0], i, h), head(k, row, h/group), w)
				add(head(of[1], row, h/group), head(q, i, h), w)
				add(head(of[2], row, h/group), head(do, i, h), p[j])
			}
		}
	}
	return of
}

// coopBackwardShapes are heads of several sizes, and what else may be of a shape.
var coopBackwardShapes = []AttentionShape{
	{1, 1, 1, 0, 1, 1, 8, 0, false, LogitOptions{}, false},
	{3, 5, 5, 0, 4, 2, 16, 0, false, LogitOptions{}, false},
	{2, 67, 67, 0, 6, 2, 24, 33, false, LogitOptions{0.3, 1.5}, false},
	{2, 41, 41, 0, 3, 3, 32, 1, false, LogitOptions{}, false},
	{1, 75, 75, 0, 5, 1, 32, 40, false, LogitOptions{}, false},
	{1, 50, 50, 0, 4, 2, 48, 0, false, LogitOptions{0, 2}, false},
	{1, 130, 130, 0, 2, 1, 64, 0, false, LogitOptions{}, false},
	{1, 40, 40, 0, 7, 1, 80, 100, false, LogitOptions{}, false},
	{1, 37, 37, 0, 2, 1, 128, 0, false, LogitOptions{}, false},
	{1, 37, 37, 0, 2, 1, 256, 0, false, LogitOptions{}, false},
}

// By cooperative matrices the gradients are those of f32 but for the rounding of what is multiplied, element by element however small; they have the same
// bits in place and not, twice, and in a window alone. Each profile divides the rows of a workgroup in another way, for heads of these sizes.
func TestAttentionBackwardCoop(t *testing.T) {
	for profile, heads := range map[string][]int{"": {8, 16, 24, 32, 64, 80, 128, 256}, "nvidia": {32, 48, 64}, "amd": {32, 48}, "intel": {16, 24}} {
		d := vktest.Open(t, vk.Options{Profile: profile})
		if d.Tier < vk.CoopMatrix {
			t.Skip("no cooperative matrices: make test-drivers has them")
		}
		if profile == "" {
			with(t, d, Kernels{attentionBack: "attention_bwd_coopmat"})
		}
		ran := 0
		for _, s := range coopBackwardShapes {
			s.Half = true
			q, errQ := s.backwardWay(d, false)
			kv, errKV := s.backwardWay(d, true)
			if errQ != nil || errKV != nil {
				t.Fatal(errQ, errKV)
			}
			if !slices.Contains(heads, s.HeadDim) || !q.half && !kv.half {
				continue
			}
			ran++
			t.Run(fmt.Sprint(profile, s), func(t *testing.T) { coopBackwardCase(t, d, s, [3]bool{q.half, kv.half, kv.half}) })
		}
		if ran == 0 {
			t.Errorf("profile %q: no shape runs by cooperative matrices", profile)
		}
	}
	vktest.Clean(t)
}

func coopBackwardCase(t *testing.T, d *vk.Device, s AttentionShape, half [3]bool) {
	m, _ := backwardCase(s)
	for i := range m[0].Rows { // rows whose values and gradients are of many sizes: what is 2^-20 of the largest must be as exact
		for j := range m[1].Cols {
			m[1].Row(i)[j] *= math.Ldexp(1, i%3)
			m[2].Row(i)[j] *= math.Ldexp(1, i%7)
		}
		for j := range m[0].Cols {
			m[4].Row(i)[j] *= math.Ldexp(1, -2*(i%11))
		}
	}
	for _, i := range []int{0, 1, 2, 4} {
		m[i] = halfHeads(m[i], s.HeadDim)
	}
	q, k, v, do := m[0], m[1], m[2], m[4]
	m[3] = attentionWant(s, q, k, v)
	of := backwardWeights(s, q, k, v, do)
	b := newBench(t, d)
	got := attendBackwardOn(t, d, m, s)
	for w := range s.Windows {
		part := func(m ref.Mat) ref.Mat { return window(m, w*s.QueryLen, s.QueryLen) }
		dq, dk, dv := ref.AttentionBackward(part(q), part(k), part(v), part(do), s.Heads, s.KVHeads, s.HeadDim, s.SlidingWindow, ref.LogitOptions(s.LogitOptions))
		for i, want := range []ref.Mat{dq, dk, dv} {
			at, most := w*len(want.Data), coopBackwardRounding
			if !half[i] {
				most = 2e-5
			}
			for j, x := range want.Data {
				e := math.Abs(float64(got[i][at+j])-x) / of[i].Data[at+j]
				if float64(got[i][at+j]) == x {
					e = 0
				}
				if !(e <= most) {
					t.Fatalf("gradient %d, element %d of window %d is %v, want %v: off by %.3g of its weights, tolerance %.3g", i, j, w, got[i][at+j], x, e, most)
				}
			}
		}
	}
	// Against differences of the loss along a direction.
	loss := func(q, k, v ref.Mat) float64 { return dot(do, attentionWant(s, q, k, v)) }
	for i := range 3 {
		along := random(m[i].Rows, m[i].Cols)
		moved := func(h float64) float64 {
			x := [3]ref.Mat{q, k, v}
			x[i] = block(m[i], 0, m[i].Rows, 0, m[i].Cols)
			for j := range x[i].Data {
				x[i].Data[j] += h * along.Data[j]
			}
			return loss(x[0], x[1], x[2])
		}
		const h = 1e-4 // its square is what the third derivative adds, some 1e-8
		want, sum, room := (moved(h)-moved(-h))/(2*h), 0.0, 0.0
		for j, x := range along.Data {
			sum += x * float64(got[i][j])
			room += math.Abs(x) * of[i].Data[j]
		}
		if !(math.Abs(sum-want) <= coopBackwardRounding*room+1e-6*(1+math.Abs(want))) {
			t.Errorf("gradient %d along a direction is %v, differences of the loss %v", i, sum, want)
		}
	}
	for i, x := range attendBackward(b, m, s, true) {
		if !slices.Equal(b.download(x), got[i]) {
			t.Errorf("a second time, and over o, gradient %d has other bits", i)
		}
	}
	alone, last := s, m
	alone.Windows = 1
	for i := range last {
		last[i] = window(m[i], (s.Windows-1)*s.QueryLen, s.QueryLen)
	}
	for i, x := range attendBackwardOn(t, d, last, alone) {
		if !slices.Equal(x, got[i][len(got[i])-len(x):]) {
			t.Errorf("the last window alone has another gradient %d", i)
		}
	}
}

// GPUs have matrices for the gradients of heads that their registers and memory have room for.
func TestAttentionBackwardCoopChoice(t *testing.T) {
	device := func(name string, least, usual int, m vk.CoopShape, shared int64) *vk.Device {
		m.Input, m.Sum = "f16", "f32"
		return &vk.Device{Tier: vk.CoopMatrix, Info: vk.Info{Kind: vk.Discrete, Name: name, CoopShapes: []vk.CoopShape{m}, Limits: vk.Limits{WorkgroupSize: 1024,
			SharedMemory: shared, SubgroupSize: usual, SubgroupMin: least, SubgroupShuffle: true, OffsetAlignment: 16, StorageRange: 1 << 31}}}
	}
	square, none := vk.CoopShape{M: 16, N: 16, K: 16}, coopBands{} // f32
	amd, nvidia := device("AMD Radeon RX 7900 XTX", 32, 64, square, 64<<10), device("NVIDIA GeForce RTX 3090", 32, 32, square, 48<<10)
	hpg, xe2 := device("Intel(R) Arc(tm) A770 Graphics", 8, 32, vk.CoopShape{M: 8, N: 8, K: 16}, 64<<10), device("Intel(R) Arc(tm) B580 Graphics", 16, 32, vk.CoopShape{M: 8, N: 16, K: 16}, 128<<10)
	for _, c := range []struct {
		d     *vk.Device
		dim   int
		q, kv coopBands
	}{
		{nvidia, 64, coopBands{4, 2, true}, coopBands{4, 2, true}}, {nvidia, 80, coopBands{4, 2, true}, coopBands{4, 2, false}}, {nvidia, 128, coopBands{4, 4, true}, coopBands{4, 4, true}},
		{nvidia, 256, none, none}, {amd, 64, coopBands{4, 2, false}, coopBands{4, 2, false}}, {amd, 128, coopBands{4, 2, false}, coopBands{4, 2, false}}, {amd, 256, coopBands{2, 2, false}, none},
		{xe2, 64, coopBands{8, 4, false}, coopBands{8, 4, false}}, {xe2, 96, coopBands{8, 4, false}, coopBands{8, 4, false}}, {xe2, 128, none, none}, {hpg, 64, none, none},
		{amd, 68, none, none}, {device("AMD Radeon RX 7900 XTX", 32, 64, square, 16<<10), 64, none, none},
	} {
		s := AttentionShape{Windows: 1, QueryLen: 512, KeyLen: 512, Heads: 4, KVHeads: 2, HeadDim: c.dim, Half: true}
		for _, ofKeys := range []bool{false, true} {
			want := map[bool]coopBands{false: c.q, true: c.kv}[ofKeys]
			way, err := s.backwardWay(c.d, ofKeys)
			if got := (coopBands{way.spec.value("BANDS"), way.spec.value("SPLIT"), way.spec.value("APART") == 1}); err != nil || got != want || way.half != (want != none) || way.shared > c.d.Limits().SharedMemory {
				t.Errorf("%s, heads of %d, of keys %t: %s with %v and %d bytes, want %v, %v", c.d.Info.Name, c.dim, ofKeys, way.shader, got, way.shared, want, err)
			}
			s.Half = false
			if way, _ := s.backwardWay(c.d, ofKeys); way.half {
				t.Errorf("%s: %s rounds where that is not allowed", c.d.Info.Name, way.shader)
			}
			s.Half = true
		}
	}
}

// Where few windows fit a binding, the bits are the same; where the halves of one do not, f32 does it.
func TestAttentionBackwardCoopPieces(t *testing.T) {
	whole, split := vktest.Open(t, vk.Options{}), vktest.Open(t, vk.Options{StorageRange: 1 << 18})
	if whole.Tier < vk.CoopMatrix {
		t.Skip("no cooperative matrices: make test-drivers has them")
	}
	for _, d := range []*vk.Device{whole, split} {
		with(t, d, Kernels{attentionBack: "attention_bwd_coopmat"})
	}
	s := AttentionShape{9, 50, 50, 0, 6, 3, 24, 0, false, LogitOptions{}, false}
	m, _ := backwardCase(s)
	all := attendBackwardOn(t, whole, m, s)
	for i, x := range attendBackwardOn(t, split, m, s) {
		if !slices.Equal(x, all[i]) {
			t.Errorf("bindings of 256 KiB change gradient %d", i)
		}
	}
	s.Windows, s.QueryLen, s.KeyLen = 1, 400, 400
	if way, err := s.backwardWay(split, true); err != nil || way.half {
		t.Errorf("a window whose halves are beyond a binding: %s, %v", way.shader, err)
	}
	if way, err := s.backwardWay(whole, true); err != nil || !way.half {
		t.Errorf("the same within it: %s, %v", way.shader, err)
	}
	vktest.Clean(t)
}

// Who takes no cooperative matrices needs no more than the statistics.
func TestAttentionBackwardScratch(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	s := AttentionShape{2, 50, 50, 0, 6, 3, 24, 0, false, LogitOptions{}, false}
	if n := AttentionBackwardScratch(d, s); n != 2*2*50*6 {
		t.Errorf("%d floats, expected %d", n, 2*2*50*6)
	}
	if d.Tier < vk.CoopMatrix {
		return
	}
	with(t, d, Kernels{attentionBack: "attention_bwd_coopmat"})
	n := AttentionBackwardScratch(d, s)
	if least := 2*2*50*6 + 2*50*(6+3)*2*(24/2+1); n < least || n > least+8*64 {
		t.Errorf("%d floats by matrices, expected %d and what offsets take", n, least)
	}
	one := s
	one.Windows, one.QueryLen, one.KeyLen = 1, 100, 100
	if more := AttentionBackwardScratch(d, one); more < n {
		t.Errorf("%d floats for rows in one window, %d for the same in two", more, n)
	}
	vktest.Clean(t)
}
