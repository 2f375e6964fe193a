package vk_test

import (
	"context"
	_ "embed"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// Some tests need a process of their own: the test binary starts itself, and runs one of these instead of tests.
var helpers = map[string]func() error{
	"devices": func() error { _, err := vk.Devices(); return err },
	"open":    func() error { d, err := vk.Open(vk.Options{}); return closed(d, err) },
	"hazards": hazardMessages,
	"affine":  runAffine,
}

const helperVariable = "VKCOME_VK_TEST_HELPER"

func TestMain(m *testing.M) {
	if name := os.Getenv(helperVariable); name != "" {
		if err := helpers[name](); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	vktest.Main(m)
}

func closed(d *vk.Device, err error) error {
	if err != nil {
		return err
	}
	return d.Close()
}

// helper runs one of the helpers in its own process and returns what it printed.
func helper(t *testing.T, name string, env ...string) (string, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self)
	c.Env = append(append(os.Environ(), helperVariable+"="+name), env...)
	out, err := c.CombinedOutput()
	return string(out), err
}

//go:embed testdata/affine.spv
var affineSPIRV string

// workgroup is the size that the tests run affine with.
const workgroup = 64

// affine is the kernel of testdata/affine.comp with extra as a constant of its own.
func affine(d *vk.Device, extra uint32) (*vk.Kernel, error) {
	return d.Kernel(vk.Source{Name: "affine", SPIRV: affineSPIRV, Bindings: 2, Spec: []uint32{workgroup, extra}})
}

// step is one application of affine: rounds times v·mul + add.
type step struct{ rounds, mul, add uint32 }

func (s step) of(v uint32) uint32 {
	for range s.rounds {
		v = v*s.mul + s.add
	}
	return v
}

// bench is a device with a recorder, a kernel and what a test needs to use them, for the time of the test.
type bench struct {
	testing.TB
	d *vk.Device
	r *vk.Recorder
	k *vk.Kernel
}

func newBench(t testing.TB, d *vk.Device) *bench {
	t.Helper()
	b := &bench{TB: t, d: d}
	b.r = must(d.NewRecorder())(t)
	b.k = must(affine(d, 0))(t)
	t.Cleanup(func() {
		if err := b.r.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// buffer makes a buffer on the device that holds words, until the test ends.
func (b *bench) buffer(words []uint32) *vk.Buffer {
	b.Helper()
	buf := must(b.d.NewBuffer(b.Name(), int64(4*len(words)), vk.OnDevice))(b)
	b.Cleanup(func() { b.d.Free(buf) })
	b.upload(buf.All(), words)
	return buf
}

func (b *bench) upload(v vk.View, words []uint32) {
	b.Helper()
	if err := b.d.Upload(context.Background(), v, encode(words)); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) download(v vk.View) []uint32 {
	b.Helper()
	raw := make([]byte, v.Size())
	if err := b.d.Download(context.Background(), raw, v); err != nil {
		b.Fatal(err)
	}
	return decode(raw)
}

// run records y = s(x) on a grid of groups workgroups.
func (b *bench) run(groups [3]int, work float64, y, x vk.View, s step) {
	n := uint32(min(x.Size(), y.Size()) / 4)
	b.r.Dispatch(b.k, groups, []uint32{n, uint32(groups[0]), uint32(groups[1]), s.rounds, s.mul, s.add}, work, vk.In(x), vk.Out(y))
}

func (b *bench) wait() {
	b.Helper()
	if err := b.r.Wait(context.Background()); err != nil {
		b.Fatal(err)
	}
}

func line(n int) [3]int { return [3]int{(n + workgroup - 1) / workgroup, 1, 1} }

func encode(words []uint32) []byte {
	raw := make([]byte, 0, 4*len(words))
	for _, w := range words {
		raw = binary.LittleEndian.AppendUint32(raw, w)
	}
	return raw
}

func decode(raw []byte) []uint32 {
	words := make([]uint32, len(raw)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	return words
}

// count is 0, 1, 2…
func count(n int) []uint32 {
	words := make([]uint32, n)
	for i := range words {
		words[i] = uint32(i)
	}
	return words
}

func same(t testing.TB, what string, got, want []uint32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d words, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if got[i] != w {
			t.Fatalf("%s: word %d is %d, want %d", what, i, got[i], w)
		}
	}
}

// contains fails unless the error's text holds every part.
func contains(t testing.TB, err error, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("error %v: does not say %q", err, p)
		}
	}
}
