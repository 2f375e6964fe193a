package ref

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Options of CoMe. The zero value of each but TargetLayers is the paper's default.
type Options struct {
	TargetLayers   int
	LayersPerMerge int     // layers merged in a step, 0 = 2; the last step takes fewer if it would go below the target
	Repeat         bool    // a merged layer may be merged again
	RatioPower     float64 // power of BI in the ratio, 0 = 1
	RatioFloor     float64 // floor of the largest ratio
	TiledMask      bool    // choose the query heads as the released code does, see Merge
	// Round is applied to averaged weights, to store a merged layer in a narrow format, see RoundBF16; nil = none.
	Round func(float64) float64
}

// RoundBF16 rounds to the nearest bfloat16, ties to even.
func RoundBF16(x float64) float64 {
	bits := math.Float32bits(float32(x))
	return float64(math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff))
}

// Tree tells where a layer comes from: from one layer of the unpruned model, or from merged ones.
type Tree struct {
	Layer  int    // of the unpruned model, when Merged is nil
	Merged []Tree // in the order of concatenation
}

// Originals is the number of layers of the unpruned model inside t.
func (t Tree) Originals() int {
	if t.Merged == nil {
		return 1
	}
	n := 0
	for _, part := range t.Merged {
		n += part.Originals()
	}
	return n
}

// MarshalJSON writes a layer as its number and a merge as a nested array: [0,1,[2,3]].
func (t Tree) MarshalJSON() ([]byte, error) {
	if t.Merged == nil {
		return json.Marshal(t.Layer)
	}
	return json.Marshal(t.Merged)
}

// String is the JSON of t.
func (t Tree) String() string {
	text, _ := t.MarshalJSON() // of ints only, it has no error
	return string(text)
}

// Scores are the figures of ALGORITHM §1 for one model: means over the calibration tokens.
type Scores struct {
	BI         []float64   // [layers]
	SBI        []float64   // [layers−span+1], mean over the last token of each window
	SBITokens  []float64   // [layers−span+1], mean over all tokens
	HeadGroups [][]float64 // [layers][kvHeads]
	Neurons    [][]float64 // [layers][ffn], or [experts] of a layer that has some
}

// Step tells what one step did; layer numbers are those of the model before it.
type Step struct {
	Scores           Scores // of the model before it
	MergeList        []int
	Ratio            []float64
	KVHeads, Neurons [][]int // kept of each merged layer
}

// Pruned is a model on its way down, with all that the next step needs.
type Pruned struct {
	Model       *Model
	Tree        []Tree // of every layer of Model
	Steps       []Step // so far
	Calibration *Calibration
}

// Start is m unpruned and calibrated. Several CoMe may go on from one Start.
func Start(m *Model, windows [][]int) Pruned {
	p := Pruned{Model: m, Tree: make([]Tree, len(m.Layers)), Calibration: Calibrate(m, windows)}
	for l := range p.Tree {
		p.Tree[l].Layer = l
	}
	return p
}

// CoMe is Start and Pruned.CoMe in one.
func CoMe(m *Model, windows [][]int, o Options) (Pruned, error) { return Start(m, windows).CoMe(o) }

// CoMe merges layers until TargetLayers are left (ALGORITHM §5). Scores come from the windows, each a sequence by itself.
// p stays as it is; the result shares the weights of the layers that were not merged.
func (p Pruned) CoMe(o Options) (Pruned, error) {
	if o.TargetLayers < 1 || o.TargetLayers > len(p.Tree) {
		return p, fmt.Errorf("ref: come: %d layers to be pruned to %d", len(p.Tree), o.TargetLayers)
	}
	for len(p.Tree) > o.TargetLayers {
		step, merged, err := p.step(o)
		if err != nil {
			return p, err
		}
		first, span := step.MergeList[0], len(step.MergeList)
		p.Steps = append(slices.Clone(p.Steps), step)
		p.Tree = splice(p.Tree, first, span, Tree{Merged: slices.Clone(p.Tree[first : first+span])})
		p.Calibration = p.Calibration.replace(first, span, merged)
		p.Model = p.Calibration.model
	}
	return p, nil
}

// step chooses the layers to merge next and merges them.
func (p Pruned) step(o Options) (Step, Layer, error) {
	m, tree := p.Model, p.Tree
	span := o.LayersPerMerge
	if span == 0 {
		span = 2
	}
	span = min(span, len(tree)-o.TargetLayers+1)

	s := Step{Scores: p.Calibration.Scores(span)}
	first := -1
	for l, sbi := range s.Scores.SBI {
		mixed := slices.ContainsFunc(m.Layers[l:l+span], func(other Layer) bool { return other.Router.Rows != m.Layers[l].Router.Rows }) // dense and sparse
		touched := slices.ContainsFunc(tree[l:l+span], func(t Tree) bool { return t.Merged != nil })
		if !mixed && (o.Repeat || !touched) && (first < 0 || sbi < s.Scores.SBI[first]) {
			first = l
		}
	}
	if first < 0 {
		return s, Layer{}, fmt.Errorf("ref: come: %d layers are as few as %d at a time can reach without merging a merged layer again", len(tree), span)
	}
	s.MergeList = sequence(first, span)

	power := o.RatioPower
	if power == 0 {
		power = 1
	}
	s.Ratio = FusionRatio(s.Scores.BI[first:first+span], power, o.RatioFloor, Tree{Merged: tree[first : first+span]}.Originals())
	heads, neurons := Counts(s.Ratio, m.KVHeads), Counts(s.Ratio, len(s.Scores.Neurons[first]))
	for i, l := range s.MergeList {
		s.KVHeads = append(s.KVHeads, Top(s.Scores.HeadGroups[l], heads[i]))
		s.Neurons = append(s.Neurons, Top(s.Scores.Neurons[l], neurons[i]))
	}
	merged := Merge(m.Config, m.Layers[first:first+span], s.KVHeads, s.Neurons, s.Ratio, o.TiledMask)
	if o.Round != nil {
		for _, averaged := range [][]float64{merged.InputNorm, merged.InputNormBias, merged.PostNorm, merged.PostNormBias, merged.AttentionNorm, merged.FFNNorm, merged.QNorm, merged.KNorm, merged.OBias, merged.DownBias} {
			for i, v := range averaged {
				averaged[i] = o.Round(v)
			}
		}
	}
	return s, merged, nil
}

