// Package memory says how much memory the process takes.
package memory

// Use is resident memory in bytes, 0 where the system does not tell.
type Use struct {
	Now  int64
	Most int64 // since the process began
}
