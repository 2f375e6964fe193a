// Package run takes a corpus through a model, layer by layer: scores of sequences, losses, logits and divergences of windows, and what
// pruning looks at between layers.
package run

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/vk"
)

// Unscored marks a target that no loss is computed for.
const Unscored = math.MaxUint32

// Forward takes a corpus through a model layer by layer: all windows through layer l, then all through layer l+1. One layer's
// weights on the device are enough, and the hidden states at the boundaries between layers are kept, so that a model that differs
// from layer l on can be run again from there.
//
// Boundary l is what enters layer l; boundary Layers is what leaves the last one, before the final norm. A Forward belongs to one goroutine.
//
// States that are not finite stop the run: the error names the layer and the operation that made the first of them.
type Forward struct {
	Corpus Corpus // not to be changed
	Kept   Kept   // what the layer left that was fitted last

	d       *vk.Device
	r       *vk.Recorder
	config  *arch.Config
	wide    *arch.Config  // with the most neurons that a layer has
	batches []graph.Batch // those of Corpus, with their rows
	scope   *vk.Scope     // what stays on the device
	working *vk.Scope     // what running layers takes: nil while it rests
	scratch *graph.Scratch
	shared  graph.Shared
	loader  *graph.Loader
	store   *states.Store
	cache   *graph.Cache
	finite  finiteCheck
	ends    op.Tensor // [1, windows]: each window's last row of a batch
	each    op.Tensor // [1, windows]: 0, 1, …: the same of what LastTokens computes

	keep    bool   // the weights of all layers stay on the device
	release func() // of what is reserved of host memory
	runs    Runs
}

// Corpus is what goes through a model.
type Corpus struct {
	Windows [][]uint32 // of one length; nil where sequences are packed
	Window  int        // tokens of each; 0 where sequences are packed
	Batches []Batch    // what goes through a layer together, in order
	Most    int        // rows of a batch at most
}

// Options tune a Forward. The zero value is for models that are run once.
type Options struct {
	// BatchTokens is how many tokens go through a layer together, at least one window: 0 is as many as are fast. No result depends
	// on it.
	BatchTokens int
	// KeepWeights keeps the weights of all layers on the device where half of the memory beside activations holds them: for models
	// that run again, or in parts.
	KeepWeights bool
	// BatchWindows is how many windows go through a layer together, exactly, instead: where memory does not hold them, that is an error.
	BatchWindows int
	// StatesOnHost keeps no states on the device.
	StatesOnHost bool
	// Beside is device memory in bytes that the caller takes for itself as long as the Forward lives.
	Beside int64
	// Neurons are the most neurons of a layer's dense MLP that will run, where a caller makes layers that are wider than the model's.
	Neurons int
	// Free is device memory in bytes that the Forward leaves, whatever it takes, for work of the caller that comes and goes.
	Free int64
	// Host bounds the host memory that states take, and may be shared by several Forwards; nil is no bound. No result depends on it.
	Host *states.HostMemory
}

// Stats is what a Forward did.
type Stats struct {
	Passes    float64       // layers run: parts of the corpus by their size, the last tokens by their share of the multiplications
	Runs      Runs          // what Passes is made of
	Uploaded  int64         // bytes of weights that went to the device
	Uploading time.Duration // that their uploads took, in the background
	Waited    time.Duration // that the Forward stood still for them
}

// Runs counts layers run, each for one window: exact, so that sums do not depend on their order.
type Runs struct{ All, Last int } // for all tokens, and for the last token alone

// Plus adds counts.
func (r Runs) Plus(other Runs) Runs { return Runs{r.All + other.All, r.Last + other.Last} }

// Minus subtracts counts.
func (r Runs) Minus(other Runs) Runs { return Runs{r.All - other.All, r.Last - other.Last} }

// Passes is what runs of a model's layers for windows of some tokens amount to in passes of a corpus of so many windows.
func (r Runs) Passes(c *arch.Config, window, windows int) float64 {
	return (float64(r.All) + float64(r.Last)*graph.LastShare(c, window)) / float64(windows)
}

