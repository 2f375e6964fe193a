package op

import (
	"math"
	"os"
	"os/exec"
	"testing"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op/optest"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// halfTests are the tests that TestWithoutF16C runs: the cases with F16 of what reads it word by word, in texels, and in products.
const halfTests = "^(TestEveryHalf|TestEmbedding|TestGather|TestRMSNorm|TestPositions|TestLinearFused|TestToHalf|TestTranspose|TestWeightedSum|TestSplitQKV)$/llvmpipe/(F16|baseline)/F16"

// TestEveryHalf reads every f16 there is, subnormals, infinities and NaNs among them.
func TestEveryHalf(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b := optest.New(t, d)
		const n = 1 << 16
		raw, want := make([]byte, 2*n), make([]float32, n)
		for i := range n {
			raw[2*i], raw[2*i+1] = byte(i), byte(i>>8)
		}
		dtype.F16.Decode(want, raw)
		y := b.Empty(dtype.F32, 256, n/256)
		FromDType(b.R, Tensor(y), Tensor(b.Raw(raw, dtype.F16, 256, n/256)))
		for i, got := range b.Download(y) {
			subnormal := i&0x7c00 == 0 // a device may take it for zero
			if got != want[i] && !(got != got && want[i] != want[i]) && !(subnormal && got == 0 && d.Info.Kind != vk.CPU) {
				t.Fatalf("f16 %#04x is %v (%#08x), want %v", i, got, math.Float32bits(got), want[i])
			}
		}
	})
}

// TestWithoutF16C runs the tests of what reads F16 where lavapipe takes the CPU for one that has no instructions for it, with vectors of 4 and of 8
// lanes.
func TestWithoutF16C(t *testing.T) {
	const capabilities = "GALLIUM_OVERRIDE_CPU_CAPS"
	if os.Getenv(capabilities) != "" {
		return // this is the child
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, most := range []string{"sse2", "sse4.1"} {
		t.Run(most, func(t *testing.T) {
			c := exec.CommandContext(t.Context(), self, "-test.run", halfTests, "-test.failfast")
			c.Env = append(os.Environ(), capabilities+"="+most)
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s=%s: %v\n%s", capabilities, most, err, out[max(0, len(out)-4000):])
			}
		})
	}
}
