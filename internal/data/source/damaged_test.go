package source

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
	"prenas/internal/data/load"
)

// pngHeader claims a size and has nothing else.
func pngHeader(height, width uint32) []byte {
	chunk := []byte("IHDR")
	chunk = binary.BigEndian.AppendUint32(chunk, width)
	chunk = binary.BigEndian.AppendUint32(chunk, height)
	chunk = append(chunk, 8, 2, 0, 0, 0)
	text := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\r"), chunk...)
	return binary.BigEndian.AppendUint32(text, crc32.ChecksumIEEE(chunk))
}

// damagedFolder has sound images in two classes and one of each kind of damage, and
// returns the names of the damaged.
func damagedFolder(t *testing.T, sound int) (dir string, damaged []string) {
	t.Helper()
	dir = t.TempDir()
	for _, class := range []string{"a", "b"} {
		if err := os.MkdirAll(filepath.Join(dir, class, "deep", "deeper"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for i := range sound {
		name := filepath.Join([]string{"a", "b", filepath.Join("b", "deep", "deeper")}[i%3], string(rune('0'+i%10))+strings.Repeat("x", i/10)+".png")
		write(name, datatest.PNG(t, 6, 6, byte(i)))
	}
	whole := datatest.PNG(t, 40, 40, 3)
	for name, text := range map[string][]byte{
		"a/truncated.png":        whole[:len(whole)-20],
		"a/empty.jpg":            {},
		"b/text.png":             []byte("<html>404</html>"),
		"b/deep/huge.png":        pngHeader(1<<31-1, 1<<31-1),
		"b/bomb.png":             append(pngHeader(1<<15, 1<<15), bytes.Repeat([]byte{0}, 4000)...),
		"a/jpeg of nothing.jpeg": {0xff, 0xd8, 0xff, 0xd9},
		"a/flipped.png":          slices.Concat(whole[:60], []byte{^whole[60]}, whole[61:]),
	} {
		damaged = append(damaged, write(name, text))
	}
	for name, to := range map[string]string{"a/loop.png": "loop.png", "a/up": "..", "b/gone.png": "nowhere.png"} {
		path := filepath.Join(dir, name)
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		damaged = append(damaged, path)
	}
	slices.Sort(damaged)
	return dir, damaged
}

func skippedNames(s *data.Skipped) []string {
	var names []string
	for _, image := range s.List() {
		names = append(names, image.Image)
	}
	return names
}

// One in a hundred images is damaged, in as many ways: all are named, none is used, and
// the batches are the same for any number of workers.
func TestDamagedImagesAreLeftOutAndNamed(t *testing.T) {
	dir, damaged := damagedFolder(t, 990)
	d, err := Open(context.Background(), "folder:"+dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Train.Len() != 1000 {
		t.Fatalf("%d images are listed, there are 1000", d.Train.Len())
	}
	mean, std := data.Statistics(3)
	for _, train := range []bool{true, false} {
		var first [][]float32
		for _, workers := range []int{1, 8} {
			var skipped data.Skipped
			l, err := load.New(d.Train, load.Options{Batch: 50, Channels: 3, Size: 6, Mean: mean, Std: std, Workers: workers, Train: train, Skip: &skipped})
			if err != nil {
				t.Fatal(err)
			}
			var got [][]float32
			left := 0
			for b, err := range l.Stream(context.Background(), 0, 0) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, b.Images)
				for _, label := range b.Labels {
					if label == load.NoLabel {
						left++
					}
				}
			}
			if names := skippedNames(&skipped); !slices.Equal(names, damaged) {
				t.Errorf("left out\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(damaged, "\n"))
			}
			if want := len(damaged); train && left != 0 || !train && left != want {
				t.Errorf("train %v: %d places are without an image", train, left)
			}
			if first == nil {
				first = got
			}
			if len(got) != l.Steps() {
				t.Fatalf("%d batches, want %d", len(got), l.Steps())
			}
			for i := range got {
				if !slices.Equal(got[i], first[i]) {
					t.Fatalf("train %v, batch %d: %d workers give other images", train, i, workers)
				}
			}
		}
	}
}

func TestDamagedImageFails(t *testing.T) {
	dir, damaged := damagedFolder(t, 9)
	d := open(t, "folder:"+dir)
	for i := range d.Train.Len() {
		_, err := d.Train.Image(i)
		var bad *data.DamagedImage
		if errors.As(err, &bad) && !slices.Contains(damaged, bad.Name) || err != nil && bad == nil {
			t.Errorf("image %d: %v", i, err)
		}
	}
	l, err := load.New(d.Train, load.Options{Batch: d.Train.Len(), Channels: 1, Size: 6, Mean: []float32{0}, Std: []float32{1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Batch(0, 0); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("without a list the error is %v; it must name the file", err)
	}
}

func TestNoSoundImageAtAll(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1.png", "2.png"} {
		if err := os.WriteFile(filepath.Join(dir, "a", name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var skipped data.Skipped
	d, err := Open(context.Background(), "folder:"+dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := load.New(d.Train, load.Options{Batch: 1, Channels: 1, Size: 6, Mean: []float32{0}, Std: []float32{1}, Train: true, Skip: &skipped})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Batch(0, 0); !errors.Is(err, data.ErrEmpty) {
		t.Errorf("error %v, want one that says that all are damaged", err)
	}
}
