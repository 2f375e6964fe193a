package prune_test

import (
	"testing"

	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/prune"
)

// What is recommended can be done to every architecture, with a corpus of any size that has something to hold out.
func TestRecommended(t *testing.T) {
	for _, name := range modeltest.Names() {
		spec, err := modeltest.Named(name)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := spec.Open(t)
		for _, windows := range []int{2, 7, 8, 100} {
			by, fit := prune.Recommended(m, windows)
			if _, err := prune.NewPlan(m, prune.Options{TargetLayers: len(m.Layers) - 1, Method: by, Refit: fit, Windows: modeltest.Windows(m.Config.VocabSize, windows, 8)}); err != nil {
				t.Errorf("%s, %d windows: %v", m.Config.Architecture, windows, err)
			}
		}
		for _, c := range prune.Candidates(m) {
			if c.Refit != nil {
				if err := c.Refit.Check(m, 8); err != nil {
					t.Errorf("%s: %s: %v", m.Config.Architecture, c.Name, err)
				}
			}
		}
	}
}
