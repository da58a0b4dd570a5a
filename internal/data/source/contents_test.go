package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
	"prenas/internal/data/load"
)

// Images of one size that change places, or change, are found as they are read again, by a
// process that remembers them; whatever was not read is not held against anyone.
func TestImagesThatChangePlacesAreSeen(t *testing.T) {
	dir := t.TempDir()
	datatest.Write(t, dir, map[string][]byte{
		"train/a/0.png": datatest.PNG(t, 5, 5, 10), "train/a/1.png": datatest.PNG(t, 5, 5, 20), "train/b/0.png": datatest.PNG(t, 5, 5, 30), "train/b/1.png": datatest.PNG(t, 5, 5, 40),
	})
	open := func() *data.Dataset {
		d, err := Open(context.Background(), "folder:"+dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := open()
	l, err := load.New(first.Train, load.Options{Batch: 1, Channels: 3, Size: 4, Mean: []float32{0, 0, 0}, Std: []float32{1, 1, 1}})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 2, 3} { // 1 is only read ahead
		for _, err := range l.Stream(context.Background(), 0, i) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if _, err := first.Train.Image(1); err != nil {
		t.Fatal(err)
	}
	sums, news := first.Contents.Sums()
	if !news || sums[0] == 0 || sums[1] != 0 || sums[2] == 0 || sums[3] == 0 {
		t.Fatalf("%x, news %v", sums, news)
	}
	if _, news := first.Contents.Sums(); news {
		t.Error("there are news, and nothing was read")
	}
	swap := func(a, b string) {
		for _, names := range [][2]string{{a, "x"}, {b, a}, {"x", b}} {
			if err := os.Rename(filepath.Join(dir, names[0]), filepath.Join(dir, names[1])); err != nil {
				t.Fatal(err)
			}
		}
	}
	swap("train/a/0.png", "train/b/0.png")
	second := open()
	if second.Digest != first.Digest {
		t.Fatal("their sizes differ")
	}
	if err := second.Contents.Remember(sums); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, true, false} {
		_, err := second.Train.Image(i)
		var damaged *data.DamagedImage
		if errors.Is(err, data.ErrChanged) != want || errors.As(err, &damaged) || want && !strings.Contains(err.Error(), filepath.Join(dir, "train")) {
			t.Errorf("image %d: %v", i, err)
		}
	}
	if err := open().Contents.Remember(sums[1:]); err == nil {
		t.Error("digests of fewer images are taken")
	}
	third := open()
	if _, err := third.Train.Image(0); err != nil {
		t.Fatal(err)
	}
	if err := third.Contents.Remember(sums); !errors.Is(err, data.ErrChanged) {
		t.Errorf("read before: %v", err)
	}
}
