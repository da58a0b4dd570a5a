// Package faultfs is a file system for tests in which a chosen operation
// fails.
package faultfs

import (
	"fmt"
	"io/fs"
	"syscall"

	"prenas/internal/fsys"
)

// Kind of failure.
type Kind int

// Kinds of failure: an input/output error; a write that stops half-way; a full
// disk, on which writes stop half-way and everything that needs room fails.
const (
	IOError Kind = iota
	ShortWrite
	DiskFull
)

// Kinds lists all kinds.
var Kinds = []Kind{IOError, ShortWrite, DiskFull}

// FS passes operations on to another file system, counts them, and fails the
// one numbered At (from 0; -1 for none). Operations that clean up after a
// failure are passed on.
type FS struct {
	fsys.FS
	At   int
	Kind Kind
	// Log names the operations so far, one each.
	Log []string
}

// step counts an operation and returns its failure, if it is the chosen one.
func (f *FS) step(name string) error {
	at := len(f.Log)
	f.Log = append(f.Log, name)
	if at != f.At {
		return nil
	}
	err := error(syscall.EIO)
	if f.Kind == DiskFull {
		err = syscall.ENOSPC
	}
	return &fs.PathError{Op: name, Path: fmt.Sprintf("operation %d", at), Err: err}
}

// CreateTemp implements fsys.FS.
func (f *FS) CreateTemp(dir, pattern string) (fsys.File, error) {
	if err := f.step("create"); err != nil {
		return nil, err
	}
	file, err := f.FS.CreateTemp(dir, pattern)
	return &faultFile{file, f}, err
}

// OpenAppend implements fsys.FS.
func (f *FS) OpenAppend(path string) (fsys.File, error) {
	if err := f.step("append"); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenAppend(path)
	return &faultFile{file, f}, err
}

// Rename implements fsys.FS.
func (f *FS) Rename(from, to string) error {
	if err := f.step("rename"); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

// SyncDir implements fsys.FS.
func (f *FS) SyncDir(dir string) error {
	if err := f.step("sync folder"); err != nil {
		return err
	}
	return f.FS.SyncDir(dir)
}

// MkdirAll implements fsys.FS.
func (f *FS) MkdirAll(dir string) error {
	if err := f.step("mkdir"); err != nil {
		return err
	}
	return f.FS.MkdirAll(dir)
}

// Truncate implements fsys.FS.
func (f *FS) Truncate(path string, size int64) error {
	if err := f.step("truncate"); err != nil {
		return err
	}
	return f.FS.Truncate(path, size)
}

// ReadDir implements fsys.FS.
func (f *FS) ReadDir(dir string) ([]fs.DirEntry, error) {
	if err := f.step("list"); err != nil {
		return nil, err
	}
	return f.FS.ReadDir(dir)
}

// Open implements fsys.FS.
func (f *FS) Open(path string) (fsys.File, error) {
	if err := f.step("open"); err != nil {
		return nil, err
	}
	return f.FS.Open(path)
}

type faultFile struct {
	fsys.File
	fs *FS
}

func (f *faultFile) Write(p []byte) (int, error) {
	if err := f.fs.step("write"); err != nil {
		if f.fs.Kind == IOError {
			return 0, err
		}
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	}
	return f.File.Write(p)
}

func (f *faultFile) Sync() error {
	if err := f.fs.step("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultFile) Close() error {
	if err := f.fs.step("close"); err != nil {
		_ = f.File.Close()
		return err
	}
	return f.File.Close()
}
