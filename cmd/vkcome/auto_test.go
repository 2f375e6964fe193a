package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
)

// TestCandidates checks that the flags that auto shows for what it tries make prune do the same.
func TestCandidates(t *testing.T) {
	for _, c := range prune.Candidates() {
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
