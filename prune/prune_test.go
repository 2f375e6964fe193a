package prune_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/corpus"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/score"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestMain(m *testing.M) { vktest.Main(m) }

func ints(windows [][]uint32) [][]int {
	out := make([][]int, len(windows))
	for i, w := range windows {
		for _, v := range w {
			out[i] = append(out[i], int(v))
		}
	}
	return out
}

// TestRunAgainstReference prunes random models of every architecture and compares every step with CoMe in float64.
func TestRunAgainstReference(t *testing.T) {
	for name, c := range map[string]struct {
		spec   modeltest.Spec
		target int
		come   method.CoMe
		ref    ref.Options
	}{
		"llama": {modeltest.Spec{Hidden: 48, Intermediate: 112, Layers: 6, Heads: 6, KVHeads: 3, HeadDim: 8, Vocab: 97, Context: 64, DType: dtype.BF16}, 4, method.CoMe{}, ref.Options{}},
		"biases, tiled": {modeltest.Spec{Hidden: 24, Intermediate: 51, Layers: 5, Heads: 4, KVHeads: 2, HeadDim: 6, Vocab: 65, Context: 64, AttentionBias: true, MLPBias: true, DType: dtype.F16}, 3,
			method.CoMe{Tiled: true, Repeat: true}, ref.Options{TiledMask: true, Repeat: true}},
		"qwen2, three at a time": {modeltest.Spec{Architecture: "Qwen2ForCausalLM", Hidden: 56, Intermediate: 100, Layers: 7, Heads: 8, KVHeads: 4, HeadDim: 20, Vocab: 211, Context: 64, Tied: true, DType: dtype.BF16}, 4,
			method.CoMe{LayersPerMerge: 3, RatioPower: 2}, ref.Options{LayersPerMerge: 3, RatioPower: 2}},
		"opt": {modeltest.Spec{Architecture: "OPTForCausalLM", Hidden: 72, Intermediate: 115, Layers: 6, Heads: 9, KVHeads: 9, HeadDim: 8, Vocab: 97, Context: 64, Tied: true, AttentionBias: true, DType: dtype.F16}, 4,
			method.CoMe{}, ref.Options{}},
		"qwen3, floor": {modeltest.Spec{Architecture: "Qwen3ForCausalLM", Hidden: 32, Intermediate: 64, Layers: 5, Heads: 4, KVHeads: 4, HeadDim: 16, Vocab: 129, Context: 64}, 3, method.CoMe{RatioFloor: 0.7}, ref.Options{RatioFloor: 0.7}},
	} {
		t.Run(name, func(t *testing.T) {
			m, dir := c.spec.Open(t)
			oracle, err := ref.LoadModel(dir)
			if err != nil {
				t.Fatal(err)
			}
			windows := modeltest.Windows(c.spec.Vocab, 4, 31)
			c.ref.TargetLayers, c.ref.Round = c.target, func(x float64) float64 {
				raw, out := make([]byte, 4), make([]float32, 1)
				c.spec.DType.Encode(raw, []float32{float32(x)})
				c.spec.DType.Decode(out, raw[:c.spec.DType.Size()])
				return float64(out[0])
			}
			want, err := ref.CoMe(oracle, ints(windows), c.ref)
			if err != nil {
				t.Fatal(err)
			}
			vktest.Each(t, func(t *testing.T, d *vk.Device) {
				plan, err := prune.NewPlan(m, prune.Options{TargetLayers: c.target, Method: c.come, AllScores: true, Windows: windows})
				if err != nil {
					t.Fatal(err)
				}
				got, err := plan.Run(t.Context(), d, nil)
				if err != nil {
					t.Fatal(err)
				}
				tree, err := json.Marshal(got.Lineage.Tree)
				if err != nil {
					t.Fatal(err)
				}
				if wantTree, _ := json.Marshal(want.Tree); string(tree) != string(wantTree) {
					t.Errorf("tree %s, want %s", tree, wantTree)
				}
				if len(got.Lineage.Steps) != len(want.Steps) {
					t.Fatalf("%d steps, want %d", len(got.Lineage.Steps), len(want.Steps))
				}
				for i, s := range got.Lineage.Steps {
					w := want.Steps[i]
					same(t, "BI", s.BI, w.Scores.BI)
					same(t, "SBI", s.SBI, w.Scores.SBI)
					same(t, "ratio", s.Ratio, w.Ratio)
					for k, kept := range s.Kept {
						if !reflect.DeepEqual(kept.KVHeads, w.KVHeads[k]) || !reflect.DeepEqual(kept.Neurons, w.Neurons[k]) {
							t.Errorf("step %d keeps %v of layer %d, want heads %v and neurons %v", i, kept, k, w.KVHeads[k], w.Neurons[k])
						}
					}
				}
				plan.Options.AllScores = false
				few, err := plan.Run(t.Context(), d, nil)
				if err != nil {
					t.Fatal(err)
				}
				for i, s := range few.Lineage.Steps {
					if w := got.Lineage.Steps[i]; fmt.Sprint(s.Layers, s.Ratio, s.Kept) != fmt.Sprint(w.Layers, w.Ratio, w.Kept) {
						t.Errorf("step %d without the scores that are not needed: %+v, want %+v", i, s, w)
					}
				}
				out := filepath.Join(t.TempDir(), "out")
				if err := got.Save(t.Context(), d, out, false, nil); err != nil {
					t.Fatal(err)
				}
				saved, err := ref.LoadModel(out)
				if err != nil {
					t.Fatal(err)
				}
				ids := ints(windows)[0]
				logits := want.Model.Logits(ids).Data
				narrow := make([]float32, len(logits))
				for i, v := range saved.Logits(ids).Data {
					narrow[i] = float32(v)
				}
				vktest.Near(t, narrow, logits, "model logits", c.spec.DType.String())
				if used := d.Memory().Used; used != 0 {
					t.Errorf("%d bytes left on the device", used)
				}
			})
		})
	}
}

