package fsys

import (
	"os"

	"golang.org/x/sys/windows"
)

// flock locks an open file, or returns errLocked. Any other error means that files
// cannot be locked here. The lock is of a byte far behind the end, since what is locked
// can be read by no one else.
func flock(f *os.File) error {
	behind := windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &behind)
	if err == windows.ERROR_LOCK_VIOLATION || err == windows.ERROR_IO_PENDING {
		return errLocked
	}
	return err
}

// processRuns tells whether there is a process of a number.
func processRuns(pid int) bool {
	const stillActive = 259 // STILL_ACTIVE of GetExitCodeProcess
	h, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false, uint32(pid))
	if err != nil {
		return err == windows.ERROR_ACCESS_DENIED
	}
	defer windows.CloseHandle(h)
	var code uint32
	return windows.GetExitCodeProcess(h, &code) != nil || code == stillActive
}
