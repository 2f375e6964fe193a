// Package vktest runs a test on every Vulkan device present, under the validation layer when VKCOME_VALIDATE=1, and compares what
// it computed with a reference under the tolerances of one table.
package vktest

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/vkcome/vkcome/vk"
)

var open struct {
	sync.Mutex
	devices map[string]*vk.Device
}

// Main is what a package's TestMain calls: it runs the tests, closes the devices, and fails if validation still had something to
// say (a leaked object, for one).
func Main(m *testing.M) {
	code := m.Run()
	for name, d := range open.devices {
		if err := d.Close(); err != nil {
			fmt.Fprintln(os.Stderr, name, err)
			code = 1
		}
	}
	for _, msg := range vk.TakeMessages() {
		fmt.Fprintln(os.Stderr, "validation:", msg)
		code = 1
	}
	os.Exit(code)
}

// Open returns the process's device for these options, opened once. No device at all fails the test.
func Open(t testing.TB, o vk.Options) *vk.Device {
	t.Helper()
	open.Lock()
	defer open.Unlock()
	named := o
	named.MaxTier = nil // a pointer: its address says nothing
	key := fmt.Sprintf("%+v", named)
	if o.MaxTier != nil {
		key += o.MaxTier.String()
	}
	if d := open.devices[key]; d != nil {
		return d
	}
	d, err := vk.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if open.devices == nil {
		open.devices = map[string]*vk.Device{}
	}
	open.devices[key] = d
	return d
}

// Each runs f on every device, at its own tier.
func Each(t *testing.T, f func(t *testing.T, d *vk.Device)) {
	t.Helper()
	EachWith(t, vk.Options{}, f)
}

// EachWith runs f on every device, opened with these options but for the device's name.
func EachWith(t *testing.T, o vk.Options, f func(t *testing.T, d *vk.Device)) {
	t.Helper()
	each(t, o, func(vk.Tier) []vk.Tier { return nil }, f)
}

// EachTier runs f on every device at every tier up to its own: for operations that have variants.
func EachTier(t *testing.T, f func(t *testing.T, d *vk.Device)) {
	t.Helper()
	each(t, vk.Options{}, func(top vk.Tier) []vk.Tier {
		var below []vk.Tier
		for tier := range top {
			below = append(below, tier)
		}
		return below
	}, f)
}

func each(t *testing.T, o vk.Options, below func(vk.Tier) []vk.Tier, f func(t *testing.T, d *vk.Device)) {
	t.Helper()
	infos, err := vk.Devices()
	if err != nil {
		t.Fatal(err)
	}
	if len(infos) == 0 {
		t.Fatal(errors.New("no Vulkan device: make demo installs one that runs on the CPU"))
	}
	for _, info := range infos {
		at := func(name string, tier *vk.Tier) {
			t.Run(name, func(t *testing.T) {
				o := o
				o.MaxTier = tier
				o.Device = fmt.Sprint(info.Index)
				d := Open(t, o)
				f(t, d)
				Clean(t)
			})
		}
		name := strings.NewReplacer(" ", "_", "/", "_").Replace(info.Name)
		at(name, o.MaxTier)
		for _, tier := range below(info.Tier) {
			at(name+"/"+tier.String(), &tier)
		}
	}
}

// Clean fails the test if the validation layer said anything.
func Clean(t testing.TB) {
	t.Helper()
	for _, msg := range vk.TakeMessages() {
		t.Errorf("validation: %s", msg)
	}
}

// Near is Within the tolerance that the table has for op and dtype ("F32", "F16", "BF16": of the weights).
func Near(t testing.TB, got []float32, want []float64, op, dtype string) {
	t.Helper()
	Within(t, got, want, op+" "+dtype, tolerance(t, op, dtype))
}

// Within compares with the reference: every |got−want| must stay within bound·(|want| + rms(want)). what is
// compared is said in the error.
func Within(t testing.TB, got []float32, want []float64, what string, bound float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	squares := 0.0
	for _, w := range want {
		squares += w * w
	}
	rms := math.Sqrt(squares / float64(len(want)))
	worst, at := 0.0, -1
	for i, w := range want {
		e := math.Abs(float64(got[i])-w) / (math.Abs(w) + rms)
		if float64(got[i]) == w {
			e = 0
		}
		if e > worst || math.IsNaN(e) {
			worst, at = e, i
			if math.IsNaN(e) {
				break
			}
		}
	}
	if !(worst <= bound) {
		t.Errorf("%s: element %d is %v, want %v: off by %.3g, tolerance %.3g", what, at, got[at], want[at], worst, bound)
	}
}
