package model

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// Unscored marks a target that no loss is computed for.
const Unscored = math.MaxUint32

// Forward takes a corpus through a model layer by layer: all windows through layer l, then all through layer l+1. One layer's
// weights on the device are enough, and the hidden states at the boundaries between layers are kept, so that a model that differs
// from layer l on can be run again from there.
//
// Boundary l is what enters layer l; boundary Layers is what leaves the last one, before the final norm. Boundaries lie in device
// memory while there is room, in host memory beyond, and in files beyond what that may take. A Forward belongs to one goroutine.
//
// States that are not finite stop the run: the error names the layer and the operation that made the first of them.
type Forward struct {
	d       *vk.Device
	r       *vk.Recorder
	config  *Config
	windows [][]uint32
	window  int // tokens each
	batches []Batch
	batch   int     // windows of a full batch
	packed  *packed // batches are sequences that share what they begin with, not windows; nil: windows

	scratch scratch
	in, out *vk.Buffer // states on their way from and to host memory
	fixed   fixed
	cache   *weightCache
	keep    bool      // the weights of all layers stay on the device
	room    int64     // bytes of device memory left for boundaries
	states  [][]chunk // by boundary, then by batch
	host    *HostMemory
	release func()    // of what is reserved of it
	spill   *spill    // nil until states go to files
	lost    error     // what closing files and unmapping states met
	taken   int64     // bytes on the device besides states, at most
	held    [][]chunk // the states at the time of Hold
	finite  finiteCheck
	runs    Runs

	lookup [2]*vk.Buffer
	ends   op.Tensor // [1, windows]: each window's last row of a batch
	each   op.Tensor // [1, windows]: 0, 1, …: the same of what LastTokens computes
}

// ForwardOptions tune a Forward. The zero value is for models that are run once.
type ForwardOptions struct {
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
	// Host bounds the host memory that states take, and may be shared by several Forwards; nil is no bound. No result depends on it.
	Host *HostMemory
}

