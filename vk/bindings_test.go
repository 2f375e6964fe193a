package vk_test

import (
	_ "embed"
	"errors"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

//go:embed testdata/texels.spv
var texelsSPIRV string

//go:embed testdata/address.spv
var addressSPIRV string

// Texel buffers are bound at offsets, in more dispatches than a submission takes, and see what dispatches before wrote.
func TestTexelBuffer(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		k := must(d.Kernel(vk.Source{Name: "texels", SPIRV: texelsSPIRV, Bindings: 2, Texels: 1, Spec: []uint32{workgroup}}))(t)
		const n, rounds, skip = 400, 301, 64 // words; skip is 256 bytes
		x, y := b.buffer(count(n+skip)), b.buffer(make([]uint32, n+skip))
		from, to := x.View(4*skip, 4*n), y.View(4*skip, 4*n)
		for range rounds {
			b.r.Dispatch(k, line(n/4), []uint32{n / 4, 3}, n, vk.In(from), vk.Out(to))
			from, to = to, from
		}
		b.wait()
		want := count(n + skip)[skip:]
		for i := range want {
			want[i] += 3 * rounds
		}
		same(t, "texels", b.download(from), want)
	})
}

func TestAddress(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		if !d.Addresses {
			k := must(affine(d, 0))(t)
			x := b.buffer(count(64))
			b.r.Dispatch(k, line(64), []uint32{64, 1, 1, 1, 1, 1}, 1, vk.In(x.All()), vk.Out(x.All()), vk.InAt(x.All(), 4))
			if !errors.Is(b.r.Err(), vk.ErrLimit) {
				t.Errorf("an address on a device without: error %v, want vk.ErrLimit", b.r.Err())
			}
			return
		}
		k := must(d.Kernel(vk.Source{Name: "address", SPIRV: addressSPIRV, Bindings: 1, Spec: []uint32{workgroup}}))(t)
		const n, skip = 300, 64
		x, y := b.buffer(count(n+skip)), b.buffer(make([]uint32, n))
		b.r.Dispatch(k, line(n), []uint32{n, 0, 0, 0}, n, vk.Out(y.All()), vk.InAt(x.View(4*skip, 4*n), 2))
		b.r.Dispatch(k, line(n), []uint32{n, 0, 0, 0}, n, vk.Out(x.View(0, 4*n)), vk.InAt(y.All(), 2)) // reads what was written
		b.wait()
		want := count(n + skip)[skip:]
		same(t, "back", b.download(x.View(0, 4*n)), want)
		slices.Reverse(want)
		same(t, "reversed", b.download(y.All()), want)
	})
}

func TestBindingsRefused(t *testing.T) {
	d := vktest.Open(t, vk.Options{})
	_, err := d.Kernel(vk.Source{Name: "texels", SPIRV: texelsSPIRV, Bindings: 2, Texels: 4, Spec: []uint32{workgroup}})
	if !errors.Is(err, vk.ErrLimit) {
		t.Errorf("a texel buffer beyond the bindings: error %v, want vk.ErrLimit", err)
	}
	k := must(affine(d, 0))(t)
	for what, args := range map[string]func(v vk.View) []vk.Arg{
		"an address in place of a binding": func(v vk.View) []vk.Arg { return []vk.Arg{vk.In(v), vk.InAt(v, 0)} },
		"more buffers than bindings":       func(v vk.View) []vk.Arg { return []vk.Arg{vk.In(v), vk.Out(v), vk.In(v)} },
		"an address beyond the constants":  func(v vk.View) []vk.Arg { return []vk.Arg{vk.In(v), vk.Out(v), vk.InAt(v, 5)} },
	} {
		b := newBench(t, d)
		v := b.buffer(count(64)).All()
		b.r.Dispatch(k, line(64), []uint32{64, 1, 1, 1, 1, 1}, 1, args(v)...)
		if b.r.Err() == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func TestSubgroupSize(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b, l := newBench(t, d), d.Limits()
		kernel := func(size int) (*vk.Kernel, error) {
			return d.Kernel(vk.Source{Name: "texels", SPIRV: texelsSPIRV, Bindings: 2, Texels: 1, Spec: []uint32{workgroup}, Subgroup: size})
		}
		for _, size := range []int{1, 2 * max(l.SubgroupSize, l.SubgroupMin)} {
			if _, err := kernel(size); !errors.Is(err, vk.ErrLimit) {
				t.Errorf("subgroups of %d, where %d to %d are allowed: error %v, want vk.ErrLimit", size, l.SubgroupMin, l.SubgroupSize, err)
			}
		}
		if l.SubgroupMin == 0 {
			return
		}
		k := must(kernel(l.SubgroupMin))(t)
		x, y := b.buffer(count(64)), b.buffer(make([]uint32, 64))
		b.r.Dispatch(k, line(16), []uint32{16, 5}, 1, vk.In(x.All()), vk.Out(y.All()))
		b.wait()
		want := count(64)
		for i := range want {
			want[i] += 5
		}
		same(t, "in subgroups of a fixed size", b.download(y.All()), want)
	})
}
