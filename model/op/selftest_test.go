package op

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/shaders"
	"github.com/vkcome/vkcome/vk"
)

// spoiled are a variant's words with other operations in the place of some: adding for multiplying, and mixing for a fused multiply-add.
func spoiled(variant string) string {
	code := []byte(shaders.SPIRV(variant))
	const (
		opExtInst, opFAdd, opFMul, opFSub, opDot, opVectorTimesScalar = 12, 129, 133, 131, 148, 142
		fma, mix                                                      = 50, 46 // of GLSL.std.450
	)
	for at := 20; at < len(code); {
		first := binary.LittleEndian.Uint32(code[at:])
		n := int(first >> 16)
		switch first & 0xffff {
		case opFMul:
			binary.LittleEndian.PutUint32(code[at:], first&^0xffff|opFAdd)
		case opFAdd:
			binary.LittleEndian.PutUint32(code[at:], first&^0xffff|opFSub)
		case opExtInst:
			if binary.LittleEndian.Uint32(code[at+16:]) == fma {
				binary.LittleEndian.PutUint32(code[at+16:], mix)
			}
		}
		at += 4 * n
	}
	return string(code)
}

// spoil puts wrong kernels of a family, those whose names begin so, in the place of right ones, on devices of some tiers.
func spoil(t *testing.T, family string, tiers ...vk.Tier) {
	t.Helper()
	right := compiled
	compiled = func(d *vk.Device, variant string) string {
		if strings.HasPrefix(variant, family) && slices.Contains(tiers, d.Tier) {
			return spoiled(variant)
		}
		return right(d, variant)
	}
	t.Cleanup(func() { compiled = right })
}

// tiersOf are those of the best device with options, the lowest first.
func tiersOf(t *testing.T, o vk.Options) (tiers []vk.Tier) {
	t.Helper()
	d, err := vk.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for tier := range d.Info.Tier + 1 {
		tiers = append(tiers, tier)
	}
	return tiers
}

// TestStepDown makes kernels of each family wrong at each tier of the device, and from there up, as itself and passing for others: Open goes to the tier
// below, says so in a line, and again from the cache, without a test; all tiers wrong is an error that says what is; and one tier wrong harms no other.
func TestStepDown(t *testing.T) {
	for _, c := range []struct{ profile, family string }{{"", "linear"}, {"", "attention"}, {"", "rmsnorm"}, {"", "crossentropy"}, {"nvidia", "linear"}, {"minimum", "attention"}} {
		tiers := tiersOf(t, vk.Options{Profile: c.profile, CacheDir: "-"})
		for _, wrong := range tiers {
			if c.family != "linear" && wrong != tiers[len(tiers)-1] {
				continue // each tier with one family, each family at one tier
			}
			t.Run(fmt.Sprintf("%s %s at %v", c.profile, c.family, wrong), func(t *testing.T) {
				o := vk.Options{Profile: c.profile, CacheDir: t.TempDir()}
				spoil(t, c.family, tiers[wrong:]...)
				for _, again := range []bool{false, true} {
					if again { // what is kept is enough
						compiled = func(*vk.Device, string) string { t.Error("tested again"); return "" }
					}
					d, down, err := Open(t.Context(), o)
					if wrong == vk.Baseline {
						if !errors.Is(err, ErrWrong) || strings.Count(err.Error(), "\n") > 0 || !strings.Contains(err.Error(), "linear") {
							t.Fatalf("all are wrong: %v", err)
						}
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					if err := d.Close(); err != nil {
						t.Error(err)
					}
					if d.Tier != wrong-1 || down == nil || down.To != d.Tier || down.From != tiers[len(tiers)-1] || !strings.HasPrefix(down.Wrong.Kernel, c.family) ||
						strings.Contains(down.String(), "\n") || !strings.Contains(down.String(), fmt.Sprintf("wrong at tier %v and is used at tier %v: ", down.From, wrong-1)) {
						t.Errorf("again %v: used at %v: %v", again, d.Tier, down)
					}
				}
			})
		}
	}
}

// TestSelfTest runs all of a self-test: everything is right, at every tier, by kernels of each family; and Open then needs no test. With a wrong kernel
// in the middle the tier above is used.
func TestSelfTest(t *testing.T) {
	o := vk.Options{CacheDir: t.TempDir()}
	tiers := tiersOf(t, vk.Options{CacheDir: "-"})
	top := tiers[len(tiers)-1].String()
	r, err := SelfTest(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	kernels := map[string]bool{}
	for _, row := range r.Rows {
		if !row.OK || row.Error == nil || *row.Error > row.Tolerance {
			t.Errorf("%s: %v", row.Tier, row)
		}
		kernels[row.Kernel] = true
	}
	if r.Tier != top || r.Used != top || r.Wrong() != nil || len(r.Rows)%len(tiers) != 0 || len(r.Rows) < 25*len(tiers) {
		t.Errorf("%d rows of tier %s, used %s", len(r.Rows), r.Tier, r.Used)
	}
	for _, name := range []string{"linear", "linear_vec", "attention", "attention_decode", "attention_bwd_q", "attention_bwd_kv", "rmsnorm", "embedding", "crossentropy"} {
		if !kernels[name] {
			t.Errorf("no %s in %v", name, kernels)
		}
	}
	right := compiled
	compiled = func(*vk.Device, string) string { t.Error("tested again"); return "" }
	d, down, err := Open(t.Context(), o)
	compiled = right
	if err != nil || down != nil {
		t.Fatal(down, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestVerdictFile: a file that is damaged, of other kernels or cut is as none, and a cache that cannot be written stops nothing.
func TestVerdictFile(t *testing.T) {
	dir := t.TempDir()
	o := vk.Options{CacheDir: dir}
	open := func() (tested bool) {
		t.Helper()
		right := compiled
		defer func() { compiled = right }()
		compiled = func(d *vk.Device, variant string) string { tested = true; return right(d, variant) }
		d, down, err := Open(t.Context(), o)
		if err != nil || down != nil {
			t.Fatal(down, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		return tested
	}
	if !open() || open() {
		t.Fatal("the first use is tested, the second is not")
	}
	files, err := filepath.Glob(filepath.Join(dir, "selftest-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole)-1; at += len(whole) / 7 {
		raw := slices.Clone(whole)
		raw[at] ^= 1
		if err := os.WriteFile(files[0], raw, 0o644); err != nil {
			t.Fatal(err)
		}
		if !open() {
			t.Errorf("a bit of byte %d was flipped, and it counted", at)
		}
	}
	for _, raw := range [][]byte{nil, whole[:len(whole)/2], []byte("null")} {
		if err := os.WriteFile(files[0], raw, 0o644); err != nil {
			t.Fatal(err)
		}
		if !open() {
			t.Errorf("%q counted", raw)
		}
	}
	o.CacheDir = filepath.Join(files[0], "no folder")
	for range 2 {
		if !open() {
			t.Error("no cache, and no test")
		}
	}
}

// TestSelfTestKeepsKernels: what the device was told to take is asked for as before.
func TestSelfTestKeepsKernels(t *testing.T) {
	t.Setenv(KernelsVariable, "loads=buffers")
	d, _, err := Open(t.Context(), vk.Options{CacheDir: "-"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if k, err := KernelsOf(d); err != nil || k[loadsOf] != loadsByBuffers {
		t.Errorf("%v, %v", k, err)
	}
}
