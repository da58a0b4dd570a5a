package shard

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"prenas/internal/data"
	"prenas/internal/data/codec"
	"prenas/internal/data/fetch"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// A Parquet file says how long its lists are, how large its pages become, and how many values
// they have, and the library takes memory for what it says. So all of that is checked
// against the bytes that are there, before the library reads them.

// checkFooter checks that the footer of a file lies in it, and that none of its lists is longer
// than its bytes: a file ends with the footer, its length (uint32, little-endian) and the
// magic PAR1.
func checkFooter(from io.ReaderAt, size int64) error {
	const magic = "PAR1"
	var tail [8]byte
	if size < int64(len(tail)+len(magic)) {
		return fmt.Errorf("%d bytes are no Parquet file", size)
	}
	if _, err := from.ReadAt(tail[:], size-int64(len(tail))); err != nil {
		return err
	}
	length := int64(binary.LittleEndian.Uint32(tail[:]))
	if string(tail[4:]) != magic || length > size-int64(len(tail)+len(magic)) {
		return fmt.Errorf("it does not end as a Parquet file does: it was cut off, is encrypted, or is none")
	}
	footer := make([]byte, length)
	if _, err := from.ReadAt(footer, size-int64(len(tail))-length); err != nil {
		return err
	}
	if !(&compact{footer}).skip(compactStruct, 0) {
		return errors.New("its footer is damaged")
	}
	return nil
}

// compact is a text in Thrift's compact protocol
// (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md).
type compact struct{ left []byte }

// Types of values, as fields and lists have them.
const (
	compactTrue, compactFalse, compactByte    = 1, 2, 3
	compactI16, compactI64, compactDouble     = 4, 6, 7
	compactBinary, compactList, compactSet    = 8, 9, 10
	compactMap, compactStruct, compactDeepest = 11, 12, 64
)

// skip passes over a value and tells whether it is whole, with lists and texts no longer than
// the bytes that are left.
func (c *compact) skip(kind byte, depth int) bool {
	switch {
	case depth > compactDeepest:
		return false
	case kind == compactByte:
		return c.drop(1)
	case kind >= compactI16 && kind <= compactI64:
		_, ok := c.number()
		return ok
	case kind == compactDouble:
		return c.drop(8)
	case kind == compactBinary:
		n, ok := c.number()
		return ok && c.drop(n)
	case kind == compactList || kind == compactSet:
		head, ok := c.byte()
		n := uint64(head >> 4)
		if n == 15 && ok {
			n, ok = c.number()
		}
		return ok && c.items(n, depth, head&15)
	case kind == compactMap:
		n, ok := c.number()
		if !ok || n == 0 {
			return ok
		}
		kinds, ok := c.byte()
		return ok && c.items(n, depth, kinds>>4, kinds&15)
	case kind == compactStruct:
		for {
			head, ok := c.byte()
			if !ok || head == 0 {
				return ok
			}
			if head>>4 == 0 { // the field's number is not the last one's and a few
				if _, ok := c.number(); !ok {
					return false
				}
			}
			// The value of a truth is in its type.
			if of := head & 15; of != compactTrue && of != compactFalse && !c.skip(of, depth+1) {
				return false
			}
		}
	}
	return false
}

// items passes over n times values of some types.
func (c *compact) items(n uint64, depth int, kinds ...byte) bool {
	if n > uint64(len(c.left)) { // each takes a byte at least
		return false
	}
	for range n {
		for _, kind := range kinds {
			if kind == compactTrue || kind == compactFalse {
				kind = compactByte
			}
			if !c.skip(kind, depth+1) {
				return false
			}
		}
	}
	return true
}

func (c *compact) number() (uint64, bool) {
	value, n := binary.Uvarint(c.left)
	return value, n > 0 && c.drop(uint64(n))
}

func (c *compact) byte() (byte, bool) {
	if len(c.left) == 0 {
		return 0, false
	}
	b := c.left[0]
	return b, c.drop(1)
}

func (c *compact) drop(n uint64) bool {
	if n > uint64(len(c.left)) {
		return false
	}
	c.left = c.left[n:]
	return true
}

