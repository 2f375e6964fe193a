package op

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// linearOfHalfBound is of linear of f16.
var linearOfHalfBound = optest.Bound{Max: 2e-3, Why: "x rounded to 11 bits: 2^-12 of it in the mean, 2^-12 of y's deviation, and 5 times that among 10^6; twice with SwiGLU"}

// linearOfRoundedBound is of linear of f16, beside a reference of the x that toHalf makes.
var linearOfRoundedBound = optest.Bound{Max: 3e-4, Why: "where a norm's rounding turns a bit of x, 2^-11 of it, or 8e-5 of y's deviation at 40 inputs, and some are larger"}

// eachKernel runs f with every kernel for GPUs that a device can run on a case, whichever it would choose; with those of cooperative matrices, what
// GPUs with fewer registers take instead.
func (c *fusedCase) eachKernel(of func(c *fusedCase) Fused, f func(family int, k linearKernel)) {
	fused := of(c)
	families := linearGPU(c.d, Tensor{Rows: c.x.Rows, Cols: c.x.Cols}, Tensor{DType: c.dt, Rows: c.w.Rows, Cols: c.w.Cols}, fused)
	for i, family := range families {
		for _, k := range family {
			f(i, k)
		}
		if len(family) > 0 && family[0].shader == "linear_coopmat" {
			for _, t := range threadTiles {
				if k, ok := t.kernel(c.d, c.dt, fused, coopSubgroups(c.d)[0]); ok {
					f(i, k)
				}
			}
		}
	}
}

// bound is that of a kernel's results.
func (k linearKernel) bound() optest.Bound {
	if k.half && !k.parts {
		return linearOfHalfBound
	}
	return linearBound
}

// Every kernel for GPUs is right on every device that can run it, and those of a family give the same bits.
func TestLinearGPU(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, s := range []struct {
			tokens, out, in int
			dtype           dtype.DType
		}{ // by cooperative matrices of slices of 32: turns of the loop and a part of a slice; one slice and a part; one; part of one; two
			{131, 70, 136, dtype.F16}, {33, 300, 40, dtype.F16}, {33, 300, 40, dtype.BF16}, {20, 70, 32, dtype.F16}, {20, 70, 24, dtype.BF16},
			{131, 70, 64, dtype.BF16}, {18, 67, 31, dtype.F32},
		} {
			for _, fusion := range fusions {
				if !slices.Contains([]string{"residual", "norm", "norm, swiglu, biases"}, fusion.name) {
					continue // the others compile more, which takes Mesa 26 some seconds, and compute nothing else
				}
				first := map[int][]float32{}
				c := newFusedCase(newBench(t, d), s.tokens, s.out, s.in, s.dtype)
				c.eachKernel(fusion.of, func(family int, k linearKernel) {
					t.Run(fmt.Sprintf("%v %s by %s %v", s, fusion.name, k.shader, k.spec), func(t *testing.T) {
						got := c.runBy(fusion.of, k.record)
						bound := linearBound
						if c.half = k.half; c.half {
							bound = linearOfRoundedBound
						}
						bound.Near(t, got, fusion.want(c).Data, s.dtype)
						if first[family] == nil {
							first[family] = got
						} else if !slices.Equal(first[family], got) {
							t.Error("another tile, other bits")
						}
					})
				})
			}
		}
	})
}

// By cooperative matrices F32 weights in two parts are as good as f32, with every tile, and so are rows that are put in parts by themselves.
func TestLinearParts(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		if d.Tier < vk.CoopMatrix {
			t.Skip("no cooperative matrices")
		}
		with(t, d, Kernels{linearMany: "linear_coopmat"})
		for _, s := range []struct {
			tokens, out, in int
			fusion          string
		}{{131, 70, 136, "residual"}, {20, 70, 40, "residual"}, {5, 300, 256, "norm, swiglu, biases"}, {partsRows + 70, 24, 72, "norm of another dtype, residual"}} {
			fusion := fusions[slices.IndexFunc(fusions, func(f fusion) bool { return f.name == s.fusion })]
			c := newFusedCase(newBench(t, d), s.tokens, s.out, s.in, dtype.F32)
			for i := range c.x.Rows { // rows of many sizes, each with an element far below the others
				for j := range c.x.Row(i) {
					c.x.Row(i)[j] *= math.Pow(10, float64(i%5-2))
				}
				c.x.Row(i)[i%s.in] /= 1 << 16
			}
			ran := 0
			c.eachKernel(fusion.of, func(_ int, k linearKernel) {
				if !k.parts || ran > 0 && s.fusion != "residual" {
					return
				}
				ran++
				got, want := c.runBy(fusion.of, k.record), fusion.want(c)
				for i := range want.Rows { // each row against its own size
					linearBound.Near(t, got[i*want.Cols:(i+1)*want.Cols], want.Row(i), dtype.F32)
				}
			})
			if ran == 0 {
				t.Errorf("%v: no kernel takes F32 in parts", s)
			}
		}
	})
}

