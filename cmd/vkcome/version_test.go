package main

import (
	"runtime"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/prune"
)

func TestVersion(t *testing.T) {
	var b struct {
		built
		surroundings
	}
	parseJSON(t, vkcome(t, "version", "--json"), &b)
	if b.Version != prune.Version || b.Go != runtime.Version() || b.Platform != runtime.GOOS+"/"+runtime.GOARCH || b.Licenses != "" || len(b.Compiler) < len("gcc 1") || (b.Time == "") != (b.Commit == "") {
		t.Errorf("%+v", b.built)
	}
	if b.System == "" || len(b.Devices) == 0 || b.Devices[0].DriverVersion == "" || b.NoDevices != "" {
		t.Errorf("%+v", b.surroundings)
	}
	short := string(vkcome(t, "--version"))
	if !strings.HasPrefix(short, "vkcome "+prune.Version+"\n") || !strings.HasSuffix(short, b.Go+" "+b.Platform+", "+b.Compiler+"\n") || strings.Contains(short, "\ncommit ") != (b.Commit != "") {
		t.Errorf("%s", short)
	}
	t.Setenv("VKCOME_TIER", "baseline")
	long, more := strings.CutPrefix(string(vkcome(t, "version")), short)
	if d := b.Devices[0]; !more || !strings.HasPrefix(long, "system: "+b.System) || !strings.Contains(long, "\nenvironment: VKCOME_TIER=baseline\n") || !strings.Contains(long, "\ndevice 0: "+d.Name+" ("+d.KindName) || !strings.Contains(long, d.DriverVersion) {
		t.Errorf("%s", long)
	}
	out := string(vkcome(t, "version", "--licenses"))
	for _, part := range []string{"Copyright (c) 2026 the vkcome authors", "the Go standard library\n", "github.com/spf13/pflag v", "(Apache-2.0)\n"} {
		if !strings.Contains(out, part) {
			t.Errorf("the licences do not name %q", part)
		}
	}
	parseJSON(t, vkcome(t, "version", "--licenses", "--json"), &b)
	if b.Licenses != out {
		t.Error("--json has other licences")
	}
}

// TestVersionWithoutDevices: where no driver can be used, that is a line of the report, not the end of it.
func TestVersionWithoutDevices(t *testing.T) {
	t.Setenv("VK_DRIVER_FILES", "/nothing.json")
	t.Setenv("VK_ICD_FILENAMES", "/nothing.json")
	var b surroundings
	parseJSON(t, vkcome(t, "version", "--json"), &b)
	if len(b.Devices) != 0 || !strings.Contains(b.NoDevices, "/nothing.json") || b.Environment["VK_DRIVER_FILES"] != "/nothing.json" {
		t.Errorf("%+v", b)
	}
	if out := string(vkcome(t, "version")); !strings.Contains(out, "\nno devices: ") || strings.Contains(out, "\ndevice ") {
		t.Errorf("%s", out)
	}
}
