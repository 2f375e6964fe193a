package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vkcome/vkcome/shaders"
)

// notRunFile lists the kernels that may run on no device of a test run, a line each: its name, a tab, and why.
var notRunFile = filepath.Join("shaders", "gen", "notrun.txt")

// coverage says, of the logs in a folder that tests wrote with VKCOME_KERNEL_LOG, how many kernels ran on each device and which ran on
// none. One that ran on none and is not listed with a reason is an error, as is a line that names no kernel.
func coverage(out io.Writer, folder, listed string) error {
	ran, devices, err := readLogs(folder)
	if err != nil {
		return err
	}
	reasons, err := readReasons(listed)
	if err != nil {
		return err
	}
	for _, device := range slices.Sorted(maps.Keys(devices)) {
		fmt.Fprintf(out, "%d kernels ran on %s\n", len(devices[device]), device)
	}
	var missing []string
	for _, v := range shaders.Variants() {
		reason := reasons[v.Name]
		delete(reasons, v.Name)
		switch {
		case ran[shaders.SPIRV(v.Name)]:
		case reason != "":
			fmt.Fprintf(out, "did not run: %-32s %s\n", v.Name, reason)
		default:
			missing = append(missing, v.Name)
		}
	}
	if len(reasons) > 0 {
		return fmt.Errorf("%s: no kernels: %s", listed, strings.Join(slices.Sorted(maps.Keys(reasons)), ", "))
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d kernels ran on no device: %s: test them, or say in %s why not", len(missing), strings.Join(missing, ", "), listed)
	}
	return nil
}

// readLogs gives the words of every kernel that ran, since two variants may have the same, and the names by device.
func readLogs(folder string) (ran map[string]bool, devices map[string]map[string]bool, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		return nil, nil, err
	}
	if len(files) == 0 {
		return nil, nil, fmt.Errorf("%s: no logs of kernels: run the tests with VKCOME_KERNEL_LOG set to an empty folder, with -count=1", folder)
	}
	ran, devices = map[string]bool{}, map[string]map[string]bool{}
	for _, file := range files {
		err := eachLine(file, func(kernel, device string) error {
			words := shaders.SPIRV(kernel)
			if words == "" {
				return nil // a kernel of vk/testdata
			}
			ran[words] = true
			if devices[device] == nil {
				devices[device] = map[string]bool{}
			}
			devices[device][kernel] = true
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return ran, devices, nil
}

func readReasons(file string) (map[string]string, error) {
	reasons := map[string]string{}
	return reasons, eachLine(file, func(kernel, reason string) error {
		if reason == "" || reasons[kernel] != "" {
			return fmt.Errorf("%s: %s: without a reason, or twice", file, kernel)
		}
		reasons[kernel] = reason
		return nil
	})
}

// eachLine calls f for what is before and after the tab of every line.
func eachLine(file string, f func(before, after string) error) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	s := bufio.NewScanner(in)
	for s.Scan() {
		before, after, ok := strings.Cut(s.Text(), "\t")
		if !ok {
			return fmt.Errorf("%s: no tab in %q", file, s.Text())
		}
		if err := f(before, after); err != nil {
			return err
		}
	}
	return s.Err()
}
