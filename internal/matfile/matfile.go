package matfile

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf16"

	"prenas/internal/fsys"
)

// ErrFormat: a file that is no MAT file of version 5, is damaged, or holds what this
// package does not know.
var ErrFormat = errors.New("malformed MAT file")

// Array is a variable, or a part of one. Of Numbers, Text, Cells and Fields, one is
// set.
type Array struct {
	Name    string
	Dims    []int
	Numbers []float64          // column by column
	Text    string             // of one row
	Cells   []Array            // column by column
	Fields  map[string][]Array // of a struct array: by name, each as long as the array
}

const (
	headerBytes = 128
	maxFile     = 1 << 26 // bytes of a file, and of what it unpacks to
	maxDepth    = 16      // of cells and structs in each other
	maxArrays   = 1 << 20 // an empty one takes more memory here than its 8 bytes in the file
)

// Types of data, as the format numbers them.
const (
	miINT8       = 1
	miUINT8      = 2
	miINT16      = 3
	miUINT16     = 4
	miINT32      = 5
	miUINT32     = 6
	miSINGLE     = 7
	miDOUBLE     = 9
	miINT64      = 12
	miUINT64     = 13
	miMATRIX     = 14
	miCOMPRESSED = 15
	miUTF8       = 16
	miUTF16      = 17
)

// Classes of arrays, as the format numbers them.
const (
	mxCELL   = 1
	mxSTRUCT = 2
	mxCHAR   = 4
	mxDOUBLE = 6
	mxUINT64 = 15
)

// Read reads the variables of a file, by name. Errors name the file.
func Read(path string) (map[string]Array, error) {
	file, err := fsys.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	variables, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return variables, nil
}

// Parse reads the variables of a file's bytes.
func Parse(text []byte) (map[string]Array, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrFormat, maxFile)
	}
	if len(text) < headerBytes {
		return nil, fmt.Errorf("%w: %d bytes are no header", ErrFormat, len(text))
	}
	p := &parser{left: maxFile}
	switch string(text[126:128]) {
	case "IM":
		p.order = binary.LittleEndian
	case "MI":
		p.order = binary.BigEndian
	default:
		return nil, fmt.Errorf("%w: it has no mark of its byte order", ErrFormat)
	}
	if version := p.order.Uint16(text[124:]); version != 0x0100 {
		return nil, fmt.Errorf("%w: version %#04x, want 0x0100; save it with -v7", ErrFormat, version)
	}
	variables := map[string]Array{}
	for rest := text[headerBytes:]; len(rest) > 0; {
		kind, body, after, err := p.element(rest)
		if err != nil {
			return nil, err
		}
		rest = after
		if kind == miCOMPRESSED {
			if body, err = p.inflate(body); err != nil {
				return nil, err
			}
			if kind, body, _, err = p.element(body); err != nil {
				return nil, err
			}
		}
		if kind != miMATRIX {
			return nil, fmt.Errorf("%w: a variable of type %d", ErrFormat, kind)
		}
		a, err := p.array(body, 0)
		if err != nil {
			return nil, err
		}
		variables[a.Name] = a
	}
	return variables, nil
}

type parser struct {
	order  binary.ByteOrder
	left   int64 // bytes that may still be unpacked
	arrays int
}

// inflate unpacks a compressed element.
func (p *parser) inflate(packed []byte) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%w: unpack: %w", ErrFormat, err)
	}
	text, err := io.ReadAll(io.LimitReader(z, p.left+1))
	if err != nil {
		return nil, fmt.Errorf("%w: unpack: %w", ErrFormat, err)
	}
	if p.left -= int64(len(text)); p.left < 0 {
		return nil, fmt.Errorf("%w: it unpacks to more than %d bytes", ErrFormat, maxFile)
	}
	return text, nil
}

// element splits text into the first data element and what follows it. An element is a
// tag of type and size (uint32 each) and its bytes, filled up to a multiple of 8 unless
// they are compressed; or, of up to 4 bytes, both in 8 bytes.
func (p *parser) element(text []byte) (kind int, body, after []byte, err error) {
	if len(text) < 8 {
		return 0, nil, nil, fmt.Errorf("%w: it ends within a tag", ErrFormat)
	}
	first := p.order.Uint32(text)
	if small := int(first >> 16); small != 0 {
		if small > 4 {
			return 0, nil, nil, fmt.Errorf("%w: a small element of %d bytes", ErrFormat, small)
		}
		return int(first & 0xffff), text[4:][:small], text[8:], nil
	}
	size := uint64(p.order.Uint32(text[4:]))
	if size > uint64(len(text)-8) {
		return 0, nil, nil, fmt.Errorf("%w: an element of %d bytes, of which %d are there", ErrFormat, size, len(text)-8)
	}
	filled := size
	if first != miCOMPRESSED {
		filled = min((size+7)/8*8, uint64(len(text)-8))
	}
	return int(first), text[8:][:size], text[8+filled:], nil
}

// next is element, for one of a known type.
func (p *parser) next(text []byte, what string, kinds ...int) (body, after []byte, err error) {
	kind, body, after, err := p.element(text)
	if err != nil {
		return nil, nil, err
	}
	for _, k := range kinds {
		if k == kind {
			return body, after, nil
		}
	}
	return nil, nil, fmt.Errorf("%w: %s of type %d", ErrFormat, what, kind)
}

