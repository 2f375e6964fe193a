package prune_test

import (
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestStatusTree: while a run goes on, it says which layers are left, one step after another.
func TestStatusTree(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		m, err := embedded.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		plan, err := prune.NewPlan(m, prune.Options{Method: method.Reverse{}, TargetLayers: 10})
		if err != nil {
			t.Fatal(err)
		}
		var last []method.Tree
		seen := map[int]bool{} // numbers of layers
		if _, err := plan.RunTo(t.Context(), d, prune.Output{Dir: t.TempDir() + "/out"}, func(s prune.Status) {
			if n := len(s.Tree); n > 12 || last != nil && n > len(last) {
				t.Errorf("%s: %d layers after %d", s.Stage, n, len(last))
			}
			last = s.Tree
			seen[len(last)] = true
		}); err != nil {
			t.Fatal(err)
		}
		if !seen[12] || !seen[11] || len(last) != 10 || last[9].First() != 9 {
			t.Errorf("at the end: %v", last)
		}
	})
}
