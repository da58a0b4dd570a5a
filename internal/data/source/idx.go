package source

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"prenas/internal/data"
	"prenas/internal/data/disk"
	"prenas/internal/fsys"
	"prenas/internal/printable"
)

// maxIDX bounds an unpacked IDX file; Fashion-MNIST's largest has 47 MB.
const maxIDX = 4 << 30

var idxFiles = [4]string{"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"}

// openIDX opens a folder of the MNIST family: four files, packed or not.
func openIDX(_ context.Context, dir string, _ Options) (*data.Dataset, error) {
	var texts [4][]byte
	digest := sha256.New()
	for i, name := range idxFiles {
		text, err := readIDXFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		texts[i] = text
		digest.Write(text)
	}
	d := &data.Dataset{Digest: hex.EncodeToString(digest.Sum(nil)), Channels: 1}
	classes := 0
	for i, into := range []*data.Split{&d.Train, &d.Test} {
		images, err := parseIDXImages(texts[2*i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, idxFiles[2*i]), err)
		}
		if images.labels, err = parseIDXLabels(texts[2*i+1]); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, idxFiles[2*i+1]), err)
		}
		if n := len(images.pixels) / (images.height * images.width); n != len(images.labels) {
			return nil, fmt.Errorf("%s: %w: %s but %d labels", dir, data.ErrFormat, printable.Count(n, "image"), len(images.labels))
		}
		for _, l := range images.labels {
			classes = max(classes, int(l)+1)
		}
		*into = images
	}
	for i := range classes {
		d.Classes = append(d.Classes, strconv.Itoa(i))
	}
	return d, nil
}

// readIDXFile reads path or path.gz.
func readIDXFile(path string) ([]byte, error) {
	text, err := disk.ReadAtMost(path, maxIDX)
	if !errors.Is(err, os.ErrNotExist) {
		return text, err
	}
	packed, err := fsys.OpenRegular(path + ".gz")
	if err != nil {
		return nil, fmt.Errorf("idx source: %w (nor without .gz)", err)
	}
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	if err != nil {
		return nil, fmt.Errorf("%s.gz: %w: %v", path, data.ErrFormat, err)
	}
	text, err = io.ReadAll(io.LimitReader(z, maxIDX))
	if err != nil {
		return nil, fmt.Errorf("%s.gz: %w: %v", path, data.ErrFormat, err)
	}
	return text, nil
}

// parseIDXImages reads an IDX file of unsigned bytes [N, H, W]: big-endian
// magic 0x00000803 and three sizes, then the pixels. The result shares memory.
func parseIDXImages(text []byte) (inMemory, error) {
	sizes, pixels, err := parseIDX(text, 3)
	if err != nil {
		return inMemory{}, err
	}
	return inMemory{pixels: pixels, height: sizes[1], width: sizes[2], channels: 1}, nil
}

// parseIDXLabels reads an IDX file of unsigned bytes [N].
func parseIDXLabels(text []byte) ([]uint8, error) {
	_, labels, err := parseIDX(text, 1)
	return labels, err
}

func parseIDX(text []byte, rank int) (sizes []int, values []byte, err error) {
	const unsignedBytes = 0x08
	header := 4 + 4*rank
	if len(text) < header || !bytes.Equal(text[:4], []byte{0, 0, unsignedBytes, byte(rank)}) {
		return nil, nil, fmt.Errorf("%w: it is not an IDX file of unsigned bytes with %d axes", data.ErrFormat, rank)
	}
	total := uint64(1)
	for i := range rank {
		size := uint64(binary.BigEndian.Uint32(text[4+4*i:]))
		if size == 0 || size > maxIDX/total {
			return nil, nil, fmt.Errorf("%w: axis %d has size %d", data.ErrFormat, i, size)
		}
		total *= size
		sizes = append(sizes, int(size))
	}
	if values = text[header:]; uint64(len(values)) != total {
		return nil, nil, fmt.Errorf("%w: %d values for sizes %v", data.ErrFormat, len(values), sizes)
	}
	return sizes, values, nil
}