// Batch is a range of windows that go through a layer together, or one pack by its number.
type Batch struct{ Begin, End int }

// Windows is the number of the batch's windows.
func (b Batch) Windows() int { return b.End - b.Begin }

// Stats is what was done so far.
func (f *Forward) Stats() Stats {
	c := f.cache.Stats()
	s := Stats{Runs: f.runs, Uploaded: c.Uploaded, Uploading: c.Uploading, Waited: c.Waited}
	if n := len(f.Corpus.Windows); n > 0 {
		s.Passes = f.runs.Passes(f.config, f.Corpus.Window, n)
	}
	return s
}

// Count adds runs of layers that others recorded for the corpus.
func (f *Forward) Count(r Runs) { f.runs = f.runs.Plus(r) }

// Keeps says whether the weights of all layers stay on the device: a layer may then be run in as many parts as one likes, and Layers
// need not wait.
func (f *Forward) Keeps() bool { return f.keep }

// Trim drops weights that nothing uses, to make room for other work on the device: those of layers that go, or, where not all stay
// anyway, everything.
func (f *Forward) Trim(going []*model.Layer) {
	f.cache.Trim(func(key any) bool {
		l, ok := key.(*model.Layer)
		return !f.keep || ok && slices.Contains(going, l)
	})
}

// New prepares to run windows of equal length through m, or models that With makes of it. The device's
// memory limit is divided: activations of one batch, the weights of one layer or, if there is room, two, so that the next is uploaded
// while the current one computes, and then hidden states. Where one layer alone has room, nothing computes during its upload.
func New(d *vk.Device, m *model.Model, windows [][]uint32) (*Forward, error) {
	return NewWith(d, m, windows, Options{})
}

// NewWith is New with options.
func NewWith(d *vk.Device, m *model.Model, windows [][]uint32, o Options) (*Forward, error) {
	if len(windows) == 0 || len(windows[0]) == 0 {
		return nil, errors.New("model: no tokens to run")
	}
	window := len(windows[0])
	for i, w := range windows {
		if len(w) != window {
			return nil, fmt.Errorf("model: window %d has %d tokens, window 0 has %d", i, len(w), window)
		}
		for _, token := range w {
			if int(token) >= m.Config.VocabSize {
				return nil, fmt.Errorf("model: window %d: token %d, the vocabulary of %s has %d", i, token, m.Name, m.Config.VocabSize)
			}
		}
	}
	if window > m.Config.MaxPositionEmbeddings {
		return nil, fmt.Errorf("model: windows of %d tokens, %s has max_position_embeddings %d", window, m.Name, m.Config.MaxPositionEmbeddings)
	}
	p, err := planWindows(d, m, len(windows), window, o)
	if err != nil {
		return nil, err
	}
	f, err := newForward(d, m, p, o.Host)
	if err != nil {
		return nil, err
	}
	f.Corpus = Corpus{Windows: windows, Window: window, Batches: p.batches, Most: p.rows}
	for _, b := range p.batches {
		f.batches = append(f.batches, graph.Batch{Tokens: slices.Concat(windows[b.Begin:b.End]...), Window: window})
	}
	f.setRows()
	return f, nil
}

// setRows tells the store of the batches.
func (f *Forward) setRows() {
	rows := make([]int, len(f.batches))
	for i := range rows {
		rows[i] = f.batches[i].Rows()
	}
	f.store.SetBatches(rows)
}

