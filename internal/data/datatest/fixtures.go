package datatest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// PNG is a grey PNG whose first pixel is seed.
func PNG(t testing.TB, height, width int, seed byte) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = seed + byte(i*7)
	}
	img.SetGray(0, 0, color.Gray{Y: seed})
	var text bytes.Buffer
	if err := png.Encode(&text, img); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// Write writes files of slashed names below a folder.
func Write(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Tar packs members, a name and a text each.
func Tar(t testing.TB, members ...string) []byte {
	t.Helper()
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	for i := 0; i < len(members); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: members[i], Mode: 0o644, Size: int64(len(members[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(members[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

// Samples are members of samples first to first+n-1, of class number modulo 3.
func Samples(t testing.TB, first, n int) []string {
	var members []string
	for i := first; i < first+n; i++ {
		name := fmt.Sprintf("%05d", i)
		label := []string{".cls", fmt.Sprint(i % 3)}
		if i%2 == 1 {
			label = []string{".json", fmt.Sprintf(`{"label": %d, "caption": "x"}`, i%3)}
		}
		members = append(members, name+".png", string(PNG(t, 5, 5+i%4, byte(i))), name+label[0], label[1])
	}
	return members
}

// Zip is a text in gzip.
func Zip(t testing.TB, text []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Picture and hfRow are a row of a Parquet file.
type Picture struct {
	Bytes []byte `parquet:"bytes,optional"`
	Path  string `parquet:"path,optional"`
}

// Row has an image and its label.
type Row struct {
	Image *Picture `parquet:"image,optional"`
	Label *int64   `parquet:"label,optional"`
}

// Features declares the columns, one of them twice.
const Features = `{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["red", "green", "blue"], "_type": "ClassLabel"},
	"boxes": [{"_type": "Value"}], "gone": {"_type": "Image"}}}}`

// Parquet writes rows with a Go library, in groups of 3.
func Parquet[T any](tb testing.TB, metadata string, rows ...T) []byte {
	tb.Helper()
	var text bytes.Buffer
	w := parquet.NewGenericWriter[T](&text, parquet.MaxRowsPerRowGroup(3), parquet.Compression(&parquet.Snappy))
	if metadata != "" {
		w.SetKeyValueMetadata("huggingface", metadata)
	}
	if _, err := w.Write(rows); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return text.Bytes()
}

// Rows are rows first to first+n-1, of class number modulo 3.
func Rows(t testing.TB, first, n int) []Row {
	var rows []Row
	for i := first; i < first+n; i++ {
		label := int64(i % 3)
		rows = append(rows, Row{&Picture{PNG(t, 5, 5+i%4, byte(i)), fmt.Sprint(i, ".png")}, &label})
	}
	return rows
}
