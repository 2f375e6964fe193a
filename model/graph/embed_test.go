package graph_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/graph"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

// The host decodes the embeddings of few tokens, the device those of many: both are the table's rows to the bit, scaled, and rows with NaN are
// refused either way.
func TestEmbed(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for _, dt := range dtype.All {
			m, _ := modeltest.Spec{Hidden: 24, Intermediate: 16, Layers: 1, Heads: 2, KVHeads: 1, HeadDim: 8, Vocab: 91, Context: 16, DType: dt}.Open(t)
			table := m.Top[arch.Embed]
			for _, n := range []int{1, 7, 512, 513, 700} {
				tokens := modeltest.Windows(90, 1, n)[0] // token 90 is not among them
				got, err := embedded(t, d, table, tokens)
				if err != nil {
					t.Fatal(err)
				}
				values, want := make([]float32, table.Elements()), []float32(nil)
				dt.Decode(values, modeltest.Bytes(t, table))
				for _, token := range tokens {
					for _, v := range values[int(token)*table.Cols : (int(token)+1)*table.Cols] {
						want = append(want, 1.75*v)
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("%v: %d tokens have other embeddings", dt, n)
				}
				bad, raw := table, slices.Clone(modeltest.Bytes(t, table))
				dt.Encode(raw[90*table.Cols*dt.Size():], []float32{float32(math.NaN())})
				bad.Data = raw
				if _, err := embedded(t, d, bad, tokens); err != nil {
					t.Errorf("%v: %d tokens: a row that is not used: %v", dt, n, err)
				}
				if _, err := embedded(t, d, bad, append(tokens, 90)); err == nil || !strings.Contains(err.Error(), "1 of 2184 values are NaN") {
					t.Errorf("%v: %d tokens, the last with NaN: %v", dt, n, err)
				}
			}
		}
	})
}

func embedded(t *testing.T, d *vk.Device, table model.Weight, tokens []uint32) ([]float32, error) {
	t.Helper()
	r, err := d.NewRecorder()
	if err != nil {
		t.Fatal(err)
	}
	scope := d.NewScope()
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		scope.Free()
	}()
	out := graph.Floats(scope.Buffer("embeddings", 4*int64(len(tokens)*table.Cols), vk.OnDevice), len(tokens), table.Cols)
	if err := graph.Embed(t.Context(), r, &arch.Config{Recipe: arch.Recipe{EmbeddingScale: 1.75}}, table, tokens, out); err != nil {
		return nil, err
	}
	values := make([]float32, out.Elements())
	return values, graph.Read(t.Context(), d, values, out)
}