// array reads the body of a matrix element.
func (p *parser) array(text []byte, depth int) (a Array, err error) {
	if p.arrays++; p.arrays > maxArrays || depth > maxDepth {
		return a, fmt.Errorf("%w: more than %d arrays, or more than %d in each other", ErrFormat, maxArrays, maxDepth)
	}
	if len(text) == 0 { // an empty cell or field
		return a, nil
	}
	flags, text, err := p.next(text, "flags", miUINT32)
	if err != nil {
		return a, err
	}
	if len(flags) != 8 {
		return a, fmt.Errorf("%w: flags of %d bytes", ErrFormat, len(flags))
	}
	class, isComplex := int(p.order.Uint32(flags)&0xff), p.order.Uint32(flags)&0x800 != 0
	dims, text, err := p.next(text, "dimensions", miINT32)
	if err != nil {
		return a, err
	}
	count := 1
	for ; len(dims) >= 4; dims = dims[4:] {
		d := int(int32(p.order.Uint32(dims)))
		if d < 0 || d > 0 && count > maxFile/d {
			return a, fmt.Errorf("%w: a dimension of %d", ErrFormat, d)
		}
		count *= d
		a.Dims = append(a.Dims, d)
	}
	name, text, err := p.next(text, "name", miINT8, miUINT8, miUTF8)
	if err != nil {
		return a, err
	}
	a.Name = string(name)
	switch {
	case isComplex:
		err = fmt.Errorf("%w: %s is complex", ErrFormat, a.Name)
	case class == mxCELL:
		a.Cells, _, err = p.arraysOf(text, count, depth)
	case class == mxSTRUCT:
		err = p.fields(&a, text, count, depth)
	case class == mxCHAR:
		err = p.chars(&a, text, count)
	case class >= mxDOUBLE && class <= mxUINT64:
		if a.Numbers, err = p.numbers(text); err == nil && len(a.Numbers) != count {
			err = fmt.Errorf("%w: %d numbers for %d places", ErrFormat, len(a.Numbers), count)
		}
	default:
		err = fmt.Errorf("%w: %s is of class %d, which is not read", ErrFormat, a.Name, class)
	}
	return a, err
}

// arraysOf reads arrays that stand one after the other.
func (p *parser) arraysOf(text []byte, count, depth int) (list []Array, after []byte, err error) {
	for range count {
		var body []byte
		if body, text, err = p.next(text, "a part", miMATRIX); err != nil {
			return nil, nil, err
		}
		a, err := p.array(body, depth+1)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, a)
	}
	return list, text, nil
}

// fields reads a struct array: the bytes per name, the names, and of each struct its
// fields.
func (p *parser) fields(a *Array, text []byte, count, depth int) error {
	length, text, err := p.next(text, "length of field names", miINT32)
	if err != nil {
		return err
	}
	if len(length) != 4 {
		return fmt.Errorf("%w: a length of %d bytes", ErrFormat, len(length))
	}
	names, text, err := p.next(text, "field names", miINT8)
	if err != nil {
		return err
	}
	each := int(int32(p.order.Uint32(length)))
	if each < 1 || len(names)%each != 0 {
		return fmt.Errorf("%w: %d bytes of field names of %d", ErrFormat, len(names), each)
	}
	a.Fields = map[string][]Array{}
	if len(names) == 0 {
		return nil
	}
	for range count {
		for at := 0; at < len(names); at += each {
			var one []Array
			if one, text, err = p.arraysOf(text, 1, depth); err != nil {
				return err
			}
			name, _, _ := strings.Cut(string(names[at:][:each]), "\x00")
			a.Fields[name] = append(a.Fields[name], one[0])
		}
	}
	return nil
}

// chars reads text of one row; what has more rows stays without text.
func (p *parser) chars(a *Array, text []byte, count int) error {
	if len(a.Dims) > 0 && a.Dims[0] > 1 || count == 0 {
		return nil
	}
	kind, body, _, err := p.element(text)
	if err != nil {
		return err
	}
	switch kind {
	case miINT8, miUINT8, miUTF8:
		a.Text = string(body)
	case miUINT16, miUTF16:
		units := make([]uint16, len(body)/2)
		for i := range units {
			units[i] = p.order.Uint16(body[2*i:])
		}
		a.Text = string(utf16.Decode(units))
	default:
		return fmt.Errorf("%w: text of type %d", ErrFormat, kind)
	}
	return nil
}

// numbers reads numbers of any type, which need not be that of the array.
func (p *parser) numbers(text []byte) ([]float64, error) {
	kind, body, _, err := p.element(text)
	if err != nil {
		return nil, err
	}
	width := map[int]int{miINT8: 1, miUINT8: 1, miINT16: 2, miUINT16: 2, miINT32: 4, miUINT32: 4, miSINGLE: 4, miDOUBLE: 8, miINT64: 8, miUINT64: 8}[kind]
	if width == 0 || len(body)%width != 0 {
		return nil, fmt.Errorf("%w: %d bytes of numbers of type %d", ErrFormat, len(body), kind)
	}
	values := make([]float64, len(body)/width)
	for i := range values {
		values[i] = p.number(kind, body[i*width:])
	}
	return values, nil
}

func (p *parser) number(kind int, b []byte) float64 {
	switch kind {
	case miINT8:
		return float64(int8(b[0]))
	case miUINT8:
		return float64(b[0])
	case miINT16:
		return float64(int16(p.order.Uint16(b)))
	case miUINT16:
		return float64(p.order.Uint16(b))
	case miINT32:
		return float64(int32(p.order.Uint32(b)))
	case miUINT32:
		return float64(p.order.Uint32(b))
	case miSINGLE:
		return float64(math.Float32frombits(p.order.Uint32(b)))
	case miINT64:
		return float64(int64(p.order.Uint64(b)))
	case miUINT64:
		return float64(p.order.Uint64(b))
	}
	return math.Float64frombits(p.order.Uint64(b))
}
