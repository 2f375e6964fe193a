package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime/debug"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"
	"github.com/vkcome/vkcome/model"
	"github.com/vkcome/vkcome/model/hub"
	"github.com/vkcome/vkcome/model/named"
	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/model/states"
	"github.com/vkcome/vkcome/vk"
)

// common are the flags of every verb that computes.
type common struct {
	device, memory, tier string
	hostMemory, spillDir string
	quiet, json, offline bool

	opened opened
}

func commonFlags(f *pflag.FlagSet) *common {
	c := outputFlags(f)
	c.deviceFlags(f)
	c.offlineFlag(f)
	return c
}

// deviceFlags choose and bound the device.
func (c *common) deviceFlags(f *pflag.FlagSet) {
	f.StringVar(&c.device, "device", "", "device by index, UUID or part of its name (default $VKCOME_DEVICE, else the best)")
	f.StringVar(&c.memory, "max-device-memory", "", "use at most this much device memory, as in 6GiB (default 80 % of it)")
	f.StringVar(&c.tier, "tier", "", "use no shader features above baseline, subgroup, fp16 or coopmat (default $VKCOME_TIER, else all)")
}

func outputFlags(f *pflag.FlagSet) *common {
	c := &common{}
	f.BoolVar(&c.json, "json", false, "print the result as JSON")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "show no progress")
	f.Var(logFormat{}, "log-format", "of progress and messages on stderr: text, or json, an object a line")
	return c
}

// offlineFlag is for verbs that read models or texts.
func (c *common) offlineFlag(f *pflag.FlagSet) {
	f.BoolVar(&c.offline, "offline", false, "fetch nothing from the Hugging Face hub (also HF_HUB_OFFLINE=1)")
}

// open opens the device that the flags mean.
func (c *common) open() (*vk.Device, error) { return c.openNamed(c.device) }

// openNamed opens a device as the other flags say.
func (c *common) openNamed(name string) (*vk.Device, error) {
	o := vk.Options{Device: name}
	if c.memory != "" {
		n, err := parseSize("--max-device-memory", c.memory)
		if err != nil {
			return nil, err
		}
		o.MaxMemory = n
	}
	if c.tier != "" {
		t, err := vk.ParseTier(c.tier)
		if err != nil {
			return nil, usagef("--tier: %w", err)
		}
		o.MaxTier = &t
	}
	d, down, err := op.Open(context.Background(), o)
	if err == nil {
		c.opened.add(d)
	}
	if down != nil && err == nil {
		warn(down.String()) // also where no progress is wanted: it says that numbers are another tier's
	}
	return d, err
}

// hostFlags are the flags of verbs that keep hidden states.
func (c *common) hostFlags(f *pflag.FlagSet) {
	f.StringVar(&c.hostMemory, "max-host-memory", "", "keep at most this much host memory resident beside the device's, as in 8GiB; hidden states beyond go to files (default no bound)")
	f.StringVar(&c.spillDir, "spill-dir", "", "folder of these files (default the system's for temporary ones)")
}

// host is the bound that the flags mean, nil for none.
func (c *common) host() (*states.HostMemory, error) {
	if c.hostMemory == "" {
		if c.spillDir != "" {
			return nil, usagef("--spill-dir: nothing goes there without --max-host-memory")
		}
		return nil, nil
	}
	n, err := parseSize("--max-host-memory", c.hostMemory)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(cmp.Or(c.spillDir, os.TempDir())); err != nil || !info.IsDir() {
		return nil, usagef("--spill-dir %q: not a folder", c.spillDir)
	}
	debug.SetGCPercent(20) // what is kept is counted, what is not yet collected is not
	debug.SetMemoryLimit(n)
	return &states.HostMemory{Limit: n, Dir: c.spillDir}, nil
}

// tellHost says where the states of a run that has a bound were.
func (c *common) tellHost(h *states.HostMemory) {
	if h != nil {
		s := h.Stats()
		c.note("host memory: %s of %s counted at most, %s of hidden states went to files", vk.Bytes(s.Peak), vk.Bytes(h.Limit), vk.Bytes(s.Spilled))
	}
}

func parseSize(flag, s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > 1<<60 {
		return 0, usagef("%s %q: expected a size such as 512MiB or 6GiB", flag, s)
	}
	return int64(n), nil
}

// compute opens the device, calls f, and closes it; a failed close is an error too.
func (c *common) compute(f func(d *vk.Device) error) error {
	d, err := c.open()
	if err != nil {
		return err
	}
	err = errors.Join(f(d), c.opened.close(d))
	for _, msg := range vk.TakeMessages() { // there are none unless VKCOME_VALIDATE=1
		err = errors.Join(err, fmt.Errorf("validation: %s", msg))
	}
	return err
}

// computeOn is compute on each of the devices that --device or VKCOME_DEVICE lists, one or more.
func (c *common) computeOn(f func(devices []*vk.Device) error) (err error) {
	var devices []*vk.Device
	defer func() {
		for _, d := range devices {
			err = errors.Join(err, c.opened.close(d))
		}
		for _, msg := range vk.TakeMessages() {
			err = errors.Join(err, fmt.Errorf("validation: %s", msg))
		}
	}()
	for _, name := range strings.Split(cmp.Or(c.device, os.Getenv("VKCOME_DEVICE")), ",") {
		d, err := c.openNamed(strings.TrimSpace(name))
		if err != nil {
			return err
		}
		devices = append(devices, d)
	}
	return f(devices)
}

// hub is where models and texts by name come from; b shows what is fetched.
func (c *common) hub(b *bar) hub.Hub {
	return hub.Hub{
		Offline:  c.offline,
		Progress: func(file string, done, total int64) { b.setBytes(path.Base(file), done, total) },
		Begin: func(r hub.Repo, files int, bytes int64) {
			c.note("fetching %d files, %s, of %s", files, vk.Bytes(bytes), r)
		},
	}
}

// withModel opens a model and calls f with it: a folder, a GGUF file, or a name of the Hugging Face hub, from which is fetched what the cache
// lacks.
func (c *common) withModel(ctx context.Context, name string, f func(m *model.Model) error) error {
	b := c.bar()
	m, err := named.Open(ctx, name, c.hub(b))
	b.finish()
	if err != nil {
		return err
	}
	if err = f(m); err == nil {
		err = m.Unchanged() // what was said of the model is then of two
	}
	return errors.Join(err, m.Close())
}

// note says something on stderr unless quiet.
func (c *common) note(format string, args ...any) {
	if !c.quiet {
		say(fmt.Sprintf(format, args...))
	}
}

// noteLine notes a line of the library's.
func (c *common) noteLine(line string) { c.note("%s", line) }

// printJSON writes v to stdout.
func printJSON(v any) error {
	enc := json.NewEncoder(data)
	enc.SetIndent("", " ")
	return enc.Encode(v)
}
