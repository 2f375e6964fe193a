package op

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// picks are n indices below size, unsorted.
func picks(n, size int) (words []uint32, ints []int) {
	rng := rand.New(rand.NewPCG(uint64(n), uint64(size)))
	for range n {
		ints = append(ints, rng.IntN(size))
		words = append(words, uint32(ints[len(ints)-1]))
	}
	return words, ints
}

func flat(m ref.Mat) []float32 {
	var f []float32
	for _, v := range m.Data {
		f = append(f, float32(v))
	}
	return f
}

// A matrix is put together from three sources: with odd counts, rows and columns share words. Split, dst and src exceed a binding.
func gatherTable() optest.Table {
	return optest.Table{Op: "gather", Cases: func() (cases []optest.Case) {
		for _, dt := range dtype.All {
			for _, c := range []struct {
				rows, cols int
				counts     [3]int
			}{{1, 1, [3]int{1, 1, 1}}, {5, 7, [3]int{3, 1, 3}}, {127, 33, [3]int{20, 21, 24}}, {900, 701, [3]int{301, 300, 250}}} {
				cases = append(cases, gatherCase(dt, c.rows, c.cols, c.counts))
			}
		}
		return cases
	}}
}

func gatherCase(dt dtype.DType, height, width int, counts [3]int) optest.Case {
	total := 0
	var in []optest.Input
	var rows, cols [3][]int
	for i, n := range counts {
		_, rows[i] = picks(n, height)
		_, cols[i] = picks(n, width)
		src := block(random(height+i, width+i), i, height+i, i, width+i)
		in = append(in, optest.Input{Mat: src, DType: dt}, integers(rows[i]...), integers(cols[i]...))
		total += n
	}
	return optest.Case{
		Name: optest.Shape(height, width, counts, dt), In: in, Out: append(exact(dt, total, width), exact(dt, height, total)...),
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			at := 0
			for i, n := range counts {
				x := tensors(in[3*i : 3*i+3])
				GatherRows(r, Tensor(out[0]), at, x[0], x[1])
				GatherCols(r, Tensor(out[1]), at, x[0], x[2])
				at += n
			}
		},
		Want: func(in []ref.Mat) []ref.Mat {
			var byRow, byCol []ref.Mat
			for i := range counts {
				byRow, byCol = append(byRow, ref.GatherRows(in[3*i], rows[i])), append(byCol, ref.GatherCols(in[3*i], cols[i]))
			}
			return []ref.Mat{ref.ConcatRows(byRow...), ref.ConcatCols(byCol...)}
		},
		Split: height == 900, Measured: height == 900,
	}
}

func TestGather(t *testing.T) { gatherTable().Test(t) }

func BenchmarkGather(b *testing.B) { gatherTable().Benchmark(b) }

// Bits are copied whatever number they are; what is not written stays, to the half word; an index beyond the source is clamped.
func TestGatherBits(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, dt := range []dtype.DType{dtype.F16, dtype.BF16} {
			b := newBench(t, d)
			raw := make([]byte, 12)
			for i := range raw {
				raw[i] = byte(0x71 + 37*i)
			}
			copy(raw[2:], []byte{0x01, 0x7c, 0x01, 0x00}) // a signalling NaN and a subnormal
			src, dst := b.raw(raw, dt, 2, 3), b.raw(make([]byte, 16), dt, 2, 4)
			GatherCols(b.r, dst, 1, src, b.words([]uint32{1, 0xfffffffe}))
			if err := b.r.Wait(context.Background()); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 16)
			if err := d.Download(context.Background(), got, dst.View); err != nil {
				t.Fatal(err)
			}
			want := slices.Concat([]byte{0, 0}, raw[2:6], []byte{0, 0}, []byte{0, 0}, raw[8:12], []byte{0, 0})
			if !slices.Equal(got, want) {
				t.Errorf("%v: %x, want %x", dt, got, want)
			}
		}
	})
}

func TestGatherShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	dst, src, index := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 5, 6), b.words([]uint32{0, 1})
	refused(t, d, "rows past the end", func(r *vk.Recorder) { GatherRows(r, dst, 3, src, index) })
	refused(t, d, "other columns", func(r *vk.Recorder) { GatherRows(r, dst, 0, src.Reshape(6, 5), index) })
	refused(t, d, "another dtype", func(r *vk.Recorder) { GatherRows(r, dst, 0, Of(src.View, dtype.F16, 5, 6), index) })
	refused(t, d, "a negative row", func(r *vk.Recorder) { GatherRows(r, dst, -1, src, index) })
	refused(t, d, "no index", func(r *vk.Recorder) { GatherRows(r, dst, 0, src, Tensor{}) })
	refused(t, d, "other rows", func(r *vk.Recorder) { GatherCols(r, dst, 0, src, index) })
	refused(t, d, "columns past the end", func(r *vk.Recorder) { GatherCols(r, dst, 5, src.RowRange(0, 4), index) })
}
