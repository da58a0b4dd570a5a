//go:build unix

package machine

import "golang.org/x/sys/unix"

// FreeDisk is how many bytes may still be written where path is, which must exist.
func FreeDisk(path string) (int64, error) {
	var info unix.Statfs_t
	if err := unix.Statfs(path, &info); err != nil {
		return 0, err
	}
	return int64(info.Bavail) * int64(info.Bsize), nil
}
