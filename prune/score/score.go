// Package score measures how much each layer, head and neuron of a model matters on a calibration corpus, on the device: block
// influence, skip block influence and channel sensitivities of CoMe (arXiv 2510.15304).
package score

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Scores are the figures of one model, means over the calibration tokens.
type Scores struct {
	BI      []float64   // [layers] block influence: mean over tokens of 1 − cos of the states around the layer
	Heads   [][]float64 // [layers][kv_heads] sensitivity of each group of query heads
	Neurons [][]float64 // [layers][intermediate_size]
}

// Scorer scores a model and, after a merge, only what the merge changed. The states between layers stay with it.
type Scorer struct {
	Scores  Scores
	f       *model.Forward
	d       *vk.Device
	m       *model.Model
	last    [][]byte // by boundary: the last token's state of each window, [windows, hidden] f32; the final one normed
	terms   []op.Tensor
	lastRow []op.Tensor // by batch: the index of each window's last token

	rows, other, heads, neurons, part, columns, sens op.Tensor
	bufs                                             []*vk.Buffer
}

// New prepares to score m, or models with the same layers in smaller number, on windows of equal length.
func New(ctx context.Context, d *vk.Device, m *model.Model, windows [][]uint32) (*Scorer, error) {
	f, err := model.NewForward(d, m, windows)
	if err != nil {
		return nil, err
	}
	s := &Scorer{f: f, d: d}
	if err := s.allocate(ctx, m.Config); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Scorer) allocate(ctx context.Context, c *model.Config) (err error) {
	tensor := func(name string, rows, cols int) op.Tensor {
		if err != nil {
			return op.Tensor{}
		}
		var b *vk.Buffer
		if b, err = s.d.NewBuffer(name, 4*int64(rows)*int64(cols), vk.OnDevice); err != nil {
			return op.Tensor{}
		}
		s.bufs = append(s.bufs, b)
		return op.Of(b.All(), dtype.F32, rows, cols)
	}
	n, q, window, most := len(s.f.Windows()), c.Heads*c.HeadDim, s.f.Window(), 0
	for _, b := range s.f.Batches() {
		most = max(most, b.Windows())
		s.terms = append(s.terms, tensor("block influence", 1, b.Windows()*window))
		s.lastRow = append(s.lastRow, tensor("last tokens", 1, b.Windows()))
	}
	s.rows, s.other = tensor("last tokens' states", n, c.HiddenSize), tensor("last tokens' states", n, c.HiddenSize)
	s.heads, s.neurons = tensor("attention activity", n, q), tensor("FFN activity", n, c.IntermediateSize)
	s.part = tensor("activity of a batch", most, max(q, c.IntermediateSize))
	s.columns, s.sens = tensor("column sums", 1, max(q, c.IntermediateSize)), tensor("sensitivities", 1, max(c.KVHeads, c.IntermediateSize))
	if err != nil {
		return err
	}
	for i, b := range s.f.Batches() {
		var raw []byte
		for w := range b.Windows() {
			raw = binary.LittleEndian.AppendUint32(raw, uint32((w+1)*window-1))
		}
		if err := s.d.Upload(ctx, s.lastRow[i].View, raw); err != nil {
			return err
		}
	}
	return nil
}

// Close frees what the Scorer holds on the device.
func (s *Scorer) Close() error {
	err := s.f.Close()
	s.d.Free(s.bufs...)
	return err
}

// Trim drops weights from the device that are not in use, to make room for a merge.
func (s *Scorer) Trim() { s.f.Trim() }

// LayersRun counts the layers that were run through all windows so far.
func (s *Scorer) LayersRun() int { return s.f.LayersRun }

// Update scores m. from is the first layer that differs from the model of the last Update: the states entering it are still valid,
// and the layers below are not run again. progress, if not nil, is called after each layer.
func (s *Scorer) Update(ctx context.Context, m *model.Model, from int, progress func(done, total int)) error {
	layers := len(m.Layers)
	if s.m == nil || from == 0 {
		from = 0
		if err := s.f.Embed(ctx, m); err != nil {
			return err
		}
		s.last = [][]byte{nil}
		if err := s.keepLast(ctx, 0); err != nil {
			return err
		}
	}
	if s.m != nil {
		for b := from + 1; b <= len(s.m.Layers); b++ {
			s.f.Drop(b) // at once, so that their memory serves the new ones
		}
	}
	s.m = m
	s.last = s.last[:from+1]
	s.Scores.BI, s.Scores.Heads, s.Scores.Neurons = s.Scores.BI[:from], s.Scores.Heads[:from], s.Scores.Neurons[:from]
	for l := from; l < layers; l++ {
		if err := s.layer(ctx, m, l); err != nil {
			return err
		}
		if progress != nil {
			progress(l+1-from, layers-from)
		}
	}
	return nil
}

