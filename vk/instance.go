// Package vk runs compute kernels on whatever Vulkan device is there. It knows nothing of models.
//
// A Device is opened by name, index or UUID. It hands out Buffers from an arena, compiles Kernels once, and plays op streams
// that a Recorder collects: dispatches and copies in order, with barriers derived from what each reads and writes.
package vk

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vkcome/vkcome/vk/internal/native"
)

// Kind is the kind of a device, best first.
type Kind int

const (
	Discrete Kind = iota
	Integrated
	Virtual
	Other
	CPU
)

func (k Kind) String() string {
	return [...]string{"discrete GPU", "integrated GPU", "virtual GPU", "other", "CPU"}[k]
}

// Tier says which shader features a device has and vkcome may use; each includes the ones before.
type Tier int

const (
	Baseline   Tier = iota // Vulkan 1.1, f32 arithmetic, no subgroup operations
	Subgroup               // subgroup arithmetic and broadcast in compute shaders
	FP16                   // f16 arithmetic and 16-bit storage
	CoopMatrix             // VK_KHR_cooperative_matrix
)

var tierNames = []string{"baseline", "subgroup", "fp16", "coopmat"}

func (t Tier) String() string { return tierNames[t] }

// ParseTier reads a tier's name.
func ParseTier(name string) (Tier, error) {
	if i := slices.Index(tierNames, name); i >= 0 {
		return Tier(i), nil
	}
	return 0, fmt.Errorf("tier %q, expected one of %s", name, strings.Join(tierNames, ", "))
}

// Limits are the bounds that kernels and tensors keep to.
type Limits struct {
	StorageRange       int64  `json:"storage_range"`       // bytes of an argument of a kernel
	Allocation         int64  `json:"allocation"`          // bytes of one allocation
	OffsetAlignment    int64  `json:"offset_alignment"`    // bytes, of a binding's offset
	WorkgroupSize      int    `json:"workgroup_size"`      // invocations of a workgroup
	WorkgroupCount     [3]int `json:"workgroup_count"`     // workgroups of a dispatch
	SharedMemory       int64  `json:"shared_memory"`       // bytes of a workgroup
	StorageBuffers     int    `json:"storage_buffers"`     // bindings of a kernel
	SubgroupSize       int    `json:"subgroup_size"`       // invocations of a subgroup
	SubgroupMin        int    `json:"subgroup_min"`        // the smallest subgroup that Source.Subgroup can ask for, or the size of all; 0: it cannot
	SubgroupShuffle    bool   `json:"subgroup_shuffle"`    // any lane's value may be read
	MatrixReductions   bool   `json:"matrix_reductions"`   // rows of cooperative matrices can be reduced, and sums multiplied as they are: VK_NV_cooperative_matrix2
	PushConstants      int    `json:"push_constants"`      // bytes
	TexelBuffer        int64  `json:"texel_buffer"`        // bytes of a binding of 16-byte texels
	DeviceMemory       int64  `json:"device_memory"`       // bytes of the largest device-local heap
	HostVisibleDevices bool   `json:"host_visible_memory"` // device-local memory can be mapped
}

const shuffle = 0x10 // VK_SUBGROUP_FEATURE_SHUFFLE_BIT

// texelBytes is the size of a texel of a texel buffer, R32G32B32A32_UINT.
const texelBytes = 16

// Info describes a device.
type Info struct {
	Index         int    `json:"index"` // in order of rank, best first
	Name          string `json:"name"`
	UUID          string `json:"uuid"`
	Kind          Kind   `json:"-"`
	KindName      string `json:"kind"`
	Tier          Tier   `json:"-"`
	TierName      string `json:"tier"`
	Driver        string `json:"driver"`
	DriverVersion string `json:"driver_version"`
	API           string `json:"api"`
	Int64         bool   `json:"int64"` // 64-bit integers in shaders
	Limits        Limits `json:"limits"`

	CoopShapes []CoopShape `json:"coop_shapes"` // the products of matrices that a subgroup can do

	profiled bool    // it passes for another, see Profile
	driven   Kind    // what it is, where profiled
	passes   []Quirk // that the profile adds
}

