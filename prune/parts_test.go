package prune_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/arch"
	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestParts distills a model whole and in two parts and in three, of which one is interrupted, and joins the parts in any order: every file is
// that of the run that trained all layers.
func TestParts(t *testing.T) {
	m, _ := sixLayers.Open(t)
	d := vktest.Open(t, vk.Options{})
	student := pruned(t, d, m)
	dir := t.TempDir()
	groups := []distill.Group{{Layer: 0, First: 0, Last: 0}, {Layer: 1, First: 1, Last: 2}, {Layer: 3, First: 4, Last: 5}}
	part := func(name string, o distill.Options, p *prune.Part) {
		t.Helper()
		plan, err := prune.NewDistillation(m, student, prune.DistillationOptions{Distill: *distilling("", o), Groups: groups, Part: p})
		if err == nil {
			_, err = plan.RunTo(t.Context(), d, prune.Output{Dir: filepath.Join(dir, name)}, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	open := func(names ...string) (list []*model.Model) {
		for _, name := range names {
			list = append(list, modeltest.Open(t, filepath.Join(dir, name)))
		}
		return list
	}
	o := distill.Options{MicroBatch: 2}
	part("whole", o, nil)
	for n := 2; n <= 3; n++ {
		for i := range n {
			part(strings.Repeat("x", n)+string(rune('0'+i)), o, &prune.Part{Index: i, Of: n})
		}
	}
	want := filesIn(t, filepath.Join(dir, "whole"))
	for out, names := range map[string][]string{"two": {"xx1", "xx0"}, "three": {"xxx2", "xxx0", "xxx1"}} {
		l, err := prune.MergeParts(t.Context(), d, open(names...), prune.Output{Dir: filepath.Join(dir, out)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Distill.Stages) != 3 || l.Distill.Part != nil {
			t.Errorf("%s: %+v", out, l.Distill)
		}
		got := filesIn(t, filepath.Join(dir, out))
		if len(got) != len(want) {
			t.Errorf("%s: %d files, want %d", out, len(got), len(want))
		}
		for file, text := range got {
			if text != want[file] {
				t.Errorf("%s: %s has other bytes", out, file)
			}
		}
	}

	part("other", distill.Options{MicroBatch: 2, Seed: 1}, &prune.Part{Index: 1, Of: 2})
	if err := os.CopyFS(filepath.Join(dir, "damaged"), os.DirFS(filepath.Join(dir, "xx1"))); err != nil {
		t.Fatal(err)
	}
	weights := filepath.Join(dir, "damaged", "model.safetensors")
	raw, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	norm := open("xx1")[0].Layers[2].Weights[arch.InputNorm] // of a layer that nobody trains
	at := strings.Index(string(raw), string(modeltest.Bytes(t, norm)))
	raw[at] ^= 1
	if err := os.WriteFile(weights, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	for want, names := range map[string][]string{
		"is no part of":                        {"xx0", "whole"},
		"and 3 are to be merged":               {"xx0", "xx1", "xxx1"},
		"are both part 0/2":                    {"xx0", "xx0"},
		"healing.options.seed differs":         {"xx0", "other"},
		"input_layernorm.weight of":            {"xx0", "damaged"},
		"no parts of a distillation to merge":  nil,
		"is part 0/2 of a distillation, and 1": {"xx0"},
	} {
		_, err := prune.MergeParts(t.Context(), d, open(names...), prune.Output{Dir: filepath.Join(dir, "refused")}, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", names, err, want)
		}
	}
	for want, c := range map[string]struct {
		o       distill.Options
		part    prune.Part
		student *model.Model
	}{
		"expected 0 to 1":        {o, prune.Part{Index: 2, Of: 2}, student},
		"as many layers":         {o, prune.Part{Index: 3, Of: 4}, student},
		"after they were merged": {distill.Options{EndToEnd: 1}, prune.Part{Of: 2}, student},
		"trained layers below":   {distill.Options{Input: distill.StudentInput}, prune.Part{Of: 2}, student},
		"bound the tokens":       {distill.Options{Budget: 1}, prune.Part{Of: 2}, student},
		"merge the parts first":  {o, prune.Part{Of: 1}, open("xx0")[0]},
	} {
		_, err := prune.NewDistillation(m, c.student, prune.DistillationOptions{Distill: *distilling("", c.o), Groups: groups, Part: &c.part})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
