package abi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

// device is an open device.
type device struct {
	*vk.Device
	down string // why its tier is not its highest
}

// Devices lists the devices as JSON, best first.
func (l *Library) Devices() ([]byte, error) {
	list, err := vk.Devices()
	if err != nil {
		return nil, fail(NoDevice, err)
	}
	if list == nil {
		list = []vk.Info{}
	}
	return json.Marshal(map[string]any{"devices": list})
}

type deviceOptions struct {
	Device    string `json:"device"`
	MaxMemory int64  `json:"max_memory"`
	MaxTier   string `json:"max_tier"`
}

// OpenDevice opens a device.
func (l *Library) OpenDevice(options string) (Handle, error) {
	var in deviceOptions
	if err := decode(options, &in); err != nil {
		return 0, err
	}
	if in.MaxMemory < 0 {
		return 0, fail(Argument, fmt.Errorf("max_memory %d: expected 0 or more", in.MaxMemory))
	}
	o := vk.Options{Device: in.Device, MaxMemory: in.MaxMemory}
	if in.MaxTier != "" {
		t, err := vk.ParseTier(in.MaxTier)
		if err != nil {
			return 0, fail(Argument, fmt.Errorf("max_tier: %w", err))
		}
		o.MaxTier = &t
	}
	var d *vk.Device
	var down *op.StepDown
	err := l.run(Watch{}, func(ctx context.Context, _ *teller) (err error) {
		d, down, err = op.Open(ctx, o)
		return err
	})
	if err != nil {
		return 0, fail(Device, err)
	}
	opened := &device{Device: d}
	if down != nil {
		opened.down = down.String()
	}
	return l.add(opened), nil
}

// DeviceInfo says what is open, as JSON.
func (l *Library) DeviceInfo(h Handle) ([]byte, error) {
	d, release, err := use[*device](l, h)
	if err != nil {
		return nil, err
	}
	defer release()
	m := d.Memory()
	return json.Marshal(struct {
		vk.Info
		UsedTier string           `json:"used_tier"`
		StepDown string           `json:"step_down"`
		Memory   map[string]int64 `json:"memory"`
	}{d.Info, d.Tier.String(), d.down, map[string]int64{"used": m.Used, "reserved": m.Reserved, "peak": m.Peak}})
}

// CloseDevice closes a device that nothing uses.
func (l *Library) CloseDevice(h Handle) error {
	d, err := remove[*device](l, h)
	if err != nil {
		return err
	}
	err = fail(Device, d.Close())
	for _, said := range vk.TakeMessages() { // there are none unless VKCOME_VALIDATE=1
		err = errors.Join(err, fail(Internal, fmt.Errorf("validation: %s", said)))
	}
	return err
}
