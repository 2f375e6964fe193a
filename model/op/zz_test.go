package op

import (
	"context"
	"fmt"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
	"testing"
)

func TestZZ(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, c := range []struct{ tokens, out, in int }{{1, 131, 128}, {3, 5, 120}, {2, 8, 8}, {4, 70, 512}, {5, 70, 120}, {17, 64, 24}, {33, 131, 32}, {70, 130, 48}, {9, 33, 16}} {
			for _, dt := range dtype.All {
				for mode := 0; mode < 4; mode++ {
					b := newBench(t, d)
					x, w, up, bias, ub, res, norm := random(c.tokens, c.in), random(c.out, c.in), random(c.out, c.in), random(1, c.out), random(1, c.out), random(c.tokens, c.out), random(1, c.in)
					for i := range up.Data {
						up.Data[i] *= 0.5
					}
					dx, dw, dup, db, dub, dres, dnorm := b.upload(x, dtype.F32), b.upload(w, dt), b.upload(up, dt), b.upload(bias, dt), b.upload(ub, dt), b.upload(res, dtype.F32), b.upload(norm, dt)
					y := b.empty(dtype.F32, c.tokens, c.out)
					scratch := b.empty(dtype.F32, c.tokens, c.in)
					f := Fused{}
					want := ref.Linear(x, w, nil)
					switch mode {
					case 1:
						f = Fused{Bias: db, Residual: dres}
						want = ref.Add(ref.Linear(x, w, bias.Data), res)
					case 2:
						f = Fused{Bias: db, Up: dup, UpBias: dub, Norm: dnorm, Eps: 1e-5, Scratch: scratch}
						n := ref.RMSNorm(x, norm.Data, 1e-5)
						want = ref.SwiGLU(ref.Linear(n, w, bias.Data), ref.Linear(n, up, ub.Data))
					case 3:
						f = Fused{Norm: dnorm, Eps: 1e-5, Scratch: scratch}
						want = ref.Linear(ref.RMSNorm(x, norm.Data, 1e-5), w, nil)
					}
					if c.in%(16/dt.Size()) != 0 {
						continue
					}
					LinearFused(b.r, y, dx, dw, f)
					got := b.download(y)
					t.Run(fmt.Sprint(c, dt, mode), func(t *testing.T) { vktest.Near(t, got, want.Data, "attention", dt.String()) })
				}
			}
		}
	})
}
func BenchmarkZZ(b *testing.B) {
	d := vktest.Open(b, vk.Options{})
	for _, c := range []struct{ tokens, out, in int }{{512, 2048, 2048}, {256, 1408, 512}, {256, 512, 1408}, {256, 1024, 512}, {1, 2048, 2048}, {1, 1408, 512}, {4, 2048, 2048}} {
		for _, dt := range []dtype.DType{dtype.F32, dtype.F16, dtype.BF16} {
			for _, mode := range []int{0, 2} {
				b.Run(fmt.Sprintf("%dx%dx%d/%v/%d", c.tokens, c.out, c.in, dt, mode), func(b *testing.B) {
					f := newBench(b, d)
					x, w, y := f.upload(random(c.tokens, c.in), dtype.F32), f.upload(random(c.out, c.in), dt), f.empty(dtype.F32, c.tokens, c.out)
					fu := Fused{}
					fl := 1.0
					if mode == 2 {
						fu.Up = w
						fl = 2
					}
					run := func() {
						for range 4 {
							LinearFused(f.r, y, x, w, fu)
						}
						if err := f.r.Wait(context.Background()); err != nil {
							b.Fatal(err)
						}
					}
					run()
					for b.Loop() {
						run()
					}
					b.ReportMetric(fl*4*2*float64(c.tokens)*float64(c.out)*float64(c.in)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}
