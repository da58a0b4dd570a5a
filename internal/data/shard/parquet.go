package shard

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"

	"prenas/internal/data"
	"prenas/internal/data/codec"
	"prenas/internal/data/fetch"
)

// Parquet in Hugging Face's image layout: a row is an image and its label.
//
//	image  struct of bytes, an image file, and path; or bytes themselves
//	label  integer from 0 on, or the name of a class
//
// The columns and the names of the classes are those that the file's metadata
// declares under "huggingface", else columns of usual names. A row cannot be read
// without those beside it, so a file is laid into the cache folder, as a plain
// tar, once.
var parquetEndings = []string{".parquet"}

// OpenParquet opens Parquet files.
func OpenParquet(ctx context.Context, pattern string, w fetch.Watch) (*data.Dataset, error) {
	return openAsTars(ctx, pattern, parquetEndings, w, func(string) bool { return true }, parquetToTar)
}

// parquetToTar copies the rows of a Parquet file.
func parquetToTar(ctx context.Context, _ string, from io.Reader, to io.Writer) (err error) {
	file, ok := from.(*os.File)
	if !ok { // its index is at its end
		if file, err = os.CreateTemp("", "prenas-*.parquet"); err != nil {
			return err
		}
		name := file.Name()
		named := os.Remove(name) // it is read without its name, so that a kill leaves nothing
		defer func() {
			err = errors.Join(err, file.Close())
			if named != nil { // this system keeps the names of open files
				err = errors.Join(err, os.Remove(name))
			}
		}()
		if _, err := io.Copy(file, from); err != nil {
			return fmt.Errorf("%w: %w", data.ErrFetch, err)
		}
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return rowsToTar(ctx, file, info.Size(), to)
}

func rowsToTar(ctx context.Context, from io.ReaderAt, size int64, to io.Writer) (err error) {
	defer func() { // the library may panic on a hostile file
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", data.ErrFormat, p)
		}
	}()
	if err := checkFooter(from, size); err != nil {
		return fmt.Errorf("%w: %w", data.ErrFormat, err)
	}
	file, err := parquet.OpenFile(from, size, parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
	if err != nil {
		return fmt.Errorf("%w: %w", data.ErrFormat, err)
	}
	layout, err := layoutOf(file)
	if err != nil {
		return err
	}
	for _, column := range []*parquet.Column{layout.image, layout.label} {
		if err := checkPages(from, size, file, column); err != nil {
			return err
		}
	}
	images, labels := &columnReader{pages: layout.image.Pages()}, &columnReader{pages: layout.label.Pages()}
	defer images.close()
	defer labels.close()
	w := tar.NewWriter(to)
	if len(layout.classes) > 0 {
		if err := writeMember(w, classesMember, []byte(strings.Join(layout.classes, "\n")+"\n")); err != nil {
			return err
		}
	}
	for row := range file.NumRows() {
		if err := ctx.Err(); err != nil {
			return err
		}
		image, err := images.next()
		if err != nil {
			return fmt.Errorf("%w: row %d of column %s: %w", data.ErrFormat, row, layout.image.Name(), err)
		}
		label, err := labels.next()
		if err != nil {
			return fmt.Errorf("%w: row %d of column %s: %w", data.ErrFormat, row, layout.label.Name(), err)
		}
		said, err := labelOf(label)
		if err != nil {
			return fmt.Errorf("%w: row %d: %w; leave files without labels out by a pattern, as parquet:DIR/{train,validation}-*.parquet", data.ErrFormat, row, err)
		}
		// An image that is missing is a damaged one: an empty file.
		text := image.ByteArray()
		name := fmt.Sprintf("row%08d", row)
		if err := writeMember(w, name+endingOf(text), text); err != nil {
			return err
		}
		if err := writeMember(w, name+".cls", []byte(said)); err != nil {
			return err
		}
	}
	return w.Close()
}

// labelOf is the label of a row as it stands in a .cls: a number, or the name of a class.
func labelOf(v parquet.Value) (string, error) {
	said := v.String()
	if v.IsNull() || v.Kind() != parquet.ByteArray && (v.Int64() < 0 || v.Int64() >= data.MaxClasses) {
		return "", fmt.Errorf("it has the label %s, not one from 0 to %d", said, data.MaxClasses-1)
	}
	if v.Kind() == parquet.ByteArray {
		said = string(v.ByteArray())
	}
	_, err := parseLabel(strings.TrimSpace(said))
	return said, err
}

func writeMember(w *tar.Writer, name string, text []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
		return err
	}
	_, err := w.Write(text)
	return err
}

// endingOf tells an image's format; what has none is named as most are.
func endingOf(text []byte) string {
	ending := "." + strings.TrimPrefix(http.DetectContentType(text), "image/")
	if slices.Contains(codec.Endings, ending) {
		return ending
	}
	return ".jpg"
}

// columnReader reads a column's values from first to last.
type columnReader struct {
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	one    [1]parquet.Value
}

func (c *columnReader) next() (parquet.Value, error) {
	for {
		if c.values == nil {
			page, err := c.pages.ReadPage()
			if err == io.EOF {
				return parquet.Value{}, io.ErrUnexpectedEOF
			}
			if err != nil {
				return parquet.Value{}, err
			}
			c.page, c.values = page, page.Values()
		}
		n, err := c.values.ReadValues(c.one[:])
		switch {
		case n == 1:
			return c.one[0], nil
		case err != nil && err != io.EOF:
			return parquet.Value{}, err
		}
		parquet.Release(c.page)
		c.page, c.values = nil, nil
	}
}

// close gives back what reading holds; nothing was written.
func (c *columnReader) close() {
	if c.page != nil {
		parquet.Release(c.page)
	}
	_ = c.pages.Close()
}
