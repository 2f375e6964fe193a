package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"
)

// TestUI starts the application, begins a session by the address that it prints, and ends it by ^C within a second.
func TestUI(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	least := time.Minute
	for range 5 { // of which the machine may be busy in some
		cmd := command(t.Context(), "ui", "--root", t.TempDir(), "--no-open", "--json", "-q")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ Address string }
		if err := json.NewDecoder(out).Decode(&said); err != nil {
			t.Fatal(err)
		}
		at, err := url.Parse(said.Address)
		if err != nil || at.Hostname() != "127.0.0.1" || len(at.Query().Get("token")) != 64 {
			t.Fatalf("%s, %v", said.Address, err)
		}
		for address, want := range map[string]int{said.Address: http.StatusOK, "http://" + at.Host + "/": http.StatusForbidden} {
			answer, err := http.Get(address)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != want {
				t.Errorf("%s: %s", address, answer.Status)
			}
		}
		begun := time.Now()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != interruptedCode {
			t.Fatalf("exit %d", code)
		}
		if least = min(least, time.Since(begun)); least < time.Second {
			break
		}
	}
	if least >= time.Second {
		t.Errorf("ended %v after ^C at best", least)
	}
}

// TestUIRefused starts it with what it cannot work with.
func TestUIRefused(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, taken, _ := net.SplitHostPort(l.Addr().String())
	refuse(t, 1, "address already in use", "ui", "--no-open", "--port", taken)
	refuse(t, 2, "expected 1 to 65535", "ui", "--no-open", "--port", "65536")
	refuse(t, 1, "no such file", "ui", "--no-open", "--root", t.TempDir()+"/nowhere")
}
