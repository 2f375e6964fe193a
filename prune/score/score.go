// Package score measures how much each layer, head and neuron of a model matters on a calibration corpus, on the device: block
// influence, skip block influence and channel sensitivities of CoMe (arXiv 2510.15304).
package score

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/vk"
)

// Scorer scores a model and, after a merge, only what the merge changed. The states between layers stay with it. Each of its devices
// runs a part of the windows; no score depends on how many there are.
type Scorer struct {
	ColumnSums int // layers whose column sums were computed

	parts   []*part
	options func(*vk.Device) run.Options
	windows [][]uint32
	batches []run.Batch // of the corpus: those of the parts, one after the other
	m       *model.Model
	most    int      // layers of the model that the Scorer was made for
	earlier run.Runs // what a run that this one continues did, less what it took to come back to it
	span    int      // of the search's terms, 0 if it has none
	search  search
	seen    []layerScores // by layer
	last    [][]byte      // by boundary: the last token's state of each window, [windows, hidden] f32; the final one normed
	there   [][]bool      // by boundary and batch: whether it is
	columns map[*model.Layer]columnSums
	held    held
}

// part is a device and the windows that it runs, a range of the corpus.
type part struct {
	s     *Scorer
	f     *run.Forward
	d     *vk.Device
	index int // of the part
	begin int // its first window
	first int // its first batch

	pending          []pending
	capacity         int        // slots
	slots            *vk.Buffer // results of some runs of a layer for a batch
	slotBytes        int64
	rows, other, out op.Tensor // pairs of states, and their angles
	scope            *vk.Scope // of the slots and pairs
	window           int       // tokens of a window
}

// layerScores is what the runs of a layer for all tokens gave, window by window.
type layerScores struct {
	ran            []bool // by batch
	influence      []byte // [windows·window] f32, of every token
	heads, neurons []byte // [windows, channels] f32: sums of |x|. Of the neurons, or of experts the shares of tokens that they got, there is room for as many as any layer has
}

// columnSums is Σ|w| over the rows of o_proj and down_proj; of experts there is none.
type columnSums [2][]byte // f32

// pending is a run of a layer for one of the part's batches whose results are in a slot and not yet read.
type pending struct {
	layer, batch int
	full         bool // not of the last tokens alone
}

// batchTokens is how many tokens of a calibration corpus go through a layer together. Scoring stops at any batch, so that smaller
// ones save more; these still fill the device: a CPU's matrix products are as fast from 256 rows on as with more, a GPU's nearly so
// from 1024.
func batchTokens(d *vk.Device) int {
	if d.Info.Kind == vk.CPU {
		return 256
	}
	return 1024
}

// Options are those that are best for scoring on a device.
func Options(d *vk.Device) run.Options {
	return run.Options{BatchTokens: batchTokens(d), KeepWeights: true}
}

// Room is options with the device memory set aside that scores of so many windows take, and a merge of layers: three tensors at a time, and
// what lies between them.
func Room(o run.Options, m *model.Model, windows int) run.Options {
	c := m.Config
	o.Beside += int64(windows) * 4 * int64(4*c.HiddenSize+3*c.Heads*c.HeadDim+3*c.MostUnits())
	for _, l := range m.Layers {
		for _, w := range l.Weights {
			o.Free = max(o.Free, 4*w.Size())
		}
	}
	return o
}

// New prepares to score m, or models with the same layers in smaller number, on windows of equal length.
func New(d *vk.Device, m *model.Model, windows [][]uint32) (*Scorer, error) {
	return NewWith(d, m, windows, Options(d))
}

// NewWith is New with other options than are best.
func NewWith(d *vk.Device, m *model.Model, windows [][]uint32, o run.Options) (*Scorer, error) {
	return NewOn([]*vk.Device{d}, m, windows, func(*vk.Device) run.Options { return o })
}

