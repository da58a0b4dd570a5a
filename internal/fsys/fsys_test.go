package fsys_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"prenas/internal/fsys"
	"prenas/internal/fsys/faultfs"
)

func writeText(f fsys.FS, path, text string) error {
	return fsys.WriteAtomic(f, path, func(w io.Writer) error {
		for _, part := range strings.SplitAfter(text, " ") {
			if _, err := io.WriteString(w, part); err != nil {
				return err
			}
		}
		return nil
	})
}

// The order of operations is the promise: bytes reach the disk before the name
// does, and the folder last.
func TestOrderOfOperations(t *testing.T) {
	f := &faultfs.FS{FS: fsys.OS, At: -1}
	if err := writeText(f, filepath.Join(t.TempDir(), "file"), "one two"); err != nil {
		t.Fatal(err)
	}
	want := []string{"create", "write", "write", "sync", "close", "rename", "sync folder"}
	if !slices.Equal(f.Log, want) {
		t.Errorf("operations %q, want %q", f.Log, want)
	}
}

func TestEveryOperationMayFail(t *testing.T) {
	clean := &faultfs.FS{FS: fsys.OS, At: -1}
	if err := writeText(clean, filepath.Join(t.TempDir(), "file"), "new text"); err != nil {
		t.Fatal(err)
	}
	for _, kind := range faultfs.Kinds {
		for at, name := range clean.Log {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if err := writeText(fsys.OS, path, "old text"); err != nil {
				t.Fatal(err)
			}
			f := &faultfs.FS{FS: fsys.OS, At: at, Kind: kind}
			err := writeText(f, path, "new text")
			if !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s fails: error %v does not name the file and the cause", name, err)
			}
			want := "old text"
			if name == "sync folder" { // the file has its name by then
				want = "new text"
			}
			if text, err := os.ReadFile(path); err != nil || string(text) != want {
				t.Errorf("%s fails: the file holds %q (%v), want %q", name, text, err, want)
			}
			if entries, _ := os.ReadDir(dir); len(entries) != 1 {
				t.Errorf("%s fails: %d files are left, want 1", name, len(entries))
			}
		}
	}
}
