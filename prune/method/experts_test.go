package method

import (
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/prune/merge"
)

// experts is a Qwen3-MoE of six layers, of which the first and the fourth are dense.
func experts(t *testing.T) *State {
	t.Helper()
	spec, err := modeltest.Named("qwen3-moe")
	if err != nil {
		t.Fatal(err)
	}
	spec.Vocab, spec.Layers = 61, 6
	spec.Extra["mlp_only_layers"] = []int{0, 3}
	m, _ := spec.Open(t)
	return &State{Model: m, Tree: make([]Tree, 6)}
}

// What sums weights or takes gradients refuses models with experts; come goes as deep as runs of layers of one kind allow.
func TestExpertsRefused(t *testing.T) {
	s := experts(t)
	if got := s.apart(); !slices.Equal(got, []int{1, 3, 4}) {
		t.Errorf("apart are %v", got)
	}
	for _, c := range []struct {
		method Method
		target int
		want   string
	}{
		{WeightSum{}, 5, "weightsum sums the weights of layers: experts of different layers do not correspond"},
		{LaCo{}, 5, "laco sums the weights"},
		{MKA{}, 5, "mka sums the weights"},
		{Taylor{}, 5, "gradients through a mixture of experts are not supported"},
		{Taylor{Plus: true}, 5, "gradients through a mixture of experts are not supported"},
		{CoMe{Sensitivity: SensitivityWeight}, 5, `sensitivity "weight": the experts of a Qwen3MoeForCausalLM are ranked by what the router gives them`},
		{CoMe{}, 4, ""},
		{CoMe{}, 3, "with each layer merged at most once and layers with experts not joined with dense ones, the model reaches 4"},
		{CoMe{Repeat: true}, 4, ""},
		{CoMe{Repeat: true}, 3, "the model reaches 4"},
		{CoMeP{}, 4, ""},
		{Magnitude{}, 1, ""},
		{ShortGPT{}, 1, ""},
		{SLEB{}, 1, ""},
		{Reverse{}, 1, ""},
	} {
		err := c.method.Check(s, c.target)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s to %d layers: %v, want %q", c.method.Name(), c.target, err, c.want)
		}
	}
}

// A step read from a file keeps as many experts as a layer has, of layers that have some.
func TestExpertsStep(t *testing.T) {
	s := experts(t)
	good := Step{From: 6, Operation: Concat, MergeList: []int{1, 2}, Ratio: []float64{0.5, 0.5},
		Kept: []merge.Kept{{KVHeads: []int{0}, Experts: []int{0, 4, 6}}, {KVHeads: []int{1}, Experts: []int{1, 2, 3, 5}}}}
	if err := good.check(s.Model); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		change func(p *Step)
		want   string
	}{
		{func(p *Step) { p.MergeList = []int{2, 3} }, "layers [2 3]: dense layers and layers with experts cannot be joined"},
		{func(p *Step) { p.Kept[0].Experts = []int{0, 4} }, "it keeps 2 KV heads, 0 neurons and 6 experts, a layer has 2, 0 and 7"},
		{func(p *Step) { p.Kept[0].Experts = []int{0, 4, 7} }, "it keeps unit 7 of 7"},
		{func(p *Step) { p.Kept[0].Neurons = []int{0} }, "it keeps unit 0 of 0"},
		{func(p *Step) { p.Kept[1].Experts = []int{2, 1, 3, 5} }, "expected ascending numbers"},
	} {
		bad := good
		bad.Kept = slices.Clone(good.Kept)
		c.change(&bad)
		if err := bad.check(s.Model); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
