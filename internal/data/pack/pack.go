package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"runtime/debug"
	"slices"

	"github.com/edsrzf/mmap-go"

	"prenas/internal/data"
	"prenas/internal/data/codec"
	"prenas/internal/data/disk"
	"prenas/internal/fsys"
	"prenas/internal/sealed"
	"prenas/internal/strictjson"
)

// The packed form: a folder with pack.json and shards of pixels that are mapped
// into memory, so that an image is at hand without decoding.
//
//	PACK/pack.json          what it is, written last
//	PACK/train-00000.pack   pixels [H, W, C] of one image after the other,
//	                        the shard's index as JSON, its length (uint64,
//	                        little-endian), its CRC-32C and the magic PRENASPK
//
// Every image has a CRC-32C in the index, which is checked when the image is
// read, so no byte can change unseen.

// Manifest is pack.json.
type Manifest struct {
	Version  int                 `json:"version"`
	Source   string              `json:"source"`
	Digest   string              `json:"digest"` // of the source
	Size     int                 `json:"size"`   // longest that the shorter side of an image is; 0: as it was
	Channels int                 `json:"channels"`
	Classes  []string            `json:"classes"`
	Mean     []float32           `json:"mean"`
	Std      []float32           `json:"std"`
	Train    []ShardFile         `json:"train"`
	HeldOut  []ShardFile         `json:"held_out,omitempty"` // where the source has such a split
	Test     []ShardFile         `json:"test"`
	Skipped  []data.SkippedImage `json:"skipped,omitempty"` // damaged images that are not in it
	LeftOut  data.LeftOut        `json:"left_out,omitzero"` // files of the source that are not among its images
}

// ShardFile is a shard as pack.json has it.
type ShardFile struct {
	File   string `json:"file"`
	Images int    `json:"images"`
	Index  uint32 `json:"index_crc32c"`
}

// File is the manifest's name.
const File = "pack.json"

const (
	packVersion = 1
	packMagic   = "PRENASPK"
	packTail    = 8 + 4 + len(packMagic)
	maxIndex    = 1 << 26 // bytes of a shard's index
)

