package data

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"prenas/internal/pytools"
)

type hfImage struct {
	Bytes []byte `parquet:"bytes,optional"`
	Path  string `parquet:"path,optional"`
}

type hfRow struct {
	Image *hfImage `parquet:"image,optional"`
	Label *int64   `parquet:"label,optional"`
}

const hfMetadata = `{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["red", "green", "blue"], "_type": "ClassLabel"},
	"boxes": [{"_type": "Value"}], "gone": {"_type": "Image"}}}}`

// parquetOf writes rows with a Go library, in groups of 3.
func parquetOf[T any](tb testing.TB, metadata string, rows ...T) []byte {
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

// hfRows are rows first to first+n-1, of class number modulo 3.
func hfRows(t *testing.T, first, n int) []hfRow {
	var rows []hfRow
	for i := first; i < first+n; i++ {
		label := int64(i % 3)
		rows = append(rows, hfRow{&hfImage{pngOf(t, 5, 5+i%4, byte(i)), fmt.Sprint(i, ".png")}, &label})
	}
	return rows
}

// A dictionary holds a page once that thousands of rows name.
func TestParquetBomb(t *testing.T) {
	type row struct {
		Image struct {
			Bytes []byte `parquet:"bytes,dict"`
		} `parquet:"image"`
		Label int64 `parquet:"label"`
	}
	var text bytes.Buffer
	w := parquet.NewGenericWriter[row](&text, parquet.Compression(&parquet.Zstd))
	w.SetKeyValueMetadata("huggingface", hfMetadata)
	one := row{}
	one.Image.Bytes = append(pngOf(t, 5, 5, 1), make([]byte, 1<<16)...)
	for range unpackFree>>16 + 1000 {
		if _, err := w.Write([]row{one}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	refusesBomb(t, "parquet:", "bomb.parquet", text.Bytes())
}

// Pages, dictionaries and lists that are said to be larger than they are take no memory: the
// file is refused by what it says.
func TestParquetThatSaysTooMuch(t *testing.T) {
	header := func(page format.PageHeader) []byte {
		text, err := thrift.Marshal(new(thrift.CompactProtocol), &page)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	data := func(values int32) thrift.Null[format.DataPageHeader] {
		return thrift.Null[format.DataPageHeader]{V: format.DataPageHeader{NumValues: values}, Valid: true}
	}
	zeros := make([]byte, 1<<20)
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	if _, err := z.Write(zeros); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	zst, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := zst.EncodeAll(zeros, nil)
	const most = math.MaxInt32
	for name, c := range map[string]struct {
		page  format.PageHeader
		body  []byte
		codec format.CompressionCodec
		sound bool
	}{
		"sound":             {format.PageHeader{UncompressedPageSize: 5, CompressedPageSize: 5, DataPageHeader: data(1)}, []byte("12345"), format.Uncompressed, true},
		"sound gzip":        {format.PageHeader{UncompressedPageSize: 1 << 20, CompressedPageSize: int32(gz.Len()), DataPageHeader: data(1)}, gz.Bytes(), format.Gzip, true},
		"sound zstd":        {format.PageHeader{UncompressedPageSize: 1 << 20, CompressedPageSize: int32(len(packed)), DataPageHeader: data(1)}, packed, format.Zstd, true},
		"2 GB":              {format.PageHeader{UncompressedPageSize: most, CompressedPageSize: 5, DataPageHeader: data(1)}, []byte("12345"), format.Snappy, false},
		"2 GB dictionary":   {format.PageHeader{Type: format.DictionaryPage, UncompressedPageSize: most, CompressedPageSize: 5, DictionaryPageHeader: thrift.Null[format.DictionaryPageHeader]{Valid: true}}, []byte("12345"), format.Snappy, false},
		"2^31 values":       {format.PageHeader{UncompressedPageSize: 5, CompressedPageSize: 5, DataPageHeader: data(most)}, []byte("12345"), format.Uncompressed, false},
		"snappy of 4 GB":    {format.PageHeader{UncompressedPageSize: 100, CompressedPageSize: 6, DataPageHeader: data(1)}, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}, format.Snappy, false},
		"damaged lz4":       {format.PageHeader{UncompressedPageSize: 100, CompressedPageSize: 5, DataPageHeader: data(1)}, []byte("\xff\xff\xff\xff\xff"), format.Lz4Raw, false},
		"gzip that is more": {format.PageHeader{UncompressedPageSize: 100, CompressedPageSize: int32(gz.Len()), DataPageHeader: data(1)}, gz.Bytes(), format.Gzip, false},
		"zstd that is more": {format.PageHeader{UncompressedPageSize: 100, CompressedPageSize: int32(len(packed)), DataPageHeader: data(1)}, packed, format.Zstd, false},
		"beyond its column": {format.PageHeader{UncompressedPageSize: 6, CompressedPageSize: 6, DataPageHeader: data(1)}, []byte("12345"), format.Uncompressed, false},
		"negative":          {format.PageHeader{UncompressedPageSize: -1, CompressedPageSize: 5, DataPageHeader: data(1)}, []byte("12345"), format.Uncompressed, false},
	} {
		text := append(header(c.page), c.body...)
		length, err := checkPage(io.NewSectionReader(bytes.NewReader(text), 0, int64(len(text))), c.codec)
		if c.sound && (err != nil || length != int64(len(text))) || !c.sound && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %d of %d bytes, %v", name, length, len(text), err)
		}
	}

	// A list of 2^31 row groups.
	footer := []byte{0x15, 2, 0x49, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07}
	text := append([]byte("PAR1"), footer...)
	text = append(binary.LittleEndian.AppendUint32(text, uint32(len(footer))), "PAR1"...)
	if err := checkFooter(bytes.NewReader(text), int64(len(text))); err == nil {
		t.Error("a footer with a list of 2^31 row groups is sound")
	}
	whole := parquetOf(t, hfMetadata, hfRows(t, 0, 7)...)
	if err := checkFooter(bytes.NewReader(whole), int64(len(whole))); err != nil {
		t.Error(err)
	}
}

func TestParquet(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	writeFiles(t, dir, map[string][]byte{
		"data/train-00000-of-00002.parquet": parquetOf(t, hfMetadata, hfRows(t, 0, 7)...), "data/train-00001-of-00002.parquet": parquetOf(t, hfMetadata, hfRows(t, 7, 3)...),
		"data/validation-00000-of-00001.parquet": parquetOf(t, hfMetadata, hfRows(t, 10, 2)...), "data/test-00000-of-00001.parquet": parquetOf(t, hfMetadata, hfRows(t, 12, 3)...),
	})
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	for _, src := range []string{
		dir, dir, // the second time from the cache
		server.URL + "/data/train-0000{0,1}-of-00002.parquet," + server.URL + "/data/{validation,test}-00000-of-00001.parquet",
	} {
		d, err := Open(context.Background(), "parquet:"+src, Options{Seed: 3, HeldOut: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		if d.Train.Len() != 10 || d.HeldOut.Len() != 2 || d.Test.Len() != 3 || !slices.Equal(d.Classes, []string{"red", "green", "blue"}) {
			t.Fatalf("%s: %d train, %d held out, %d test, classes %q", src, d.Train.Len(), d.HeldOut.Len(), d.Test.Len(), d.Classes)
		}
		for i := range 15 {
			img, err := d.All().Image(i)
			if err != nil || d.All().Label(i) != i%3 || img.Width != 5+i%4 || img.Pixels[0] != byte(i) {
				t.Errorf("%s: image %d: label %d, width %d, %v", src, i, d.All().Label(i), img.Width, err)
			}
		}
	}
}

// Parquet as the field writes it: all compressions, pages of both versions, with and without
// dictionaries, rows in groups.
func TestParquetOfPyArrow(t *testing.T) {
	python := pytools.Python(t, pytools.PyArrow)
	dir := t.TempDir()
	images := make([][]byte, 40)
	for i := range images {
		images[i] = pngOf(t, 6, 6+i%5, byte(i/2*2))
	}
	input, err := json.Marshal(map[string]any{"dir": dir, "images": images})
	if err != nil {
		t.Fatal(err)
	}
	pytools.Run(t, python, `
import base64, json, sys
import pyarrow as pa, pyarrow.parquet as pq
given = json.load(sys.stdin)
images = [base64.b64decode(i) for i in given["images"]]
meta = {b"huggingface": json.dumps({"info": {"features": {
    "img": {"_type": "Image"}, "fine_label": {"names": [str(i) for i in range(9)], "_type": "ClassLabel"},
    "coarse_label": {"names": ["x"], "_type": "ClassLabel"}}}}).encode()}
struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
for codec in ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]:
    for version in ["1.0", "2.0"]:
        for dictionary in [True, False]:
            schema = pa.schema([("coarse_label", pa.int64()), ("img", struct), ("fine_label", pa.uint8() if dictionary else pa.int64())], metadata=meta)
            rows = pa.table({
                "coarse_label": [0] * len(images),
                "img": pa.array([{"bytes": b, "path": None} for b in images], struct),
                "fine_label": pa.array([i % 9 for i in range(len(images))], schema.field("fine_label").type),
            }, schema=schema)
            name = f"{given['dir']}/{codec}-{version}-{dictionary}.parquet"
            pq.write_table(rows, name, compression=codec, data_page_version=version, use_dictionary=dictionary,
                           row_group_size=17, data_page_size=300, write_page_index=dictionary, write_batch_size=4)
`, input)
	files, err := filepath.Glob(filepath.Join(dir, "*.parquet"))
	if err != nil || len(files) != 24 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, file := range files {
		d, err := Open(context.Background(), "parquet:"+file, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if d.Train.Len() != len(images) || len(d.Classes) != 9 {
			t.Fatalf("%s: %d images in %d classes", file, d.Train.Len(), len(d.Classes))
		}
		for i, want := range images {
			got, err := d.Train.(subset).Split.(decoded).Encoded(i)
			if err != nil || !bytes.Equal(got, want) || d.Train.Label(i) != i%9 {
				t.Fatalf("%s: row %d is not what was written (%v)", file, i, err)
			}
		}
	}
}

func TestHostileParquet(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	type named struct {
		Image hfImage `parquet:"image"`
		Label string  `parquet:"label"`
	}
	type many struct {
		Image []hfImage `parquet:"image"`
		Label int64     `parquet:"label"`
	}
	type other struct {
		Photo []byte `parquet:"photo"`
	}
	whole := parquetOf(t, hfMetadata, hfRows(t, 0, 7)...)
	minus, large := int64(-1), int64(3)
	for name, text := range map[string][]byte{
		"cut.parquet":       whole[:len(whole)-9],
		"text.parquet":      []byte("PAR1 but no more"),
		"empty.parquet":     nil,
		"string.parquet":    parquetOf(t, "", named{Label: "two\nlines"}),
		"many.parquet":      parquetOf(t, "", many{}),
		"photo.parquet":     parquetOf(t, "", other{}),
		"unlabeled.parquet": parquetOf(t, "", hfRow{Label: &minus}),
		"null.parquet":      parquetOf(t, "", hfRow{}),
		"label.parquet":     parquetOf(t, hfMetadata, hfRow{Label: &large}),
	} {
		path := filepath.Join(t.TempDir(), name)
		writeFiles(t, filepath.Dir(path), map[string][]byte{name: text})
		if _, err := Open(context.Background(), "parquet:"+path, Options{}); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want ErrFormat that names it", name, err)
		}
	}
	// A row without an image is a damaged image, and told by its row.
	rows := hfRows(t, 0, 4)
	rows[2].Image = nil
	path := filepath.Join(t.TempDir(), "some.parquet")
	writeFiles(t, filepath.Dir(path), map[string][]byte{"some.parquet": parquetOf(t, "", rows...)})
	d, err := Open(context.Background(), "parquet:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if checked, err := Check(context.Background(), d, 1, nil); err != nil || len(checked.Damaged) != 1 || checked.Damaged[0].Image != path+", row00000002.jpg" {
		t.Errorf("damaged %v, %v", checked, err)
	}
}

// A label may be the name of a class.
func TestParquetLabelsThatAreNames(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	type row struct {
		Image hfImage `parquet:"image"`
		Label string  `parquet:"label"`
	}
	dir := t.TempDir()
	image := pngOf(t, 4, 4, 1)
	rows := []row{{hfImage{Bytes: image}, "dog"}, {hfImage{Bytes: image}, "cat"}, {hfImage{Bytes: image}, "dog"}}
	writeFiles(t, dir, map[string][]byte{"Train-0.parquet": parquetOf(t, "", rows...), "Testing-0.parquet": parquetOf(t, "", rows[:1]...)})
	d := open0(t, "parquet:"+dir)
	if got := fmt.Sprint(d.Classes, d.Train.Label(0), d.Train.Label(1), d.Train.Len(), d.Test.Len()); got != "[cat dog] 1 0 3 1" {
		t.Error(got)
	}
	rows[1].Label = " "
	writeFiles(t, dir, map[string][]byte{"Train-1.parquet": parquetOf(t, "", rows...)})
	if _, err := Open(context.Background(), "parquet:"+dir, Options{}); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "row 1") {
		t.Errorf("an empty label: %v", err)
	}
}

func FuzzParquet(f *testing.F) {
	label := int64(1)
	f.Add(parquetOf(f, hfMetadata, hfRow{&hfImage{Bytes: []byte("x")}, &label}))
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var out bytes.Buffer
		err := rowsToTar(context.Background(), bytes.NewReader(text), int64(len(text)), &out)
		if err == nil {
			_, err = scanTar(bytes.NewReader(out.Bytes()))
		}
		if err != nil && !errors.Is(err, ErrFormat) {
			t.Error(err)
		}
	})
}
