package op

import (
	"fmt"
	"math"

	"github.com/vkcome/vkcome/vk"
)

// AttentionShape is how Attention reads its tensors.
type AttentionShape struct {
	Windows        int // independent sequences
	QueryLen       int // queries of a window, its last positions
	KeyLen         int // keys of a window, at positions 0 to KeyLen−1
	KeyStride      int // rows of k and v that a window has, KeyLen of them filled; 0 is KeyLen
	Heads, KVHeads int // query head h reads key/value head h/(Heads/KVHeads)
	HeadDim        int // even, at most 256
	SlidingWindow  int // positions that a query sees, its own included; 0 is all

	// Batch takes a kernel for many queries whatever their number: a query's numbers then never depend on it.
	Batch bool
	LogitOptions

	// Half allows what is multiplied to be rounded to f16, as products of weights of 16 bits do where a device has cooperative matrices.
	Half bool
}

// LogitOptions are what becomes of the products of queries and keys. The zero value is 1/√HeadDim times these.
type LogitOptions struct {
	Scale float64 // that they are multiplied by; 0 is 1/√HeadDim
	Cap   float64 // they become Cap·tanh(these/Cap) after that, as in Gemma 2; 0: they do not
}

// scale is the factor, for logits in base 2.
func (s AttentionShape) scale() float32 {
	if s.Scale == 0 {
		return float32(math.Log2E / math.Sqrt(float64(s.HeadDim)))
	}
	return float32(math.Log2E * s.Scale)
}

// cap is the specialization constant CAP.
func (s AttentionShape) cap() uint32 { return math.Float32bits(float32(math.Log2E * s.Cap)) }

// AttentionExtra is what Attention needs or gives besides its operands.
type AttentionExtra struct {
	Scratch  Tensor // [1, ≥ AttentionScratch]  F32; may be absent where that is 0
	Activity Tensor // [Windows·AttentionBlocks, Heads·HeadDim]  F32: Σ|o| over each block of queries of a window; absent if not wanted
}

