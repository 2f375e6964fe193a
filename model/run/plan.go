package run

import (
	"context"
	"fmt"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/vk"
)

// plan is how a device's memory is divided for a run.
type plan struct {
	d         *vk.Device
	m         *model.Model
	positions int   // of a sequence at most
	lengths   []int // see graph.NewShared
	packs     bool  // batches are packs
	wider     int64 // bytes that the weights of a layer may take beyond those of m
	windows   int   // windows of a batch at most; of packs 0
	rows      int   // of a batch at most
	batches   []Batch

	keep    bool  // the weights of all layers stay
	weights int64 // bytes for weights
	room    int64 // bytes left for states
	taken   int64 // bytes of all but states, at most
}

// allocations are what a Forward holds as long as it lives.
type allocations struct {
	in, out        *vk.Buffer // staging of states
	counts, mirror *vk.Buffer
	ends, each     op.Tensor
	shared         graph.Shared
	loader         *graph.Loader
}

// allocate makes them; a dry scope counts.
func (p *plan) allocate(s *vk.Scope, r *vk.Recorder) (a allocations) {
	ctx := context.Background()
	a.in, a.out = states.NewStaging(s, p.m.Config.HiddenSize, p.rows)
	a.counts, a.mirror = newFiniteCounts(s)
	if n := p.windows; n > 0 {
		var ends, each []uint32
		for w := range n {
			ends, each = append(ends, uint32((w+1)*p.positions-1)), append(each, uint32(w))
		}
		a.ends, a.each = newWords(ctx, s, "last tokens", ends), newWords(ctx, s, "windows", each)
	}
	a.shared = graph.NewShared(ctx, s, r, p.m, p.positions, p.lengths...)
	if p.packs {
		a.loader = graph.NewLoader(s, p.m.Config, p.rows)
		graph.EmbedBytes(s, p.m.Top[arch.Embed], p.rows)
	}
	return a
}

// newWords puts a list of words into a buffer of a scope.
func newWords(ctx context.Context, s *vk.Scope, name string, list []uint32) op.Tensor {
	b := s.Buffer(name, 4*int64(len(list)), vk.OnDevice)
	if !s.Live() {
		return op.Tensor{}
	}
	t, err := graph.PutWords(ctx, s.Device(), b, list)
	s.Fail(err)
	return t
}

// need is the device memory of a run with so many rows in a batch, weights and states aside.
func (p *plan) need(rows int) int64 {
	with := *p
	with.rows = rows
	if !p.packs {
		with.windows = rows / p.positions
	}
	return p.d.DryRun(func(s *vk.Scope) {
		with.allocate(s, nil)
		graph.NewScratch(s, p.m.Config, rows)
	})
}

// division says how a plan may divide the memory.
type division struct {
	available int64 // bytes
	unit      int   // rows of a batch are a multiple of it
	least     int   // rows of a batch, at least
	most      int   // rows of a batch, at most
	exact     bool  // a batch has most rows
	share     int64 // a batch takes at most one of so many parts of what is available, beyond least
	head      bool  // the LM head is to stay too where the weights of all layers do
	mayKeep   func(all, left int64) bool
	even      func(rows int) int                      // makes batches nearly equal; nil: they need not be
	onHost    bool                                    // no states on the device
	refuse    func(rows int, need, layer int64) error // says that memory does not hold a batch of so many rows and a layer
}

