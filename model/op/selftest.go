package op

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// SelfTestRow is an operation of a self-test: what a tier's kernels gave of small operands, beside the same in float64.
type SelfTestRow struct {
	Tier      string   `json:"tier"`
	Operation string   `json:"operation"`
	DType     string   `json:"dtype"` // of the weights
	Shape     string   `json:"shape"`
	Kernel    string   `json:"kernel"`
	Error     *float64 `json:"error"` // the worst |got − want| over |want| and the root mean square of all that is wanted; nil: not a number
	Tolerance float64  `json:"tolerance"`
	OK        bool     `json:"ok"`
}

func (r *SelfTestRow) String() string {
	off := "gives NaN"
	if r.Error != nil {
		off = fmt.Sprintf("is off by %.3g", *r.Error)
	}
	return fmt.Sprintf("%s %s %s by %s %s, tolerance %.3g", r.Operation, r.DType, r.Shape, r.Kernel, off, r.Tolerance)
}

// judge sets what was found.
func (r *SelfTestRow) judge(got []float32, want []float64) {
	squares, worst := 0.0, 0.0
	for _, w := range want {
		squares += w * w
	}
	rms := math.Sqrt(squares / float64(len(want)))
	for i, w := range want {
		if float64(got[i]) != w {
			worst = max(worst, math.Abs(float64(got[i])-w)/(math.Abs(w)+rms)) // NaN if one is
		}
	}
	if worst-worst == 0 {
		r.Error = &worst
	}
	r.OK = worst <= r.Tolerance
}

// Tolerances of a self-test, which finds wrong kernels and not lost bits: those of the tests of operations, or more.
const (
	selfLinear     = 2e-5 // sums of f32
	selfLinearHalf = 3e-3 // of what is rounded to 11 bits
	selfAttention  = 3e-5 // exp2 of f32, sums
	selfHalf       = 1e-2 // attention of what is rounded to 11 bits: of logits
	selfNorm       = 5e-6 // an inversesqrt of 2 ulp
	selfLoss       = 1e-5 // exp, log of f32
)

// selfTest is a device with operands in the making.
type selfTest struct {
	ctx   context.Context
	d     *vk.Device
	r     *vk.Recorder
	scope *vk.Scope
	rng   *rand.Rand
	rows  []*SelfTestRow
	got   []Tensor
	want  [][]float64
	err   error
}

// runSelfTest runs the operations on a device, by the kernels that it takes where nothing tells it otherwise: all, or those that say soonest whether
// the tier is right.
func runSelfTest(ctx context.Context, d *vk.Device, all bool) (rows []*SelfTestRow, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("op: self-test of tier %v on %s: %w", d.Tier, d.Info.Name, err)
		}
	}()
	if err := Kernels(nil).Use(d); err != nil {
		return nil, err
	}
	defer d.Attach(kernelsKey{}, nil) // as if nobody had asked yet
	r, err := d.NewRecorder()
	if err != nil {
		return nil, err
	}
	t := &selfTest{ctx: ctx, d: d, r: r, scope: d.NewScope(), rng: rand.New(rand.NewPCG(1, 2))}
	defer t.scope.Free()
	defer func() { err = errors.Join(err, r.Close()) }()
	t.record(all)
	if err := errors.Join(t.err, t.scope.Err()); err != nil {
		return nil, err
	}
	if err := r.Wait(ctx); err != nil {
		return nil, err
	}
	for i, row := range t.rows {
		raw, values := make([]byte, t.got[i].Size()), make([]float32, t.got[i].Elements())
		if err := d.Download(ctx, raw, t.got[i].View); err != nil {
			return nil, err
		}
		dtype.F32.Decode(values, raw)
		row.judge(values, t.want[i])
	}
	return t.rows, nil
}

