package op

import (
	"fmt"

	"github.com/vkcome/vkcome/vk"
)

// Grouped is the weights of groups of rows, and which rows are whose.
type Grouped struct {
	W, Up   Tensor // [groups·out, in], any dtype, the same: those of each group, one behind the other; Up as in Fused, or absent
	Offsets Tensor // [1, groups+1] words: the rows of group g are those from Offsets[g] up to Offsets[g+1], which is the last time all of them
	Tiles   Tensor // words, scratch: GroupTiles(groups, rows) of them
	Few     bool   // takes a kernel for single rows, which is faster where there are few to a group
}

// GroupTiles is how many words of scratch products of so many rows in groups take.
func GroupTiles(groups, rows int) int { return 3 * (rows + groups) }

// LinearGrouped records y = x·wᵀ, or SwiGLU(x·wᵀ, x·upᵀ), where each group of rows has its own w and up.
//
//	y  [rows, out]  F32
//	x  [rows, in]   F32
//
// An element of y has the same bits whatever the other rows and their groups, as long as Few is the same.
func LinearGrouped(r *vk.Recorder, y, x Tensor, g Grouped) {
	groups := g.Offsets.Cols - 1
	ok := words(y, x, g.Offsets, g.Tiles) && x.Elements() > 0 && groups > 0 && groups <= MaxExperts && g.W.Elements() > 0 && g.W.Cols == x.Cols
	ok = ok && g.W.Is(groups*y.Cols, x.Cols) && y.Rows == x.Rows && (g.Up.IsZero() || g.Up.Is(g.W.Rows, g.W.Cols) && g.Up.DType == g.W.DType)
	ok = ok && g.Offsets.Rows == 1 && g.Tiles.Elements() >= GroupTiles(groups, x.Rows)
	if !check(r, "linear_grouped", ok, y, x, g.W, g.Up, g.Offsets, g.Tiles) {
		return
	}
	d := r.Device()
	if !loops(d, x.Cols, linearDepth) {
		r.Fail(fmt.Errorf("op linear_grouped: %d inputs, at most %d: %w", x.Cols, linearDepth, vk.ErrLimit))
		return
	}
	k := g.way(d, x)
	height := k.rows
	if g.Few {
		height = 1
	}
	tiles := x.Rows/height + groups
	if g.Few {
		tiles = x.Rows
	}
	across := ceilDiv(y.Cols, k.columns)
	if most := max(x.Size(), y.Size()); most > d.Limits().StorageRange || tiles > min(maxGroups, linearDepth) || across > maxGroups {
		r.Fail(fmt.Errorf("op linear_grouped: %v by %v in %d groups, %s binds at most %s: %w", x, g.W, groups, d.Info.Name, vk.Bytes(d.Limits().StorageRange), vk.ErrLimit))
		return
	}
	recordTiles(r, g, height, tiles)
	g.record(r, k, y, x, [2]int{across, tiles})
}

// recordTiles records the table of tiles of so many rows, and of which there are count at most.
func recordTiles(r *vk.Recorder, g Grouped, height, count int) {
	groups := g.Offsets.Cols - 1
	dispatch(r, "grouptiles", spec("WORKGROUP", rowGroup), [3]int{1, 1, 1}, push("groups", groups, "height", height, "count", count), float64(count+groups*groups),
		vk.In(g.Offsets.View), vk.Out(g.Tiles.View))
}

// way is the kernel that is taken: the tile of a GPU's is one that most groups fill.
func (g Grouped) way(d *vk.Device, x Tensor) linearKernel {
	// What tells kernels apart: few rows, or as many as a tile of a CPU's has.
	const some = 2 * cpuLanes
	like, f := Tensor{DType: x.DType, Rows: some, Cols: x.Cols}, Fused{Up: g.Up, Batch: !g.Few}
	if g.Few {
		like.Rows = 1
	}
	family := linearForced(d, like, g.W, f)
	if len(family) == 0 {
		family = linearFamily(d, like, g.W, f)
	}
	mean := x.Rows / (g.Offsets.Cols - 1)
	for _, k := range family {
		if k.rows <= max(mean, some) {
			return k
		}
	}
	return family[len(family)-1]
}

// record records the products of the tiles, as many groups at a time as bindings hold.
func (g Grouped) record(r *vk.Recorder, k linearKernel, y, x Tensor, grid [2]int) {
	epilogue, flops := epilogueNone, 2.0
	if !g.Up.IsZero() {
		epilogue, flops = epilogueSwiGLU, 4
	}
	special := k.spec.after("WORKGROUP", k.group, "BIASED", false, "EPILOGUE", epilogue)
	if k.norms {
		special = special.with("NORM", false)
	}
	if k.fours {
		special = special.with("BY_FOUR", y.Cols%4 == 0)
	}
	groups := g.Offsets.Cols - 1
	pieces(r, "linear_grouped", groups, 0, func(begin, end int) {
		w := g.W.RowRange(begin*y.Cols, end*y.Cols)
		up := w // something has to be bound
		if epilogue == epilogueSwiGLU {
			up = g.Up.RowRange(begin*y.Cols, end*y.Cols)
		}
		constants := push("rows", x.Rows, "columns", y.Cols, "depth", x.Cols, "column", 0, "stride", y.Cols, "eps", float32(0), "first", begin, "groups", end-begin)
		args := []vk.Arg{vk.In(w.View), vk.In(up.View), vk.In(w.View), vk.In(g.Tiles.View), vk.In(w.View), vk.In(w.View), vk.Out(y.View)}
		texels := uint32(0)
		if k.texels {
			texels = 0b111
		}
		if k.address {
			constants = constants.with("x", address{})
			args = append(args, vk.InAt(x.View, len(constants.words)-2))
		} else {
			args = append(args, vk.In(x.View))
			texels |= flag(k.texels) << 7
		}
		source := vk.Source{Name: k.shader + "_grouped" + suffix(g.W.DType), Texels: texels, Subgroup: k.subgroup, Shared: k.shared}
		dispatchSource(r, source, special, [3]int{grid[0], grid[1], 1}, constants,
			max(flops*float64(x.Rows)*float64(y.Cols*x.Cols), float64(w.Size())), args...)
	}, int64(y.Cols)*g.W.RowBytes())
}