// same compares scores: f32 arithmetic in a model of some layers, of cosines that lie near each other.
func same(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !(math.Abs(got[i]-want[i]) <= 1e-4*math.Abs(want[i])) {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
	}
}

// embeddedModel opens the embedded model and cuts the first tokens of its calibration corpus into windows.
func embeddedModel(t testing.TB, count, window int) (*model.Model, [][]uint32) {
	t.Helper()
	m, err := embedded.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	tokens, err := corpus.ReadTokens(t.Context(), "../testdata/golden/calib_tokens.json", 0)
	if err != nil {
		t.Fatal(err)
	}
	windows, err := corpus.Cut(tokens[:count*window], window)
	if err != nil {
		t.Fatal(err)
	}
	return m, windows
}

// TestAllScores gets the same choices and the same weights whether all scores are computed or only those that tell, in all
// configurations that PyTorch's figures are of and some more, and whatever the memory.
func TestAllScores(t *testing.T) {
	m, windows := embeddedModel(t, 8, 72)
	for name, c := range map[string]struct {
		target int
		come   method.CoMe
	}{
		"8": {8, method.CoMe{}}, "compat": {8, method.CoMe{Tiled: true}}, "repeat": {8, method.CoMe{Repeat: true}},
		"psu, floor": {8, method.CoMe{RatioPower: 2, RatioFloor: 0.8}}, "three": {6, method.CoMe{LayersPerMerge: 3}},
		"three, repeat, odd": {5, method.CoMe{LayersPerMerge: 3, Repeat: true, RatioPower: 2}}, "seven": {7, method.CoMe{RatioPower: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			do := func(d vk.Options, all bool) *prune.Result {
				plan, err := prune.NewPlan(m, prune.Options{TargetLayers: c.target, Method: c.come, AllScores: all, Windows: windows})
				if err != nil {
					t.Fatal(err)
				}
				r, err := plan.Run(t.Context(), vktest.Open(t, d), nil)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			want := do(vk.Options{}, true)
			for _, s := range want.Lineage.Steps {
				if slices.ContainsFunc(append(s.BI, s.SBI...), math.IsNaN) {
					t.Errorf("a score is missing: BI %v, SBI %v", s.BI, s.SBI)
				}
			}
			for _, o := range []vk.Options{{}, {MaxMemory: 4 << 20}} {
				got := do(o, false)
				p := got.Lineage.LayerPasses
				if t.Logf("%d bytes of memory: %+v, all: %+v", o.MaxMemory, p, want.Lineage.LayerPasses); p.Done > want.Lineage.LayerPasses.Done && o.MaxMemory == 0 {
					t.Errorf("%+v layer passes, all scores take %+v", p, want.Lineage.LayerPasses)
				}
				for i, s := range got.Lineage.Steps {
					w := want.Lineage.Steps[i]
					if fmt.Sprint(s.MergeList, s.Ratio, s.Kept, s.Layers) != fmt.Sprint(w.MergeList, w.Ratio, w.Kept, w.Layers) {
						t.Errorf("step %d: %+v, want %+v", i, s, w)
					}
					for _, pair := range [][2]method.Scores{{s.BI, w.BI}, {s.SBI, w.SBI}} {
						for k, v := range pair[0] {
							if !math.IsNaN(v) && v != pair[1][k] {
								t.Errorf("step %d: score %d is %v, want %v", i, k, v, pair[1][k])
							}
						}
					}
				}
				for l, layer := range got.Model.Layers {
					for part, weight := range layer.Weights {
						if !bytes.Equal(modeltest.Bytes(t, weight), modeltest.Bytes(t, want.Model.Layers[l].Weights[part])) {
							t.Errorf("layer %d: %s differs", l, weight.Name)
						}
					}
				}
			}
		})
	}
}

// TestScoresJSON keeps what is known and what is not.
func TestScoresJSON(t *testing.T) {
	raw, err := json.Marshal(method.Scores{0.5, math.NaN(), 0})
	if err != nil || string(raw) != "[0.5,null,0]" {
		t.Errorf("%s, %v", raw, err)
	}
	var back method.Scores
	if err := json.Unmarshal(raw, &back); err != nil || len(back) != 3 || back[0] != 0.5 || !math.IsNaN(back[1]) || back[2] != 0 {
		t.Errorf("%v, %v", back, err)
	}
}

var tiny = modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 4, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 50, Context: 32, DType: dtype.BF16}

