package machine

import "golang.org/x/sys/windows"

// FreeDisk is how many bytes may still be written where path is, which must exist.
func FreeDisk(path string) (int64, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	var free uint64
	err = windows.GetDiskFreeSpaceEx(name, &free, nil, nil)
	return int64(free), err
}
