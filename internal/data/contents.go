package data

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"prenas/internal/data/codec"
)

// ErrChanged: an image that is not the one that was read before under its name.
var ErrChanged = errors.New("it is not the image that was there when the run read it first: another was put in its place, or it was edited; put it back, or begin another run")

// Contents has a digest of the bytes of each image of a data set that comes as files, made as
// images are first read: a digest of all would be a pass over all of them before the first
// step. With those that an earlier process saw (Remember), images that changed in
// between, or changed places, are found as they are read again.
type Contents struct {
	mu      sync.Mutex
	sums    []uint64 // the first 8 bytes of the SHA-256 of each image, 0 where it was not read yet
	checked []bool   // in this process
	used    []bool   // handed out in a batch, or so by an earlier process: what is read ahead is not
	news    bool
	files   []numbered
}

// numbered are images, from number first on.
type numbered struct {
	first  int
	images interface {
		Len() int
		Name(i int) string
	}
}

// name of image i.
func (c *Contents) name(i int) string {
	for _, f := range c.files {
		if k := i - f.first; k < f.images.Len() {
			return f.images.Name(k)
		}
	}
	return ""
}

// note compares image i with what it was before, or remembers it.
func (c *Contents) note(i int, text []byte) error {
	c.mu.Lock()
	done := c.checked[i]
	c.mu.Unlock()
	if done {
		return nil
	}
	digest := sha256.Sum256(text)
	sum := max(1, binary.LittleEndian.Uint64(digest[:]))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.sums[i] {
	case 0:
		c.sums[i] = sum
	case sum:
	default:
		return ErrChanged
	}
	c.checked[i] = true
	return nil
}

// use notes that image i, which was read, is handed out.
func (c *Contents) use(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.used[i] && c.sums[i] != 0 {
		c.used[i], c.news = true, true
	}
}

// Sums are the digests of the images in the batches until now, in the order of the splits train,
// held-out and test as they came, and whether there are new ones since the last call; 0
// stands for an image that was in none. How far workers read ahead changes nothing.
func (c *Contents) Sums() (sums []uint64, news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	news, c.news = c.news, false
	sums = make([]uint64, len(c.sums))
	for i, used := range c.used {
		if used {
			sums[i] = c.sums[i]
		}
	}
	return sums, news
}

// read is the digest of image i, whether it was handed out or not; 0: it was not read.
func (c *Contents) read(i int) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sums[i]
}

// Remember takes what Sums said of the same images in an earlier process.
func (c *Contents) Remember(sums []uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(sums) != len(c.sums) {
		return fmt.Errorf("digests of %d images, there are %d", len(sums), len(c.sums))
	}
	for i, sum := range sums {
		if c.sums[i] != 0 && sum != 0 && c.sums[i] != sum {
			return fmt.Errorf("%s: %w", c.name(i), ErrChanged)
		}
		if sum != 0 {
			c.sums[i], c.used[i] = sum, true
		}
	}
	return nil
}

// noted are images whose contents are noted as they are read.
type noted struct {
	Files
	contents *Contents
	first    int
}

func (n noted) Encoded(i int) ([]byte, error) {
	text, err := n.Files.Encoded(i)
	if err == nil {
		err = n.contents.note(n.first+i, text)
	}
	return text, err
}

// MarkUsed notes that image i of a split, which was read, is handed out.
func MarkUsed(s Split, i int) {
	if c, k := contentOf(s, i); c != nil {
		c.use(k)
	}
}

// DigestOf is the digest of image i of a split, 0 where it was not read yet; has: the data set has
// digests.
func DigestOf(s Split, i int) (sum uint64, has bool) {
	c, k := contentOf(s, i)
	if c == nil {
		return 0, false
	}
	return c.read(k), true
}

// DigestAsItIs is DigestOf of an image that has one, whose file it reads for that if need be; 0
// of one that holds no image.
func DigestAsItIs(s Split, i int) (uint64, error) {
	c, k := contentOf(s, i)
	return c.asItIs(k)
}

// contentOf is where the digest of image i of a split is: nil where there is none.
func contentOf(s Split, i int) (c *Contents, k int) {
	switch s := s.(type) {
	case subset:
		return contentOf(s.Split, s.index[i])
	case chain:
		split, k := s.at(i)
		return contentOf(split, k)
	case relabelled:
		return contentOf(s.Split, i)
	case notedDigests:
		return s.contents, s.first + i
	case decoded:
		if n, is := s.Files.(noted); is {
			return n.contents, n.first + i
		}
	}
	return nil, 0
}

// asItIs is the digest of image i, whose file it reads for that if need be; 0 of one that holds
// no image.
func (c *Contents) asItIs(i int) (uint64, error) {
	for _, f := range c.files {
		k := i - f.first
		files, are := f.images.(decoded)
		if c.read(i) != 0 || !are || k < 0 || k >= files.Len() {
			continue
		}
		err := codec.Hold(files.Size(k), func() error { _, err := files.Encoded(k); return err })
		if err != nil && !errors.Is(err, ErrFormat) {
			return 0, explain(files.Name(k), err)
		}
	}
	return c.read(i), nil
}

// digested are images that were made from files, with the digests of those.
type digested interface {
	Split
	Name(i int) string
	// Digests are those of the files, by image, if it has all of them.
	Digests() (sums []uint64, has bool)
}

// notedDigests are such images, and where their digests are among those of the data set.
type notedDigests struct {
	digested
	contents *Contents
	first    int
}

// NoteContents makes the images of a data set be noted, where they are files, or were.
func (d *Dataset) NoteContents() {
	c := new(Contents)
	for _, split := range []*Split{&d.Train, &d.HeldOut, &d.Test} {
		first := len(c.sums)
		switch images := (*split).(type) {
		case decoded:
			own := decoded{noted{images.Files, c, first}}
			*split, c.files = own, append(c.files, numbered{first, own})
			c.sums = append(c.sums, make([]uint64, images.Len())...)
		case digested:
			sums, has := images.Digests()
			if !has { // of an earlier version, or of a source without files
				continue
			}
			*split = notedDigests{images, c, first}
			c.files = append(c.files, numbered{first, images})
			c.sums = append(c.sums, sums...)
		}
	}
	if n := len(c.sums); n > 0 {
		c.checked, c.used = make([]bool, n), make([]bool, n)
		d.Contents = c
	}
}
