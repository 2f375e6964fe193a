package vk_test

import (
	"slices"
	"testing"

	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Devices that are made up have the quirks of their drivers and releases, and GPUs those of theirs.
func TestQuirks(t *testing.T) {
	mesa := func(version string) vk.Info {
		return vk.Info{Kind: vk.CPU, Tier: vk.FP16, Driver: "llvmpipe", DriverVersion: version}
	}
	plain := mesa("Mesa 26.1.6 (LLVM 19.1.7)")
	plain.Tier = vk.Subgroup
	nvidia := func(name string) vk.Info { return vk.Info{Kind: vk.Discrete, Name: name, Driver: "NVIDIA"} }
	own := func(kind vk.Kind, name, version string) vk.Info {
		return vk.Info{Kind: kind, Name: name, Driver: "AMD proprietary driver", DriverVersion: version}
	}
	intel := func(kind vk.Kind, lanes int, driver, version string) vk.Info {
		return vk.Info{Kind: kind, Name: "Intel(R) Graphics", Driver: driver, DriverVersion: version, Limits: vk.Limits{SubgroupMin: lanes}}
	}
	xe := []vk.Quirk{vk.FewRegisters, vk.ThreadRegisters, vk.SlowFloats}
	slow := append([]vk.Quirk{vk.SlowMatrices}, xe...)
	oldest := []vk.Quirk{vk.LoopLimit, vk.SlowMatrices, vk.PipelineLeak, vk.FoldedGroupSize, vk.LooseLimits}
	for _, c := range []struct {
		what string
		info vk.Info
		want []vk.Quirk
	}{
		{"lavapipe of Debian 12", mesa("Mesa 22.3.6 (LLVM 15.0.6)"), oldest},
		{"lavapipe 24", mesa("Mesa 24.2.8-1 (LLVM 18.1.8)"), []vk.Quirk{vk.LoopLimit, vk.SlowMatrices, vk.LooseLimits}},
		{"lavapipe of bookworm-backports", mesa("Mesa 25.0.7-2~bpo12+1 (LLVM 15.0.6)"), []vk.Quirk{vk.SlowMatrices, vk.LooseLimits}},
		{"lavapipe 26", mesa("Mesa 26.1.6-1~bpo13+1 (LLVM 19.1.7)"), []vk.Quirk{vk.UniformLoads, vk.SlowMatrices, vk.LooseLimits}},
		{"lavapipe of a release to come", mesa("Mesa 31.0.0-devel (git-1234)"), []vk.Quirk{vk.UniformLoads, vk.SlowMatrices, vk.LooseLimits}},
		{"lavapipe on a CPU without F16C", plain, []vk.Quirk{vk.UniformLoads, vk.SlowMatrices, vk.LooseLimits, vk.HalfUnpacking}},
		{"lavapipe without a release", mesa("0x1"), oldest},
		{"lavapipe without a number", mesa("Mesa devel"), oldest},
		{"lavapipe cut short", mesa("Mesa"), oldest},
		{"SwiftShader", vk.Info{Kind: vk.CPU, Driver: "SwiftShader driver", DriverVersion: "0x1400000"}, []vk.Quirk{vk.SlowMatrices, vk.HalfPacking}},
		{"another driver for CPUs", vk.Info{Kind: vk.CPU, Driver: "pocl", DriverVersion: "Mesa 22.3.6"}, []vk.Quirk{vk.SlowMatrices}},
		{"Apple's", vk.Info{Kind: vk.Integrated, Name: "Apple M1 (G13G A0)", Driver: "Honeykrisp"}, []vk.Quirk{vk.FewRegisters}},
		{"Intel's", vk.Info{Kind: vk.Discrete, Name: "Intel(R) Arc(tm) B580 Graphics (BMG G21)", Driver: "Intel open-source Mesa driver"}, []vk.Quirk{vk.FewRegisters, vk.ThreadRegisters, vk.SlowFloats}},
		{"GCN's", vk.Info{Kind: vk.Discrete, Name: "AMD Radeon RX Vega (RADV VEGA10)", Driver: "radv", Limits: vk.Limits{SubgroupMin: 64, SubgroupSize: 64}}, []vk.Quirk{vk.QuarterRegisters, vk.SlowConversions}},
		{"RDNA's", vk.Info{Kind: vk.Discrete, Name: "AMD Radeon RX 7900 XTX (RADV NAVI31)", Driver: "radv", Limits: vk.Limits{SubgroupMin: 32, SubgroupSize: 64}}, []vk.Quirk{vk.SlowConversions}},
		{"RDNA 4's", vk.Info{Kind: vk.Discrete, Name: "AMD Radeon RX 9070 XT (RADV GFX1201)", Driver: "radv", Limits: vk.Limits{SubgroupMin: 32, SubgroupSize: 64}}, nil},
		{"NVIDIA's", vk.Info{Kind: vk.Discrete, Name: "NVIDIA GeForce RTX 3090", Driver: "NVIDIA", Limits: vk.Limits{SubgroupMin: 32, SubgroupSize: 32}}, []vk.Quirk{vk.HalfRegisters}},
		{"NVIDIA's in a data center", nvidia("NVIDIA A100-SXM4-80GB"), []vk.Quirk{vk.HalfRegisters, vk.SlowFloats}},
		{"another of these", nvidia("NVIDIA H200"), []vk.Quirk{vk.HalfRegisters, vk.SlowFloats}},
		{"NVIDIA's of a name that ends alike", nvidia("NVIDIA RTX A3000 Laptop GPU"), []vk.Quirk{vk.HalfRegisters}},
		{"AMD's own driver with an integrated GPU", own(vk.Integrated, "AMD Radeon(TM) 860M Graphics", "26.3.1 (LLPC)"), []vk.Quirk{vk.FalseMatrices}},
		{"AMD's own driver with RDNA 3", own(vk.Discrete, "AMD Radeon RX 7900 XTX", "26.3.1 (LLPC)"), nil},
		{"AMD's own driver with RDNA 2", own(vk.Discrete, "AMD Radeon RX 6800 XT", "26.3.1 (LLPC)"), []vk.Quirk{vk.SlowMatrices}},
		{"AMD's own driver with RDNA 2 for work", own(vk.Discrete, "AMD Radeon PRO W6800", "26.3.1 (LLPC)"), []vk.Quirk{vk.SlowMatrices}},
		{"RADV with an integrated GPU", vk.Info{Kind: vk.Integrated, Name: "AMD Radeon 860M Graphics (RADV GFX1152)", Driver: "radv", DriverVersion: "Mesa 26.1.6"}, []vk.Quirk{vk.SlowConversions}},
		{"Qualcomm's", vk.Info{Kind: vk.Integrated, Name: "Adreno (TM) 840", Driver: "Qualcomm Technologies Inc. Adreno Vulkan Driver"}, []vk.Quirk{vk.FewRegisters, vk.FalseMatrices}},
		{"Turnip", vk.Info{Kind: vk.Integrated, Name: "Turnip Adreno (TM) 740", Driver: "turnip Mesa driver", DriverVersion: "Mesa 26.1.6"}, nil},
		{"Intel's for Windows, before", intel(vk.Discrete, 16, "Intel Corporation", "101.8508"), xe},
		{"Intel's for Windows, the first bad", intel(vk.Discrete, 16, "Intel Corporation", "101.8509"), append(slices.Clone(xe), vk.FalseMatrices)},
		{"Intel's for Windows, the last bad", intel(vk.Integrated, 8, "Intel Corporation", "101.8859"), append(slices.Clone(xe), vk.FalseMatrices)},
		{"Intel's for Windows, mended", intel(vk.Discrete, 16, "Intel Corporation", "101.8860"), xe},
		{"Intel's for Windows without a release", intel(vk.Discrete, 16, "Intel Corporation", ""), xe},
		{"Intel's Xe HPG on Windows", intel(vk.Discrete, 8, "Intel Corporation", "101.8860"), slow},
		{"Intel's Xe LPG on Windows", intel(vk.Integrated, 8, "Intel Corporation", "101.8860"), xe},
		{"Intel's Xe HPG by Mesa of old", intel(vk.Discrete, 8, "Intel open-source Mesa driver", "Mesa 24.0.9"), slow},
		{"Intel's Xe HPG by Mesa", intel(vk.Discrete, 8, "Intel open-source Mesa driver", "Mesa 24.3.1"), xe},
		{"a GPU with Mesa's driver", vk.Info{Kind: vk.Discrete, Driver: "radv", DriverVersion: "Mesa 22.3.6"}, nil},
		{"a virtual GPU that says it is lavapipe", vk.Info{Kind: vk.Virtual, Driver: "llvmpipe", DriverVersion: "Mesa 22.3.6"}, nil},
		{"a GPU", vk.Info{Kind: vk.Integrated, Driver: "NVIDIA", DriverVersion: "550.54"}, nil},
	} {
		if got := c.info.Quirks(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

// The loop limit is where the table says: 70,000 rounds of affine add 70,000, or 65,535 or fewer on drivers that stop.
func TestLoopLimit(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		const rounds = 70_000
		b := newBench(t, d)
		x := b.buffer(make([]uint32, workgroup)).All()
		b.run(line(workgroup), rounds*workgroup, x, x, step{rounds, 1, 1})
		b.wait()
		got := b.download(x)[0]
		if limited := got < 1<<16; limited != d.Info.Has(vk.LoopLimit) || !limited && got != rounds {
			t.Errorf("%s %s: %d rounds of %d, loop limit: %t", d.Info.Driver, d.Info.DriverVersion, got, rounds, d.Info.Has(vk.LoopLimit))
		}
	})
}
