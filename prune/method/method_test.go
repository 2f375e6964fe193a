package method_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/vkcome/vkcome/prune/method"
)

// TestRegistry: lists of methods keep their order, names are those of the methods, and each option that has a meaning for one exists.
func TestRegistry(t *testing.T) {
	want := []string{"come", "come-p", "weightsum", "shortgpt", "greedy", "prune-comp", "streamline", "union", "replaceme", "replaceme-cos", "sleb", "laco", "mka", "magnitude", "magnitude+", "taylor", "taylor+", "reverse", "drop"}
	if got := method.Names(); !slices.Equal(got, want) {
		t.Errorf("methods %v, want %v", got, want)
	}
	all := map[string]bool{}
	for _, e := range method.Registry {
		for _, name := range method.OptionNames(e.New(method.Options{})) {
			all[name] = true
		}
	}
	places := map[int]bool{}
	for _, e := range method.Registry {
		m := e.New(method.Options{})
		if m.Name() != e.Name || m.Effective().Name() != e.Name {
			t.Errorf("%s makes %s, in effect %s", e.Name, m.Name(), m.Effective().Name())
		}
		if needs := m.Needs(); needs.Gradients && !needs.Corpus {
			t.Errorf("%s needs gradients on no corpus", e.Name)
		}
		for _, name := range m.Options() {
			if !all[name] {
				t.Errorf("%s: there is no option %s in %v", e.Name, name, slices.Sorted(maps.Keys(all)))
			}
		}
		if places[e.Place] {
			t.Errorf("%s has the place of another", e.Name)
		}
		places[e.Place] = true
	}
}