// record records the operations. Shapes are the smallest that each family of kernels is taken for. On a CPU, whose driver takes a quarter of a second
// to compile a product, what is tested at the first use has one of each.
func (t *selfTest) record(all bool) {
	all16 := all || t.d.Info.Kind != vk.CPU
	for _, dt := range dtype.All {
		if dt != dtype.BF16 || all16 {
			t.linear(dt, 5, 40, 64, Fused{Bias: present})
		}
		if dt == dtype.BF16 || all16 {
			t.linear(dt, 1, 40, 64, Fused{})
		}
	}
	t.attention(AttentionShape{Windows: 1, QueryLen: 5, KeyLen: 5, Heads: 4, KVHeads: 2, HeadDim: 16, Half: true})
	t.attention(AttentionShape{Windows: 1, QueryLen: 1, KeyLen: 21, Heads: 4, KVHeads: 2, HeadDim: 16})
	if all || t.d.Tier == vk.CoopMatrix && t.d.Info.Kind != vk.CPU { // which has kernels of its own for them
		t.gradients(AttentionShape{Windows: 1, QueryLen: 37, KeyLen: 37, Heads: 4, KVHeads: 2, HeadDim: 16, Half: true})
	}
	t.norm(dtype.BF16, 3, 64)
	t.embedding(dtype.F16, 5, 40)
	t.loss(7, 61)
	if !all {
		return
	}
	for _, dt := range dtype.All {
		t.linear(dt, 21, 40, 64, Fused{})
		t.linear(dt, 33, 24, 64, Fused{Bias: present, Up: present, UpBias: present, Norm: present})
		t.linear(dt, 4, 40, 64, Fused{Bias: present})
		t.norm(dt, 2, 61)
	}
	t.linear(dtype.F16, 70, 136, 96, Fused{Bias: present, Residual: present})
	t.linear(dtype.BF16, 21, 40, 50, Fused{Bias: present}) // rows that are no whole texels
	t.linear(dtype.BF16, 2, 24, 64, Fused{Up: present, Norm: present})
	t.norm(dtype.F16, 5, 120)
	t.embedding(dtype.F32, 5, 40)
	t.embedding(dtype.BF16, 9, 61)
	t.attention(AttentionShape{Windows: 2, QueryLen: 70, KeyLen: 70, Heads: 4, KVHeads: 4, HeadDim: 24, Half: true})
	t.attention(AttentionShape{Windows: 1, QueryLen: 2, KeyLen: 200, Heads: 2, KVHeads: 1, HeadDim: 24})
	t.gradients(AttentionShape{Windows: 2, QueryLen: 70, KeyLen: 70, Heads: 3, KVHeads: 1, HeadDim: 64, Half: true})
	t.loss(3, 1999)
}

// present stands for a tensor of a Fused that is to be made.
var present = Tensor{Rows: 1}

// add takes a result and what it should be. What was recorded for it came before.
func (t *selfTest) add(operation string, dt dtype.DType, shape, kernel string, tolerance float64, y Tensor, want []float64) {
	if err := t.r.Err(); err != nil && t.err == nil {
		t.err = fmt.Errorf("%s %v %s by %s: %w", operation, dt, shape, kernel, err)
	}
	t.rows = append(t.rows, &SelfTestRow{Tier: t.d.Tier.String(), Operation: operation, DType: dt.String(), Shape: shape, Kernel: kernel, Tolerance: tolerance})
	t.got, t.want = append(t.got, y), append(t.want, want)
}

// empty is a tensor without values.
func (t *selfTest) empty(dt dtype.DType, rows, cols int) Tensor {
	return Of(t.room(rows*cols*dt.Size()), dt, rows, cols)
}

// room is memory of whole words.
func (t *selfTest) room(bytes int) vk.View {
	return t.scope.Buffer("self-test", (int64(bytes)+3)&^3, vk.OnDevice).All()
}

// put is a tensor of values, which become what it stores.
func (t *selfTest) put(dt dtype.DType, rows, cols int, values []float64) Tensor {
	room, single := t.room(len(values)*dt.Size()), make([]float32, len(values))
	for i, v := range values {
		single[i] = float32(v)
	}
	raw := make([]byte, room.Size())
	stored := raw[:len(values)*dt.Size()]
	dt.Encode(stored, single)
	dt.Decode(single, stored)
	for i, v := range single {
		values[i] = float64(v)
	}
	t.upload(room, raw)
	return Of(room, dt, rows, cols)
}

