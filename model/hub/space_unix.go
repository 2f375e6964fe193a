//go:build linux || darwin

package hub

import "syscall"

// space is how many bytes a folder's file system has room for; ok says whether that is known.
func space(dir string) (free uint64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return s.Bavail * uint64(s.Bsize), true
}
