package op

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

var (
	// attentionHalfBound is of attention by cooperative matrices, beside a reference of the q, k and v that toHalf makes.
	attentionHalfBound = optest.Bound{Max: 1.2e-3, Why: "weights rounded to 11 bits, 2^-12 of each at most, of elements up to 5 deviations"}
	// attentionRoundedBound is of the same beside a reference of q, k and v as they are.
	attentionRoundedBound = optest.Bound{Max: 8e-3, Why: "q and k rounded to 11 bits, 2^-11 of each product at most: some 3e-3 of logits up to 30, in base e"}
)

// halfHeads is x, whose rows have heads of a size, as toHalf makes it.
func halfHeads(x ref.Mat, dim int) ref.Mat {
	y := block(x, 0, x.Rows, 0, x.Cols)
	for at := 0; at < len(y.Data); at += dim {
		head := y.Data[at : at+dim]
		half, unscale := halfWant(head)
		for i, v := range half {
			head[i] = float64(v) * unscale
		}
	}
	return y
}

// attentionCoopShapes are heads of several sizes, and what else may be of a shape.
var attentionCoopShapes = []AttentionShape{
	{1, 1, 1, 0, 1, 1, 8, 0, false, LogitOptions{}, false},
	{3, 5, 5, 0, 4, 2, 16, 0, false, LogitOptions{}, false},
	{2, 130, 130, 131, 2, 1, 64, 0, false, LogitOptions{}, false},
	{2, 67, 67, 70, 6, 2, 24, 33, false, LogitOptions{0.3, 1.5}, false},
	{1, 33, 100, 0, 3, 3, 80, 40, false, LogitOptions{}, false},
	{2, 9, 150, 151, 5, 1, 16, 1, false, LogitOptions{}, false},
	{1, 70, 70, 0, 7, 1, 128, 0, false, LogitOptions{0.5, 0}, false},
	{2, 3, 90, 0, 4, 2, 96, 0, true, LogitOptions{}, false},
	{2, 50, 90, 0, 4, 2, 48, 0, false, LogitOptions{0, 2}, false},
}

// coopAttentionNeeded gives the kernels to test, or skips where there are none: a device that has matrices and does not take them fails, but for one of
// a profile whose registers hold none of lavapipe's 8×8×8 matrices in subgroups of 8.
func coopAttentionNeeded(t *testing.T, d *vk.Device) []string {
	t.Helper()
	if d.Tier < vk.CoopMatrix {
		t.Skip("no cooperative matrices: make test-drivers has them")
	}
	if d.Limits().SubgroupMin == 0 {
		t.Skip("cooperative matrices, and no size of subgroups that can be asked for: a profile's")
	}
	if d.Info.Has(vk.ThreadRegisters) && d.Limits().SubgroupMin < 16 {
		t.Skip("no cooperative matrices for attention in subgroups of 8 that share a thread's registers")
	}
	if !d.Limits().MatrixReductions {
		return []string{coopAttention}
	}
	return []string{coopAttention, coopAttentionRows}
}

// Cooperative matrices give what f32 does, but for the rounding of what they multiply; a query the same bits among others and alone, in place and
// not, and however bindings are cut; and activity is that of the rows.
func TestAttentionCoop(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, kernel := range coopAttentionNeeded(t, d) {
			for _, s := range attentionCoopShapes {
				m, size, split := largestCoop(d, s.coopTakes), d.Limits().SubgroupMin, 1
				if kernel == coopAttention {
					split = s.coopSplit(d, m, size)
				} else if s.HeadDim > 80 {
					continue // lavapipe 26 compiles more of its 8×8×8 matrices for minutes
				}
				if os.Getenv(vk.ProfileVariable) != "" && !s.coopFits(d, m, size, split) {
					continue // it names another device's registers
				}
				t.Run(fmt.Sprint(kernel, s), func(t *testing.T) { attentionCoopCase(t, d, kernel, s, 0) })
			}
		}
	})
}

// The same where two subgroups share rows, as on a device that NVIDIA's profile describes.
func TestAttentionCoopShared(t *testing.T) {
	d := vktest.Open(t, vk.Options{Profile: "nvidia"})
	if d.Tier < vk.CoopMatrix {
		t.Skip("no cooperative matrices: make test-drivers has them")
	}
	ran := 0
	for _, s := range attentionCoopShapes {
		m, size := largestCoop(d, s.coopTakes), d.Limits().SubgroupMin
		if !s.coopFits(d, m, size, 1) && s.coopFits(d, m, size, 2) {
			ran++
			t.Run(fmt.Sprint(s), func(t *testing.T) { attentionCoopCase(t, d, coopAttention, s, 2) })
		}
	}
	if ran < 3 {
		t.Errorf("%d shapes, expected 3", ran)
	}
	vktest.Clean(t)
}

