package memory

import (
	"bytes"
	"os"
	"strconv"
)

// Resident is the process's memory that is resident.
func Resident() (u Use) {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return u
	}
	for line := range bytes.Lines(raw) {
		name, rest, _ := bytes.Cut(line, []byte(":"))
		fields := bytes.Fields(rest)
		if len(fields) != 2 {
			continue
		}
		n, err := strconv.ParseInt(string(fields[0]), 10, 64)
		if err != nil {
			continue
		}
		switch string(name) {
		case "VmRSS":
			u.Now = n << 10
		case "VmHWM":
			u.Most = n << 10
		}
	}
	return u
}
