package op

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestParseKernels(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "map[]",
		"linear=linear_cpu,loads=buffers":    "map[linear:linear_cpu loads:buffers]",
		"linear=linear:64x64/4x8":            "map[linear:linear:64x64/4x8]",
		"attention_decode=attention_decode,": "map[attention_decode:attention_decode]",
	} {
		if got, err := ParseKernels(text); err != nil || fmt.Sprint(map[string]string(got)) != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"gemm=linear":                "expected FAMILY=KERNEL with a family of linear, linear_vec, attention",
		"linear":                     "expected FAMILY=KERNEL",
		"linear=linear_vec":          "linear_vec is no kernel of linear, which are linear_cpu, linear_cpu_shuffle, linear, linear_coopmat",
		"linear=":                    " is no kernel of linear",
		"linear_vec=linear_vec:1x1":  "only linear and linear_coopmat have tiles",
		"linear=linear:":             "only linear and linear_coopmat have tiles",
		"loads=buffers,loads=texels": "loads twice",
	} {
		if k, err := ParseKernels(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", text, k, err, want)
		}
	}
}

// with is the device told to take kernels, until the test ends; a profile that has not the registers for cooperative matrices skips it.
func with(t *testing.T, d *vk.Device, k Kernels) {
	t.Helper()
	before, err := KernelsOf(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Use(d); err != nil {
		matrices := slices.ContainsFunc(slices.Collect(maps.Values(k)), func(kernel string) bool { return strings.Contains(kernel, "coopmat") })
		if profile := os.Getenv(vk.ProfileVariable); profile != "" && matrices && d.Tier == vk.CoopMatrix {
			t.Skipf("%v: profile %s names another device's registers", err, profile)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := before.Use(d); err != nil {
			t.Error(err)
		}
	})
}

// Every kernel that a device has can be forced, is what then runs, and is right.
func TestKernels(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, f := range Alternatives(d) {
			for _, name := range f.Kernels {
				t.Run(name, func(t *testing.T) {
					with(t, d, Kernels{f.Name: name})
					switch f.Name {
					case linearMany, linearFew:
						forcedLinear(t, d, f.Name, name)
					case attentionMany, attentionFew:
						forcedAttention(t, d, f.Name, name)
					case attentionBack:
						forcedBackward(t, d, name)
					default:
						forcedLoads(t, d, name)
					}
				})
			}
		}
	})
}

func forcedLinear(t *testing.T, d *vk.Device, family, name string) {
	tokens := 37
	if family == linearFew {
		tokens = 3
	}
	for _, dt := range dtype.All {
		if name == "linear_coopmat" && dt == dtype.F32 {
			continue
		}
		c := newFusedCase(newBench(t, d), tokens, 70, 64, dt)
		of := func(c *fusedCase) Fused { return Fused{Bias: c.on(&c.bias), Scratch: c.scratch(), Halves: c.halves()} }
		got := c.run(of)
		k := linearWay(d, Tensor{Rows: tokens, Cols: 64}, Tensor{DType: dt, Rows: 70, Cols: 64}, Fused{Scratch: Tensor{Rows: tokens, Cols: 64}, Halves: c.halves()})
		if k.shader != name {
			t.Errorf("%v: %s runs", dt, k.shader)
		}
		k.bound().Near(t, got, ref.Linear(c.x, c.w, c.bias.Data).Data, dt)
	}
}

func forcedAttention(t *testing.T, d *vk.Device, family, name string) {
	s := AttentionShape{2, 40, 50, 50, 4, 2, 16, 0, false, LogitOptions{}, false}
	if family == attentionFew {
		s.QueryLen = 3
	}
	way, err := s.way(d, false)
	if err != nil || way.shader != name {
		t.Errorf("%s runs, %v", way.shader, err)
	}
	b := newBench(t, d)
	q, k, v, want := attentionCase(s)
	o := b.empty(dtype.F32, q.Rows, q.Cols)
	attend(b, o, b.upload(q, dtype.F32), b.upload(k, dtype.F32), b.upload(v, dtype.F32), s)
	bound := attentionBound
	if way.half {
		bound = attentionRoundedBound
	}
	bound.Near(t, b.download(o), want.Data, dtype.F32)
	if family == attentionFew {
		return
	}
	// The same kernels have variants for packed segments.
	segments, rows := forest([]int{-1, 0, 0}, []int{20, 7, 30})
	shape := PackedShape{4, 2, 16, 0, LogitOptions{}}
	p, err := NewPacking(d, segments, shape)
	if err != nil {
		t.Fatal(err)
	}
	q, k, v = random(rows, 64), random(rows, 32), random(rows+1, 32)
	o = b.empty(dtype.F32, rows, 64)
	AttentionPacked(b.r, o, b.upload(q, dtype.F32), b.upload(k, dtype.F32), b.upload(v, dtype.F32).RowRange(0, rows), b.words(p.Words), p, shape)
	for _, g := range segments {
		want := ref.Attention(window(q, g.Row, g.Rows), pick(k, g.Path), pick(v, g.Path), 4, 2, 16, 0, ref.LogitOptions{})
		attentionBound.Near(t, b.download(o)[g.Row*64:(g.Row+g.Rows)*64], want.Data, dtype.F32)
	}
}

