package op

import (
	"fmt"
	"slices"

	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/vk"
)

// Fused is what a linear layer does besides y = x·wᵀ. The zero value is nothing.
type Fused struct {
	Bias     Tensor // [1, out], w's dtype: added
	Up       Tensor // [out, in], w's dtype: SwiGLU, y = silu(x·wᵀ + Bias) · (x·Upᵀ + UpBias), with w as the gate
	UpBias   Tensor // [1, out], w's dtype: there if and only if Up and Bias are
	Residual Tensor // [tokens, out] F32, added; may be y; not with Up
	Norm     Tensor // [1, in], any dtype: x is first divided by its root mean square and multiplied by this, as RMSNorm does
	Eps      float32
	PlusOne  bool // by Norm + 1

	// Scratch [tokens, in] F32 is where kernels put what they make of x: the normed x, which Norm needs it for, or x in f16, without
	// which weights are multiplied in f32 even where the device has cooperative matrices.
	Scratch Tensor

	// Halves [1, words] F32 is where BF16 and F32 weights are put in f16, which cooperative matrices of them need besides Scratch; see LinearHalves.
	Halves Tensor

	// Half allows w of F32 to be rounded to f16, each row by its own scale, as x is. Without it F32 weights are multiplied in f32, or by cooperative
	// matrices in two parts, which lose the last two bits of f32, where f32 arithmetic is slow (vk.SlowFloats).
	Half bool

	// Batch takes a kernel for many tokens whatever their number: an element of y then has the same bits whatever that is.
	Batch bool
}

// LinearFused records y = x·wᵀ with what comes before and after it in a decoder layer, in one dispatch where the device's kernel can.
//
//	y     [tokens, out]  F32
//	x     [tokens, in]   F32
//	w     [out, in]      any dtype
//
// An element of y has the same bits whatever the number of tokens, as long as that is at most linearVecRows or above it; see
// Fused.Batch. Sources: Zhang & Sennrich 2019, arXiv 1910.07467 (norm); Shazeer 2020, arXiv 2002.05202 (SwiGLU).
func LinearFused(r *vk.Recorder, y, x, w Tensor, f Fused) {
	ok := words(y, x) && x.Elements() > 0 && w.Elements() > 0 && w.Cols == x.Cols && y.Is(x.Rows, w.Rows)
	ok = ok && (f.Bias.IsZero() || f.Bias.Is(1, w.Rows) && f.Bias.DType == w.DType)
	if !f.Up.IsZero() {
		ok = ok && f.Up.Is(w.Rows, w.Cols) && f.Up.DType == w.DType && f.Residual.IsZero() && f.UpBias.IsZero() == f.Bias.IsZero()
	}
	ok = ok && (f.UpBias.IsZero() || !f.Up.IsZero() && f.UpBias.Is(1, w.Rows) && f.UpBias.DType == w.DType)
	ok = ok && (f.Residual.IsZero() || f.Residual.Is(y.Rows, y.Cols) && words(f.Residual))
	ok = ok && (f.Norm.IsZero() || f.Norm.Is(1, w.Cols) && !f.Scratch.IsZero())
	ok = ok && (f.Scratch.IsZero() || f.Scratch.Is(x.Rows, x.Cols) && words(f.Scratch)) && (f.Halves.IsZero() || words(f.Halves))
	if !check(r, "linear", ok, y, x, w, f.Bias, f.Up, f.UpBias, f.Residual, f.Norm, f.Scratch, f.Halves) {
		return
	}
	if !loops(r.Device(), x.Cols, linearDepth) {
		r.Fail(fmt.Errorf("op linear: %d inputs, at most %d: %w", x.Cols, linearDepth, vk.ErrLimit))
		return
	}
	linearWay(r.Device(), x, w, f).record(r, y, x, w, f)
}

const (
	linearDepth   = 56_000 // inputs that the shaders can loop over with vk.LoopLimit, as is tested; most could do more
	linearVecRows = 4      // most tokens of the matrix-vector kernels
)

