package op

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// groupedOf is a product of groups of so many rows; up: with SwiGLU.
func groupedOf(sizes []int, out, in int, up, few bool, dt dtype.DType) optest.Case {
	offsets, groups := []int{0}, len(sizes)
	for i, n := range sizes {
		offsets = append(offsets, offsets[i]+n)
	}
	rows := offsets[groups]
	operands := []optest.Input{{Mat: random(rows, in)}, integers(offsets...), {Mat: random(groups*out, in), DType: dt}}
	if up {
		operands = append(operands, optest.Input{Mat: block(random(groups*out+1, in), 1, groups*out+1, 0, in), DType: dt})
	}
	return optest.Case{
		Name: optest.Shape(rows, out, in, groups, up, few, dt), Of: dt, In: operands, Out: likes(ref.NewMat(rows, out)), Extra: scratch(1, GroupTiles(groups, rows)),
		Record: func(r *vk.Recorder, out, in []optest.Tensor) {
			x := append(tensors(in), Tensor{})
			LinearGrouped(r, Tensor(out[0]), x[0], Grouped{W: x[2], Up: x[3], Offsets: x[1], Tiles: Tensor(out[1]), Few: few})
		},
		Want: func(in []ref.Mat) []ref.Mat {
			in = append(in, ref.Mat{})
			return one(ref.LinearGrouped(in[0], in[2], in[3], in[1]))
		},
		Flops: 2 * float64(rows*out*in) * float64(1+flag(up)),
	}
}

func linearGroupedTable() optest.Table {
	return optest.Table{Op: "linear_grouped", Bound: linearBound, Tiers: true, Cases: func() (cases []optest.Case) {
		for _, c := range []struct {
			sizes   []int
			out, in int
		}{
			{[]int{1}, 1, 1}, {[]int{0, 3, 0, 1}, 33, 48}, {[]int{17, 0, 16, 15, 1}, 70, 31}, {[]int{5, 64, 0, 130, 3, 0, 9}, 65, 40}, {[]int{2, 2, 2}, 130, 127},
		} {
			for i, dt := range dtype.All {
				for _, few := range []bool{false, true} {
					cases = append(cases, groupedOf(c.sizes, c.out, c.in, i%2 == 0, few, dt), groupedOf(c.sizes, c.out, c.in, i%2 == 1, few, dt))
				}
			}
		}
		for _, few := range []bool{false, true} {
			one := groupedOf([]int{40, 3, 0, 61, 20}, 300, 512, true, few, dtype.F32)
			one.Split = true
			cases = append(cases, one)
		}
		return cases
	}, Benchmarks: func() (cases []optest.Case) {
		for _, dt := range dtype.All {
			cases = append(cases, groupedOf(slices.Repeat([]int{64}, 16), 768, 2048, true, false, dt), groupedOf([]int{1024}, 768, 2048, true, false, dt),
				groupedOf(append([]int{1, 1, 1, 1, 1, 1, 1, 1}, make([]int, 8)...), 768, 2048, true, true, dt))
		}
		return cases
	}}
}

func TestLinearGrouped(t *testing.T) { linearGroupedTable().Test(t) }

func BenchmarkLinearGrouped(b *testing.B) { linearGroupedTable().Benchmark(b) }