// checkPages checks the pages of a column: each lies in the file, unpacks to no more than it
// says, and what it says is no more than unpackFree, or unpackFactor times its bytes.
func checkPages(from io.ReaderAt, size int64, file *parquet.File, column *parquet.Column) error {
	for k, group := range file.Metadata().RowGroups {
		chunk := group.Columns[column.Index()].MetaData
		at := chunk.DataPageOffset
		if chunk.DictionaryPageOffset != 0 {
			at = chunk.DictionaryPageOffset
		}
		if at < 0 || chunk.TotalCompressedSize < 0 || chunk.TotalCompressedSize > size-at {
			return fmt.Errorf("%w: row group %d of column %s does not lie in the file", data.ErrFormat, k, column.Name())
		}
		for end := at + chunk.TotalCompressedSize; at < end; {
			next, err := checkPage(io.NewSectionReader(from, at, end-at), chunk.Codec)
			if err != nil {
				return fmt.Errorf("row group %d of column %s, page at byte %d: %w", k, column.Name(), at, err)
			}
			at += next
		}
	}
	return nil
}

// checkPage checks the page that a text begins with, and returns the length of it and its header.
func checkPage(text *io.SectionReader, packing format.CompressionCodec) (length int64, err error) {
	damaged := func(why error) (int64, error) { return 0, fmt.Errorf("%w: %w", data.ErrFormat, why) }
	head, err := pageHeader(text)
	if err != nil {
		return 0, err
	}
	var h format.PageHeader
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), head, &h); err != nil {
		return damaged(err)
	}
	packed, unpacked := int64(h.CompressedPageSize), int64(h.UncompressedPageSize)
	length = int64(len(head)) + packed
	if packed < 0 || unpacked < 0 || length > text.Size() {
		return damaged(errors.New("it does not lie in its column"))
	}
	const perValue = 16 // bytes of its levels, index and place
	values := int64(max(h.DataPageHeader.V.NumValues, h.DataPageHeaderV2.V.NumValues, h.DictionaryPageHeader.V.NumValues))
	if takes := unpacked + perValue*values; takes > fetch.UnpackFree && takes > fetch.UnpackFactor*packed {
		return damaged(fmt.Errorf("%d bytes of it are said to unpack to %d bytes and %d values", packed, unpacked, values))
	}
	plain := int64(0) // bytes that are never packed
	if v2 := h.DataPageHeaderV2; v2.Valid {
		plain = int64(v2.V.RepetitionLevelsByteLength) + int64(v2.V.DefinitionLevelsByteLength)
		if v2.V.IsCompressed.Valid && !v2.V.IsCompressed.V {
			return length, nil
		}
	}
	if plain < 0 || plain > min(packed, unpacked) {
		return damaged(errors.New("its levels do not lie in it"))
	}
	release, err := codec.HoldText(packed + unpacked)
	if err != nil {
		return 0, err
	}
	defer release()
	body := make([]byte, packed-plain)
	if _, err := io.ReadFull(io.NewSectionReader(text, int64(len(head))+plain, packed-plain), body); err != nil {
		return 0, err
	}
	if err := unpacksTo(packing, body, unpacked-plain); err != nil {
		return damaged(err)
	}
	return length, nil
}

// pageHeader is the header that a text begins with.
func pageHeader(text *io.SectionReader) ([]byte, error) {
	const usual, longest = 1 << 12, 1 << 24 // statistics may have whole images
	for n := int64(usual); ; n *= 16 {
		head := make([]byte, min(n, text.Size()))
		if _, err := text.ReadAt(head, 0); err != nil && err != io.EOF {
			return nil, err
		}
		c := &compact{head}
		if c.skip(compactStruct, 0) {
			return head[:len(head)-len(c.left)], nil
		}
		if n >= min(longest, text.Size()) {
			return nil, fmt.Errorf("%w: its header is damaged", data.ErrFormat)
		}
	}
}

// unpacksTo checks that a packed text unpacks to at most so many bytes.
func unpacksTo(packing format.CompressionCodec, packed []byte, most int64) error {
	var plain io.Reader
	switch from := bytes.NewReader(packed); packing {
	case format.Uncompressed:
		return nil
	case format.Snappy:
		n, err := snappy.DecodedLen(packed)
		if err == nil && int64(n) > most {
			err = errLarger
		}
		return err
	case format.Lz4Raw:
		_, err := lz4.UncompressBlock(packed, make([]byte, most))
		return err
	case format.Gzip:
		z, err := gzip.NewReader(from)
		if err != nil {
			return err
		}
		plain = z
	case format.Brotli:
		plain = brotli.NewReader(from)
	case format.Zstd:
		z, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<27))
		if err != nil {
			return err
		}
		defer z.Close()
		plain = z
	default:
		return fmt.Errorf("it is packed with %v, which is not read", packing)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(bufio.NewReader(plain), most+1))
	if err == nil && n > most {
		err = errLarger
	}
	return err
}

var errLarger = errors.New("it unpacks to more than it says")