// CoopShape is a product of cooperative matrices of a subgroup: [M, K] · [K, N] + [M, N].
type CoopShape struct {
	M     int    `json:"m"`
	N     int    `json:"n"`
	K     int    `json:"k"`
	Input string `json:"input"` // of both factors: f16, bf16, f32, u8…
	Sum   string `json:"sum"`
}

// components are VkComponentTypeKHR.
var components = map[uint32]string{
	0: "f16", 1: "f32", 2: "f64", 3: "s8", 4: "s16", 5: "s32", 6: "s64", 7: "u8", 8: "u16", 9: "u32", 10: "u64",
	1000141000: "bf16", 1000491002: "f8e4m3", 1000491003: "f8e5m2",
}

func coopShapes(p *native.PhysicalDevice) []CoopShape {
	shapes := []CoopShape{}
	for _, s := range p.Shapes {
		if in, sum := components[s.Input], components[s.Sum]; in != "" && sum != "" {
			shapes = append(shapes, CoopShape{int(s.M), int(s.N), int(s.K), in, sum})
		}
	}
	return shapes
}

// shared is the process's one VkInstance, alive while anything uses it: the binding keeps its entry points in C globals.
var shared struct {
	sync.Mutex
	instance *native.Instance
	users    int
	validate bool
}

func acquire(validate bool) (*native.Instance, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.users > 0 {
		if validate && !shared.validate {
			return nil, errors.New("vk: validation must be asked for by the first device that is opened")
		}
		shared.users++
		return shared.instance, nil
	}
	i, err := native.NewInstance(validate, trusted)
	switch {
	case errors.Is(err, native.LayerNotPresent):
		return nil, fmt.Errorf("vk: validation asked for, but VK_LAYER_KHRONOS_validation is not installed (package vulkan-validationlayers)")
	case err != nil:
		return nil, system{os: runtime.GOOS, env: os.Getenv, broken: native.LibraryError}.absence(err)
	}
	shared.instance, shared.users, shared.validate = i, 1, validate
	return i, nil
}

// trusted says whether a device may be asked for its cooperative matrices.
func trusted(p *native.PhysicalDevice) bool { return !describe(p, 0).Has(FalseMatrices) }

func release() {
	shared.Lock()
	defer shared.Unlock()
	if shared.users--; shared.users == 0 {
		shared.instance.Close()
		shared.instance = nil
	}
}

// Devices lists the devices present, best first: discrete before integrated before CPU, then by memory.
func Devices() ([]Info, error) {
	i, err := acquire(false)
	if err != nil {
		return nil, err
	}
	defer release()
	var infos []Info
	for _, p := range rank(i) {
		infos = append(infos, describe(p, len(infos)))
	}
	return infos, nil
}

// rank orders the instance's devices; those without Vulkan 1.1 or a compute queue are left out.
func rank(i *native.Instance) []*native.PhysicalDevice {
	var usable []*native.PhysicalDevice
	for _, p := range i.Physical {
		if p.APIVersion>>12&0x3ff >= 1 && computeFamily(p) >= 0 {
			usable = append(usable, p)
		}
	}
	slices.SortStableFunc(usable, func(a, b *native.PhysicalDevice) int {
		if c := kindOf(a) - kindOf(b); c != 0 {
			return int(c)
		}
		return int(localHeap(b)>>20 - localHeap(a)>>20)
	})
	return usable
}

func kindOf(p *native.PhysicalDevice) Kind {
	switch p.Type {
	case native.Discrete:
		return Discrete
	case native.Integrated:
		return Integrated
	case native.Virtual:
		return Virtual
	case native.CPU:
		return CPU
	}
	return Other
}

func localHeap(p *native.PhysicalDevice) int64 {
	var most uint64
	for _, t := range p.Memory {
		if t.DeviceLocal {
			most = max(most, p.Heaps[t.Heap])
		}
	}
	return int64(most)
}

// computeFamily prefers a family without graphics: its work does not hold up a display.
func computeFamily(p *native.PhysicalDevice) int {
	best := -1
	for k, q := range p.Queues {
		if q.Compute && q.Count > 0 && (best < 0 || !q.Graphics && p.Queues[best].Graphics) {
			best = k
		}
	}
	return best
}