// NewOn is New on several devices, which run parts of the windows at the same time. On devices of one kind every score and every choice
// is what one device gives; which scores are NaN depends on the batches. Column sums and sensitivities are computed by the first.
//
// options, such as Options, gives those of each device.
func NewOn(devices []*vk.Device, m *model.Model, windows [][]uint32, options func(*vk.Device) run.Options) (*Scorer, error) {
	if len(devices) == 0 {
		return nil, errors.New("score: no device to run on")
	}
	for i, w := range windows {
		if len(w) != len(windows[0]) {
			return nil, fmt.Errorf("score: window %d has %d tokens, window 0 has %d", i, len(w), len(windows[0]))
		}
	}
	s := &Scorer{windows: windows, options: options, most: len(m.Layers), columns: map[*model.Layer]columnSums{}}
	n := max(1, min(len(devices), len(windows))) // a device without windows has nothing to do
	for i, d := range devices[:n] {
		begin, end := shard(len(windows), i, n)
		f, err := run.NewWith(d, m, windows[begin:end], Room(options(d), m, end-begin))
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		p := &part{s: s, f: f, d: d, index: i, begin: begin, first: len(s.batches)}
		s.parts = append(s.parts, p)
		for _, b := range f.Corpus.Batches {
			s.batches, s.search.devices = append(s.batches, run.Batch{Begin: begin + b.Begin, End: begin + b.End}), append(s.search.devices, i)
		}
		if p.allocate(d.NewScope(), m, end-begin, f.Corpus.Window, f.Corpus.Batches); p.scope.Err() != nil {
			return nil, errors.Join(p.scope.Err(), s.Close())
		}
	}
	return s, nil
}

// shard is part i of n of a corpus: the windows from begin to end.
func shard(windows, i, n int) (begin, end int) { return windows * i / n, windows * (i + 1) / n }

