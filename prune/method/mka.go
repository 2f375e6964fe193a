package method

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
)

func init() {
	register(Entry{Name: "mka", Short: "sum the two last layers by similarity, again and again", Place: 70, New: func(Options) Method { return MKA{} }})
}

// MKA sums the parameters of the two last layers, again and again, in ratios of how similar each layer is to all: the first gets
// σ(s_i/(s_i+s_j)), the second the rest, s being scored once on the model at the start.
//
// The method as published measures similarity by mutual information of diffusion-map embeddings of the layers' outputs; here s_i is the
// mean over all layers of the cosine of the outputs of the calibration windows' last tokens (ours, cheaper: compare with care). Source:
// Pruning via Merging: Compressing LLMs via Manifold Alignment Based Layer Merging, arXiv 2406.16330.
type MKA struct{}

// Name is "mka".
func (MKA) Name() string { return "mka" }

// Needs is a calibration corpus.
func (MKA) Needs() Needs { return Needs{Corpus: true} }

// Options lists none.
func (MKA) Options() []string { return nil }

// Cost is one pass of the model.
func (MKA) Cost(layers, _ int) (passes, heads int) { return layers, 0 }

// Effective is the same.
func (m MKA) Effective() Method { return m }

// Check refuses protected layers among those that would be merged.
func (m MKA) Check(s *State, target int) error {
	if err := s.sums(m.Name()); err != nil {
		return err
	}
	for l := target - 1; l < len(s.Tree); l++ {
		if s.protects(l, l+1) {
			return fmt.Errorf("mka merges the layers from %d on into one; layer %d is protected", target-1, l)
		}
	}
	return nil
}

// Step merges the two last layers.
func (MKA) Step(ctx context.Context, s *State, _ int, progress func(done, total int)) (*Step, error) {
	layers := len(s.Model.Layers)
	var similarity Scores
	if s.Memo == nil {
		if err := s.score(ctx); err != nil {
			return nil, err
		}
		if err := s.Scorer.All(ctx, layers, progress); err != nil {
			return nil, err
		}
		similarity = make(Scores, layers)
		for i := range layers {
			for j := range layers {
				similarity[i] += meanCosine(s.Scorer.LastToken(i+1), s.Scorer.LastToken(j+1), s.Model.Config.HiddenSize) / float64(layers)
			}
		}
		var err error
		if s.Memo, err = json.Marshal(similarity); err != nil {
			return nil, err
		}
	} else if err := json.Unmarshal(s.Memo, &similarity); err != nil {
		return nil, err
	}
	if len(similarity) < layers {
		return nil, fmt.Errorf("mka: the checkpoint has the similarities of %d layers, the model %d", len(similarity), layers)
	}
	i, j := similarity[layers-2], similarity[layers-1]
	ratio := 1 / (1 + math.Exp(-i/(i+j)))
	step := &Step{From: layers, Operation: Sum, MergeList: []int{layers - 2, layers - 1}, Ratio: []float64{ratio, 1 - ratio}, Scores: similarity[:layers]}
	return step, s.Apply(ctx, step)
}