// Every kernel that has a variant for groups is right on every device that can run it, and each of a family of tiles gives the same bits.
func TestLinearGroupedKernels(t *testing.T) {
	sizes := []int{5, 0, 70, 1, 20}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for i, dt := range dtype.All {
			for _, few := range []bool{false, true} {
				c := groupedOf(sizes, 40, 64, i%2 == 0, few, dt)
				first := map[string][]float32{}
				like, f := Tensor{DType: dtype.F32, Rows: 16, Cols: 64}, Fused{Batch: !few}
				if few {
					like.Rows = 1
				}
				if len(c.In) > 3 {
					f.Up = Tensor{Rows: 1}
				}
				for _, k := range linearAble(d, like, Tensor{DType: dt, Rows: 5 * 40, Cols: 64}, f) {
					if few != (k.rows == linearVecRows) {
						continue
					}
					t.Run(fmt.Sprintf("%s %v %v", c.Name, k.shader, k.spec), func(t *testing.T) {
						b := newBench(t, d)
						var in []Tensor
						var mats []ref.Mat
						for _, x := range c.In {
							if x.Words {
								list := make([]uint32, len(x.Data))
								for i, v := range x.Data {
									list[i] = uint32(v)
								}
								in = append(in, b.words(list))
							} else {
								in = append(in, b.upload(x.Mat, x.DType))
							}
							mats = append(mats, x.Mat)
						}
						in = append(in, Tensor{})
						y, tiles := b.empty(dtype.F32, in[0].Rows, 40), b.empty(dtype.F32, 1, GroupTiles(len(sizes), in[0].Rows))
						g := Grouped{W: in[2], Up: in[3], Offsets: in[1], Tiles: tiles, Few: few}
						height, count := k.rows, in[0].Rows/k.rows+len(sizes)
						if few {
							height, count = 1, in[0].Rows
						}
						recordTiles(b.r, g, height, count)
						g.record(b.r, k, y, in[0], [2]int{ceilDiv(40, k.columns), count})
						got := b.download(y)
						linearBound.Near(t, got, c.Want(mats)[0].Data, dt)
						if before, ok := first[k.shader]; ok && !slices.Equal(before, got) {
							t.Error("another tile of the kernel gives other bits")
						}
						first[k.shader] = got
					})
				}
			}
		}
	})
}

// A row's outputs do not depend on the rows beside it.
func TestLinearGroupedBatch(t *testing.T) {
	vktest.EachTier(t, func(t *testing.T, d *vk.Device) {
		for _, few := range []bool{false, true} {
			product := func(x ref.Mat, sizes ...uint32) []float32 {
				b := newBench(t, d)
				offsets := []uint32{0}
				for i, n := range sizes {
					offsets = append(offsets, offsets[i]+n)
				}
				w := random(3*50, x.Cols)
				y := b.empty(dtype.F32, x.Rows, 50)
				LinearGrouped(b.r, y, b.upload(x, dtype.F32), Grouped{W: b.upload(w, dtype.F16), Offsets: b.words(offsets), Tiles: b.empty(dtype.F32, 1, GroupTiles(3, x.Rows)), Few: few})
				return b.download(y)
			}
			x := random(300, 128)
			all := product(x, 200, 40, 60)
			some := product(ref.ConcatRows(block(x, 7, 9, 0, 128), block(x, 230, 235, 0, 128), block(x, 299, 300, 0, 128)), 2, 5, 1)
			want := slices.Concat(all[7*50:9*50], all[230*50:235*50], all[299*50:])
			if !slices.Equal(some, want) {
				t.Errorf("few %v: rows alone give other bits", few)
			}
		}
	})
}

func TestLinearGroupedShapes(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	b := newBench(t, d)
	y, x, w := b.empty(dtype.F32, 4, 3), b.empty(dtype.F32, 4, 5), b.empty(dtype.F16, 6, 5)
	g := Grouped{W: w, Offsets: b.words([]uint32{0, 1, 4}), Tiles: b.empty(dtype.F32, 1, GroupTiles(2, 4))}
	with := func(what string, change func(g *Grouped)) {
		changed := g
		change(&changed)
		refused(t, d, what, func(r *vk.Recorder) { LinearGrouped(r, y, x, changed) })
	}
	with("weights of other groups", func(g *Grouped) { g.W = w.RowRange(0, 4) })
	with("an up of another shape", func(g *Grouped) { g.Up = w.RowRange(0, 3) })
	with("an up of another dtype", func(g *Grouped) { g.Up = b.empty(dtype.BF16, 6, 5) })
	with("no room for tiles", func(g *Grouped) { g.Tiles = g.Tiles.Reshape(1, g.Tiles.Cols).RowRange(0, 0) })
	with("no offsets", func(g *Grouped) { g.Offsets = Tensor{} })
	refused(t, d, "other inputs", func(r *vk.Recorder) { LinearGrouped(r, y, y, g) })
	refused(t, d, "other rows", func(r *vk.Recorder) { LinearGrouped(r, y.RowRange(0, 3), x, g) })
}
