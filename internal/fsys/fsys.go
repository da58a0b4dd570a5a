// Package fsys is the one door through which a run writes files.
//
// A file written by WriteAtomic exists whole under its name, or not at all:
// the bytes go to a temporary file beside it, reach the disk, and only then
// take the name; the folder is synced last, so that the name survives a loss
// of power. Tests inject faults at any operation through the FS interface.
package fsys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// File is an open file of an FS.
type File interface {
	io.Reader
	io.Writer
	io.Closer
	Sync() error
	Name() string
}

// FS is the set of file operations that a run uses.
type FS interface {
	CreateTemp(dir, pattern string) (File, error)
	OpenAppend(path string) (File, error)
	Open(path string) (File, error)
	Rename(from, to string) error
	SyncDir(dir string) error
	Remove(path string) error
	MkdirAll(dir string) error
	ReadDir(dir string) ([]fs.DirEntry, error)
	Stat(path string) (fs.FileInfo, error)
	Truncate(path string, size int64) error
}

// OS is the operating system's file system.
var OS FS = osFS{}

// WriteAtomic writes a file whole or not at all. On any error the temporary
// file is removed and path is as it was.
func WriteAtomic(f FS, path string, write func(io.Writer) error) error {
	dir := filepath.Dir(path)
	temp, err := f.CreateTemp(dir, "."+filepath.Base(path)+".tmp-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = write(temp)
	if err == nil {
		err = temp.Sync()
	}
	if closed := temp.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = f.Rename(temp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, f.Remove(temp.Name())))
	}
	if err := f.SyncDir(dir); err != nil {
		return fmt.Errorf("write %s: sync its folder: %w", path, err)
	}
	return nil
}

// tempMark stands in the names of temporary files between the name that they are to have
// and a number.
const tempMark = ".tmp-"

// RemoveStale removes the temporary files in a folder whose processes ended before they
// were renamed. Those that a process of this machine still writes stay.
func RemoveStale(dir string) error {
	return removeStale(dir, true, func(string) bool { return true })
}

// removeStale removes stale temporary files of the names that are to go. Where a file
// system has no flock to tell them by, all are stale if the folder is held, and else none.
func removeStale(dir string, held bool, goes func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		hidden, isHidden := strings.CutPrefix(entry.Name(), ".")
		at := strings.LastIndex(hidden, tempMark)
		if !isHidden || at < 0 || strings.Trim(hidden[at+len(tempMark):], "0123456789-") != "" || !entry.Type().IsRegular() || !goes(hidden[:at]) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue // it has its name by now, or is another user's
		}
		if err := tryFlock(file); err == errLocked || err != nil && !held {
			file.Close()
			continue
		}
		discard(file, path)
	}
	return nil
}

// OfSystem tells whether an error is the system's, as of a disk that fails or of too many open
// files, and not of what was read: a file that the system keeps back may be sound.
func OfSystem(err error) bool {
	var number syscall.Errno
	return errors.As(err, &number)
}

type osFS struct{}

// CreateTemp implements FS. It removes what killed processes left of earlier ones.
func (osFS) CreateTemp(dir, pattern string) (File, error) {
	prefix, suffix, _ := strings.Cut(pattern, "*")
	if final, isMarked := strings.CutSuffix(prefix, tempMark); isMarked && suffix == "" {
		_ = removeStale(dir, false, func(name string) bool { return "."+name == final }) // the next one tries again
	}
	for number := 0; ; number++ {
		path := filepath.Join(dir, fmt.Sprintf("%s%d-%d%s", prefix, os.Getpid(), number, suffix))
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if tryFlock(f) == errLocked || !isAt(f, path) { // another process took it for one that was left behind
			discard(f, path)
			continue
		}
		return osFile{f}, nil
	}
}

func (osFS) OpenAppend(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}
func (osFS) Open(path string) (File, error) {
	f, err := OpenRegular(path)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}
func (osFS) Rename(from, to string) error              { return os.Rename(from, to) }
func (osFS) Remove(path string) error                  { return os.Remove(path) }
func (osFS) MkdirAll(dir string) error                 { return os.MkdirAll(dir, 0o755) }
func (osFS) ReadDir(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }
func (osFS) Stat(path string) (fs.FileInfo, error)     { return os.Stat(path) }
func (osFS) Truncate(path string, size int64) error    { return os.Truncate(path, size) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(syncUnlessCannot(d), d.Close())
}

// osFile is a file of the operating system.
type osFile struct{ *os.File }

// Sync implements File.
func (f osFile) Sync() error { return syncUnlessCannot(f.File) }

// syncUnlessCannot syncs a file or a folder. Some file systems, as of networks or in user
// space, cannot, and say so; what they hold is then as safe as it can be.
func syncUnlessCannot(f *os.File) error {
	err := f.Sync()
	for _, cannot := range []error{syscall.EINVAL, syscall.ENOTSUP, syscall.ENOSYS} {
		if errors.Is(err, cannot) {
			return nil
		}
	}
	if err != nil && runtime.GOOS == "windows" { // which has no sync of folders
		if info, statErr := f.Stat(); statErr == nil && info.IsDir() {
			return nil
		}
	}
	return err
}
