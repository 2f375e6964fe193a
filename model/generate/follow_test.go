package generate_test

import (
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestFollow: sequences that begin alike, one after another, have the logits that each has alone.
func TestFollow(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, name := range []string{"llama", "phi3"} {
			spec := modeltest.Odd[name]
			m, _ := spec.Open(t)
			w := modeltest.Windows(spec.Vocab, 1, 14)[0]
			other := slices.Clone(w)
			other[5] = (other[5] + 1) % uint32(spec.Vocab)
			g, err := generate.New(d, m, 0)
			if err != nil {
				t.Fatal(err)
			}
			for i, tokens := range [][]uint32{w[:6], w, w[:4], other[:9], w[:4], {w[1]}, w} {
				got, err := g.Follow(t.Context(), tokens)
				if err != nil {
					t.Fatal(err)
				}
				alone, err := generate.New(d, m, 0)
				if err != nil {
					t.Fatal(err)
				}
				want, err := alone.Feed(t.Context(), tokens)
				if err != nil {
					t.Fatal(err)
				}
				if a, b := (generate.Sampling{}).Next(got, nil), (generate.Sampling{}).Next(want, nil); a != b {
					t.Errorf("%s: sequence %d goes on with %d, alone with %d", name, i, a, b)
				}
				for j := range got { // the same sums, split otherwise over calls
					if diff := got[j] - want[j]; diff > 1e-4 || diff < -1e-4 {
						t.Fatalf("%s: sequence %d: logit %d is %v, alone %v", name, i, j, got[j], want[j])
					}
				}
				if err := alone.Close(); err != nil {
					t.Error(err)
				}
			}
			if _, err := g.Follow(t.Context(), nil); err == nil {
				t.Error("an empty sequence is followed")
			}
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
