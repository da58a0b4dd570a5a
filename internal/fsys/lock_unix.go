//go:build unix && !solaris && !aix

package fsys

import (
	"os"

	"golang.org/x/sys/unix"
)

// flock locks an open file, or returns errLocked. Any other error means that there is
// no flock here.
func flock(f *os.File) error {
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return errLocked
		default:
			return err
		}
	}
}

// processRuns tells whether there is a process of a number.
func processRuns(pid int) bool {
	err := unix.Kill(pid, 0)
	return err == nil || err == unix.EPERM
}
