package vk_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestHazards plays random streams of dispatches, copies and fills on ranges that overlap, cut into submissions at random, and compares
// with the same stream on the host. Under validation a missing barrier is seen too where the driver happens to get it right.
func TestHazards(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		const n, unit, ops = 2048, 64, 700 // words; 64 words are 256 bytes, which every device can bind at; more ops than one submission takes
		for seed := range uint64(3) {
			b := newBench(t, d)
			rng := rand.New(rand.NewPCG(seed, 5))
			buffers := []*vk.Buffer{b.buffer(count(n)), b.buffer(count(n))}
			want := [][]uint32{count(n), count(n)}
			for range ops {
				size := unit * (1 + rng.IntN(8))
				from, to := rng.IntN(2), rng.IntN(2)
				at, dest := unit*rng.IntN((n-size)/unit+1), unit*rng.IntN((n-size)/unit+1)
				if from == to && at-size < dest && dest < at+size {
					dest = at // a kernel may work in place, but not on ranges that overlap in part
				}
				x, y := buffers[from].View(int64(4*at), int64(4*size)), buffers[to].View(int64(4*dest), int64(4*size))
				hx, hy := want[from][at:at+size], want[to][dest:dest+size]
				if rng.IntN(4) == 0 && (from != to || at != dest) {
					b.r.Copy(y, x)
					copy(hy, hx)
					continue
				}
				if rng.IntN(8) == 0 {
					b.r.Fill(y, uint32(dest))
					for i := range hy {
						hy[i] = uint32(dest)
					}
					continue
				}
				s := step{rounds: 1, mul: rng.Uint32() | 1, add: rng.Uint32()}
				b.run(line(size), 3e12*rng.Float64()*rng.Float64()*rng.Float64()*rng.Float64(), y, x, s)
				for i, v := range hx {
					hy[i] = s.of(v)
				}
			}
			b.wait()
			for i, buf := range buffers {
				same(t, fmt.Sprintf("seed %d, buffer %d", seed, i), b.download(buf.All()), want[i])
			}
		}
	})
}

// hazards records read after write, write after read and write after write, each by dispatches and by copies.
func hazards(r *vk.Recorder, k *vk.Kernel, buf *vk.Buffer) {
	const size = 1024
	a, b, c := buf.View(0, size), buf.View(size, size), buf.View(2*size, size)
	f := func(y, x vk.View) {
		r.Dispatch(k, [3]int{4, 1, 1}, []uint32{size / 4, 4, 1, 1, 3, 1}, 1, vk.In(x), vk.Out(y))
	}
	f(b, a)
	f(c, b)      // reads what was written
	f(b, a)      // writes what was read
	r.Copy(a, b) // reads what was written, writes what was read
	r.Copy(a, c) // writes what was written: of two dispatches these layers do not report that
	f(b, a)      // reads what a copy wrote
}

// hazardMessages prints what validation says of the same stream with barriers and without: a control that the tests would notice.
func hazardMessages() error {
	infos, err := vk.Devices()
	if err != nil {
		return err
	}
	for _, info := range infos {
		for _, without := range []bool{false, true} {
			if err := hazardMessage(info, without); err != nil {
				return err
			}
			for _, m := range vk.TakeMessages() {
				fmt.Printf("%s, without barriers %v: %s\n", info.Name, without, strings.ReplaceAll(m, "\n", " "))
			}
		}
	}
	return nil
}

func hazardMessage(info vk.Info, without bool) (err error) {
	d, err := vk.Open(vk.Options{Device: info.UUID, CacheDir: "-"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	buf, err := d.NewBuffer("hazards", 4096, vk.OnDevice)
	if err != nil {
		return err
	}
	defer d.Free(buf)
	k, err := affine(d, 0)
	if err != nil {
		return err
	}
	r, err := d.NewRecorder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	r.NoBarriers = without
	hazards(r, k, buf)
	return r.Wait(context.Background())
}

func TestValidationSeesHazards(t *testing.T) {
	out, err := helper(t, "hazards", "VKCOME_VALIDATE=1")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, info := range must(vk.Devices())(t) {
		var messages string
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, info.Name+", without barriers false") {
				t.Errorf("with barriers validation says: %s", line)
			}
			if strings.HasPrefix(line, info.Name+", without barriers true") {
				messages += strings.ReplaceAll(line, "-", "_") // SYNC-HAZARD-READ-AFTER-WRITE, of newer layers READ_AFTER_WRITE hazard
			}
		}
		for _, kind := range []string{"READ_AFTER_WRITE", "WRITE_AFTER_READ", "WRITE_AFTER_WRITE"} {
			if !strings.Contains(messages, kind) {
				t.Errorf("%s: no %s without barriers:\n%s", info.Name, kind, messages)
			}
		}
	}
}

