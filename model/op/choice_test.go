package op

import (
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// A choice names the kernel that runs, and a reason that belongs to it.
func TestChoices(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		few, many, some := Tensor{Rows: 1, Cols: 64}, Tensor{Rows: 300, Cols: 64}, Tensor{Rows: 40, Cols: 64}
		wide, narrow := Tensor{DType: dtype.F32, Rows: 60_000, Cols: 64}, Tensor{DType: dtype.F32, Rows: 70, Cols: 64}
		cpu := len(linearCPU(d, many, narrow, Fused{})) > 0
		why := func(gpu string) string {
			if cpu {
				return "a driver on a CPU"
			}
			return gpu
		}
		filling := func(gpu string) string {
			if len(linearFamily(d, many, wide, Fused{})) == 1 {
				return "" // GCN's registers leave no choice of a tile
			}
			return why(gpu)
		}
		for _, c := range []struct {
			x, w  Tensor
			wants []string
		}{
			{few, narrow, []string{why("4 tokens or fewer")}},
			{many, wide, []string{why("no cooperative matrices: "), filling("largest that makes 120 workgroups")}},
			{some, narrow, []string{why("no cooperative matrices: "), filling("as none makes 120 workgroups")}},
		} {
			got, k := LinearChoice(d, c.x, c.w, Fused{}), linearWay(d, c.x, c.w, Fused{})
			if shader, tile, _ := strings.Cut(got.Kernel, tileSeparator); shader != k.shader || tile != "" && tile != k.tile.String() {
				t.Errorf("%dx%d: %s, %s %v runs", c.x.Rows, c.w.Rows, got.Kernel, k.shader, k.tile)
			}
			for _, want := range c.wants {
				if !strings.Contains(got.Why, want) {
					t.Errorf("%dx%d by %s: %q, expected %q in it", c.x.Rows, c.w.Rows, got.Kernel, got.Why, want)
				}
			}
		}
		for _, s := range []AttentionShape{{1, 40, 40, 0, 4, 2, 64, 0, false, LogitOptions{}, true}, {1, 1, 40, 0, 4, 2, 64, 0, false, LogitOptions{}, true}} {
			way, err := s.way(d, false)
			if err != nil {
				t.Fatal(err)
			}
			got, err := AttentionChoice(d, s)
			if err != nil || got.Kernel != way.shader || got.Why == "" || strings.Contains(got.Why, "a driver on a CPU") != strings.HasPrefix(way.shader, "attention_cpu") || strings.HasPrefix(got.Why, "cooperative") != way.half {
				t.Errorf("%v: %+v, %v; %s runs", s, got, err, way.shader)
			}
		}
		with(t, d, Kernels{linearMany: "linear", attentionMany: "attention"})
		if got := LinearChoice(d, many, wide, Fused{}); !strings.HasPrefix(got.Kernel, "linear:") || !strings.HasPrefix(got.Why, "asked for") {
			t.Errorf("told to take plain tiles: %+v", got)
		}
		if got, err := AttentionChoice(d, AttentionShape{1, 40, 40, 0, 4, 2, 64, 0, false, LogitOptions{}, true}); err != nil || got.Kernel != "attention" || !strings.HasPrefix(got.Why, "asked for") {
			t.Errorf("told to take the kernel of GPUs: %+v, %v", got, err)
		}
	})
}