// Attention records o = softmax(q·kᵀ/√HeadDim)·v for every window and head, causal: query i of a window is at position
// KeyLen−QueryLen+i and sees the keys up to there. LogitOptions say what is done otherwise.
//
//	q, o  [Windows·QueryLen, Heads·HeadDim]     F32; o may be q
//	k, v  [Windows·KeyStride, KVHeads·HeadDim]  F32
//
// The logits are never in memory. A query's numbers do not depend on how many windows are in the call, nor on how many other queries,
// but for whether those are at most 4 after earlier keys, as in generation, or others; see AttentionShape.Batch. Where k or v of one
// window outgrow a binding, or the loops that a CPU driver allows, the error is a vk.ErrLimit. Sources: Ainslie et al. 2023, arXiv
// 2305.13245 (grouped queries); Milakov & Gimelshein 2018, arXiv 1805.02867 (online softmax); Dao et al. 2023 (Flash-Decoding).
func Attention(r *vk.Recorder, o, q, k, v Tensor, s AttentionShape, extra AttentionExtra) {
	if s.KeyStride == 0 {
		s.KeyStride = s.KeyLen
	}
	d := r.Device()
	ok := s.valid() && s.KeyLen <= s.KeyStride && q.Is(s.Windows*s.QueryLen, s.Heads*s.HeadDim) && o.Is(q.Rows, q.Cols) &&
		k.Is(s.Windows*s.KeyStride, s.KVHeads*s.HeadDim) && v.Is(k.Rows, k.Cols) && words(o, q, k, v)
	activity, scratch := extra.Activity, extra.Scratch
	if ok && !activity.IsZero() {
		blocks := AttentionBlocks(d, s)
		ok = blocks > 0 && words(activity) && activity.Is(s.Windows*blocks, q.Cols)
	}
	need := AttentionScratch(d, s)
	ok = ok && (need == 0 || words(scratch) && scratch.Elements() >= need)
	if !check(r, "attention", ok, o, q, k, v, scratch, activity) {
		return
	}
	way, err := s.way(d, !activity.IsZero())
	if err != nil {
		r.Fail(err)
		return
	}
	if bindableRows(r, k) < s.KeyLen || bindableRows(r, q) < 1 {
		r.Fail(fmt.Errorf("op attention: a window's %d keys or values of %s, or a query of %s: %s binds at most %s: %w", s.KeyLen,
			vk.Bytes(k.RowBytes()), vk.Bytes(q.RowBytes()), d.Info.Name, vk.Bytes(d.Limits().StorageRange), vk.ErrLimit))
		return
	}
	// As many windows as bindings hold; where the queries of one are too many, some of them.
	windows, queries := min(1+(bindableRows(r, k)-s.KeyLen)/s.KeyStride, bindableRows(r, q)/s.QueryLen, s.Windows, maxGroups), s.QueryLen
	if windows == 0 {
		windows, queries = 1, bindableRows(r, q)
		if queries >= way.rows {
			queries -= queries % way.rows // whole workgroups, as in one dispatch
		} else if !activity.IsZero() {
			r.Fail(fmt.Errorf("op attention: activity of %d queries of %s: %s binds at most %s: %w", way.rows, vk.Bytes(q.RowBytes()),
				d.Info.Name, vk.Bytes(d.Limits().StorageRange), vk.ErrLimit))
			return
		}
	}
	group, blocks := s.Heads/s.KVHeads, s.blocks(way)
	for window := 0; window < s.Windows; window += windows {
		n := min(windows, s.Windows-window)
		keys := window * s.KeyStride
		partK, skipK := bindable(r, k, keys, keys+(n-1)*s.KeyStride+s.KeyLen)
		partV, _ := bindable(r, v, keys, keys+(n-1)*s.KeyStride+s.KeyLen)
		for begin := 0; begin < s.QueryLen; begin += queries {
			end := min(begin+queries, s.QueryLen)
			partQ, skipQ := bindable(r, q, window*s.QueryLen+begin, (window+n-1)*s.QueryLen+end)
			partO, _ := bindable(r, o, window*s.QueryLen+begin, (window+n-1)*s.QueryLen+end)
			first := s.KeyLen - s.QueryLen + begin
			seen := float64(2*first+end-begin+1) / 2
			if s.SlidingWindow > 0 {
				seen = min(seen, float64(s.SlidingWindow))
			}
			work := 4 * seen * float64(n*(end-begin)*q.Cols)
			constants := func(blocks, skip int, more ...any) pushed {
				return push(append([]any{"queries", end - begin, "keys", s.KeyLen, "key_stride", s.KeyStride, "kv_heads", s.KVHeads, "group", group, "first", first,
					"sliding", s.SlidingWindow, "skip_q", skipQ, "skip_k", skipK, "scale", s.scale(), "blocks", blocks, "skip_activity", skip}, more...)...)
			}
			rows := (end - begin) * group
			groups := [3]int{ceilDiv(rows, way.rows), s.KVHeads, n}
			query, out, key, value := vk.In(partQ.View), vk.Out(partO.View), vk.In(partK.View), vk.In(partV.View)
			switch {
			case way.runs > 1:
				part := Of(scratch.View, scratch.DType, 1, need).View
				groups[0] *= way.runs
				dispatchTexels(r, way.shader, way.texels, way.spec, groups, constants(way.runs, 0), work, query, vk.Out(part), key, value)
				dispatch(r, "attention_combine", spec("WORKGROUP", rowGroup, "HEAD_DIM", s.HeadDim), [3]int{rows, s.KVHeads, n}, constants(way.runs, 0), work/128, vk.In(part), out)
			case way.decode:
				dispatchTexels(r, way.shader, way.texels, way.spec, groups, constants(1, 0), work, query, out, key, value)
			default:
				sums, skip := partO, 0 // something has to be bound
				if !activity.IsZero() {
					at := window*blocks + begin*group/way.rows
					sums, skip = bindable(r, activity, at, at+(n-1)*blocks+groups[0])
				}
				args, more := []vk.Arg{query, out, vk.Out(sums.View)}, []any(nil)
				if way.half {
					halfQ, unscaleQ, at := s.putHeads(r, q.RowRange(window*s.QueryLen+begin, (window+n-1)*s.QueryLen+end), scratch, 0)
					halfK, unscaleK, at := s.putHeads(r, k.RowRange(keys, keys+(n-1)*s.KeyStride+s.KeyLen), scratch, at)
					halfV, unscaleV, _ := s.putHeads(r, v.RowRange(keys, keys+(n-1)*s.KeyStride+s.KeyLen), scratch, at)
					args[0], args[1] = vk.In(halfQ.View), vk.InOut(partO.View)
					args = append(args, vk.In(halfK.View), vk.In(halfV.View), vk.In(unscaleQ.View), vk.In(unscaleK.View), vk.In(unscaleV.View))
				} else if way.address {
					more = []any{"k", address{}, "v", address{}}
					args = append(args, vk.InAt(partK.View, 12), vk.InAt(partV.View, 14))
				} else {
					args = append(args, key, value)
				}
				source := vk.Source{Name: way.shader, Texels: way.texels, Subgroup: way.subgroup, Shared: way.shared}
				dispatchSource(r, source, way.spec, groups, constants(blocks, skip, more...), work, args...)
			}
		}
	}
}