// each lets every part do its work at the same time. The first error stops the others.
func (s *Scorer) each(ctx context.Context, work func(ctx context.Context, p *part) error) error {
	if len(s.parts) == 1 {
		return work(ctx, s.parts[0])
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range s.parts {
		g.Go(func() error {
			if err := work(ctx, p); err != nil {
				return fmt.Errorf("device %d (%s): %w", p.d.Info.Index, p.d.Info.Name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// allocate makes room for the scores of so many windows of some tokens, in batches; a dry scope counts.
func (p *part) allocate(scope *vk.Scope, m *model.Model, windows, window int, batches []run.Batch) {
	c, most := m.Config, 0
	for _, b := range batches {
		most = max(most, b.Windows())
	}
	p.scope, p.window = scope, window
	p.slotBytes = p.slot(0, most, c).size
	// A slot for each layer, but no more rows than the corpus has windows: that is what the Forward leaves free for scores.
	p.capacity = min(len(batches), len(m.Layers))
	p.slots = scope.Buffer("scores of batches", int64(p.capacity)*p.slotBytes, vk.OnDevice)
	matrix := func(rows, cols int) op.Tensor {
		return graph.Floats(scope.Buffer("last tokens' states", 4*int64(rows)*int64(cols), vk.OnDevice), rows, cols)
	}
	p.rows, p.other, p.out = matrix(windows, c.HiddenSize), matrix(windows, c.HiddenSize), matrix(1, windows)
}

// slotLayout is where a slot's results are, in bytes of the buffer.
type slotLayout struct {
	influence, heads, neurons, last int64
	size                            int64
}

func (p *part) slot(index, windows int, c *arch.Config) slotLayout {
	align := max(p.scope.Device().Limits().OffsetAlignment, 4)
	at := int64(index) * p.slotBytes
	begin := at
	place := func(words int) int64 {
		here := at
		at += (4*int64(words) + align - 1) / align * align
		return here
	}
	l := slotLayout{influence: place(windows * p.window), heads: place(windows * c.Heads * c.HeadDim), neurons: place(windows * c.MostUnits()), last: place(windows * c.HiddenSize)}
	l.size = at - begin
	return l
}

// in is a matrix in the slots.
func (p *part) in(at int64, rows, cols int) op.Tensor {
	return op.Of(p.slots.View(at, 4*int64(rows)*int64(cols)), dtype.F32, rows, cols)
}

// Close frees what the Scorer holds on the device.
func (s *Scorer) Close() error {
	var err error
	for _, p := range s.parts {
		err = errors.Join(err, p.f.Close())
		p.scope.Free()
	}
	return err
}

// Trim drops weights from the first device that are not in use, to make room for a merge of layers there.
func (s *Scorer) Trim(layers []*model.Layer) { s.parts[0].f.Trim(layers) }

// Work is what the passes over the corpus cost so far. The passes are those of all runs that this one continues, see Restore.
func (s *Scorer) Work() run.Stats {
	var total run.Stats
	for _, p := range s.parts {
		stats := p.f.Stats()
		total.Runs = total.Runs.Plus(stats.Runs)
		total.Uploaded, total.Uploading, total.Waited = total.Uploaded+stats.Uploaded, total.Uploading+stats.Uploading, total.Waited+stats.Waited
	}
	total.Runs = total.Runs.Plus(s.earlier)
	total.Passes = total.Runs.Passes(s.parts[0].f.Config(), s.parts[0].f.Corpus.Window, len(s.windows))
	return total
}

// Update makes m the model to score. from is the first layer that differs from the model before: the states entering it are still
// valid, and the layers below do not run again. merged is how many layers of that model the one at from stands for; with 0 nothing
// above is expected to be as it was. Nothing runs yet.
func (s *Scorer) Update(ctx context.Context, m *model.Model, from, merged int) error {
	layers, batches := len(m.Layers), s.batches
	if s.m == nil {
		from = 0
		if err := s.embed(ctx, m); err != nil {
			return err
		}
	} else {
		for b := from + 1; b < len(s.last); b++ {
			for _, p := range s.parts {
				p.f.States().Drop(b) // at once, so that their memory serves the new ones
			}
		}
		for _, p := range s.parts {
			p.f.Kept.Forget(from)
		}
	}
	s.m = m
	for l := range s.columns {
		if !slices.Contains(m.Layers, l) {
			delete(s.columns, l)
		}
	}
	s.last, s.there, s.seen = s.last[:from+1], s.there[:from+1], s.seen[:from]
	for range layers - from {
		s.last, s.there = append(s.last, make([]byte, 4*len(s.windows)*m.Config.HiddenSize)), append(s.there, make([]bool, len(batches)))
		s.seen = append(s.seen, s.unseen())
	}
	old := s.search
	s.search = search{layers: layers, batches: batches, heights: old.heights, devices: old.devices, advance: s.advance}
	for i, h := range s.search.heights {
		s.search.heights[i] = min(h, from)
	}
	for _, known := range old.known {
		s.search.known = append(s.search.known, min(known, from))
	}
	for c := range layers {
		before := c
		if c > from {
			before += merged - 1
		}
		if merged > 0 && before < len(old.terms) {
			s.search.before = append(s.search.before, old.forecast(before))
		}
	}
	s.span = 0
	return nil
}

func (s *Scorer) unseen() layerScores {
	c, n := s.parts[0].f.Config(), len(s.windows)
	return layerScores{make([]bool, len(s.batches)), make([]byte, 4*n*len(s.windows[0])), make([]byte, 4*n*c.Heads*c.HeadDim), make([]byte, 4*n*c.MostUnits())}
}

// embed makes boundary 0.
func (s *Scorer) embed(ctx context.Context, m *model.Model) error {
	last := make([]byte, 4*len(s.windows)*m.Config.HiddenSize)
	err := s.each(ctx, func(ctx context.Context, p *part) error {
		if err := p.f.Embed(ctx, m); err != nil {
			return err
		}
		r := p.f.Recorder()
		err := p.f.States().Visit(ctx, 0, func(batch int, x op.Tensor) error {
			b := p.f.Corpus.Batches[batch]
			op.GatherRows(r, p.rows, b.Begin, x, p.f.Ends(b))
			return r.Err()
		})
		if err := errors.Join(err, r.Wait(ctx)); err != nil {
			return err
		}
		at := p.begin * int(p.rows.RowBytes())
		return p.d.Download(ctx, last[at:at+int(p.rows.Size())], p.rows.View)
	})
	s.last, s.there, s.search.heights = [][]byte{last}, [][]bool{slices.Repeat([]bool{true}, len(s.batches))}, make([]int, len(s.batches))
	return err
}

// Select finds, of the windows of span layers whose first layer is eligible, the one of the smallest skip block influence, the lowest
// of equals, or −1 where none is eligible. Layers run as far as that takes, and for the layers selected as far as BI and Sensitivity
// take; with all set, every layer runs for the whole corpus. progress, if not nil, is told how many passes of a layer are done and how
// many there are at most.
func (s *Scorer) Select(ctx context.Context, span int, eligible []bool, all bool, progress func(done, total int)) (first int, err error) {
	if err := s.score(ctx, span); err != nil {
		return 0, err
	}
	if len(eligible) != len(s.search.terms) {
		return 0, fmt.Errorf("score: %d windows may be eligible, there are %d of %d layers", len(eligible), len(s.search.terms), span)
	}
	begin, total := s.Work().Passes, len(s.m.Layers)-slices.Min(s.search.heights)
	report := func(int, int) {
		if progress != nil {
			progress(max(0, min(int(s.Work().Passes-begin), total-1)), total)
		}
	}
	s.search.eligible = eligible
	s.search.advance = func(ctx context.Context, batches []int, boundary int, last bool) error {
		err := s.advance(ctx, batches, boundary, last)
		if err == nil {
			report(0, 0)
		}
		return err
	}
	// Where weights stay on the device, a batch may run by itself. Elsewhere each round uploads layers again.
	s.search.round = 1
	for _, p := range s.parts {
		if !p.f.Keeps() {
			s.search.round = max(s.search.round, (len(p.f.Corpus.Batches)+streamedRounds-1)/streamedRounds)
		}
	}
	if all {
		if err := s.All(ctx, len(s.m.Layers), report); err != nil {
			return 0, err
		}
	}
	first, err = s.search.run(ctx)
	if err == nil && progress != nil {
		progress(total, total)
	}
	return first, err
}

// errNoUpdate says that the layers scored are not those of the model.
var errNoUpdate = errors.New("score: Update comes first")

// streamedRounds is how many rounds a corpus takes where weights are uploaded for each.
const streamedRounds = 2

// score sets the span of the terms and makes those whose states are known.
func (s *Scorer) score(ctx context.Context, span int) error {
	if s.m == nil || len(s.seen) != len(s.m.Layers) {
		return errNoUpdate
	}
	if span < 1 || span > len(s.m.Layers) {
		return fmt.Errorf("score: a window of %d layers, the model has %d", span, len(s.m.Layers))
	}
	if s.span == span {
		return nil
	}
	s.span, s.search.span, s.search.terms = span, span, nil
	for range len(s.m.Layers) - span + 1 {
		terms := make([]float64, len(s.windows))
		for w := range terms {
			terms[w] = math.NaN()
		}
		s.search.terms = append(s.search.terms, terms)
	}
	return s.each(ctx, func(ctx context.Context, p *part) error { return p.angles(ctx) })
}

// advance takes batches to a boundary, layer by layer.
func (s *Scorer) advance(ctx context.Context, batches []int, boundary int, last bool) error {
	return s.each(ctx, func(ctx context.Context, p *part) error {
		var own []int
		for _, b := range batches {
			if s.search.devices[b] == p.index {
				own = append(own, b)
			}
		}
		return p.advance(ctx, own, boundary, last)
	})
}

func (p *part) advance(ctx context.Context, batches []int, boundary int, last bool) error {
	heights, lowest := p.s.search.heights, boundary
	for _, b := range batches {
		lowest = min(lowest, heights[b])
	}
	for l := lowest; l < boundary; l++ {
		var on []int // by the part's own numbers
		for _, b := range batches {
			if heights[b] <= l {
				on = append(on, b-p.first)
			}
		}
		if len(on) == 0 {
			continue
		}
		lastTokens := last && l+1 == boundary
		layer := p.f.LayerOn
		if lastTokens {
			layer = p.f.LastTokens
		}
		for some := range slices.Chunk(on, p.capacity) {
			if len(p.pending)+len(some) > p.capacity {
				if err := p.collect(ctx); err != nil {
					return err
				}
			}
			if err := layer(ctx, p.s.m, l, some, func(step run.Step) error { return p.visit(step, lastTokens) }); err != nil {
				return err
			}
		}
		for _, b := range on {
			if !lastTokens {
				heights[p.first+b] = l + 1
			}
		}
	}
	if err := p.collect(ctx); err != nil {
		return err
	}
	return p.angles(ctx)
}

// visit takes a layer's stats from what passes by.
func (p *part) visit(step run.Step, lastTokens bool) error {
	c, r, n, out := p.s.m.Config, p.f.Recorder(), step.Batch.Windows(), step.Out
	at := p.slot(len(p.pending), n, c)
	p.pending = append(p.pending, pending{step.Layer, step.Index, !lastTokens})
	if !lastTokens {
		op.AbsSum(r, p.in(at.heads, n, c.Heads*c.HeadDim), step.Attention, p.f.Corpus.Window)
		op.AbsSum(r, p.in(at.neurons, n, c.Units(step.Layer)), step.MLP, p.f.Corpus.Window)
	}
	if step.Layer+1 == len(p.s.m.Layers) {
		out = p.f.FinalNorm(p.s.m, out) // as Hugging Face's hidden_states[-1] is
	}
	if !lastTokens {
		op.BlockInfluence(r, p.in(at.influence, 1, n*p.f.Corpus.Window), step.In, out)
	}
	op.GatherRows(r, p.in(at.last, n, c.HiddenSize), 0, out, step.Ends)
	return r.Err()
}

// collect waits and reads the slots.
func (p *part) collect(ctx context.Context) error {
	s, list := p.s, p.pending
	p.pending = nil
	if err := p.f.Wait(ctx); err != nil || len(list) == 0 {
		return err
	}
	raw := make([]byte, int64(len(list))*p.slotBytes)
	if err := p.d.Download(ctx, raw, p.slots.View(0, int64(len(raw)))); err != nil {
		return err
	}
	for i, run := range list {
		b := s.batches[p.first+run.batch]
		at := p.slot(i, b.Windows(), s.m.Config)
		take := func(to []byte, from int64, units int) { // a window's share of to is the same for each, and begins with the units
			share := len(to) / len(s.windows)
			for w := b.Begin; w < b.End; w++ {
				copy(to[w*share:(w+1)*share], raw[from:from+4*int64(units)])
				from += 4 * int64(units)
			}
		}
		c := s.m.Config
		take(s.last[run.layer+1], at.last, c.HiddenSize)
		s.there[run.layer+1][p.first+run.batch] = true
		if run.full {
			seen := s.seen[run.layer]
			seen.ran[p.first+run.batch] = true
			take(seen.influence, at.influence, p.f.Corpus.Window)
			take(seen.heads, at.heads, c.Heads*c.HeadDim)
			take(seen.neurons, at.neurons, c.Units(run.layer))
		}
	}
	return nil
}

// angles makes the terms whose states are known.
func (p *part) angles(ctx context.Context) error {
	s := p.s
	type pair struct{ c, window int }
	var pairs []pair
	var from, to []byte
	row := int(p.rows.RowBytes())
	flush := func() error {
		if len(pairs) == 0 {
			return nil
		}
		n := len(pairs)
		x, y, out := p.rows.RowRange(0, n), p.other.RowRange(0, n), op.Of(p.out.View, dtype.F32, 1, n)
		if err := errors.Join(p.d.Upload(ctx, x.View, from), p.d.Upload(ctx, y.View, to)); err != nil {
			return err
		}
		op.AngularDistance(p.f.Recorder(), out, x, y)
		raw, err := p.read(ctx, out)
		if err != nil {
			return err
		}
		values := decode(raw)
		for i, of := range pairs {
			s.search.terms[of.c][of.window] = values[i]
		}
		pairs, from, to = pairs[:0], from[:0], to[:0]
		return nil
	}
	for c, terms := range s.search.terms {
		for k := range p.f.Corpus.Batches {
			i := p.first + k
			b := s.batches[i]
			if !s.there[c][i] || !s.there[c+s.span][i] || !math.IsNaN(terms[b.Begin]) {
				continue
			}
			for w := b.Begin; w < b.End; w++ {
				pairs = append(pairs, pair{c, w})
				from, to = append(from, s.last[c][w*row:(w+1)*row]...), append(to, s.last[c+s.span][w*row:(w+1)*row]...)
				if len(pairs) == p.rows.Rows {
					if err := flush(); err != nil {
						return err
					}
				}
			}
		}
	}
	return flush()
}

// SBI is the skip block influence of every window of layers, of the span that Select took: element l is the mean over the corpus
// windows' last tokens of arccos(cos(h_l, h_{l+span}))/π, NaN where Select could do without.
func (s *Scorer) SBI() []float64 {
	var sbi []float64
	for _, terms := range s.search.terms {
		sbi = append(sbi, sum(terms)/float64(len(terms)))
	}
	return sbi
}

// BI is the block influence of every layer: the mean over tokens of 1 − cos of the states around the layer, NaN where the layer did
// not run for all tokens.
func (s *Scorer) BI() []float64 {
	var bi []float64
	for _, seen := range s.seen {
		if slices.Contains(seen.ran, false) {
			bi = append(bi, math.NaN())
			continue
		}
		influence := decode(seen.influence)
		bi = append(bi, sum(influence)/float64(len(influence)))
	}
	return bi
}

// columnSums computes a layer's column sums, of which all models that have the layer make use.
func (s *Scorer) columnSums(ctx context.Context, l *model.Layer) (sums columnSums, err error) {
	s.ColumnSums++
	p := s.parts[0]
	roles := []arch.Role{arch.O, arch.Down}
	if l.Weights[arch.Down].IsZero() {
		roles = roles[:1] // experts count by their shares alone
	}
	err = p.f.Weights(ctx, l, roles, func(w []op.Tensor) error {
		for i := range w {
			err := p.with(ctx, [][]byte{nil}, []int{w[i].Cols}, func(t []op.Tensor) error {
				op.ColumnAbsSum(p.f.Recorder(), t[0], w[i])
				sums[i], err = p.read(ctx, t[0])
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return sums, err
}

// rank multiplies mean activities with column sums, and averages over groups of width channels.
func (s *Scorer) rank(ctx context.Context, activity, columns []byte, width int) (units []float64, err error) {
	p, channels, windows := s.parts[0], len(columns)/4, len(s.windows)
	err = p.with(ctx, [][]byte{nil, activity, columns}, []int{channels / width, channels, channels}, func(t []op.Tensor) error {
		op.Sensitivity(p.f.Recorder(), t[0], t[1], t[2], width, windows*p.f.Corpus.Window)
		raw, err := p.read(ctx, t[0])
		units = decode(raw)
		return err
	})
	for i, v := range units {
		if v-v != 0 {
			return nil, model.Lasting(fmt.Errorf("score: activations are not finite: the sensitivity of unit %d is %v", i, v))
		}
	}
	return units, err
}

// with lends f tensors of some columns each that hold data, or a row of nothing for nil.
func (p *part) with(ctx context.Context, data [][]byte, cols []int, f func(t []op.Tensor) error) (err error) {
	scope := p.d.NewScope()
	defer func() {
		err = errors.Join(err, p.f.Recorder().Wait(context.WithoutCancel(ctx)))
		scope.Free()
	}()
	var tensors []op.Tensor
	for i, raw := range data {
		size := max(len(raw), 4*cols[i])
		b := scope.Buffer("sensitivities", int64(size), vk.OnDevice)
		if raw != nil && scope.Live() {
			scope.Fail(p.d.Upload(ctx, b.All(), raw))
		}
		tensors = append(tensors, graph.Floats(b, size/4/cols[i], cols[i]))
	}
	if err := scope.Err(); err != nil {
		return err
	}
	return f(tensors)
}

// read waits for what was recorded and reads a tensor.
func (p *part) read(ctx context.Context, t op.Tensor) ([]byte, error) {
	if err := p.f.Recorder().Wait(ctx); err != nil {
		return nil, err
	}
	raw := make([]byte, t.Size())
	return raw, p.d.Download(ctx, raw, t.View)
}

// decode reads f32s.
func decode(raw []byte) []float64 {
	narrow, wide := make([]float32, len(raw)/4), make([]float64, len(raw)/4)
	dtype.F32.Decode(narrow, raw)
	for i, v := range narrow {
		wide[i] = float64(v)
	}
	return wide
}