// Where the device's f32 arithmetic is slow, F32 weights are taken in parts; elsewhere in f32, unless they may be rounded.
func TestLinearPartsChoice(t *testing.T) {
	device := func(name string) *vk.Device {
		limits := vk.Limits{WorkgroupSize: 1024, SharedMemory: 48 << 10, SubgroupSize: 32, SubgroupMin: 32, OffsetAlignment: 16, StorageRange: 1 << 31}
		return &vk.Device{Tier: vk.CoopMatrix, Info: vk.Info{Kind: vk.Discrete, Name: name, Limits: limits, CoopShapes: []vk.CoopShape{{M: 16, N: 16, K: 16, Input: "f16", Sum: "f32"}}}}
	}
	for _, c := range []struct {
		device      string
		half, parts bool
		want        string
	}{
		{"NVIDIA H200", false, true, "linear_coopmat"}, {"NVIDIA GeForce RTX 3090", false, false, "linear"}, {"AMD Radeon RX 9070 XT", false, false, "linear"},
		{"NVIDIA GeForce RTX 3090", true, false, "linear_coopmat"}, {"NVIDIA H200", true, false, "linear_coopmat"},
	} {
		d := device(c.device)
		x, w := Tensor{Rows: 1024, Cols: 4096}, Tensor{DType: dtype.F32, Rows: 4096, Cols: 4096}
		f := Fused{Scratch: x, Halves: Tensor{Rows: 1, Cols: 4 << 20}, Half: c.half}
		if k := linearWay(d, x, w, f); k.shader != c.want || k.parts != c.parts {
			t.Errorf("%s, half %t: %s, parts %t; want %s, parts %t", c.device, c.half, k.shader, k.parts, c.want, c.parts)
		}
		if n := LinearHalves(d, dtype.F32, 4096, 4096); (n > 0) != (c.device == "NVIDIA H200") {
			t.Errorf("%s: %d floats for weights in half precision", c.device, n)
		}
	}
}

// Activations far beyond what f16 holds, and far below, are as good as others.
func TestLinearRange(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		scales := []float64{1e6, 1, 1e-6, 1e30, 1e-30, 65504, 0}
		c := newFusedCase(newBench(t, d), len(scales), 40, 128, dtype.F16)
		for i, s := range scales {
			for j := range c.x.Row(i) {
				c.x.Row(i)[j] *= s
			}
			c.x.Row(i)[i] *= 30 // an outlier, as models have
		}
		plain := func(c *fusedCase) Fused { return Fused{Scratch: c.scratch()} }
		c.eachKernel(plain, func(_ int, k linearKernel) {
			got, want := c.runBy(plain, k.record), ref.Linear(c.x, c.w, nil)
			for i := range scales { // each row against its own size
				k.bound().Near(t, got[i*want.Cols:(i+1)*want.Cols], want.Row(i), dtype.F16)
			}
		})
	})
}

// A row of x that is not finite gives a row of y that is not, and no other.
func TestLinearNotFinite(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		if d.Tier == vk.CoopMatrix {
			with(t, d, Kernels{linearMany: "linear_coopmat"}) // so that F32 is taken in parts
		}
		for _, dt := range []dtype.DType{dtype.F16, dtype.F32} {
			c := newFusedCase(newBench(t, d), 6, 40, 64, dt)
			c.x.Row(1)[5], c.x.Row(3)[7] = math.Inf(1), math.NaN()
			plain := func(c *fusedCase) Fused { return Fused{Scratch: c.scratch(), Halves: c.halves()} }
			c.eachKernel(plain, func(_ int, k linearKernel) {
				got := c.runBy(plain, k.record)
				for i, v := range got {
					row, finite := i/c.w.Rows, !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0)
					if finite != (row != 1 && row != 3) {
						t.Fatalf("%v by %s %v: row %d has %v", dt, k.shader, k.spec, row, v)
					}
				}
			})
		}
	})
}