// shardIndex stands behind a shard's pixels, one entry of each list per image.
type shardIndex struct {
	Plan     string              `json:"plan"` // digest of what the shard was made from, and how
	Channels int                 `json:"channels"`
	Heights  []int               `json:"heights"`
	Widths   []int               `json:"widths"`
	Labels   []int               `json:"labels"`
	Sums     []uint32            `json:"crc32c"`
	Skipped  []data.SkippedImage `json:"skipped,omitempty"`
	// Contents are the digests (see Contents) of the files that the shard was made from, where they
	// were files, and Left which of them, from 0 on, were left out.
	Contents []uint64 `json:"contents,omitempty"`
	Left     []int    `json:"left,omitempty"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// shard is an open one.
type shard struct {
	path    string
	whole   mmap.MMap // the file
	pixels  []byte
	offsets []int  // of each image
	sum     uint32 // of the index
	shardIndex
}

// openShard maps a shard and checks its index against its length.
func openShard(path string) (*shard, error) {
	file, err := fsys.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	damaged := func(why string, args ...any) error {
		return fmt.Errorf("%s: %w: %s; pack it anew", path, data.ErrFormat, fmt.Sprintf(why, args...))
	}
	if size < int64(packTail) || size != int64(int(size)) {
		return nil, damaged("%d bytes are no shard", size)
	}
	s := &shard{path: path}
	if s.whole, err = mmap.Map(file, mmap.RDONLY, 0); err != nil {
		return nil, fmt.Errorf("%s: map into memory: %w", path, err)
	}
	pixels, err := s.readIndex()
	if err != nil {
		return nil, errors.Join(damaged("%v", err), s.close())
	}
	s.pixels = s.whole[:pixels:pixels]
	return s, nil
}

// close gives back the memory; images of the shard must not be used any more.
func (s *shard) close() error { return s.whole.Unmap() }

// readIndex reads the index at the end and returns how many bytes are pixels.
func (s *shard) readIndex() (pixels int, err error) {
	tail := s.whole[len(s.whole)-packTail:]
	if string(tail[12:]) != packMagic {
		return 0, fmt.Errorf("it does not end as a shard does")
	}
	length := binary.LittleEndian.Uint64(tail)
	if length > maxIndex || length > uint64(len(s.whole)-packTail) {
		return 0, fmt.Errorf("an index of %d bytes does not fit", length)
	}
	pixels = len(s.whole) - packTail - int(length)
	text := s.whole[pixels:][:length]
	if s.sum = crc32.Checksum(text, castagnoli); s.sum != binary.LittleEndian.Uint32(tail[8:]) {
		return 0, fmt.Errorf("the checksum of its index is wrong")
	}
	if err := strictjson.Unmarshal(text, &s.shardIndex); err != nil {
		return 0, fmt.Errorf("index: %v", err)
	}
	n := len(s.Labels)
	if len(s.Heights) != n || len(s.Widths) != n || len(s.Sums) != n || (s.Channels != 1 && s.Channels != 3) {
		return 0, fmt.Errorf("the index contradicts itself")
	}
	if len(s.Contents) > 0 && (len(s.Contents) != n+len(s.Left) || !slices.IsSorted(s.Left) || len(s.Left) > 0 && (s.Left[0] < 0 || s.Left[len(s.Left)-1] >= len(s.Contents))) {
		return 0, fmt.Errorf("the index contradicts itself")
	}
	at := 0
	for i := range n {
		h, w := s.Heights[i], s.Widths[i]
		if h < 1 || w < 1 || h > codec.MaxPixels/w || h*w*s.Channels > pixels-at {
			return 0, fmt.Errorf("image %d of %dx%d pixels does not fit", i, w, h)
		}
		s.offsets = append(s.offsets, at)
		at += h * w * s.Channels
	}
	if at != pixels {
		return 0, fmt.Errorf("there are %d bytes of pixels, the index has %d", pixels, at)
	}
	return pixels, nil
}

// image i; its pixels are those in the file and must not be written. Where the system
// cannot read the file any more, that is an error and no damage.
func (s *shard) image(i int) (img data.Image, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			fault, is := r.(interface{ Addr() uintptr })
			if !is {
				panic(r)
			}
			err = disk.Kept(s.name(i), fmt.Errorf("it cannot be read any more: a disk fails, or the file became shorter (fault at %#x)", fault.Addr()))
		}
	}()
	h, w := s.Heights[i], s.Widths[i]
	n := h * w * s.Channels
	pixels := s.pixels[s.offsets[i]:][:n:n]
	if sum := crc32.Checksum(pixels, castagnoli); sum != s.Sums[i] {
		return data.Image{}, &data.DamagedImage{Name: s.name(i), Err: fmt.Errorf("%w: its checksum is %08x, not %08x", data.ErrFormat, sum, s.Sums[i])}
	}
	return data.Image{Pixels: pixels, Height: h, Width: w, Channels: s.Channels}, nil
}

// packed is a split of shards.
type packed struct {
	shards []*shard
	places []place
}

// place of an image: its shard and its number there.
type place struct{ shard, image int }

// Digests are those of the files that the images were made from, if it has all of them.
func (p *packed) Digests() (sums []uint64, has bool) {
	for _, s := range p.shards {
		if len(s.Labels) > 0 && len(s.Contents) == 0 {
			return nil, false
		}
		for i, sum := range s.Contents {
			if _, left := slices.BinarySearch(s.Left, i); !left {
				sums = append(sums, sum)
			}
		}
	}
	return sums, true
}

// Name is where image i is.
func (p *packed) Name(i int) string {
	at := p.places[i]
	return p.shards[at.shard].name(at.image)
}

func (s *shard) name(i int) string { return fmt.Sprintf("%s, image %d", s.path, i) }

func (p *packed) Len() int        { return len(p.places) }
func (p *packed) Label(i int) int { return p.shards[p.places[i].shard].Labels[p.places[i].image] }

func (p *packed) Image(i int) (data.Image, error) {
	return p.shards[p.places[i].shard].image(p.places[i].image)
}

// ReadManifest reads the pack.json of a packed form.
func ReadManifest(dir string) (Manifest, error) {
	var m Manifest
	path := filepath.Join(dir, File)
	text, err := fsys.ReadText(fsys.OS, path)
	if err != nil {
		return m, fmt.Errorf("pack source: %w (prenas data pack writes it last: was packing stopped?)", err)
	}
	if err := sealed.Parse(path, text, &m); err != nil {
		return m, fmt.Errorf("%s: %w: %v", path, data.ErrFormat, err)
	}
	if m.Version != packVersion {
		return m, fmt.Errorf("%s: %w: version %d, this program reads %d", path, data.ErrFormat, m.Version, packVersion)
	}
	if m.Channels != 1 && m.Channels != 3 || len(m.Mean) != m.Channels || len(m.Std) != m.Channels || len(m.Classes) > data.MaxClasses {
		return m, fmt.Errorf("%s: %w: %d channels, %d means, %d deviations, %d classes", path, data.ErrFormat, m.Channels, len(m.Mean), len(m.Std), len(m.Classes))
	}
	return m, nil
}

// Open opens the packed form in a folder.
func Open(dir string) (*data.Dataset, error) {
	m, err := ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	d := &data.Dataset{Classes: m.Classes, Digest: m.Digest, Channels: m.Channels, Mean: m.Mean, Std: m.Std, LeftOut: m.LeftOut}
	if d.Train, err = openShards(dir, m, m.Train); err != nil {
		return nil, err
	}
	if len(m.HeldOut) > 0 {
		if d.HeldOut, err = openShards(dir, m, m.HeldOut); err != nil {
			return nil, err
		}
	}
	if d.Test, err = openShards(dir, m, m.Test); err != nil {
		return nil, err
	}
	return d, nil
}

func openShards(dir string, m Manifest, list []ShardFile) (*packed, error) {
	p := &packed{}
	for k, entry := range list {
		path := filepath.Join(dir, filepath.Base(entry.File))
		s, err := openShard(path)
		if err != nil {
			return nil, err
		}
		if s.Channels != m.Channels || s.sum != entry.Index {
			return nil, fmt.Errorf("%s: %w: it is not the shard that %s names", path, data.ErrFormat, File)
		}
		for i, label := range s.Labels {
			if label < 0 || label >= len(m.Classes) {
				return nil, fmt.Errorf("%s: %w: image %d has label %d of %d classes", path, data.ErrFormat, i, label, len(m.Classes))
			}
			p.places = append(p.places, place{k, i})
		}
		p.shards = append(p.shards, s)
	}
	return p, nil
}
