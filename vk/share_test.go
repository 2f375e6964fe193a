package vk_test

import (
	_ "embed"
	"errors"
	"fmt"
	"testing"

	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

//go:embed testdata/many.spv
var manySPIRV string

// TestManyBindings runs a kernel of seven buffers on a device that binds four: with buffers that lie in one block of memory, so that they share bindings
// where they are; in seven blocks, so that some are copied, and what is written back; with two that overlap; and one that is not used.
func TestManyBindings(t *testing.T) {
	const n = 20_000 // words: more than half of a block, so that each buffer has its own
	d := vktest.Open(t, vk.Options{Profile: "minimum", MaxMemory: 2 << 20})
	if l := d.Limits(); l.StorageBuffers != 4 {
		t.Fatalf("the profile has %d storage buffers, expected 4", l.StorageBuffers)
	}
	if got := d.MemoryLimit(); got != 7<<18 {
		t.Errorf("%d bytes for buffers of 2 MiB, expected seven eighths", got)
	}
	for _, withD := range []uint32{0, 1} {
		for _, where := range []string{"one block", "seven blocks", "overlapping"} {
			t.Run(fmt.Sprint(where, ",", withD), func(t *testing.T) {
				before := d.Memory().Used
				b := &bench{TB: t, d: d}
				b.r = must(d.NewRecorder())(t)
				k := must(d.Kernel(vk.Source{Name: "many", SPIRV: manySPIRV, Bindings: 7, Spec: []uint32{workgroup, withD}}))(t)
				words := func(begin uint32) []uint32 {
					w := count(n)
					for i := range w {
						w[i] += begin
					}
					return w
				}
				var views [7]vk.View
				var buffers []*vk.Buffer
				keep := func(words []uint32) vk.View {
					buffer := must(d.NewBuffer(where, int64(4*len(words)), vk.OnDevice))(t)
					buffers = append(buffers, buffer)
					b.upload(buffer.All(), words)
					return buffer.All()
				}
				switch where {
				case "one block":
					const each = 4 * n / 256 * 256 // a part begins at a multiple of 256
					one := keep(make([]uint32, 8*n))
					for i := range views {
						views[i] = one.Slice(int64(i)*(each+512), 4*n)
						b.upload(views[i], words(uint32(1000*i)))
					}
				default:
					for i := range views {
						views[i] = keep(words(uint32(1000 * i)))
					}
				}
				shift := uint32(0)
				if where == "overlapping" { // c begins 64 words behind a
					shift = 64
					longer := keep(count(n + int(shift)))
					views[0], views[2] = longer.Slice(0, 4*n), longer.Slice(4*int64(shift), 4*n)
				}
				used := d.Memory().Used
				args := []vk.Arg{vk.In(views[0]), vk.In(views[1]), vk.In(views[2]), vk.In(views[3]), vk.InOut(views[4]), vk.Out(views[5]), vk.Out(views[6])}
				if withD == 0 {
					args[3] = vk.Unused(views[3])
				}
				for range 2 { // the second sees what the first wrote
					b.r.Dispatch(k, line(n), []uint32{n}, n, args...)
				}
				b.wait()
				if copied := d.Memory().Used > used; copied != (where != "one block") {
					t.Errorf("copies: %v", copied)
				}
				total, y, z := words(4000), words(5000), words(6000)
				for i := range uint32(n) {
					v := i + 1000 + i + 2000 + i + withD*(3000+i)
					if where == "overlapping" {
						v = i + 1000 + i + i + shift + withD*(3000+i)
					}
					total[i] += 2 * v
					if i%2 == 0 {
						y[i] = v
					}
					if i%16 == 0 {
						z[i], z[i+1], z[i+2], z[i+3] = v, v, v, v
					}
				}
				same(t, "total", b.download(views[4]), total)
				same(t, "y", b.download(views[5]), y)
				same(t, "z", b.download(views[6]), z)
				if err := b.r.Close(); err != nil {
					t.Error(err)
				}
				d.Free(buffers...)
				if after := d.Memory().Used; after != before {
					t.Errorf("%d bytes are in use after the recorder closed, %d before", after, before)
				}
			})
		}
	}
}

// A kernel with more push constants and bindings than there is room for is refused, as is one with texel buffers, and arguments that take more than a binding.
func TestManyBindingsRefused(t *testing.T) {
	d := vktest.Open(t, vk.Options{Profile: "minimum", MaxMemory: 2 << 20})
	if _, err := d.Kernel(vk.Source{Name: "texels", SPIRV: manySPIRV, Bindings: 7, Texels: 1, Spec: []uint32{workgroup, 0}}); !errors.Is(err, vk.ErrLimit) {
		t.Errorf("seven buffers with texels: error %v, want vk.ErrLimit", err)
	}
	if _, err := d.Kernel(vk.Source{Name: "many", SPIRV: manySPIRV[:20] + "\x00\x00\x00\x00", Bindings: 7, Spec: []uint32{workgroup, 0}}); err == nil {
		t.Error("an instruction of no words: no error")
	}
	k := must(d.Kernel(vk.Source{Name: "many", SPIRV: manySPIRV, Bindings: 7, Spec: []uint32{workgroup, 0}}))(t)
	b := newBench(t, d)
	x := vk.In(b.buffer(count(64)).All())
	b.r.Dispatch(k, line(64), []uint32{64, 1}, 1, x, x, x, x, x, x, x)
	if !errors.Is(b.r.Err(), vk.ErrLimit) {
		t.Errorf("more push constants than the kernel has: error %v, want vk.ErrLimit", b.r.Err())
	}
}