// With every kernel, a token's outputs depend neither on the tokens beside it nor on how w and x are cut to be bound.
func TestLinearGPUBatchAndSplit(t *testing.T) {
	whole, parts := vktest.Open(t, vk.Options{}), vktest.Open(t, vk.Options{StorageRange: 1 << 18})
	const tokens, few, out, in = 140, 37, 270, 512
	of := fusions[slices.IndexFunc(fusions, func(f fusion) bool { return f.name == "norm of another dtype, residual" })].of
	operands := func(d *vk.Device) *fusedCase { return newFusedCase(newBench(t, d), tokens, out, in, dtype.F16) }
	operands(whole).eachKernel(of, func(_ int, k linearKernel) {
		all := operands(whole).runBy(of, k.record)
		if split := operands(parts).runBy(of, k.record); !slices.Equal(all, split) {
			t.Errorf("%s %v: split, the numbers differ", k.shader, k.spec)
		}
		c := operands(whole)
		c.x, c.residual = block(c.x, 0, few, 0, in), block(c.residual, 0, few, 0, out)
		if got := c.runBy(of, k.record); !slices.Equal(got, all[:len(got)]) {
			t.Errorf("%s %v: %d tokens differ from the same of %d", k.shader, k.spec, few, tokens)
		}
	})
	vktest.Clean(t)
}

// The choice of a kernel's family does not depend on the number of tokens. A device with the least that Vulkan asks for has a kernel,
// and large tiles are for large products.
func TestLinearChoice(t *testing.T) {
	choose := func(d *vk.Device, tokens, in, out int) linearKernel {
		f := Fused{Scratch: Tensor{Rows: tokens, Cols: in}, Batch: true}
		return linearWay(d, Tensor{Rows: tokens, Cols: in}, Tensor{DType: dtype.F16, Rows: out, Cols: in}, f)
	}
	gpu := &vk.Device{Tier: vk.CoopMatrix, Info: vk.Info{Limits: vk.Limits{WorkgroupSize: 1024, SharedMemory: 48 << 10, SubgroupSize: 32, SubgroupMin: 32, OffsetAlignment: 256}}}
	gpu.Info.CoopShapes = []vk.CoopShape{{M: 16, N: 8, K: 8, Input: "f16", Sum: "f32"}, {M: 16, N: 16, K: 16, Input: "f16", Sum: "f16"}, {M: 16, N: 16, K: 16, Input: "f16", Sum: "f32"}}
	least := &vk.Device{Info: vk.Info{Limits: vk.Limits{WorkgroupSize: 128, SharedMemory: 16 << 10, OffsetAlignment: 256}}}
	apple := &vk.Device{Info: vk.Info{Name: "Apple M1", Kind: vk.Integrated, Limits: vk.Limits{WorkgroupSize: 1024, SharedMemory: 32 << 10, OffsetAlignment: 16}}}
	xe, xe2 := intel(8), intel(16)
	for _, c := range []struct {
		d               *vk.Device
		tokens, in, out int
		shader          string
		rows, columns   int
	}{
		{gpu, 4096, 4096, 4096, "linear_coopmat", 128, 128}, {gpu, 2048, 4096, 11008, "linear_coopmat", 128, 128},
		{gpu, 512, 4096, 4096, "linear_coopmat", 128, 128}, {gpu, 20, 4096, 4096, "linear_coopmat", 32, 64}, {gpu, 1, 4096, 4096, "linear_coopmat", 32, 64},
		{gpu, 1, 64, 4096, "linear", 32, 64}, {gpu, 5000, 64, 4096, "linear", 128, 128}, {gpu, 64, 4100, 4096, "linear", 32, 64}, {gpu, 128, 4100, 4096, "linear", 64, 64},
		{xe, 4096, 4096, 4096, "linear_coopmat", 128, 128}, {xe, 128, 4096, 4096, "linear_coopmat", 64, 64}, {xe, 20, 4096, 4096, "linear_coopmat", 32, 64}, {xe2, 4096, 4096, 4096, "linear_coopmat", 128, 128}, {xe2, 128, 4096, 4096, "linear_coopmat", 64, 64},
		{xe2, 20, 4096, 4096, "linear_coopmat", 32, 64}, {xe2, 4096, 4100, 4096, "linear", 64, 64}, {xe2, 20, 4100, 4096, "linear", 32, 64}, {xe2, 4096, 4099, 4096, "linear", 64, 64},
		{xe2, 20, 4099, 4096, "linear", 32, 128},
		{apple, 4096, 4096, 4096, "linear", 64, 64}, {apple, 20, 4096, 4096, "linear", 32, 64},
		{least, 4096, 4096, 4096, "linear", 64, 64}, {least, 1, 3, 1, "linear", 32, 64},
	} {
		k := choose(c.d, c.tokens, c.in, c.out)
		if k.shader != c.shader || k.rows != c.rows || k.columns != c.columns {
			t.Errorf("%d×%d×%d: %s %d×%d, want %s %d×%d", c.tokens, c.out, c.in, k.shader, k.rows, k.columns, c.shader, c.rows, c.columns)
		}
		if l := c.d.Limits(); k.group > l.WorkgroupSize || k.shared > l.SharedMemory {
			t.Errorf("%s %v: %d invocations, %d bytes", k.shader, k.spec, k.group, k.shared)
		}
	}
}

