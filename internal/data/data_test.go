package data

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

	"prenas/internal/augment"
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

func open(t *testing.T, src string) *Dataset {
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
	held := d.HeldOut.(subset).index
	for _, i := range d.Train.(subset).index {
		if slices.Contains(held, i) {
			t.Errorf("image %d is in both", i)
		}
	}
}

func trainLoader(t *testing.T, d *Dataset, workers int) *Loader {
	t.Helper()
	l, err := NewLoader(d.Train, LoaderOptions{Batch: 5, Channels: 3, Size: 4, Mean: []float32{.1, .2, .3}, Std: []float32{1, 2, 3},
		Seed: 9, Workers: workers, Train: true, Augment: augment.Options{Crop: "pad", Pad: 2, Flip: 0.5, Policy: "rand-m9-mstd0.5", Erase: augment.Erase{Prob: 0.5, Mode: "pixel"}}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Any number of workers, and any place to start, give the same batches as
// making each one alone.
func TestBatchesArePure(t *testing.T) {
	d := open(t, "idx:"+idxFolder(t, 20))
	alone := trainLoader(t, d, 1)
	for _, workers := range []int{1, 2, 8} {
		for start := range 6 {
			epoch, step := start/3, start%3
			for got, err := range trainLoader(t, d, workers).Stream(context.Background(), epoch, step) {
				if err != nil {
					t.Fatal(err)
				}
				want, err := alone.Batch(epoch, step)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got.Images, want.Images) || !slices.Equal(got.Labels, want.Labels) {
					t.Fatalf("%d workers, start %d: batch %d of epoch %d differs", workers, start, step, epoch)
				}
				step++
			}
			if step != alone.Steps() {
				t.Fatalf("%d workers, start %d: the stream ends before batch %d of %d", workers, start, step, alone.Steps())
			}
		}
	}
}

func TestEpochIsAPermutation(t *testing.T) {
	l := trainLoader(t, open(t, "idx:"+idxFolder(t, 20)), 1)
	a, b := l.order(0), l.order(1)
	if slices.Equal(a, b) {
		t.Error("two epochs have the same order")
	}
	slices.Sort(a)
	for i, v := range a {
		if i != v {
			t.Fatalf("order is no permutation: %v", a)
		}
	}
}

// With repeated augmentation an epoch has its length still: a third of the images, each
// three times in a row, augmented anew each time.
func TestRepeatedAugmentation(t *testing.T) {
	d := open(t, "idx:"+idxFolder(t, 25))
	o := LoaderOptions{Batch: 5, Channels: 1, Size: 4, Mean: []float32{0}, Std: []float32{1}, Seed: 9, Train: true, Repeat: 3,
		Augment: augment.Options{Crop: "resized", Scale: [2]float64{0.1, 1}, Ratio: [2]float64{0.5, 2}}}
	l, err := NewLoader(d.Train, o)
	if err != nil {
		t.Fatal(err)
	}
	order, other := l.order(0), l.order(1)
	if l.Steps() != 4 || len(order) != 20 || slices.Equal(order, other) {
		t.Fatalf("%d steps, orders %v and %v", l.Steps(), order, other)
	}
	for place, i := range order {
		if i != order[place/3*3] || place >= 3 && slices.Contains(order[:place/3*3], i) {
			t.Fatalf("order %v does not have each image thrice in a row", order)
		}
	}
	first, err := l.Batch(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	o.Repeat = 1
	if l, err = NewLoader(d.Train, o); err != nil {
		t.Fatal(err)
	}
	once := make([]float32, 16)
	if err := l.trained(0, order[0], 0, once); err != nil {
		t.Fatal(err)
	}
	views := [][]float32{first.Images[:16], first.Images[16:32], first.Images[32:48]}
	if !slices.Equal(views[0], once) {
		t.Error("the first view is not that of an image seen once")
	}
	if slices.Equal(views[0], views[1]) || slices.Equal(views[1], views[2]) || slices.Equal(views[0], views[2]) {
		t.Error("two views of an image are the same")
	}
}

func TestEvaluationPadsTheLastBatch(t *testing.T) {
	d := open(t, "idx:"+idxFolder(t, 20))
	l, err := NewLoader(d.Test, LoaderOptions{Batch: 3, Channels: 1, Size: 5, Mean: []float32{0}, Std: []float32{1}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Batch(0, 1)
	if err != nil || l.Steps() != 2 || b.Count != 1 || len(b.Labels) != 3 {
		t.Fatalf("%d steps, last batch of %d (%v)", l.Steps(), b.Count, err)
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
		info, err := Describe(context.Background(), src, d, 100, nil)
		if err != nil || info.HeldOut != 5 || info.Classes[0].HeldOut != 3 || info.Sizes.Images != 15 {
			t.Errorf("info %+v (%v)", info, err)
		}
		packed := t.TempDir()
		if err := pack(t, context.Background(), src, packed, PackOptions{}); err != nil {
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
	for _, split := range []Split{d.Train, d.HeldOut, d.Test} {
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
		"nonsense:x":             ErrSource,
		"idx":                    ErrSource,
		"fashion-mnist:x":        ErrSource,
		"synthetic:3x2x8":        ErrSource,
		"synthetic:2x4":          ErrSource,
		"synthetic:2x4x8x1":      ErrSource,
		"synthetic:2x4x99999":    ErrSource,
		"idx:" + empty:           os.ErrNotExist,
		"idx:" + broken:          ErrFormat,
		"folder:" + empty:        ErrEmpty,
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
	image := pngOf(t, 4, 4, 1)
	for want, files := range map[string]map[string][]byte{
		"":                                 {"train/a/1.png": image, "train/b/1.png": image},
		"class b has no training image":    {"train/a/1.png": image, "train/b/none.txt": nil},
		"2 of 3 classes have no training":  {"train/a/none.txt": nil, "train/b/1.png": image, "train/c/none.txt": nil},
		"all images are of one class, cat": {"train/cat/1.png": image, "test/cat/1.png": image},
	} {
		dir, told := t.TempDir(), ""
		writeFiles(t, dir, files)
		if _, err := Open(context.Background(), "folder:"+dir, Options{Log: func(line string) { told += line }}); err != nil {
			t.Fatal(err)
		}
		if (told == "") != (want == "") || !strings.Contains(told, want) {
			t.Errorf("%q is said, want %q", told, want)
		}
	}
}
