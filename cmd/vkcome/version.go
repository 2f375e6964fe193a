package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/cmd/vkcome/internal/licenses"
	"github.com/vkcome/vkcome/prune"
)

var versionVerb = verb{
	name: "version", short: "print what this binary was built from, and its licences",
	example: "vkcome version --licenses",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		c := outputFlags(f)
		all := f.Bool("licenses", false, "print the licences of vkcome and of everything that is linked into it")
		return func(context.Context, []string) error { return version(c, *all) }
	},
}

// built is what a binary was built from.
type built struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"` // unknown where it was built outside a checkout
	Modified bool   `json:"modified"`         // the checkout had changes that are in no commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Licenses string `json:"licenses,omitempty"`
}

func version(c *common, all bool) error {
	b := built{Version: prune.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	if all {
		b.Licenses = licenses.Notices
	}
	switch {
	case c.json:
		return printJSON(b)
	case all:
		_, err := io.WriteString(stdout, b.Licenses)
		return err
	}
	fmt.Fprintln(stdout, "vkcome", b.Version)
	if b.Commit != "" {
		modified := ""
		if b.Modified {
			modified = ", modified"
		}
		fmt.Fprintf(stdout, "commit %s%s\n", b.Commit, modified)
	}
	fmt.Fprintln(stdout, b.Go, b.Platform)
	return nil
}