// intel is a GPU of Intel's whose registers have so many lanes.
func intel(lanes int) *vk.Device {
	limits := vk.Limits{WorkgroupSize: 1024, SharedMemory: 48 << 10, SubgroupSize: 32, SubgroupMin: lanes, SubgroupShuffle: true, OffsetAlignment: 4}
	return &vk.Device{Tier: vk.CoopMatrix, Info: vk.Info{Kind: vk.Discrete, Name: fmt.Sprintf("Intel(R) of %d lanes", lanes), Limits: limits,
		CoopShapes: []vk.CoopShape{{M: 8, N: lanes, K: 16, Input: "f16", Sum: "f32"}}}}
}

// Kernels with cooperative matrices of GPUs whose subgroups share registers have 64 sums an invocation at most, and fewer in workgroups of fewer than 256,
// in the smallest subgroups, with SwiGLU too; every such GPU has some, those of 64 first. Gradients of attention go over fewer others where registers have 8 lanes.
func TestThreadRegisters(t *testing.T) {
	for _, d := range []*vk.Device{intel(8), intel(16)} {
		for _, f := range []Fused{{}, {Up: Tensor{DType: dtype.F16, Rows: 4096, Cols: 4096}}} {
			f.Scratch, f.Batch = Tensor{Rows: 4096, Cols: 4096}, true
			list := linearCoop(d, Tensor{Rows: 4096, Cols: 4096}, Tensor{DType: dtype.F16, Rows: 4096, Cols: 4096}, f)
			for _, k := range list {
				if sums := k.tile[2] * k.tile[3] / k.subgroup; k.subgroup != d.Limits().SubgroupMin || sums > 64 || sums == 64 && k.group < 256 {
					t.Errorf("%s: tile %v in subgroups of %d, %d invocations", d.Info.Name, k.tile, k.subgroup, k.group)
				}
			}
			if (f.Up.IsZero() || d.Limits().SubgroupMin == 16) && len(list) > 0 && list[0].tile[2]*list[0].tile[3] != 64*list[0].subgroup {
				t.Errorf("%s: first a tile of %v in subgroups of %d, expected 64 sums an invocation", d.Info.Name, list[0].tile, list[0].subgroup)
			}
			if len(list) == 0 {
				t.Errorf("%s, SwiGLU %v: no kernel with cooperative matrices", d.Info.Name, !f.Up.IsZero())
			}
		}
	}
	for _, c := range []struct {
		lanes, dim, sums, products int
		want                       attentionTile
	}{{8, 64, 1, 1, attentionTile{2, 4}}, {8, 128, 1, 1, attentionTile{2, 4}}, {8, 64, 1, 2, attentionTile{2, 2}}, {8, 64, 2, 2, attentionTile{1, 2}}, {8, 128, 1, 2, attentionTile{1, 2}}, {8, 256, 2, 2, attentionTile{1, 2}},
		{16, 64, 1, 1, attentionTile{2, 4}}, {16, 128, 1, 2, attentionTile{2, 4}}, {16, 64, 2, 2, attentionTile{2, 4}}, {16, 256, 2, 2, attentionTile{1, 4}}} {
		if got := (AttentionShape{HeadDim: c.dim}).tile(intel(c.lanes), c.sums, c.products, false); got != c.want {
			t.Errorf("%d lanes, heads of %d, %d sums and %d products: %v, want %v", c.lanes, c.dim, c.sums, c.products, got, c.want)
		}
	}
}