// attentionCoopCase compares attention by a kernel with cooperative matrices with the reference. split is how many subgroups must share rows, 0 for any.
func attentionCoopCase(t *testing.T, d *vk.Device, kernel string, s AttentionShape, split int) {
	with(t, d, Kernels{attentionMany: kernel})
	way, err := s.way(d, true)
	if err != nil || way.shader != kernel {
		t.Fatalf("%s runs, %v", way.shader, err)
	}
	if got := way.spec.value("SPLIT"); split > 0 && got != split {
		t.Fatalf("%d subgroups share rows, expected %d", got, split)
	}
	b := newBench(t, d)
	q, k, v, want := attentionCase(s)
	for i := range v.Rows { // of many sizes, as far as the sum of all is not of one alone
		for j := range v.Row(i) {
			v.Row(i)[j] *= float64(int(1) << (i % 7))
		}
	}
	want = attentionWant(s, q, k, v)
	dq, dk, dv := b.upload(q, dtype.F32), b.upload(k, dtype.F32), b.upload(v, dtype.F32)
	blocks, y := AttentionBlocks(d, s), b.empty(dtype.F32, q.Rows, q.Cols)
	extra := withScratch(b, s)
	extra.Activity = b.empty(dtype.F32, s.Windows*blocks, q.Cols)
	Attention(b.r, y, dq, dk, dv, s, extra)
	got := b.download(y)
	attentionRoundedBound.Near(t, got, want.Data, dtype.F32)
	rounded := attentionWant(s, halfHeads(q, s.HeadDim), halfHeads(k, s.HeadDim), halfHeads(v, s.HeadDim))
	attentionHalfBound.Near(t, got, rounded.Data, dtype.F32)

	total, of := make([]float32, s.Windows*q.Cols), make([]float64, s.Windows*q.Cols)
	for i, x := range b.download(extra.Activity) {
		total[i/q.Cols/blocks*q.Cols+i%q.Cols] += x
	}
	for i, x := range got {
		of[i/q.Cols/s.QueryLen*q.Cols+i%q.Cols] += max(float64(x), -float64(x))
	}
	attentionBound.Near(t, total, of, dtype.F32)

	Attention(b.r, dq, dq, dk, dv, s, extra)
	if !slices.Equal(b.download(dq), got) {
		t.Error("in place, the bits differ")
	}
	alone := s
	alone.Windows, alone.QueryLen, alone.Batch = 1, min(2, s.QueryLen), true
	skip := s.QueryLen - alone.QueryLen
	part := b.empty(dtype.F32, alone.QueryLen, q.Cols)
	stride := max(s.KeyStride, s.KeyLen)
	attend(b, part, b.upload(window(q, skip, alone.QueryLen), dtype.F32), dk.RowRange(0, stride), dv.RowRange(0, stride), alone)
	if !slices.Equal(b.download(part), got[skip*q.Cols:s.QueryLen*q.Cols]) {
		t.Error("queries alone have other bits")
	}
}

// Where windows, or the queries of one, are cut to be bound, the bits are the same.
func TestAttentionCoopSplit(t *testing.T) {
	whole := vktest.Open(t, vk.Options{})
	kernels := coopAttentionNeeded(t, whole)
	parts := vktest.Open(t, vk.Options{StorageRange: 1 << 18})
	for _, kernel := range kernels {
		attentionCoopSplit(t, kernel, whole, parts)
	}
	vktest.Clean(t)
}

func attentionCoopSplit(t *testing.T, kernel string, whole, parts *vk.Device) {
	for _, d := range []*vk.Device{whole, parts} {
		with(t, d, Kernels{attentionMany: kernel})
	}
	for _, s := range []AttentionShape{{7, 50, 50, 51, 16, 16, 24, 0, false, LogitOptions{}, false}, {2, 90, 90, 0, 64, 2, 24, 0, false, LogitOptions{}, false}} {
		var first []float32
		for _, d := range []*vk.Device{whole, parts} {
			b := newBench(t, d)
			q, k, v := attentionOperands(s)
			y := b.empty(dtype.F32, q.Rows, q.Cols)
			attend(b, y, b.upload(q, dtype.F32), b.upload(k, dtype.F32), b.upload(v, dtype.F32), s)
			if got := b.download(y); first == nil {
				first = got
			} else if !slices.Equal(got, first) {
				t.Errorf("%s %v: split, the numbers differ", kernel, s)
			}
		}
	}
}
