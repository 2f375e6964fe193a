package vk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk/internal/native"
)

// fake is a physical device that has what every usable one has.
func fake(name string, kind native.DeviceType, megabytes uint64, uuid byte) *native.PhysicalDevice {
	p := &native.PhysicalDevice{
		Name: name, Type: kind, APIVersion: 1<<22 | 3<<12, Heaps: []uint64{megabytes << 20, 64 << 30},
		Memory: []native.MemoryType{{DeviceLocal: true}, {HostVisible: true, HostCoherent: true, Heap: 1}},
		Queues: []native.QueueFamily{{Compute: true, Graphics: true, Transfer: true, Count: 1}},
	}
	for i := range p.UUID {
		p.UUID[i] = uuid
	}
	return p
}

func TestRank(t *testing.T) {
	old := fake("Vulkan 1.0", native.Discrete, 8192, 1)
	old.APIVersion = 1 << 22
	mute := fake("no compute", native.Discrete, 8192, 1)
	mute.Queues = []native.QueueFamily{{Graphics: true, Count: 1}, {Compute: true, Count: 0}}
	i := &native.Instance{Physical: []*native.PhysicalDevice{
		fake("cpu", native.CPU, 1<<20, 1), old, fake("other", native.Other, 1<<20, 2), fake("integrated", native.Integrated, 32768, 3),
		fake("small", native.Discrete, 8192, 4), fake("virtual", native.Virtual, 1<<20, 5), mute, fake("large", native.Discrete, 24576, 6),
		fake("large too", native.Discrete, 24576, 7),
	}}
	var got []string
	for _, p := range rank(i) {
		got = append(got, p.Name)
	}
	want := []string{"large", "large too", "small", "integrated", "virtual", "other", "cpu"}
	if !slices.Equal(got, want) {
		t.Errorf("rank: %v, want %v", got, want)
	}
}

