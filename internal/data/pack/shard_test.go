package pack

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"prenas/internal/data"
	"prenas/internal/fsys"
)

// squares is a split of grey images of a size.
type squares struct{ count, side int }

func (s squares) Len() int        { return s.count }
func (s squares) Label(i int) int { return i % 2 }
func (s squares) Image(i int) (data.Image, error) {
	img := data.Image{Pixels: make([]uint8, s.side*s.side), Height: s.side, Width: s.side, Channels: 1}
	for k := range img.Pixels {
		img.Pixels[k] = uint8(i + 7*k)
	}
	return img, nil
}

func setOf(s data.Split) *data.Dataset {
	return &data.Dataset{Train: s, HeldOut: s, Test: s, Classes: []string{"a", "b"}, Digest: "squares", Channels: 1, Mean: []float32{0.5}, Std: []float32{0.5}}
}

// No bit of a shard can change, and no part of it be missing, unseen.
func TestDamagedShards(t *testing.T) {
	dir := t.TempDir()
	if _, err := Write(context.Background(), setOf(squares{2, 5}), dir, Options{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "train-00000.pack")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	notice := func(text []byte) bool {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		d, err := Open(dir)
		if err != nil {
			return errors.Is(err, data.ErrFormat)
		}
		noticed := false
		for _, split := range []data.Split{d.Train, d.HeldOut, d.Test} {
			for i := range split.Len() {
				_, err := split.Image(i)
				noticed = noticed || errors.Is(err, data.ErrFormat)
			}
			for _, s := range split.(*packed).shards {
				if err := s.close(); err != nil {
					t.Fatal(err)
				}
			}
		}
		return noticed
	}
	if notice(whole) {
		t.Fatal("a whole shard is refused")
	}
	for n := range len(whole) {
		if !notice(whole[:n]) {
			t.Errorf("a shard cut to %d of %d bytes is not noticed", n, len(whole))
		}
		text := slices.Clone(whole)
		text[n] ^= 1 << (n % 8)
		if !notice(text) {
			t.Errorf("a flipped bit in byte %d is not noticed", n)
		}
	}
}

func FuzzShard(f *testing.F) {
	f.Add([]byte(packMagic))
	f.Add([]byte("\x01{}\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + packMagic))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "f.pack")
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := openShard(path)
		if err != nil {
			return
		}
		for i := range s.Labels {
			_, _ = s.image(i)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Images that wait to be written take a part of the memory, however large they are; the bytes are
// the same.
func TestPackingLargeImages(t *testing.T) {
	var sums []string
	for _, memory := range []int64{1 << 30, 4 * 12 * 12} { // an image's share is then less than it takes
		dir := filepath.Join(t.TempDir(), "packed")
		if _, err := Write(context.Background(), setOf(squares{10, 12}), dir, Options{Workers: 4, memory: memory}); err != nil {
			t.Fatal(err)
		}
		sum, err := fsys.Sum(filepath.Join(dir, "train-00000.pack"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, sum)
	}
	if sums[0] != sums[1] {
		t.Error("the bytes differ")
	}
}
