//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/embedded"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/prune/method"
	"github.com/vkcome/vkcome/vk"
)

func init() { goThrough = cyclesOf }

// held is what a process holds: bytes, but for the last three.
type held struct{ Resident, Heap, Files, Threads, Goroutines int }

func holds() (h held, err error) {
	runtime.GC()
	debug.FreeOSMemory()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	h.Heap, h.Goroutines = int(s.HeapAlloc), runtime.NumGoroutine()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return h, err
	}
	h.Files = len(files)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return h, err
	}
	for _, line := range strings.Split(string(status), "\n") {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		n, _ := strconv.Atoi(words[1]) // other lines hold no numbers
		switch words[0] {
		case "VmRSS:":
			h.Resident = n << 10
		case "Threads:":
			h.Threads = n
		}
	}
	return h, nil
}

// cycle opens a device and a model, prunes in every tenth cycle, and closes both; leak leaves the device open.
func cycle(folder string, n int, leak bool) error {
	d, err := vk.Open(vk.Options{})
	if err != nil {
		return err
	}
	m, err := model.Open(folder)
	if err != nil {
		return err
	}
	if _, err := m.Tokenizer(); err != nil {
		return err
	}
	if n%10 == 0 {
		plan, err := prune.NewPlan(m, prune.Options{TargetLayers: 11, Method: method.Reverse{}})
		if err != nil {
			return err
		}
		out := filepath.Join(filepath.Dir(folder), "out")
		if _, err := plan.RunTo(context.Background(), d, prune.Output{Dir: out}, nil); err != nil {
			return err
		}
		if err := os.RemoveAll(out); err != nil {
			return err
		}
	}
	if err := m.Close(); err != nil {
		return err
	}
	if leak {
		return nil
	}
	return d.Close()
}

// cyclesOf is the process of the test: it says what it holds after the cycles in which caches and allocators fill, and after all.
func cyclesOf(what string) error {
	var folder string
	var cycles int
	var leak bool
	if _, err := fmt.Sscan(what, &folder, &cycles, &leak); err != nil {
		return err
	}
	var found []held
	for n := 1; n <= cycles; n++ {
		if err := cycle(folder, n, leak); err != nil {
			return err
		}
		if n == max(cycles/10, min(50, cycles/2)) || n == cycles {
			h, err := holds()
			if err != nil {
				return err
			}
			found = append(found, h)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

// grown lists what a process holds more of than it may: the files and goroutines are the same to one, threads are those that Go's runtime and
// a driver add when they like, and of memory a page now and then stays with the allocators. A cycle that forgot its model or its device would
// hold megabytes, and one that forgot what the binding copies for a call kilobytes.
func grown(was, is held, cycles int) (list []string) {
	for _, c := range []struct {
		what          string
		was, is, most int
	}{
		{"bytes resident", was.Resident, is.Resident, 3<<20 + cycles*8<<10},
		{"bytes of Go's heap", was.Heap, is.Heap, 64<<10 + cycles*512},
		{"open files", was.Files, is.Files, 0},
		{"threads", was.Threads, is.Threads, 4},
		{"goroutines", was.Goroutines, is.Goroutines, 0},
	} {
		if c.is-c.was > c.most {
			list = append(list, fmt.Sprintf("%s: %d at first, %d after all %d cycles; %d more are allowed", c.what, c.was, c.is, cycles, c.most))
		}
	}
	return list
}

// TestCycles opens and closes devices and models again and again, and prunes now and then.
func TestCycles(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "tiny12")
	files, err := embedded.Files()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(folder, files); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		cycles int
		leak   bool
	}{{"closed", cycles, false}, {"the device left open", 20, true}} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			// An arena of malloc for each thread, as glibc has it, grows by chance: with one arena, what grows is what is kept.
			cmd.Env = append(plain(), "MALLOC_ARENA_MAX=1", fmt.Sprint(asCycles, "=", folder, " ", c.cycles, " ", c.leak))
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var found []held
			if err := json.Unmarshal(out, &found); err != nil || len(found) != 2 {
				t.Fatalf("%s: %v", out, err)
			}
			t.Logf("%+v at first, %+v after %d cycles", found[0], found[1], c.cycles)
			list := grown(found[0], found[1], c.cycles)
			if c.leak != (len(list) > 0) {
				t.Errorf("grown: %q", list)
			}
		})
	}
}
