package vk

import (
	"fmt"
	"slices"
	"strings"
)

// Profile is what a device passes for: another kind, and no more than another's limits. What runs is still the device itself: a profile shows whether
// everything works within limits that are not here, and takes the kernels of another kind of device. It is for tests: VKCOME_PROFILE names one for
// every device of a process.
type Profile struct {
	Name string
	What string // the device, and where its limits are from
	Kind Kind
	// Limits are upper bounds, but for the lower one of OffsetAlignment; 0 is the device's own.
	Limits Limits
	Quirks []Quirk // that choose kernels and that its device has
	// NoSubgroupControl takes SubgroupMin away, NoShuffle SubgroupShuffle, NoMatrices the tier CoopMatrix.
	NoSubgroupControl, NoShuffle, NoMatrices bool
}

// ProfileVariable is the environment variable that names a Profile.
const ProfileVariable = "VKCOME_PROFILE"

const (
	kib = 1 << 10
	mib = 1 << 20
)

// Profiles are those that there are.
var Profiles = []Profile{
	{Name: "minimum", What: "the least that Vulkan 1.1 asks for (specification, Required Limits)", Kind: Integrated,
		Limits:            Limits{StorageRange: 128 * mib, Allocation: 1 << 30, OffsetAlignment: 256, WorkgroupSize: 128, WorkgroupCount: [3]int{65535, 65535, 65535}, SharedMemory: 16 * kib, StorageBuffers: 4, PushConstants: 128, TexelBuffer: 64 * kib * texelBytes},
		NoSubgroupControl: true, NoShuffle: true},
	{Name: "adreno", What: "Adreno 740 by Turnip, Mesa 26.1.6", Kind: Integrated,
		Limits: Limits{StorageRange: 128 * mib, OffsetAlignment: 64, WorkgroupSize: 1024, SharedMemory: 32 * kib, PushConstants: 256}},
	{Name: "mali", What: "limits of Mali's driver as reported for Valhall GPUs: 512 invocations, 32 KiB, bindings of 128 MiB", Kind: Integrated,
		Limits: Limits{StorageRange: 128 * mib, OffsetAlignment: 64, WorkgroupSize: 512, SharedMemory: 32 * kib, StorageBuffers: 35, PushConstants: 128}},
	// Subgroups there have from 4 to 32 lanes by what MoltenVK says, and none can be asked for; 64-bit floats are missing, which no kernel has.
	{Name: "moltenvk", What: "Apple silicon by MoltenVK 1.4.3 (its MVKDevice.mm, commit 1484e7f); workgroups and shared memory by an M1 Pro, github.com/hanatos/vkdt/pull/87", Kind: Integrated,
		Limits:            Limits{StorageRange: 1<<32 - 1, OffsetAlignment: 16, WorkgroupSize: 1024, SharedMemory: 32 * kib, StorageBuffers: 31, PushConstants: 4 * kib, TexelBuffer: 64 * mib * texelBytes},
		NoSubgroupControl: true, NoMatrices: true},
	{Name: "nvidia", What: "GeForce RTX 3090 by NVK, Mesa 26.1.6", Kind: Discrete, Quirks: []Quirk{HalfRegisters},
		Limits: Limits{StorageRange: 1 << 31, Allocation: 1 << 31, OffsetAlignment: 16, WorkgroupSize: 1024, SharedMemory: 48 * kib, PushConstants: 256}},
	{Name: "amd", What: "Radeon RX 7900 by RADV, Mesa 26.1.6", Kind: Discrete,
		Limits: Limits{StorageRange: 1<<32 - 1, Allocation: 1<<32 - 4, OffsetAlignment: 4, WorkgroupSize: 1024, SharedMemory: 64 * kib, PushConstants: 256}},
	{Name: "gcn", What: "Radeon RX Vega by RADV, Mesa 26.1.6", Kind: Discrete, Quirks: []Quirk{QuarterRegisters},
		Limits: Limits{StorageRange: 1<<32 - 1, Allocation: 1<<32 - 4, OffsetAlignment: 4, WorkgroupSize: 1024, SharedMemory: 64 * kib, PushConstants: 256}},
	{Name: "intel", What: "Arc B580 by ANV, Mesa 26.1.6", Kind: Discrete, Quirks: []Quirk{FewRegisters, ThreadRegisters, SlowFloats},
		Limits: Limits{StorageRange: 1<<32 - 1, Allocation: 1 << 32, OffsetAlignment: 4, WorkgroupSize: 1024, SharedMemory: 48 * kib, PushConstants: 256}},
}

// ParseProfile gives the profile of a name.
func ParseProfile(name string) (Profile, error) {
	at := slices.IndexFunc(Profiles, func(p Profile) bool { return p.Name == name })
	if at < 0 {
		var names []string
		for _, p := range Profiles {
			names = append(names, p.Name)
		}
		return Profile{}, fmt.Errorf("vk: profile %q, expected one of %s", name, strings.Join(names, ", "))
	}
	return Profiles[at], nil
}

// apply makes a device pass for the profile's.
func (p Profile) apply(i *Info) {
	i.profiled, i.driven, i.passes = true, i.Kind, p.Quirks
	i.Kind, i.KindName = p.Kind, p.Kind.String()
	l, o := &i.Limits, p.Limits
	for _, v := range []struct {
		own   *int64
		bound int64
	}{{&l.StorageRange, o.StorageRange}, {&l.Allocation, o.Allocation}, {&l.SharedMemory, o.SharedMemory}, {&l.TexelBuffer, o.TexelBuffer}} {
		if v.bound > 0 {
			*v.own = min(*v.own, v.bound)
		}
	}
	for _, v := range []struct {
		own   *int
		bound int
	}{{&l.WorkgroupSize, o.WorkgroupSize}, {&l.StorageBuffers, o.StorageBuffers}, {&l.PushConstants, o.PushConstants},
		{&l.WorkgroupCount[0], o.WorkgroupCount[0]}, {&l.WorkgroupCount[1], o.WorkgroupCount[1]}, {&l.WorkgroupCount[2], o.WorkgroupCount[2]}} {
		if v.bound > 0 {
			*v.own = min(*v.own, v.bound)
		}
	}
	l.OffsetAlignment = max(l.OffsetAlignment, o.OffsetAlignment)
	if p.NoSubgroupControl {
		l.SubgroupMin = 0
	}
	if p.NoShuffle {
		l.SubgroupShuffle = false
	}
	if p.NoMatrices {
		i.Tier = min(i.Tier, FP16)
		i.TierName, i.CoopShapes, l.MatrixReductions = i.Tier.String(), nil, false
	}
}
