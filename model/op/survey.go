package op

import (
	"fmt"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// Survey compiles every kernel that the operations can choose on a device, for weights of each dtype and heads of the usual sizes: of products all
// tiles that tuning may take, with and without bias, what is added and SwiGLU. r is of vk.Device.NewSurvey, and nothing runs.
func Survey(r *vk.Recorder) error {
	s := surveyor{r, r.Device().DryScope()}
	for _, part := range []struct {
		name string
		f    func()
	}{
		{"products", s.products}, {"attention", s.attentions}, {"norms", s.norms}, {"losses", s.losses}, {"weights", s.weights}, {"training", s.training},
		{"least squares", s.squares}, {"experts", s.experts}, {"rows", s.rows},
	} {
		part.f()
		if err := r.Err(); err != nil {
			return fmt.Errorf("op survey: %s: %w", part.name, err)
		}
	}
	return nil
}

// surveyHeads are the sizes of heads that models have.
var surveyHeads = []int{64, 80, 96, 128, 256}

var surveyTypes = []dtype.DType{dtype.F32, dtype.F16, dtype.BF16}

// surveyor makes tensors without memory and records operations on them.
type surveyor struct {
	r *vk.Recorder
	s *vk.Scope
}

func (s surveyor) tensor(d dtype.DType, rows, cols int) Tensor {
	t := Tensor{DType: d, Rows: rows, Cols: cols}
	t.View = s.s.Buffer("survey", (int64(rows)*t.RowBytes()+15)&^15, vk.OnDevice).All()
	return t
}

// halves is Fused.Halves.
func (s surveyor) halves(dt dtype.DType, rows, cols int) Tensor {
	return s.room(LinearHalves(s.r.Device(), dt, rows, cols))
}

// room is so many floats, or the zero Tensor.
func (s surveyor) room(n int) (t Tensor) {
	if n > 0 {
		t = s.floats(1, n)
	}
	return t
}

func (s surveyor) floats(rows, cols int) Tensor { return s.tensor(dtype.F32, rows, cols) }

// products are linear layers: rows of whole vectors and others, with what is fused.
func (s surveyor) products() {
	const out = 4096
	for _, dt := range surveyTypes {
		for _, in := range []int{1024, 1023} {
			w, bias := s.tensor(dt, out, in), s.tensor(dt, 1, out)
			for _, tokens := range []int{1, 2, 3, linearVecRows, 1024} {
				x, y := s.floats(tokens, in), s.floats(tokens, out)
				fused := []Fused{{}, {Bias: bias}, {Residual: y}, {Bias: bias, Residual: y}, {Up: w}, {Up: w, Bias: bias, UpBias: bias}}
				if in%4 != 0 {
					fused = fused[:1]
				}
				for _, f := range fused {
					f.Scratch, f.Halves = s.floats(tokens, in), s.halves(dt, 2*out, in)
					for _, k := range linearFamily(s.r.Device(), x, w, f) {
						k.record(s.r, y, x, w, f)
					}
					for _, plusOne := range []bool{false, true} {
						if f.PlusOne, f.Norm = plusOne, s.tensor(dt, 1, in); f.few(x) && in%4 == 0 {
							LinearFused(s.r, y, x, w, f)
						}
					}
				}
			}
			if in%4 == 0 {
				for _, norm := range surveyTypes {
					LinearFused(s.r, s.floats(1024, out), s.floats(1024, in), w, Fused{Scratch: s.floats(1024, in), Halves: s.halves(dt, out, in), Norm: s.tensor(norm, 1, in)})
				}
				if x, y := s.floats(1024, in), s.floats(1024, out); dt == dtype.F32 { // gradients of 16-bit weights
					f := Fused{Residual: y, Batch: true, Half: true, Scratch: s.floats(1024, in), Halves: s.room(halvesOf(s.r.Device(), out, in, false))}
					for _, k := range linearFamily(s.r.Device(), x, w, f) {
						k.record(s.r, y, x, w, f)
					}
				}
				// without scratch, 16-bit weights are multiplied as others are
				for _, f := range []Fused{{}, {Bias: bias}, {Residual: s.floats(1024, out)}, {Up: w}} {
					x := s.floats(1024, in)
					for _, k := range linearFamily(s.r.Device(), x, w, f) {
						k.record(s.r, s.floats(1024, out), x, w, f)
					}
				}
			}
		}
	}
}

// attentions are those of prompts, with and without activity, of generation, their gradients, and packed ones.
func (s surveyor) attentions() {
	const window = 512
	for _, dim := range surveyHeads {
		for _, group := range []int{1, 4} {
			shape := AttentionShape{Windows: 1, QueryLen: window, KeyLen: window, Heads: 4, KVHeads: 4 / group, HeadDim: dim}
			for _, capped := range []float64{0, 50} {
				shape.Cap = capped
				q, k := s.floats(window, 4*dim), s.floats(window, shape.KVHeads*dim)
				for _, shape.Half = range []bool{true, false} {
					s.attention(q, k, shape)
					if d := s.r.Device(); shape.Half && d.Limits().MatrixReductions && !d.Info.Has(vk.SlowMatrices) { // an option of RADV: with and without
						for _, name := range []string{coopAttention, coopAttentionRows} {
							s.r.Fail(Kernels{attentionMany: name}.Use(d))
							s.attention(q, k, shape)
						}
						s.r.Fail(Kernels(nil).Use(d))
					}
					AttentionBackward(s.r, q, k, k, q, k, k, q, q, shape, s.floats(1, AttentionBackwardScratch(s.r.Device(), shape)))
				}
				few := shape
				few.QueryLen, few.KeyLen = 2, 2
				fewQ, fewK := s.floats(2, 4*dim), s.floats(2, shape.KVHeads*dim)
				Attention(s.r, fewQ, fewQ, fewK, fewK, few, AttentionExtra{})
				AttentionBackward(s.r, fewQ, fewK, fewK, fewQ, fewK, fewK, fewQ, fewQ, few, s.floats(1, AttentionBackwardScratch(s.r.Device(), few)))
				for queries := 1; queries <= AttentionDecode; queries++ {
					one := shape
					one.QueryLen = queries
					Attention(s.r, s.floats(queries, 4*dim), s.floats(queries, 4*dim), k, k, one, AttentionExtra{Scratch: s.floats(1, max(1, AttentionScratch(s.r.Device(), one)))})
				}
				packed := PackedShape{Heads: shape.Heads, KVHeads: shape.KVHeads, HeadDim: dim, LogitOptions: shape.LogitOptions}
				path := make([]uint32, 64)
				for i := range path {
					path[i] = uint32(i)
				}
				p, err := NewPacking(s.r.Device(), []Segment{{Row: 0, Rows: 64, Path: path}}, packed)
				if err != nil {
					s.r.Fail(err)
					return
				}
				AttentionPacked(s.r, s.floats(64, 4*dim), s.floats(64, 4*dim), s.floats(64, shape.KVHeads*dim), s.floats(64, shape.KVHeads*dim), s.floats(1, len(p.Words)), p, packed)
			}
		}
		const heads = 4
		row := heads * dim
		for _, norm := range []Tensor{{}, s.floats(1, dim), s.tensor(dtype.F16, 1, dim), s.tensor(dtype.BF16, 1, dim)} {
			for _, interleaved := range []bool{false, true} {
				SplitQKV(s.r, s.floats(8, row), s.floats(8, row), s.floats(8, row), s.floats(8, 3*row), s.floats(8, dim), norm, norm,
					QKVShape{Heads: heads, KVHeads: heads, HeadDim: dim, Window: 8, Eps: 1e-5, Rotary: Rotary{Interleaved: interleaved}})
			}
		}
		RoPEBackward(s.r, s.floats(8, row), s.floats(8, dim), dim, 8, 0, Rotary{})
	}
}

// attention is that of a prompt, with and without activity.
func (s surveyor) attention(q, k Tensor, shape AttentionShape) {
	extra := AttentionExtra{Scratch: s.floats(1, max(1, AttentionScratch(s.r.Device(), shape)))}
	Attention(s.r, q, q, k, k, shape, extra)
	if blocks := AttentionBlocks(s.r.Device(), shape); blocks > 0 {
		extra.Activity = s.floats(blocks, q.Cols)
		Attention(s.r, q, q, k, k, shape, extra)
	}
}

func (s surveyor) norms() {
	const hidden = 1024
	x := s.floats(64, hidden)
	for _, dt := range surveyTypes {
		w := s.tensor(dt, 1, hidden)
		for _, plusOne := range []bool{false, true} {
			for _, residual := range []Tensor{{}, x} {
				RMSNorm(s.r, x, x, w, 1e-5, NormOptions{PlusOne: plusOne, Residual: residual})
				RMSNormBackward(s.r, s.floats(64, hidden), s.floats(64, hidden), x, s.floats(64, hidden), w, residual, 1e-5, plusOne)
			}
		}
		LayerNorm(s.r, x, x, w, w, 1e-5)
		LayerNormBackward(s.r, s.floats(64, hidden), s.floats(64, hidden), x, s.floats(64, hidden), w, Tensor{}, 1e-5)
		LayerNormBackward(s.r, s.floats(64, hidden), s.floats(64, hidden), x, s.floats(64, hidden), w, x, 1e-5)
		FitTarget(s.r, x, s.floats(1, 64), s.floats(64, hidden), s.floats(64, hidden), 1, FitNorm{Z: s.floats(64, hidden), G: w, Eps: 1e-5})
	}
}

func (s surveyor) losses() {
	const rows, vocab, tile = 64, 32000, 4096
	logits, other, grad := s.floats(rows, vocab), s.floats(rows, vocab), s.floats(rows, vocab)
	loss, targets := s.floats(1, rows), s.floats(1, rows)
	CrossEntropy(s.r, loss, s.floats(rows, 3), targets)
	CrossEntropyBackward(s.r, loss, grad, logits, targets, 1)
	KLDivergence(s.r, loss, grad, logits, other, 1, 2)
	KLDivergence(s.r, loss, Tensor{}, logits, other, 1, 2)
	for _, l := range []Logits{{}, {Scale: 2, Cap: 30}} {
		l.Record(s.r, logits)
		for _, dt := range surveyTypes {
			w := s.tensor(dt, tile, 1024)
			x := s.floats(rows, 1024)
			LMHeadLoss(s.r, s.floats(rows, 3), s.floats(rows, tile), x, targets, 0, Head{W: w, Logits: l})
			LMHeadKL(s.r, s.floats(rows, KLState), s.floats(rows, tile), s.floats(rows, tile), x, x, targets, 0, Head{W: w, Logits: l}, Head{W: w, Logits: l})
		}
	}
	SoftCapBackward(s.r, grad, other, logits, Logits{Cap: 30})
	state := s.floats(rows, 1024)
	for _, g := range []Tensor{{}, s.floats(rows, 1024)} {
		MSE(s.r, loss, g, state, s.floats(rows, 1024), 1)
		CosineLoss(s.r, loss, g, state, s.floats(rows, 1024), 1)
	}
	BlockInfluence(s.r, loss, state, s.floats(rows, 1024))
	AngularDistance(s.r, loss, state, s.floats(rows, 1024))
	for _, more := range []bool{false, true} {
		SumLoss(s.r, s.floats(1, 4), 0, loss, more)
	}
}

func (s surveyor) weights() {
	for _, dt := range surveyTypes {
		for _, cols := range []int{1024, 1022} {
			w, square := s.tensor(dt, 512, cols), s.tensor(dt, cols, 512)
			index := s.floats(1, 64)
			GatherRows(s.r, s.tensor(dt, 512, cols), 0, w, index)
			GatherCols(s.r, s.tensor(dt, 512, cols), 0, w, index)
			Transpose(s.r, square, w)
			FromDType(s.r, s.floats(512, cols), w)
			NonFinite(s.r, s.floats(1, 4), 0, w)
			ColumnAbsSum(s.r, s.floats(1, cols), w)
			ColumnAbsDot(s.r, s.floats(1, cols), w, s.floats(512, cols))
			for _, ends := range [][2]bool{{true, false}, {false, false}, {false, true}} {
				WeightedTerm(s.r, s.tensor(dt, 512, cols), s.floats(512, cols), w, 0.5, ends[0], ends[1])
			}
			Random(s.r, w, 1, 1)
			Embedding(s.r, s.floats(64, cols), w, s.floats(1, 64), 0)
			AddPositions(s.r, s.floats(64, cols), w, 64, 0)
		}
		LowRank(s.r, s.tensor(dt, 512, 1024), s.tensor(dt, 512, 1024), s.floats(16, 1024), s.floats(16, 512))
	}
	Zero(s.r, s.floats(8, 8))
	sums, tokens := s.floats(1, 1024), 64
	AbsSum(s.r, s.floats(1, 1024), s.floats(tokens, 1024), tokens)
	SquareSum(s.r, s.floats(1, 1024), s.floats(tokens, 1024), tokens)
	Sensitivity(s.r, s.floats(1, 1024), sums, s.floats(1, 1024), 1, tokens)
	Sensitivity(s.r, s.floats(1, 16), sums, s.floats(1, 1024), 64, tokens)
}

func (s surveyor) training() {
	const tokens, in, out = 64, 1024, 512
	for _, dt := range surveyTypes {
		w := s.tensor(dt, out, in)
		LinearBackward(s.r, s.floats(tokens, out), w, LinearGrads{X: s.floats(tokens, in), W: s.floats(out, in), Bias: s.floats(1, out),
			XT: s.floats(in, tokens), DYT: s.floats(out, tokens), WT: s.tensor(dt, in, out), Scratch: s.floats(tokens, out), Halves: s.room(LinearGradHalves(s.r.Device(), dt, out, in, tokens))})
		for _, moments := range []dtype.DType{dtype.F32, dtype.BF16} {
			AdamW(s.r, w, s.floats(out, in), s.floats(out, in), s.tensor(moments, out, in), s.tensor(moments, out, in), s.floats(1, ControlWords), AdamWParams{LR: 1, Eps: 1e-8, Step: 1})
		}
	}
	LowRankBackward(s.r, s.floats(tokens, out), s.floats(tokens, in), s.floats(16, in), s.floats(16, out), LowRankGrads{A: s.floats(16, in), B: s.floats(16, out),
		XT: s.floats(in, tokens), DYT: s.floats(out, tokens), Product: s.floats(16, tokens)})
	g := s.floats(out, in)
	GradNorm(s.r, s.floats(1, ControlWords), s.floats(1, GradNormScratch(g)), 1, g)
	x := s.floats(tokens, in)
	for _, gelu := range []bool{false, true} {
		SwiGLU(s.r, x, s.floats(tokens, in), s.floats(tokens, in), gelu)
		SwiGLUBackward(s.r, s.floats(tokens, in), s.floats(tokens, in), x, s.floats(tokens, in), s.floats(tokens, in), gelu)
	}
	ReLU(s.r, x, x)
	ReLUBackward(s.r, x, x, s.floats(tokens, in))
	for _, more := range []bool{false, true} {
		ColumnSum(s.r, s.floats(1, in), x, more)
	}
	AddScaled(s.r, x, x, s.floats(tokens, in), 2)
	Scale(s.r, x, x, 2)
	EmbeddingBackward(s.r, s.floats(out, in), x, EmbeddingRows{IDs: s.floats(1, 8), Starts: s.floats(1, 9), Order: s.floats(1, tokens)})
	PositionsBackward(s.r, s.floats(tokens, in), x, tokens, 0)
}

func (s surveyor) squares() {
	const tokens, in = 512, 1024
	square := s.floats(CholeskyBlock, CholeskyBlock)
	blocks, depth := GramBlocks(tokens, tokens)
	GramOperand(s.r, s.floats(blocks*in, depth), s.floats(tokens, in), s.floats(1, tokens), in, tokens, 0)
	FixedSum(s.r, s.floats(64, 4), s.floats(2, 64), s.floats(1, 1), 0, 2)
	WeightedSquares(s.r, s.floats(1, tokens), s.floats(tokens, in), s.floats(1, tokens))
	FitTarget(s.r, s.floats(tokens, in), s.floats(1, tokens), s.floats(tokens, in), s.floats(tokens, in), 1, FitNorm{})
	CosineTarget(s.r, s.floats(tokens, in), s.floats(1, tokens), s.floats(tokens, in), s.floats(tokens, in), 1)
	Cholesky(s.r, square, s.floats(CholeskyBlock, CholeskyBlock), s.floats(1, 8), 0)
	TriangularInverse(s.r, s.floats(3*CholeskyBlock, CholeskyBlock), square)
	column := s.floats(in, CholeskyBlock)
	Residual(s.r, s.floats(64, CholeskyBlock), s.floats(64*in/CholeskyBlock, CholeskyBlock), Double{column, column}, Double{s.floats(64, CholeskyBlock), s.floats(64, CholeskyBlock)})
}

func (s surveyor) experts() {
	const experts, rows, in, out = 8, 256, 1024, 512
	x := s.floats(rows, in)
	choice, share := s.floats(128, 2), s.floats(128, 2)
	for _, divide := range []bool{false, true} {
		Route(s.r, s.floats(128, experts), choice, share, divide)
	}
	offsets, place := s.floats(1, experts+1), s.floats(128, 2)
	Group(s.r, offsets, place, s.floats(1, rows), choice)
	for _, dt := range surveyTypes {
		w := s.tensor(dt, experts*out, in)
		for _, up := range []Tensor{{}, w} {
			for _, few := range []bool{false, true} {
				LinearGrouped(s.r, s.floats(rows, out), x, Grouped{W: w, Up: up, Offsets: offsets, Tiles: s.floats(1, GroupTiles(experts, rows)), Few: few})
			}
		}
	}
	Combine(s.r, s.floats(128, out), s.floats(rows, out), share, place, s.floats(128, out))
}

// rows are what copies and works element by element.
func (s surveyor) rows() {
	for _, l := range []Logits{{Scale: 2}, {Cap: 30}} {
		SoftCap(s.r, s.floats(8, 64), s.floats(8, 64), l)
	}
}
