package data

import (
	"fmt"

	"prenas/internal/augment"
)

// Image is 8-bit pixels [H, W, C].
type Image = augment.Image

// Split is a list of labelled images, safe for use by several goroutines.
type Split interface {
	Len() int
	Label(i int) int
	Image(i int) (Image, error)
}

// subset is some images of a split.
type subset struct {
	Split
	index []int
}

func (s subset) Len() int                   { return len(s.index) }
func (s subset) Label(i int) int            { return s.Split.Label(s.index[i]) }
func (s subset) Image(i int) (Image, error) { return s.Split.Image(s.index[i]) }

// LabelCounts are the images of a split by label; labels are below classes.
func LabelCounts(s Split, classes int) []int {
	counts := make([]int, classes)
	for i := range s.Len() {
		counts[s.Label(i)]++
	}
	return counts
}

// Relabel is a split with another label in the place of each, by label.
func Relabel(s Split, labels []int) Split { return relabelled{s, labels} }

type relabelled struct {
	Split
	labels []int
}

func (r relabelled) Label(i int) int { return r.labels[r.Split.Label(i)] }

// None is the split of a source that has no such images.
type None struct{ Split }

// Len is 0.
func (None) Len() int { return 0 }

// chain is splits one after the other.
type chain []Split

// Chain is the images of several splits, one after the other.
func Chain(splits ...Split) Split { return chain(splits) }

// All is the images of all splits.
func (d *Dataset) All() Split { return chain{d.Train, d.HeldOut, d.Test} }

func (c chain) Len() int {
	n := 0
	for _, s := range c {
		n += s.Len()
	}
	return n
}

func (c chain) at(i int) (Split, int) {
	for _, s := range c[:len(c)-1] {
		if i < s.Len() {
			return s, i
		}
		i -= s.Len()
	}
	return c[len(c)-1], i
}

func (c chain) Label(i int) int {
	s, k := c.at(i)
	return s.Label(k)
}

func (c chain) Image(i int) (Image, error) {
	s, k := c.at(i)
	return s.Image(k)
}

// named is a split that knows where its images are.
type named interface{ Name(i int) string }

// NameOf says where image i is, as far as its split knows.
func NameOf(s Split, i int) string {
	switch s := s.(type) {
	case chain:
		split, k := s.at(i)
		return NameOf(split, k)
	case subset:
		return NameOf(s.Split, s.index[i])
	case relabelled:
		return NameOf(s.Split, i)
	case named:
		return s.Name(i)
	}
	return fmt.Sprintf("image %d", i)
}
