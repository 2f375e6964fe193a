package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/cmd/vkcome/internal/addresses"
	"github.com/vkcome/vkcome/cmd/vkcome/internal/licenses"
	"github.com/vkcome/vkcome/prune"
	"github.com/vkcome/vkcome/vk"
)

var versionVerb = verb{
	name: "version", short: "print what this binary was built from, the system and the drivers here, for reports of bugs; or its licences",
	example: "vkcome version --licenses",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		c := outputFlags(f)
		all := f.Bool("licenses", false, "print the licences of vkcome and of everything that is linked into it")
		alone := f.Bool("no-devices", false, "load no driver, and list no devices (vkcome --version does neither)")
		return func(context.Context, []string) error {
			b := readBuilt()
			if *all {
				b.Licenses = licenses.Notices
			}
			var here *surroundings
			if !*alone && !*all {
				here = look()
			}
			switch {
			case c.json:
				return printJSON(struct {
					built
					*surroundings
				}{b, here})
			case *all:
				_, err := io.WriteString(stdout, b.Licenses)
				return err
			}
			b.print()
			if here != nil {
				here.print()
			}
			return nil
		}
	},
}

// built is what a binary was built from.
type built struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"` // unknown where it was built outside a checkout
	Time     string `json:"time,omitempty"`   // of the commit, RFC 3339
	Modified bool   `json:"modified"`         // the checkout had changes that are in no commit
	Go       string `json:"go"`
	Compiler string `json:"compiler"` // of the C code
	Platform string `json:"platform"`
	Licenses string `json:"licenses,omitempty"`
}

func readBuilt() built {
	b := built{Version: prune.Version, Go: runtime.Version(), Compiler: vk.Compiler(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.time":
				b.Time = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	return b
}

func (b built) print() {
	fmt.Fprintln(stdout, "vkcome", b.Version)
	if b.Commit != "" {
		modified := ""
		if b.Modified {
			modified = ", modified"
		}
		fmt.Fprintf(stdout, "commit %s of %s%s\n", b.Commit, b.Time, modified)
	}
	fmt.Fprintf(stdout, "%s %s, %s\n", b.Go, b.Platform, b.Compiler)
}

// surroundings are what a report of a bug needs to say of the machine.
type surroundings struct {
	System      string            `json:"system"`
	Kernel      string            `json:"kernel,omitempty"`
	Environment map[string]string `json:"environment"` // variables that change what vkcome does with devices, where they are set
	Devices     []vk.Info         `json:"devices"`
	NoDevices   string            `json:"devices_error,omitempty"` // why they could not be listed
}

// telling are the variables that change what vkcome does with devices.
var telling = []string{"VKCOME_DEVICE", "VKCOME_TIER", "VKCOME_VALIDATE", "VKCOME_KERNELS", "VK_DRIVER_FILES", "VK_ICD_FILENAMES"}

func look() *surroundings {
	s := &surroundings{System: systemName(), Kernel: kernel(), Environment: map[string]string{}, Devices: []vk.Info{}}
	for _, name := range telling {
		if value, set := os.LookupEnv(name); set {
			s.Environment[name] = value
		}
	}
	err := addresses.CheckDevice()
	if err == nil {
		var list []vk.Info
		list, err = vk.Devices()
		s.Devices = append(s.Devices, list...)
	}
	if err != nil {
		s.NoDevices = oneLine(err.Error())
	}
	return s
}

func (s *surroundings) print() {
	fmt.Fprintf(stdout, "system: %s, %s\n", s.System, s.Kernel)
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		fmt.Fprintf(stdout, "environment: %s=%s\n", name, s.Environment[name])
	}
	for _, d := range s.Devices {
		fmt.Fprintf(stdout, "device %d: %s (%s, %s), driver %s %s, Vulkan %s\n", d.Index, d.Name, d.KindName, d.TierName, d.Driver, d.DriverVersion, d.API)
	}
	switch {
	case s.NoDevices != "":
		fmt.Fprintln(stdout, "no devices:", s.NoDevices)
	case len(s.Devices) == 0:
		fmt.Fprintln(stdout, "no devices: none here has Vulkan 1.1 and a compute queue")
	}
}