// few says whether the kernels for one token or some are meant.
func (f Fused) few(x Tensor) bool { return x.Rows <= linearVecRows && !f.Batch }

// linearKernel is a shader of the linear family, how it is specialized, and the tile of y that one of its workgroups computes. All
// have specialization constants 0 WORKGROUP, 1 BIASED, 2 EPILOGUE and then those of spec, and push constants rows, columns, depth,
// column, stride and eps.
type linearKernel struct {
	shader        string
	group         int
	spec          specialized
	rows, columns int
	norms         bool // by itself; its last specialization constant says whether to
	texels        bool // x, w, up and norm are texel buffers
	fours         bool // four elements of y in a store; its last specialization constant says whether rows of y are made of whole fours
	address       bool // x is read at its address
	half          bool // x is what toHalf makes of it, and norm what undoes its scale
	scaled        bool // w and up are what halfRows makes of them
	parts         bool // x, w and up are in two parts, see partsOf
	subgroup      int  // its size; 0 is any
	shared        int64
	tile          Tile
}

// What a kernel does with the sums at its end: specialization constant 2.
const (
	epilogueNone uint32 = iota
	epilogueAdd
	epilogueSwiGLU
)

// linearWay is the one place that chooses: the device's tuning, else what is fast on most.
func linearWay(d *vk.Device, x, w Tensor, f Fused) linearKernel {
	family, _ := linearFamilyOf(d, x, w, f)
	k, _ := chosen(d, family, x, w, f)
	return k
}

// linearFamilyOf are the kernels to choose from, and whether the device was told so.
func linearFamilyOf(d *vk.Device, x, w Tensor, f Fused) (family []linearKernel, told bool) {
	if family = linearForced(d, x, w, f); len(family) > 0 {
		return family, true
	}
	return linearFamily(d, x, w, f), false
}

// chosen is the kernel of a family, and what decided.
func chosen(d *vk.Device, family []linearKernel, x, w Tensor, f Fused) (linearKernel, chosenBy) {
	if len(family) == 1 {
		return family[0], byItself
	}
	if k, ok := tuned(d, family, x, w, f); ok {
		return k, byTuning
	}
	return fitting(family, x.Rows, w.Rows)
}

// linearAble are all kernels that can do a product on the device.
func linearAble(d *vk.Device, x, w Tensor, f Fused) []linearKernel {
	return append(linearCPU(d, x, w, f), slices.Concat(linearGPU(d, x, w, f)...)...)
}

// linearForced are the kernels that the device was told to take, none where it was told nothing or they cannot do the product.
func linearForced(d *vk.Device, x, w Tensor, f Fused) []linearKernel {
	family := linearMany
	if f.few(x) {
		family = linearFew
	}
	name, tile := forced(d, family)
	if name == "" {
		return nil
	}
	return slices.DeleteFunc(linearAble(d, x, w, f), func(k linearKernel) bool {
		return k.shader != name || tile != "" && k.tile.String() != tile
	})
}

// linearFamily are the kernels to choose from: what a CPU runs best from the subgroup tier on, what a GPU runs elsewhere, so that the baseline
// tier tests the latter on any device. They give the same bits, so that the choice is one of speed alone.
func linearFamily(d *vk.Device, x, w Tensor, f Fused) []linearKernel {
	if able := linearCPU(d, x, w, f); len(able) > 0 {
		return able[:1]
	}
	for _, family := range linearGPU(d, x, w, f) {
		if len(family) > 0 {
			return family
		}
	}
	panic("op: no kernel for linear: the smallest tile is within what Vulkan asks of a device")
}