// divide chooses the rows of a batch and what weights and states get.
func (p *plan) divide(v division) error {
	var layer, all int64
	for _, l := range p.m.Layers {
		size := graph.LayerBytes(p.d, l)
		layer, all = max(layer, size), all+size
	}
	if v.head {
		all += graph.Aligned(p.d, p.m.Top[arch.Head].Size())
	}
	layer += p.wider
	least := v.least
	if v.exact {
		least = v.most
	}
	if need := p.need(least); need+layer > v.available {
		return v.refuse(least, need, layer)
	}
	p.rows = max(least, v.most)
	base := p.need(0)
	for p.rows > least {
		if need := p.need(p.rows); need-base <= v.available/v.share && v.available-need >= 2*layer {
			break
		}
		p.rows = max(least, p.rows-v.unit)
	}
	if v.even != nil {
		p.rows = v.even(p.rows)
	}
	left := v.available - p.need(p.rows)
	// Two layers' weights, unless all are to stay: then the memory that a run takes grows with the depth of a model by the kept
	// states only, and the uploads hide behind the computation.
	if p.weights = 2 * layer; p.weights > left {
		p.weights = layer
	}
	if v.mayKeep(all, left) {
		p.keep, p.weights = true, all
	}
	if p.room = left - p.weights; v.onHost {
		p.room = 0
	}
	p.taken = v.available - left + p.weights
	return nil
}

// available is what a run may take of a device's memory: an eighth is for scores, norms and what the arena rounds up.
func available(d *vk.Device) int64 { return (d.MemoryLimit() - d.Memory().Reserved) / 8 * 7 }

// lossBytes is the device memory that a token's loss takes: see foldHead.
const lossBytes = 4 * (3 + 1 + 1)

// logitBytes is the device memory of the logits that lie there at a time, at most: see logitRows.
func logitBytes(d *vk.Device) int64 { return max(64*4*graph.HeadUnit, d.MemoryLimit()/64) }

// windowTokens is how many tokens go through a layer together: beyond it larger matrices gain no speed, and a CPU's caches are left.
func windowTokens(d *vk.Device) int {
	if d.Info.Kind == vk.CPU {
		return 1024
	}
	return 4096
}

// planWindows plans for windows of one length.
func planWindows(d *vk.Device, m *model.Model, windows, window int, o Options) (p plan, err error) {
	p = plan{d: d, m: m, positions: window}
	if more := o.Neurons - m.Config.IntermediateSize; more > 0 {
		wide, config := *m, *m.Config
		config.IntermediateSize = o.Neurons
		wide.Config = &config
		p.m, p.wider = &wide, 3*int64(more)*int64(config.HiddenSize)*int64(config.DType.Size())
	}
	v := division{available: available(d), unit: window, least: window, share: 4, exact: o.BatchWindows > 0, onHost: o.StatesOnHost}
	left := d.MemoryLimit() - d.Memory().Reserved
	v.available = min(v.available, left-logitBytes(d)*3/2) // with what blocks round up
	v.available -= lossBytes*int64(windows)*int64(window) + o.Beside
	v.available = min(v.available, available(d)-o.Free)
	v.mayKeep = func(all, left int64) bool { return o.KeepWeights && all <= left/2 }
	v.refuse = func(rows int, need, layer int64) error {
		what, advice := "one window", "; use a shorter corpus.Options.Window or a larger vk.Options.MaxMemory"
		if rows > window {
			what, advice = fmt.Sprintf("%d windows", rows/window), ""
		}
		return fmt.Errorf("model: %s of device memory cannot hold %s of %d tokens (%s) and one layer (%s): %w%s", vk.Bytes(d.MemoryLimit()), what, window,
			vk.Bytes(need), vk.Bytes(layer), vk.ErrOutOfMemory, advice)
	}
	if o.BatchTokens == 0 {
		o.BatchTokens = windowTokens(d)
	}
	batch := min(windows, max(1, o.BatchTokens/window))
	if o.BatchWindows > 0 {
		batch = min(windows, o.BatchWindows)
	}
	v.most = batch * window
	count := 0
	v.even = func(rows int) int {
		batch := rows / window
		count = (windows + batch - 1) / batch
		return (windows + count - 1) / count * window // the largest of so many
	}
	if err := p.divide(v); err != nil {
		return p, err
	}
	p.windows = p.rows / window
	for i := range count {
		p.batches = append(p.batches, Batch{windows * i / count, windows * (i + 1) / count})
	}
	return p, nil
}

