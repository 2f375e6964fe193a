package op

import (
	"github.com/vkcome/vkcome/vk"
)

// The kernels for GPUs. A workgroup multiplies a tile of x with a tile of w through shared memory: the larger the tile, the fewer
// times x and w are read; the smaller, the more workgroups there are to fill the device.

// linearTile is a tile of linear.comp: its rows and columns and, of these, those of an invocation.
type linearTile struct{ rows, columns, edgeM, edgeN int }

// linearTiles are in the order in which they are tried. The bits of y are the same with each.
var linearTiles = []linearTile{
	{128, 128, 8, 8},
	{64, 128, 8, 8},
	{64, 64, 8, 8},
	{64, 64, 4, 8},
	{32, 128, 4, 8},
	{32, 64, 4, 8},
}

func (t linearTile) group() int    { return t.rows / t.edgeM * (t.columns / t.edgeN) }
func (t linearTile) shared() int64 { return 128 * int64(t.rows+t.columns) }

func (t linearTile) kernel(x, w Tensor, f Fused) linearKernel {
	k := linearKernel{shader: "linear", group: t.group(), rows: t.rows, columns: t.columns}
	k.spec = []uint32{flag(x.Cols%4 == 0), uint32(t.rows), uint32(t.columns), uint32(t.edgeM), uint32(t.edgeN)}
	return k.gated(f)
}

// gated takes account of up, which has half of a tile's columns where it is there.
func (k linearKernel) gated(f Fused) linearKernel {
	if !f.Up.IsZero() {
		k.columns /= 2
	}
	return k
}

// fillGroups is how many workgroups are enough to fill a large GPU: it has up to some 150 cores.
const fillGroups = 120

// linearGPU are the kernels that a device can run on these operands, by families, the best first; within a family from the largest
// tile to the smallest.
func linearGPU(d *vk.Device, x, w Tensor, f Fused) [][]linearKernel {
	var vec, tiles []linearKernel
	if f.few(x) {
		const columns = 4
		k := linearKernel{shader: "linear_vec", group: rowGroup, rows: linearVecRows, columns: columns, norms: true}
		k.spec = []uint32{flag(x.Cols%4 == 0), uint32(x.Rows), columns}
		vec = append(vec, k.gated(f))
	}
	l := d.Limits()
	for _, t := range linearTiles {
		if t.group() <= l.WorkgroupSize && t.shared() <= l.SharedMemory {
			tiles = append(tiles, t.kernel(x, w, f))
		}
	}
	return [][]linearKernel{vec, tiles}
}

// fitting is the first kernel of the best family whose tiles are enough to fill the device and not half empty, else its last.
func fitting(families [][]linearKernel, rows, columns int) linearKernel {
	for _, family := range families {
		for i, k := range family {
			fills := ceilDiv(rows, k.rows)*ceilDiv(columns, k.columns) >= fillGroups
			if i == len(family)-1 || fills && rows > k.rows/2 {
				return k
			}
		}
	}
	panic("op: no kernel for linear: the smallest tile is within what Vulkan asks of a device")
}
