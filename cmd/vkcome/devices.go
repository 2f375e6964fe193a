package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/vk"
)

var devicesVerb = verb{
	name: "devices", short: "list the Vulkan devices, best first",
	example: "vkcome devices --json",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		c := outputFlags(f)
		return func(context.Context, []string) error { return devices(c) }
	},
}

func devices(c *common) error {
	list, err := vk.Devices()
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("%w: no device here has Vulkan 1.1 and a compute queue", vk.ErrNoDevice)
	}
	if c.json {
		return printJSON(list)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "INDEX\tNAME\tKIND\tTIER\tMEMORY\tDRIVER\tUUID")
	for _, d := range list {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s %s\t%s\n", d.Index, d.Name, d.KindName, d.TierName, vk.Bytes(d.Limits.DeviceMemory), d.Driver, d.DriverVersion, d.UUID)
	}
	return w.Flush()
}
