package addresses

import "C" // so that addresses_linux.c is linked

import "syscall"

// limit is how many bytes the address space may have, if there is a limit.
func limit() (n uint64, limited bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_AS, &r); err != nil || r.Cur == ^uint64(0) {
		return 0, false
	}
	return r.Cur, true
}
