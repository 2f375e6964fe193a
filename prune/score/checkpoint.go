package score

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/run"
)

// checkpointMagic begins a checkpoint. The number is the version of what follows: a checkpointHeader, and a zstd stream of, in order,
// all little-endian,
//
//	heights    [windows]            u32
//	there, ran [layers+1, windows], [layers, windows]  u8, 0 or 1
//	terms      [terms, windows]     f64, NaN where not known
//	before     [before, windows]    f64, the same
//	last       [layers+1, windows, hidden]  f32
//	and for each layer influence [windows, window], heads [windows, heads·head_dim], neurons [windows, intermediate]  f32
const checkpointMagic = "vkcome scores 01"

// checkpointHeader is the shapes of a checkpoint, the search's span and the runs so far.
type checkpointHeader struct {
	Corpus                                             [64]byte // corpus.Hash
	Windows, Window, Layers, Hidden, Channels, Neurons uint32
	Span, Terms, Before                                uint32
	RunsAll, RunsLast                                  uint64
}

// checkpointWindow bounds the memory that zstd takes for a stream.
const checkpointWindow = 8 << 20

// Checkpoint is all that the Scorer knows, for Restore to continue with: after an Update, or after a Select and what came of it. It
// holds no hidden states but those of last tokens.
func (s *Scorer) Checkpoint() ([]byte, error) {
	if s.m == nil {
		return nil, errors.New("score: there is nothing to keep before the first Update")
	}
	runs := s.Work().Runs
	h := s.shapes(len(s.seen))
	h.Span, h.Terms, h.Before = uint32(s.span), uint32(len(s.search.terms)), uint32(len(s.search.before))
	h.RunsAll, h.RunsLast = uint64(runs.All), uint64(runs.Last)
	var out bytes.Buffer
	out.WriteString(checkpointMagic)
	if err := binary.Write(&out, binary.LittleEndian, h); err != nil {
		return nil, fmt.Errorf("score: checkpoint: %w", err)
	}
	z, err := zstd.NewWriter(&out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(checkpointWindow), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("score: checkpoint: %w", err)
	}
	write := func(raw []byte) {
		if err == nil {
			_, err = z.Write(raw)
		}
	}
	heights := make([]byte, 0, 4*h.Windows)
	for i, b := range s.batches {
		for range b.Windows() {
			heights = binary.LittleEndian.AppendUint32(heights, uint32(s.search.heights[i]))
		}
	}
	write(heights)
	for _, there := range s.there {
		write(s.perWindow(there))
	}
	for _, seen := range s.seen {
		write(s.perWindow(seen.ran))
	}
	for _, terms := range slices.Concat(s.search.terms, s.search.before) {
		raw := make([]byte, 0, 8*h.Windows)
		for _, v := range terms {
			raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(v))
		}
		write(raw)
	}
	for _, last := range s.last {
		write(last)
	}
	for _, seen := range s.seen {
		write(seen.influence)
		write(seen.heads)
		write(seen.neurons)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		return nil, fmt.Errorf("score: checkpoint: %w", err)
	}
	return out.Bytes(), nil
}

// shapes is the header for a model of some layers.
func (s *Scorer) shapes(layers int) (h checkpointHeader) {
	c, windows := s.parts[0].f.Config(), s.windows
	copy(h.Corpus[:], corpus.Hash(windows))
	h.Windows, h.Window, h.Layers = uint32(len(windows)), uint32(len(windows[0])), uint32(layers)
	h.Hidden, h.Channels, h.Neurons = uint32(c.HiddenSize), uint32(c.Heads*c.HeadDim), uint32(c.MostUnits())
	return h
}

// perWindow gives each window, as a byte, what is true of its batch.
func (s *Scorer) perWindow(batches []bool) []byte {
	raw := make([]byte, len(s.windows))
	for i, b := range s.batches {
		if batches[i] {
			for w := b.Begin; w < b.End; w++ {
				raw[w] = 1
			}
		}
	}
	return raw
}

// Restore makes a new Scorer go on where another was when it wrote a checkpoint: what follows is the same to the bit, the scores that
// are NaN included where both have the same batches. The Scorer was made for the same windows and the model that the run began with. m
// is the model then; of one that a merge made since, the layers below from are those that the checkpoint's scores are of, and Update
// with from comes next. The hidden states are computed again up to from, as far as they were there, which no statistics count.
func (s *Scorer) Restore(ctx context.Context, m *model.Model, from int, data []byte) error {
	switch {
	case s.m != nil:
		return errors.New("score: a checkpoint is restored into a new Scorer")
	case from < 0 || from > len(m.Layers) || len(m.Layers) > s.most:
		return fmt.Errorf("score: a checkpoint up to layer %d of a model of %d, the run began with %d", from, len(m.Layers), s.most)
	}
	if err := s.restore(ctx, m, from, data); err != nil {
		return fmt.Errorf("score: checkpoint: %w", err)
	}
	return nil
}