// newForward allocates what was planned, for a corpus that is not there yet. Where it fails, nothing is left.
func newForward(d *vk.Device, m *model.Model, p plan, host *states.HostMemory) (_ *Forward, err error) {
	if m.Config.HeadDim > op.MaxHeadDim {
		return nil, fmt.Errorf("model: %s: head_dim %d, supported are up to %d", m.Name, m.Config.HeadDim, op.MaxHeadDim)
	}
	f := &Forward{d: d, config: m.Config, wide: p.m.Config, keep: p.keep, scope: d.NewScope(), release: func() {}, cache: graph.NewCache(d, p.weights), Corpus: Corpus{Most: p.rows}}
	f.Kept.f = f
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	host.Begin(d)
	if release, err := host.Reserve("a run", states.RunBytes); err != nil {
		return nil, err
	} else {
		f.release = release
	}
	if f.r, err = d.NewRecorder(); err != nil {
		return nil, err
	}
	if err := f.wake(); err != nil {
		return nil, err
	}
	a := p.allocate(f.scope, f.r)
	if err := f.scope.Err(); err != nil {
		return nil, err
	}
	f.shared, f.loader, f.finite, f.ends, f.each = a.shared, a.loader, finiteCheck{counts: a.counts, mirror: a.mirror}, a.ends, a.each
	f.store = states.NewStore(f.r, m.Config.HiddenSize, a.in, a.out, p.room, host)
	return f, f.finite.reset(context.Background(), d)
}

// Rest gives back the device memory that only running layers takes, until one runs again: states and what uploads them stay.
func (f *Forward) Rest(ctx context.Context) error {
	if err := f.Wait(ctx); err != nil {
		return err
	}
	f.cache.Trim(graph.Anything)
	f.working.Free()
	f.working = nil
	return nil
}

// wake makes the activations of a batch, unless they are there.
func (f *Forward) wake() error {
	if f.working != nil {
		return nil
	}
	s := f.d.NewScope()
	scratch := graph.NewScratch(s, f.wide, f.Corpus.Most)
	if err := s.Close(); err != nil {
		return err
	}
	f.working, f.scratch = s, scratch
	return nil
}

// Close frees all that the Forward holds on the device.
func (f *Forward) Close() error {
	var err error
	if f.r != nil {
		err = f.r.Close()
	}
	f.release()
	f.cache.Close()
	if f.store != nil {
		f.Kept.close()
		err = errors.Join(err, f.store.Close())
	}
	f.working.Free()
	f.scope.Free()
	return err
}

// Config is that of the model that the Forward was made for.
func (f *Forward) Config() *arch.Config { return f.config }

// Recorder is the recorder that the Forward computes on.
func (f *Forward) Recorder() *vk.Recorder { return f.r }

// States are the hidden states that are kept.
func (f *Forward) States() *states.Store { return f.store }

// Cache is the weights on the device.
func (f *Forward) Cache() *graph.Cache { return f.cache }

// Shared is what all layers of the model read.
func (f *Forward) Shared() graph.Shared { return f.shared }

// Ends is [1, windows]: the row of each window's last token in a batch's states.
func (f *Forward) Ends(b Batch) op.Tensor { return graph.Slice(f.ends, 0, b.Windows()) }

// Each is [1, windows]: 0, 1, …: Ends of what LastTokens and LastStates make of a batch.
func (f *Forward) Each(b Batch) op.Tensor { return graph.Slice(f.each, 0, b.Windows()) }

// Embed makes boundary 0. Only the rows of the embedding that a batch uses travel to the device.
func (f *Forward) Embed(ctx context.Context, m *model.Model) error {
	err := f.store.Produce(ctx, 0, f.store.All(), func(batch int, out op.Tensor) error {
		b := &f.batches[batch]
		if err := graph.Embed(ctx, f.r, m.Config, m.Top[arch.Embed], b.Tokens, out); err != nil || f.shared.Positions.IsZero() {
			return err
		}
		rows, err := f.loader.Load(ctx, f.r, b)
		if err != nil {
			return err
		}
		graph.AddPositions(f.r, out, f.shared.Positions, rows, 0)
		return f.r.Err()
	})
	if err != nil {
		return fmt.Errorf("model: %s: embedding: %w", m.Name, err)
	}
	return nil
}

// FinalNorm records the final norm of a batch of states, good until the next layer or FinalNorm is recorded.
func (f *Forward) FinalNorm(m *model.Model, x op.Tensor) op.Tensor {
	if err := f.wake(); err != nil {
		f.r.Fail(err)
		return x
	}
	y := f.scratch.Norm(x.Rows, x.Cols)
	f.shared.RecordFinalNorm(f.r, m.Config, y, x)
	return y
}