func TestNewPlanRefuses(t *testing.T) {
	m, _ := tiny.Open(t)
	windows := modeltest.Windows(50, 2, 16)
	for _, c := range []struct {
		o    prune.Options
		want string
	}{
		{prune.Options{}, "no target"},
		{prune.Options{TargetLayers: 5}, "expected 1 to 4"},
		{prune.Options{TargetLayers: -1}, "expected 1 to 4"},
		{prune.Options{TargetLayers: 4}, "already"},
		{prune.Options{TargetLayers: 2, Sparsity: 0.5}, "give one target"},
		{prune.Options{Sparsity: 1.5}, "sparsity 1.5"},
		{prune.Options{Sparsity: 0.999}, "out of reach"},
		{prune.Options{TargetLayers: 1}, "reaches 2"},
		{prune.Options{TargetLayers: 2, Method: method.CoMe{LayersPerMerge: 5}}, "merge item 5"},
		{prune.Options{TargetLayers: 2, Method: method.CoMe{LayersPerMerge: 1}}, "merge item 1"},
		{prune.Options{TargetLayers: 2, Method: method.CoMe{RatioFloor: 2}}, "min-max 2"},
		{prune.Options{TargetLayers: 2, Method: method.CoMe{RatioPower: -1}}, "psu -1"},
		{prune.Options{TargetLayers: 2, Method: method.CoMe{RatioPower: math.NaN()}}, "psu NaN"},
		{prune.Options{TargetLayers: 2, Method: method.CoMe{RatioFloor: math.NaN()}}, "min-max NaN"},
		{prune.Options{Sparsity: math.NaN()}, "sparsity NaN"},
	} {
		c.o.Windows = windows
		if _, err := prune.NewPlan(m, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
	if _, err := prune.NewPlan(m, prune.Options{TargetLayers: 3}); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("no corpus: %v", err)
	}
}

func TestSparsity(t *testing.T) {
	m, _ := tiny.Open(t)
	share := float64(m.Layers[0].Parameters()) / float64(m.Parameters())
	for _, c := range []struct {
		sparsity float64
		layers   int
	}{{share, 3}, {share * 1.01, 2}, {share * 0.5, 3}, {share * 2, 2}} {
		p, err := prune.NewPlan(m, prune.Options{Sparsity: c.sparsity, Windows: modeltest.Windows(50, 1, 8)})
		if err != nil || p.TargetLayers != c.layers {
			t.Errorf("sparsity %v: %+v, %v, want %d layers", c.sparsity, p, err, c.layers)
		}
	}
}

// TestStuck says how deep one can go when every window touches a merged layer.
func TestStuck(t *testing.T) {
	m, _ := tiny.Open(t)
	d := vktest.Open(t, vk.Options{})
	scorer, err := score.New(d, m, modeltest.Windows(50, 2, 16))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := scorer.Close(); err != nil {
			t.Error(err)
		}
	}()
	merged := method.Tree{Merged: []method.Tree{{Layer: 1}, {Layer: 2}}}
	s := &method.State{Device: d, Model: m, Scorer: scorer, Tree: []method.Tree{{}, merged, {Layer: 3}, merged}}
	_, err = method.CoMe{}.Step(t.Context(), s, 3, nil)
	if !errors.Is(err, method.ErrNoWindow) || !strings.Contains(err.Error(), "4 layers is as deep") || !strings.Contains(err.Error(), "method.CoMe.Repeat=true") {
		t.Error(err)
	}
	if step, err := (method.CoMe{Repeat: true}).Step(t.Context(), s, 3, nil); err != nil || step.To != 3 {
		t.Errorf("with repeats: %+v, %v", step, err)
	}
}

