// Package tensorfile keeps named tensors on disk, in safetensors form, and
// reads what PyTorch's torch.save wrote (.pth, in its zip and legacy forms).
//
// It promises: nothing in a file is ever executed, a .pth's names are compared with a short list; a malformed, truncated or
// hostile file is a typed error that names it, never a panic; memory stays
// within the size of the file; files written here carry a checksum by which
// every later change of a bit is found (ReadVerified), and any safetensors
// library reads them.
package tensorfile

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
)

// DType is the type of a tensor's elements, as safetensors names it.
type DType string

// Types that have a meaning here; others are carried as bytes.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	I64  DType = "I64"
	I32  DType = "I32"
	U8   DType = "U8"
)

var sizes = map[DType]int{
	F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, U8: 1,
	"I16": 2, "I8": 1, "U16": 2, "U32": 4, "U64": 8, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}

// Tensor is a dense array, row-major, little-endian.
type Tensor struct {
	DType DType
	Shape []int
	Data  []byte
}

// Digest is the SHA-256 of named tensors, in hex: names, types, shapes and bytes.
func Digest(all map[string]Tensor) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t := all[name]
		fmt.Fprintf(h, "%s\x00%s %v %d\x00", name, t.DType, t.Shape, len(t.Data))
		h.Write(t.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// FromFloat32 makes a float32 tensor of a shape whose product is len(values).
func FromFloat32(shape []int, values []float32) Tensor {
	data := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v))
	}
	return Tensor{DType: F32, Shape: shape, Data: data}
}

// Float32s returns the elements of a floating-point tensor as float32,
// converting from 64, 16 and bfloat16 bits.
func (t Tensor) Float32s() ([]float32, error) {
	size, known := sizes[t.DType]
	if !known {
		return nil, fmt.Errorf("%w %q, want floating point", ErrDType, t.DType)
	}
	values := make([]float32, len(t.Data)/size)
	switch t.DType {
	case F32:
		for i := range values {
			values[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		}
	case F64:
		for i := range values {
			values[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:])))
		}
	case BF16:
		for i := range values {
			values[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(t.Data[2*i:])) << 16)
		}
	case F16:
		for i := range values {
			values[i] = halfToFloat(binary.LittleEndian.Uint16(t.Data[2*i:]))
		}
	default:
		return nil, fmt.Errorf("%w %q, want floating point", ErrDType, t.DType)
	}
	return values, nil
}

// halfToFloat widens IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits.
func halfToFloat(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exponent, fraction := uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch {
	case exponent == 0: // zero or subnormal: fraction · 2^-24
		v := float32(fraction) * 0x1p-24
		return math.Float32frombits(sign | math.Float32bits(v))
	case exponent == 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+127-15)<<23 | fraction<<13)
}