// Step is what a layer's visitor sees of one batch: everything is on the device and good for recording until the visitor returns.
type Step struct {
	Layer     int
	Index     int // of the batch
	Batch     Batch
	Weights   []op.Tensor // by arch.Role
	In, Out   op.Tensor   // [tokens, hidden] before and after the layer; Out of LastTokens has the last of each window
	Ends      op.Tensor   // [1, windows]: the row of Out of each window's last token
	Attention op.Tensor   // [tokens, heads·head_dim], what o_proj reads
	MLP       op.Tensor   // [tokens, intermediate], what down_proj reads; [tokens, experts], each token's share for each, in a mixture of experts
	Fed       op.Tensor   // [tokens, hidden], what down_proj gives, where that is normed or scaled before it is added; else absent
}

// Layer runs layer l of m on boundary l and makes boundary l+1. visit, if not nil, may record more work on each batch. When Layer
// returns, all of it is done.
func (f *Forward) Layer(ctx context.Context, m *model.Model, l int, visit func(Step) error) error {
	if err := f.LayerOn(ctx, m, l, f.store.All(), visit); err != nil {
		return err
	}
	return f.Wait(ctx)
}

// LayerOn is Layer for some batches, by their numbers. Where Keeps says so, it does not wait for what it recorded: Wait does, and
// must be called before states or weights are dropped.
func (f *Forward) LayerOn(ctx context.Context, m *model.Model, l int, batches []int, visit func(Step) error) error {
	return f.run(ctx, layerCall{m: m, layer: l, batches: batches}, visit)
}

// LastTokens is LayerOn for what visit makes of the last token of each window: it computes the keys and values of all tokens, and
// little of the rest. It makes no boundary. The bits are those that LayerOn gives these tokens.
func (f *Forward) LastTokens(ctx context.Context, m *model.Model, l int, batches []int, visit func(Step) error) error {
	return f.run(ctx, layerCall{m: m, layer: l, batches: batches, last: true}, visit)
}

// layerCall is a layer that was recorded for some batches.
type layerCall struct {
	m       *model.Model
	layer   int
	batches []int
	last    bool // for the last tokens, making no boundary
	keep    bool // see Kept
}

func (f *Forward) run(ctx context.Context, c layerCall, visit func(Step) error) error {
	if err := f.record(ctx, c, visit); err != nil {
		f.Wait(ctx) // the device may still use what a caller would free; what it says comes from the same error, or later
		return fmt.Errorf("model: %s: layer %d: %w", c.m.Name, c.layer, err)
	}
	if f.keep && !f.finite.full() {
		return nil
	}
	return f.Wait(ctx) // the weights may go
}

func (f *Forward) record(ctx context.Context, c layerCall, visit func(Step) error) error {
	if err := f.store.Need(c.layer, c.batches...); err != nil {
		return err
	}
	if err := f.wake(); err != nil {
		return err
	}
	weights, err := f.cache.Layer(ctx, f.r, c.m.Layers[c.layer])
	if f.keep && errors.Is(err, vk.ErrOutOfMemory) { // the heap is fuller than its size promised: from here on weights come and go
		f.keep = false
		if err = f.Wait(ctx); err == nil {
			weights, err = f.cache.Layer(ctx, f.r, c.m.Layers[c.layer])
		}
	}
	if err != nil {
		return err
	}
	slot := f.finite.add(c)
	if c.layer+1 < len(c.m.Layers) {
		next := c.m.Layers[c.layer+1]
		f.cache.Prefetch(ctx, next, next.Weights[:])
	}
	block := f.block(c, weights)
	if !c.last {
		return f.store.Produce(ctx, c.layer+1, c.batches, func(batch int, out op.Tensor) error {
			return f.recordBatch(ctx, c, block, slot, batch, out, visit)
		})
	}
	for _, i := range c.batches {
		if err := f.recordBatch(ctx, c, block, slot, i, f.store.Staging(f.Corpus.Batches[i].Windows()), visit); err != nil {
			return err
		}
	}
	return f.r.Flush(ctx)
}

