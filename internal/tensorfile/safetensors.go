package tensorfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"prenas/internal/fsys"
	"prenas/internal/mistaken"
)

// A safetensors file is eight bytes (the header's length, little-endian), the
// header (JSON: name -> type, shape, offsets; "__metadata__" -> strings), and
// the tensors' bytes without holes. docs/formats.md has the details.

// File is a set of named tensors with text about them.
type File struct {
	Tensors  map[string]Tensor
	Metadata map[string]string
}

const (
	maxHeader   = 100 << 20 // of the safetensors format
	metadataKey = "__metadata__"
	// checksumKey holds the SHA-256 of the file as it is with noChecksum in the
	// checksum's place.
	checksumKey = "prenas.sha256"
)

var noChecksum = strings.Repeat("0", 2*sha256.Size)

type entry struct {
	DType   DType    `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// Read reads a safetensors file of any origin; where it has a checksum, as those of
// Write have, it is checked.
func Read(path string) (*File, error) {
	data, err := fsys.ReadFile(fsys.OS, path)
	if err != nil {
		return nil, err
	}
	f, err := parseChecked(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, mistaken.Instead(data, err))
	}
	return f, nil
}

// ReadVerified reads a file that Write wrote, and refuses it with ErrChecksum
// or ErrFormat if a single bit of it has changed.
func ReadVerified(fs fsys.FS, path string) (*File, error) {
	data, err := fsys.ReadFile(fs, path)
	if err != nil {
		return nil, err
	}
	f, header, err := parse(data)
	if err == nil {
		err = f.check(data, header)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, mistaken.Instead(data, err))
	}
	return f, nil
}

// Check reads a safetensors file whole, compares it with its checksum, and tells whether it has
// one. Errors are those of Read.
func Check(path string) (has bool, err error) {
	data, err := fsys.ReadFile(fsys.OS, path)
	if err != nil {
		return false, err
	}
	f, header, err := parse(data)
	if err == nil {
		for key, value := range f.Metadata { // one of ours, though the key itself may be damaged
			has = has || strings.HasPrefix(key, "prenas.") || len(value) == len(noChecksum)
		}
		if has {
			err = f.check(data, header)
		}
	}
	if err != nil {
		return has, fmt.Errorf("%s: %w", path, err)
	}
	return has, nil
}

func parseChecked(data []byte) (*File, error) {
	f, header, err := parse(data)
	if err != nil {
		return nil, err
	}
	if _, has := f.Metadata[checksumKey]; has {
		err = f.check(data, header)
	}
	return f, err
}

// check the checksum of the file's bytes and take it out of the metadata.
func (f *File) check(data, header []byte) error {
	sum := f.Metadata[checksumKey]
	at := bytes.Index(header, []byte(sum))
	if len(sum) != len(noChecksum) || at < 0 {
		return ErrForeign
	}
	copy(data[8+at:], noChecksum)
	if actual := sha256.Sum256(data); hex.EncodeToString(actual[:]) != sum {
		return fmt.Errorf("%w: its bytes do not agree with its checksum", ErrChecksum)
	}
	delete(f.Metadata, checksumKey)
	return nil
}

// Write writes a file whole or not at all, the same bytes for the same content,
// with a checksum of all of it in its metadata.
func Write(fs fsys.FS, path string, f *File) error {
	names := make([]string, 0, len(f.Tensors))
	for name := range f.Tensors {
		names = append(names, name)
	}
	sort.Strings(names)
	header := map[string]any{}
	metadata := map[string]string{checksumKey: noChecksum}
	for k, v := range f.Metadata {
		metadata[k] = v
	}
	header[metadataKey] = metadata
	var at int64
	for _, name := range names {
		t := f.Tensors[name]
		if err := t.check(); err != nil {
			return fmt.Errorf("write %s: tensor %q: %w", path, name, err)
		}
		header[name] = entry{t.DType, append([]int{}, t.Shape...), [2]int64{at, at + int64(len(t.Data))}}
		at += int64(len(t.Data))
	}
	text, err := json.Marshal(header) // sorts the names
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))

	sum := sha256.New()
	sum.Write(length)
	sum.Write(text)
	for _, name := range names {
		sum.Write(f.Tensors[name].Data)
	}
	place := bytes.Index(text, []byte(fmt.Sprintf("%q:%q", checksumKey, noChecksum))) + len(checksumKey) + 4
	copy(text[place:], hex.EncodeToString(sum.Sum(nil)))

	return fsys.WriteAtomic(fs, path, func(w io.Writer) error {
		for _, part := range [][]byte{length, text} {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		for _, name := range names {
			if _, err := w.Write(f.Tensors[name].Data); err != nil {
				return err
			}
		}
		return nil
	})
}

// check that a tensor's bytes are as many as its type and shape need.
func (t Tensor) check() error {
	size, known := sizes[t.DType]
	if !known {
		return fmt.Errorf("%w: type %q is not one of safetensors", ErrFormat, t.DType)
	}
	elements := 1
	for _, d := range t.Shape {
		if d < 0 || (d > 0 && elements > len(t.Data)/d+1) {
			return fmt.Errorf("%w: shape %v does not fit %d bytes", ErrFormat, t.Shape, len(t.Data))
		}
		elements *= d
	}
	if elements*size != len(t.Data) {
		return fmt.Errorf("%w: shape %v of %s needs %d bytes, not %d", ErrFormat, t.Shape, t.DType, elements*size, len(t.Data))
	}
	return nil
}

// parse splits a file into tensors, which share its memory, and returns the
// header's text.
func parse(data []byte) (*File, []byte, error) {
	if len(data) < 8 {
		return nil, nil, fmt.Errorf("%w: %d bytes are too few", ErrFormat, len(data))
	}
	length := binary.LittleEndian.Uint64(data)
	if length <= maxHeader && length > uint64(len(data)-8) && bytes.HasPrefix(data[8:], []byte("{")) {
		return nil, nil, fmt.Errorf("%w: it was cut off: its header has %d bytes, the file %d: fetch it again", ErrFormat, length, len(data))
	}
	if length > maxHeader || length > uint64(len(data)-8) {
		return nil, nil, fmt.Errorf("%w: a header of %d bytes in a file of %d", ErrFormat, length, len(data))
	}
	text, body := data[8:8+length], data[8+length:]
	entries, metadata, err := parseHeader(text)
	if err != nil {
		return nil, nil, err
	}
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		x, y := entries[a].Offsets, entries[b].Offsets
		if x[0] != y[0] {
			return int(min(1, max(-1, x[0]-y[0])))
		}
		if x[1] != y[1] {
			return int(min(1, max(-1, x[1]-y[1])))
		}
		return strings.Compare(a, b)
	})
	f := &File{Tensors: make(map[string]Tensor, len(entries)), Metadata: metadata}
	var at int64
	for _, name := range names {
		e := entries[name]
		if e.Offsets[0] != at || e.Offsets[1] < at {
			return nil, nil, fmt.Errorf("%w: tensor %q lies at %v, where %d is next (overlap or hole)", ErrFormat, name, e.Offsets, at)
		}
		if e.Offsets[1] > int64(len(body)) {
			return nil, nil, fmt.Errorf("%w: it was cut off: tensor %q ends at %d of %d bytes: fetch it again", ErrFormat, name, e.Offsets[1], len(body))
		}
		t := Tensor{e.DType, e.Shape, body[at:e.Offsets[1]:e.Offsets[1]]}
		if err := t.check(); err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		f.Tensors[name] = t
		at = e.Offsets[1]
	}
	if at != int64(len(body)) {
		return nil, nil, fmt.Errorf("%w: %d bytes after the last tensor", ErrFormat, int64(len(body))-at)
	}
	return f, text, nil
}

// parseHeader reads the header key by key, to refuse names that stand twice.
func parseHeader(text []byte) (map[string]entry, map[string]string, error) {
	bad := func(err error) error { return fmt.Errorf("%w: header: %v", ErrFormat, err) }
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, nil, bad(fmt.Errorf("it is not a JSON object"))
	}
	entries, metadata := map[string]entry{}, map[string]string{}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, nil, bad(err)
		}
		name := token.(string) // keys of an object are strings
		if seen[name] {
			return nil, nil, bad(fmt.Errorf("%q stands twice", name))
		}
		seen[name] = true
		if name == metadataKey {
			if err := d.Decode(&metadata); err != nil {
				return nil, nil, bad(err)
			}
			continue
		}
		var e entry
		if err := d.Decode(&e); err != nil {
			return nil, nil, bad(fmt.Errorf("%q: %v", name, err))
		}
		entries[name] = e
	}
	if _, err := d.Token(); err != nil {
		return nil, nil, bad(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, nil, bad(fmt.Errorf("text after the object"))
	}
	if metadata == nil {
		metadata = map[string]string{}
	}
	return entries, metadata, nil
}
