package op

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
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
func TestGather(t *testing.T) {
	eachAndSplit(t, func(t *testing.T, d *vk.Device, split bool) {
		for _, dt := range dtype.All {
			for _, c := range []struct{ rows, cols, first, second, third int }{{1, 1, 1, 1, 1}, {5, 7, 3, 1, 3}, {127, 33, 20, 21, 24}, {900, 701, 301, 300, 250}} {
				if c.rows < 900 == split {
					continue
				}
				t.Run(fmt.Sprint(dt, c), func(t *testing.T) { gatherBoth(t, d, dt, c.rows, c.cols, []int{c.first, c.second, c.third}) })
			}
		}
	})
}

func gatherBoth(t *testing.T, d *vk.Device, dt dtype.DType, height, width int, counts []int) {
	b := newBench(t, d)
	total := 0
	for _, n := range counts {
		total += n
	}
	byRow, byCol := b.empty(dt, total, width), b.empty(dt, height, total)
	var wantRows, wantCols []ref.Mat
	at := 0
	for i, n := range counts {
		src := block(random(height+i, width+i), i, height+i, i, width+i)
		ds := b.upload(src, dt)
		rowWords, rowInts := picks(n, height)
		colWords, colInts := picks(n, width)
		GatherRows(b.r, byRow, at, ds, b.words(rowWords))
		GatherCols(b.r, byCol, at, ds, b.words(colWords))
		wantRows, wantCols = append(wantRows, ref.GatherRows(src, rowInts)), append(wantCols, ref.GatherCols(src, colInts))
		at += n
	}
	if !slices.Equal(b.download(byRow), flat(ref.ConcatRows(wantRows...))) {
		t.Error("rows differ")
	}
	if !slices.Equal(b.download(byCol), flat(ref.ConcatCols(wantCols...))) {
		t.Error("columns differ")
	}
}

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
