package shard

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"prenas/internal/data"
	"prenas/internal/data/datatest"
)

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
	pages := func(values int32) thrift.Null[format.DataPageHeader] {
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
		"sound":             {format.PageHeader{UncompressedPageSize: 5, CompressedPageSize: 5, DataPageHeader: pages(1)}, []byte("12345"), format.Uncompressed, true},
		"sound gzip":        {format.PageHeader{UncompressedPageSize: 1 << 20, CompressedPageSize: int32(gz.Len()), DataPageHeader: pages(1)}, gz.Bytes(), format.Gzip, true},
		"sound zstd":        {format.PageHeader{UncompressedPageSize: 1 << 20, CompressedPageSize: int32(len(packed)), DataPageHeader: pages(1)}, packed, format.Zstd, true},
		"2 GB":              {format.PageHeader{UncompressedPageSize: most, CompressedPageSize: 5, DataPageHeader: pages(1)}, []byte("12345"), format.Snappy, false},
		"2 GB dictionary":   {format.PageHeader{Type: format.DictionaryPage, UncompressedPageSize: most, CompressedPageSize: 5, DictionaryPageHeader: thrift.Null[format.DictionaryPageHeader]{Valid: true}}, []byte("12345"), format.Snappy, false},
		"2^31 values":       {format.PageHeader{UncompressedPageSize: 5, CompressedPageSize: 5, DataPageHeader: pages(most)}, []byte("12345"), format.Uncompressed, false},
		"snappy of 4 GB":    {format.PageHeader{UncompressedPageSize: 100, CompressedPageSize: 6, DataPageHeader: pages(1)}, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}, format.Snappy, false},
		"damaged lz4":       {format.PageHeader{UncompressedPageSize: 100, CompressedPageSize: 5, DataPageHeader: pages(1)}, []byte("\xff\xff\xff\xff\xff"), format.Lz4Raw, false},
		"gzip that is more": {format.PageHeader{UncompressedPageSize: 100, CompressedPageSize: int32(gz.Len()), DataPageHeader: pages(1)}, gz.Bytes(), format.Gzip, false},
		"zstd that is more": {format.PageHeader{UncompressedPageSize: 100, CompressedPageSize: int32(len(packed)), DataPageHeader: pages(1)}, packed, format.Zstd, false},
		"beyond its column": {format.PageHeader{UncompressedPageSize: 6, CompressedPageSize: 6, DataPageHeader: pages(1)}, []byte("12345"), format.Uncompressed, false},
		"negative":          {format.PageHeader{UncompressedPageSize: -1, CompressedPageSize: 5, DataPageHeader: pages(1)}, []byte("12345"), format.Uncompressed, false},
	} {
		text := append(header(c.page), c.body...)
		length, err := checkPage(io.NewSectionReader(bytes.NewReader(text), 0, int64(len(text))), c.codec)
		if c.sound && (err != nil || length != int64(len(text))) || !c.sound && !errors.Is(err, data.ErrFormat) {
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
	whole := datatest.Parquet(t, datatest.Features, datatest.Rows(t, 0, 7)...)
	if err := checkFooter(bytes.NewReader(whole), int64(len(whole))); err != nil {
		t.Error(err)
	}
}

func FuzzParquet(f *testing.F) {
	label := int64(1)
	f.Add(datatest.Parquet(f, datatest.Features, datatest.Row{Image: &datatest.Picture{Bytes: []byte("x")}, Label: &label}))
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var out bytes.Buffer
		err := rowsToTar(context.Background(), bytes.NewReader(text), int64(len(text)), &out)
		if err == nil {
			_, err = scanTar(bytes.NewReader(out.Bytes()))
		}
		if err != nil && !errors.Is(err, data.ErrFormat) {
			t.Error(err)
		}
	})
}