// A device whose driver has false matrices is not asked for them, and has none then.
func TestNotAsked(t *testing.T) {
	crashes := fake("AMD Radeon(TM) 860M Graphics", native.Integrated, 512, 1)
	crashes.DriverName = "AMD proprietary driver"
	if trusted(crashes) || !trusted(fake("AMD Radeon RX 7900 XTX", native.Discrete, 24576, 2)) {
		t.Error("the device that crashes is asked, or the other is not")
	}
	shared.Lock()
	defer shared.Unlock()
	i, err := native.NewInstance(false, func(*native.PhysicalDevice) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	for _, p := range i.Physical {
		if p.CoopMatrix || p.MatrixReductions || len(p.Shapes) > 0 || tierOf(p) == CoopMatrix {
			t.Errorf("%s has cooperative matrices, and was not to be asked", p.Name)
		}
	}
}

func TestChoose(t *testing.T) {
	present := []*native.PhysicalDevice{
		fake("NVIDIA GeForce RTX 4090", native.Discrete, 24576, 0xa1), fake("AMD Radeon RX 7600 (RADV NAVI33)", native.Discrete, 8192, 0xb2),
		fake("llvmpipe (LLVM 15.0.6, 256 bits)", native.CPU, 4096, 0xc3),
	}
	for _, c := range []struct {
		selector string
		want     int // −1: none
	}{
		{"", 0}, {"0", 0}, {"1", 1}, {"2", 2}, {"3", -1}, {"-1", -1},
		{"radeon", 1}, {"RTX", 0}, {"LLVMpipe (llvm", 2}, {"r", 0},
		{"4090", 0}, {"7600", 1},
		{"b2b2b2b2-b2b2-b2b2-b2b2-b2b2b2b2b2b2", 1}, {strings.Repeat("C3", 16), 2}, {strings.Repeat("c3", 15), -1},
		{"Arc A770", -1}, {" ", 0},
	} {
		p, info, err := choose(present, c.selector)
		switch {
		case c.want < 0:
			if !errors.Is(err, ErrNoDevice) || !strings.Contains(err.Error(), fmt.Sprintf("%q", c.selector)) {
				t.Errorf("choose %q: %v, want ErrNoDevice that names it", c.selector, err)
				continue
			}
			for k, p := range present {
				if !strings.Contains(err.Error(), fmt.Sprintf("%d: %s", k, p.Name)) {
					t.Errorf("choose %q: %v: does not name %s", c.selector, err, p.Name)
				}
			}
		case err != nil:
			t.Errorf("choose %q: %v", c.selector, err)
		case p != present[c.want] || info.Index != c.want || info.Name != p.Name:
			t.Errorf("choose %q: %s as %d, want %s", c.selector, info.Name, info.Index, present[c.want].Name)
		}
	}
	if _, _, err := choose(nil, ""); !errors.Is(err, ErrNoDevice) {
		t.Errorf("choose from none: %v", err)
	}
}

func TestTierOf(t *testing.T) {
	const compute, all = 0x20, 0xff
	for _, c := range []struct {
		name                        string
		stages, operations, size    uint32
		float16, storage16, coopmat bool
		want                        Tier
	}{
		{"nothing", 0, 0, 0, false, false, false, Baseline},
		{"subgroups in other stages only", 1, all, 32, true, true, true, Baseline},
		{"no arithmetic", compute, all &^ 4, 32, true, true, true, Baseline},
		{"no ballot", compute, all &^ 8, 32, true, true, true, Baseline},
		{"subgroups of one", compute, all, 1, true, true, true, Baseline},
		{"no 16 bits", compute, all, 4, false, false, false, Subgroup},
		{"f16 arithmetic without storage", compute, all, 8, true, false, true, Subgroup},
		{"f16 storage without arithmetic", compute, all, 8, false, true, true, Subgroup},
		{"16 bits", compute, all, 8, true, true, false, FP16},
		{"all", compute, all, 32, true, true, true, CoopMatrix},
	} {
		p := &native.PhysicalDevice{SubgroupStages: c.stages, SubgroupOperations: c.operations, SubgroupSize: c.size, Float16: c.float16, Storage16: c.storage16, CoopMatrix: c.coopmat}
		if got := tierOf(p); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	for tier := Baseline; tier <= CoopMatrix; tier++ {
		if got, err := ParseTier(tier.String()); err != nil || got != tier {
			t.Errorf("ParseTier(%v) = %v, %v", tier, got, err)
		}
	}
	if _, err := ParseTier("fp64"); err == nil || !strings.Contains(err.Error(), "fp64") {
		t.Errorf("ParseTier(fp64): %v", err)
	}
}

func TestQueueFamilies(t *testing.T) {
	all := native.QueueFamily{Compute: true, Graphics: true, Transfer: true, Count: 1}
	async := native.QueueFamily{Compute: true, Transfer: true, Count: 2}
	copies := native.QueueFamily{Transfer: true, Count: 1}
	for _, c := range []struct {
		queues            []native.QueueFamily
		compute, transfer int
	}{
		{[]native.QueueFamily{all}, 0, -1},
		{[]native.QueueFamily{all, copies, async}, 2, 1},
		{[]native.QueueFamily{{Graphics: true, Count: 1}, all}, 1, -1},
		{[]native.QueueFamily{{Compute: true}, copies}, -1, 1},
	} {
		p := &native.PhysicalDevice{Queues: c.queues}
		if compute, transfer := computeFamily(p), transferFamily(p); compute != c.compute || transfer != c.transfer {
			t.Errorf("%v: compute %d, transfer %d, want %d and %d", c.queues, compute, transfer, c.compute, c.transfer)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct{ err, want error }{
		{native.OutOfDeviceMemory, ErrOutOfMemory}, {native.OutOfHostMemory, ErrOutOfMemory}, {native.DeviceLost, ErrDeviceLost},
		{native.LayerNotPresent, native.LayerNotPresent},
	} {
		if err := wrap(c.err); !errors.Is(err, c.want) {
			t.Errorf("wrap(%v) = %v, want %v", c.err, err, c.want)
		} else if !strings.Contains(err.Error(), c.err.Error()) {
			t.Errorf("wrap(%v) = %v: the driver's word is lost", c.err, err)
		}
	}
	if wrap(nil) != nil {
		t.Error("wrap(nil) is an error")
	}
}

// TestArena allocates and frees at random and checks after every step what the arena promises.
func TestArena(t *testing.T) {
	const limit = 4 << 20
	d, err := Open(Options{MaxMemory: limit, CacheDir: "-"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	var live []*Buffer
	rng := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for step := range 3000 {
		if rng.IntN(100) < 45 && len(live) > 0 {
			k := rng.IntN(len(live))
			d.Free(live[k], nil)
			d.Free(live[k]) // again: passed over
			live = slices.Delete(live, k, k+1)
		} else {
			size := int64(1) << rng.IntN(20)
			size += rng.Int64N(size)
			b, err := d.NewBuffer("piece", size, Use(rng.IntN(3)))
			if err == nil {
				live = append(live, b)
			} else if refused++; !errors.Is(err, ErrOutOfMemory) {
				t.Fatal(err)
			}
		}
		if err := arenaHolds(d, live); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		if len(live) > 60 || refused > 20 {
			d.Free(live...)
			live, refused = nil, 0
		}
	}
	d.Free(live...)
	if err := arenaHolds(d, nil); err != nil {
		t.Fatal(err)
	}
	var kept [3]int
	for _, b := range d.arena.blocks {
		if kept[b.use]++; b.dedicated || kept[b.use] > 1 {
			t.Errorf("a block of %d bytes (use %d, dedicated %v) is kept", b.size, b.use, b.dedicated)
		}
	}
	if s := d.Memory(); s.Used != 0 || s.Reserved > d.arena.blockSize || s.Peak > limit || s.Peak < limit/2 {
		t.Errorf("at the end: %+v, blocks of %d", s, d.arena.blockSize)
	}

	// All of the budget is there for one buffer, an empty block in the pool or not.
	small, err := d.NewBuffer("small", 1, OnDevice)
	if err != nil {
		t.Fatal(err)
	}
	d.Free(small)
	whole, err := d.NewBuffer("whole", limit, OnDevice)
	if err != nil {
		t.Fatal(err)
	}
	d.Free(whole)
}

// arenaHolds checks the arena against the buffers that live in it.
func arenaHolds(d *Device, live []*Buffer) error {
	a := &d.arena
	inBlock := map[*block][]extent{}
	var used int64
	for _, b := range live {
		rounded := (b.size + a.align - 1) / a.align * a.align
		if b.offset%a.align != 0 {
			return fmt.Errorf("a buffer at %d, alignment %d", b.offset, a.align)
		}
		if b.block.use == OnDevice {
			used += rounded
		}
		inBlock[b.block] = append(inBlock[b.block], extent{b.offset, rounded})
	}
	var reserved, staging int64
	for _, b := range a.blocks {
		if b.use == OnDevice {
			reserved += b.size
		} else {
			staging += b.size
		}
		all := slices.Concat(b.free, inBlock[b])
		slices.SortFunc(all, func(x, y extent) int { return int(x.offset - y.offset) })
		at := int64(0)
		for _, e := range all {
			if e.offset != at || e.size <= 0 {
				return fmt.Errorf("block of %d bytes: at %d begins %+v: a gap or an overlap", b.size, at, e)
			}
			at += e.size
		}
		if at != b.size {
			return fmt.Errorf("block of %d bytes ends at %d", b.size, at)
		}
		for i := 1; i < len(b.free); i++ {
			if b.free[i-1].offset+b.free[i-1].size >= b.free[i].offset {
				return fmt.Errorf("free ranges %+v and %+v were not joined", b.free[i-1], b.free[i])
			}
		}
		delete(inBlock, b)
	}
	s := a.stats
	switch {
	case len(inBlock) > 0:
		return errors.New("a buffer lives in a block that was returned")
	case s.Used != used || s.Reserved != reserved || s.Staging != staging || a.buffers != len(live):
		return fmt.Errorf("%+v and %d buffers, counted %d used, %d reserved, %d staging, %d buffers", s, a.buffers, used, reserved, staging, len(live))
	case s.Reserved > a.limit || s.Peak > a.limit:
		return fmt.Errorf("%+v beyond the limit of %d", s, a.limit)
	}
	return nil
}