// AttentionBlocks is into how many blocks of queries the device cuts a window for AttentionExtra.Activity; 0 where it has none for the
// shape: at most 4 queries after earlier keys.
func AttentionBlocks(d *vk.Device, s AttentionShape) int {
	if !s.valid() || s.decode() {
		return 0
	}
	way, err := s.way(d, true)
	if err != nil {
		return 0
	}
	return s.blocks(way)
}

// AttentionScratch is how many floats of scratch Attention needs on the device: none but on GPUs, for at most 4 queries after more than 128
// earlier keys, and where cooperative matrices multiply more.
func AttentionScratch(d *vk.Device, s AttentionShape) int {
	if !s.valid() {
		return 0
	}
	way, err := s.way(d, false)
	if err == nil && way.half {
		keys := (s.Windows-1)*max(s.KeyStride, s.KeyLen) + s.KeyLen
		return int((s.headHalves(d, s.Windows*s.QueryLen, s.Heads) + 2*s.headHalves(d, keys, s.KVHeads)) / 4)
	}
	if err != nil || way.runs <= 1 {
		return 0
	}
	return s.Windows * s.QueryLen * s.Heads * way.runs * 4 * (ceilDiv(s.HeadDim, 4) + 1)
}

// valid reports whether the shape is one that there is.
func (s AttentionShape) valid() bool {
	return s.Scale >= 0 && s.Cap >= 0 && s.Windows > 0 && s.QueryLen > 0 && s.QueryLen <= s.KeyLen && s.SlidingWindow >= 0 &&
		s.KVHeads > 0 && s.Heads > 0 && s.Heads%s.KVHeads == 0 && s.HeadDim > 0 && s.HeadDim <= MaxHeadDim && s.HeadDim%2 == 0
}

// decode reports whether the shape is that of generation.
func (s AttentionShape) decode() bool {
	return !s.Batch && s.QueryLen <= AttentionDecode && s.QueryLen < s.KeyLen
}

// blocks is the workgroups of a window along its rows.
func (s AttentionShape) blocks(w attentionWay) int {
	return ceilDiv(s.QueryLen*s.Heads/s.KVHeads, w.rows)
}

// MaxHeadDim is the largest head that the shaders hold.
const MaxHeadDim = 256

// AttentionDecode is the most queries, after earlier keys, that the kernels for generation take.
const AttentionDecode = 4

const (
	attentionChunk      = 128    // keys of a run of attention_decode.comp
	attentionIterations = 60_000 // of all loops of an invocation, for vk.LoopLimit; up to there the kernels for vectors are taken, whatever the driver
)

