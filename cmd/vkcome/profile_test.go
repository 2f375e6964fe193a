package main

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/vk"
)

// TestProfiles scores, prunes, fits, trains and evaluates within the least limits that a device may have, with the kernels that GPUs run, and prunes
// and fits as a large one and as Apple's: the models are as good as those of the device as it is, to the last bits of their weights and what comes of these.
func TestProfiles(t *testing.T) {
	corpus := []string{"--tokens", calib, "--window", "32", "--samples", "8"}
	perplexity := func(t *testing.T, model string) float64 {
		var got struct{ Perplexity float64 }
		parseJSON(t, vkcome(t, "eval", "ppl", model, "--tokens", calib, "--window", "32", "--samples", "4", "--json"), &got)
		return got.Perplexity
	}
	// made prunes and, where train is set, scores and trains.
	made := func(t *testing.T, train bool) (pruned, trained float64) {
		dir := t.TempDir()
		model, healed := filepath.Join(dir, "pruned"), filepath.Join(dir, "healed")
		vkcome(t, append([]string{"prune", embedded.Name, model, "--target-layers", "11", "--method", "come", "--refit"}, corpus...)...)
		if !train {
			return perplexity(t, model), 0
		}
		vkcome(t, append([]string{"stats", embedded.Name, filepath.Join(dir, "stats.safetensors")}, corpus...)...)
		vkcome(t, append([]string{"distill", embedded.Name, model, healed, "--batch", "2", "--end-to-end", "1"}, corpus...)...)
		return perplexity(t, model), perplexity(t, healed)
	}
	pruned, trained := made(t, true)
	for name, train := range map[string]bool{"minimum": true, "moltenvk": false, "nvidia": false, "gcn": false} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(vk.ProfileVariable, name)
			gotPruned, gotTrained := made(t, train)
			if math.Abs(gotPruned/pruned-1) > 0.01 || train && math.Abs(gotTrained/trained-1) > 0.01 {
				t.Errorf("perplexities %v and, trained, %v; those of the device as it is are %v and %v", gotPruned, gotTrained, pruned, trained)
			}
		})
	}
}
