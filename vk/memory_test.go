package vk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

var ways = map[string]vk.Options{"mapped": {}, "staged": {Staging: true}}

// TestTransfer writes and reads ranges of every kind of size, through mapped memory and through staging buffers of 8 MiB.
func TestTransfer(t *testing.T) {
	for name, o := range ways {
		t.Run(name, func(t *testing.T) {
			vktest.EachWith(t, o, func(t *testing.T, d *vk.Device) {
				ctx := context.Background()
				rng := rand.New(rand.NewPCG(3, 4))
				for _, size := range []int64{1, 3, 4, 255, 256, 257, 65_537, 8<<20 - 1, 8 << 20, 8<<20 + 1, 16<<20 + 5} {
					const before, after = 13, 7
					buf := must(d.NewBuffer("transfer", before+size+after, vk.OnDevice))(t)
					if mapped := buf.Bytes() != nil; mapped && o.Staging {
						t.Fatal("mapped in spite of Staging")
					}
					all := bytes.Repeat([]byte{0xa5}, int(before+size+after))
					data := all[before : before+size]
					if err := d.Upload(ctx, buf.All(), all); err != nil {
						t.Fatal(err)
					}
					for i := range data {
						data[i] = byte(rng.Uint32())
					}
					if err := d.Upload(ctx, buf.View(before, size), data); err != nil {
						t.Fatal(err)
					}
					got := make([]byte, len(all))
					if err := d.Download(ctx, got, buf.All()); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got, all) {
						t.Errorf("%d bytes: the buffer is not what was written", size)
					}
					part := make([]byte, (size+1)/2)
					if err := d.Download(ctx, part, buf.View(before, size).Slice(size/2, (size+1)/2)); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(part, data[size/2:]) {
						t.Errorf("%d bytes: its second half is not what was written", size)
					}
					d.Free(buf)
				}
			})
		})
	}
}

func TestTransferRefused(t *testing.T) {
	for name, o := range ways {
		t.Run(name, func(t *testing.T) {
			vktest.EachWith(t, o, func(t *testing.T, d *vk.Device) {
				ctx := context.Background()
				buf := must(d.NewBuffer("weights of layer 3", 64, vk.OnDevice))(t)
				contains(t, d.Upload(ctx, buf.All(), make([]byte, 65)), "weights of layer 3", "64", "65")
				contains(t, d.Download(ctx, make([]byte, 63), buf.All()), "weights of layer 3", "64", "63")
				cancelled, cancel := context.WithCancel(ctx)
				cancel()
				if err := d.Upload(cancelled, buf.All(), make([]byte, 64)); !errors.Is(err, context.Canceled) {
					t.Errorf("upload under a cancelled context: %v", err)
				}
				if err := d.Download(cancelled, make([]byte, 64), buf.All()); !errors.Is(err, context.Canceled) {
					t.Errorf("download under a cancelled context: %v", err)
				}
				view := buf.All()
				d.Free(buf)
				for _, v := range []vk.View{view, {}} {
					if err := d.Upload(ctx, v, make([]byte, v.Size())); !errors.Is(err, vk.ErrClosed) {
						t.Errorf("upload to a freed buffer: %v", err)
					}
					if err := d.Download(ctx, make([]byte, v.Size()), v); !errors.Is(err, vk.ErrClosed) {
						t.Errorf("download from a freed buffer: %v", err)
					}
				}
			})
		})
	}
}

// TestTransferBesideCompute moves data in one goroutine while another computes on other buffers.
func TestTransferBesideCompute(t *testing.T) {
	vktest.EachWith(t, vk.Options{Staging: true}, func(t *testing.T, d *vk.Device) {
		b := newBench(t, d)
		const n = 4096
		x, moved := b.buffer(count(n)), b.buffer(count(n))
		s := step{rounds: 100, mul: 1664525, add: 1013904223}
		done := make(chan error)
		go func() {
			for round := range 30 {
				data := bytes.Repeat([]byte{byte(round)}, 4*n)
				got := make([]byte, 4*n)
				if err := errors.Join(d.Upload(context.Background(), moved.All(), data), d.Download(context.Background(), got, moved.All())); err != nil {
					done <- err
					return
				}
				if !bytes.Equal(got, data) {
					done <- fmt.Errorf("round %d came back changed", round)
					return
				}
			}
			done <- nil
		}()
		want := count(n)
		for range 40 {
			b.run(line(n), 1e8, x.All(), x.All(), s)
			if err := b.r.Flush(context.Background()); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				want[i] = s.of(want[i])
			}
		}
		b.wait()
		if err := <-done; err != nil {
			t.Error(err)
		}
		same(t, "computed", b.download(x.All()), want)
	})
}

func TestMemoryErrors(t *testing.T) {
	vktest.EachWith(t, vk.Options{MaxMemory: 1 << 20}, func(t *testing.T, d *vk.Device) {
		if got := d.MemoryLimit(); got != 1<<20 {
			t.Errorf("limit %d", got)
		}
		first := must(d.NewBuffer("first", 600<<10, vk.OnDevice))(t)
		_, err := d.NewBuffer("hidden states", 512<<10, vk.OnDevice)
		if !errors.Is(err, vk.ErrOutOfMemory) {
			t.Errorf("%v, want ErrOutOfMemory", err)
		}
		contains(t, err, "hidden states", vk.Bytes(512<<10), vk.Bytes(600<<10), vk.Bytes(1<<20), d.Info.Name)
		fits := must(d.NewBuffer("fits", 400<<10, vk.OnDevice))(t)
		staging := must(d.NewBuffer("staging is not counted", 2<<20, vk.ToDevice))(t)
		d.Free(first, fits, staging)

		_, err = d.NewBuffer("all layers", d.Limits().Allocation+1, vk.OnDevice)
		if !errors.Is(err, vk.ErrLimit) {
			t.Errorf("%v, want ErrLimit", err)
		}
		contains(t, err, "all layers", vk.Bytes(d.Limits().Allocation))
		for _, size := range []int64{0, -1} {
			if _, err := d.NewBuffer("nothing", size, vk.OnDevice); !errors.Is(err, vk.ErrLimit) {
				t.Errorf("%d bytes: %v, want ErrLimit", size, err)
			}
		}
	})
}

func TestViewPanics(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		buf := must(d.NewBuffer("embedding", 100, vk.OnDevice))(t)
		defer d.Free(buf)
		v := buf.View(50, 50)
		for name, f := range map[string]func(){
			"before": func() { buf.View(-1, 4) }, "beyond": func() { buf.View(97, 4) }, "negative": func() { buf.View(4, -1) },
			"slice before": func() { v.Slice(-1, 4) }, "slice beyond": func() { v.Slice(0, 51) }, "overflow": func() { v.Slice(1<<62, 1<<62) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: no panic", name)
					}
				}()
				f()
			}()
		}
		if got := v.Slice(50, 0).Size(); got != 0 {
			t.Errorf("an empty slice has %d bytes", got)
		}
	})
}
