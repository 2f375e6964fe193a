package op

import (
	"context"
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Integers are equal or wrong.
func fixedsumTable() optest.Table {
	return optest.Table{Op: "fixedsum", Cases: func() (cases []optest.Case) {
		for _, c := range []struct{ count, terms, stride int }{{1, 1, 1}, {1, 700, 1}, {7, 3, 64}, {1000, 5, 1024}, {70000, 2, 70016}, {300_001, 1, 300_032}} {
			x := magnitudes(c.terms, c.stride)
			start := make([]*big.Int, c.count)
			for i := range start { // as what other terms added up to
				start[i] = ref.FixedSum([]*big.Int{new(big.Int)}, block(x, 0, 1, i, i+1), FixedBits)[0]
				start[i].Mul(start[i], big.NewInt(-3))
			}
			cases = append(cases, optest.Case{
				Name: optest.Shape(c.count, c.terms, c.stride), In: f32s(x),
				Out: []optest.Output{{DType: dtype.F32, Rows: c.count, Cols: 4, Words: true, Start: fixedWords(start)}, {DType: dtype.F32, Rows: 1, Cols: 1, Words: true, Start: vector(0)}},
				Record: func(r *vk.Recorder, out, in []optest.Tensor) {
					FixedSum(r, Tensor(out[0]), Tensor(in[0]), Tensor(out[1]), 0, Tensor(in[0]).Rows)
				},
				Want: func(in []ref.Mat) []ref.Mat {
					want := fixedWords(ref.FixedSum(start, in[0], FixedBits))
					for i, v := range want.Data {
						want.Data[i] = float64(float32(v)) // as tables read words
					}
					return []ref.Mat{want, vector(0)}
				},
				Split: c.stride > 1<<16, Measured: c.count == 70000, Flops: float64(c.count * c.terms),
			})
		}
		return cases
	}}
}

// magnitudes are terms of both signs from 2^-90, of which nothing is left, to 2^29, with zeros among them.
func magnitudes(rows, cols int) ref.Mat {
	x, rng := random(rows, cols), rand.New(rand.NewPCG(3, uint64(cols)))
	for i, v := range x.Data {
		x.Data[i] = float64(float32(math.Ldexp(max(-1, min(1, v)), rng.IntN(120)-90)))
		if rng.IntN(9) == 0 {
			x.Data[i] = 0
		}
	}
	return x
}

// fixedWords are the four words of each integer.
func fixedWords(sums []*big.Int) ref.Mat {
	m, modulus, mask := ref.NewMat(len(sums), 4), new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(math.MaxUint32)
	for i, s := range sums {
		v := new(big.Int).Mod(s, modulus)
		for k := range 4 {
			m.Row(i)[k] = float64(int32(uint32(new(big.Int).And(new(big.Int).Rsh(v, uint(32*k)), mask).Uint64())))
		}
	}
	return m
}

func TestFixedSum(t *testing.T) { fixedsumTable().Test(t) }

func BenchmarkFixedSum(b *testing.B) { fixedsumTable().Benchmark(b) }

// Every bit, whether terms come in one call or in many and in another order; and a loop longer than one dispatch's.
func TestFixedSumBits(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, shape := range [][2]int{{6, 64}, {fixedTerms + 5, 1}} {
			x := magnitudes(shape[0], shape[1])
			zero := make([]*big.Int, x.Cols)
			for i := range zero {
				zero[i] = new(big.Int)
			}
			want := fixedWords(ref.FixedSum(zero, x, FixedBits))
			b := newBench(t, d)
			in, bad := b.upload(x, dtype.F32), b.words([]uint32{0})
			whole, parts := b.words(make([]uint32, 4*x.Cols)).Reshape(x.Cols, 4), b.words(make([]uint32, 4*x.Cols)).Reshape(x.Cols, 4)
			FixedSum(b.r, whole, in, bad, 0, in.Rows)
			for p := x.Rows - 1; p >= 0 && x.Cols > 1; p-- {
				FixedSum(b.r, parts, in, bad, p, p+1)
			}
			for what, sum := range map[string]Tensor{"whole": whole, "one by one": parts} {
				if x.Cols == 1 && what != "whole" {
					continue
				}
				for i, v := range bytesOf(b, sum) {
					if float64(int32(v)) != want.Data[i] {
						t.Fatalf("%v, %s: word %d is %#x, want %#x", shape, what, i, v, uint32(int32(want.Data[i])))
					}
				}
			}
			if bytesOf(b, bad)[0] != 0 {
				t.Errorf("%v: terms within the range are refused", shape)
			}
		}
	})
}

// bytesOf are a tensor's words.
func bytesOf(b *bench, x Tensor) []uint32 {
	b.t.Helper()
	raw := make([]byte, x.Size())
	if err := b.r.Wait(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	if err := b.d.Download(context.Background(), raw, x.View); err != nil {
		b.t.Fatal(err)
	}
	words := make([]uint32, len(raw)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	return words
}

func TestFixedSumRange(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		top := []float64{float64(float32(0x1p46 - 0x1p22)), float64(float32(0x1p46 - 0x1p22))}
		for _, c := range []struct {
			x   []float64
			bad uint32
		}{{[]float64{math.NaN()}, 1}, {[]float64{math.Inf(-1)}, 1}, {[]float64{0x1p46}, 1}, {[]float64{-0x1p46}, 1}, {top[:1], 0}, {top, 0}, {append(top, 0x1p24), 1},
			{[]float64{-top[0], -top[0], -0x1p23}, 0}, {[]float64{-top[0], -top[0], -0x1p24}, 1}, {[]float64{0x1p-149, -0x1p-100, 0}, 0}} {
			for _, cols := range []int{1, 4} { // by itself, and the last of a texel; beyond it are terms that do not count
				for _, count := range []int{cols, cols - 1} {
					x := ref.NewMat(len(c.x), cols)
					for p, v := range c.x {
						x.Row(p)[cols-1] = v
					}
					want := c.bad
					if count < cols {
						want = 0
					}
					if count == 0 {
						continue
					}
					b := newBench(t, d)
					bad := b.words([]uint32{0})
					FixedSum(b.r, b.words(make([]uint32, 4*count)).Reshape(count, 4), b.upload(x, dtype.F32), bad, 0, len(c.x))
					if got := bytesOf(b, bad)[0]; got != want {
						t.Errorf("%v in the last of %d columns, %d summed: bad is %d, want %d", c.x, cols, count, got, want)
					}
				}
			}
		}
	})
}

func TestFixedSumShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	x, sum, bad := b.empty(dtype.F32, 4, 6), b.empty(dtype.F32, 6, 4), b.empty(dtype.F32, 1, 1)
	refused(t, d, "more sums than columns", func(r *vk.Recorder) { FixedSum(r, sum, x.Reshape(6, 4), bad, 0, 6) })
	refused(t, d, "three words", func(r *vk.Recorder) { FixedSum(r, sum.Reshape(8, 3), x, bad, 0, x.Rows) })
	refused(t, d, "no place for what is wrong", func(r *vk.Recorder) { FixedSum(r, sum, x, Tensor{}, 0, x.Rows) })
	refused(t, d, "more terms than there are", func(r *vk.Recorder) { FixedSum(r, sum, x, bad, 1, x.Rows+1) })
}