func forcedBackward(t *testing.T, d *vk.Device, name string) {
	s := AttentionShape{2, 40, 40, 40, 4, 2, 16, 0, false, LogitOptions{}, false}
	shuffle := strings.HasSuffix(name, shuffledVariant)
	for _, ofKeys := range []bool{false, true} {
		want := strings.TrimSuffix(name, shuffledVariant) + map[bool]string{false: "_q", true: "_kv"}[ofKeys]
		if shuffle {
			want += shuffledVariant
		}
		if way, err := s.backwardWay(d, ofKeys); err != nil || way.shader != want {
			t.Errorf("%s runs, want %s, %v", way.shader, want, err)
		}
	}
	b, bound := newBench(t, d), attentionBackwardBound
	if name == "attention_bwd_coopmat" {
		bound = attentionBackwardRoundedBound
	}
	m, want := backwardCase(s)
	for i, x := range attendBackward(b, m, s, false) {
		bound.Near(t, b.download(x), want[i].Data, dtype.F32)
	}
}

func forcedLoads(t *testing.T, d *vk.Device, name string) {
	if texelLoads(d) != (name == loadsByTexels) {
		t.Errorf("loads by texels: %t", texelLoads(d))
	}
	b := newBench(t, d)
	x, w, up := random(9, 64), random(1, 64), random(10, 64)
	up = block(up, 0, 9, 0, 64)
	dx, y := b.upload(x, dtype.F32), b.empty(dtype.F32, 9, 64)
	RMSNorm(b.r, y, dx, b.upload(w, dtype.BF16), 1e-5, NormOptions{})
	rmsnormBound.Near(t, b.download(y), ref.RMSNorm(x, w.Data, 1e-5).Data, dtype.BF16)
	SwiGLU(b.r, y, dx, b.upload(up, dtype.F32), false)
	swigluBound.Near(t, b.download(y), ref.SwiGLU(x, up).Data, dtype.F32)
}

// What a device has not, and what it cannot do with a shape.
func TestKernelsRefuse(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		all := Alternatives(d)
		for i, f := range families {
			for _, name := range f.Kernels {
				err := Kernels{f.Name: name}.check(d)
				if has := slices.Contains(all[i].Kernels, name); (err == nil) != has || !has && !strings.Contains(err.Error(), "of "+f.Name+" it has") {
					t.Errorf("%s, which is there: %t: %v", name, has, err)
				}
			}
		}
		if err := (Kernels{linearMany: "linear:1x2/3x4"}).Use(d); err == nil || !strings.Contains(err.Error(), "it has 128x128/8x8") && !strings.Contains(err.Error(), "it has 64x64") {
			t.Errorf("an unknown tile: %v", err)
		}
		x, w := Tensor{Rows: 40, Cols: 64}, Tensor{DType: dtype.F16, Rows: 64, Cols: 64}
		byDefault := linearWay(d, x, w, Fused{})
		tiles := tilesOf(d, "linear")
		tile := tiles[len(tiles)/2].tile
		with(t, d, Kernels{linearMany: "linear:" + tile.String(), linearFew: "linear_vec"})
		if k := linearWay(d, x, w, Fused{}); k.shader != "linear" || k.tile != tile {
			t.Errorf("%s %v instead of the tile asked for", k.shader, k.tile)
		}
		if slices.Contains(all[0].Kernels, "linear_coopmat") {
			if err := (Kernels{linearMany: "linear_coopmat"}).Use(d); err != nil {
				t.Error(err)
			}
			if k := linearWay(d, x, w, Fused{}); k.shader != byDefault.shader { // no scratch
				t.Errorf("%s for what linear_coopmat cannot do, want %s", k.shader, byDefault.shader)
			}
		}
	})
}

// The variable is read for each device, and what is wrong with it is the error of its first operation.
func TestKernelsVariable(t *testing.T) {
	for value, want := range map[string]string{"linear=linear": "", "linear=gemm": "VKCOME_KERNELS: op kernels: gemm is no kernel of linear"} {
		t.Setenv(KernelsVariable, value)
		d, err := vk.Open(vk.Options{CacheDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		r, err := d.NewRecorder()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		x := Tensor{Rows: 40, Cols: 64}
		Zero(r, x) // absent, which is an error of its own unless the variable comes first
		if want != "" && (r.Err() == nil || !strings.Contains(r.Err().Error(), want)) {
			t.Errorf("%s: %v, want %s", value, r.Err(), want)
		}
		if k := linearWay(d, x, Tensor{DType: dtype.F16, Rows: 64, Cols: 64}, Fused{}); want == "" && k.shader != "linear" {
			t.Errorf("%s: %s", value, k.shader)
		}
	}
	vktest.Clean(t)
}
