package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/vkcome/vkcome/vk"
)

// devices are those of the machine, of which one is open while it is good.
type devices struct {
	found []vk.Info
	next  int // index of the one to open
	open  *vk.Device
}

// list shows the devices, the best first. A machine without a driver is told what it lacks.
func list(out io.Writer) (*devices, error) {
	found, err := vk.Devices()
	if err == nil && len(found) == 0 {
		err = vk.ErrNoDevice
	}
	if err != nil {
		return nil, err
	}
	for _, d := range found {
		fmt.Fprintf(out, "device %d: %s (%s, %s), %d MiB\n", d.Index, d.Name, d.Kind, d.Tier, d.Limits.DeviceMemory>>20)
	}
	return &devices{found: found}, nil
}

// use calls f with a device. One that is lost (its driver was restarted, it was unplugged, a kernel hung) is closed, and f called again with
// the next one, which is the same where there is one alone: after a restart of the driver it is good again. A device that is lost twice as
// often as there are devices is the error.
func (l *devices) use(out io.Writer, f func(d *vk.Device) error) (err error) {
	for range 1 + 2*len(l.found) {
		if l.open == nil {
			if l.open, err = vk.Open(vk.Options{Device: strconv.Itoa(l.next)}); err != nil {
				return err
			}
		}
		if err = f(l.open); !errors.Is(err, vk.ErrDeviceLost) {
			return err
		}
		what, _, _ := strings.Cut(err.Error(), "\n") // lines behind the first tell of what else failed for it
		fmt.Fprintf(out, "%s is lost: %s\n", l.open.Info.Name, what)
		l.next = (l.next + 1) % len(l.found)
		l.close() // what it says is known
	}
	return err
}

// close gives the device back, if one is open.
func (l *devices) close() error {
	d := l.open
	if l.open = nil; d == nil {
		return nil
	}
	return d.Close()
}
