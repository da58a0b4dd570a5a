package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"

	"prenas/internal/data"
	"prenas/internal/data/disk"
	"prenas/internal/printable"
)

// CIFAR (Krizhevsky, 2009), binary version: records of one label byte (CIFAR-100:
// coarse, then fine) and 32x32 pixels, plane by plane.
const cifarSide = 32

func openCIFAR10(_ context.Context, dir string, _ Options) (*data.Dataset, error) {
	train := []string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"}
	return openCIFAR(dir, 1, train, "test_batch.bin", "batches.meta.txt")
}

func openCIFAR100(_ context.Context, dir string, _ Options) (*data.Dataset, error) {
	return openCIFAR(dir, 2, []string{"train.bin"}, "test.bin", "fine_label_names.txt")
}

// maxCIFAR is the most bytes of a file; the largest published one has 153 MB.
const maxCIFAR = 1 << 28

func openCIFAR(dir string, labelBytes int, train []string, test, names string) (*data.Dataset, error) {
	digest := sha256.New()
	read := func(files ...string) (inMemory, error) {
		m := inMemory{height: cifarSide, width: cifarSide, channels: 3}
		for _, name := range files {
			path := filepath.Join(dir, name)
			text, err := disk.ReadAtMost(path, maxCIFAR)
			if err != nil {
				return m, fmt.Errorf("cifar source: %w", err)
			}
			digest.Write(text)
			if err := parseCIFAR(text, labelBytes, &m); err != nil {
				return m, fmt.Errorf("%s: %w", path, err)
			}
		}
		return m, nil
	}
	d := &data.Dataset{Channels: 3}
	var err error
	if d.Train, err = read(train...); err != nil {
		return nil, err
	}
	if d.Test, err = read(test); err != nil {
		return nil, err
	}
	if d.Classes, err = disk.Lines(filepath.Join(dir, names)); err != nil {
		return nil, fmt.Errorf("cifar source: %w", err)
	}
	for _, split := range []data.Split{d.Train, d.Test} {
		for i := range split.Len() {
			if split.Label(i) >= len(d.Classes) {
				return nil, fmt.Errorf("%s: %w: label %d of %s", dir, data.ErrFormat, split.Label(i), printable.Count(len(d.Classes), "class"))
			}
		}
	}
	d.Digest = hex.EncodeToString(digest.Sum(nil))
	return d, nil
}

// parseCIFAR appends a file's records to m, turning planes into [H, W, C].
func parseCIFAR(text []byte, labelBytes int, m *inMemory) error {
	const plane = cifarSide * cifarSide
	record := labelBytes + 3*plane
	if len(text) == 0 || len(text)%record != 0 {
		return fmt.Errorf("%w: %d bytes are not whole records of %d", data.ErrFormat, len(text), record)
	}
	for ; len(text) > 0; text = text[record:] {
		m.labels = append(m.labels, text[labelBytes-1])
		for i := range plane {
			for c := range 3 {
				m.pixels = append(m.pixels, text[labelBytes+c*plane+i])
			}
		}
	}
	return nil
}
