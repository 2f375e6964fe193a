package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPartWaits stops a process that does a part, as on a node that is lost, and starts the part again: it waits until the first has ended, and finds
// that all is done.
func TestPartWaits(t *testing.T) {
	from := faultModel(t)
	for name, c := range map[string]struct {
		verb, held string // a file that is written by who has the lock
		more       []string
		other      string // part, which the first waits for
	}{
		"distill": {"distill", ".out.vkcome-work/owner", []string{"--budget-tokens", "4096", "--batch", "2", "--shard", "0/1"}, ""},
		"refit":   {"refit", ".out.vkcome-work-shards/part-000001.json", []string{"--fit-all", "--shard", "1/2"}, "0/2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			out := filepath.Join(dir, "out")
			args := append([]string{c.verb, filepath.Join(from, "m"), filepath.Join(from, "student"), out, "--tokens", filepath.Join(from, "tokens.json"), "--window", "16", "--resume"}, c.more...)
			first, said := started(t, args)
			ended := make(chan error, 1)
			awaited(t, filepath.Join(dir, c.held), ended)
			if err := first.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			log := filepath.Join(t.TempDir(), "log")
			file, err := os.Create(log)
			if err != nil {
				t.Fatal(err)
			}
			second := command(t.Context(), args...)
			second.Stderr = file
			if err := second.Start(); err != nil {
				t.Fatal(err)
			}
			heard := func() string {
				raw, err := os.ReadFile(log)
				if err != nil {
					t.Fatal(err)
				}
				return string(raw)
			}
			for deadline := time.Now().Add(time.Minute); !strings.Contains(heard(), "waiting for its end") && time.Now().Before(deadline); {
				time.Sleep(10 * time.Millisecond)
			}
			if err := first.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			if c.other != "" {
				vkcome(t, append(args, "--shard", c.other, "-q")...)
			}
			if err := first.Wait(); err != nil {
				t.Errorf("the first: %v: %s", err, said)
			}
			if err := second.Wait(); err != nil || !strings.Contains(heard(), "is in use") || !strings.Contains(heard(), "waiting for its end, 3m0s at most") || !strings.Contains(heard(), "is finished already") {
				t.Errorf("the second: %v: %s", err, heard())
			}
		})
	}
}
