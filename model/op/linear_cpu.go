package op

import (
	"strings"

	"github.com/vkcome/vkcome/vk"
)

// The kernels for drivers that run on the CPU. What makes such a driver fast is not what makes a GPU fast: vectors of 8 lanes in
// registers, loads of 16 bytes, and neither shared memory nor barriers.
//
// GFLOP/s of linear_cpu_shuffle.comp on lavapipe 22.3.6 · linear_cpu.comp on 26.1.6, two Zen 4 cores, 512×2048×2048: F32 56 · 80,
// F16 72 · 94. linear.comp: 8 · 18.

// cpuLanes is how many floats CPUs compute at once, a subgroup of lavapipe: larger workgroups only cost barriers there.
const cpuLanes = 8

// linearCPU records the layer with a kernel for CPUs, unless the device or the shapes are not for those: then it returns false.
func linearCPU(r *vk.Recorder, y, x, w Tensor, f Fused) bool {
	d := r.Device()
	texel := texelBytes / w.DType.Size()
	if d.Info.Kind != vk.CPU || d.Tier < vk.Subgroup || d.Limits().SubgroupSize != cpuLanes || !d.Limits().SubgroupShuffle || w.Cols%texel != 0 {
		return false
	}
	swiglu := !f.Up.IsZero()
	var residual, norm Tensor = f.Residual, f.Norm
	vector := x.Rows <= linearVecRows
	if !norm.IsZero() && (!vector || norm.DType != w.DType) {
		RMSNorm(r, f.Scratch, x, norm, f.Eps)
		x, norm = f.Scratch, Tensor{}
	}
	epilogue := epilogueNone
	if swiglu {
		epilogue = epilogueSwiGLU
	} else if !residual.IsZero() {
		epilogue = epilogueAdd
	}
	k := linearCPUKernel(d, x.Rows, texel, w.Cols, swiglu)
	spec := append([]uint32{cpuLanes, flag(!f.Bias.IsZero()), epilogue}, k.spec...)
	if vector {
		spec = append(spec, flag(!norm.IsZero()))
	}
	pieces(r, "linear", w.Rows, maxGroups*k.columns, func(column, columnEnd int) {
		part, up := w.RowRange(column, columnEnd), w.RowRange(column, columnEnd)
		if swiglu {
			up = f.Up.RowRange(column, columnEnd)
		}
		pieces(r, "linear", x.Rows, maxGroups*k.rows, func(begin, end int) {
			in, out := x.RowRange(begin, end), y.RowRange(begin, end)
			args := []vk.Arg{vk.In(part.View), vk.In(up.View)}
			texels := uint32(0b11)
			constants := push(end-begin, part.Rows, x.Cols, column, w.Rows, f.Eps)
			if !k.address {
				args, texels = append(args, vk.In(in.View)), texels|1<<2
			}
			if vector {
				args, texels = append(args, vk.In(or(norm, part).View)), texels|1<<3
			}
			args = append(args, vk.In(or(f.Bias, part).View), vk.In(or(f.UpBias, part).View))
			if residual.IsZero() {
				args = append(args, vk.In(part.View))
			} else {
				args = append(args, vk.In(residual.RowRange(begin, end).View))
			}
			args = append(args, vk.Out(out.View))
			if k.address {
				constants = append(constants, 0, 0)
				args = append(args, vk.InAt(in.View, 6))
			}
			flops := 2 * float64(end-begin) * float64(part.Elements())
			if swiglu {
				flops *= 2
			}
			dispatchTexels(r, k.shader+suffix(w.DType), texels, spec, [3]int{ceilDiv(part.Rows, k.columns), ceilDiv(end-begin, k.rows), 1}, constants,
				max(flops, float64(part.Size())), args...)
		}, x.RowBytes(), y.RowBytes())
	}, w.RowBytes())
	return true
}

func linearCPUKernel(d *vk.Device, tokens, texel, depth int, swiglu bool) linearCPUWay {
	k := linearCPUWay{columns: 4 * cpuLanes}
	switch {
	case tokens <= linearVecRows:
		k.shader, k.rows, k.columns = "linear_cpu_vec", linearVecRows, 8
		k.spec = []uint32{uint32(tokens), 8}
	case uniformLoads(d):
		steps, rows := 1, 16
		if (depth/texel)%2 == 0 {
			steps = 2
			if texel == 4 && depth%16 == 0 {
				steps = 4
			}
		}
		if tokens <= 8 {
			rows = 8
		}
		k.shader, k.rows, k.address = "linear_cpu", rows, true
		k.spec = []uint32{uint32(rows), uint32(steps)}
	default:
		bands := 4
		if tokens <= 2*cpuLanes {
			bands = 2
		}
		k.shader, k.rows = "linear_cpu_shuffle", bands*cpuLanes
		k.spec = []uint32{uint32(bands)}
	}
	if swiglu {
		k.columns /= 2
	}
	return k
}

type linearCPUWay struct {
	shader        string
	spec          []uint32
	rows, columns int
	address       bool // x is read at its address
}

// uniformLoads says whether a driver reads an address that all lanes share once and broadcasts it, also in loops.
func uniformLoads(d *vk.Device) bool {
	return d.Addresses && strings.HasPrefix(d.Info.DriverVersion, "Mesa 26")
}

const texelBytes = 16

const (
	epilogueNone uint32 = iota
	epilogueAdd
	epilogueSwiGLU
)

// or is t, or if it is absent what is bound in its place: something has to be.
func or(t, other Tensor) Tensor {
	if t.IsZero() {
		return other
	}
	return t
}
