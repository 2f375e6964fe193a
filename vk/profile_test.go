package vk_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestProfiles opens every device as each profile: its limits are the device's and the profile's, the tighter of both, its quirks the device's.
func TestProfiles(t *testing.T) {
	vktest.Each(t, func(t *testing.T, own *vk.Device) {
		for _, p := range vk.Profiles {
			d, err := vk.Open(vk.Options{Device: fmt.Sprint(own.Info.Index), Profile: p.Name, CacheDir: "-"})
			if err != nil {
				t.Fatal(err)
			}
			l, o := d.Limits(), own.Limits()
			for what, v := range map[string][3]int64{
				"storage range": {l.StorageRange, o.StorageRange, p.Limits.StorageRange}, "allocation": {l.Allocation, o.Allocation, p.Limits.Allocation},
				"shared memory": {l.SharedMemory, o.SharedMemory, p.Limits.SharedMemory}, "texel buffer": {l.TexelBuffer, o.TexelBuffer, p.Limits.TexelBuffer},
				"workgroup": {int64(l.WorkgroupSize), int64(o.WorkgroupSize), int64(p.Limits.WorkgroupSize)}, "buffers": {int64(l.StorageBuffers), int64(o.StorageBuffers), int64(p.Limits.StorageBuffers)},
			} {
				want := v[1]
				if v[2] > 0 {
					want = min(want, v[2])
				}
				if what == "storage range" && l.StorageBuffers < 8 { // arguments share bindings
					want /= 8
				}
				if v[0] != want {
					t.Errorf("%s: %s of %d, the device has %d and the profile %d", p.Name, what, v[0], v[1], v[2])
				}
			}
			if l.OffsetAlignment != max(o.OffsetAlignment, p.Limits.OffsetAlignment) || d.Info.Kind != p.Kind || p.NoSubgroupControl && l.SubgroupMin != 0 || p.NoShuffle && l.SubgroupShuffle ||
				p.NoMatrices && (d.Tier > vk.FP16 || len(d.Info.CoopShapes) > 0) || !p.NoMatrices && d.Tier != own.Tier {
				t.Errorf("%s: %+v", p.Name, d.Info)
			}
			for q := range vk.SlowMatrices {
				if d.Info.Has(q) != own.Info.Has(q) {
					t.Errorf("%s: quirk %v: %v, the device's %v", p.Name, q, d.Info.Has(q), own.Info.Has(q))
				}
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	if _, err := vk.Open(vk.Options{Profile: "nobody's"}); err == nil || !strings.Contains(err.Error(), "minimum") {
		t.Errorf("a profile that there is not: %v", err)
	}
}

// TestSurvey compiles and checks what is dispatched on buffers without memory, and does nothing else.
func TestSurvey(t *testing.T) {
	d := vktest.Open(t, vk.Options{Profile: "minimum"})
	r, s := d.NewSurvey(), d.DryScope()
	x := s.Buffer("nothing", 4*workgroup, vk.OnDevice).All()
	k := must(affine(d, 0))(t)
	r.Dispatch(k, [3]int{1, 1, 1}, []uint32{1, 0, 0}, 1, vk.In(x), vk.Out(x))
	r.Copy(x, x)
	r.Fill(x, 7)
	if err := r.Wait(t.Context()); err != nil || len(r.Surveyed()) != 1 || r.Dispatched != 1 {
		t.Errorf("%v, surveyed %v", err, r.Surveyed())
	}
	if _, err := d.Kernel(vk.Source{Name: "affine", SPIRV: affineSPIRV, Bindings: 2, Spec: []uint32{256, 0}}); !errors.Is(err, vk.ErrLimit) {
		t.Errorf("256 invocations where 128 are allowed: %v", err)
	}
	r.Dispatch(k, [3]int{1, 1, 1}, nil, 1, vk.In(x))
	if r.Err() == nil {
		t.Error("a binding is missing, and no error")
	}
}
