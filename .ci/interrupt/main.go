//go:build windows

// Command interrupt starts a program for Windows, waits until a file is there, and presses ^C: once, or as often as it is told, half a second apart; or
// has the system end the program at once, with exit code 77. Its exit code is the program's. For .ci/windows.sh.
//
//	interrupt FILE TIMES|kill PROGRAM [ARGUMENT...]
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/windows"
)

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "interrupt:", err)
		os.Exit(99)
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	if len(args) < 3 {
		return 0, errors.New("expected FILE TIMES PROGRAM")
	}
	kill, times := args[1] == "kill", 0
	if !kill {
		if times, err = strconv.Atoi(args[1]); err != nil {
			return 0, err
		}
	}
	// ^C goes to all programs of a console: this one hears it and goes on.
	signal.Notify(make(chan os.Signal, 8), os.Interrupt)
	// One that has no console gets one, as a program that Wine starts without a terminal.
	if ok, _, err := windows.NewLazySystemDLL("kernel32.dll").NewProc("AllocConsole").Call(); ok == 0 && !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return 0, fmt.Errorf("AllocConsole: %w", err)
	}
	cmd := exec.Command(args[2], args[3:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for wait := true; wait; {
		select {
		case <-ended:
			return cmd.ProcessState.ExitCode(), nil
		case <-time.After(5 * time.Millisecond):
			_, err := os.Stat(args[0])
			wait = err != nil
		}
	}
	if kill {
		return terminate(cmd.Process, ended)
	}
	for range times {
		if err := windows.GenerateConsoleCtrlEvent(windows.CTRL_C_EVENT, 0); err != nil {
			return 0, fmt.Errorf("GenerateConsoleCtrlEvent: %w", err)
		}
		select {
		case <-ended:
			return cmd.ProcessState.ExitCode(), nil
		case <-time.After(500 * time.Millisecond):
		}
	}
	<-ended
	return cmd.ProcessState.ExitCode(), nil
}

const killed = 77 // the exit code of a program that was ended

// terminate ends a program by TerminateProcess, which no program hears.
func terminate(p *os.Process, ended <-chan error) (code int, err error) {
	handle, err := windows.OpenProcess(windows.PROCESS_TERMINATE, false, uint32(p.Pid))
	if err != nil {
		return 0, fmt.Errorf("OpenProcess: %w", err)
	}
	defer windows.CloseHandle(handle)
	if err := windows.TerminateProcess(handle, killed); err != nil {
		return 0, fmt.Errorf("TerminateProcess: %w", err)
	}
	if exit := (*exec.ExitError)(nil); errors.As(<-ended, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, nil
}
