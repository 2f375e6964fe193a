package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/vkcome/vkcome/vk/vktest/faultlayer"
)

// vulkanFaults are all faults of a run with these counts, or a sample of them: the first call of every entry point, then what chance picks.
// Every call fails in one of the ways that Vulkan has for it, the first in all of them; and from some calls on all fail.
func vulkanFaults(counts []faultlayer.Count, sample int) (list []faultlayer.Fault) {
	rng := rand.New(rand.NewPCG(5, 6))
	var first, rest []faultlayer.Fault
	for _, c := range counts {
		results := faultlayer.Results(c.Call)
		for n := range c.N {
			f := faultlayer.Fault{Call: c.Call, At: n + 1, Result: results[n%uint64(len(results))]}
			if n > 0 {
				rest = append(rest, f)
				continue
			}
			first = append(first, f)
			for _, other := range results[1:] {
				f.Result = other
				rest = append(rest, f)
			}
		}
		if c.N == 0 {
			continue
		}
		for _, r := range results {
			f := faultlayer.Fault{Call: c.Call, At: 1 + rng.Uint64N(c.N), Result: r, On: true}
			if r == faultlayer.Timeout { // a device that hangs; what its driver still does when the program ends is a matter of chance
				for range hangs {
					f.At = 1 + rng.Uint64N(c.N)
					first = append(first, f)
				}
			} else {
				rest = append(rest, f)
			}
		}
	}
	rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	list = append(first, rest...)
	if !whole() && len(list) > sample {
		list = list[:sample]
	}
	return list
}

// hangs is from how many calls on a device hangs.
const hangs = 8

// TestVulkanFaults lets the calls of runs fail, one after the other: all of them with VKCOME_HOSTILE=all.
func TestVulkanFaults(t *testing.T) {
	layer, from := faultlayer.Build(t), faultModel(t)
	cache := t.TempDir()
	environ := append(fast(), "XDG_CACHE_HOME="+cache)
	temporary := t.TempDir()
	var next atomic.Int64
	for _, f := range faultRuns(from) {
		t.Run(f.name, func(t *testing.T) {
			env := func(fault faultlayer.Fault) (env []string, counts string) {
				counts = filepath.Join(temporary, fmt.Sprint(next.Add(1)))
				return layer.Env(environ, fault, counts), counts
			}
			alone := t.TempDir()
			var counts []faultlayer.Count
			for range 2 { // the second has the caches that all that follow have
				dir := filepath.Join(alone, fmt.Sprint(next.Add(1)))
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				e, table := env(faultlayer.Fault{})
				got := ran(t, e, program, f.args(dir)...)
				if got.code != 0 {
					t.Fatalf("exit %d: %s", got.code, got.stderr)
				}
				f.stdout, f.want, counts = steady(got.stdout, dir), contents(t, dir), faultlayer.Counts(t, table)
			}
			calls := uint64(0)
			for _, c := range counts {
				calls += c.N
			}
			all := vulkanFaults(counts, f.sample)
			var met, failed atomic.Int64
			each(all, func(fault faultlayer.Fault) {
				e, table := env(fault)
				if f.check(t, fault.String(), program, e, environ) {
					failed.Add(1)
				}
				for _, c := range faultlayer.Counts(t, table) {
					if c.Call == fault.Call && c.N >= fault.At {
						met.Add(1)
					}
				}
				os.Remove(table)
			})
			t.Logf("%d calls; %d faults, of which %d came to pass and %d ended the run, which went on from %d states", calls, len(all), met.Load(), failed.Load(), len(f.gone))
			if met.Load() < int64(len(all))*9/10 {
				t.Errorf("%d of %d faults came to pass", met.Load(), len(all))
			}
		})
	}
}