func (t *selfTest) upload(to vk.View, raw []byte) {
	if t.err == nil && t.scope.Err() == nil {
		t.err = t.d.Upload(t.ctx, to, raw)
	}
}

// random is a tensor of normal values times scale.
func (t *selfTest) random(dt dtype.DType, rows, cols int, scale float64) (Tensor, []float64) {
	values := make([]float64, rows*cols)
	for i := range values {
		values[i] = scale * t.rng.NormFloat64()
	}
	return t.put(dt, rows, cols, values), values
}

// integers is a tensor of words.
func (t *selfTest) integers(values []uint32) Tensor {
	x := t.empty(dtype.F32, 1, len(values))
	var raw []byte
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, v)
	}
	t.upload(x.View, raw)
	return x
}

// linear is LinearFused of what f says is present.
func (t *selfTest) linear(dt dtype.DType, tokens, out, in int, f Fused) {
	x, xs := t.random(dtype.F32, tokens, in, 1)
	w, ws := t.random(dt, out, in, 1/math.Sqrt(float64(in)))
	y := t.empty(dtype.F32, tokens, out)
	normed := slices.Clone(xs)
	if !f.Norm.IsZero() {
		var norm []float64
		f.Norm, norm = t.random(dt, 1, in, 1)
		f.Eps = selfEps
		normed = normOf(xs, norm)
	}
	sums := productOf(normed, ws, in)
	bias := func(b *Tensor, sums []float64) {
		if !b.IsZero() {
			var values []float64
			*b, values = t.random(dt, 1, out, 1)
			for i := range sums {
				sums[i] += values[i%out]
			}
		}
	}
	bias(&f.Bias, sums)
	if !f.Up.IsZero() {
		var up []float64
		f.Up, up = t.random(dt, out, in, 1/math.Sqrt(float64(in)))
		ups := productOf(normed, up, in)
		bias(&f.UpBias, ups)
		for i, v := range sums {
			sums[i] = v / (1 + math.Exp(-v)) * ups[i]
		}
	}
	if !f.Residual.IsZero() {
		var residual []float64
		f.Residual, residual = t.random(dtype.F32, tokens, out, 1)
		for i, v := range residual {
			sums[i] += v
		}
	}
	f.Scratch = t.empty(dtype.F32, tokens, in)
	if n := LinearHalves(t.d, dt, 2*out, in); n > 0 {
		f.Halves = t.empty(dtype.F32, 1, n)
	}
	way, tolerance := linearWay(t.d, x, w, f), selfLinear
	if way.half && !way.parts {
		tolerance = selfLinearHalf
	}
	LinearFused(t.r, y, x, w, f)
	shape := fmt.Sprintf("%dx%dx%d", tokens, out, in)
	for _, part := range []struct {
		name string
		t    Tensor
	}{{"bias", f.Bias}, {"norm", f.Norm}, {"swiglu", f.Up}, {"residual", f.Residual}} {
		if !part.t.IsZero() {
			shape += "+" + part.name
		}
	}
	t.add("linear", dt, shape, way.shader, tolerance, y, sums)
}