// TestSplit runs dispatches in place that are cut over submissions along each axis: every workgroup must run once.
func TestSplit(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		for _, groups := range [][3]int{{13, 1, 1}, {2, 11, 3}, {1, 2, 9}, {300, 1, 1}} {
			n := groups[0]*groups[1]*groups[2]*workgroup - 5
			x := b.buffer(count(n))
			s := step{rounds: 1, mul: 3, add: 1}
			want := count(n)
			for _, work := range []float64{1, 1e12, 1e15} { // in one piece, in some, a workgroup each
				b.run(groups, work, x.All(), x.All(), s)
				for i := range want {
					want[i] = s.of(want[i])
				}
			}
			b.wait()
			same(t, fmt.Sprint(groups), b.download(x.All()), want)
		}
	})
}

// TestCancel cancels while submissions run: Wait says so, but only after the device is done with the buffers.
func TestCancel(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		const n = 4096
		s := step{rounds: 50_000, mul: 1664525, add: 1013904223}
		x := newBench(t, d).buffer(count(n))
		for range 2 {
			b := &bench{TB: t, d: d, r: must(d.NewRecorder())(t), k: must(affine(d, 0))(t)}
			b.upload(x.All(), count(n))
			ctx, cancel := context.WithCancel(context.Background())
			b.run(line(n), 1, x.All(), x.All(), s)
			if err := b.r.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			b.run(line(n), 1, x.All(), x.All(), s) // recorded, not submitted
			cancel()
			if err := b.r.Wait(ctx); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "\n") {
				t.Errorf("wait: %v", err)
			}
			got := b.download(x.All())
			for _, i := range []int{0, 1, n / 2, n - 1} {
				if want := s.of(uint32(i)); got[i] != want {
					t.Errorf("element %d is %d, want %d: not waited for, or run twice", i, got[i], want)
				}
			}
			b.run(line(n), 1, x.All(), x.All(), s)
			if err := b.r.Wait(context.Background()); !errors.Is(err, context.Canceled) {
				t.Errorf("a recorder forgot its error: %v", err)
			}
			if err := b.r.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	})
}

