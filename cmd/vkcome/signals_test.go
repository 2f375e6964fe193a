package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vkcome/vkcome/model/embedded"
)

// TestSignals interrupts work of the host in the middle: parsing, encoding and waiting for other programs. The program has ended within a second,
// and at once after a second signal.
func TestSignals(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("The layers that keep the most of what a model knows. Überall, 汉字 und 12345!\n", 50<<20/82)), 0o644); err != nil {
		t.Fatal(err)
	}
	blank := filepath.Join(dir, "blank.txt")
	if err := os.WriteFile(blank, bytes.Repeat([]byte(" "), 5<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	some := filepath.Join(dir, "some.txt") // as much as tokenize takes
	if err := os.WriteFile(some, bytes.Repeat([]byte("The layers of a model are like the pages of a book.\n"), maxTokenized/52), 0o644); err != nil {
		t.Fatal(err)
	}
	ids := filepath.Join(dir, "ids.json")
	if err := os.WriteFile(ids, append(bytes.Repeat([]byte("[1,2,3,4,5,6,7,8,"), 1), append(bytes.Repeat([]byte("1,2,3,4,5,6,7,8,"), 4<<20), "9]"...)...), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		args   []string
		stdin  bool // that nobody writes to
		stdout bool // that nobody reads
	}{
		{name: "encode a text", args: []string{"tokenize", embedded.Name, "--file", some}},
		{name: "encode blanks", args: []string{"tokenize", embedded.Name, "--file", blank}},
		{name: "encode a corpus", args: []string{"eval", "ppl", embedded.Name, "--text", text, "-q"}},
		{name: "parse tokens", args: []string{"eval", "ppl", embedded.Name, "--tokens", ids, "-q"}},
		{name: "wait for stdin", args: []string{"tokenize", embedded.Name, "-"}, stdin: true},
		{name: "wait for a reader", args: []string{"generate", embedded.Name, "-p", strings.Repeat("The ", 20_000), "-n", "1", "-q"}, stdout: true},
		{name: "compute", args: []string{"eval", "ppl", embedded.Name, "--tokens", calib, "-q"}},
	} {
		for _, signals := range []int{1, 2} {
			name := c.name
			if signals == 2 {
				name += ", twice"
			}
			t.Run(name, func(t *testing.T) {
				least := time.Minute
				after, ended := 500*time.Millisecond, 0
				for range 6 { // of which the machine may be busy in some
					took, code, stderr := interrupted(t, after, signals, c.stdin, c.stdout, c.args)
					if code == 0 { // too fast to be interrupted then
						after /= 2
						ended++
						continue
					}
					if code != interruptedCode || strings.Count(stderr, "\n") > 1 {
						t.Fatalf("exit %d: %s", code, stderr)
					}
					if least = min(least, took); least < time.Second/time.Duration(signals) {
						return
					}
				}
				t.Errorf("ended %v after the signal at best; %d runs had ended before it", least, ended)
			})
		}
	}
}

// interrupted runs the binary for a while, sends it signals, and says how long after the last it ended, and how.
func interrupted(t *testing.T, after time.Duration, signals int, stdin, stdout bool, args []string) (took time.Duration, code int, said string) {
	t.Helper()
	cmd := command(t.Context(), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	open := func() (r, w *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(); w.Close() })
		return r, w
	}
	if stdin {
		r, _ := open()
		cmd.Stdin = r
	}
	if stdout {
		_, w := open()
		cmd.Stdout = w
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	for i := range signals {
		if i > 0 {
			time.Sleep(50 * time.Millisecond)
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil && i == 0 {
			break // it has ended
		}
	}
	begin := time.Now()
	deadline := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer deadline.Stop()
	_ = cmd.Wait()
	return time.Since(begin), cmd.ProcessState.ExitCode(), stderr.String()
}

// TestNohup: a program that was started to survive its terminal does.
func TestNohup(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "nohup", program, "tokenize", embedded.Name, "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	if _, err := io.WriteString(in, "The layers"); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "The") {
		t.Errorf("%v: %s", err, out.String())
	}
}
