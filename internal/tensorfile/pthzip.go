package tensorfile

import (
	"archive/zip"
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"
)

// Since PyTorch 1.6 a .pth is a zip: NAME/data.pkl describes the tensors, and
// NAME/data/KEY holds the elements of each storage. PyTorch packs nothing;
// files that were packed later are read within bounds.

const (
	maxEntries = 1 << 16
	maxUnpack  = 16 // times the file's size
)

// archive is a zip whose entries were found to lie apart.
type archive struct {
	data    []byte
	entries map[string]*zip.File
	folder  string // of data.pkl, with its slash
	cache   map[string]*storage
	stored  int64
}

func parseZip(data []byte) (*File, error) {
	a, err := openArchive(data)
	if err != nil {
		return nil, err
	}
	if order, ok := a.entries[a.folder+"byteorder"]; ok {
		text, err := a.read(order, 16)
		if err != nil {
			return nil, err
		}
		if string(text) != "little" {
			return nil, malformed("byte order %q; only little is read", text)
		}
	}
	program, err := a.read(a.entries[a.folder+"data.pkl"], maxPickle)
	if err != nil {
		return nil, err
	}
	p := &pickle{data: program, resolve: a.storage}
	root, err := p.run()
	if err != nil {
		return nil, err
	}
	return checkpoint(root, p.views, a.stored)
}

func openArchive(data []byte) (*archive, error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if errors.Is(err, zip.ErrFormat) { // the list of entries is at the end
		return nil, malformed("it was cut off, or is damaged: the list of its entries is missing: fetch it again")
	}
	if err != nil {
		return nil, malformed("zip: %v", err)
	}
	if len(r.File) > maxEntries {
		return nil, malformed("zip: %d entries", len(r.File))
	}
	a := &archive{data: data, entries: map[string]*zip.File{}, cache: map[string]*storage{}}
	var spans [][2]uint64
	var unpacked uint64
	for _, f := range r.File {
		if strings.ContainsAny(f.Name, "\\\x00") || strings.HasPrefix(f.Name, "/") || slices.Contains(strings.Split(f.Name, "/"), "..") {
			return nil, malformed("zip: entry %.80q leaves its folder", f.Name)
		}
		if _, twice := a.entries[f.Name]; twice {
			return nil, malformed("zip: entry %.80q stands twice", f.Name)
		}
		a.entries[f.Name] = f
		if name, ok := strings.CutSuffix(f.Name, "data.pkl"); ok && strings.Count(f.Name, "/") == 1 && strings.HasSuffix(name, "/") {
			if a.folder != "" {
				return nil, malformed("zip: more than one data.pkl")
			}
			a.folder = name
		}
		from, err := f.DataOffset()
		size := uint64(len(data))
		if err != nil || f.CompressedSize64 > size || uint64(from) > size-f.CompressedSize64 {
			return nil, malformed("zip: entry %.80q lies outside of the file", f.Name)
		}
		spans = append(spans, [2]uint64{uint64(from), uint64(from) + f.CompressedSize64})
		unpacked += min(f.UncompressedSize64, 1<<62/maxEntries)
	}
	if a.folder == "" {
		return nil, malformed("zip: it has no data.pkl, so torch.save did not write it")
	}
	if unpacked > maxUnpack*uint64(len(data)) {
		return nil, malformed("zip: %d bytes unpack to %d", len(data), unpacked)
	}
	slices.SortFunc(spans, func(x, y [2]uint64) int {
		if x[0] < y[0] || x[0] == y[0] && x[1] < y[1] {
			return -1
		}
		return 1
	})
	for i := 1; i < len(spans); i++ {
		if spans[i][0] < spans[i-1][1] {
			return nil, malformed("zip: entries overlap")
		}
	}
	return a, nil
}

// read returns an entry's bytes, which share the file's memory if they are not
// packed.
func (a *archive) read(f *zip.File, limit uint64) ([]byte, error) {
	if f.UncompressedSize64 > limit {
		return nil, malformed("zip: entry %.80q has %d bytes, more than %d", f.Name, f.UncompressedSize64, limit)
	}
	if f.Flags&1 != 0 {
		return nil, malformed("zip: entry %.80q is encrypted", f.Name)
	}
	switch f.Method {
	case zip.Store:
		from, err := f.DataOffset()
		if err != nil || f.CompressedSize64 != f.UncompressedSize64 {
			return nil, malformed("zip: entry %.80q has two sizes", f.Name)
		}
		b := a.data[from : uint64(from)+f.CompressedSize64]
		if crc32.ChecksumIEEE(b) != f.CRC32 {
			return nil, malformed("zip: entry %.80q does not agree with its checksum", f.Name)
		}
		return b, nil
	case zip.Deflate:
		r, err := f.Open()
		if err != nil {
			return nil, malformed("zip: entry %.80q: %v", f.Name, err)
		}
		defer r.Close()
		b := make([]byte, f.UncompressedSize64)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, malformed("zip: entry %.80q: %v", f.Name, err)
		}
		// The reader compares sizes and checksums at the end.
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			return nil, malformed("zip: entry %.80q: more bytes than it says, or damaged", f.Name)
		}
		return b, nil
	}
	return nil, malformed("zip: entry %.80q is packed by method %d", f.Name, f.Method)
}

// storage finds what a persistent id names: ("storage", type, key, device,
// number of elements).
func (a *archive) storage(id tuple) (*storage, error) {
	s, key, err := newStorage(id, 5)
	if err != nil {
		return nil, err
	}
	if had, ok := a.cache[key]; ok {
		if had.dtype != s.dtype || had.count != s.count {
			return nil, malformed("storage %.80q is described in two ways", key)
		}
		return had, nil
	}
	f, ok := a.entries[a.folder+"data/"+key]
	if !ok {
		return nil, malformed("storage %.80q is missing", key)
	}
	if s.data, err = a.read(f, uint64(maxUnpack*len(a.data))); err != nil {
		return nil, err
	}
	if int64(len(s.data)) != s.bytes() {
		return nil, malformed("storage %.80q has %d bytes, %d elements of %s need %d", key, len(s.data), s.count, s.dtype, s.bytes())
	}
	a.stored += s.bytes()
	a.cache[key] = s
	return s, nil
}

// newStorage reads a persistent id of n parts and returns the storage's key.
func newStorage(id tuple, n int) (*storage, string, error) {
	if len(id) != n || id[0] != any("storage") {
		return nil, "", malformed("a storage's name of %d parts", len(id))
	}
	g, isType := id[1].(*global)
	key, isText := id[2].(string)
	count, isNumber := id[4].(int64)
	if !isType || g.kind != storageType || !isText || !isNumber {
		return nil, "", malformed("a storage's name of a %T, %T and %T", id[1], id[2], id[4])
	}
	if count < 0 || count > 1<<48 {
		return nil, "", malformed("storage %.80q of %d elements", key, count)
	}
	return &storage{dtype: g.dtype, count: count}, key, nil
}

func (s *storage) bytes() int64 { return s.count * int64(sizes[s.dtype]) }
