package generate_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

func TestGenerate(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, name := range []string{"llama", "mistral", "qwen3 q/k norm", "opt"} {
			spec := modeltest.Odd[name]
			m, dir := spec.Open(t)
			oracle, err := ref.LoadModel(dir)
			if err != nil {
				t.Fatal(err)
			}
			prompt := modeltest.Windows(spec.Vocab, 1, 5)[0]
			g, err := generate.New(d, m, 0)
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			next := prompt
			for range 12 {
				logits, err := g.Feed(t.Context(), next)
				if err != nil {
					t.Fatal(err)
				}
				token := generate.Sampling{}.Next(logits, nil)
				got, next = append(got, int(token)), []uint32{token}
			}
			if want := oracle.Generate(ints(prompt), 12); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		}
		if used := d.Memory().Used; used != 0 {
			t.Errorf("%d bytes left on the device", used)
		}
	})
}

func TestSampling(t *testing.T) {
	logits := []float32{0, 1, 3, 2, float32(math.Inf(-1))}
	if got := (generate.Sampling{}).Next(logits, nil); got != 2 {
		t.Errorf("greedy took %d", got)
	}
	counts := func(s generate.Sampling) map[uint32]int {
		rng := rand.New(rand.NewPCG(1, 2))
		seen := map[uint32]int{}
		for range 4000 {
			seen[s.Next(logits, rng)]++
		}
		return seen
	}
	all := counts(generate.Sampling{Temperature: 1})
	if all[4] != 0 || all[0] == 0 || math.Abs(float64(all[2])/4000-0.6439) > 0.03 {
		t.Errorf("temperature 1: %v, expected about 64 %% of token 2", all)
	}
	if k := counts(generate.Sampling{Temperature: 1, TopK: 2}); len(k) != 2 || k[2] == 0 || k[3] == 0 {
		t.Errorf("top-k 2: %v", k)
	}
	if p := counts(generate.Sampling{Temperature: 1, TopP: 0.7}); len(p) != 2 {
		t.Errorf("top-p 0.7: %v", p)
	}
}

func ints(w []uint32) []int {
	out := make([]int, len(w))
	for i, v := range w {
		out[i] = int(v)
	}
	return out
}