// attention is Attention, and whether the kernels take cooperative matrices is the device's choice.
func (t *selfTest) attention(s AttentionShape) {
	q, qs := t.random(dtype.F32, s.Windows*s.QueryLen, s.Heads*s.HeadDim, 1)
	k, ks := t.random(dtype.F32, s.Windows*s.KeyLen, s.KVHeads*s.HeadDim, 1)
	v, vs := t.random(dtype.F32, s.Windows*s.KeyLen, s.KVHeads*s.HeadDim, 1)
	o, extra := t.empty(dtype.F32, q.Rows, q.Cols), AttentionExtra{}
	if n := AttentionScratch(t.d, s); n > 0 {
		extra.Scratch = t.empty(dtype.F32, 1, n)
	}
	way, err := s.way(t.d, false)
	if err != nil && t.err == nil {
		t.err = err
	}
	tolerance, dt := selfAttention, dtype.F32
	if way.half {
		tolerance, dt = selfHalf, dtype.F16
	}
	Attention(t.r, o, q, k, v, s, extra)
	t.add("attention", dt, fmt.Sprintf("%dx%d of %d, %d/%d heads of %d", s.Windows, s.QueryLen, s.KeyLen, s.Heads, s.KVHeads, s.HeadDim), way.shader, tolerance, o, s.plain(qs, ks, vs))
}

// gradients is AttentionBackward.
func (t *selfTest) gradients(s AttentionShape) {
	q, qs := t.random(dtype.F32, s.Windows*s.QueryLen, s.Heads*s.HeadDim, 1)
	k, ks := t.random(dtype.F32, s.Windows*s.KeyLen, s.KVHeads*s.HeadDim, 1)
	v, vs := t.random(dtype.F32, k.Rows, k.Cols, 1)
	do, dos := t.random(dtype.F32, q.Rows, q.Cols, 1)
	o := t.put(dtype.F32, q.Rows, q.Cols, s.plain(qs, ks, vs))
	made := [3]Tensor{t.empty(dtype.F32, q.Rows, q.Cols), t.empty(dtype.F32, k.Rows, k.Cols), t.empty(dtype.F32, k.Rows, k.Cols)}
	AttentionBackward(t.r, made[0], made[1], made[2], q, k, v, o, do, s, t.empty(dtype.F32, 1, AttentionBackwardScratch(t.d, s)))
	ofQueries, err := s.backwardWay(t.d, false)
	ofKeys, errOfKeys := s.backwardWay(t.d, true)
	if err := errors.Join(err, errOfKeys); err != nil && t.err == nil {
		t.err = err
	}
	tolerance, dt := selfAttention, dtype.F32
	if ofQueries.half || ofKeys.half { // keys and values take the statistics that the pass by queries leaves, as exact as that is
		tolerance, dt = selfHalf, dtype.F16
	}
	for i, want := range s.plainBackward(qs, ks, vs, dos) {
		way := ofQueries
		if i > 0 {
			way = ofKeys
		}
		t.add("attention gradient of "+[]string{"queries", "keys", "values"}[i], dt, fmt.Sprintf("%dx%d, %d/%d heads of %d", s.Windows, s.QueryLen, s.Heads, s.KVHeads, s.HeadDim), way.shader, tolerance, made[i], want)
	}
}

func (t *selfTest) norm(dt dtype.DType, rows, cols int) {
	x, xs := t.random(dtype.F32, rows, cols, 1)
	w, ws := t.random(dt, 1, cols, 1)
	y := t.empty(dtype.F32, rows, cols)
	RMSNorm(t.r, y, x, w, selfEps, NormOptions{})
	t.add("rmsnorm", dt, fmt.Sprintf("%dx%d", rows, cols), "rmsnorm", selfNorm, y, normOf(xs, ws))
}

func (t *selfTest) embedding(dt dtype.DType, tokens, hidden int) {
	table, values := t.random(dt, 2*tokens, hidden, 1)
	ids, want := make([]uint32, tokens), []float64{}
	for i := range ids {
		ids[i] = uint32((7*i + 3) % table.Rows)
		want = append(want, values[int(ids[i])*hidden:][:hidden]...)
	}
	y := t.empty(dtype.F32, tokens, hidden)
	Embedding(t.r, y, table, t.integers(ids), 0)
	t.add("embedding", dt, fmt.Sprintf("%dx%d", tokens, hidden), "embedding", 0, y, want)
}

