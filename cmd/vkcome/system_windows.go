package main

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// systemName is what users call the system.
func systemName() string { return "Windows" }

// kernel is the system's version with its build, by which releases of Windows are told apart.
func kernel() string {
	v := windows.RtlGetVersion()
	return fmt.Sprintf("Windows NT %d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)
}