// record records the kernel on x and w, in pieces where they outgrow a binding.
func (k linearKernel) record(r *vk.Recorder, y, x, w Tensor, f Fused) {
	if k.parts && x.Rows > partsRows {
		pieces(r, "linear", x.Rows, partsRows, func(begin, end int) {
			f := f
			f.Scratch = f.Scratch.RowRange(begin, end)
			if !f.Residual.IsZero() {
				f.Residual = f.Residual.RowRange(begin, end)
			}
			k.record(r, y.RowRange(begin, end), x.RowRange(begin, end), w, f)
		}, x.RowBytes(), y.RowBytes())
		return
	}
	norm, unscale := f.Norm, Tensor{}
	rowBytes := []int64{x.RowBytes(), y.RowBytes()}
	switch {
	case k.half:
		var half Tensor
		if k.parts {
			half = Of(f.Scratch.View, dtype.F16, x.Rows, partsOf*x.Cols)
			unscale = Of(f.Halves.View.Slice(0, 4*int64(x.Rows)), dtype.F32, x.Rows, 1)
		} else {
			half, unscale = halves(r.Device(), x, f.Scratch)
		}
		toHalf(r, half, unscale, x, norm, f.Eps, f.PlusOne)
		x, norm = half, Tensor{}
		rowBytes = append(rowBytes, x.RowBytes(), unscale.RowBytes())
	case !norm.IsZero() && !(k.norms && norm.DType == w.DType):
		RMSNorm(r, f.Scratch, x, norm, f.Eps, NormOptions{PlusOne: f.PlusOne})
		x, norm = f.Scratch, Tensor{}
	}
	epilogue, flops := epilogueNone, 2.0
	switch {
	case !f.Up.IsZero():
		epilogue, flops = epilogueSwiGLU, 4
	case !f.Residual.IsZero():
		epilogue = epilogueAdd
	}
	special := k.spec.after("WORKGROUP", k.group, "BIASED", !f.Bias.IsZero(), "EPILOGUE", epilogue)
	if k.norms {
		special = special.with("NORM", normed(norm, f.PlusOne))
	}
	columns := maxGroups * k.columns
	if k.scaled {
		columns = min(columns, f.halvesRows(r.Device(), w.Cols, k.parts))
	}
	pieces(r, "linear", w.Rows, columns, func(column, columnEnd int) {
		part, up := w.RowRange(column, columnEnd), Tensor{}
		if epilogue == epilogueSwiGLU {
			up = f.Up.RowRange(column, columnEnd)
		}
		special, outputs, work := special, part.Rows, flops*float64(part.Elements())
		if k.fours {
			special = special.with("BY_FOUR", (w.Rows|column|outputs)%4 == 0)
		}
		if k.scaled {
			part, up = f.putHalves(r, part, up, k.parts)
		}
		or := func(t Tensor) vk.Arg { // what is absent is bound to something that is there
			if t.IsZero() {
				t = part
			}
			return vk.In(t.View)
		}
		pieces(r, "linear", x.Rows, maxGroups*k.rows, func(begin, end int) {
			residual := Tensor{}
			if epilogue == epilogueAdd {
				residual = f.Residual.RowRange(begin, end)
			}
			if k.half {
				norm = unscale.RowRange(begin, end)
			}
			in := x.RowRange(begin, end).View
			args := []vk.Arg{vk.In(part.View), or(up), or(norm), or(f.Bias), or(f.UpBias), or(residual), vk.Out(y.RowRange(begin, end).View)}
			constants := push("rows", end-begin, "columns", outputs, "depth", w.Cols, "column", column, "stride", w.Rows, "eps", f.Eps)
			texels := uint32(0)
			if k.texels {
				texels = 0b111
			}
			if k.address {
				constants = constants.with("x", address{})
				args = append(args, vk.InAt(in, len(constants.words)-2))
			} else {
				args = append(args, vk.In(in))
				texels |= flag(k.texels) << 7
			}
			source := vk.Source{Name: k.shader + suffix(w.DType), Texels: texels, Subgroup: k.subgroup, Shared: k.shared}
			dispatchSource(r, source, special, [3]int{ceilDiv(outputs, k.columns), ceilDiv(end-begin, k.rows), 1}, constants,
				max(work*float64(end-begin), float64(part.Size())), args...)
		}, rowBytes...)
	}, w.RowBytes())
}

// flag is a specialization constant that shaders compare with 0.
func flag(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
