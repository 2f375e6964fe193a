package op

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// weightedsumBound is of weightedsum.
var weightedsumBound = optest.Bound{Max: 5e-7, Why: "a rounding for each product and each sum", Rounded: true}

// bits reads a tensor back as it is stored.
func (b *bench) bits(x Tensor) []byte {
	b.t.Helper()
	raw := make([]byte, x.Size())
	if err := b.r.Wait(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	if err := b.d.Download(context.Background(), raw, x.View); err != nil {
		b.t.Fatal(err)
	}
	return raw
}

// The bits are those of the same float32 operations on the host, whatever the device and its bindings.
func weightedsumTable() optest.Table {
	return optest.Table{Op: "weightedsum", Cases: func() (cases []optest.Case) {
		for _, dt := range dtype.All {
			for _, c := range []struct{ rows, cols, terms int }{{1, 1, 1}, {1, 127, 2}, {3, 65, 3}, {999, 701, 2}} {
				cases = append(cases, weightedsumCase(dt, c.rows, c.cols, c.terms))
			}
		}
		return cases
	}}
}

func weightedsumCase(dt dtype.DType, height, width, terms int) optest.Case {
	var in []optest.Input
	var weights []float32
	var whole []float64
	for i := range terms {
		in = append(in, optest.Input{Mat: block(random(height, width+i), 0, height, i, width+i), DType: dt})
		weights = append(weights, float32(0.3+0.21*float64(i)))
		whole = append(whole, float64(weights[i]))
	}
	return optest.Case{
		Name: optest.Shape(height, width, terms, dt), Of: dt, In: in, Out: []optest.Output{{DType: dt, Rows: height, Cols: width}}, Extra: scratch(height, width),
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			WeightedSum(r, Tensor(out[0]), Tensor(out[1]), tensors(in), weights)
		},
		Check: func(t testing.TB, got [][]float32, in []ref.Mat) {
			t.Helper()
			weightedsumBound.Near(t, got[0], ref.WeightedSum(in, whole).Data, dt)
			want := make([]float32, height*width)
			for i, x := range in {
				for j, v := range x.Data {
					product := weights[i] * float32(v)
					want[j] = float32(product) + want[j]
				}
			}
			bits := make([]byte, len(want)*dt.Size())
			dt.Encode(bits, want)
			dt.Decode(want, bits)
			if !slices.Equal(got[0], want) {
				t.Error("bits differ from those of the host's float32")
			}
		},
		Split: height == 999, Measured: height == 999, Flops: 2 * float64(height*width*terms),
	}
}

func TestWeightedSum(t *testing.T) { weightedsumTable().Test(t) }

func BenchmarkWeightedSum(b *testing.B) { weightedsumTable().Benchmark(b) }

// Every f16 doubled, halved and scaled to where rounding decides: to nearest even, subnormals, overflow, as dtype.Encode does.
func TestWeightedSumRounding(t *testing.T) {
	raw := make([]byte, 2*65536)
	for i := range 65536 {
		binary.LittleEndian.PutUint16(raw[2*i:], uint16(i))
	}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, dt := range []dtype.DType{dtype.F16, dtype.BF16} {
			x := make([]float32, 65536)
			dt.Decode(x, raw)
			b := newBench(t, d)
			dx := b.raw(raw, dt, 1, len(x))
			for _, weight := range []float32{1, -0.5, 0.4999, 1.0009766, 0.001, 3.0003, 1e-5} {
				y := b.empty(dt, 1, len(x))
				WeightedSum(b.r, y, b.empty(dtype.F32, 1, len(x)), []Tensor{dx}, []float32{weight})
				want, got, bad := make([]byte, 2*len(x)), b.bits(y), 0
				scaled := make([]float32, len(x))
				for i, v := range x {
					scaled[i] = v * weight
				}
				dt.Encode(want, scaled)
				for i, v := range scaled {
					g, w := binary.LittleEndian.Uint16(got[2*i:]), binary.LittleEndian.Uint16(want[2*i:])
					switch {
					case g == w:
					case v != v && isNaN16(dt, g):
					case dt == dtype.BF16 && g<<1 == 0 && (small(x[i]) || small(v)): // a device may flush f32 subnormals
					default:
						if bad++; bad <= 3 {
							t.Errorf("%v: %g·%g is %04x, want %04x", dt, x[i], weight, g, w)
						}
					}
				}
			}
		}
	})
}

func small(v float32) bool { return math.Abs(float64(v)) < 0x1p-126 }

func isNaN16(d dtype.DType, bits uint16) bool {
	v := make([]float32, 1)
	d.Decode(v, []byte{byte(bits), byte(bits >> 8)})
	return v[0] != v[0]
}

func TestWeightedSumShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	y, scratch, x := b.empty(dtype.F16, 3, 4), b.empty(dtype.F32, 3, 4), b.empty(dtype.F16, 3, 4)
	refused(t, d, "another shape", func(r *vk.Recorder) { WeightedSum(r, y, scratch, []Tensor{x.Reshape(4, 3)}, []float32{1}) })
	refused(t, d, "another dtype", func(r *vk.Recorder) { WeightedSum(r, y, scratch, []Tensor{scratch}, []float32{1}) })
	refused(t, d, "16-bit scratch", func(r *vk.Recorder) { WeightedSum(r, y, x, []Tensor{x}, []float32{1}) })
	refused(t, d, "absent scratch", func(r *vk.Recorder) { WeightedSum(r, y, Tensor{}, []Tensor{x}, []float32{1}) })
}

// WeightedSum is all terms of a sum, as many as there are weights.
func WeightedSum(r *vk.Recorder, y, scratch Tensor, xs []Tensor, weights []float32) {
	for i, x := range xs {
		WeightedTerm(r, y, scratch, x, weights[i], i == 0, i == len(xs)-1)
	}
}
