package vk

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Quirk is a driver's defect or habit that vkcome takes account of. This file is the one place that knows drivers by name and
// version; elsewhere Info.Has is asked.
type Quirk int

const (
	LoopLimit        Quirk = iota // the loops of an invocation stop, without a word, after 65,535 iterations in total
	UniformLoads                  // an address that all lanes share is read once, also in loops
	SlowMatrices                  // cooperative matrices are slower than plain tiles
	PipelineLeak                  // memory of a pipeline that was destroyed stays taken
	FoldedGroupSize               // expressions of gl_WorkGroupSize are folded before the size is specialized
	LooseLimits                   // bindings and allocations beyond the device's limits pass without an error
	HalfPacking                   // packHalf2x16 makes NaN of what is beyond f16
	HalfUnpacking                 // unpackHalf2x16 ends the process
	FewRegisters                  // an invocation has no room for 64 sums
	QuarterRegisters              // four subgroups have a SIMD unit's registers where an invocation takes 64
	HalfRegisters                 // 16 subgroups have a core's registers where an invocation takes 128
	ThreadRegisters               // the invocations of a subgroup share the registers of a thread
	SlowConversions               // a sum of cooperative matrices becomes a factor by many instructions
	SlowFloats                    // f32 arithmetic has an eighth of the rate of cooperative matrices, or less
	FalseMatrices                 // cooperative matrices are announced, and crash or give wrong numbers
	quirks                        // how many there are
)

// fact is what is known of a quirk: which devices have it, and how that is known.
type fact struct {
	name     string
	what     string // the driver does, and vkcome does about it
	evidence string // device, version and what was seen
	has      func(Info) bool
}