// attentionWay is a kernel and how it is to be recorded.
type attentionWay struct {
	shader  string
	texels  uint32
	spec    specialized
	rows    int  // queries times heads of a group that a workgroup takes
	decode  bool // no activity
	runs    int  // of keys that are combined; 0 where the kernel has none
	address bool // k and v are read at their addresses

	half     bool  // q, k and v are what toHalf makes of their heads, in scratch
	subgroup int   // its size; 0 is any
	shared   int64 // memory
}

// onVectors reports whether kernels whose workgroups are the lanes of a CPU's vector run on the device and take the shape.
func (s AttentionShape) onVectors(d *vk.Device) bool {
	lanes := d.Limits().SubgroupSize
	return onVectors(d) && s.HeadDim%4 == 0 && d.Limits().SubgroupShuffle && (lanes == 4 || lanes == 8 || lanes == 16)
}

// way is the one place that chooses: cooperative matrices where they are fast and rounding is allowed, else f32. The choice, runs included, is the
// same for a shape whatever the number of windows, and for queries alone or among others but for decode.
func (s AttentionShape) way(d *vk.Device, activity bool) (attentionWay, error) {
	name, _ := forced(d, attentionMany)
	asked := name == coopAttention || name == coopAttentionRows
	if !s.decode() && (asked || name == "" && s.Half && !d.Info.Has(vk.SlowMatrices)) {
		if way, ok := s.coopWay(d, activity, name); ok {
			return way, nil
		}
	}
	return s.f32Way(d, activity, false)
}

// f32Way are the kernels of f32, which packed segments have too. What a CPU runs best begins at the subgroup tier; what a GPU runs is what the
// baseline tier of any device runs.
func (s AttentionShape) f32Way(d *vk.Device, activity, packed bool) (attentionWay, error) {
	l, dims, rows := d.Limits(), ceilDiv(s.HeadDim, 4), s.QueryLen*s.Heads/s.KVHeads
	lanes := l.SubgroupSize
	cpu := s.onVectors(d)
	if s.decode() {
		if name, _ := forced(d, attentionFew); cpu && name != "attention_decode" && ceilDiv(s.KeyLen, lanes) <= attentionIterations {
			// What is held of q must be near registers: 64 vectors of 4.
			n := max(1, min(rows, 64/dims))
			return attentionWay{shader: "attention_cpu_decode", texels: 0b1101, spec: spec("KEYS", lanes, "HEAD_DIM", s.HeadDim, "CAP", s.cap(), "ROWS", n), rows: n, decode: true}, nil
		}
		most := 16 // vec4 of q that an invocation holds
		if d.Info.Has(vk.QuarterRegisters) {
			most = 8
		}
		n := max(1, min(rows, 8, most/ceilDiv(dims, 8)))
		low := 0
		if first := s.KeyLen - s.QueryLen; s.SlidingWindow > 0 && first >= s.SlidingWindow {
			low = first - s.SlidingWindow + 1
		}
		return attentionWay{shader: "attention_decode", spec: spec("WORKGROUP", attentionChunk, "HEAD_DIM", s.HeadDim, "CAP", s.cap(), "ROWS", n), rows: n, decode: true,
			runs: ceilDiv(s.KeyLen, attentionChunk) - low/attentionChunk}, nil
	}
	step := int(gcd(int64(dims), 4))
	name, _ := forced(d, attentionMany)
	if cpu && name != "attention" && ceilDiv(s.KeyLen, lanes)*(1+dims/step)+s.Heads/s.KVHeads <= attentionIterations {
		// The accumulators must be near registers: 64 vectors of 4.
		n := max(1, min(ceilDiv(rows, lanes), 64/dims, 4))
		way := attentionWay{shader: "attention_cpu_shuffle", texels: 0b11001, rows: lanes * n,
			spec: spec("KEYS", lanes, "HEAD_DIM", s.HeadDim, "CAP", s.cap(), "ROWS", n, "STEP", step, "ACTIVITY", activity)}
		if uniformLoads(d, name) {
			way.shader, way.texels, way.address = "attention_cpu", 0b1, true
		}
		return way, nil
	}
	t := s.tile(d, 1, 1, activity || packed)
	if n := ceilDiv(s.KeyLen, t.others()) * (1 + ceilDiv(dims, 8) + 17*t.parts()*ceilDiv(dims, 16)); !loops(d, n, attentionIterations) {
		return attentionWay{}, fmt.Errorf("op attention: %d keys of %d take %d iterations on %s, its driver may stop at %d: %w", s.KeyLen, s.HeadDim, n,
			d.Info.Name, attentionIterations, vk.ErrLimit)
	}
	return attentionWay{shader: "attention", rows: t.rows(), shared: t.shared(),
		spec: spec("WORKGROUP", t.group(), "HEAD_DIM", s.HeadDim, "CAP", s.cap(), "EACH", t.each, "THEIRS", t.theirs, "ACTIVITY", activity)}, nil
}

