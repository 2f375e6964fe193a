//go:build !linux && !windows

package memory

// Resident is not known here.
func Resident() Use { return Use{} }