var facts = [quirks]fact{
	LoopLimit: {
		"loop limit",
		"All loops of an invocation together stop after 65,535 iterations, and the result is wrong without an error. Operations refuse what would loop longer, or cut it.",
		"lavapipe 22.3.6: a loop that counts to 70,000 counts to 65,535. Right on lavapipe 25.0.7 and 26.1.6 and on SwiftShader. Releases between 22.3 and 25 were not tried and count as limited.",
		func(i Info) bool { return lavapipe(i, 0, 25) },
	},
	UniformLoads: {
		"uniform loads",
		"A load whose address all lanes share is one load. Kernels then read operands at their addresses, else they read them lane by lane and shuffle.",
		"linear_cpu.comp: lavapipe 26.1.6 reads once, 22.3.6 lane by lane (8 GFLOP/s, linear_cpu_shuffle.comp 75); of the releases between, 25.0.7 was not tried.",
		func(i Info) bool { return lavapipe(i, 26, math.MaxInt) },
	},
	SlowMatrices: {
		"slow matrices",
		"Products take plain tiles before cooperative matrices.",
		"lavapipe 26.1.6: 8 GFLOP/s with its 8×8×8 matrices, 18 with tiles in shared memory, two Zen 4 cores. No other CPU driver has such matrices. AMD's own driver emulates them before RDNA 3, ten times slower (Tencent/ncnn issue 6501 and pull request 6504, ggml-org/llama.cpp pull request 11074). Intel's Xe HPG: down to a thousandth of the speed on Windows (llama.cpp pull request 24404, measured by Intel), half of it with Mesa 24.0 and fast with 24.3 (pull request 10721).",
		func(i Info) bool {
			if i.Kind == CPU {
				return true
			}
			amd := amdOwn(i) && (gcn(i) || slices.ContainsFunc([]string{" RX 5", " RX 6", " W5", " W6"}, func(s string) bool { return strings.Contains(i.Name, s) }))
			hpg := i.Limits.SubgroupMin == 8 && (intelWindows(i) && i.Kind == Discrete || strings.HasPrefix(i.Driver, "Intel open-source") && mesaBefore(i, 24, 3))
			return amd || hpg
		},
	},
	PipelineLeak: {
		"pipeline leak",
		"A pipeline that is created and destroyed leaves memory behind. Kernels live as long as their device, on every driver.",
		"lavapipe 22.3.6: about 480 KB for each pipeline.",
		func(i Info) bool { return lavapipe(i, 0, 23) },
	},
	FoldedGroupSize: {
		"folded workgroup size",
		"Expressions of gl_WorkGroupSize are folded with its default of 1, before it is specialized. Shaders use a constant of their own, on every driver: common/workgroup.glsl.",
		"lavapipe 22.3.6.",
		func(i Info) bool { return lavapipe(i, 0, 23) },
	},
	LooseLimits: {
		"loose limits",
		"Bindings and allocations beyond what the device says pass, until they do not. This package checks limits itself, on every driver.",
		"lavapipe 22.3.6 says that a binding holds 128 MiB and an allocation 2 GiB, and lets more pass. Writes out of bounds survive on 22.3.6 and 25.0.7, and end the process on 26.1.6.",
		func(i Info) bool { return lavapipe(i, 0, math.MaxInt) },
	},
	FewRegisters: {
		"few registers",
		"64 sums of an invocation and what it multiplies do not fit its registers, and the compiler puts some in memory. Products take tiles of 32 sums.",
		"Apple M1 by Honeykrisp, Mesa 26.1.6: all tiles of 8×8 spill, none of 4×8 (.ci/gpu). Intel DG2 and Battlemage by ANV, Mesa 26.1.6: the same. Not measured on hardware. Qualcomm's driver for Adreno crashes or hangs with tiles of 128×128 of llama.cpp (its pull request 24877), so it gets the smaller ones too.",
		func(i Info) bool {
			return i.Kind != CPU && (strings.HasPrefix(i.Name, "Apple ") || strings.HasPrefix(i.Name, "Intel(R) ")) || qualcomm(i)
		},
	},
	QuarterRegisters: {
		"a quarter of the registers",
		"A SIMD unit has 256 registers of 64 lanes and no other size of subgroups: four of these share it, so that one computes while others wait for memory, where each takes 64. Products take tiles of 16 sums, and attention few rows.",
		"AMD's GCN (Vega 10) by RADV, Mesa 26.1.6: tiles of 8×8 take 144 registers and one subgroup has the unit, those of 4×8 two (.ci/gpu). Not measured on hardware.",
		gcn,
	},
	HalfRegisters: {
		"half of the registers",
		"A core has 65,536 registers: 16 subgroups of 32 share it where an invocation takes 128. Products take tiles of 64 sums in workgroups of 256 alone, and attention fewer rows.",
		"NVIDIA's Turing and Ampere by NVK, Mesa 26.1.6: tiles of 64×64 with 64 sums take 144 to 152 registers (.ci/gpu). Not measured on hardware, nor with NVIDIA's own driver.",
		func(i Info) bool {
			return i.Kind != CPU && (strings.HasPrefix(i.Name, "NVIDIA ") || strings.HasPrefix(i.Name, "NVK "))
		},
	},
	ThreadRegisters: {
		"thread registers",
		"A subgroup is a thread, whose registers its invocations share: the larger it is, the fewer each has, and 128 at most. Cooperative matrices take the smallest subgroups and tiles of 32 sums an invocation, held twice while a loop adds to them; attention takes tiles of 2 rows an invocation.",
		"Intel DG2 and Battlemage by ANV, Mesa 26.1.6: 128 registers of 8 and of 16 lanes. Other tiles spill (.ci/gpu). Not measured on hardware.",
		func(i Info) bool { return i.Kind != CPU && strings.HasPrefix(i.Name, "Intel(R) ") },
	},
	SlowConversions: {
		"slow conversions",
		"A sum of cooperative matrices becomes a factor of the next product by hundreds of instructions, as lanes hold other elements of the two. Attention weighs logits in shared memory, though VK_NV_cooperative_matrix2 is there.",
		"AMD's RDNA 3 (Navi 31) by RADV, Mesa 26.1.6, which offers the extension when asked (radv_cooperative_matrix2_nv=true): some 250 instructions for a tile of attention; with heads of 80 and 256 it takes a third more than through shared memory. RDNA 4 takes as many or fewer (.ci/gpu). Not measured on hardware.",
		func(i Info) bool { return strings.Contains(i.Name, "RADV") && !strings.Contains(i.Name, "RADV GFX12") },
	},
	SlowFloats: {
		"slow f32",
		"f32 arithmetic has an eighth of the rate of cooperative matrices of f16, or less. Products of F32 weights take these, with both operands in two parts of f16: three times the work, and all bits of f32 but the last two.",
		"NVIDIA's data sheets, dense f16 with f32 sums beside f32, TFLOP/s: V100 125 · 15.7, A100 312 · 19.5, A30 165 · 10.3, H100 and H200 989 · 67, and its successors have more; GeForce has twice to four times its f32, and is left out. Intel's Xe HPG and Xe2 have XMX units of eight times their vector rate (Arc A770 157 · 19.7, B580 117 · 14.6). AMD's RDNA 4 has four times, which three times the work eats up. Not measured on hardware.",
		func(i Info) bool {
			center := slices.ContainsFunc([]string{"V100", "A100", "A800", "A30", "H100", "H200", "H800", "GH200", "B100", "B200", "GB200"}, func(s string) bool {
				return slices.ContainsFunc(strings.FieldsFunc(i.Name, func(r rune) bool { return r == ' ' || r == '-' || r == '(' }), func(word string) bool { return word == s })
			})
			return i.Kind != CPU && (strings.HasPrefix(i.Name, "NVIDIA ") && center || strings.HasPrefix(i.Name, "Intel(R) "))
		},
	},
	FalseMatrices: {
		"false matrices",
		"Cooperative matrices are announced, and to ask for their shapes or to multiply by them ends the process, loses the device or gives wrong numbers. The device is not asked, and its tier is fp16.",
		"By others. AMD's own driver with integrated GPUs: asked for the shapes it ends the process (Radeon 860M, 26.3.1; GPUOpen-Drivers/AMDVLK issue 422, ggml-org/llama.cpp pull request 22750); no fixed release is known. Qualcomm's driver for Adreno: wrong numbers, pipelines that do not compile (Adreno 840, 512.842; Tencent/ncnn pull requests 6719 and 6972). Intel's driver for Windows from 101.8509 to before 101.8860: the device is lost (llama.cpp pull request 27049 and issue 22034).",
		func(i Info) bool {
			return amdOwn(i) && i.Kind == Integrated || qualcomm(i) || intelWindows(i) && intelBuild(i) >= 8509 && intelBuild(i) < 8860
		},
	},
	HalfUnpacking: {
		"half unpacking",
		"unpackHalf2x16 ends the process where the CPU has no instructions for f16 (F16C). The driver then has no f16 arithmetic either, which tells. Shaders unpack F16 by integers there: common/unpack_half.glsl.",
		"GALLIUM_OVERRIDE_CPU_CAPS=sse4.1 or less, and QEMU's default CPU: illegal instruction on lavapipe 22.3.6, segmentation fault on 26.1.6.",
		func(i Info) bool { return lavapipe(i, 0, math.MaxInt) && i.Tier < FP16 },
	},
	HalfPacking: {
		"half packing",
		"packHalf2x16 of infinity and of what overflows f16 is NaN, and subnormals are truncated. Shaders round to f16 by integers, on every driver: common/half.glsl.",
		"SwiftShader, driver version 0x1400000.",
		func(i Info) bool { return strings.HasPrefix(i.Driver, "SwiftShader") },
	},
}

