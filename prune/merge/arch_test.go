package merge_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/generate"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/model/run"
	"github.com/vkcome/vkcome/prune/merge"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

// cases are every architecture with three of five head sizes, and among these each dtype, each number of query heads for a KV head that it can
// have, vocabularies that divide nothing, shards, norms in F32 and bare names of tensors.
func cases(t *testing.T) map[string]modeltest.Spec {
	all := map[string]modeltest.Spec{}
	for a, name := range modeltest.Distinct() {
		for i, dim := range []int{8, 20, 24, 64, 128} {
			if (i+a)%5 > 2 {
				continue
			}
			s, err := modeltest.Named(name)
			if err != nil {
				t.Fatal(err)
			}
			group := 1 << ((i + a) % 4)
			s.Heads, s.KVHeads, s.HeadDim, s.DType, s.Layers = 8, 8/group, dim, dtype.All[(i+a)%3], 3
			if dim >= 64 {
				s.Heads, s.KVHeads = max(2, group), max(2, group)/group
			}
			s.Vocab, s.Intermediate, s.Seed = []int{61, 1999, 131, 61, 257}[i], []int{96, 75, 112, 101, 64}[i], uint64(i)
			s.NormsF32, s.Bare, s.ShardBytes = i == 1, i == 3, []int{0, 0, 30_000, 0, 0}[i]
			switch {
			case name == "opt":
				s.Heads = max(1, min(s.Heads, 160/dim))
				s.KVHeads, s.Hidden = s.Heads, s.Heads*dim
				s.AttentionBias = i != 4
			case s.Square():
				s.Hidden = s.Heads * dim
				s.Extra["partial_rotary_factor"] = 0.5
			case name == "phi4-mini" && dim == 20:
				s.Extra["partial_rotary_factor"] = 0.5
			case name == "llama":
				s.AttentionBias, s.MLPBias = i%2 == 0, i%3 == 0
			case name == "smollm3":
				s.Extra["no_rope_layers"] = []int{0, 1, 0}
			case name == "qwen3-moe-dense":
				s.Extra["decoder_sparse_step"], s.Extra["mlp_only_layers"] = 1, []int{0}
			case name == "qwen3-window":
				s.Extra["layer_types"] = []string{"sliding_attention", "full_attention", "sliding_attention"}
			}
			all[fmt.Sprintf("%s %v, %d for %d heads of %d, vocabulary %d", name, s.DType, s.KVHeads, s.Heads, dim, s.Vocab)] = s
		}
	}
	return all
}

// TestArchitectures compares logits, scores and merged models of every architecture with the reference, which reads the same files.
func TestArchitectures(t *testing.T) {
	all := cases(t)
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		for name, spec := range all {
			t.Run(name, func(t *testing.T) { architecture(t, d, spec) })
		}
		if used := d.Memory().Used; used != 0 {
			t.Errorf("%d bytes left on the device", used)
		}
	})
}

