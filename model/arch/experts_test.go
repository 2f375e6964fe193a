package arch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// sparse is the keys of a Qwen3-MoE of 12 layers.
func sparse(more map[string]any) map[string]any {
	keys := map[string]any{"architectures": []string{"Qwen3MoeForCausalLM"}, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
	for k, v := range more {
		keys[k] = v
	}
	return keys
}

func TestExperts(t *testing.T) {
	type keys = map[string]any
	for _, c := range []struct {
		keys  keys
		want  Mixture
		fact  string
		dense []int
	}{
		{sparse(nil), Mixture{Experts: 6, PerToken: 2, Neurons: 24}, "6 experts of 24 neurons, 2 for each token by their probabilities, each down", nil},
		{sparse(keys{"num_experts": nil, "num_local_experts": 5, "norm_topk_prob": true}), Mixture{Experts: 5, PerToken: 2, Neurons: 24, Divide: true},
			"5 experts of 24 neurons, 2 for each token by their probabilities divided by their sum, each down", nil},
		{sparse(keys{"mlp_only_layers": []int{0, 3, 99, -1}}), Mixture{Experts: 6, PerToken: 2, Neurons: 24}, "none in layers 0, 3, each", []int{0, 3}},
		{sparse(keys{"decoder_sparse_step": 3, "mlp_only_layers": []int{5}}), Mixture{Experts: 6, PerToken: 2, Neurons: 24}, "none in layers 0-1, 3-7, 9-10, each", []int{0, 1, 3, 4, 5, 6, 7, 9, 10}},
		{keys{"architectures": []string{"MixtralForCausalLM"}}, Mixture{Experts: 8, PerToken: 2, Neurons: 384, Divide: true}, "8 experts of 384", nil},
	} {
		got, err := ParseConfig("x", edited(c.keys))
		if err != nil {
			t.Fatal(err)
		}
		var dense []int
		for l := range got.Layers {
			if !got.Sparse(l) {
				dense = append(dense, l)
			}
		}
		if !slices.Equal(dense, c.dense) {
			t.Errorf("%v: dense layers %v, want %v", c.keys, dense, c.dense)
		}
		if facts := fmt.Sprint(got.Facts()); !strings.Contains(facts, c.fact) {
			t.Errorf("%v: %s, want %q", c.keys, facts, c.fact)
		}
		if got.Mixture.Dense = nil; fmt.Sprint(got.Mixture) != fmt.Sprint(c.want) {
			t.Errorf("%v: %+v, want %+v", c.keys, got.Mixture, c.want)
		}
	}
	for _, c := range []struct {
		keys keys
		want string
	}{
		{sparse(keys{"num_experts": 0}), "num_experts 0, expected 1 to 1024"},
		{sparse(keys{"num_experts": 2000}), "num_experts 2000, expected 1 to 1024"},
		{sparse(keys{"num_experts_per_tok": 7}), "num_experts_per_tok 7, there are 6 experts"},
		{sparse(keys{"num_experts_per_tok": 65}), "num_experts_per_tok 65, expected 1 to 64"},
		{sparse(keys{"num_local_experts": 5}), "num_local_experts 5, num_experts 6: they are one number"},
		{sparse(keys{"moe_intermediate_size": -1}), "moe_intermediate_size -1"},
		{sparse(keys{"decoder_sparse_step": 0}), "decoder_sparse_step 0"},
		{sparse(keys{"mlp_only_layers": "all"}), "mlp_only_layers"},
	} {
		if _, err := ParseConfig("x", edited(c.keys)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.keys, err, c.want)
		}
	}
}

// Layers keep the kind of their MLP wherever they go, whether the file names the dense ones, steps over them, or says nothing.
func TestExpertsWithLayers(t *testing.T) {
	for _, keys := range []map[string]any{nil, {"mlp_only_layers": []int{1, 4}}, {"decoder_sparse_step": 2}, {"decoder_sparse_step": 3, "mlp_only_layers": nil}} {
		c, err := ParseConfig("x", edited(sparse(keys)))
		if err != nil {
			t.Fatal(err)
		}
		for _, keep := range [][]int{{0, 1, 2}, {1, 4, 5, 11}, {2, 3}, {4}} {
			got, err := c.Choose(keep)
			if err != nil {
				t.Fatalf("%v, layers %v: %v", keys, keep, err)
			}
			for i, l := range keep {
				if got.Sparse(i) != c.Sparse(l) {
					t.Errorf("%v, layers %v: layer %d has experts: %v", keys, keep, i, got.Sparse(i))
				}
			}
			if again, err := got.Choose([]int{len(keep) - 1}); err != nil || again.Sparse(0) != c.Sparse(keep[len(keep)-1]) {
				t.Errorf("%v, layers %v: again: %v", keys, keep, err)
			}
			for r := range LayerRoles {
				if kind := r.Info().MLP; kind != AnyMLP && got.HasIn(0, r) != (got.Has(r) && (kind == SparseMLP) == got.Sparse(0)) {
					t.Errorf("%v, layers %v: role %s is there: %v", keys, keep, r.Info().Name, got.HasIn(0, r))
				}
			}
		}
	}
}

// Each expert's tensors hold a part of the roles' rows, and one layer's add up to them.
func TestExpertTensors(t *testing.T) {
	for _, name := range []string{"MixtralForCausalLM", "Qwen3MoeForCausalLM"} {
		c, err := ParseConfig("x", edited(sparse(map[string]any{"architectures": []string{name}, "mlp_only_layers": []int{2}})))
		if err != nil {
			t.Fatal(err)
		}
		for l := range 3 {
			rows := map[Role]int{}
			for _, tensor := range c.LayerTensors(l) {
				for _, r := range tensor.Roles {
					n, cols := c.Shape(r)
					if n%tensor.Parts != 0 || tensor.Part >= tensor.Parts || len(tensor.Roles) == 1 && len(tensor.Shape) == 2 && (tensor.Shape[0] != n/tensor.Parts || tensor.Shape[1] != cols) {
						t.Errorf("%s: %+v of %d rows", name, tensor, n)
					}
					rows[r] += n / tensor.Parts
				}
			}
			for r := range LayerRoles {
				n, _ := c.Shape(r)
				if got := rows[r]; c.HasIn(l, r) && got != n || !c.HasIn(l, r) && got != 0 {
					t.Errorf("%s, layer %d: %d rows of %s, want %d", name, l, got, r.Info().Name, n)
				}
			}
		}
	}
}
