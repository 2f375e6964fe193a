package memory

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// processMemoryInfo is of kernel32 since Windows 7; golang.org/x/sys/windows has no function for it.
var processMemoryInfo = windows.NewLazySystemDLL("kernel32.dll").NewProc("K32GetProcessMemoryInfo")

// counters are PROCESS_MEMORY_COUNTERS.
type counters struct {
	size, faults                                                                             uint32
	mostResident, resident, mostPaged, paged, mostNonPaged, nonPaged, pagefile, mostPagefile uintptr
}

// Resident is the process's memory that is resident: its working set.
func Resident() Use {
	var c counters
	c.size = uint32(unsafe.Sizeof(c))
	if processMemoryInfo.Find() != nil {
		return Use{}
	}
	if ok, _, _ := processMemoryInfo.Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(&c)), uintptr(c.size)); ok == 0 {
		return Use{}
	}
	return Use{Now: int64(c.resident), Most: int64(c.mostResident)}
}
