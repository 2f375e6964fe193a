package op

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/shaders"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestSurvey surveys every device as if it were a GPU: the kernels are all that there are but for those that CPU drivers run and those that measure
// a device, so that what is reported of GPUs' compilers leaves none out.
func TestSurvey(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		gpu, err := vk.Open(vk.Options{Device: fmt.Sprint(d.Info.Index), Profile: "nvidia", CacheDir: "-"})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := gpu.Close(); err != nil {
				t.Error(err)
			}
		}()
		r := gpu.NewSurvey()
		if err := Survey(r); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{} // by code: f16 and bf16 often have the same
		for _, name := range r.Surveyed() {
			seen[shaders.SPIRV(name)] = true
		}
		for _, v := range shaders.Variants() {
			switch {
			case strings.Contains(v.Name, "_cpu"), strings.Contains(v.Name, "_texels"), strings.HasPrefix(v.Name, "bench_"):
			case coopShape(gpu).K == 0 && (strings.HasPrefix(v.Name, "linear_coopmat") || strings.HasPrefix(v.Name, "tohalf")):
			case !seen[shaders.SPIRV(v.Name)]:
				t.Errorf("%s is not surveyed", v.Name)
			}
		}
	})
}
