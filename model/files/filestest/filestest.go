// Package filestest lets the steps of writing files fail in tests, one after the other.
package filestest

import (
	"errors"
	"sync"
	"testing"

	"github.com/vkcome/vkcome/model/files"
)

// Err is what a step fails with.
var Err = errors.New("a fault of the disk")

// EachStep calls do once for each step of writing that it takes, which fails, and check with what became of it; and do once more without a
// fault, which must have none. It gives the number of steps.
func EachStep(t *testing.T, do func() error, check func(step string, err error)) int {
	t.Helper()
	defer func() { files.Fault = nil }()
	for n := 1; ; n++ {
		var mu sync.Mutex
		steps, failed := 0, ""
		files.Fault = func(step, path string) error {
			mu.Lock()
			defer mu.Unlock()
			if steps++; steps != n {
				return nil
			}
			failed = step + " " + path
			return Err
		}
		err := do()
		files.Fault = nil
		if failed == "" {
			if err != nil {
				t.Fatalf("without a fault: %v", err)
			}
			return n - 1
		}
		check(failed, err)
	}
}
