package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/refit"
)

// TestPlanOnly says what a run would take, and writes nothing.
func TestPlanOnly(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	args := []string{"prune", embedded.Name, out, "--plan-only", "-m", "come-p", "--sparsity", "0.2", "--protect", "0,-1", "--tokens", calib, "--window", "64", "--samples", "8", "-q"}
	var p prune.Prediction
	parseJSON(t, vkcome(t, append(args, "--json")...), &p)
	if p.TargetLayers != 9 || len(p.Depths) != 4 || p.Windows != 8 || p.Window != 64 || p.DeviceBytes <= 0 || p.HostBytes <= 0 || p.StateBytes != 13*8*64*128*4 || p.Seconds <= 0 {
		t.Errorf("%+v", p)
	}
	for _, want := range []string{"come-p: 12 → 9 layers", "protected layers: [0 11]", "20.5 %", "memory: at most", "time: at most"} {
		if text := string(vkcome(t, args...)); !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("something was written: %v %v", left, err)
	}
}

// TestMethodFlags refuses flags that have no meaning where they stand.
func TestMethodFlags(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	run := func(flags ...string) []string {
		return append([]string{"prune", embedded.Name, out, "-q"}, flags...)
	}
	refuse(t, 2, "--psu has no meaning for method sleb", run("-m", "sleb", "--psu", "2", "--target-layers", "9", "--tokens", calib)...)
	refuse(t, 2, "--layers has no meaning for method come", run("-m", "come", "--layers", "3", "--target-layers", "9", "--tokens", calib)...)
	refuse(t, 2, `method "foo", expected come`, run("-m", "foo", "--target-layers", "9")...)
	refuse(t, 2, "give one of --target-layers", run("--target-size", "4MiB", "--target-params", "2M", "--tokens", calib)...)
	refuse(t, 2, `--target-params "2X"`, run("--target-params", "2X", "--tokens", calib)...)
	refuse(t, 1, "given twice", run("-m", "drop", "--layers", "3,-9")...)
	refuse(t, 1, "layer 12, the model has 12", run("-m", "reverse", "--target-layers", "9", "--protect", "12")...)
	refuse(t, 1, `selector "x"`, run("-m", "come", "--selector", "x", "--target-layers", "9", "--tokens", calib, "--window", "128")...)
	refuse(t, 1, "out of reach", run("-m", "reverse", "--target-size", "10KiB")...)
	refuse(t, 2, "has no meaning beside it", run("--plan", out, "--psu", "2")...)
	refuse(t, 2, "--depths", "compare", embedded.Name, "--tokens", calib, "--eval-tokens", evalSet)
	refuse(t, 1, "expected 1 to 11", "compare", embedded.Name, "--tokens", calib, "--eval-tokens", evalSet, "--window", "128", "--depths", "12", "-q")
}

// TestRecommended: without a method, prune does what is recommended; with a protocol or figures it is the paper's method.
func TestRecommended(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	text := []string{"--tokens", calib, "--window", "32", "--samples", "3", "-q"}
	run := func(out string, flags ...string) []string {
		return append(append([]string{"prune", embedded.Name, path(out), "--target-layers", "11"}, text...), flags...)
	}
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{nil, `union {"target_layers":11,"method":{"candidates":1}} {"lambdas":[0.03,0.1,0.3,1],"projections":"o,down","all":true,"held_out":3}`},
		{[]string{"--fit-all=false", "--lambda", "1", "--fit-held-out", "2"}, `union {"target_layers":11,"method":{"candidates":1}} {"lambdas":[1],"projections":"o,down","held_out":2}`},
	} {
		var l prune.Lineage
		parseJSON(t, vkcome(t, append(run("out", c.flags...), "--force", "--json")...), &l)
		options, err := json.Marshal(l.Options)
		if err != nil {
			t.Fatal(err)
		}
		var fit *refit.Options
		if l.Refit != nil {
			fit = &l.Refit.Options
		}
		fitted, err := json.Marshal(fit)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s %s %s", l.Method, options, fitted); got != c.want {
			t.Errorf("%v: %s, expected %s", c.flags, got, c.want)
		}
	}
	vkcome(t, append([]string{"stats", embedded.Name, path("figures")}, text...)...)
	var l prune.Lineage
	if parseJSON(t, vkcome(t, "prune", embedded.Name, path("figured"), "--target-layers", "11", "--stats", path("figures"), "-q", "--json"), &l); l.Method != "come" {
		t.Errorf("with figures, prune takes %s", l.Method)
	}
	refuse(t, 2, "--psu is an option of some methods: name one (--method come, weightsum)", run("none", "--psu", "2")...)
	refuse(t, 2, "without a fit, name the method", run("none", "--refit=false")...)
	refuse(t, 1, "a corpus of one window: none can be held out from the fit; give more text (--text) or a shorter window (--window)", run("none", "--samples", "1")...)
}