func (q Quirk) String() string {
	if q < 0 || q >= quirks {
		return fmt.Sprintf("quirk %d", int(q))
	}
	return facts[q].name
}

// Has says whether the device's driver has a quirk.
func (i Info) Has(q Quirk) bool {
	if i.profiled && q != SlowMatrices { // a profile changes which kernels are taken, and no driver
		i.Kind = i.driven
	}
	return facts[q].has(i) || slices.Contains(i.passes, q)
}

// Quirks lists those that the device's driver has.
func (i Info) Quirks() []Quirk {
	var list []Quirk
	for q := range quirks {
		if i.Has(q) {
			list = append(list, q)
		}
	}
	return list
}

// Drivers by the names that they give themselves (VkPhysicalDeviceDriverProperties).
func amdOwn(i Info) bool {
	return i.Driver == "AMD proprietary driver" || i.Driver == "AMD open-source driver"
}
func qualcomm(i Info) bool     { return strings.HasPrefix(i.Driver, "Qualcomm") }
func intelWindows(i Info) bool { return i.Driver == "Intel Corporation" }

// gcn says whether a GPU is of AMD's GCN, which has subgroups of 64 alone.
func gcn(i Info) bool {
	return i.Kind != CPU && i.Limits.SubgroupMin == 64 && i.Limits.SubgroupSize == 64 && (strings.HasPrefix(i.Name, "AMD ") || strings.Contains(i.Name, "Radeon"))
}

// intelBuild is the last number of a release of Intel's driver for Windows, as in 101.8860; 0 where it says none.
func intelBuild(i Info) int {
	n, _ := strconv.Atoi(i.DriverVersion[strings.LastIndex(i.DriverVersion, ".")+1:])
	return n
}

// mesaBefore says whether a driver is of a release of Mesa before one; one that does not say its release is not.
func mesaBefore(i Info, major, minor int) bool {
	a, b, ok := mesa(i)
	return ok && (a < major || a == major && b < minor)
}

// mesa is the release of Mesa that a driver is of.
func mesa(i Info) (major, minor int, ok bool) {
	words := strings.Fields(i.DriverVersion)
	at := slices.Index(words, "Mesa") + 1
	if at == 0 || at == len(words) {
		return 0, 0, false
	}
	first, rest, _ := strings.Cut(words[at], ".")
	second, _, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(first)
	minor, _ = strconv.Atoi(second)
	return major, minor, err == nil
}

// lavapipe says whether the driver is Mesa's for CPUs, of a release from first to before end. One that does not say its release counts
// as the oldest.
func lavapipe(i Info, first, end int) bool {
	if i.Kind != CPU || i.Driver != "llvmpipe" {
		return false
	}
	n, _, ok := mesa(i)
	if !ok {
		return first == 0
	}
	return n >= first && n < end
}
