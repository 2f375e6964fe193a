package op

import (
	"fmt"

	"github.com/vkcome/vkcome/vk"
)

// Linear records y = x·wᵀ + bias.
//
//	y     [tokens, out]  F32
//	x     [tokens, in]   F32
//	w     [out, in]      any dtype
//	bias  [1, out]       w's dtype; the zero Tensor is none
//
// An element of y has the same bits whatever the number of tokens, as long as that is at most linearVecRows or above it.
func Linear(r *vk.Recorder, y, x, w, bias Tensor) {
	ok := words(y, x) && x.Elements() > 0 && w.Elements() > 0 && w.Cols == x.Cols && y.Is(x.Rows, w.Rows) &&
		(bias.IsZero() || bias.Is(1, w.Rows) && bias.DType == w.DType)
	if !check(r, "linear", ok, y, x, w, bias) {
		return
	}
	if x.Cols > linearDepth {
		r.Fail(fmt.Errorf("op linear: %d inputs, at most %d: %w", x.Cols, linearDepth, vk.ErrLimit))
		return
	}
	way := linearWay(r.Device(), x.Rows, x.Cols, !bias.IsZero())
	pieces(r, "linear", w.Rows, maxGroups*way.columns, func(column, columnEnd int) {
		part := w.RowRange(column, columnEnd)
		bound := bias
		if bias.IsZero() {
			bound = part // something has to be
		}
		pieces(r, "linear", x.Rows, maxGroups*way.rows, func(begin, end int) {
			groups := [3]int{ceilDiv(part.Rows, way.columns), ceilDiv(end-begin, way.rows), 1}
			flops := 2 * float64(end-begin) * float64(part.Elements())
			dispatch(r, way.shader+suffix(w.DType), way.spec, groups, push(end-begin, part.Rows, x.Cols, column, w.Rows),
				max(flops, float64(part.Size())), vk.In(x.RowRange(begin, end).View), vk.In(part.View), vk.In(bound.View), vk.Out(y.RowRange(begin, end).View))
		}, x.RowBytes(), y.RowBytes())
	}, w.RowBytes())
}

const (
	linearDepth   = 56_000 // inputs that the shaders can loop over, see linear.comp
	linearVecRows = 4      // most tokens of linear_vec.comp
)

// linearKernel is a shader and the tile of y that one of its workgroups computes.
type linearKernel struct {
	shader        string
	spec          []uint32
	rows, columns int
}

// linearWay is the one place that chooses: what a CPU runs best from the subgroup tier on, what a GPU runs elsewhere, so that the
// baseline tier tests the latter on any device.
//
// GFLOP/s at 256×1408×512 in F32 on lavapipe 22.3.6 · 26.1.6, two Zen 4 cores whose AVX-512 is hidden: linear.comp 1.1 · 11,
// linear_subgroup.comp 8.3 · 37. There 22.3.6 stalls some 21 cycles on every word that a lane loads: it puts the word into its
// vector through the stack.
func linearWay(d *vk.Device, tokens, depth int, bias bool) linearKernel {
	biased, byFour := flag(bias), flag(depth%4 == 0)
	cpu := d.Info.Kind == vk.CPU && d.Tier >= vk.Subgroup
	if tokens <= linearVecRows {
		columns, group := 4, uint32(rowGroup)
		if cpu {
			columns, group = 8, cpuLanes // more to share a load of x
			if tokens == 1 {
				columns = 16 // more tokens would take seconds to compile
			}
		}
		return linearKernel{"linear_vec", []uint32{group, biased, byFour, uint32(tokens), uint32(columns)}, linearVecRows, columns}
	}
	if cpu && d.Limits().SubgroupSize == cpuLanes && depth%4 == 0 {
		bands := 4
		if tokens <= 2*cpuLanes {
			bands = 2
		}
		return linearKernel{"linear_subgroup", []uint32{cpuLanes, biased, uint32(bands)}, bands * cpuLanes, 64}
	}
	return linearKernel{"linear", []uint32{64, biased, byFour}, 64, 64}
}

// flag is a specialization constant that shaders compare with 0.
func flag(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}
