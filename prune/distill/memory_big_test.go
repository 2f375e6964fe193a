//go:build big

package distill

import (
	"math"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/train"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestMemoryLarge trains a layer of the shape of a 7B model's and measures the device memory that it takes: what Plan says, within a tenth.
// Four GiB and some minutes.
func TestMemoryLarge(t *testing.T) {
	whole, err := model.Synthetic("llama-2-7b")
	if err != nil {
		t.Fatal(err)
	}
	testMemory(t, whole, 64)
}

// testMemory trains the first layer of a model, which stands for two.
func testMemory(t *testing.T, m *model.Model, window int) {
	t.Helper()
	with := func(n int) *model.Model {
		keep := []int{0, 1}[:n]
		out, err := m.With(m.Layers[:n], keep)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	d, err := vk.Open(vk.Options{MaxMemory: 8 << 30}) // of its own, whose peak is this run's; lavapipe tells of less than it has
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		vktest.Clean(t)
	}()
	for _, objective := range []train.Objective{train.MSE, train.KLLens} {
		job := Job{Teacher: with(2), Student: with(1), Groups: []Group{{0, 0, 1}}, Windows: modeltest.Windows(m.Config.VocabSize, 3, window),
			Options: Options{Objective: objective, Batch: 1, HeldOut: 1, Tokens: int64(2 * window)}}
		_, planned, err := job.Plan(d)
		if err != nil {
			t.Fatal(err)
		}
		result, err := job.Run(t.Context(), d, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		took := d.Memory().Peak
		t.Logf("%s: %s planned, %s measured (%.1f %%); held-out loss %.4g → %.4g", objective, vk.Bytes(planned.Peak()), vk.Bytes(took), 100*float64(took)/float64(planned.Peak()),
			result.Progress.Stages[0].Before, result.Progress.Stages[0].After)
		if math.Abs(float64(took)/float64(planned.Peak())-1) > 0.1 {
			t.Errorf("%s: %s measured, %s planned", objective, vk.Bytes(took), vk.Bytes(planned.Peak()))
		}
	}
}
