// Package addresses ends the program with one line where its address space is limited (ulimit -v) to less than Go's runtime reserves when it
// starts, which would end it with a trace of its own insides before main is reached. It looks when libraries are initialized, which is before
// Go is.
package addresses

import (
	"fmt"

	"github.com/dustin/go-humanize"
)

// least is what a device takes, in bytes: with less, libraries of drivers end the process where they are refused memory. A driver that runs on the
// CPU was measured: with 2.0 GiB lists of devices come, with 2.4 GiB errors that can be told, with 2.9 GiB the work.
const least = 2_500_000 << 10

// CheckDevice refuses to open a device where the address space is too small for drivers.
func CheckDevice() error {
	if n, limited := limit(); limited && n < least {
		return fmt.Errorf("the address space is limited to %s (ulimit -v), expected at least %s for a device", humanize.IBytes(n), humanize.IBytes(least))
	}
	return nil
}
