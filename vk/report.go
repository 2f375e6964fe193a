package vk

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Report is what a driver's compiler made of a kernel.
type Report struct {
	Kernel     string
	Spec       []uint32           // specialization constants
	Required   int                // size of subgroups that was asked for; 0: any
	Shared     int64              // bytes of shared memory that the kernel counts on
	Subgroup   int                // size of subgroups that the code has
	Statistics map[string]float64 // by the driver's names
	Code       []Code
}

// Code is a form that the code of a kernel had on its way, the last of them what the device runs.
type Code struct{ Name, Text string }

// Reports are those of the kernels that were compiled so far, in their order, on a device that was opened with Options.Reports.
func (d *Device) Reports() []Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Report(nil), d.reports...)
}

// parseReport reads what native.Device.Report gives. Of several executables, which compute pipelines do not have, the last counts.
func parseReport(raw []byte) (r Report, err error) {
	if len(raw) == 0 {
		return r, errors.New("the driver's compiler reports nothing")
	}
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		raw = rest
		words := strings.SplitN(string(line), " ", 3)
		if len(words) < 3 {
			return r, fmt.Errorf("line %q in the compiler's report", line)
		}
		value, err := strconv.ParseFloat(words[1], 64)
		if err != nil {
			return r, fmt.Errorf("line %q in the compiler's report: %w", line, err)
		}
		switch words[0] {
		case "executable":
			r.Subgroup, r.Statistics, r.Code = int(value), map[string]float64{}, nil
		case "statistic":
			r.Statistics[words[2]] = value
		case "code":
			n := int(value)
			if n > len(raw) {
				return r, fmt.Errorf("%d bytes of %s in the compiler's report, of %d", len(raw), words[2], n)
			}
			r.Code = append(r.Code, Code{words[2], string(raw[:n])})
			raw = raw[n:]
		default:
			return r, fmt.Errorf("line %q in the compiler's report", line)
		}
	}
	if r.Statistics == nil {
		return r, errors.New("the compiler's report has no executable")
	}
	return r, nil
}
