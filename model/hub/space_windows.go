package hub

import "golang.org/x/sys/windows"

// space is how many bytes a folder's volume has room for, for this user; ok says whether that is known.
func space(dir string) (free uint64, ok bool) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, false
	}
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, false
	}
	return free, true
}
