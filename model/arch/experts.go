package arch

import "fmt"

// Mixture says how the MLPs of a model with experts route: a softmax over all experts of the router's products, of which the largest
// PerToken take the token, each with its probability as weight. Between equal ones the lower expert is taken. The zero value is a model
// without experts.
type Mixture struct {
	Experts  int  // of a layer; 0: every MLP is dense
	PerToken int  // 1 to Experts
	Neurons  int  // of an expert
	Divide   bool // the weights of a token are divided by their sum

	Dense []bool // by layer, whether its MLP is dense all the same; nil: none is
}

// Limits of what a config may ask for, well beyond what models have.
const (
	maxExperts  = 1 << 10
	maxPerToken = 1 << 6
)

// Sparse says whether a layer's MLP is one of experts.
func (m *Mixture) Sparse(layer int) bool { return m.Experts > 0 && (m.Dense == nil || !m.Dense[layer]) }

// HasIn says whether a layer has a tensor of a role: Has, and its MLP is of the kind that the role is a part of.
func (c *Config) HasIn(layer int, r Role) bool {
	if kind := roles[r].MLP; kind != AnyMLP && (kind == SparseMLP) != c.Sparse(layer) {
		return false
	}
	return c.Has(r)
}

// Units is how many units of its MLP a merged layer takes over by their number: experts, or neurons of a dense MLP.
func (c *Config) Units(layer int) int {
	if c.Sparse(layer) {
		return c.Experts
	}
	return c.IntermediateSize
}

// MostUnits is the largest of all layers' Units.
func (c *Config) MostUnits() (n int) {
	for l := range c.Layers {
		n = max(n, c.Units(l))
	}
	return n
}

// DenseNeurons is the neurons of dense MLPs, 0 where no layer has one.
func (c *Config) DenseNeurons() int {
	if c.Experts > 0 && c.Dense == nil {
		return 0
	}
	return c.IntermediateSize
}

// WidestMLP is the most neurons that a token goes through in a layer's MLP.
func (c *Config) WidestMLP() int { return max(c.DenseNeurons(), c.PerToken*c.Neurons) }

// experts reads the keys that all families with experts have. In transformers num_experts and num_local_experts are one.
func (f *Fields) experts(c *Config, experts, perToken int) {
	local, either := f.has("num_local_experts"), f.has("num_experts")
	if local && either {
		if a, b := f.size("num_local_experts", maxExperts, 1), f.size("num_experts", maxExperts, 1); a != b {
			f.fail("num_local_experts %d, num_experts %d: they are one number", a, b)
		}
	}
	key := "num_experts"
	if local {
		key = "num_local_experts"
	}
	c.Experts = f.size(key, maxExperts, experts)
	c.PerToken = f.size("num_experts_per_tok", maxPerToken, perToken)
	if c.PerToken > c.Experts {
		f.fail("num_experts_per_tok %d, there are %d experts", c.PerToken, c.Experts)
	}
}

// CheckGradients refuses models whose gradients are not computed: training and what scores by gradients ask first.
func (c *Config) CheckGradients() error {
	if c.Experts > 0 {
		return fmt.Errorf("%s: %s has experts: gradients through a mixture of experts are not supported, so that it can be neither distilled nor scored by them", c.name, c.Architecture)
	}
	return nil
}
