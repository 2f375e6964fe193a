package prune

import (
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/modeltest"
	"github.com/vkcome/vkcome/prune/distill"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/prune/work"
)

// TestManifestNames: a work folder's key has the names that it always had, so that an older one is known again, and each field that is an
// option's has a Go name for messages.
func TestManifestNames(t *testing.T) {
	m, _ := modeltest.Spec{Hidden: 16, Intermediate: 24, Layers: 4, Heads: 2, KVHeads: 2, HeadDim: 8, Vocab: 31, Context: 32}.Open(t)
	windows := modeltest.Windows(31, 4, 8)
	training := &DistillOptions{Schedule: DistillEach, Windows: windows}
	plan, err := NewPlan(m, Options{TargetLayers: 3, Windows: windows, Distill: training})
	if err != nil {
		t.Fatal(err)
	}
	healing := "healing's batch, healing's clip, healing's decay, healing's end_to_end, healing's end_to_end_lr, healing's final_lr, healing's held_out, healing's input, " +
		"healing's loss, healing's lr, healing's micro_batch, healing's patience, healing's seed, healing's temperature, healing's tokens, healing's warm_up, " +
		"--heal, the text to heal on, the files to heal on"
	device := "device, driver, driver version, tier"
	check := func(fields []work.Field, names map[string]string, want string) {
		t.Helper()
		var got []string
		for _, f := range fields {
			got = append(got, f.Name)
			if strings.HasPrefix(f.Name, "--") && names[f.Name] == "" {
				t.Errorf("%s has no Go name", f.Name)
			}
		}
		if list := strings.Join(got, ", "); list != want {
			t.Errorf("fields %s\nwant %s", list, want)
		}
	}
	common := "vkcome, the model, the model's vkcome.json, --method, --target-layers, --protect, --all-scores, --save-steps, " + device
	check(plan.key("a", Device{}, true), namesFor(plan.Method), common+", --merge-item, --min-max, --psu, --repeat, "+healing+
		", the calibration corpus, the files of the corpus, --seed, the text of the corpus")
	replay, err := NewPlan(m, Options{Replay: &Lineage{Steps: []*method.Step{{From: 4, To: 3, Operation: method.Removal, DropList: []int{1}}}}})
	if err != nil {
		t.Fatal(err)
	}
	check(replay.key("a", Device{}, false), namesFor(replay.Method), common+", --plan")
	distillation, err := NewDistillation(m, m, DistillationOptions{Distill: DistillOptions{Windows: windows}, Groups: []distill.Group{{Layer: 1, First: 1, Last: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	check(distillation.key([]string{"a", "b"}, Device{}), namesFor(nil), "vkcome, the teacher, the student, the student's vkcome.json, --map, "+healing+", "+device)
	for _, e := range method.Registry {
		o := e.New(method.Options{CoMe: method.CoMe{Tiled: true, Selector: "bi", Norm: "ratio", Sensitivity: "random", Seed: 1}, Layers: []int{1}}).Effective()
		names := namesFor(o)
		for key := range method.OptionNames(o) {
			if name := names[option(methodOption(key), "").Name]; !slices.Contains([]string{"method", "prune"}, strings.Split(name, ".")[0]) {
				t.Errorf("%s: option %s has the name %q", e.Name, key, name)
			}
		}
	}
}
