package prune

import (
	"slices"
	"testing"

	"github.com/vkcome/vkcome/prune/method"
)

// TestPapers: cards cite the paper of every method but those that have none.
func TestPapers(t *testing.T) {
	own := []string{"greedy", "union", "reverse", "drop"}
	for _, e := range method.Registry {
		if (papers[e.Name] == "") != slices.Contains(own, e.Name) {
			t.Errorf("%s has the paper %q", e.Name, papers[e.Name])
		}
	}
	for name := range papers {
		if _, err := method.Lookup(name); err != nil {
			t.Error(err)
		}
	}
}
