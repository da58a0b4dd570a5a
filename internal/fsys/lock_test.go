package fsys_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"prenas/internal/fsys"
)

func TestWaitingForTheLockCanBeCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := fsys.Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fsys.Lock(ctx, path); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestSum(t *testing.T) {
	path := filepath.Join(t.TempDir(), "abc")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, appendix B.1
	if got, err := fsys.Sum(path); err != nil || got != want {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestReadFileTakesFilesAlone(t *testing.T) {
	for _, path := range []string{"/dev/zero", t.TempDir()} {
		if text, err := fsys.ReadFile(fsys.OS, path); err == nil {
			t.Errorf("%s: %d bytes", path, len(text))
		}
	}
	if _, err := fsys.ReadFile(fsys.OS, filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