// packTokens is how many rows a pack has where memory and its sequences allow.
func packTokens(d *vk.Device) int {
	if d.Info.Kind == vk.CPU {
		return 2048
	}
	return 8192
}

// planPacks plans for packs of sequences of at most longest tokens.
func planPacks(d *vk.Device, m *model.Model, longest int) (p plan, err error) {
	c, limit := m.Config, d.MemoryLimit()
	p = plan{d: d, m: m, positions: longest, packs: true, lengths: []int{longest}}
	if n := c.RopeSwitch(); n > 0 && longest > n {
		p.lengths = []int{n, longest}
	}
	v := division{available: available(d), unit: 64, share: 2, head: true}
	v.available -= v.available/16 + logitBytes(d)               // scores of tokens; logits
	v.least = (longest + 63) / 64 * 64                          // the rows of lists begin where they can be bound
	widest := 4 * int64(max(graph.Widest(c), graph.TableWords)) // no tensor of a pack may outgrow a binding
	v.most = max(v.least, min(packTokens(d), int(d.Limits().StorageRange/widest))/64*64)
	v.mayKeep = func(all, left int64) bool {
		states := 2 * int64(p.rows) * 4 * int64(c.HiddenSize) // before and after a layer
		return all+states <= left
	}
	v.refuse = func(_ int, need, layer int64) error {
		used := d.Memory().Reserved
		enough := used + (need+layer+(limit-used)/8*7-v.available)/7*8 + 1<<20
		return fmt.Errorf("model: %s of device memory cannot hold a sequence of %d tokens (%s), one layer (%s) and logits: %w; use a vk.Options.MaxMemory of %s, or shorter texts",
			vk.Bytes(limit), longest, vk.Bytes(need), vk.Bytes(layer), vk.ErrOutOfMemory, vk.Bytes(enough))
	}
	err = p.divide(v)
	return p, err
}

// Footprint is what a run takes, in bytes.
type Footprint struct {
	Device int64 // device memory at most
	Host   int64 // host memory at most, without the device's
	States int64 // hidden states that are kept
	Disk   int64 // those of them that go to files, before compression
}

// Predict is the footprint of a Forward over a number of windows of some tokens that keeps the states of so many boundaries, beside extra
// bytes of host memory.
func Predict(d *vk.Device, m *model.Model, windows, window, boundaries int, extra int64, o Options) (f Footprint, err error) {
	p, err := planWindows(d, m, windows, window, o)
	if err != nil {
		return f, err
	}
	base := states.Resident(d)
	if s := o.Host.Stats(); s.Base > 0 {
		base = s.Base
	}
	f.States = int64(boundaries) * int64(windows) * 4 * int64(window) * int64(m.Config.HiddenSize)
	f.Device = p.taken + min(f.States, max(0, p.room))
	f.Host = base + states.RunBytes + extra
	host := f.States - min(f.States, max(0, p.room))
	if o.Host.Bounded() {
		host = min(host, max(0, o.Host.Limit-f.Host))
	}
	f.Host += host
	f.Disk = f.States - min(f.States, max(0, p.room)) - host
	return f, nil
}

// Memory is how a Forward for windows divides a device's memory, for what is to run beside it.
type Memory struct {
	Batches []Batch
	Rows    int   // of a batch at most
	Taken   int64 // while it runs, states aside
	Resting int64 // while it rests
	Weights int64 // that its cache holds at most
}

// PredictMemory is the Memory of a Forward.
func PredictMemory(d *vk.Device, m *model.Model, windows, window int, o Options) (Memory, error) {
	p, err := planWindows(d, m, windows, window, o)
	return Memory{p.batches, p.rows, p.taken, d.DryRun(func(s *vk.Scope) { p.allocate(s, nil) }), p.weights}, err
}
