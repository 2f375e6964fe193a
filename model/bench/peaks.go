package bench

import (
	"math"

	"github.com/vkcome/vkcome/shaders"
	"github.com/vkcome/vkcome/vk"
)

const (
	readName = "read device memory"
	peakF32  = "f32"
	peakF16  = "f16"
	peakCoop = "coopmat"

	readsOfInvocation = 16   // of 16 bytes, see bench_read.comp
	fmaRounds         = 4096 // see bench_fma.comp
	chainsOfSubgroup  = 4    // see bench_coopmat.comp
)

// peaks are what the device's memory and arithmetic can do.
func (b *bencher) peaks() []benchmark {
	d := b.d
	size := min(256<<20, d.MemoryLimit()/8, d.Limits().StorageRange) >> 20 << 20 // beyond any cache
	cases := []benchmark{
		{name: readName, unit: "GB/s", peak: true, bytes: float64(size), prepare: func(p *pool) (func() error, error) { return b.read(p, size) }},
		{name: "copy device memory", unit: "GB/s", peak: true, bytes: 2 * float64(size), prepare: func(p *pool) (func() error, error) {
			from, err := p.buffer(size, vk.OnDevice)
			if err != nil {
				return nil, err
			}
			to, err := p.buffer(size, vk.OnDevice)
			return func() error { b.r.Copy(to.All(), from.All()); return b.r.Err() }, err
		}},
	}
	for _, up := range []bool{true, false} {
		name := "upload"
		if !up {
			name = "download"
		}
		cases = append(cases, benchmark{name: name, unit: "GB/s", peak: true, bytes: float64(size), host: true, prepare: func(p *pool) (func() error, error) {
			buf, err := p.buffer(size, vk.OnDevice)
			raw := make([]byte, size)
			return func() error {
				if up {
					return d.Upload(b.ctx, buf.All(), raw)
				}
				return d.Download(b.ctx, raw, buf.All())
			}, err
		}})
	}
	cases = append(cases, b.fma(peakF32, "bench_fma"))
	if d.Tier >= vk.FP16 {
		cases = append(cases, b.fma(peakF16, "bench_fma_f16"))
	}
	// A CPU driver's compiler would take the products out of the loop: they are the same in each round.
	if s := halfShape(d); s.K > 0 && d.Info.Kind != vk.CPU {
		cases = append(cases, b.coopmat(s))
	}
	return cases
}

// halfShape is the largest product of f16 matrices with f32 sums, none where there are none.
func halfShape(d *vk.Device) (best vk.CoopShape) {
	for _, s := range d.Info.CoopShapes {
		if d.Tier >= vk.CoopMatrix && s.Input == "f16" && s.Sum == "f32" && s.M*s.N*s.K > best.M*best.N*best.K {
			best = s
		}
	}
	return best
}

// kernel is a variant, used with push constants and specialization constants of these names.
func (b *bencher) kernel(name string, u shaders.Use, push, special []string, spec ...uint32) (*vk.Kernel, error) {
	u.Push, u.Spec = len(push), len(spec)
	if err := shaders.Check(name, u, push, special); err != nil {
		return nil, err
	}
	return b.d.Kernel(vk.Source{Name: name, SPIRV: shaders.SPIRV(name), Bindings: u.Bindings, Texels: u.Texels, Spec: spec})
}

// read is bench_read.comp on size bytes.
func (b *bencher) read(p *pool, size int64) (func() error, error) {
	d, name, texels, group := b.d, "bench_read", uint32(0), 256
	if d.Info.Kind == vk.CPU && d.Limits().TexelBuffer >= size {
		name, texels, group = "bench_read_texels", 1, max(4, min(d.Limits().SubgroupSize, 64))
	}
	group = min(group, d.Limits().WorkgroupSize)
	k, err := b.kernel(name, shaders.Use{Bindings: 2, Texels: texels, Read: 0b01, Write: 0b10}, []string{"never"}, []string{"WORKGROUP"}, uint32(group))
	if err != nil {
		return nil, err
	}
	x, err := p.buffer(size, vk.OnDevice)
	if err != nil {
		return nil, err
	}
	y, err := p.buffer(16, vk.OnDevice)
	perGroup := int64(16 * readsOfInvocation * group)
	groups := int(size / perGroup)
	return func() error {
		for begin := 0; begin < groups; begin += 65_535 {
			n := min(65_535, groups-begin)
			b.r.Dispatch(k, [3]int{n, 1, 1}, []uint32{0x9e3779b9}, float64(n)*float64(perGroup), vk.In(x.View(int64(begin)*perGroup, int64(n)*perGroup)), vk.Out(y.All()))
		}
		return b.r.Err()
	}, err
}

// fma is bench_fma.comp with enough invocations to fill the device.
func (b *bencher) fma(arithmetic, shader string) benchmark {
	group := min(256, b.d.Limits().WorkgroupSize)
	groups, chains := 4096, 8
	if b.d.Info.Kind == vk.CPU { // 12 vectors are in flight, and fit into 16 registers
		group, groups, chains = max(4, min(b.d.Limits().SubgroupSize, 64)), 128, 3
	}
	flops := 2 * 4 * fmaRounds * float64(chains*group*groups)
	return benchmark{name: "peak " + arithmetic, unit: "GFLOP/s", peak: true, flops: flops, prepare: func(p *pool) (func() error, error) {
		k, err := b.kernel(shader, shaders.Use{Floats: 0b111, Bindings: 1, Write: 1}, []string{"factor", "term", "never"}, []string{"WORKGROUP", "CHAINS"}, uint32(group), uint32(chains))
		if err != nil {
			return nil, err
		}
		y, err := p.buffer(16, vk.OnDevice)
		return func() error {
			b.r.Dispatch(k, [3]int{groups, 1, 1}, []uint32{math.Float32bits(0.5), math.Float32bits(1), math.Float32bits(-1)}, flops, vk.Out(y.All()))
			return b.r.Err()
		}, err
	}}
}

// coopmat is bench_coopmat.comp with enough subgroups to fill the device.
func (b *bencher) coopmat(s vk.CoopShape) benchmark {
	size := b.d.Limits().SubgroupSize
	subgroups := max(1, min(8, b.d.Limits().WorkgroupSize/size))
	const groups, rounds = 2048, 1024
	flops := 2 * float64(s.M*s.N*s.K) * chainsOfSubgroup * float64(rounds*subgroups*groups)
	return benchmark{name: "peak " + peakCoop, unit: "GFLOP/s", peak: true, flops: flops, prepare: func(p *pool) (func() error, error) {
		k, err := b.kernel("bench_coopmat", shaders.Use{Floats: 0b011, Bindings: 1, Write: 1}, []string{"factor", "never", "rounds"},
			[]string{"WORKGROUP", "MATRIX_M", "MATRIX_N", "MATRIX_K"}, uint32(size*subgroups), uint32(s.M), uint32(s.N), uint32(s.K))
		if err != nil {
			return nil, err
		}
		y, err := p.buffer(16, vk.OnDevice)
		return func() error {
			b.r.Dispatch(k, [3]int{groups, 1, 1}, []uint32{math.Float32bits(1. / 256), math.Float32bits(-1), uint32(rounds)}, flops, vk.Out(y.All()))
			return b.r.Err()
		}, err
	}}
}
