package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"

	"prenas/internal/data"
)

// picture is a JPEG file.
type picture struct {
	name  string
	text  []byte
	label int
}

const shardSize = 10000 // images

// encode makes image i of a split the JPEG file number k.
func encode(split data.Split, i, k int) (picture, error) {
	img, err := split.Image(i)
	if err != nil {
		return picture{}, err
	}
	grey := &image.Gray{Pix: img.Pixels, Stride: img.Width, Rect: image.Rect(0, 0, img.Width, img.Height)}
	var text bytes.Buffer
	err = jpeg.Encode(&text, grey, &jpeg.Options{Quality: 95})
	return picture{fmt.Sprintf("%05d", k), text.Bytes(), split.Label(i)}, err
}

func writeFolder(dir, split string, images []picture) error {
	for _, one := range images {
		class := filepath.Join(dir, "folder", split, fmt.Sprint(one.label))
		if err := os.MkdirAll(class, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(class, one.name+".jpg"), one.text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeTars writes every second shard compressed.
func writeTars(dir, split string, images []picture) error {
	return writeShards(filepath.Join(dir, "tar"), split, []string{".tar", ".tar.gz"}, images, func(to io.Writer, path string, images []picture) (err error) {
		if strings.HasSuffix(path, ".gz") {
			z := gzip.NewWriter(to)
			defer func() { err = errors.Join(err, z.Close()) }()
			to = z
		}
		w := tar.NewWriter(to)
		for _, one := range images {
			for _, member := range []struct {
				ending string
				text   []byte
			}{{".jpg", one.text}, {".cls", fmt.Append(nil, one.label)}} {
				if err := w.WriteHeader(&tar.Header{Name: one.name + member.ending, Mode: 0o644, Size: int64(len(member.text))}); err != nil {
					return err
				}
				if _, err := w.Write(member.text); err != nil {
					return err
				}
			}
		}
		return w.Close()
	})
}

type row struct {
	Image struct {
		Bytes []byte `parquet:"bytes"`
		Path  string `parquet:"path"`
	} `parquet:"image"`
	Label int64 `parquet:"label"`
}

func writeParquet(dir, split string, images []picture) error {
	return writeShards(filepath.Join(dir, "parquet"), split, []string{".parquet"}, images, func(to io.Writer, _ string, images []picture) error {
		w := parquet.NewGenericWriter[row](to, parquet.MaxRowsPerRowGroup(1000), parquet.Compression(&parquet.Snappy))
		for _, one := range images {
			r := row{Label: int64(one.label)}
			r.Image.Bytes, r.Image.Path = one.text, one.name+".jpg"
			if _, err := w.Write([]row{r}); err != nil {
				return err
			}
		}
		return w.Close()
	})
}

// writeShards writes images into files of shardSize, with the endings in turn.
func writeShards(dir, split string, endings []string, images []picture, write func(to io.Writer, path string, images []picture) error) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for k := 0; k*shardSize < len(images); k++ {
		path := filepath.Join(dir, fmt.Sprintf("%s-%03d%s", split, k, endings[k%len(endings)]))
		file, err := os.Create(path)
		if err != nil {
			return err
		}
		err = write(file, path, images[k*shardSize:min((k+1)*shardSize, len(images))])
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return nil
}
