package vk_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

// TestGarbageCollection opens, compiles, records and submits while the collector runs without pause: the binding frees C memory from
// finalizers, and a call that still used such memory would crash or compute nonsense.
func TestGarbageCollection(t *testing.T) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	infos := must(vk.Devices())(t)
	for round := range 15 {
		for _, info := range infos {
			if _, err := vk.Devices(); err != nil {
				t.Fatal(err)
			}
			if err := session(info, round); err != nil {
				t.Fatal(err)
			}
		}
	}
	vktest.Clean(t)
}

// session opens a device of its own, compiles three kernels and runs them some times.
func session(info vk.Info, round int) (err error) {
	d, err := vk.Open(vk.Options{Device: info.UUID, CacheDir: "-", Staging: round%2 == 0})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for extra := range uint32(3) {
		k, err := affine(d, extra)
		if err != nil {
			return err
		}
		if err := turn(d, k, extra); err != nil {
			return err
		}
	}
	return nil
}

// turn makes a buffer and a recorder, runs the kernel twenty times and gives everything back.
func turn(d *vk.Device, k *vk.Kernel, extra uint32) (err error) {
	const n = 512
	buf, err := d.NewBuffer("turn", 4*n, vk.OnDevice)
	if err != nil {
		return err
	}
	defer d.Free(buf)
	if err := d.Upload(context.Background(), buf.All(), encode(count(n))); err != nil {
		return err
	}
	r, err := d.NewRecorder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for range 20 {
		r.Dispatch(k, line(n), []uint32{n, n / workgroup, 1, 1, 1, 2}, 1, vk.In(buf.All()), vk.Out(buf.All()))
		if err := r.Flush(context.Background()); err != nil {
			return err
		}
	}
	if err := r.Wait(context.Background()); err != nil {
		return err
	}
	raw := make([]byte, 4*n)
	if err := d.Download(context.Background(), raw, buf.All()); err != nil {
		return err
	}
	for i, v := range decode(raw) {
		if want := uint32(i) + 20*(2+extra); v != want {
			return fmt.Errorf("element %d is %d, want %d", i, v, want)
		}
	}
	return nil
}

// TestNothingLeaks makes and closes a thousand buffers, recorders and requests for kernels; what the process holds must not grow.
func TestNothingLeaks(t *testing.T) {
	vktest.Each(t, func(t *testing.T, shared *vk.Device) {
		d := must(vk.Open(vk.Options{Device: shared.Info.UUID, CacheDir: "-"}))(t)
		kernels := map[*vk.Kernel]bool{}
		cycle := func(n int) {
			for i := range n {
				buf := must(d.NewBuffer("one of a thousand", int64(1+i*1009), vk.Use(i%3)))(t)
				k := must(affine(d, uint32(i%3)))(t)
				kernels[k] = true
				r := must(d.NewRecorder())(t)
				if buf.Size() >= 4 && i%3 == 0 {
					r.Dispatch(k, [3]int{1, 1, 1}, []uint32{1, 1, 1, 1, 1, 1}, 1, vk.In(buf.All()), vk.Out(buf.All()))
				}
				if err := errors.Join(r.Wait(context.Background()), r.Close()); err != nil {
					t.Fatal(err)
				}
				d.Free(buf)
			}
		}
		cycle(100) // what drivers and layers keep for good
		before := resident(t)
		cycle(1000)
		runtime.GC()
		if grown := resident(t) - before; grown > 64<<20 {
			t.Errorf("the process grew by %s", vk.Bytes(grown))
		}
		if len(kernels) != 3 {
			t.Errorf("%d kernels of three sources", len(kernels))
		}
		if s := d.Memory(); s.Used != 0 {
			t.Errorf("left in the arena: %+v", s)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
}

// resident is the process's memory, 0 where there is no /proc.
func resident(t testing.TB) int64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Fscan(strings.NewReader(string(raw)), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
