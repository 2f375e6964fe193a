package vk

import (
	"fmt"
	"math"
	"time"

	"github.com/vkcome/vkcome/vk/internal/native"
)

// Timer measures what a device does between two points of a recorder's stream, by the device's clock.
type Timer struct {
	d       *Device
	queries native.Queries
}

// HasTimestamps says whether the compute queue can tell the time.
func (d *Device) HasTimestamps() bool { return d.stampBits > 0 && d.stampPeriod > 0 }

// NewTimer makes a timer, for devices that HasTimestamps.
func (d *Device) NewTimer() (*Timer, error) {
	if !d.HasTimestamps() {
		return nil, fmt.Errorf("vk: timer on %s: its queue has no timestamps: %w", d.Info.Name, ErrLimit)
	}
	q, err := d.native.NewQueries(2)
	if err != nil {
		return nil, fmt.Errorf("vk: timer on %s: %w", d.Info.Name, wrap(err))
	}
	return &Timer{d, q}, nil
}

// Start and Stop record the time at which all that was recorded before is done.
func (t *Timer) Start(r *Recorder) { t.stamp(r, 0) }
func (t *Timer) Stop(r *Recorder)  { t.stamp(r, 1) }

func (t *Timer) stamp(r *Recorder, index uint64) {
	if r.err == nil {
		r.words = append(r.words, opStamp, uint64(t.queries), index)
	}
}

// Elapsed is the time from Start to Stop, whose recorder must have been waited for.
func (t *Timer) Elapsed() (time.Duration, error) {
	ticks, err := t.d.native.Timestamps(t.queries, 2)
	if err != nil {
		return 0, fmt.Errorf("vk: timer on %s: %w", t.d.Info.Name, wrap(err))
	}
	n := ticks[1] - ticks[0]
	if t.d.stampBits < 64 {
		n &= 1<<t.d.stampBits - 1 // the counter may have wrapped
	}
	return time.Duration(math.Round(float64(n) * t.d.stampPeriod)), nil
}

// Close frees the timer; no recorder may still use it.
func (t *Timer) Close() { t.d.native.DestroyQueries(t.queries) }
