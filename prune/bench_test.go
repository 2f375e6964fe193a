package prune_test

import (
	"testing"

	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// BenchmarkPrune merges the embedded model from 12 to 8 layers on 8192 tokens, without writing it: what the authors' PyTorch code
// takes 3 s for. all: with the scores that are not needed.
func BenchmarkPrune(b *testing.B) {
	m, windows := embeddedModel(b, 64, 128)
	for name, all := range map[string]bool{"needed": false, "all": true} {
		b.Run(name, func(b *testing.B) {
			plan, err := prune.NewPlan(m, prune.Options{TargetLayers: 8, AllScores: all, Windows: windows})
			if err != nil {
				b.Fatal(err)
			}
			d := vktest.Open(b, vk.Options{})
			passes := prune.Passes{}
			for b.Loop() {
				r, err := plan.Run(b.Context(), d, nil)
				if err != nil {
					b.Fatal(err)
				}
				passes = *r.Lineage.LayerPasses
			}
			b.ReportMetric(passes.Done, "layer-passes/op")
			b.ReportMetric(float64(passes.Full), "full-passes/op")
		})
	}
}
