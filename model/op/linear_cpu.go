package op

import (
	"github.com/vkcome/vkcome/vk"
)

// The kernels for drivers that run on the CPU. What makes such a driver fast is not what makes a GPU fast: vectors of 8 lanes in
// registers, loads of 16 bytes, and neither shared memory nor barriers.
//
// GFLOP/s of linear_cpu_shuffle.comp on lavapipe 22.3.6 · linear_cpu.comp on 26.1.6, two Zen 4 cores, 512×2048×2048: F32 57 · 85,
// F16 73 · 90; plain tiles in shared memory 8 · 18. linear_cpu_vec.comp, 1×2048×2048: F32 13 · 11, F16 15 · 17, BF16 15 · 16.

const (
	cpuLanes   = 8  // of a vector; larger workgroups only cost barriers
	texelBytes = 16 // of a texel buffer's element
)

// linearCPU is the best kernel for a driver that runs on the CPU; ok is false where driver or shapes are not made for it.
func linearCPU(d *vk.Device, x, w Tensor, f Fused) (k linearKernel, ok bool) {
	l, texel, swiglu := d.Limits(), texelBytes/w.DType.Size(), !f.Up.IsZero()
	if l.SubgroupSize != cpuLanes || !l.SubgroupShuffle || w.Cols%texel != 0 || l.StorageRange > l.TexelBuffer {
		return k, false
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
		return linearKernel{shader: "linear_cpu_vec", group: cpuLanes, spec: []uint32{uint32(x.Rows), uint32(steps), uint32(groups)},
			rows: linearVecRows, columns: groups * cpuLanes, norms: true, texels: true}, true
	}
	k = linearKernel{group: cpuLanes, columns: 4 * cpuLanes, texels: true}
	if uniformLoads(d) {
		k.shader, k.rows, k.address = "linear_cpu", 16, true
		if x.Rows <= 8 {
			k.rows = 8
		}
		steps := 32 / texelBytes // of a row of w at a time: 64 bytes of F32, 32 of the others are registers enough
		if texel == 4 {
			steps = 64 / texelBytes
		}
		for w.Cols%(steps*texel) != 0 {
			steps /= 2
		}
		k.spec = []uint32{uint32(k.rows), uint32(steps)}
	} else {
		bands := 4
		if x.Rows <= 2*cpuLanes {
			bands = 2
		}
		k.shader, k.rows, k.spec = "linear_cpu_shuffle", bands*cpuLanes, []uint32{uint32(bands)}
	}
	if swiglu {
		k.columns /= 2
	}
	return k, true
}

// uniformLoads says whether kernels read at addresses that all lanes share.
func uniformLoads(d *vk.Device) bool { return d.Addresses && d.Info.Has(vk.UniformLoads) }
