package fsys

import (
	"io"
	"io/fs"
)

// Nowhere is a file system that is empty and takes everything that is written, which is then
// gone: for a process that does what another one does, which writes.
var Nowhere FS = nowhere{}

type nowhere struct{}

func (nowhere) CreateTemp(dir, pattern string) (File, error) { return gone(pattern), nil }
func (nowhere) OpenAppend(path string) (File, error)         { return gone(path), nil }
func (nowhere) Open(path string) (File, error)               { return gone(path), nil }
func (nowhere) Rename(string, string) error                  { return nil }
func (nowhere) SyncDir(string) error                         { return nil }
func (nowhere) Remove(string) error                          { return nil }
func (nowhere) MkdirAll(string) error                        { return nil }
func (nowhere) ReadDir(string) ([]fs.DirEntry, error)        { return nil, nil }
func (nowhere) Stat(string) (fs.FileInfo, error)             { return nil, fs.ErrNotExist }
func (nowhere) Truncate(string, int64) error                 { return nil }

// gone is a file of Nowhere, by its name.
type gone string

func (gone) Read([]byte) (int, error)    { return 0, io.EOF }
func (gone) Write(b []byte) (int, error) { return len(b), nil }
func (gone) Close() error                { return nil }
func (gone) Sync() error                 { return nil }
func (g gone) Name() string              { return string(g) }
