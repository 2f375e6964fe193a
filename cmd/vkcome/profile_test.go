package main

import (
	"path/filepath"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/vk"
)

// TestProfiles prunes, fits and evaluates within the limits of devices that are not here, with the kernels that GPUs run, and within the least that
// there may be scores and trains too.
func TestProfiles(t *testing.T) {
	for _, name := range []string{"minimum", "nvidia"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(vk.ProfileVariable, name)
			dir := t.TempDir()
			corpus := []string{"--tokens", calib, "--window", "32", "--samples", "8"}
			made := filepath.Join(dir, "pruned")
			vkcome(t, append([]string{"prune", embedded.Name, made, "--target-layers", "11", "--method", "come", "--refit"}, corpus...)...)
			if name == "minimum" {
				healed := filepath.Join(dir, "healed")
				vkcome(t, append([]string{"stats", embedded.Name, filepath.Join(dir, "stats.safetensors")}, corpus...)...)
				vkcome(t, append([]string{"distill", embedded.Name, made, healed, "--batch", "2", "--end-to-end", "1"}, corpus...)...)
				made = healed
			}
			var got struct{ Perplexity float64 }
			parseJSON(t, vkcome(t, "eval", "ppl", made, "--tokens", calib, "--window", "32", "--samples", "4", "--json"), &got)
			if !(got.Perplexity > 10 && got.Perplexity < 100) {
				t.Errorf("perplexity %v", got.Perplexity)
			}
		})
	}
}