// loss is the cross-entropy of rows, a softmax and its logarithm.
func (t *selfTest) loss(rows, vocab int) {
	logits, values := t.random(dtype.F32, rows, vocab, 3)
	targets, want := make([]uint32, rows), make([]float64, rows)
	for i := range targets {
		targets[i] = uint32((5*i + 2) % vocab)
		row, sum := values[i*vocab:][:vocab], 0.0
		for _, v := range row {
			sum += math.Exp(v)
		}
		want[i] = math.Log(sum) - row[targets[i]]
	}
	ids, state, y := t.integers(targets), t.empty(dtype.F32, rows, 3), t.empty(dtype.F32, 1, rows)
	CrossEntropyTile(t.r, state, logits, ids, 0)
	CrossEntropy(t.r, y, state, ids)
	t.add("softmax loss", dtype.F32, fmt.Sprintf("%dx%d", rows, vocab), "crossentropy", selfLoss, y, want)
}

const selfEps = 1e-5

// productOf is x·wᵀ of rows of in values.
func productOf(x, w []float64, in int) (y []float64) {
	for row := range slices.Chunk(x, in) {
		for column := range slices.Chunk(w, in) {
			sum := 0.0
			for i, v := range row {
				sum += v * column[i]
			}
			y = append(y, sum)
		}
	}
	return y
}

// normOf is x, in rows of as many values as w, over their root mean square and times w.
func normOf(x, w []float64) (y []float64) {
	for row := range slices.Chunk(x, len(w)) {
		squares := 0.0
		for _, v := range row {
			squares += v * v
		}
		for i, v := range row {
			y = append(y, v/math.Sqrt(squares/float64(len(w))+selfEps)*w[i])
		}
	}
	return y
}

// plain is the attention of a shape without options, in float64.
func (s AttentionShape) plain(q, k, v []float64) []float64 {
	o := make([]float64, len(q))
	s.eachHead(q, k, func(at int, others []int, p []float64) {
		for j, other := range others {
			for i := range s.HeadDim {
				o[at+i] += p[j] * v[other+i]
			}
		}
	})
	return o
}

// plainBackward are its gradients by q, k and v, where do is that of what it gives.
func (s AttentionShape) plainBackward(q, k, v, do []float64) [3][]float64 {
	dq, dk, dv, scale := make([]float64, len(q)), make([]float64, len(k)), make([]float64, len(v)), 1/math.Sqrt(float64(s.HeadDim))
	s.eachHead(q, k, func(at int, others []int, p []float64) {
		dp, mean := make([]float64, len(p)), 0.0
		for j, other := range others {
			for i := range s.HeadDim {
				dp[j] += do[at+i] * v[other+i]
			}
			mean += p[j] * dp[j]
		}
		for j, other := range others {
			ds := p[j] * (dp[j] - mean) * scale
			for i := range s.HeadDim {
				dq[at+i] += ds * k[other+i]
				dk[other+i] += ds * q[at+i]
				dv[other+i] += p[j] * do[at+i]
			}
		}
	})
	return [3][]float64{dq, dk, dv}
}

// eachHead calls f for each head of each row of q, which begins at at, with where the keys begin that it sees, and their probabilities.
func (s AttentionShape) eachHead(q, k []float64, f func(at int, others []int, p []float64)) {
	for row := range s.Windows * s.QueryLen {
		window, position := row/s.QueryLen, s.KeyLen-s.QueryLen+row%s.QueryLen
		for h := range s.Heads {
			at, sum := (row*s.Heads+h)*s.HeadDim, 0.0
			others, p := make([]int, position+1), make([]float64, position+1)
			for j := range others {
				others[j] = ((window*s.KeyLen+j)*s.KVHeads + h/(s.Heads/s.KVHeads)) * s.HeadDim
				dot := 0.0
				for i := range s.HeadDim {
					dot += q[at+i] * k[others[j]+i]
				}
				p[j] = math.Exp(dot / math.Sqrt(float64(s.HeadDim)))
				sum += p[j]
			}
			for j := range p {
				p[j] /= sum
			}
			f(at, others, p)
		}
	}
}
