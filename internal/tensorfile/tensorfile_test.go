package tensorfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"prenas/internal/fsys"
)

func sample() *File {
	return &File{
		Tensors: map[string]Tensor{
			"a":      FromFloat32([]int{2, 3}, []float32{1, 2, 3, 4, 5, float32(math.Inf(1))}),
			"scalar": FromFloat32([]int{}, []float32{7}),
			"empty":  FromFloat32([]int{0, 4}, nil),
			"bytes":  {U8, []int{3}, []byte{1, 2, 3}},
		},
		Metadata: map[string]string{"format": "pt", "looks like it": `"prenas.sha256":"` + noChecksum + `"`},
	}
}

func write(t *testing.T, f *File) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := Write(fsys.OS, path, f); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRoundTrip(t *testing.T) {
	path := write(t, sample())
	got, err := ReadVerified(fsys.OS, path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range sample().Tensors {
		if g := got.Tensors[name]; g.DType != want.DType || !cmp.Equal(g.Shape, want.Shape) || !bytes.Equal(g.Data, want.Data) {
			t.Errorf("%s: got %v, want %v", name, g, want)
		}
	}
	if d := cmp.Diff(sample().Metadata, got.Metadata); d != "" {
		t.Error(d)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(write(t, sample()))
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the same content gave other bytes (%v)", err)
	}
}

// Every flip of one bit and every truncation is found.
func TestDamageIsFound(t *testing.T) {
	path := write(t, sample())
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tensors := 8 + int(binary.LittleEndian.Uint64(whole)) // where they begin
	refused := func(what string, at int, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadVerified(fsys.OS, path); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrChecksum) {
			t.Errorf("%s at %d: %v", what, at, err)
		}
		if what == "flip" && at >= 8*tensors || what == "cut" {
			for _, read := range []func() error{
				func() error { _, err := Read(path); return err },
				func() error { _, err := ReadAny(path); return err },
			} {
				if err := read(); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrChecksum) {
					t.Errorf("%s at %d, to read a file of any origin: %v", what, at, err)
				}
			}
		}
	}
	for bit := range 8 * len(whole) {
		if testing.Short() && bit%11 != 0 {
			continue
		}
		damaged := bytes.Clone(whole)
		damaged[bit/8] ^= 1 << (bit % 8)
		refused("flip", bit, damaged)
	}
	for n := range whole {
		refused("cut", n, whole[:n])
	}
	refused("growth", len(whole), append(bytes.Clone(whole), 0))
}

func raw(header string, body string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+body...)
}

var hostile = map[string][]byte{
	"empty":            {},
	"huge header":      append(binary.LittleEndian.AppendUint64(nil, 1<<62), "{}"...),
	"no object":        raw(`[]`, ""),
	"cut header":       raw(`{"a":{"dtype":"F32","shape":[1],"data_off`, ""),
	"text after":       raw(`{} x`, ""),
	"unknown key":      raw(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}`, "1234"),
	"twice":            raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, "12"),
	"overlap":          raw(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, "123"),
	"hole":             raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, "123"),
	"negative offsets": raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}`, ""),
	"reversed offsets": raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, "1"),
	"beyond the end":   raw(`{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}`, "1"),
	"negative shape":   raw(`{"a":{"dtype":"U8","shape":[-1,-1],"data_offsets":[0,1]}}`, "1"),
	"overflow":         raw(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, ""),
	"overflow past 0":  raw(`{"a":{"dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}`, ""),
	"unknown type":     raw(`{"a":{"dtype":"F128","shape":[1],"data_offsets":[0,16]}}`, "1234567890123456"),
	"wrong size":       raw(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, "1234"),
	"trailing bytes":   raw(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, "12"),
	"deep nesting":     raw(strings.Repeat(`{"a":`, 100000), ""),
	"metadata number":  raw(`{"__metadata__":{"a":1}}`, ""),
}

func TestHostileFiles(t *testing.T) {
	for name, data := range hostile {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, data := range hostile {
		f.Add(data)
	}
	f.Add(raw(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"__metadata__":{"k":"v"}}`, "1234"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, _, err := parse(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		for name, x := range file.Tensors {
			if err := x.check(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// The slow twin computes a half's value from its fields by powers of two.
func TestAllHalves(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		exponent, fraction := int(h>>10&0x1f), float64(h&0x3ff)
		var want float64
		switch exponent {
		case 0:
			want = math.Ldexp(fraction, -24)
		case 31:
			want = math.Inf(1)
			if fraction != 0 {
				want = math.NaN()
			}
		default:
			want = math.Ldexp(1+fraction/1024, exponent-15)
		}
		if h>>15 == 1 {
			want = -want
		}
		if got := float64(halfToFloat(h)); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("half %#04x is %v, want %v", h, got, want)
		}
	}
}