// TestRefused records what goes beyond the device or the kernel; the recorder keeps the first error and the device goes on.
func TestRefused(t *testing.T) {
	vktest.EachWith(t, vk.Options{StorageRange: 1 << 20}, func(t *testing.T, d *vk.Device) {
		l := d.Limits()
		if l.StorageRange != 1<<20 {
			t.Fatalf("storage range %d", l.StorageRange)
		}
		k := must(affine(d, 0))(t)
		buf := must(d.NewBuffer("kv cache", 2<<20, vk.OnDevice))(t)
		gone := must(d.NewBuffer("gone", 256, vk.OnDevice))(t)
		defer d.Free(buf)
		d.Free(gone)
		ok, push := buf.View(0, 256), []uint32{64, 1, 1, 1, 1, 0}
		one := [3]int{1, 1, 1}
		for _, c := range []struct {
			name   string
			groups [3]int
			push   []uint32
			args   []vk.Arg
			is     error
			says   []string
		}{
			{"binding too large", one, push, []vk.Arg{vk.In(buf.All()), vk.Out(ok)}, vk.ErrLimit, []string{"kv cache", "binding 0", "2.0 MiB", "1.0 MiB"}},
			{"misaligned", one, push, []vk.Arg{vk.In(ok), vk.Out(buf.View(1, 255))}, vk.ErrLimit, []string{"kv cache", "binding 1", "offset 1", fmt.Sprint(l.OffsetAlignment)}},
			{"empty", one, push, []vk.Arg{vk.In(buf.View(0, 0)), vk.Out(ok)}, vk.ErrLimit, []string{"kv cache", "empty"}},
			{"no workgroups", [3]int{1, 0, 1}, push, []vk.Arg{vk.In(ok), vk.Out(ok)}, vk.ErrLimit, []string{"[1 0 1]"}},
			{"too many workgroups", [3]int{1, 1, l.WorkgroupCount[2] + 1}, push, []vk.Arg{vk.In(ok), vk.Out(ok)}, vk.ErrLimit, []string{fmt.Sprint(l.WorkgroupCount[2] + 1), fmt.Sprint(l.WorkgroupCount)}},
			{"freed", one, push, []vk.Arg{vk.In(ok), vk.Out(gone.All())}, vk.ErrClosed, []string{"binding 1"}},
			{"no buffer", one, push, []vk.Arg{vk.In(ok), {}}, vk.ErrClosed, []string{"binding 1"}},
			{"too few buffers", one, push, []vk.Arg{vk.In(ok)}, nil, []string{"1 buffers", "2 bindings"}},
			{"too many push constants", one, make([]uint32, 33), []vk.Arg{vk.In(ok), vk.Out(ok)}, nil, []string{"33 push constants"}},
		} {
			r := must(d.NewRecorder())(t)
			r.Dispatch(k, c.groups, c.push, 1, c.args...)
			first := r.Err()
			if first == nil || c.is != nil && !errors.Is(first, c.is) {
				t.Errorf("%s: %v, want %v", c.name, first, c.is)
			}
			contains(t, first, append(c.says, "affine")...)
			r.Dispatch(k, one, nil, 1)
			r.Copy(ok, buf.All())
			r.Fail(errors.New("another"))
			if err := r.Wait(context.Background()); err != first {
				t.Errorf("%s: wait returns %v, want the first error", c.name, err)
			}
			if err := r.Close(); err != nil {
				t.Errorf("%s: close: %v", c.name, err)
			}
		}
		for name, views := range map[string][2]vk.View{"sizes": {ok, buf.All()}, "freed": {ok, gone.All()}, "empty": {buf.View(0, 0), buf.View(4, 0)}, "none": {ok, {}}} {
			r := must(d.NewRecorder())(t)
			r.Copy(views[0], views[1])
			if r.Err() == nil {
				t.Errorf("copy, %s: no error", name)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		for name, v := range map[string]vk.View{"freed": gone.All(), "empty": buf.View(0, 0), "half a word": buf.View(0, 6), "between words": buf.View(2, 4)} {
			r := must(d.NewRecorder())(t)
			r.Fill(v, 0)
			if r.Err() == nil {
				t.Errorf("fill, %s: no error", name)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, c := range []struct {
			name string
			s    vk.Source
			is   error
			says []string
		}{
			{"bindings", vk.Source{SPIRV: affineSPIRV, Bindings: 17}, vk.ErrLimit, []string{"17 bindings"}},
			{"workgroup", vk.Source{SPIRV: affineSPIRV, Bindings: 2, Spec: []uint32{uint32(l.WorkgroupSize) + 1}}, vk.ErrLimit, []string{fmt.Sprint(l.WorkgroupSize + 1), fmt.Sprint(l.WorkgroupSize)}},
			{"shared", vk.Source{SPIRV: affineSPIRV, Bindings: 2, Shared: l.SharedMemory + 1}, vk.ErrLimit, []string{"shared memory", vk.Bytes(l.SharedMemory)}},
			{"constants", vk.Source{SPIRV: affineSPIRV, Bindings: 2, Spec: make([]uint32, 17)}, vk.ErrLimit, []string{"17 specialization constants"}},
			{"words", vk.Source{SPIRV: "#version 450 is not SPIR-V words", Bindings: 2}, nil, []string{"not SPIR-V"}},
			{"none", vk.Source{Bindings: 2}, nil, []string{"not SPIR-V"}},
		} {
			c.s.Name = "attention"
			_, err := d.Kernel(c.s)
			if err == nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("kernel, %s: %v, want %v", c.name, err, c.is)
			}
			contains(t, err, append(c.says, "attention")...)
		}
		b := newBench(t, d)
		x := b.buffer(count(100))
		b.run(line(100), 1, x.All(), x.All(), step{1, 2, 0})
		b.wait()
		if got := b.download(x.All())[99]; got != 198 {
			t.Errorf("after the errors the device computes %d, want 198", got)
		}
	})
}
