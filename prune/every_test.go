package prune_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/dtype"
	"github.com/vkcome/vkcome/model/eval"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/model/ref"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

var seven = modeltest.Spec{Hidden: 32, Intermediate: 48, Layers: 7, Heads: 4, KVHeads: 2, HeadDim: 8, Vocab: 61, Context: 32, DType: dtype.BF16}

// TestEveryMethod takes a random model from 7 to 5 layers by every method and choice, with protected layers. What is written runs, keeps
// the protected layers to the byte, and comes out the same when its lineage is done again.
func TestEveryMethod(t *testing.T) {
	m, _ := seven.Open(t)
	sibling := seven
	sibling.Vocab++
	other, _ := sibling.Open(t)
	windows := modeltest.Windows(seven.Vocab, 6, 24)
	d := vktest.Open(t, vk.Options{})
	methods := []method.Method{method.Drop{Layers: []int{1, -2}}}
	for _, e := range method.Registry {
		if e.Name != "drop" && !e.Needs().Refit { // TestResumeRefit has these
			methods = append(methods, e.New(method.Options{Granularity: 4, Similarity: 0.99}))
		}
	}
	for _, selector := range method.Selectors {
		methods = append(methods, method.CoMe{Selector: selector, Norm: method.NormRatio}, method.WeightSum{CoMe: method.CoMe{Selector: selector}})
	}
	for _, sensitivity := range method.Sensitivities {
		methods = append(methods, method.CoMe{Sensitivity: sensitivity, Seed: 3, Repeat: true, LayersPerMerge: 3})
	}
	bytesOf := map[string]string{}
	for i, k := range methods {
		t.Run(fmt.Sprint(i, " ", k.Name()), func(t *testing.T) {
			protect := []int{0, -4} // -4 is layer 3
			switch k.Name() {
			case "mka":
				protect = []int{0, 1}
			case "prune-comp": // all layers above one that goes are scaled
				protect = nil
			}
			o := prune.Options{TargetLayers: 5, Method: k, Protect: protect, Windows: windows}
			plan, err := prune.NewPlan(m, o)
			if err != nil {
				t.Fatal(err)
			}
			result, err := plan.Run(t.Context(), d, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(result.Model.Layers) != 5 || len(result.Lineage.Tree) != 5 || result.Model.Config.Layers != 5 {
				t.Fatalf("%d layers, tree %v", len(result.Model.Layers), result.Lineage.Tree)
			}
			originals := 0
			var kept []int
			for l, tree := range result.Lineage.Tree {
				if originals += tree.Originals(); tree.Merged == nil {
					kept = append(kept, tree.Layer)
					if result.Model.Layers[l] != m.Layers[tree.Layer] && k.Name() != "prune-comp" {
						t.Errorf("layer %d is not the original's layer %d", l, tree.Layer)
					}
				}
			}
			for _, l := range protect {
				if l < 0 {
					l += 7
				}
				if !bytes.Contains(fmt.Appendf(nil, "%v", kept), fmt.Append(nil, l)) {
					t.Errorf("layer %d was protected, %v are as they were", l, kept)
				}
			}
			drops := result.Lineage.Steps[0].Operation == method.Removal
			if drops && originals != 5 || !drops && originals != 7 {
				t.Errorf("%d original layers in %v", originals, result.Lineage.Tree)
			}
			dir := t.TempDir()
			out, again := filepath.Join(dir, "out"), filepath.Join(dir, "again")
			if err := result.Save(t.Context(), d, out, false, nil); err != nil {
				t.Fatal(err)
			}
			l, err := prune.ReadLineage(out)
			if err != nil {
				t.Fatal(err)
			}
			replay, err := prune.NewPlan(m, prune.Options{Replay: l})
			if strings.HasPrefix(k.Name(), "replaceme") {
				if err == nil || !strings.Contains(err.Error(), "run the method again") {
					t.Errorf("a plan whose linear map is not there: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if other, err := prune.NewPlan(other, prune.Options{Replay: l}); err != nil {
				t.Fatal(err)
			} else if _, err := other.Run(t.Context(), d, nil); err == nil || !strings.Contains(err.Error(), "the plan is not of") {
				t.Errorf("a plan was done on another model: %v", err)
			}
			second, err := replay.Run(t.Context(), d, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := second.Save(t.Context(), d, again, false, nil); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"model.safetensors", "config.json", model.Lineage} {
				a, err := os.ReadFile(filepath.Join(out, name))
				if err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(filepath.Join(again, name))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(a, b) {
					t.Errorf("%s is another after its lineage was done again", name)
				}
				if name == "model.safetensors" {
					bytesOf[fmt.Sprintf("%d", i)] = string(a)
				}
			}
		})
	}
	// The choices choose: no two of the sensitivities give the same weights.
	n := len(methods) - len(method.Sensitivities)
	for i := n; i < len(methods); i++ {
		for j := n; j < i; j++ {
			if bytesOf[fmt.Sprint(i)] == bytesOf[fmt.Sprint(j)] {
				t.Errorf("sensitivities %s and %s give the same model", method.Sensitivities[i-n], method.Sensitivities[j-n])
			}
		}
	}
}

// TestSum compares weighted sums of layers with float64.
func TestSum(t *testing.T) {
	m, dir := seven.Open(t)
	oracle, err := ref.LoadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		step := &method.Step{From: 7, Operation: method.Sum, MergeList: []int{2, 3, 4}, Ratio: []float64{-1, 1, 1}}
		plan, err := prune.NewPlan(m, prune.Options{Replay: &prune.Lineage{Steps: []*method.Step{{From: 7, To: 5, Operation: step.Operation, MergeList: step.MergeList, Ratio: step.Ratio}}}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := plan.Run(t.Context(), d, nil)
		if err != nil {
			t.Fatal(err)
		}
		w := got.Model.Layers[2].Weights[arch.Gate]
		values := modeltest.Floats(t, w)
		for i, v := range values {
			want := 0.0
			for k, l := range step.MergeList {
				want += step.Ratio[k] * oracle.Layers[l].Gate.Data[i]
			}
			if math.Abs(float64(v)-want) > math.Abs(want)/256+1e-9 {
				t.Fatalf("weight %d is %v, want %v", i, v, want)
			}
		}
	})
}

// TestReplayRefuses refuses plans that do not fit a model, in a line, before or while they run.
func TestReplayRefuses(t *testing.T) {
	m, _ := seven.Open(t)
	d := vktest.Open(t, vk.Options{})
	whole := func(n int) []int {
		var list []int
		for i := range n {
			list = append(list, i)
		}
		return list
	}
	for want, step := range map[string]string{
		"the model has 7":        `{"from":8,"to":6,"operation":"drop","drop_list":[1]}`,
		"expected ascending":     `{"from":7,"to":6,"operation":"drop","drop_list":[7]}`,
		"next to each other":     `{"from":7,"to":6,"operation":"sum","merge_list":[1,3],"ratio":[1,1]}`,
		"a ratio for each":       `{"from":7,"to":6,"operation":"sum","merge_list":[1,2],"ratio":[1]}`,
		"operation \"\"":         `{"from":7,"to":6,"merge_list":[1,2],"ratio":[1,1],"kept":[{},{}]}`,
		"keeps 0 KV heads":       `{"from":7,"to":6,"operation":"concat","merge_list":[1,2],"ratio":[1,1],"kept":[{},{}]}`,
		"keeps unit 2 of 2":      fmt.Sprintf(`{"from":7,"to":6,"operation":"concat","merge_list":[1,2],"ratio":[1,1],"kept":[{"kv_heads":[0,2],"neurons":%s},{}]}`, strings.ReplaceAll(fmt.Sprint(whole(48)), " ", ",")),
		"that takes 0":           `{"from":7,"to":6,"operation":"drop"}`,
		"keeps units of 1":       `{"from":7,"to":6,"operation":"concat","merge_list":[1,2],"ratio":[1,1],"kept":[{}]}`,
		"expected 1 to 7":        `{"from":7,"to":0,"operation":"drop","drop_list":[0,1,2,3,4,5,6]}`,
		"it drops all":           `{"from":7,"to":1,"operation":"drop","drop_list":[0,1,2,3,4,5,6]}`,
		"leads to 6 layers, not": `{"from":7,"to":5,"operation":"drop","drop_list":[1]}`,
	} {
		l := &prune.Lineage{Steps: []*method.Step{{}}}
		if err := json.Unmarshal([]byte(step), l.Steps[0]); err != nil {
			t.Fatal(err)
		}
		plan, err := prune.NewPlan(m, prune.Options{Replay: l})
		if err == nil {
			_, err = plan.Run(t.Context(), d, nil)
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", step, err, want)
		}
	}
}

// TestTargets reaches the same depth by layers, sparsity, parameters and bytes.
func TestTargets(t *testing.T) {
	m, _ := seven.Open(t)
	depths := prune.Depths(m)
	if len(depths) != 7 || depths[0].Parameters != m.Parameters() || depths[0].Bytes != m.Bytes() || depths[0].Sparsity != 0 {
		t.Fatalf("%+v", depths)
	}
	at := depths[3]
	for _, o := range []prune.Options{{TargetLayers: 4}, {Sparsity: at.Sparsity}, {TargetParameters: at.Parameters}, {TargetBytes: at.Bytes}, {TargetBytes: at.Bytes + 1}} {
		o.Method = method.Reverse{}
		p, err := prune.NewPlan(m, o)
		if err != nil || p.TargetLayers != 4 {
			t.Errorf("%+v: %+v, %v", o, p, err)
		}
	}
	d := vktest.Open(t, vk.Options{})
	p, err := prune.NewPlan(m, prune.Options{TargetLayers: 4, Method: method.SLEB{}, Windows: modeltest.Windows(seven.Vocab, 6, 24)})
	if err != nil {
		t.Fatal(err)
	}
	pred, err := p.Predict(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if len(pred.Depths) != 4 || pred.Passes != 7+21+6+15+5+10 || pred.HeadPasses != 18 || !(pred.Seconds > 0) || pred.DeviceBytes <= 0 || pred.HostBytes <= 0 {
		t.Errorf("%+v", pred)
	}
}

// TestCompare has the perplexities of models that are pruned one by one.
func TestCompare(t *testing.T) {
	m, _ := seven.Open(t)
	windows, test := modeltest.Windows(seven.Vocab, 6, 24), modeltest.Windows(seven.Vocab, 3, 32)
	d := vktest.Open(t, vk.Options{})
	methods := []method.Method{method.SLEB{}, method.CoMe{}, method.MKA{}, method.CoMeP{Granularity: 4}, method.LaCo{}, method.ShortGPT{}}
	c, err := prune.Compare(t.Context(), d, m, prune.CompareOptions{Methods: methods, Depths: []int{3, 6, 5}, Windows: windows, Evaluation: test}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Rows) != 18 {
		t.Fatalf("%d rows", len(c.Rows))
	}
	unreachable := 0
	for i, r := range c.Rows {
		if i > 0 && (r.Layers > c.Rows[i-1].Layers || r.Layers == c.Rows[i-1].Layers && r.Error == "" && r.Perplexity < c.Rows[i-1].Perplexity) {
			t.Errorf("row %d is out of order: %+v", i, c.Rows)
		}
		if r.Error != "" {
			if unreachable++; !strings.Contains(r.Error, "(method.CoMe.Repeat=true)") {
				t.Errorf("%+v", r)
			}
			continue
		}
		if r.Method == "laco" {
			continue // it goes as deep as each depth of the list allows
		}
		for _, k := range methods {
			if k.Name() != r.Method {
				continue
			}
			p, err := prune.NewPlan(m, prune.Options{Method: k, TargetLayers: r.Layers, Windows: windows})
			if err != nil {
				t.Fatal(err)
			}
			alone, err := p.Run(t.Context(), d, nil)
			if err != nil {
				t.Fatal(err)
			}
			want, err := eval.RunPerplexity(t.Context(), d, alone.Model, test, nil)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(r.Perplexity/want.Perplexity-1) > 1e-6 || fmt.Sprint(r.Tree) != fmt.Sprint(alone.Lineage.Tree) {
				t.Errorf("%s at %d layers: perplexity %v of %v, alone %v of %v", r.Method, r.Layers, r.Perplexity, r.Tree, want.Perplexity, alone.Lineage.Tree)
			}
		}
	}
	if unreachable != 2 { // come and come-p reach 4 layers of 7 without merging any twice
		t.Errorf("%d depths out of reach, want 2", unreachable)
	}
}
