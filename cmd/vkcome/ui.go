package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/vkcome/vkcome/cmd/vkcome/internal/ui"
)

var uiVerb = verb{
	name: "ui", short: "a local web application: choose, prune, watch, compare and chat in the browser",
	example: "vkcome ui --root ~/models",
	flags: func(f *pflag.FlagSet) func(context.Context, []string) error {
		roots := f.StringArray("root", nil, "folder whose models and texts may be read, and where outputs may be written, hidden ones left out; may be given several times (default the home folder and this one)")
		port := f.Int("port", 0, "port of 127.0.0.1 to listen on (default one that is free)")
		noOpen := f.Bool("no-open", false, "do not start a browser; the address is printed in any case")
		c := outputFlags(f)
		c.deviceFlags(f)
		return func(ctx context.Context, _ []string) error {
			if *port < 0 || *port > 65535 {
				return usagef("--port %d: expected 1 to 65535", *port)
			}
			o := ui.Options{
				Roots: *roots, Tokens: calibrationTokens, Device: c.device, Open: c.openNamed, Message: oneLine, Saving: watching.saves,
				Show: func(path string) error { return desktop(path) },
			}
			var err error
			if o.State, err = stateFile("ui.json"); err != nil {
				return err
			}
			if len(o.Roots) == 0 {
				here, err := os.Getwd()
				if err != nil {
					return err
				}
				o.Roots = []string{here}
				if home, err := os.UserHomeDir(); err == nil {
					o.Roots = append(o.Roots, home)
				}
			}
			return serveUI(ctx, c, o, *port, !*noOpen)
		}
	},
}

func serveUI(ctx context.Context, c *common, o ui.Options, port int, browse bool) error {
	s, err := ui.New(ctx, o)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	address := s.Address(l, false)
	if c.json {
		err = printJSON(map[string]string{"address": address})
	} else {
		_, err = fmt.Fprintln(stdout, address)
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	c.note("open this address in a browser on this machine; ^C ends the application, and a run that is stopped so can be resumed")
	if browse && hasDesktop() {
		if err := desktop(s.Address(l, true)); err != nil {
			c.note("no browser could be started: %v", err)
		}
	}
	return errors.Join(s.Serve(l), ctx.Err())
}

// stateFile is where a file lies that vkcome keeps between starts: in XDG_STATE_HOME, or what other systems have for it.
func stateFile(name string) (string, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" && (runtime.GOOS == "windows" || runtime.GOOS == "darwin") {
		var err error
		if dir, err = os.UserConfigDir(); err != nil {
			return "", err
		}
	}
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("%w; set XDG_STATE_HOME", err)
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "vkcome", name), nil
}

// hasDesktop says whether there is one that a browser could appear on.
func hasDesktop() bool {
	return runtime.GOOS == "windows" || runtime.GOOS == "darwin" || os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != ""
}

// desktop opens a folder or an address with what the desktop has for it.
func desktop(what string) error {
	var cmd *exec.Cmd
	switch {
	case runtime.GOOS == "windows":
		cmd = exec.Command("rundll32", "url.dll,FileProtocolHandler", what)
	case runtime.GOOS == "darwin":
		cmd = exec.Command("open", what)
	case !hasDesktop():
		return fmt.Errorf("there is no desktop here to open %s on", what)
	default:
		cmd = exec.Command("xdg-open", what)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // whatever it says, it has been asked
	return nil
}