// ForwardStats is what a Forward did.
type ForwardStats struct {
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

// Passes is what runs amount to in passes of all windows of a corpus.
func (f *Forward) Passes(r Runs, windows int) float64 {
	return (float64(r.All) + float64(r.Last)*f.lastShare()) / float64(windows)
}

// Stats is what was done so far.
func (f *Forward) Stats() ForwardStats {
	return ForwardStats{f.Passes(f.runs, len(f.windows)), f.runs, f.cache.uploaded.Load(), time.Duration(f.cache.uploading.Load()), f.cache.waited}
}

// Keeps says whether the weights of all layers stay on the device: a layer may then be run in as many parts as one likes, and Layers
// need not wait.
func (f *Forward) Keeps() bool { return f.keep }

// Batch is a range of windows that go through a layer together.
type Batch struct{ Begin, End int }

// Windows is the number of the batch's windows.
func (b Batch) Windows() int { return b.End - b.Begin }

// chunk is the hidden states of one batch at one boundary, in one of the two memories or a file.
type chunk struct {
	held   bool // see Hold
	device *vk.Buffer
	host   []byte // of pages.Alloc
	disk   *record
}

// maxBatchTokens bounds a batch: beyond it larger matrices gain no speed, and a CPU's caches are left.
func maxBatchTokens(d *vk.Device) int {
	if d.Info.Kind == vk.CPU {
		return 1024
	}
	return 4096
}

// Trim drops weights that nothing uses, to make room for other work on the device: those of layers that go, or, where not all stay
// anyway, everything.
func (f *Forward) Trim(going []*Layer) {
	f.cache.trim(func(key any) bool {
		l, ok := key.(*Layer)
		return !f.keep || ok && slices.Contains(going, l)
	})
}

// NewForward prepares to run windows of equal length through m, or models that With makes of it. The device's
// memory limit is divided: activations of one batch, the weights of one layer or, if there is room, two, so that the next is uploaded
// while the current one computes, and then hidden states. Where one layer alone has room, nothing computes during its upload.
func NewForward(d *vk.Device, m *Model, windows [][]uint32) (*Forward, error) {
	return NewForwardWith(d, m, windows, ForwardOptions{})
}

// NewForwardWith is NewForward with options.
func NewForwardWith(d *vk.Device, m *Model, windows [][]uint32, o ForwardOptions) (*Forward, error) {
	if len(windows) == 0 || len(windows[0]) == 0 {
		return nil, errors.New("model: no tokens to run")
	}
	f := &Forward{d: d, config: m.Config, windows: windows, window: len(windows[0])}
	for i, w := range windows {
		if len(w) != f.window {
			return nil, fmt.Errorf("model: window %d has %d tokens, window 0 has %d", i, len(w), f.window)
		}
		for _, token := range w {
			if int(token) >= m.Config.VocabSize {
				return nil, fmt.Errorf("model: window %d: token %d, the vocabulary of %s has %d", i, token, m.Name, m.Config.VocabSize)
			}
		}
	}
	if m.Config.HeadDim > op.MaxHeadDim {
		return nil, fmt.Errorf("model: %s: head_dim %d, supported are up to %d", m.Name, m.Config.HeadDim, op.MaxHeadDim)
	}
	if f.window > m.Config.MaxPositionEmbeddings {
		return nil, fmt.Errorf("model: windows of %d tokens, %s has max_position_embeddings %d", f.window, m.Name, m.Config.MaxPositionEmbeddings)
	}
	if err := f.plan(m, o); err != nil {
		return nil, err
	}
	if err := f.begin(m, o.Host, f.window); err != nil {
		return nil, err
	}
	return f, nil
}

// begin allocates what was planned, for sequences of at most so many positions; where it fails, nothing is left.
func (f *Forward) begin(m *Model, host *HostMemory, positions int) (err error) {
	f.host = host
	f.host.Begin(f.d)
	if f.release, err = f.host.Reserve("a run", runBytes); err != nil {
		return err
	}
	if err := f.allocate(m, positions); err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

// plan chooses the batch and divides the memory.
func (f *Forward) plan(m *Model, o ForwardOptions) error {
	limit, used := f.d.MemoryLimit(), f.d.Memory().Reserved
	available := (limit - used) / 8 * 7 // an eighth for scores, norms and what the arena rounds up
	c, n := m.Config, int64(len(f.windows))
	available -= n * (20*int64(f.window) + 4*int64(4*c.HiddenSize+3*c.Heads*c.HeadDim+3*c.IntermediateSize)) // losses, scores
	perWindow := int64(f.window) * (c.scratchBytes(f.d) + 2*4*int64(c.HiddenSize))
	fixed := fixedBytes(m, f.window)
	var layer, tensor, all int64
	for _, l := range m.Layers {
		size := residentBytes(f.d, l.Parts[:])
		layer, all = max(layer, size), all+size
		for _, w := range l.Parts {
			tensor = max(tensor, w.Size())
		}
	}
	available = min(available, limit-used-4*tensor) // a merge has three tensors on the device at a time
	if fixed+perWindow+layer > available {
		return fmt.Errorf("model: %s of device memory cannot hold one window of %d tokens (%s) and one layer (%s): %w; use a shorter corpus.Options.Window or a larger vk.Options.MaxMemory",
			vk.Bytes(limit), f.window, vk.Bytes(perWindow+fixed), vk.Bytes(layer), vk.ErrOutOfMemory)
	}
	if o.BatchTokens == 0 {
		o.BatchTokens = maxBatchTokens(f.d)
	}
	f.batch = min(len(f.windows), max(1, o.BatchTokens/f.window))
	left := func() int64 { return available - fixed - int64(f.batch)*perWindow }
	for f.batch > 1 && (int64(f.batch)*perWindow > available/4 || left() < 2*layer) {
		f.batch--
	}
	if o.BatchWindows > 0 {
		if f.batch = min(len(f.windows), o.BatchWindows); left() < layer {
			return fmt.Errorf("model: %s of device memory cannot hold %d windows of %d tokens (%s) and one layer (%s): %w", vk.Bytes(limit), f.batch, f.window,
				vk.Bytes(int64(f.batch)*perWindow+fixed), vk.Bytes(layer), vk.ErrOutOfMemory)
		}
	}
	count := (len(f.windows) + f.batch - 1) / f.batch
	f.batch = (len(f.windows) + count - 1) / count // the largest of batches that are nearly equal
	for i := range count {
		f.batches = append(f.batches, Batch{len(f.windows) * i / count, len(f.windows) * (i + 1) / count})
	}
	// Two layers' weights, unless they are to stay: then the memory that a run takes grows with the depth of a model by the kept
	// states only, and the uploads hide behind the computation.
	weights := 2 * layer
	if weights > left() {
		weights = layer
	}
	if o.KeepWeights && all <= left()/2 {
		f.keep, weights = true, all
	}
	if f.room = left() - weights; o.StatesOnHost {
		f.room = 0
	}
	f.taken = fixed + int64(f.batch)*perWindow + weights
	f.cache = newWeightCache(f.d, weights)
	return nil
}

// rows is how many tokens a batch has.
func (f *Forward) rows(batch int) int {
	if f.packed != nil {
		return len(f.packed.packs[batch].tokens)
	}
	return f.batches[batch].Windows() * f.window
}

// stateBytes is the size of one window's hidden states.
func (f *Forward) stateBytes() int64 { return int64(f.window) * int64(f.config.HiddenSize) * 4 }

func (f *Forward) allocate(m *Model, positions int) (err error) {
	if f.r, err = f.d.NewRecorder(); err != nil {
		return err
	}
	if err = f.wake(); err != nil {
		return err
	}
	for _, b := range []**vk.Buffer{&f.in, &f.out} {
		if *b, err = f.d.NewBuffer("hidden states", int64(f.batch)*f.stateBytes(), vk.OnDevice); err != nil {
			return err
		}
	}
	if err = f.finite.allocate(f.d); err != nil {
		return err
	}
	if err = f.allocateLookup(); err != nil {
		return err
	}
	f.fixed, err = newFixed(f.r, m, positions)
	return err
}

// Rest gives back the device memory that only running layers takes, until one runs again: states and what uploads them stay.
func (f *Forward) Rest(ctx context.Context) error {
	if err := f.Wait(ctx); err != nil {
		return err
	}
	f.cache.trim(anything)
	f.scratch.free(f.d)
	return nil
}

// wake makes the activations of a batch, unless they are there.
func (f *Forward) wake() (err error) {
	if f.scratch.norm == nil {
		f.scratch, err = newScratch(f.d, f.config, f.batch*f.window)
	}
	return err
}

// allocateLookup makes the lists of rows of a full batch; a smaller one's are their beginnings.
func (f *Forward) allocateLookup() (err error) {
	var ends, each []uint32
	for w := range f.batch {
		ends, each = append(ends, uint32((w+1)*f.window-1)), append(each, uint32(w))
	}
	for i, list := range [][]uint32{ends, each} {
		if f.lookup[i], err = f.d.NewBuffer("rows of tokens", 4*int64(f.batch), vk.OnDevice); err != nil {
			return err
		}
		if err := f.d.Upload(context.Background(), f.lookup[i].All(), words(list)); err != nil {
			return err
		}
	}
	f.ends, f.each = rows(f.lookup[0], 1, f.batch), rows(f.lookup[1], 1, f.batch)
	return nil
}

// words is the bytes of 32-bit words as the device reads them.
func words(list []uint32) []byte {
	raw := make([]byte, 0, 4*len(list))
	for _, v := range list {
		raw = binary.LittleEndian.AppendUint32(raw, v)
	}
	return raw
}

// Close frees all that the Forward holds on the device.
func (f *Forward) Close() error {
	var err error
	if f.r != nil {
		err = f.r.Close()
	}
	if f.release != nil {
		f.release()
	}
	if f.cache != nil {
		f.cache.close()
	}
	for l := range f.states {
		f.Drop(l)
	}
	for _, chunks := range f.held {
		for _, c := range chunks {
			c.held = false
			f.drop(c)
		}
	}
	f.scratch.free(f.d)
	f.d.Free(f.in, f.out, f.lookup[0], f.lookup[1])
	f.packed.free(f.d)
	f.finite.free(f.d)
	f.fixed.free(f.d)
	if f.spill != nil {
		f.lost = errors.Join(f.lost, f.spill.close())
		f.spill = nil
	}
	return errors.Join(err, f.lost)
}

// Recorder is the recorder that the Forward computes on; Windows the corpus, Window the tokens of each; Config that of the model it was
// made for.
func (f *Forward) Config() *Config        { return f.config }
func (f *Forward) Recorder() *vk.Recorder { return f.r }
func (f *Forward) Windows() [][]uint32    { return f.windows }
func (f *Forward) Window() int            { return f.window }

// Ends is [1, windows]: the row of each window's last token in a batch's states.
func (f *Forward) Ends(b Batch) op.Tensor { return slice(f.ends, 0, b.Windows()) }

// Each is [1, windows]: 0, 1, …: Ends of what LastTokens and LastStates make of a batch.
func (f *Forward) Each(b Batch) op.Tensor { return slice(f.each, 0, b.Windows()) }

// Batches lists the batches, in order.
func (f *Forward) Batches() []Batch { return slices.Clone(f.batches) }

// Drop forgets the states of a boundary.
func (f *Forward) Drop(boundary int) {
	if boundary >= len(f.states) {
		return
	}
	for _, c := range f.states[boundary] {
		f.drop(c)
	}
	f.states[boundary] = nil
}

func (f *Forward) drop(c chunk) {
	if c.held {
		return
	}
	if c.device != nil {
		before := f.d.Memory().Reserved
		f.d.Free(c.device)
		f.room += before - f.d.Memory().Reserved
	}
	if c.host != nil {
		f.lost = errors.Join(f.lost, freeStates(f.host, c.host))
	}
	if c.disk != nil {
		f.lost = errors.Join(f.lost, f.spill.drop(c.disk))
	}
}

// Has says whether the states of a boundary are there, of every batch.
func (f *Forward) Has(boundary int) bool { return f.has(boundary, f.all()) }

func (f *Forward) has(boundary int, batches []int) bool {
	if boundary >= len(f.states) || f.states[boundary] == nil {
		return false
	}
	for _, b := range batches {
		if c := f.states[boundary][b]; c.device == nil && c.host == nil && c.disk == nil {
			return false
		}
	}
	return true
}

// all is the numbers of all batches.
func (f *Forward) all() []int {
	list := make([]int, len(f.batches))
	for i := range list {
		list[i] = i
	}
	return list
}

// tensor is a batch's states on the device. Those elsewhere are uploaded into the buffer in, once what was recorded is done with it.
func (f *Forward) tensor(ctx context.Context, boundary, batch int) (op.Tensor, error) {
	return f.chunkTensor(ctx, f.states[boundary][batch], f.in, batch)
}

// chunkTensor is tensor for any states of a batch, uploaded into staging.
func (f *Forward) chunkTensor(ctx context.Context, c chunk, staging *vk.Buffer, batch int) (op.Tensor, error) {
	n := f.rows(batch)
	if c.device != nil {
		return rows(c.device, n, f.config.HiddenSize), nil
	}
	if err := f.r.Wait(ctx); err != nil {
		return op.Tensor{}, err
	}
	t := rows(staging, n, f.config.HiddenSize)
	if c.host != nil {
		return t, f.d.Upload(ctx, t.View, c.host)
	}
	return t, f.spill.load(c.disk, func(at int64, values []byte) error {
		return f.d.Upload(ctx, t.View.Slice(at, int64(len(values))), values)
	})
}

// ahead begins to read the states of a batch that is wanted next, if they are in a file.
func (f *Forward) ahead(boundary, batch int) {
	if c := f.states[boundary][batch]; c.disk != nil {
		f.spill.prefetch(c.disk)
	}
}

// store keeps the states of a batch, which are in a buffer on the device that others will use, in host memory or a file.
func (f *Forward) store(ctx context.Context, boundary int, x op.Tensor) (c chunk, err error) {
	size := x.Size()
	if f.host.take(size) {
		if c.host, err = hostStates(f.host, size); err != nil {
			return chunk{}, err
		}
		if err = f.d.Download(ctx, c.host, x.View); err != nil {
			return chunk{}, errors.Join(err, freeStates(f.host, c.host))
		}
		return c, nil
	}
	if f.spill == nil {
		if f.spill, err = newSpill(f.host); err != nil {
			return chunk{}, err
		}
	}
	if c.disk, err = f.spill.begin(boundary); err != nil {
		return chunk{}, err
	}
	for at := int64(0); at < size && err == nil; at += spillPiece {
		values := f.spill.buffer(int(min(spillPiece, size-at)))
		if err = f.d.Download(ctx, values, x.View.Slice(at, int64(len(values)))); err == nil {
			f.spill.add(c.disk, values)
		}
	}
	f.spill.end(c.disk)
	if err != nil {
		return chunk{}, errors.Join(err, f.spill.drop(c.disk))
	}
	return c, nil
}

// States gives f each batch of a boundary as a tensor [tokens, hidden] that is good for recording until f returns.
func (f *Forward) States(ctx context.Context, boundary int, visit func(b Batch, x op.Tensor) error) error {
	if !f.Has(boundary) {
		return fmt.Errorf("model: the states at boundary %d are not kept", boundary)
	}
	for i, b := range f.batches {
		x, err := f.tensor(ctx, boundary, i)
		if err != nil {
			return err
		}
		if i+1 < len(f.batches) {
			f.ahead(boundary, i+1)
		}
		if err := visit(b, x); err != nil {
			return err
		}
	}
	return nil
}

// produce makes a boundary of some batches: for each, fill records what fills out. What does not fit on the device goes to host
// memory, and what does not fit there to files.
func (f *Forward) produce(ctx context.Context, boundary int, batches []int, fill func(batch int, out op.Tensor) error) error {
	for len(f.states) <= boundary {
		f.states = append(f.states, nil)
	}
	if f.states[boundary] == nil {
		f.states[boundary] = make([]chunk, len(f.batches))
	}
	chunks := f.states[boundary]
	for _, i := range batches {
		f.drop(chunks[i])
		chunks[i] = chunk{}
	}
	for _, i := range batches {
		n := f.rows(i)
		size := int64(n) * int64(f.config.HiddenSize) * 4
		buf, resident := f.out, false
		if size <= f.room {
			before := f.d.Memory().Reserved
			b, err := f.d.NewBuffer("hidden states", size, vk.OnDevice)
			switch {
			case err == nil:
				buf, resident = b, true
				f.room -= f.d.Memory().Reserved - before // what the arena took: a block with a hole at its end costs all of it
			case errors.Is(err, vk.ErrOutOfMemory): // the heap is fuller than its size promised: spill from here on
				f.room = 0
			default:
				return err
			}
		}
		out := rows(buf, n, f.config.HiddenSize)
		if resident {
			chunks[i].device = buf
		}
		if err := fill(i, out); err != nil {
			return err
		}
		if !resident {
			if err := f.r.Wait(ctx); err != nil {
				return err
			}
			c, err := f.store(ctx, boundary, out)
			if err != nil {
				return err
			}
			chunks[i] = c
		}
	}
	return f.r.Flush(ctx)
}

// Embed makes boundary 0. Only the rows of the embedding that a batch uses travel to the device.
func (f *Forward) Embed(ctx context.Context, m *Model) error {
	err := f.produce(ctx, 0, f.all(), func(batch int, out op.Tensor) error {
		if f.packed != nil {
			return f.embedPack(ctx, m, batch, out)
		}
		b := f.batches[batch]
		if err := embed(ctx, f.r, m.Embed, slices.Concat(f.windows[b.Begin:b.End]...), out); err != nil {
			return err
		}
		if !f.fixed.positions.IsZero() {
			op.AddPositions(f.r, out, f.fixed.positions, f.window, 0)
		}
		return f.r.Err()
	})
	if err != nil {
		return fmt.Errorf("model: %s: embedding: %w", m.Name, err)
	}
	return nil
}

// embed fills out with the embeddings of tokens, through a table of the rows in use only, and waits for it. It refuses rows that hold NaN.
func embed(ctx context.Context, r *vk.Recorder, table Weight, tokens []uint32, out op.Tensor) (err error) {
	used := slices.Clone(tokens)
	slices.Sort(used)
	used = slices.Compact(used)
	rowBytes := table.Cols * table.DType.Size()
	rowsInUse := make([]byte, 0, (len(used)*rowBytes+3)&^3)
	for _, t := range used {
		rowsInUse = append(rowsInUse, table.Data[int(t)*rowBytes:(int(t)+1)*rowBytes]...)
	}
	table.release(table.Data)
	raw := make([]byte, 4*len(tokens))
	for i, t := range tokens {
		row, _ := slices.BinarySearch(used, t)
		binary.LittleEndian.PutUint32(raw[4*i:], uint32(row))
	}
	d := r.Device()
	var bufs [2]*vk.Buffer
	defer func() { d.Free(bufs[:]...) }()
	for i, data := range [][]byte{rowsInUse, raw} {
		if bufs[i], err = d.NewBuffer([]string{"embedding rows", "token ids"}[i], int64(len(data)), vk.OnDevice); err != nil {
			return err
		}
		if err = d.Upload(ctx, bufs[i].All(), data); err != nil {
			return err
		}
	}
	inUse := op.Of(bufs[0].All(), table.DType, len(used), table.Cols)
	if err := checkFinite(ctx, r, []op.Tensor{inUse}, []Weight{table}); err != nil {
		return err
	}
	op.Embedding(r, out, inUse, op.Of(bufs[1].All(), dtype.F32, 1, len(tokens)), 0)
	return r.Wait(ctx)
}

// FinalNorm records the final norm of a batch of states, good until the next layer or FinalNorm is recorded.
func (f *Forward) FinalNorm(m *Model, x op.Tensor) op.Tensor {
	if err := f.wake(); err != nil {
		f.r.Fail(err)
		return x
	}
	y := rows(f.scratch.norm, x.Rows, x.Cols)
	m.Config.recordNorm(f.r, y, x, f.fixed.norm, f.fixed.normBias)
	return y
}

// Step is what a layer's visitor sees of one batch: everything is on the device and good for recording until the visitor returns.
type Step struct {
	Layer   int
	Index   int // of the batch
	Batch   Batch
	Weights []op.Tensor // by Part
	In, Out op.Tensor   // [tokens, hidden] before and after the layer; Out of LastTokens has the last of each window
	Ends    op.Tensor   // [1, windows]: the row of Out of each window's last token
	activations
}

// Layer runs layer l of m on boundary l and makes boundary l+1. visit, if not nil, may record more work on each batch. When Layer
// returns, all of it is done.
func (f *Forward) Layer(ctx context.Context, m *Model, l int, visit func(Step) error) error {
	if err := f.LayerOn(ctx, m, l, f.all(), visit); err != nil {
		return err
	}
	return f.Wait(ctx)
}

// LayerOn is Layer for some batches, by their numbers. Where Keeps says so, it does not wait for what it recorded: Wait does, and
// must be called before states or weights are dropped.
func (f *Forward) LayerOn(ctx context.Context, m *Model, l int, batches []int, visit func(Step) error) error {
	return f.run(ctx, layerCall{m: m, layer: l, batches: batches}, visit)
}

// LastTokens is LayerOn for what visit makes of the last token of each window: it computes the keys and values of all tokens, and
// little of the rest. It makes no boundary, and there are no activations. The bits are those that LayerOn gives these tokens.
func (f *Forward) LastTokens(ctx context.Context, m *Model, l int, batches []int, visit func(Step) error) error {
	return f.run(ctx, layerCall{m: m, layer: l, batches: batches, last: true}, visit)
}

// layerCall is a layer that was recorded for some batches.
type layerCall struct {
	m       *Model
	layer   int
	batches []int
	last    bool // for the last tokens, making no boundary
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
	l := c.layer
	if !f.has(l, c.batches) {
		return fmt.Errorf("the states at boundary %d are not kept", l)
	}
	if err := f.wake(); err != nil {
		return err
	}
	weights, err := f.cache.layer(ctx, f.r, c.m.Layers[l])
	if f.keep && errors.Is(err, vk.ErrOutOfMemory) { // the heap is fuller than its size promised: from here on weights come and go
		f.keep = false
		if err = f.Wait(ctx); err == nil {
			weights, err = f.cache.layer(ctx, f.r, c.m.Layers[l])
		}
	}
	if err != nil {
		return err
	}
	slot := f.finite.add(c)
	if l+1 < len(c.m.Layers) {
		next := c.m.Layers[l+1]
		f.cache.prefetch(ctx, next, next.Parts[:])
	}
	fill := func(batch int, out op.Tensor) error {
		x, err := f.tensor(ctx, l, batch)
		if err != nil {
			return err
		}
		if next := slices.Index(c.batches, batch) + 1; next < len(c.batches) {
			f.ahead(l, c.batches[next])
		}
		windows := f.batches[batch].Windows()
		run, ends := layerRun{guard: func(t op.Tensor) { f.finite.count(f.r, slot, t) }}, f.ends
		if run.pack, err = f.loadPack(ctx, batch); err != nil {
			return err
		}
		if c.last {
			run.last, ends = slice(f.ends, 0, windows), f.each
		}
		a := run.record(f.r, c.m.Config, l, weights, &f.scratch, out, x, f.fixed.rope, f.window)
		f.finite.count(f.r, slot, out)
		if c.last {
			f.runs.Last += windows
		} else {
			f.runs.All += windows
		}
		if visit == nil {
			return f.r.Err()
		}
		return errors.Join(f.r.Err(), visit(Step{l, batch, f.batches[batch], weights, x, out, slice(ends, 0, windows), a}))
	}
	if !c.last {
		return f.produce(ctx, l+1, c.batches, fill)
	}
	for _, i := range c.batches {
		if err := fill(i, rows(f.out, f.batches[i].Windows(), f.config.HiddenSize)); err != nil {
			return err
		}
	}
	return f.r.Flush(ctx)
}

// lastShare is which part of a layer's multiplications a run for the last tokens takes.
func (f *Forward) lastShare() float64 {
	c := f.config
	q, kv, s, hidden := float64(c.Heads*c.HeadDim), float64(c.KVHeads*c.HeadDim), float64(f.window), float64(c.HiddenSize)
	mlp := 3.0
	if c.ReLU {
		mlp = 2
	}
	projections, rest := hidden*(q+2*kv), hidden*(q+mlp*float64(c.IntermediateSize))
	all := s*(projections+rest) + q*s*(s+1)
	return (s*projections + rest + 2*q*s) / all
}

// Wait waits for what was recorded and gives weights back. It refuses states that are not finite.
func (f *Forward) Wait(ctx context.Context) error {
	calls, counts, err := f.finite.wait(ctx, f.r)
	defer func() {
		for _, c := range calls {
			f.cache.release(c.m.Layers[c.layer])
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

// Weights gives visit some parts of a layer on the device, good for recording until it returns. Where the layer is not there, only
// these parts travel.
func (f *Forward) Weights(ctx context.Context, l *Layer, parts []Part, visit func(w []op.Tensor) error) error {
	var key any = l
	weights := l.Parts[:]
	if !f.cache.holds(l) {
		key, weights = partsKey{l, fmt.Sprint(parts)}, make([]Weight, NumParts)
		for _, p := range parts {
			weights[p] = l.Parts[p]
		}
	}
	tensors, err := f.cache.acquire(ctx, key, weights)
	if err != nil {
		return err
	}
	defer f.cache.release(key)
	var picked []op.Tensor
	for _, p := range parts {
		picked = append(picked, tensors[p])
	}
	err = visit(picked)
	return errors.Join(err, f.r.Wait(ctx))
}

// partsKey is the key of some parts of a layer on the device.
type partsKey struct {
	l     *Layer
	parts string
}
