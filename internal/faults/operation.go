//go:build linux && amd64

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Operation is a system call that reads or changes a file.
type Operation struct {
	Call  string `json:"call"`
	Path  string `json:"path"` // below the folder that is watched
	Reads bool   `json:"reads,omitempty"`
	Makes bool   `json:"makes,omitempty"` // an openat that may make the file
}

func (o Operation) String() string { return o.Call + " " + o.Path }

// writes says whether the call writes bytes.
func (o Operation) writes() bool { return slices.Contains([]string{"write", "pwrite64"}, o.Call) }

// takes says whether the call takes bytes from an open file.
func (o Operation) takes() bool { return slices.Contains([]string{"read", "pread64"}, o.Call) }

// room says whether the call needs room on the disk.
func (o Operation) room() bool {
	return o.Makes || slices.Contains([]string{"write", "pwrite64", "writev", "mkdir", "mkdirat", "copy_file_range", "sendfile", "fallocate", "fsync", "fdatasync", "link", "linkat", "symlink", "symlinkat"}, o.Call)
}

var drawn = regexp.MustCompile(`\.tmp-[\d-]+`)

// place is the operation without what differs between two starts: drawn names.
func (o Operation) place() string { return o.Call + " " + drawn.ReplaceAllString(o.Path, "*") }

// How a call names its file.
type naming int

const (
	byFD   naming = iota // descriptor in the first argument
	byPath               // path in the first
	byAt                 // folder's descriptor and path in the first two
	toFD                 // descriptor in the third: copy_file_range
)

// calls are those that stop the traced process.
var calls = map[uint64]struct {
	name  string
	by    naming
	reads bool
}{
	unix.SYS_WRITE: {"write", byFD, false}, unix.SYS_PWRITE64: {"pwrite64", byFD, false}, unix.SYS_WRITEV: {"writev", byFD, false},
	unix.SYS_OPENAT: {"openat", byAt, false}, // reads, unless its flags say more
	unix.SYS_RENAME: {"rename", byPath, false}, unix.SYS_RENAMEAT: {"renameat", byAt, false}, unix.SYS_RENAMEAT2: {"renameat2", byAt, false},
	unix.SYS_LINK: {"link", byPath, false}, unix.SYS_LINKAT: {"linkat", byAt, false},
	unix.SYS_UNLINK: {"unlink", byPath, false}, unix.SYS_UNLINKAT: {"unlinkat", byAt, false}, unix.SYS_RMDIR: {"rmdir", byPath, false},
	unix.SYS_MKDIR: {"mkdir", byPath, false}, unix.SYS_MKDIRAT: {"mkdirat", byAt, false},
	unix.SYS_TRUNCATE: {"truncate", byPath, false}, unix.SYS_FTRUNCATE: {"ftruncate", byFD, false}, unix.SYS_FALLOCATE: {"fallocate", byFD, false},
	unix.SYS_FSYNC: {"fsync", byFD, false}, unix.SYS_FDATASYNC: {"fdatasync", byFD, false},
	unix.SYS_FCHMOD: {"fchmod", byFD, false}, unix.SYS_CHMOD: {"chmod", byPath, false}, unix.SYS_FCHMODAT: {"fchmodat", byAt, false},
	unix.SYS_COPY_FILE_RANGE: {"copy_file_range", toFD, false}, unix.SYS_SENDFILE: {"sendfile", byFD, false},

	unix.SYS_READ: {"read", byFD, true}, unix.SYS_PREAD64: {"pread64", byFD, true}, unix.SYS_GETDENTS64: {"getdents64", byFD, true},
	unix.SYS_FSTAT: {"fstat", byFD, true}, unix.SYS_STAT: {"stat", byPath, true}, unix.SYS_LSTAT: {"lstat", byPath, true},
	unix.SYS_NEWFSTATAT: {"newfstatat", byAt, true}, unix.SYS_STATX: {"statx", byAt, true},
}

// decode is the operation of a process that stands before a system call; ok is false if
// it is none, or of a file that is not below a folder. Paths are resolved from dir, in
// which the process was started.
func decode(pid int, r *unix.PtraceRegs, dir, below string) (o Operation, ok bool) {
	call, known := calls[r.Orig_rax]
	if !known {
		return o, false
	}
	var path string
	switch call.by {
	case byFD:
		path = openFile(pid, r.Rdi)
	case toFD:
		path = openFile(pid, r.Rdx)
	case byPath:
		path = text(pid, r.Rdi)
	case byAt:
		path = text(pid, r.Rsi)
		switch folder := int32(r.Rdi); {
		case path == "":
			path = openFile(pid, r.Rdi)
		case folder != unix.AT_FDCWD && !filepath.IsAbs(path):
			path = filepath.Join(openFile(pid, r.Rdi), path)
		}
	}
	if path == "" {
		return o, false
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	inside, under := strings.CutPrefix(filepath.Clean(path)+"/", below+"/")
	if !under {
		return o, false
	}
	o = Operation{Call: call.name, Path: strings.TrimSuffix(inside, "/"), Reads: call.reads}
	if o.Call == "openat" {
		o.Makes = r.Rdx&unix.O_CREAT != 0
		o.Reads = r.Rdx&(unix.O_CREAT|unix.O_WRONLY|unix.O_RDWR|unix.O_TRUNC) == 0
	}
	return o, true
}

// openFile is the path of an open file of a process, or what stands for it, as pipe:[5].
func openFile(pid int, fd uint64) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, int32(fd)))
	if err != nil || !filepath.IsAbs(path) {
		return ""
	}
	return path
}

// text is a string in the memory of a process.
func text(pid int, address uint64) string {
	buffer := make([]byte, unix.PathMax)
	n, _ := unix.PtracePeekData(pid, uintptr(address), buffer) // up to where its memory ends
	path, _, _ := strings.Cut(string(buffer[:n]), "\x00")
	return path
}
