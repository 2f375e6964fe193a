package vk

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/vkcome/vkcome/vk/internal/native"
)

// Source is a compute shader and how to specialise it.
type Source struct {
	Name     string   // in errors
	SPIRV    string   // little-endian words; entry point "main"
	Bindings int      // storage buffers at set 0, bindings 0…n−1
	Texels   uint32   // bit i: binding i is a texel buffer of rgba32ui
	Spec     []uint32 // specialization constant i; by custom constant 0 is the workgroup's size
	Subgroup int      // size of the subgroups, which are full then; 0: any, what every device can
	Shared   int64    // bytes of shared memory a workgroup uses, to be checked against the limit
}

// Kernel is a compiled Source. It lives as long as its device: drivers leak or stall when pipelines come and go.
type Kernel struct {
	name        string
	pipeline    native.Pipeline
	layout, set uint64
	bindings    native.Bindings
	logged      atomic.Bool
	sharing     *sharing // where it binds more buffers than the device: nil elsewhere
}

const maxSpec = 16

// halfByIntegers is the specialization constant HALF_BY_INTEGERS of common/unpack_half.glsl: the first behind those of callers. A kernel without
// it takes no notice.
const halfByIntegers = maxSpec

type kernelKey struct {
	spirv    string
	bindings native.Bindings
	specs    int
	subgroup int
	spec     [maxSpec]uint32
}

// Kernel compiles a source once; the same words and constants give the same kernel.
func (d *Device) Kernel(s Source) (*Kernel, error) {
	key := kernelKey{spirv: s.SPIRV, bindings: native.Bindings{N: s.Bindings, Texels: s.Texels}, specs: len(s.Spec), subgroup: s.Subgroup}
	if copy(key.spec[:], s.Spec) < len(s.Spec) {
		return nil, fmt.Errorf("vk: kernel %s: %d specialization constants, at most %d: %w", s.Name, len(s.Spec), maxSpec, ErrLimit)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("vk: kernel %s: device %w", s.Name, ErrClosed)
	}
	if k, ok := d.kernels[key]; ok {
		return k, nil
	}
	l := d.Info.Limits
	switch {
	case s.Bindings > native.MaxBindings || s.Bindings > l.StorageBuffers && s.Texels != 0:
		return nil, fmt.Errorf("vk: kernel %s: %d bindings, %s has %d: %w", s.Name, s.Bindings, d.Info.Name, min(native.MaxBindings, l.StorageBuffers), ErrLimit)
	case len(s.Spec) > 0 && int(s.Spec[0]) > l.WorkgroupSize:
		return nil, fmt.Errorf("vk: kernel %s: workgroup of %d, %s allows %d: %w", s.Name, s.Spec[0], d.Info.Name, l.WorkgroupSize, ErrLimit)
	case bits.OnesCount32(s.Texels) > native.MaxTexels || s.Texels>>s.Bindings != 0:
		return nil, fmt.Errorf("vk: kernel %s: texel buffers %#b of %d bindings, at most %d: %w", s.Name, s.Texels, s.Bindings, native.MaxTexels, ErrLimit)
	case s.Subgroup > 0 && (l.SubgroupMin == 0 || s.Subgroup < l.SubgroupMin || s.Subgroup > max(l.SubgroupMin, l.SubgroupSize)):
		return nil, fmt.Errorf("vk: kernel %s: subgroups of %d, %s allows %d to %d: %w", s.Name, s.Subgroup, d.Info.Name, l.SubgroupMin, l.SubgroupSize, ErrLimit)
	case s.Shared > l.SharedMemory:
		return nil, fmt.Errorf("vk: kernel %s: %s of shared memory, %s has %s: %w", s.Name, Bytes(s.Shared), d.Info.Name, Bytes(l.SharedMemory), ErrLimit)
	case len(s.SPIRV)%4 != 0 || len(s.SPIRV) < 20 || binary.LittleEndian.Uint32([]byte(s.SPIRV[:4])) != 0x07230203:
		return nil, fmt.Errorf("vk: kernel %s: not SPIR-V", s.Name)
	}
	if s.Bindings > l.StorageBuffers {
		k, err := d.share(s, key)
		if err == nil {
			d.kernels[key] = k
		}
		return k, err
	}
	words := make([]uint32, len(s.SPIRV)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32([]byte(s.SPIRV[4*i : 4*i+4]))
	}
	layout, set, err := d.native.Layout(key.bindings)
	if err != nil {
		return nil, fmt.Errorf("vk: kernel %s: %w", s.Name, wrap(err))
	}
	ids, spec := d.specialized(s.Spec)
	pipeline, err := d.native.NewPipeline(words, key.bindings, ids, spec, s.Subgroup)
	if err != nil {
		return nil, fmt.Errorf("vk: kernel %s on %s: %w", s.Name, d.Info.Name, wrap(err))
	}
	if d.opts.Reports {
		report, err := parseReport(d.native.Report(pipeline))
		if err != nil {
			d.native.DestroyPipeline(pipeline)
			return nil, fmt.Errorf("vk: kernel %s on %s: %w", s.Name, d.Info.Name, err)
		}
		report.Kernel, report.Spec, report.Required, report.Shared = s.Name, s.Spec, s.Subgroup, s.Shared
		d.reports = append(d.reports, report)
	}
	k := &Kernel{name: s.Name, pipeline: pipeline, layout: layout, set: set, bindings: key.bindings}
	d.kernels[key] = k
	return k, nil
}

// specialized are the constants of a source with those that the driver asks for, and their IDs.
func (d *Device) specialized(spec []uint32) (ids, values []uint32) {
	for i := range spec {
		ids = append(ids, uint32(i))
	}
	values = slices.Clone(spec)
	if d.Info.Has(HalfUnpacking) {
		ids, values = append(ids, halfByIntegers), append(values, 1)
	}
	return ids, values
}
