package bench

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/vkcome/vkcome/shaders"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// kernel runs a kernel of peaks on one workgroup and returns the word that it writes where it finds what it is told never to find.
func kernelFinds(t *testing.T, d *vk.Device, name string, bindings []vk.View, push []uint32, spec ...uint32) uint32 {
	t.Helper()
	r, err := d.NewRecorder()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	y, err := d.NewBuffer("found", 16, vk.OnDevice)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Free(y)
	if err := d.Upload(t.Context(), y.All(), make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	var args []vk.Arg
	for _, v := range bindings {
		args = append(args, vk.In(v))
	}
	args = append(args, vk.Out(y.All()))
	k, err := d.Kernel(vk.Source{Name: name, SPIRV: shaders.SPIRV(name), Bindings: len(args), Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	r.Dispatch(k, [3]int{1, 1, 1}, push, 1, args...)
	if err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 16)
	if err := d.Download(t.Context(), raw, y.All()); err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint32(raw)
}

// The kernels that measure peaks do the work that is counted: their sums are right.
func TestPeakKernels(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		bits := math.Float32bits
		// From 0 and up to 7, 4096 times v · 0 + 2: 8 chains of 4 elements.
		if got := kernelFinds(t, d, "bench_fma", nil, []uint32{bits(0), bits(2), bits(64)}, 1, 8); got != bits(64) {
			t.Errorf("bench_fma wrote %v, want 64", math.Float32frombits(got))
		}
		if d.Tier >= vk.FP16 {
			if got := kernelFinds(t, d, "bench_fma_f16", nil, []uint32{bits(0), bits(2), bits(64)}, 1, 8); got != bits(64) {
				t.Errorf("bench_fma_f16 wrote %v, want 64", math.Float32frombits(got))
			}
		}
		if s := halfShape(d); s.K > 0 {
			// An element is i + rounds · K · factor², of 4 chains.
			want := float32(0 + 1 + 2 + 3 + 4*5*s.K)
			got := kernelFinds(t, d, "bench_coopmat", nil, []uint32{bits(1), bits(want), 5}, uint32(d.Limits().SubgroupSize), uint32(s.M), uint32(s.N), uint32(s.K))
			if got != bits(want) {
				t.Errorf("bench_coopmat wrote %v, want %v", math.Float32frombits(got), want)
			}
		}
		x, err := d.NewBuffer("words", 16*readsOfInvocation*4, vk.OnDevice)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Free(x)
		raw := make([]byte, x.Size())
		raw[len(raw)-16] = 0x5a // the last that the last invocation reads
		if err := d.Upload(t.Context(), x.All(), raw); err != nil {
			t.Fatal(err)
		}
		if got := kernelFinds(t, d, "bench_read", []vk.View{x.All()}, []uint32{0x5a}, 4); got != 0x5a {
			t.Errorf("bench_read wrote %#x, want 0x5a", got)
		}
	})
}
