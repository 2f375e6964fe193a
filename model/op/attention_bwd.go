package op

import (
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/vk"
)

// AttentionBackward records the gradients of Attention by its queries, keys and values, for whole windows: QueryLen, KeyLen and
// KeyStride are the same.
//
//	dq, do, q, o  [Windows·QueryLen, Heads·HeadDim]         F32; o is Attention's output, do its gradient; dq may be o
//	dk, dv, k, v  [Windows·QueryLen, KVHeads·HeadDim]       F32
//	scratch       [1, ≥ AttentionBackwardScratch]           F32
//
// The softmax is made again, and never in memory. A gradient does not depend on how many windows are in the call. Where a window
// outgrows a binding, or the loops that a CPU driver allows, the error is a vk.ErrLimit. Source: Dao et al. 2022, arXiv 2205.14135.
func AttentionBackward(r *vk.Recorder, dq, dk, dv, q, k, v, o, do Tensor, s AttentionShape, scratch Tensor) {
	if s.KeyStride == 0 {
		s.KeyStride = s.KeyLen
	}
	d := r.Device()
	rows := s.Windows * s.QueryLen
	ok := s.valid() && s.QueryLen == s.KeyLen && s.KeyLen == s.KeyStride && words(dq, dk, dv, q, k, v, o, do, scratch) &&
		scratch.Elements() >= AttentionBackwardScratch(d, s)
	for _, t := range []Tensor{dq, q, o, do} {
		ok = ok && t.Is(rows, s.Heads*s.HeadDim)
	}
	for _, t := range []Tensor{dk, dv, k, v} {
		ok = ok && t.Is(rows, s.KVHeads*s.HeadDim)
	}
	if !check(r, "attention_bwd", ok, dq, dk, dv, q, k, v, o, do, scratch) {
		return
	}
	ofQueries, err := s.backwardWay(d, false)
	if err != nil {
		r.Fail(err)
		return
	}
	ofKeys, err := s.backwardWay(d, true)
	if err != nil {
		r.Fail(err)
		return
	}
	statistics, half := Of(scratch.View, scratch.DType, rows, 2*s.Heads), ofQueries.half || ofKeys.half
	windows := min(s.Windows, maxGroups)
	for _, t := range []Tensor{q, k, statistics} {
		fit := int(d.Limits().StorageRange/t.RowBytes()) - rowUnit(r, t) + 1
		windows = min(windows, fit/s.QueryLen)
		if windows < 1 {
			r.Fail(fmt.Errorf("op attention_bwd: a window's %d rows of %s: %s binds at most %s: %w", s.QueryLen, vk.Bytes(t.RowBytes()), d.Info.Name,
				vk.Bytes(d.Limits().StorageRange), vk.ErrLimit))
			return
		}
	}
	for half && windows > 1 && !s.halvesBound(d, windows) {
		windows--
	}
	group := s.Heads / s.KVHeads
	for window := 0; window < s.Windows; window += windows {
		n := min(windows, s.Windows-window)
		part := func(t Tensor) (vk.View, int) {
			p, skip := bindable(r, t, window*s.QueryLen, (window+n)*s.QueryLen)
			return p.View, skip
		}
		partQ, skipQ := part(q)
		partK, skipK := part(k)
		partStatistics, skipStatistics := part(statistics)
		partDQ, _ := part(dq)
		partDK, _ := part(dk)
		partDV, _ := part(dv)
		partV, _ := part(v)
		partO, _ := part(o)
		partDO, _ := part(do)
		constants := []any{"queries", s.QueryLen, "keys", s.QueryLen, "key_stride", s.QueryLen, "kv_heads", s.KVHeads, "group", group, "first", 0,
			"sliding", s.SlidingWindow, "skip_q", skipQ, "skip_k", skipK, "scale", s.scale(), "blocks", 0, "skip_activity", skipStatistics}
		seen := float64(s.QueryLen+1) / 2
		if s.SlidingWindow > 0 {
			seen = min(seen, float64(s.SlidingWindow))
		}
		products := 2 * seen * float64(n*s.QueryLen*s.Heads*s.HeadDim)
		var halves halfParts
		if half {
			of := func(t Tensor) Tensor { return t.RowRange(window*s.QueryLen, (window+n)*s.QueryLen) }
			halves = s.putBackward(r, n, scratch, [4]Tensor{of(q), of(do), of(k), of(v)})
		}
		ofQueries.record(r, [3]int{ceilDiv(s.QueryLen*group, ofQueries.rows), s.KVHeads, n}, constants, 3*products, backwardPass{
			mine: [2]vk.View{partQ, partDO}, theirs: [2]vk.View{partK, partV}, statistics: partStatistics, made: vk.Write, more: []vk.Arg{vk.Out(partDQ), vk.In(partO)},
			halves: halves.view, places: halves.places(s, false, skipQ, skipK)})
		ofKeys.record(r, [3]int{ceilDiv(s.QueryLen, ofKeys.rows), s.KVHeads, n}, constants, 4*products, backwardPass{
			mine: [2]vk.View{partK, partV}, theirs: [2]vk.View{partQ, partDO}, statistics: partStatistics, made: vk.Read, more: []vk.Arg{vk.Out(partDK), vk.Out(partDV)},
			halves: halves.view, places: halves.places(s, true, skipQ, skipK)})
	}
}

