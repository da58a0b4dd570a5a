package fsys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
)

// Errors of reading.
var (
	// ErrNotRegular: what is to be read is no file: a pipe may never begin, a device never end.
	ErrNotRegular = errors.New("is not a regular file")
	// ErrTooLarge: a file is larger than what is read of its kind.
	ErrTooLarge = errors.New("it is too large")
)

// MaxText is how large a file of text that is read whole may be, in bytes.
const MaxText = 256 << 20

// OpenRegular opens a file, or a link to one, for reading. Anything else is refused with
// ErrNotRegular, before it is waited for.
func OpenRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, notRegular(path, info)
	}
	file, err := os.Open(path) // where there is nothing, this says so best
	if err != nil {
		return nil, err
	}
	return file, nil
}

func notRegular(path string, info fs.FileInfo) error {
	if info.IsDir() {
		return fmt.Errorf("%s %w: it is a folder", path, ErrNotRegular)
	}
	return fmt.Errorf("%s %w", path, ErrNotRegular)
}

// ReadText reads a file of text whole, of at most MaxText bytes.
func ReadText(f FS, path string) ([]byte, error) { return readAtMost(f, path, MaxText) }

// ReadFile reads a file whole. What is larger than the machine's memory is refused.
func ReadFile(f FS, path string) ([]byte, error) { return readAtMost(f, path, machineMemory()) }

func readAtMost(f FS, path string, most int64) ([]byte, error) {
	info, err := f.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, notRegular(path, info)
	case err == nil && info.Size() > most:
		return nil, fmt.Errorf("%s: %w: %d bytes, and at most %d are read", path, ErrTooLarge, info.Size(), most)
	}
	file, err := f.Open(path) // where there is nothing, this says so best
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var text bytes.Buffer
	if info != nil {
		text.Grow(int(info.Size()) + bytes.MinRead) // with room to find the end
	}
	if _, err := text.ReadFrom(io.LimitReader(file, most)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return text.Bytes(), nil
}

// machineMemory is the memory of the machine in bytes, or what a container may have of it;
// a lot where the system does not tell.
var machineMemory = sync.OnceValue(func() int64 {
	least := int64(1) << 42
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 2 && fields[0] == "MemTotal:" && fields[2] == "kB" {
			if kb, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				least = kb << 10
			}
		}
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && limit > 0 { // else "max"
			least = min(least, limit)
		}
	}
	return least
})
