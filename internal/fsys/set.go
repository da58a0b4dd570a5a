package fsys

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"path/filepath"
	"slices"
)

// Set is an FS that holds back the names of what is written through it until Commit gives
// them all, in the order in which they were written: for files that belong together. An
// error before leaves every one of them as it was. The one that is written last is the
// commit point: it has the others' digests (Sum), so that after a kill between two names a
// reader sees that they are not of one writing.
type Set struct {
	FS
	held []heldName
	sums map[string]string // of temporary files, and then of names
}

type heldName struct{ from, to string }

// NewSet begins a set on f. Discard it when it is done with, committed or not.
func NewSet(f FS) *Set { return &Set{FS: f, sums: map[string]string{}} }

// CreateTemp implements FS; what is written is summed up.
func (s *Set) CreateTemp(dir, pattern string) (File, error) {
	file, err := s.FS.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	return &summedFile{File: file, set: s, sum: sha256.New()}, nil
}

// Rename implements FS: it is done by Commit.
func (s *Set) Rename(from, to string) error {
	s.held = append(s.held, heldName{from, to})
	s.sums[to] = s.sums[from]
	return nil
}

// SyncDir implements FS: it is done by Commit.
func (s *Set) SyncDir(string) error { return nil }

// Sum is the SHA-256 of a file that was written through the set, in hex; it is empty for
// any other.
func (s *Set) Sum(path string) string { return s.sums[path] }

// Commit gives all files their names.
func (s *Set) Commit() error {
	defer s.Discard()
	var dirs []string
	for len(s.held) > 0 {
		name := s.held[0]
		if err := s.FS.Rename(name.from, name.to); err != nil {
			return fmt.Errorf("write %s: %w", name.to, err)
		}
		s.held = s.held[1:]
		if dir := filepath.Dir(name.to); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	var failed error
	for _, dir := range dirs {
		if err := s.FS.SyncDir(dir); err != nil {
			failed = errors.Join(failed, fmt.Errorf("sync folder %s: %w", dir, err))
		}
	}
	return failed
}

// Discard removes what has not got its name.
func (s *Set) Discard() {
	for _, name := range s.held {
		_ = s.FS.Remove(name.from)
	}
	s.held = nil
}

type summedFile struct {
	File
	set *Set
	sum hash.Hash
}

func (f *summedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.sum.Write(p[:n])
	return n, err
}

func (f *summedFile) Close() error {
	f.set.sums[f.Name()] = hex.EncodeToString(f.sum.Sum(nil))
	return f.File.Close()
}
