package vk_test

import (
	"errors"
	"testing"
	"time"

	"github.com/vkcome/vkcome/vk"
	"github.com/vkcome/vkcome/vk/vktest"
)

func TestTimer(t *testing.T) {
	vktest.Each(t, func(t *testing.T, d *vk.Device) {
		if !d.HasTimestamps() {
			if _, err := d.NewTimer(); !errors.Is(err, vk.ErrLimit) {
				t.Errorf("a timer without timestamps: error %v, want vk.ErrLimit", err)
			}
			return
		}
		b := newBench(t, d)
		timer := must(d.NewTimer())(t)
		defer timer.Close()
		x := b.buffer(count(4096))
		elapsed := func(rounds uint32) (device, host time.Duration) {
			begin := time.Now()
			timer.Start(b.r)
			for range 8 { // one after the other, in several submissions
				b.run(line(4096), 1e12, x.All(), x.All(), step{rounds: rounds, mul: 3, add: 1})
			}
			timer.Stop(b.r)
			b.wait()
			host = time.Since(begin)
			return must(timer.Elapsed())(t), host
		}
		elapsed(1) // compiles
		short, _ := elapsed(1)
		long, host := elapsed(50_000)
		if long <= 0 || short < 0 || long > host+time.Millisecond || long < 4*short {
			t.Errorf("50,000 rounds take %v by the device and %v by the host, one round %v", long, host, short)
		}
	})
}
