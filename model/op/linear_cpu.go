package op

import (
	"slices"
	"strings"

	"github.com/vkcome/vkcome/vk"
)

// The kernels for drivers that run on the CPU. What makes such a driver fast is not what makes a GPU fast: vectors of 8 lanes in
// registers, loads of 16 bytes, and neither shared memory nor barriers.
//
// GFLOP/s of linear_cpu_shuffle.comp on lavapipe 22.3.6 · linear_cpu.comp on 26.1.6, two Zen 4 cores, 512×2048×2048: F32 61 · 85,
// F16 73 · 90; plain tiles in shared memory 8 · 18. linear_cpu_vec.comp, 1×2048×2048: F32 13 · 11, F16 15 · 17, BF16 15 · 16.
//
// Of the instructions that lavapipe 22.3.6 makes of linear_cpu_shuffle.comp's loop with BF16, on a CPU with 32 vector registers, half are
// multiplications and additions, as it splits what could be fused; a fifth moves what registers do not hold, a twelfth gives a lane's value to all.
// Tried without gain: two rows of x for each of w's weights that is fetched from the stack, two texels of a row at a time, tiles of 64 rows (a tenth slower).

const (
	cpuLanes   = 8  // of a vector; larger workgroups only cost barriers
	texelBytes = 16 // of a texel buffer's element
)

// linearCPU are the kernels for a driver that runs on the CPU, the best first; none where driver or shapes are not made for them.
func linearCPU(d *vk.Device, x, w Tensor, f Fused) []linearKernel {
	l, texel := d.Limits(), texelBytes/w.DType.Size()
	if d.Info.Kind != vk.CPU || d.Tier < vk.Subgroup || l.SubgroupSize != cpuLanes || !l.SubgroupShuffle || w.Cols%texel != 0 || l.StorageRange > l.TexelBuffer {
		return nil
	}
	if f.few(x) {
		groups := 4 // a workgroup costs a µs; more tokens would take seconds to compile
		if x.Rows > 1 {
			groups = 1
		}
		// As much of x in registers as still is near them, in steps that fill the last round as well.
		const most = 24
		steps := ceilDiv(w.Cols/texel, cpuLanes)
		steps = ceilDiv(steps, ceilDiv(steps, most))
		return []linearKernel{{shader: "linear_cpu_vec", group: cpuLanes, spec: spec("ROWS", x.Rows, "STEPS", steps, "GROUPS", groups),
			rows: linearVecRows, columns: groups * cpuLanes, norms: true, texels: true}}
	}
	// Of so many sums a wide tile takes fewer loads, of x above all. F32 has half of a texel's weights to a load of w, and rows of w of 2^n bytes fall
	// into the same few lines of a cache: fewer columns.
	bands, columns := 2, 8
	if (texel == 4 || w.RowBytes()%2048 == 0) && x.Rows > bands*cpuLanes {
		bands, columns = 4, 4
	}
	shuffle := linearKernel{shader: "linear_cpu_shuffle", group: cpuLanes, rows: bands * cpuLanes, columns: columns * cpuLanes, texels: true, fours: true,
		spec: spec("BANDS", bands, "COLUMNS", columns)}
	able := []linearKernel{shuffle.gated(f)}
	if !d.Addresses {
		return able
	}
	uniform := linearKernel{shader: "linear_cpu", group: cpuLanes, rows: 16, columns: 4 * cpuLanes, texels: true, address: true}
	if x.Rows <= 8 {
		uniform.rows = 8
	}
	steps := 32 / texelBytes // of a row of w at a time: 64 bytes of F32, 32 of the others are registers enough
	if texel == 4 {
		steps = 64 / texelBytes
	}
	for w.Cols%(steps*texel) != 0 {
		steps /= 2
	}
	uniform.spec = spec("ROWS", uniform.rows, "STEPS", steps)
	able = append(able, uniform.gated(f))
	if uniformLoads(d, "") {
		slices.Reverse(able)
	}
	return able
}

// uniformLoads says whether kernels read at addresses that all lanes share, where that is not told by the name of the kernel to take.
func uniformLoads(d *vk.Device, name string) bool {
	if name != "" {
		return d.Addresses && !strings.HasSuffix(name, shuffledVariant)
	}
	return d.Addresses && d.Info.Has(vk.UniformLoads)
}
