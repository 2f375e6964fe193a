package main

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
)

// TestAuto lets the binary choose for a moment: its table has the flags of what it tried, its JSON the same, and a corpus that is too small is
// refused by the flags' names.
func TestAuto(t *testing.T) {
	dir := t.TempDir()
	out, page := filepath.Join(dir, "out"), filepath.Join(t.TempDir(), "page.html")
	args := []string{"auto", embedded.Name, out, "--target-layers", "11", "--tokens", calib, "--window", "32", "--samples", "8", "--budget", "40s", "--no-heal", "--seed", "3", "--report", page}
	refuse(t, 1, "--window", append(args, "--samples", "7")...)
	refuse(t, 1, "radeon", append(args, "-q", "--device", "0,radeon")...)
	text := string(vkcome(t, args...))
	var l prune.Lineage
	raw, err := os.ReadFile(filepath.Join(out, "vkcome.json"))
	if err != nil {
		t.Fatal(err)
	}
	parseJSON(t, raw, &l)
	if l.Auto == nil || len(l.Tree) != 11 || len(l.Auto.Trials) < len(prune.Candidates(embeddedModel(t))) {
		t.Fatalf("lineage: %s", raw)
	}
	for _, want := range []string{"--method shortgpt --refit --fit-all --projections o,down\n", l.Auto.Why, "\nmade: 12 → 11 layers, "} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing of %q in\n%s", want, text)
		}
	}
	var again prune.Lineage
	parseJSON(t, vkcome(t, append(args, "--resume", "--json")...), &again)
	if !reflect.DeepEqual(again.Auto, l.Auto) {
		t.Errorf("finished, and another search: %+v", again.Auto)
	}
	pageOf(t, page, "What auto tried", l.Auto.Why, "--resume --json") // the second run has replaced the first one's
	if files := contents(t, dir); len(files) != len(contents(t, out)) {
		t.Errorf("left behind: %v", slices.Collect(maps.Keys(files)))
	}
}

func embeddedModel(t *testing.T) *model.Model {
	m, err := embedded.Open()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCandidates checks that the flags that auto shows for what it tries make prune do the same.
func TestCandidates(t *testing.T) {
	for _, c := range prune.Candidates(embeddedModel(t)) {
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		name := f.String("method", "", "")
		fitting, m := newRefitFlags(f, false), newMethodFlags(f)
		words := pruneFlagsOf(c)
		if err := f.Parse(words); err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		k, err := m.method(*name, 0, true)
		if err != nil {
			t.Errorf("%s: %v", strings.Join(words, " "), err)
			continue
		}
		got, want := fieldsOf(k), fieldsOf(c.Method)
		for key, usual := range map[string]string{"selector": method.Selectors[0], "norm": method.Norms[0], "sensitivity": method.Sensitivities[0]} {
			if got[key] == usual && want[key] == nil { // a lineage leaves them out where nothing was said
				delete(got, key)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s (%s): %v, %+v is not %+v", c.Name, strings.Join(words, " "), err, k, c.Method)
		}
		fit, err := fitting.options()
		if err != nil || (fit == nil) != (c.Refit == nil) || fit != nil && !reflect.DeepEqual(fit.Defaults(), c.Refit.Defaults()) {
			t.Errorf("%s (%s): %v, %+v is not %+v", c.Name, strings.Join(words, " "), err, fit, c.Refit)
		}
	}
}

// TestSelectorBesideOthers gives a selector of merging methods where greedy is compared beside them, which has it no less its own.
func TestSelectorBesideOthers(t *testing.T) {
	for want, words := range map[string][]string{"": {"--selector", "bi"}, method.SelectRefit: {"--selector", method.SelectRefit}} {
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		m := newMethodFlags(f)
		if err := f.Parse(words); err != nil {
			t.Fatal(err)
		}
		k, err := m.method("greedy", 0, false)
		if g, is := k.(method.Greedy); err != nil || !is || g.Selector != want {
			t.Errorf("%v: %+v, %v", words, k, err)
		}
	}
}