func (s *Scorer) restore(ctx context.Context, m *model.Model, from int, data []byte) error {
	var h checkpointHeader
	if len(data) < len(checkpointMagic)+binary.Size(h) || string(data[:len(checkpointMagic)]) != checkpointMagic {
		return errors.New("it is not one of this version")
	}
	n, err := binary.Decode(data[len(checkpointMagic):], binary.LittleEndian, &h)
	if err != nil {
		return err
	}
	layers := int(h.Layers)
	want := s.shapes(layers)
	want.Span, want.Terms, want.Before, want.RunsAll, want.RunsLast = h.Span, h.Terms, h.Before, h.RunsAll, h.RunsLast
	switch {
	case h.Corpus != want.Corpus || h.Windows != want.Windows || h.Window != want.Window:
		return errors.New("it is of another calibration corpus")
	case h != want || layers < len(m.Layers) || layers > s.most:
		return fmt.Errorf("it is of a model of %d layers and other shapes than %s", layers, m.Name)
	case h.Span > h.Layers || h.Span == 0 && h.Terms > 0 || h.Span > 0 && h.Terms != h.Layers-h.Span+1 || h.Before > h.Layers:
		return fmt.Errorf("%d and %d lists of terms of %d layers", h.Terms, h.Before, layers)
	case h.RunsAll > math.MaxInt32*uint64(h.Windows) || h.RunsLast > math.MaxInt32*uint64(h.Windows):
		return errors.New("more runs than can be")
	}
	z, err := zstd.NewReader(bytes.NewReader(data[len(checkpointMagic)+n:]), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(checkpointWindow))
	if err != nil {
		return err
	}
	defer z.Close()
	st, err := s.readState(z, h)
	if err != nil {
		return err
	}
	if err := s.embed(ctx, m); err != nil {
		return err
	}
	s.m, s.span, s.last, s.there, s.seen = m, int(h.Span), st.last, st.there, st.seen
	s.search = search{layers: layers, span: s.span, batches: s.batches, terms: st.terms, before: st.before, devices: s.search.devices, advance: s.advance}
	for _, height := range st.heights {
		s.search.heights = append(s.search.heights, min(height, from))
	}
	s.search.known = s.leading(from) // more than the heights where stats were loaded
	if err := s.each(ctx, func(ctx context.Context, p *part) error { return p.regain(ctx, from) }); err != nil {
		return err
	}
	s.earlier = run.Runs{All: int(h.RunsAll), Last: int(h.RunsLast)}.Minus(s.Work().Runs)
	return nil
}

// regain computes the hidden states up to a boundary, as far as the heights say that they were there.
func (p *part) regain(ctx context.Context, boundary int) error {
	for l := range boundary {
		var on []int
		for b := range p.f.Corpus.Batches {
			if p.s.search.heights[p.first+b] > l {
				on = append(on, b)
			}
		}
		if len(on) == 0 {
			break
		}
		if err := p.f.LayerOn(ctx, p.s.m, l, on, nil); err != nil {
			return err
		}
		if err := p.f.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// state is what a checkpoint holds, by this Scorer's batches: of a batch it is there what is there of all its windows.
type state struct {
	heights       []int
	there         [][]bool
	terms, before [][]float64
	last          [][]byte
	seen          []layerScores
}

func (s *Scorer) readState(r io.Reader, h checkpointHeader) (st state, err error) {
	windows, layers := int(h.Windows), int(h.Layers)
	read := func(size int) []byte {
		raw := make([]byte, size)
		if err == nil {
			_, err = io.ReadFull(r, raw)
		}
		return raw
	}
	heights := make([]int, windows)
	raw := read(4 * windows)
	for w := range heights {
		if heights[w] = int(binary.LittleEndian.Uint32(raw[4*w:])); heights[w] > layers {
			err = errors.Join(err, fmt.Errorf("window %d came to boundary %d of %d layers", w, heights[w], layers))
		}
	}
	batches := s.batches
	flags := func(row int, what string, lowest int) []bool {
		raw, all := read(windows), slices.Repeat([]bool{true}, len(batches))
		for i, b := range batches {
			for w := b.Begin; w < b.End; w++ {
				all[i] = all[i] && raw[w] == 1
				if raw[w] > 1 || raw[w] == 0 && heights[w] >= lowest {
					err = errors.Join(err, fmt.Errorf("%s %d lacks window %d, which came to boundary %d", what, row, w, heights[w]))
					return all
				}
			}
		}
		return all
	}
	for b := 0; b <= layers && err == nil; b++ {
		st.there = append(st.there, flags(b, "boundary", b))
	}
	var ran [][]bool
	for l := 0; l < layers && err == nil; l++ {
		ran = append(ran, flags(l, "layer", l+1))
	}
	terms := func(n int) (lists [][]float64) {
		for c := 0; c < n && err == nil; c++ {
			raw, list := read(8*windows), make([]float64, windows)
			for w := range list {
				list[w] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*w:]))
				if list[w] < 0 || math.IsInf(list[w], 0) {
					err = errors.Join(err, fmt.Errorf("term %v of window %d", list[w], w))
				}
			}
			lists = append(lists, list)
		}
		return lists
	}
	st.terms = terms(int(h.Terms))
	for _, list := range st.terms {
		for _, b := range batches {
			if math.IsNaN(sum(list[b.Begin:b.End])) {
				copy(list[b.Begin:b.End], slices.Repeat([]float64{math.NaN()}, b.Windows()))
			}
		}
	}
	st.before = terms(int(h.Before))
	floats := func(cols uint32) []byte {
		raw := read(4 * windows * int(cols))
		for i := 0; i < len(raw); i += 4 {
			if v := binary.LittleEndian.Uint32(raw[i:]); v>>23&0xff == 0xff {
				err = errors.Join(err, errors.New("figures that are not finite"))
				break
			}
		}
		return raw
	}
	for b := 0; b <= layers && err == nil; b++ {
		st.last = append(st.last, floats(h.Hidden))
	}
	for l := 0; l < layers && err == nil; l++ {
		st.seen = append(st.seen, layerScores{ran[l], floats(h.Window), floats(h.Channels), floats(h.Neurons)})
	}
	if err != nil {
		return state{}, err
	}
	if n, end := io.ReadFull(r, make([]byte, 1)); n > 0 || !errors.Is(end, io.EOF) {
		return state{}, errors.Join(errors.New("it does not end where it should"), end)
	}
	for _, b := range batches {
		st.heights = append(st.heights, slices.Min(heights[b.Begin:b.End]))
	}
	return st, nil
}
