package merge_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// labelled is a layer with all biases whose values tell where they come from: 10,000·layer + the row of q, k, v and their biases, or the
// column of o.
func labelled(c *arch.Config, layer int) *model.Layer {
	l := &model.Layer{}
	fill := func(p arch.Role, rows, cols int, label func(row, col int) int) {
		values := make([]float32, rows*cols)
		for i := range values {
			values[i] = float32(10_000*layer + label(i/cols, i%cols))
		}
		w := model.Weight{Name: p.Info().Name, DType: dtype.F32, Rows: rows, Cols: cols, Data: make([]byte, 4*len(values))}
		dtype.F32.Encode(w.Data, values)
		l.Weights[p] = w
	}
	byRow, byCol := func(row, _ int) int { return row }, func(_, col int) int { return col }
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	fill(arch.Q, q, c.HiddenSize, byRow)
	fill(arch.K, kv, c.HiddenSize, byRow)
	fill(arch.V, kv, c.HiddenSize, byRow)
	fill(arch.QBias, 1, q, byCol)
	fill(arch.KBias, 1, kv, byCol)
	fill(arch.VBias, 1, kv, byCol)
	fill(arch.O, c.HiddenSize, q, byCol)
	return l
}

// TestGroupsStayTogether merges random layers of random heads: each KV head of the result must be followed by exactly its own query
// heads, in their order and of the same layer, in the rows of q, its bias and the columns of o; k, v and their biases are of one head.
func TestGroupsStayTogether(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 11))
	d := vktest.Open(t, vk.Options{})
	for range 60 {
		kv, group, dim, sources := 1+rng.IntN(9), 1+rng.IntN(8), 2*(1+rng.IntN(16)), 2+rng.IntN(2)
		spec := modeltest.Spec{Hidden: 1 + rng.IntN(5), Intermediate: 3, Layers: sources, Heads: kv * group, KVHeads: kv, HeadDim: dim, Vocab: 7, Context: 16, AttentionBias: true}
		c, err := arch.ParseConfig("config.json", spec.Config(t))
		if err != nil {
			t.Fatal(err)
		}
		// Which heads are kept of which layer: every count from none to all.
		kept, ratio, left := make([]merge.Kept, sources), make([]float64, sources), kv
		type origin struct{ layer, head int }
		var heads []origin
		layers := make([]*model.Layer, sources)
		for i := range layers {
			layers[i] = labelled(c, i)
			n := rng.IntN(left + 1)
			if i == sources-1 {
				n = left
			}
			left -= n
			kept[i].KVHeads = rng.Perm(kv)[:n]
			slices.Sort(kept[i].KVHeads)
			for _, h := range kept[i].KVHeads {
				heads = append(heads, origin{i, h})
			}
			ratio[i] = 1 / float64(sources)
		}
		kept[0].Neurons = []int{0, 1, 2}
		got, err := merge.Concat(t.Context(), d, c, layers, kept, ratio, merge.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var wantQ, wantKV []float32
		for _, o := range heads {
			for i := range group * dim {
				wantQ = append(wantQ, float32(10_000*o.layer+o.head*group*dim+i))
			}
			for i := range dim {
				wantKV = append(wantKV, float32(10_000*o.layer+o.head*dim+i))
			}
		}
		for _, p := range []struct {
			part arch.Role
			want []float32
			rows bool // of the matrix are labelled, else columns
		}{{arch.Q, wantQ, true}, {arch.K, wantKV, true}, {arch.V, wantKV, true}, {arch.QBias, wantQ, false}, {arch.KBias, wantKV, false}, {arch.VBias, wantKV, false}, {arch.O, wantQ, false}} {
			w := got.Weights[p.part]
			values := modeltest.Floats(t, w)
			for i, v := range values {
				at := i % w.Cols
				if p.rows {
					at = i / w.Cols
				}
				if len(p.want) != map[bool]int{true: w.Rows, false: w.Cols}[p.rows] || v != p.want[at] {
					t.Fatalf("%d KV heads with %d query heads of %d each, kept %s: element %d of %s comes from %v, want %v", kv, group, dim, fmt.Sprint(kept), i, w.Name, v, p.want[at])
				}
			}
		}
	}
	vktest.Clean(t)
}
