package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/model/op"
	"github.com/vkcome/vkcome/vk"
)

var devicesVerb = verb{
	name: "devices", short: "list the Vulkan devices, best first",
	example: "vkcome devices --json",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		c := outputFlags(f)
		test := f.Bool("self-test", false, "compare operations with the same in float64, on each device at every tier; exit 1 if a device's highest tier computes wrong")
		return func(ctx context.Context, _ []string) error {
			list, err := vk.Devices()
			switch {
			case err != nil:
				return err
			case len(list) == 0:
				return fmt.Errorf("%w: no device here has Vulkan 1.1 and a compute queue", vk.ErrNoDevice)
			case *test:
				return selfTest(ctx, c, list)
			}
			return devices(c, list)
		}
	},
}

func devices(c *common, list []vk.Info) error {
	if c.json {
		return printJSON(list)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "INDEX\tNAME\tKIND\tTIER\tMEMORY\tDRIVER\tUUID")
	for _, d := range list {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s %s\t%s\n", d.Index, d.Name, d.KindName, d.TierName, vk.Bytes(d.Limits.DeviceMemory), d.Driver, d.DriverVersion, d.UUID)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, d := range list {
		if d.Has(vk.FalseMatrices) {
			c.note("%d: the cooperative matrices of %s %s are known to crash or to be wrong, and are left alone", d.Index, d.Driver, d.DriverVersion)
		}
	}
	return nil
}

// selfTest tests all devices and prints what was found. A device whose highest tier is wrong is an error after that.
func selfTest(ctx context.Context, c *common, list []vk.Info) error {
	var reports []*op.SelfTestReport
	var wrong []string
	b := c.bar()
	for i, d := range list {
		b.set("self-test", i, len(list))
		r, err := op.SelfTest(ctx, vk.Options{Device: strconv.Itoa(d.Index)})
		if err != nil {
			b.finish()
			return err
		}
		reports = append(reports, r)
		if rows := r.Wrong(); len(rows) > 0 {
			used := "no tier is right"
			if r.Used != "" {
				used = "tier " + r.Used + " is used"
			}
			wrong = append(wrong, fmt.Sprintf("%s computes wrong at tier %s, %s: %d operations, the first %v", r.Device, r.Tier, used, len(rows), rows[0]))
		}
	}
	b.finish()
	if err := printSelfTest(c, reports); err != nil {
		return err
	}
	if len(wrong) > 0 {
		return fmt.Errorf("devices: %s", strings.Join(wrong, "; "))
	}
	return nil
}

func printSelfTest(c *common, reports []*op.SelfTestReport) error {
	if c.json {
		return printJSON(reports)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DEVICE\tTIER\tOPERATION\tDTYPE\tSHAPE\tKERNEL\tERROR\tTOLERANCE\t")
	for _, r := range reports {
		for _, row := range r.Rows {
			off, verdict := "NaN", "wrong"
			if row.Error != nil {
				off = fmt.Sprintf("%.2g", *row.Error)
			}
			if row.OK {
				verdict = "ok"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.2g\t%s\n", r.Device, row.Tier, row.Operation, row.DType, row.Shape, row.Kernel, off, row.Tolerance, verdict)
		}
	}
	return w.Flush()
}
