package arch

import (
	"fmt"
	"strings"
)

// Fact is something that a config says of what the model computes, in words for people.
type Fact struct{ Name, Text string }

// Facts lists what follows from config.json besides sizes: norms, activation, biases, positions and windows, in words.
func (c *Config) Facts() (list []Fact) {
	norms := "RMSNorm"
	if c.LayerNorm {
		norms = "LayerNorm"
	}
	norms = fmt.Sprintf("%s, ε %.6g", norms, c.RMSNormEps)
	switch {
	case c.NoInputNorms:
		norms += ", of what attention and MLP give in place of what they read"
	case c.OutputNorms:
		norms += ", of what attention and MLP read and of what they give"
	}
	if c.NormPlusOne {
		norms += ", weights and 1"
	}
	switch {
	case c.QKNorm && c.RowNorm:
		norms += ", q and k normed over all heads"
	case c.QKNorm:
		norms += ", q and k normed per head"
	}
	mlp := "down · (silu(gate · x) · (up · x))"
	if c.ReLU {
		mlp = "down · relu(up · x)"
	}
	if c.Experts > 0 {
		mlp = c.experts() + mlp
	}
	list = []Fact{{"norms", norms}, {"MLP", mlp}, {"biases", c.biases()}, {"positions", c.positions()}, {"windows", c.windows()}}
	if scales := c.scales(); scales != "" {
		list = append(list, Fact{"factors", scales})
	}
	return list
}

// scales says what is multiplied, and what is capped.
func (c *Config) scales() string {
	var list []string
	for _, s := range []struct {
		of string
		by float64
	}{
		{"embeddings by %.6g", c.EmbeddingScale}, {"what attention and MLP give by %.6g", c.ResidualScale}, {"attention's logits by %.6g", c.AttentionScale},
		{"attention's logits up to %.6g", c.AttentionCap}, {"logits by %.6g", c.LogitScale}, {"logits up to %.6g", c.LogitCap},
	} {
		if s.by != 0 {
			list = append(list, fmt.Sprintf(s.of, s.by))
		}
	}
	if c.Parallel {
		list = append(list, "attention and MLP side by side")
	}
	return strings.Join(list, ", ")
}

// experts says what the MLPs are a mixture of.
func (c *Config) experts() string {
	shares := "probabilities"
	if c.Divide {
		shares = "probabilities divided by their sum"
	}
	text := fmt.Sprintf("%d experts of %d neurons, %d for each token by their %s, ", c.Experts, c.Neurons, c.PerToken, shares)
	if dense := c.layersWhere(func(l int) bool { return !c.Sparse(l) }); dense != "" {
		text += fmt.Sprintf("none in layers %s, ", dense)
	}
	return text + "each "
}

func (c *Config) biases() string {
	var list []string
	for _, b := range []struct {
		there bool
		of    string
	}{{c.AttentionBias, "q, k, v"}, {c.OutputBias, "o"}, {c.MLPBias, "MLP"}} {
		if b.there {
			list = append(list, b.of)
		}
	}
	if list == nil {
		return "none"
	}
	return strings.Join(list, ", ")
}

func (c *Config) positions() string {
	if c.LearnedPositions {
		return "learned"
	}
	if c.layersWhere(c.Rotary) == "" {
		return "none"
	}
	s := c.RopeScaling
	text := fmt.Sprintf("rotary, theta %v", c.RopeTheta)
	if c.LocalTheta > 0 {
		text += fmt.Sprintf(" (%v in layers with a window)", c.LocalTheta)
	}
	if c.RotaryDim > 0 {
		text += fmt.Sprintf(", %d channels of %d", c.RotaryDim, c.HeadDim)
	}
	if c.Interleaved {
		text += ", neighbours together"
	}
	switch s.Type {
	case RopeNone:
	case RopeLinear:
		text += fmt.Sprintf(", linear: divided by %v", s.Factor)
	case RopeDynamic:
		text += fmt.Sprintf(", dynamic: as they are up to %d tokens", c.MaxPositionEmbeddings)
	case RopeLong:
		text += fmt.Sprintf(", longrope: other factors beyond %d tokens, cosines and sines by %.6g", s.OriginalMaxPosition, s.AttentionFactor)
	default:
		text += fmt.Sprintf(", %s: by %v from %d tokens", s.Type, s.Factor, s.OriginalMaxPosition)
		if s.Type == RopeYarn {
			text += fmt.Sprintf(", betas %v and %v, cosines and sines by %.6g", s.BetaFast, s.BetaSlow, s.AttentionFactor)
		} else {
			text += fmt.Sprintf(", frequency factors %v and %v", s.LowFreqFactor, s.HighFreqFactor)
		}
	}
	if s.QueryBeta != 0 {
		text += fmt.Sprintf("; queries grow beyond %d tokens, where the context ends: that is not supported", s.OriginalMaxPosition)
	}
	if none := c.layersWhere(func(l int) bool { return !c.Rotary(l) }); none != "" {
		text += "; none in layers " + none
	}
	return text
}

// windows says which layers see how many tokens.
func (c *Config) windows() string {
	var list []string
	seen := map[int]bool{}
	for l := range c.Layers {
		if w := c.Window(l); w > 0 && !seen[w] {
			seen[w] = true
			list = append(list, fmt.Sprintf("%d tokens in layers %s", w, c.layersWhere(func(l int) bool { return c.Window(l) == w })))
		}
	}
	if list == nil {
		return "none"
	}
	return strings.Join(list, "; ")
}

// layersWhere lists layers, runs of them as 3-7.
func (c *Config) layersWhere(is func(layer int) bool) string {
	var list []string
	for l := 0; l < c.Layers; l++ {
		if !is(l) {
			continue
		}
		first := l
		for l+1 < c.Layers && is(l+1) {
			l++
		}
		if first == l {
			list = append(list, fmt.Sprint(first))
		} else {
			list = append(list, fmt.Sprintf("%d-%d", first, l))
		}
	}
	return strings.Join(list, ", ")
}