// Calibration holds the pass of a model over the calibration windows.
type Calibration struct {
	model   *Model
	windows [][]int
	states  [][]Mat     // [layers+1][windows], boundary by boundary
	heads   [][]float64 // [layers][heads·headDim], Σ |o| over all tokens
	ffn     [][]float64 // [layers][ffn], Σ |a| over all tokens; [experts], Σ of their shares
}

// Calibrate passes all windows through one layer, then all through the next.
func Calibrate(m *Model, windows [][]int) *Calibration {
	c := &Calibration{model: m, windows: windows}
	embedded := make([]Mat, len(windows))
	for w, tokens := range windows {
		embedded[w] = m.embed(tokens, 0)
	}
	c.states = [][]Mat{embedded}
	c.run()
	return c
}

// run computes what is missing above the last state.
func (c *Calibration) run() {
	for l := len(c.states) - 1; l < len(c.model.Layers); l++ {
		y := make([]Mat, len(c.windows))
		heads, ffn := make([][]float64, len(c.windows)), make([][]float64, len(c.windows))
		parallel(len(c.windows), func(w int) {
			var taps Taps
			y[w], taps = c.model.Layers[l].Forward(c.model.Config, c.states[l][w])
			heads[w], ffn[w] = AbsSum(taps.Attention), AbsSum(taps.FFN)
		})
		c.states = append(c.states, y)
		c.heads = append(c.heads, columnSums(heads))
		c.ffn = append(c.ffn, columnSums(ffn))
	}
}

// replace is the calibration of the model with merged in place of span layers from first on. Nothing below changes.
func (c *Calibration) replace(first, span int, merged Layer) *Calibration {
	m := *c.model
	m.Layers = splice(m.Layers, first, span, merged)
	next := &Calibration{
		model: &m, windows: c.windows,
		states: slices.Clone(c.states[:first+1]), heads: slices.Clone(c.heads[:first]), ffn: slices.Clone(c.ffn[:first]),
	}
	next.run()
	return next
}

// Loss is Model.Loss on the calibration windows.
func (c *Calibration) Loss() float64 {
	m, last := c.model, c.states[len(c.model.Layers)]
	means := make([]float64, len(last))
	parallel(len(last), func(w int) {
		means[w] = mean(CrossEntropy(m.LogitsOf(last[w]), shifted(c.windows[w]))[:last[w].Rows-1])
	})
	return mean(means)
}

// Scores gives the scores of the model for merges of span layers.
func (c *Calibration) Scores(span int) Scores {
	m, layers, tokens := c.model, len(c.model.Layers), 0
	for _, w := range c.windows {
		tokens += len(w)
	}
	states := slices.Clone(c.states)
	states[layers] = make([]Mat, len(c.windows)) // after the final norm, as HF's hidden_states[-1]
	for w, x := range c.states[layers] {
		states[layers][w] = m.finalNorm(x)
	}

	var s Scores
	for l := range layers {
		var bi []float64
		for w, x := range states[l] {
			bi = append(bi, BlockInfluence(x, states[l+1][w])...)
		}
		s.BI = append(s.BI, mean(bi))
		s.HeadGroups = append(s.HeadGroups, groupMeans(channelSensitivity(c.heads[l], tokens, m.Layers[l].O), m.KVHeads))
		if m.Layers[l].Router.Rows > 0 {
			s.Neurons = append(s.Neurons, load(c.ffn[l], tokens))
		} else {
			s.Neurons = append(s.Neurons, channelSensitivity(c.ffn[l], tokens, m.Layers[l].Down))
		}
	}
	for l := range layers - span + 1 {
		var all, last []float64
		for w, x := range states[l] {
			d := AngularDistance(x, states[l+span][w])
			all, last = append(all, d...), append(last, d[len(d)-1])
		}
		s.SBI, s.SBITokens = append(s.SBI, mean(last)), append(s.SBITokens, mean(all))
	}
	return s
}

// splice gives a copy of s with one element in place of span from first on.
func splice[T any](s []T, first, span int, with T) []T {
	return slices.Concat(s[:first], []T{with}, s[first+span:])
}

func columnSums(rows [][]float64) []float64 {
	sum := make([]float64, len(rows[0]))
	for _, row := range rows {
		view(sum).Add(view(sum), view(row))
	}
	return sum
}
