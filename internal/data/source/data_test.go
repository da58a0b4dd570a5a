package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
	"prenas/internal/data/inspect"
	"prenas/internal/data/pack"
	"prenas/internal/rng"
)

// idx makes an IDX file of unsigned bytes.
func idx(values []byte, sizes ...int) []byte {
	text := []byte{0, 0, 8, byte(len(sizes))}
	for _, s := range sizes {
		text = binary.BigEndian.AppendUint32(text, uint32(s))
	}
	return append(text, values...)
}

// idxFolder writes a data set of n training and 4 test images of 6x5 pixels.
func idxFolder(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	r := rng.New(1, "pixels")
	pixels := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(r.IntN(256))
		}
		return p
	}
	labels := func(n int) []byte {
		l := make([]byte, n)
		for i := range l {
			l[i] = byte(i % 3)
		}
		return l
	}
	for i, text := range [][]byte{idx(pixels(30*n), n, 6, 5), idx(labels(n), n), idx(pixels(120), 4, 6, 5), idx(labels(4), 4)} {
		if err := os.WriteFile(filepath.Join(dir, idxFiles[i]), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func open(t *testing.T, src string) *data.Dataset {
	t.Helper()
	d, err := Open(context.Background(), src, Options{Seed: 1, HeldOut: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestHeldOutIsCutFromTrain(t *testing.T) {
	d := open(t, "idx:"+idxFolder(t, 20))
	if d.Train.Len() != 16 || d.HeldOut.Len() != 4 || d.Test.Len() != 4 || len(d.Classes) != 3 {
		t.Fatalf("%d train, %d held out, %d test, %d classes", d.Train.Len(), d.HeldOut.Len(), d.Test.Len(), len(d.Classes))
	}
	in := map[string]bool{}
	for i := range 20 {
		img, err := d.All().Image(i)
		if err != nil {
			t.Fatal(err)
		}
		if in[string(img.Pixels)] {
			t.Errorf("image %d is in both", i)
		}
		in[string(img.Pixels)] = true
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"train/b/deep/1.png", "train/a/2.PNG", "train/a/notes.txt", "test/a/3.png"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		img := image.NewRGBA(image.Rect(0, 0, 7, 5))
		img.Set(2, 1, color.RGBA{10, 20, uint8(30 + i), 255})
		var text bytes.Buffer
		if err := png.Encode(&text, img); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".txt") {
			text.Reset()
		}
		if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(context.Background(), "folder:"+dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.Classes, []string{"a", "b"}) || d.Train.Len() != 2 || d.Test.Len() != 1 {
		t.Fatalf("classes %v, %d train, %d test", d.Classes, d.Train.Len(), d.Test.Len())
	}
	img, err := d.Train.Image(0)
	if err != nil || img.Height != 5 || img.Width != 7 || !slices.Equal(img.Pixels[(7+2)*3:][:3], []uint8{10, 20, 31}) {
		t.Errorf("image %dx%d (%v)", img.Width, img.Height, err)
	}
}

// A source's own validation split is what choosing is done on, if there is a test split
// beside it; else it is what is reported on.
func TestFolderWithThreeSplits(t *testing.T) {
	src := soundFolder(t, 5)
	for range 2 {
		d := open(t, src)
		if d.Train.Len() != 5 || d.HeldOut.Len() != 5 || d.Test.Len() != 5 {
			t.Errorf("%d train, %d held out, %d test", d.Train.Len(), d.HeldOut.Len(), d.Test.Len())
		}
		info, err := inspect.Describe(context.Background(), src, d, 100, nil)
		if err != nil || info.HeldOut != 5 || info.Classes[0].HeldOut != 3 || info.Sizes.Images != 15 {
			t.Errorf("info %+v (%v)", info, err)
		}
		packed := t.TempDir()
		if err := packOf(t, context.Background(), src, packed, pack.Options{}); err != nil {
			t.Fatal(err)
		}
		src = "pack:" + packed
	}
	src = soundFolder(t, 5)
	if err := os.RemoveAll(filepath.Join(strings.TrimPrefix(src, "folder:"), "test")); err != nil {
		t.Fatal(err)
	}
	if d := open(t, src); d.Train.Len() != 4 || d.HeldOut.Len() != 1 || d.Test.Len() != 5 {
		t.Errorf("%d train, %d held out, %d test", d.Train.Len(), d.HeldOut.Len(), d.Test.Len())
	}
}

func TestSynthetic(t *testing.T) {
	d := open(t, "synthetic:3x20x7")
	if d.Train.Len() != 16 || d.HeldOut.Len() != 4 || d.Test.Len() != 3 || len(d.Classes) != 3 {
		t.Fatalf("%d train, %d held out, %d test, classes %v", d.Train.Len(), d.HeldOut.Len(), d.Test.Len(), d.Classes)
	}
	seen := map[string]bool{}
	for _, split := range []data.Split{d.Train, d.HeldOut, d.Test} {
		for i := range split.Len() {
			a, err1 := split.Image(i)
			b, err2 := split.Image(i)
			if err1 != nil || err2 != nil || a.Height != 7 || a.Width != 7 || len(a.Pixels) != 147 || !slices.Equal(a.Pixels, b.Pixels) {
				t.Errorf("image %d is %dx%d (%v, %v)", i, a.Width, a.Height, err1, err2)
			}
			seen[string(a.Pixels)] = true
		}
	}
	if len(seen) != 23 {
		t.Errorf("%d images differ, want 23", len(seen))
	}
}

func TestBadSources(t *testing.T) {
	broken := idxFolder(t, 5)
	if err := os.WriteFile(filepath.Join(broken, idxFiles[0]), []byte("no idx"), 0o644); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	for src, want := range map[string]error{
		"nonsense:x":             data.ErrSource,
		"idx":                    data.ErrSource,
		"fashion-mnist:x":        data.ErrSource,
		"synthetic:3x2x8":        data.ErrSource,
		"synthetic:2x4":          data.ErrSource,
		"synthetic:2x4x8x1":      data.ErrSource,
		"synthetic:2x4x99999":    data.ErrSource,
		"idx:" + empty:           os.ErrNotExist,
		"idx:" + broken:          data.ErrFormat,
		"folder:" + empty:        data.ErrEmpty,
		"folder:" + empty + "/x": os.ErrNotExist,
		"cifar10:" + empty:       os.ErrNotExist,
	} {
		if _, err := Open(context.Background(), src, Options{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", src, err, want)
		}
	}
}

func FuzzIDX(f *testing.F) {
	f.Add(idx([]byte{1, 2, 3, 4}, 1, 2, 2))
	f.Add(idx(nil, 1<<31, 1<<31, 1<<31))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseIDXImages(text)
		if err == nil && len(m.pixels)%(m.height*m.width) != 0 {
			t.Errorf("%d pixels of %dx%d", len(m.pixels), m.height, m.width)
		}
	})
}

func TestClassesWithoutTrainingImagesAreTold(t *testing.T) {
	image := datatest.PNG(t, 4, 4, 1)
	for want, files := range map[string]map[string][]byte{
		"":                                 {"train/a/1.png": image, "train/b/1.png": image},
		"class b has no training image":    {"train/a/1.png": image, "train/b/none.txt": nil},
		"2 of 3 classes have no training":  {"train/a/none.txt": nil, "train/b/1.png": image, "train/c/none.txt": nil},
		"all images are of one class, cat": {"train/cat/1.png": image, "test/cat/1.png": image},
	} {
		dir, told := t.TempDir(), ""
		datatest.Write(t, dir, files)
		if _, err := Open(context.Background(), "folder:"+dir, Options{Log: func(line string) { told += line }}); err != nil {
			t.Fatal(err)
		}
		if (told == "") != (want == "") || !strings.Contains(told, want) {
			t.Errorf("%q is said, want %q", told, want)
		}
	}
}