// layer runs a layer and takes its figures from what passes by.
func (s *Scorer) layer(ctx context.Context, m *model.Model, l int) error {
	c, r, window, final := m.Config, s.f.Recorder(), s.f.Window(), l+1 == len(m.Layers)
	batch := 0
	visit := func(step model.Step) error {
		out, begin, n := step.Out, step.Batch.Begin, step.Batch.Windows()
		s.activity(r, s.heads, begin, n, step.Attention, window)
		s.activity(r, s.neurons, begin, n, step.MLP, window)
		if final {
			out = s.f.FinalNorm(m, out) // as Hugging Face's hidden_states[-1] is
		}
		op.BlockInfluence(r, s.terms[batch], step.In, out)
		op.GatherRows(r, s.rows, begin, out, s.lastRow[batch])
		batch++
		return r.Err()
	}
	var heads, neurons []float64
	done := func(w []op.Tensor) (err error) {
		if heads, err = s.sensitivity(ctx, s.heads, w[model.O], c.Heads/c.KVHeads*c.HeadDim); err != nil {
			return err
		}
		neurons, err = s.sensitivity(ctx, s.neurons, w[model.Down], 1)
		return err
	}
	if err := s.f.Layer(ctx, m, l, visit, done); err != nil {
		return err
	}
	bi, tokens := 0.0, 0
	for _, t := range s.terms {
		terms, err := s.download(ctx, t)
		if err != nil {
			return err
		}
		for _, v := range terms {
			bi += v
		}
		tokens += len(terms)
	}
	raw := make([]byte, s.rows.Size())
	if err := s.d.Download(ctx, raw, s.rows.View); err != nil {
		return err
	}
	s.last = append(s.last, raw)
	s.Scores.BI = append(s.Scores.BI, bi/float64(tokens))
	s.Scores.Heads, s.Scores.Neurons = append(s.Scores.Heads, heads), append(s.Scores.Neurons, neurons)
	return nil
}

// activity adds a batch's rows to sums [windows, channels], each the sum of |x| over a window. The detour over part is for rows
// that do not start where a binding may.
func (s *Scorer) activity(r *vk.Recorder, sums op.Tensor, begin, n int, x op.Tensor, window int) {
	part := op.Of(s.part.View, dtype.F32, n, x.Cols)
	op.AbsSum(r, part, x, window)
	r.Copy(sums.View.Slice(int64(begin)*sums.RowBytes(), part.Size()), part.View)
}

// sensitivity multiplies mean activities with the column sums of |w|, and averages over groups of width channels.
func (s *Scorer) sensitivity(ctx context.Context, sums, w op.Tensor, width int) ([]float64, error) {
	r := s.f.Recorder()
	columns, out := op.Of(s.columns.View, dtype.F32, 1, w.Cols), op.Of(s.sens.View, dtype.F32, 1, w.Cols/width)
	op.ColumnAbsSum(r, columns, w)
	op.Sensitivity(r, out, sums, columns, width, len(s.f.Windows())*s.f.Window())
	if err := r.Wait(ctx); err != nil {
		return nil, err
	}
	values, err := s.download(ctx, out)
	for i, v := range values {
		if v-v != 0 {
			return nil, fmt.Errorf("activations are not finite: the sensitivity of unit %d is %v", i, v)
		}
	}
	return values, err
}

// keepLast fills last[boundary] from kept states.
func (s *Scorer) keepLast(ctx context.Context, boundary int) error {
	r, batch := s.f.Recorder(), 0
	err := s.f.States(ctx, boundary, func(b model.Batch, x op.Tensor) error {
		op.GatherRows(r, s.rows, b.Begin, x, s.lastRow[batch])
		batch++
		return r.Err()
	})
	if err := errors.Join(err, r.Wait(ctx)); err != nil {
		return err
	}
	s.last[boundary] = make([]byte, s.rows.Size())
	return s.d.Download(ctx, s.last[boundary], s.rows.View)
}

// SBI gives the skip block influence of every window of span layers: element l is the mean over the calibration windows' last
// tokens of arccos(cos(h_l, h_{l+span}))/π.
func (s *Scorer) SBI(ctx context.Context, span int) ([]float64, error) {
	if span < 1 || span > len(s.m.Layers) {
		return nil, fmt.Errorf("score: a window of %d layers, the model has %d", span, len(s.m.Layers))
	}
	r := s.f.Recorder()
	out := op.Of(s.sens.View, dtype.F32, 1, s.rows.Rows)
	if s.sens.Elements() < s.rows.Rows {
		b, err := s.d.NewBuffer("angles", 4*int64(s.rows.Rows), vk.OnDevice)
		if err != nil {
			return nil, err
		}
		defer s.d.Free(b)
		out = op.Of(b.All(), dtype.F32, 1, s.rows.Rows)
	}
	var sbi []float64
	for l := 0; l+span < len(s.last); l++ {
		if err := errors.Join(s.d.Upload(ctx, s.rows.View, s.last[l]), s.d.Upload(ctx, s.other.View, s.last[l+span])); err != nil {
			return nil, err
		}
		op.AngularDistance(r, out, s.rows, s.other)
		if err := r.Wait(ctx); err != nil {
			return nil, err
		}
		angles, err := s.download(ctx, out)
		if err != nil {
			return nil, err
		}
		sum := 0.0
		for _, a := range angles {
			sum += a
		}
		sbi = append(sbi, sum/float64(len(angles)))
	}
	return sbi, nil
}

func (s *Scorer) download(ctx context.Context, t op.Tensor) ([]float64, error) {
	raw, narrow, wide := make([]byte, t.Size()), make([]float32, t.Elements()), make([]float64, t.Elements())
	if err := s.d.Download(ctx, raw, t.View); err != nil {
		return nil, err
	}
	t.DType.Decode(narrow, raw)
	for i, v := range narrow {
		wide[i] = float64(v)
	}
	return wide, nil
}