// As many subgroups as hide how long loads take share the registers of a GPU of AMD's GCN, and of NVIDIA's: their tiles have fewer sums, or larger
// workgroups, which fetch less for each invocation.
func TestSharedRegisters(t *testing.T) {
	limits := vk.Limits{WorkgroupSize: 1024, SharedMemory: 48 << 10, OffsetAlignment: 4, SubgroupShuffle: true}
	gcn := &vk.Device{Info: vk.Info{Kind: vk.Discrete, Name: "AMD Radeon RX Vega (RADV VEGA10)", Limits: limits}}
	gcn.Info.Limits.SubgroupSize, gcn.Info.Limits.SubgroupMin = 64, 64
	nvidia := &vk.Device{Tier: vk.CoopMatrix, Info: vk.Info{Kind: vk.Discrete, Name: "NVIDIA GeForce RTX 3090", Limits: limits, CoopShapes: []vk.CoopShape{{M: 16, N: 16, K: 16, Input: "f16", Sum: "f32"}}}}
	nvidia.Info.Limits.SubgroupSize, nvidia.Info.Limits.SubgroupMin = 32, 32
	for _, f := range []Fused{{}, {Up: Tensor{DType: dtype.F16, Rows: 4096, Cols: 4096}}} {
		f.Scratch, f.Batch = Tensor{Rows: 4096, Cols: 4096}, true
		for _, d := range []*vk.Device{gcn, nvidia} {
			for i, family := range linearGPU(d, Tensor{Rows: 4096, Cols: 4096}, Tensor{DType: dtype.F16, Rows: 4096, Cols: 4096}, f) {
				for _, k := range family {
					sums := k.tile[2] * k.tile[3]
					if k.shader == "linear_coopmat" {
						sums /= k.subgroup
					}
					if d == gcn && sums != 16 || d == nvidia && (sums > 64 || sums == 64 && k.group < 256) {
						t.Errorf("%s: %s %v in workgroups of %d", d.Info.Name, k.shader, k.tile, k.group)
					}
				}
				some := i == 2 || i == 1 && d == nvidia // of products with a vector, by cooperative matrices, and by tiles
				if some != (len(family) > 0) {
					t.Errorf("%s: %d kernels of family %d", d.Info.Name, len(family), i)
				}
			}
		}
	}
	for _, c := range []struct {
		d                   *vk.Device
		dim, sums, products int
		more                bool
		want                attentionTile
	}{
		{gcn, 64, 1, 1, false, attentionTile{1, 2}}, {gcn, 192, 2, 2, false, attentionTile{1, 2}}, {gcn, 256, 2, 2, false, attentionTile{1, 1}}, {nvidia, 64, 1, 1, true, attentionTile{4, 4}}, {nvidia, 128, 1, 1, false, attentionTile{4, 4}},
		{nvidia, 128, 1, 1, true, attentionTile{2, 4}}, {nvidia, 256, 1, 1, false, attentionTile{2, 4}}, {nvidia, 256, 1, 1, true, attentionTile{1, 4}}, {nvidia, 256, 2, 2, false, attentionTile{1, 2}},
	} {
		if got := (AttentionShape{HeadDim: c.dim}).tile(c.d, c.sums, c.products, c.more); got != c.want {
			t.Errorf("%s, heads of %d, %d sums and %d products, more: %t: %v, want %v", c.d.Info.Name, c.dim, c.sums, c.products, c.more, got, c.want)
		}
	}
}