// block is a layer with its weights on the device.
func (f *Forward) block(c layerCall, weights []op.Tensor) graph.Block {
	return graph.Block{Config: c.m.Config, Layer: c.layer, Weights: weights, Rope: f.shared.Rope(c.m.Config, c.layer), Scratch: f.scratch}
}

// recordBatch records a layer for one batch.
func (f *Forward) recordBatch(ctx context.Context, c layerCall, block graph.Block, slot, batch int, out op.Tensor, visit func(Step) error) error {
	x, err := f.store.Tensor(ctx, c.layer, batch)
	if err != nil {
		return err
	}
	if next := slices.Index(c.batches, batch) + 1; next < len(c.batches) {
		f.store.Ahead(c.layer, c.batches[next])
	}
	rows, err := f.loader.Load(ctx, f.r, &f.batches[batch])
	if err != nil {
		return err
	}
	b := f.Corpus.Batches[batch]
	step := Step{Layer: c.layer, Index: batch, Batch: b, Weights: block.Weights, In: x, Out: out, Ends: f.Ends(b)}
	runs := Runs{All: b.Windows()}
	if c.last {
		rows.Last, step.Ends, runs = f.Ends(b), f.Each(b), Runs{Last: b.Windows()}
	}
	block.Tap = func(point string, value op.Tensor) {
		switch point {
		case graph.TapQKV:
			f.finite.count(f.r, slot, value)
		case graph.TapAttention:
			step.Attention = value
		case graph.TapMLP:
			step.MLP = value
		case graph.TapFed:
			step.Fed = value
		}
	}
	known, err := f.goOn(ctx, c, &block, batch, x.Rows)
	if err != nil {
		return err
	}
	block.Forward(f.r, out, x, rows)
	f.finite.count(f.r, slot, out)
	f.Count(runs)
	if c.keep {
		if err := f.leave(ctx, c, batch, step.Attention, step.MLP, known); err != nil {
			return err
		}
	}
	if visit == nil {
		return f.r.Err()
	}
	return errors.Join(f.r.Err(), visit(step))
}

// Wait waits for what was recorded and gives weights back. It refuses states that are not finite.
func (f *Forward) Wait(ctx context.Context) error {
	calls, counts, err := f.finite.wait(ctx, f.r)
	defer func() {
		for _, c := range calls {
			f.cache.Release(c.m.Layers[c.layer])
		}
	}()
	if err != nil {
		return err
	}
	for i, c := range calls {
		if counts[i] > 0 {
			return fmt.Errorf("model: %s: %w", c.m.Name, f.explain(ctx, c, counts[i]))
		}
	}
	return nil
}

// Weights gives visit some of a layer's weights on the device, by role, good for recording until it returns. Where the layer is not there,
// only these travel.
func (f *Forward) Weights(ctx context.Context, l *model.Layer, roles []arch.Role, visit func(w []op.Tensor) error) error {
	var key any = l
	weights := l.Weights[:]
	if !f.cache.Holds(l) {
		key, weights = someWeights{l, fmt.Sprint(roles)}, make([]model.Weight, arch.LayerRoles)
		for _, r := range roles {
			weights[r] = l.Weights[r]
		}
	}
	tensors, err := f.cache.Acquire(ctx, key, weights)
	if err != nil {
		return err
	}
	defer f.cache.Release(key)
	var picked []op.Tensor
	for _, r := range roles {
		picked = append(picked, tensors[r])
	}
	err = visit(picked)
	return errors.Join(err, f.r.Wait(ctx))
}

// someWeights is the key of some of a layer's weights on the device.
type someWeights struct {
	l     *model.Layer
	roles string
}

// Run takes the corpus through the whole model, keeping only the last boundary; progress, if not nil, is called after each layer.
func (f *Forward) Run(ctx context.Context, m *model.Model, progress func(done, total int)) error {
	if err := f.Embed(ctx, m); err != nil {
		return err
	}
	for l := range m.Layers {
		if err := f.Layer(ctx, m, l, nil); err != nil {
			return err
		}
		f.store.Drop(l)
		if progress != nil {
			progress(l+1, len(m.Layers))
		}
	}
	return nil
}
