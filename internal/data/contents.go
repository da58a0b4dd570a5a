package data

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
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
	news    bool
	files   []noted
}

// name of image i.
func (c *Contents) name(i int) string {
	for _, f := range c.files {
		if k := i - f.first; k < f.Len() {
			return f.Name(k)
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
		c.sums[i], c.news = sum, true
	case sum:
	default:
		return ErrChanged
	}
	c.checked[i] = true
	return nil
}

// Sums are the digests of the images until now, in the order of the splits train, held-out and
// test as they came, and whether there are new ones since the last call; 0 stands for an
// image that was not read.
func (c *Contents) Sums() (sums []uint64, news bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	news, c.news = c.news, false
	return append([]uint64{}, c.sums...), news
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
			c.sums[i] = sum
		}
	}
	return nil
}

// noted are images whose contents are noted as they are read.
type noted struct {
	encoded
	contents *Contents
	first    int
}

func (n noted) Encoded(i int) ([]byte, error) {
	text, err := n.encoded.Encoded(i)
	if err == nil {
		err = n.contents.note(n.first+i, text)
	}
	return text, err
}

// noteContents makes the images of a data set be noted, where they are files.
func (d *Dataset) noteContents() {
	c := new(Contents)
	count := 0
	for _, split := range []*Split{&d.Train, &d.HeldOut, &d.Test} {
		if files, are := (*split).(decoded); are {
			own := noted{files.encoded, c, count}
			*split, c.files = decoded{own}, append(c.files, own)
			count += files.Len()
		}
	}
	if count > 0 {
		c.sums, c.checked = make([]uint64, count), make([]bool, count)
		d.Contents = c
	}
}