// AttentionBackwardScratch is how many floats of scratch AttentionBackward needs on the device: the softmax's denominator and the mean gradient of
// each query, and where cooperative matrices multiply, what they do. It is enough for the same rows in shorter windows.
func AttentionBackwardScratch(d *vk.Device, s AttentionShape) int {
	if !s.valid() || !s.halfBackward(d, false) && !s.halfBackward(d, true) {
		return s.statistics()
	}
	_, _, end := s.backwardHalves(d, s.Windows)
	return int(end / 4)
}

// statistics is how many floats those of the queries are.
func (s AttentionShape) statistics() int { return 2 * s.Windows * s.QueryLen * s.Heads }

// halfBackward says whether a pass takes cooperative matrices, for windows that can be bound.
func (s AttentionShape) halfBackward(d *vk.Device, ofKeys bool) bool {
	name, _ := forced(d, attentionBack)
	if name != "attention_bwd_coopmat" && (name != "" || !s.Half || d.Info.Has(vk.SlowMatrices)) {
		return false
	}
	_, ok := s.coopBackward(d, ofKeys)
	return ok
}

// backwardWay is the one place that chooses the kernel of a pass of the backward, over rows of queries or of keys: cooperative matrices where they
// are fast and rounding is allowed, else f32. It depends on nothing but the shape of a window.
func (s AttentionShape) backwardWay(d *vk.Device, ofKeys bool) (backwardWay, error) {
	if s.halfBackward(d, ofKeys) && s.halvesBound(d, 1) {
		way, _ := s.coopBackward(d, ofKeys)
		return way, nil
	}
	group, dims := s.Heads/s.KVHeads, ceilDiv(s.HeadDim, 4)
	pass, rows, others, gradients := "_q", s.QueryLen*group, s.QueryLen, 1
	if ofKeys {
		pass, rows, others, gradients = "_kv", s.QueryLen, s.QueryLen*group, 2
	}
	step, held := int(gcd(int64(dims), 4)), 1
	if dims <= 16 {
		step, held = dims, dims // larger ones take the driver twice as long to compile
	}
	name, _ := forced(d, attentionBack)
	if lanes := d.Limits().SubgroupSize; s.onVectors(d) && name != "attention_bwd" && ceilDiv(others, lanes)*(1+2*dims/step) <= attentionIterations {
		// More rows share what is read; beyond 128 vectors of 4 for a gradient the accumulators are too far from registers.
		n := max(1, min(ceilDiv(rows, lanes), 128/dims, 4))
		way := backwardWay{shader: "attention_bwd_cpu" + pass + "_shuffle", texels: 0b1100011, rows: lanes * n,
			spec: spec("OTHERS", lanes, "HEAD_DIM", s.HeadDim, "CAP", s.cap(), "ROWS", n, "STEP", step, "HELD", held)}
		if uniformLoads(d, name) {
			way.shader, way.texels, way.address = "attention_bwd_cpu"+pass, 0b11, true
		}
		return way, nil
	}
	t := s.tile(d, gradients, 2, false)
	if n := ceilDiv(others, t.others()) * (1 + 2*ceilDiv(dims, 8) + gradients*17*t.parts()*ceilDiv(dims, t.columns())); !loops(d, n, attentionIterations) {
		return backwardWay{}, fmt.Errorf("op attention_bwd: %d queries of %d heads for each key, of %d, take %d iterations on %s, its driver may stop at %d: %w",
			s.QueryLen, group, s.HeadDim, n, d.Info.Name, attentionIterations, vk.ErrLimit)
	}
	return backwardWay{shader: "attention_bwd" + pass, rows: t.rows(), shared: t.shared(),
		spec: spec("WORKGROUP", t.group(), "HEAD_DIM", s.HeadDim, "CAP", s.cap(), "EACH", t.each, "THEIRS", t.theirs)}, nil
}

// backwardWay is a kernel and how it is to be recorded.
type backwardWay struct {
	shader  string
	spec    specialized
	texels  uint32
	rows    int  // of a workgroup
	address bool // what the rows go over is read at its addresses
	shared  int64

	half     bool // q, k, v and do are what toHalf makes of their heads, in scratch
	subgroup int  // its size; 0 is any
}

// backwardPass is what a pass reads and makes.
type backwardPass struct {
	mine, theirs [2]vk.View // of its rows, and of what those go over
	statistics   vk.View
	made         vk.Access // to statistics
	more         []vk.Arg  // what it makes else, and o where its rows are queries

	halves vk.View // of kernels with cooperative matrices, in place of mine and theirs
	places []any   // and where these are in it
}

// record records a pass.
func (w backwardWay) record(r *vk.Recorder, groups [3]int, constants []any, work float64, p backwardPass) {
	var args []vk.Arg
	if w.half {
		constants = slices.Concat(constants, p.places)
		args = append([]vk.Arg{vk.In(p.halves), {View: p.statistics, Access: p.made}}, p.more...)
	} else {
		args = append([]vk.Arg{vk.In(p.mine[0]), vk.In(p.mine[1]), vk.InOut(p.statistics)}, p.more...)
		if w.address {
			constants = slices.Concat(constants, []any{"a", address{}, "b", address{}})
			args = append(args, vk.InAt(p.theirs[0], 12), vk.InAt(p.theirs[1], 14))
		} else {
			args = append(args, vk.In(p.theirs[0]), vk.In(p.theirs[1]))
		}
	}
	dispatchSource(r, vk.Source{Name: w.shader, Texels: w.texels, Subgroup: w.subgroup, Shared: w.shared}, w.spec, groups, push(constants...), work, args...)
}