func architecture(t *testing.T, d *vk.Device, spec modeltest.Spec) {
	m, dir := spec.Open(t)
	oracle, err := ref.LoadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	windows := modeltest.Windows(spec.Vocab, 2, 19)
	var ids [][]int
	for _, w := range windows {
		var list []int
		for _, token := range w {
			list = append(list, int(token))
		}
		ids = append(ids, list)
	}
	near := func(what string, got []float32, want []float64) {
		t.Helper()
		if spec.DType == dtype.F16 && op.LinearScratch(d, spec.DType) {
			what += " of f16"
		}
		vktest.Near(t, got, want, what, spec.DType.String())
	}
	logits := func(m *model.Model, oracle *ref.Model) {
		t.Helper()
		f, err := run.New(d, m, windows)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := f.Run(t.Context(), m, nil); err != nil {
			t.Fatal(err)
		}
		err = f.Logits(t.Context(), m, func(i int, logits []float32) error {
			near("model logits", logits, oracle.Logits(ids[i]).Data)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	logits(m, oracle)
	generated(t, d, m, func(got []float32, tokens []int) {
		want := oracle.Logits(tokens)
		near("model logits", got, want.Row(len(tokens)-1))
	}, ids[0])

	s, err := score.New(d, m, windows)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := s.Update(t.Context(), m, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Select(t.Context(), 2, []bool{true, true}, true, nil); err != nil {
		t.Fatal(err)
	}
	want := ref.Calibrate(oracle, ids).Scores(2)
	near("model scores", narrow(s.BI()), want.BI)
	near("model scores", narrow(s.SBI()), want.SBI)
	heads, neurons := make([][]float64, spec.Layers), make([][]float64, spec.Layers)
	for l := range spec.Layers {
		if heads[l], neurons[l], err = s.Sensitivity(t.Context(), l, score.L1); err != nil {
			t.Fatal(err)
		}
		near("model scores", narrow(heads[l]), want.HeadGroups[l])
		near("model scores", narrow(neurons[l]), want.Neurons[l])
	}

	// Layers 1 and 2 become one.
	ratio := merge.Ratio(s.BI()[1:], 1, 0, 2)
	kept := merge.Keep(ratio, heads[1:], neurons[1:], m.Config.Sparse(1))
	s.Trim(m.Layers[1:])
	joined, err := merge.Concat(t.Context(), d, m.Config, m.Layers[1:], kept, ratio, merge.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pruned, err := m.With([]*model.Layer{m.Layers[0], joined}, []int{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := pruned.Write(t.Context(), out, spec.ShardBytes); err != nil {
		t.Fatal(err)
	}
	written, err := ref.LoadModel(out)
	if err != nil {
		t.Fatal(err)
	}
	merged := *oracle
	units := [][]int{kept[0].Neurons, kept[1].Neurons}
	if m.Config.Sparse(1) {
		units = [][]int{kept[0].Experts, kept[1].Experts}
	}
	merged.Layers = []ref.Layer{oracle.Layers[0], ref.Merge(oracle.Config, oracle.Layers[1:], [][]int{kept[0].KVHeads, kept[1].KVHeads}, units, ratio, false)}
	sameWeights(t, spec.DType, &written.Layers[1], &merged.Layers[1])
	again, err := model.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for l := range 2 {
		if is, was := arch.AttentionOf(again.Config, l), arch.AttentionOf(m.Config, l); is != was {
			t.Errorf("layer %d has attention %+v, want %+v", l, is, was)
		}
	}
	logits(again, written)
}

// generated feeds a sequence in three parts, so that the cache is used, and checks the logits after each.
func generated(t *testing.T, d *vk.Device, m *model.Model, check func(got []float32, tokens []int), ids []int) {
	t.Helper()
	g, err := generate.New(d, m, len(ids))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	fed := 0
	for _, n := range []int{6, 1, len(ids) - 7} {
		var tokens []uint32
		for _, id := range ids[fed : fed+n] {
			tokens = append(tokens, uint32(id))
		}
		got, err := g.Feed(t.Context(), tokens)
		if err != nil {
			t.Fatal(err)
		}
		fed += n
		check(got, ids[:fed])
	}
}

// sameWeights compares a merged layer: what was gathered bit by bit, what was averaged as rounded to its dtype.
func sameWeights(t *testing.T, d dtype.DType, got, want *ref.Layer) {
	t.Helper()
	for i, m := range []struct{ got, want ref.Mat }{{got.Q, want.Q}, {got.K, want.K}, {got.V, want.V}, {got.O, want.O}, {got.Gate, want.Gate}, {got.Up, want.Up}, {got.Down, want.Down}, {got.Router, want.Router}} {
		if !slices.Equal(m.got.Data, m.want.Data) {
			t.Errorf("%s has other values", []string{"q", "k", "v", "o", "gate", "up", "down", "router"}[i])
		}
	}
	for i, v := range []struct{ got, want []float64 }{{got.QBias, want.QBias}, {got.KBias, want.KBias}, {got.VBias, want.VBias}, {got.GateBias, want.GateBias}, {got.UpBias, want.UpBias}} {
		if !slices.Equal(v.got, v.want) {
			t.Errorf("the bias of %s has other values", []string{"q", "k", "v", "gate", "up"}[i])
		}
	}
	for _, v := range []struct{ got, want []float64 }{{got.InputNorm, want.InputNorm}, {got.InputNormBias, want.InputNormBias}, {got.PostNorm, want.PostNorm},
		{got.PostNormBias, want.PostNormBias}, {got.QNorm, want.QNorm}, {got.KNorm, want.KNorm}, {got.AttentionNorm, want.AttentionNorm}, {got.FFNNorm, want.FFNNorm}, {got.OBias, want.OBias}, {got.DownBias, want.DownBias}} {
		if len(v.got) > 0 || len(v.want) > 0 {
			vktest.Near(t, narrow(v.got), v.want, "weightedsum", d.String())
		}
	}
	if got.Window != want.Window {
		t.Errorf("a window of %d positions, want %d", got.Window, want.Window)
	}
}

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}
