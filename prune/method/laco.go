package method

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/run"
)

func init() {
	register(Entry{Name: "laco", Short: "collapse layers into the one before while the output stays similar", Place: 60, New: func(o Options) Method { return LaCo{o.LayersPerMerge, o.Similarity} }})
}

// LaCo collapses up to LayersPerMerge−1 layers into the one before them, θ_l + Σ_k (θ_{l+k} − θ_l), going down from the last layers, wherever
// the output of the collapsed model stays similar to the original's: the mean over the calibration windows of the cosine of their last
// tokens' states after the final norm is above Similarity. After a merge at l it goes on Interval layers further down.
//
// LaCo as published stops at the bottom, at whatever depth that is. To reach a given one, the walk starts again from the top with a
// threshold lowered by 0.05 (ours). Source: LaCo: Large Language Model Pruning via Layer Collapse, arXiv 2402.11187.
type LaCo struct {
	LayersPerMerge int     `json:"merge_item"` // layers that become one at most; 0 is 4
	Similarity     float64 `json:"similarity"` // the first threshold; 0 is 0.95
}

const (
	lacoInterval = 2 // layers between two merges of one walk: the paper's I
	lacoLowering = 0.05
)

// Name is "laco".
func (LaCo) Name() string { return "laco" }

// Needs is a calibration corpus.
func (LaCo) Needs() Needs { return Needs{Corpus: true} }

// Options lists those that have a meaning for laco.
func (LaCo) Options() []string {
	return []string{"method.LaCo.LayersPerMerge", "method.LaCo.Similarity"}
}

// Cost counts one walk down the layers for each merge.
func (c LaCo) Cost(layers, target int) (passes, heads int) {
	return steps(layers, target, 1, func(from int) (int, int) { return from * (from + 1) / 2, 0 })
}

// Effective is the method with every default spelled out, as a lineage records it.
func (c LaCo) Effective() Method { return c.defaults() }

func (c LaCo) defaults() LaCo {
	if c.LayersPerMerge == 0 {
		c.LayersPerMerge = 4
	}
	if c.Similarity == 0 {
		c.Similarity = 0.95
	}
	return c
}

// Check refuses options out of range and targets that protected layers are in the way of.
func (c LaCo) Check(s *State, target int) error {
	c = c.defaults()
	switch {
	case c.LayersPerMerge < 2:
		return fmt.Errorf("merge item %d, expected 2 or more", c.LayersPerMerge)
	case !(c.Similarity > -1 && c.Similarity <= 1):
		return fmt.Errorf("similarity %v, expected more than -1 and at most 1", c.Similarity)
	}
	if err := s.sums(c.Name()); err != nil {
		return err
	}
	if reach := (CoMe{Repeat: true}).Reach(s.Tree, s.Protected, nil); target < reach {
		return fmt.Errorf("%d target layers: with the protected layers left alone, the model reaches %d; protect fewer (prune.Options.Protect)", target, reach)
	}
	return nil
}

// walk is where LaCo is.
type walk struct {
	Output    []byte  `json:"output"` // of the original: the last tokens' states, f32
	Hidden    int     `json:"hidden"`
	Threshold float64 `json:"threshold"`
	At        int     `json:"at"` // the layer to try next
}

// Step collapses once, going no deeper than target layers.
func (c LaCo) Step(ctx context.Context, s *State, target int, progress func(done, total int)) (*Step, error) {
	c = c.defaults()
	if err := s.score(ctx); err != nil {
		return nil, err
	}
	layers := len(s.Model.Layers)
	w := walk{Hidden: s.Model.Config.HiddenSize, Threshold: c.Similarity, At: layers - 2}
	if s.Memo != nil {
		if err := json.Unmarshal(s.Memo, &w); err != nil {
			return nil, err
		}
		if w.Hidden != s.Model.Config.HiddenSize || len(w.Output) == 0 || w.At > layers-2 || !(w.Threshold >= -1-lacoLowering && w.Threshold <= 1) {
			return nil, fmt.Errorf("laco: the checkpoint goes on at layer %d of %d, with states of %d channels and a similarity of %v", w.At, layers, w.Hidden, w.Threshold)
		}
	} else {
		var err error
		same := s.Model
		if w.Output, err = s.Scorer.LastStates(ctx, run.Candidate{From: layers - 1, Make: func(context.Context) (*model.Model, error) { return same, nil }}); err != nil {
			return nil, err
		}
	}
	known := map[int]float64{} // similarities by layer: a walk that starts again meets the same model
	for {
		if w.At < 0 {
			w.At, w.Threshold = layers-2, w.Threshold-lacoLowering
			if w.Threshold < -1-lacoLowering {
				return nil, model.Lasting(fmt.Errorf("laco: no layers can be collapsed"))
			}
		}
		span := min(c.LayersPerMerge, layers-w.At, layers-target+1)
		if progress != nil {
			progress(layers-2-w.At, layers-1)
		}
		if s.protects(w.At, w.At+span) {
			w.At--
			continue
		}
		step := &Step{From: layers, Operation: Sum}
		for i := range span {
			step.MergeList = append(step.MergeList, w.At+i)
			step.Ratio = append(step.Ratio, 1)
		}
		step.Ratio[0] = float64(2 - span) // θ_l + Σ (θ_{l+k} − θ_l) = (1 − (span−1))·θ_l + Σ θ_{l+k}
		similarity, ok := known[w.At]
		if !ok {
			output, err := s.Scorer.LastStates(ctx, s.candidate(step))
			if err == nil && len(output) != len(w.Output) {
				err = fmt.Errorf("laco: the checkpoint has %d bytes of states, the corpus %d", len(w.Output), len(output))
			}
			if err != nil {
				return nil, err
			}
			similarity = meanCosine(output, w.Output, w.Hidden)
			known[w.At] = similarity
		}
		if !(similarity > w.Threshold) {
			w.At--
			continue
		}
		step.Scores = Scores{similarity, w.Threshold}
		w.At = min(w.At-lacoInterval, layers-span-1)
		var err error
		if s.Memo, err = json.Marshal(w); err != nil {
			return nil, err
		}
		return step, s.Apply(ctx, step)
	}
}

// meanCosine is the mean over the rows of two matrices of f32 of their cosine.
func meanCosine(a, b []byte, cols int) float64 {
	rows := len(a) / 4 / cols
	x, y := make([]float32, rows*cols), make([]float32, rows*cols)
	dtype.F32.Decode(x, a)
	dtype.F32.Decode(y, b)
	total := 0.0
	for r := range rows {
		var xy, xx, yy float64
		for c := r * cols; c < (r+1)*cols; c++ {
			p, q := float64(x[c]), float64(y[c])
			xy, xx, yy = xy+p*q, xx+p*p, yy+q*q
		}
		total += xy / math.Sqrt(xx*yy)
	}
	return total / float64(rows)
}