// transferFamily is a family with its own copy engine, or -1.
func transferFamily(p *native.PhysicalDevice) int {
	for k, q := range p.Queues {
		if q.Transfer && !q.Compute && !q.Graphics && q.Count > 0 {
			return k
		}
	}
	return -1
}

func tierOf(p *native.PhysicalDevice) Tier {
	const compute, basic, arithmetic, ballot = 0x20, 1, 4, 8
	need := uint32(basic | arithmetic | ballot)
	switch {
	case p.SubgroupStages&compute == 0 || p.SubgroupOperations&need != need || p.SubgroupSize < 4:
		return Baseline
	case !p.Float16 || !p.Storage16:
		return Subgroup
	case !p.CoopMatrix:
		return FP16
	}
	return CoopMatrix
}

func describe(p *native.PhysicalDevice, index int) Info {
	l := Limits{
		StorageRange: int64(p.MaxStorageRange), Allocation: int64(p.MaxAllocationBytes), OffsetAlignment: max(4, int64(p.OffsetAlignment), int64(p.TexelAlignment)),
		WorkgroupSize: int(min(p.MaxInvocations, p.MaxWorkgroupSize[0])), SharedMemory: int64(p.MaxSharedBytes),
		StorageBuffers: int(p.MaxStorageBuffers), SubgroupSize: int(p.SubgroupSize), SubgroupMin: int(p.SubgroupMin), SubgroupShuffle: p.SubgroupOperations&shuffle != 0, MatrixReductions: p.MatrixReductions, PushConstants: int(p.MaxPushBytes), DeviceMemory: localHeap(p),
		TexelBuffer: texelBytes * int64(p.MaxTexels),
	}
	for k, c := range p.MaxWorkgroupCount {
		l.WorkgroupCount[k] = int(c)
	}
	for _, t := range p.Memory {
		l.HostVisibleDevices = l.HostVisibleDevices || t.DeviceLocal && t.HostVisible && p.Heaps[t.Heap] == uint64(l.DeviceMemory)
	}
	driver := p.DriverName
	if driver == "" {
		driver = fmt.Sprintf("vendor %#x", p.Vendor)
	}
	version := p.DriverInfo
	if version == "" {
		version = fmt.Sprintf("%#x", p.DriverVersion)
	}
	u := hex.EncodeToString(p.UUID[:])
	return Info{
		Index: index, Name: p.Name, UUID: u[:8] + "-" + u[8:12] + "-" + u[12:16] + "-" + u[16:20] + "-" + u[20:],
		Kind: kindOf(p), KindName: kindOf(p).String(), Tier: tierOf(p), TierName: tierOf(p).String(), Driver: driver, DriverVersion: version,
		API: fmt.Sprintf("%d.%d.%d", p.APIVersion>>22, p.APIVersion>>12&0x3ff, p.APIVersion&0xfff), Int64: p.Int64, Limits: l, CoopShapes: coopShapes(p),
	}
}

// choose finds the device that selector means: "" the best, a number below 100 an index in rank, else a UUID or part of a name in
// any case ("4090" is one).
func choose(devices []*native.PhysicalDevice, selector string) (*native.PhysicalDevice, Info, error) {
	if len(devices) == 0 {
		return nil, Info{}, fmt.Errorf("%w: no device here has Vulkan 1.1 and a compute queue", ErrNoDevice)
	}
	if selector == "" {
		return devices[0], describe(devices[0], 0), nil
	}
	index, err := strconv.Atoi(selector)
	isIndex := err == nil && index < 100
	uuid := strings.ToLower(strings.ReplaceAll(selector, "-", ""))
	var present []string
	for k, p := range devices {
		named := uuid == hex.EncodeToString(p.UUID[:]) || strings.Contains(strings.ToLower(p.Name), strings.ToLower(selector))
		if isIndex && index == k || !isIndex && named {
			return p, describe(p, k), nil
		}
		present = append(present, fmt.Sprintf("%d: %s", k, p.Name))
	}
	return nil, Info{}, fmt.Errorf("%w: %q; present are %s", ErrNoDevice, selector, strings.Join(present, "; "))
}
