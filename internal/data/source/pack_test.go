package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prenas/internal/augment"
	"prenas/internal/data"
	"prenas/internal/data/datatest"
	"prenas/internal/data/pack"
)

// packOf packs a source.
func packOf(t *testing.T, ctx context.Context, src, dir string, o pack.Options) error {
	t.Helper()
	set, err := Open(context.Background(), src, Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.Source = src
	_, err = pack.Write(ctx, set, dir, o)
	return err
}

func soundFolder(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for _, split := range []string{"train", "val", "test"} {
		for i := range n {
			sub := filepath.Join(dir, split, string(rune('a'+i%2)))
			if err := os.MkdirAll(sub, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(sub, string(rune('a'+i))+".png"), datatest.PNG(t, 9+i, 12, byte(3*i)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return "folder:" + dir
}

func TestPackedImagesAreThoseOfTheSource(t *testing.T) {
	src := soundFolder(t, 10)
	for _, size := range []int{0, 7} {
		dir := filepath.Join(t.TempDir(), "packed")
		if err := packOf(t, context.Background(), src, dir, pack.Options{Size: size, Workers: 3}); err != nil {
			t.Fatal(err)
		}
		from, to := open(t, src), open(t, "pack:"+dir)
		if from.Digest != to.Digest || !slices.Equal(from.Classes, to.Classes) {
			t.Errorf("digest %s, classes %v; the source has %s, %v", to.Digest, to.Classes, from.Digest, from.Classes)
		}
		for _, splits := range [][2]data.Split{{from.Train, to.Train}, {from.HeldOut, to.HeldOut}, {from.Test, to.Test}} {
			if splits[0].Len() != splits[1].Len() {
				t.Fatalf("%d images, the source has %d", splits[1].Len(), splits[0].Len())
			}
			for i := range splits[0].Len() {
				want, err := splits[0].Image(i)
				if err != nil {
					t.Fatal(err)
				}
				if size > 0 {
					want = augment.Shrink(want, size)
				}
				got, err := splits[1].Image(i)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got.Pixels, want.Pixels) || got.Height != want.Height || splits[0].Label(i) != splits[1].Label(i) {
					t.Errorf("size %d, image %d is not that of the source", size, i)
				}
			}
		}
	}
}

// Packing that is stopped keeps its whole shards, and ends as if it had not been.
func TestPackingGoesOn(t *testing.T) {
	const src = "synthetic:2x2500x3" // shards are of 1024 images
	whole, cut := t.TempDir(), t.TempDir()
	if err := packOf(t, context.Background(), src, whole, pack.Options{}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	err := packOf(t, ctx, src, cut, pack.Options{Workers: 1, Progress: func(done, _ int) {
		if done == 1500 {
			stop()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("stopped: %v", err)
	}
	if _, err := Open(context.Background(), "pack:"+cut, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a stopped packing opens: %v", err)
	}
	first := filepath.Join(cut, "train-00000.pack")
	before, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	// What a packing that is killed leaves of a shard that it was writing.
	rest := filepath.Join(cut, ".train-00001.pack.tmp-1")
	if err := os.WriteFile(rest, []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := packOf(t, context.Background(), src, cut, pack.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(rest); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a shard is left: %v", err)
	}
	if after, err := os.Stat(first); err != nil || !os.SameFile(before, after) {
		t.Errorf("a whole shard was written again: %v", err)
	}
	names, err := filepath.Glob(filepath.Join(whole, "*"))
	if err != nil || len(names) != 5 {
		t.Fatalf("%q, %v", names, err)
	}
	for _, name := range names {
		a, err1 := os.ReadFile(name)
		b, err2 := os.ReadFile(filepath.Join(cut, filepath.Base(name)))
		if err1 != nil || err2 != nil || !slices.Equal(a, b) {
			t.Errorf("%s differs (%v, %v)", filepath.Base(name), err1, err2)
		}
	}
}

func TestOnePackingAtATime(t *testing.T) {
	dir := t.TempDir()
	lock := filepath.Join(dir, ".prenas.lock")
	if err := os.WriteFile(lock, []byte(`{"pid": 1, "host": "elsewhere"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := packOf(t, context.Background(), "synthetic:1x2x3", dir, pack.Options{}); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v, want one that names the folder", err)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if err := packOf(t, context.Background(), "synthetic:1x2x3", dir, pack.Options{}); err != nil {
		t.Error(err)
	}
}

func TestPackedWithoutDamaged(t *testing.T) {
	src, damaged := damagedFolder(t, 12)
	dir := filepath.Join(t.TempDir(), "packed")
	var bad *data.DamagedImage
	if err := packOf(t, context.Background(), "folder:"+src, dir, pack.Options{}); !errors.As(err, &bad) || !slices.Contains(damaged, bad.Name) {
		t.Errorf("error %v, want one that names a damaged image", err)
	}
	for range 2 { // the second time all shards are there
		var skipped data.Skipped
		if err := packOf(t, context.Background(), "folder:"+src, dir, pack.Options{Skip: &skipped}); err != nil {
			t.Fatal(err)
		}
		m, err := pack.ReadManifest(dir)
		if err != nil {
			t.Fatal(err)
		}
		if names := skippedNames(&skipped); !slices.Equal(names, damaged) || len(m.Skipped) != len(damaged) {
			t.Errorf("left out %q, want %q", names, damaged)
		}
	}
	if n := open(t, "pack:"+dir).Train.Len() + open(t, "pack:"+dir).HeldOut.Len(); n != 12 {
		t.Errorf("%d images are packed, 12 are sound", n)
	}
}

// Images of other pixels, with the same names and sizes of files, are packed anew; and a run that
// remembers the images finds out.
func TestPackedAnewWhereImagesChanged(t *testing.T) {
	files := t.TempDir()
	one, two := datatest.PNG(t, 9, 9, 10), datatest.PNG(t, 9, 9, 20)
	if len(one) != len(two) {
		t.Fatal("their sizes differ")
	}
	dir := filepath.Join(t.TempDir(), "packed")
	plain := func(src string) *data.Dataset {
		d, err := Open(context.Background(), src, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	level := func() byte {
		if err := packOf(t, context.Background(), "folder:"+files, dir, pack.Options{Size: 9}); err != nil {
			t.Fatal(err)
		}
		img, err := plain("pack:" + dir).Train.Image(0)
		if err != nil {
			t.Fatal(err)
		}
		return img.Pixels[0]
	}
	datatest.Write(t, files, map[string][]byte{"a/0.png": one, "a/1.png": []byte("damaged"), "b/0.png": two})
	skip := &data.Skipped{}
	if err := packOf(t, context.Background(), "folder:"+files, dir, pack.Options{Size: 9, Skip: skip}); err != nil {
		t.Fatal(err)
	}
	first := plain("pack:" + dir)
	digestOf := func(d *data.Dataset, i int) uint64 {
		sum, _ := data.DigestOf(d.Train, i)
		return sum
	}
	sums := []uint64{digestOf(first, 0), digestOf(first, 1)}
	if first.Train.Len() != 2 || sums[0] == 0 || sums[1] == 0 || sums[0] == sums[1] {
		t.Fatalf("%d images, digests %x", first.Train.Len(), sums)
	}
	if source := plain("folder:" + files); true {
		if sum, err := data.DigestAsItIs(source.Train, 2); err != nil || sum != sums[1] {
			t.Errorf("the source's image has the digest %x, %v; the packed one %x", sum, err, sums[1])
		}
	}

	datatest.Write(t, files, map[string][]byte{"a/0.png": one, "a/1.png": one, "b/0.png": two})
	if got := level(); got != 10 {
		t.Errorf("level %d, want 10", got)
	}
	stat := func() os.FileInfo {
		info, err := os.Stat(filepath.Join(dir, "train-00000.pack"))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	before := stat()
	if level(); !os.SameFile(before, stat()) {
		t.Error("of the same images, it was packed anew")
	}
	datatest.Write(t, files, map[string][]byte{"a/0.png": two, "a/1.png": one, "b/0.png": one})
	if got := level(); got != 20 {
		t.Errorf("level %d of the image before; want 20", got)
	}
	if err := plain("pack:" + dir).Contents.Remember([]uint64{sums[0], 0, sums[1]}); !errors.Is(err, data.ErrChanged) {
		t.Errorf("%v, want ErrChanged", err)
	}
}