// Where subgroups of 32 and of 64 are at hand, tiles in f32 take the former and cooperative matrices the latter first; attention's rows are fewer where
// there are more sums and fewer registers, and the kernels with cooperative matrices stay within a device's memory.
func TestSubgroupChoice(t *testing.T) {
	device := func(shared int64) *vk.Device {
		limits := vk.Limits{WorkgroupSize: 1024, SharedMemory: shared, SubgroupSize: 64, SubgroupMin: 32, SubgroupShuffle: true, OffsetAlignment: 16}
		return &vk.Device{Tier: vk.CoopMatrix, Info: vk.Info{Kind: vk.Discrete, Name: "AMD Radeon RX 7900 XTX", Limits: limits,
			CoopShapes: []vk.CoopShape{{M: 16, N: 16, K: 16, Input: "f16", Sum: "f32"}}}}
	}
	amd, small, rows := device(64<<10), device(24<<10), device(64<<10)
	rows.Info.Name, rows.Info.Limits.MatrixReductions = "AMD Radeon RX 9070 (RADV GFX1201)", true
	turns := device(64 << 10)
	turns.Info.Name, turns.Info.Limits.MatrixReductions = "AMD Radeon RX 7900 XTX (RADV NAVI31)", true
	f := Fused{Scratch: Tensor{Rows: 4096, Cols: 4096}, Batch: true}
	x := Tensor{Rows: 4096, Cols: 4096}
	for dt, want := range map[dtype.DType]int{dtype.F32: 32, dtype.F16: 64} {
		if k := linearWay(amd, x, Tensor{DType: dt, Rows: 4096, Cols: 4096}, f); k.subgroup != want {
			t.Errorf("%v: %s of subgroups of %d, want %d", dt, k.shader, k.subgroup, want)
		}
	}
	apple := &vk.Device{Info: vk.Info{Name: "Apple M1", Kind: vk.Integrated, Limits: vk.Limits{WorkgroupSize: 1024, SharedMemory: 32 << 10}}}
	least := &vk.Device{Info: vk.Info{Limits: vk.Limits{WorkgroupSize: 128, SharedMemory: 16 << 10, OffsetAlignment: 256}}}
	for _, c := range []struct {
		d      *vk.Device
		dim    int
		shader string
		rows   int
	}{{least, 64, "attention", 16}, {least, 256, "attention", 16}, {amd, 64, "attention_coopmat", 64}, {amd, 256, "attention_coopmat", 64}, {amd, 100, "attention", 32}, {amd, 16, "attention", 32}, {amd, 32, "attention_coopmat", 64}, {small, 128, "attention", 16}, {small, 64, "attention_coopmat", 64},
		{rows, 64, coopAttentionRows, 64}, {rows, 128, coopAttentionRows, 64}, {rows, 80, coopAttentionRows, 64}, {turns, 64, coopAttention, 64},
		{intel(16), 64, "attention_coopmat", 32}, {intel(16), 128, "attention", 16}, {intel(16), 256, "attention", 8}, {intel(8), 64, "attention", 16}, {intel(8), 128, "attention", 16},
		{apple, 64, "attention", 32}, {apple, 128, "attention", 16}, {apple, 256, "attention", 8}} {
		s := AttentionShape{Windows: 1, QueryLen: 512, KeyLen: 512, KeyStride: 512, Heads: 4, KVHeads: 2, HeadDim: c.dim, Half: true}
		way, err := s.way(c.d, false)
		if err != nil || way.shader != c.shader || way.rows != c.rows || way.shared > c.d.Limits().SharedMemory {
			t.Errorf("%s, heads of %d: %s of %d rows and %d bytes, %v, want %s of %d", c.d.Info.Name, c.dim, way.shader, way.rows, way.shared, err, c.shader, c.rows)
		}
		for _, ofKeys := range []bool{false, true} {
			if way, err := s.backwardWay(c.d, ofKeys); err != nil || way.shared > c.d.Limits().SharedMemory {
				t.Errorf("%s, gradients of heads of %d: %d bytes, %v", c.d.Info.Name, c.dim, way.shared, err)
			}
		}
	}
}
