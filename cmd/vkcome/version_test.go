package main

import (
	"runtime"
	"strings"
	"testing"

	"github.com/vkcome/vkcome/prune"
)

func TestVersion(t *testing.T) {
	var b built
	parseJSON(t, vkcome(t, "version", "--json"), &b)
	if b.Version != prune.Version || b.Go != runtime.Version() || b.Platform != runtime.GOOS+"/"+runtime.GOARCH || b.Licenses != "" {
		t.Errorf("%+v", b)
	}
	for _, args := range [][]string{{"version"}, {"--version"}} {
		if out := string(vkcome(t, args...)); !strings.HasPrefix(out, "vkcome "+prune.Version+"\n") || !strings.HasSuffix(out, b.Go+" "+b.Platform+"\n") || strings.Contains(out, "\ncommit ") != (b.Commit != "") {
			t.Errorf("%v: %s", args, out)
		}
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