func execute(t *testing.T, m *model.Model, o prune.Options) *prune.Result {
	t.Helper()
	plan, err := prune.NewPlan(m, o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := plan.Run(t.Context(), vktest.Open(t, vk.Options{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPrunedAgain prunes a pruned model: the tree speaks of the first one's layers, and the lineage file makes its way.
func TestPrunedAgain(t *testing.T) {
	spec := tiny
	spec.Layers = 6
	m, dir := spec.Open(t)
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	windows, d := modeltest.Windows(50, 3, 16), vktest.Open(t, vk.Options{})
	first := filepath.Join(t.TempDir(), "five")
	if err := execute(t, m, prune.Options{TargetLayers: 5, Windows: windows}).Save(t.Context(), d, first, false, nil); err != nil {
		t.Fatal(err)
	}
	again, err := model.Open(first)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	r := execute(t, again, prune.Options{TargetLayers: 4, Windows: windows})
	once := execute(t, m, prune.Options{TargetLayers: 4, Windows: windows})
	if fmt.Sprint(r.Lineage.Tree) != fmt.Sprint(once.Lineage.Tree) || r.Lineage.OriginalLayers != 6 {
		t.Errorf("tree %v of %d layers, want %v of 6", r.Lineage.Tree, r.Lineage.OriginalLayers, once.Lineage.Tree)
	}
	var previous prune.Lineage
	if err := json.Unmarshal(r.Lineage.Previous, &previous); err != nil || len(previous.Steps) != 1 || previous.Steps[0].From != 6 {
		t.Errorf("the first run's lineage: %+v, %v", previous, err)
	}
	out := filepath.Join(t.TempDir(), "four")
	if err := r.Save(t.Context(), d, out, false, nil); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(out, "tokenizer.json")); err != nil || string(raw) != "{}" {
		t.Errorf("tokenizer.json: %q, %v", raw, err)
	}
}

func TestSaveNeverLosesAnything(t *testing.T) {
	m, _ := tiny.Open(t)
	d := vktest.Open(t, vk.Options{})
	r := execute(t, m, prune.Options{TargetLayers: 3, Windows: modeltest.Windows(50, 2, 16)})
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	precious := filepath.Join(out, "precious")
	if err := os.WriteFile(precious, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.Save(t.Context(), d, out, false, nil); !errors.Is(err, prune.ErrExists) || !strings.Contains(err.Error(), "prune.Output.Force") {
		t.Errorf("an existing folder: %v", err)
	}
	if err := r.Save(t.Context(), d, out, true, nil); !errors.Is(err, prune.ErrExists) || !strings.Contains(err.Error(), "no folder that vkcome wrote") {
		t.Errorf("force on a folder that vkcome did not write: %v", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
	if err := r.Save(t.Context(), d, filepath.Join(dir, "none", "out"), false, nil); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("no parent: %v", err)
	}
	if err := prune.CheckOutput("", m.Name, false); err == nil {
		t.Error("an empty name was accepted")
	}
	own := filepath.Join(m.Name, model.Lineage)
	if err := os.WriteFile(own, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, over := range []string{m.Name, filepath.Join(m.Name, "..", filepath.Base(m.Name))} {
		if err := r.Save(t.Context(), d, over, true, nil); !errors.Is(err, prune.ErrExists) || !strings.Contains(err.Error(), "holds the model") {
			t.Errorf("force on the source: %v", err)
		}
	}
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	model1 := filepath.Join(dir, "model")
	for _, force := range []bool{false, true} {
		if err := r.Save(t.Context(), d, model1, force, nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := r.Save(ctx, d, model1, true, func(s prune.Status) {
		if s.Stage == "verify" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("left in the folder: %v", entries)
	}
	if _, err := model.Open(model1); err != nil {
		t.Errorf("after a cancelled replacement: %v", err)
	}
}

// TestMemoryDoesNotGrowWithDepth prunes two layers off a model and off one four times as deep, in memory that holds the weights of
// neither: where there is more, weights stay on the device for as long as they fit.
func TestMemoryDoesNotGrowWithDepth(t *testing.T) {
	const windows, window, hidden = 8, 64, 64
	peak := func(layers int) int64 {
		spec := modeltest.Spec{Hidden: hidden, Intermediate: 1024, Layers: layers, Heads: 4, KVHeads: 2, HeadDim: 16, Vocab: 64, Context: window, DType: dtype.F32}
		m, _ := spec.Open(t)
		d, err := vk.Open(vk.Options{CacheDir: "-", MaxMemory: 8 << 20})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := prune.NewPlan(m, prune.Options{TargetLayers: layers - 2, Windows: modeltest.Windows(64, windows, window)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := plan.Run(t.Context(), d, nil); err != nil {
			t.Fatal(err)
		}
		p := d.Memory().PeakUsed
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		return p
	}
	shallow, deep := peak(6), peak(24)
	states := int64(18 * windows * window * hidden * 4)
	t.Logf("6 layers: %s, 24 layers: %s, of which %s are more states", vk.Bytes(shallow), vk.Bytes(deep), vk.Bytes(states))
	if deep > shallow+states {
		t.Errorf("24 layers took %d bytes, 6 layers %d: %d more than the states", deep, shallow, deep-shallow-states)
	}
}
