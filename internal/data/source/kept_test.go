//go:build unix

package source

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
	"prenas/internal/data/load"
	"prenas/internal/data/pack"
)

// sourceOfThree has three sound images, and says what file the system may keep back.
func sourceOfThree(t *testing.T, kind string) (d *data.Dataset, file string) {
	t.Helper()
	dir := t.TempDir()
	images := filepath.Join(dir, "images")
	if err := os.MkdirAll(filepath.Join(images, "train", "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	var shard bytes.Buffer
	w := tar.NewWriter(&shard)
	for i := range 3 {
		text := datatest.PNG(t, 30, 30, byte(i))
		name := fmt.Sprintf("a/%d.png", i)
		file = filepath.Join(images, "train", name)
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	switch kind {
	case "folder":
		return open(t, "folder:"+images), file
	case "tar":
		file = filepath.Join(dir, "train-0.tar")
		if err := os.WriteFile(file, shard.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return open(t, "tar:"+file), file
	}
	out := filepath.Join(dir, "packed")
	if err := packOf(t, context.Background(), "folder:"+images, out, pack.Options{}); err != nil {
		t.Fatal(err)
	}
	shards, err := filepath.Glob(filepath.Join(out, "train-*"))
	if err != nil || len(shards) != 1 {
		t.Fatal(shards, err)
	}
	return open(t, "pack:"+out), shards[0]
}

// skipping reads all images of a source, leaving damaged ones out.
func skipping(t *testing.T, d *data.Dataset) (*data.Skipped, error) {
	t.Helper()
	var skipped data.Skipped
	l, err := load.New(d.Train, load.Options{Batch: 3, Channels: 3, Size: 6, Mean: []float32{0, 0, 0}, Std: []float32{1, 1, 1}, Train: true, Skip: &skipped})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Batch(0, 0)
	return &skipped, err
}

// A file that is gone, or shorter, after the source was opened is the system's failure: it ends
// the run with a sentence that names it, and no image is left out.
func TestWhatTheSystemKeepsBackIsNotDamaged(t *testing.T) {
	for _, c := range []struct {
		kind   string
		change func(path string) error
		want   string
	}{
		{"folder", os.Remove, "no such file"},
		{"tar", os.Remove, "no such file"},
		{"tar", func(path string) error { return os.Truncate(path, 700) }, "became shorter"},
		{"pack", func(path string) error { return os.Truncate(path, 0) }, "cannot be read any more"},
	} {
		d, file := sourceOfThree(t, c.kind)
		if _, err := skipping(t, d); err != nil {
			t.Fatal(c.kind, err)
		}
		if err := c.change(file); err != nil {
			t.Fatal(err)
		}
		skipped, err := skipping(t, d)
		if bad := (*data.DamagedImage)(nil); err == nil || errors.As(err, &bad) || len(skipped.List()) > 0 || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %d left out, %v", c.kind, len(skipped.List()), err)
		}
	}
}

// fewFiles lets the process open no more files.
func fewFiles(t *testing.T) (enough func()) {
	t.Helper()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	enough = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(enough)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	return enough
}

// Too many open files for a moment delay an image, for longer they end the run.
func TestTooManyOpenFilesDamageNothing(t *testing.T) {
	for _, kind := range []string{"folder", "tar"} {
		d, _ := sourceOfThree(t, kind)
		t.Run("for a moment, "+kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				enough := fewFiles(t)
				time.AfterFunc(20*time.Millisecond, enough)
				if skipped, err := skipping(t, d); err != nil || len(skipped.List()) > 0 {
					t.Errorf("%d left out, %v", len(skipped.List()), err)
				}
			})
		})
		t.Run("for longer, "+kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fewFiles(t)
				skipped, err := skipping(t, d)
				if bad := (*data.DamagedImage)(nil); !errors.Is(err, syscall.EMFILE) || errors.As(err, &bad) || len(skipped.List()) > 0 {
					t.Errorf("%d left out, %v", len(skipped.List()), err)
				}
			})
		})
	}
}