// attentionThreadRows is THREAD_ROWS of common/attention_tiles.glsl.
const attentionThreadRows = 8

// attentionTile is a tile of the kernels for GPUs, in f32: the rows of an invocation, and those of the others that it multiplies them with.
type attentionTile struct{ each, theirs int }

func (t attentionTile) rows() int   { return attentionThreadRows * t.each }
func (t attentionTile) others() int { return t.columns() * t.theirs }
func (t attentionTile) group() int  { return t.columns() * attentionThreadRows }

// columns of invocations share a row.
func (t attentionTile) columns() int {
	if t.theirs == 1 {
		return 32
	}
	return 16
}

// parts of the others have their blocks in shared memory one after the other.
func (t attentionTile) parts() int {
	if t.each == 1 && t.theirs <= 2 {
		return 2
	}
	return 1
}

// shared is the memory that a workgroup takes: a vec4 a column of each of a part of the others, or 8 of all and of the rows; weights of each row, and a
// number, for each column.
func (t attentionTile) shared() int64 {
	return 16*int64(max(t.columns()*t.others()/t.parts(), 8*(t.rows()+t.others()))) + int64(t.columns()*t.rows()*(16+4))
}

// tile has as many rows as an invocation's registers hold without spilling, of which it adds up so many outputs or gradients, and products with tiles,
// and as a core has room for 16 subgroups of NVIDIA's with, or four a SIMD unit of AMD's (.ci/gpu). Gradients need fewer others
// where registers have 8 lanes: Intel's compiler then holds more beside the sums (DG2: 2 rows and 64 others take 171 of 128, 1 and 32 take 95). Where
// a device has 16 KiB of shared memory, the least there is, tiles are smaller. more says that there is more to do than products and their sums:
// activity, or segments.
func (s AttentionShape) tile(d *vk.Device, sums, products int, more bool) attentionTile {
	most, of := 11, ceilDiv(s.HeadDim, 64)*sums+products-1 // vec4 of sums, for each row
	t, threads := attentionTile{1, 4}, d.Info.Has(vk.ThreadRegisters)
	switch {
	case d.Info.Has(vk.QuarterRegisters) && of > 7: // gradients of keys and values of 256: 84 registers with 16 columns, and 64, of which four subgroups have room, with 32
		return attentionTile{1, 1}
	case d.Info.Has(vk.QuarterRegisters):
		return attentionTile{1, 2}
	case threads && products > 1 && d.Limits().SubgroupMin < 16:
		most, t.theirs = 5, 2
	case d.Info.Has(vk.FewRegisters):
		most = 6
	case d.Info.Has(vk.HalfRegisters) && of > 8:
		t.theirs = 2
	case d.Info.Has(vk.HalfRegisters) && more:
		of += ceilDiv(of, 2)
	}
	switch {
	case most >= 4*of && !threads: // there, 4 rows of what is multiplied are too much even beside 4 vec4 of sums
		t.each = 4
	case most >= 2*of:
		t.each = 2
	}
	if t.shared() > d.Limits().SharedMemory {
		t = attentionTile{min(t.each, 2), 2}
	}
	return t
}
