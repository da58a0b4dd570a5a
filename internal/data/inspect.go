package data

import (
	"context"
	"errors"
	"slices"
)

// Info is what a data set holds.
type Info struct {
	Source   string      `json:"source"`
	Digest   string      `json:"digest"`
	Channels int         `json:"channels"`
	Train    int         `json:"train"`
	HeldOut  int         `json:"held_out"` // the source's own validation split beside a test split
	Test     int         `json:"test"`
	Classes  []ClassInfo `json:"classes"`
	Sizes    SizeInfo    `json:"sizes"`
}

// ClassInfo counts the images of a class.
type ClassInfo struct {
	Name    string `json:"name"`
	Train   int    `json:"train"`
	HeldOut int    `json:"held_out"`
	Test    int    `json:"test"`
}

// SizeInfo is about the pixels of some images, spread evenly over the data set.
type SizeInfo struct {
	Images  int    `json:"images"`  // that were read
	Damaged int    `json:"damaged"` // of them, left out of the rest
	Width   Spread `json:"width"`
	Height  Spread `json:"height"`
}

// Spread of a number.
type Spread struct {
	Min    int `json:"min"`
	Median int `json:"median"`
	Max    int `json:"max"`
}

func spreadOf(values []int) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	slices.Sort(values)
	return Spread{values[0], values[len(values)/2], values[len(values)-1]}
}

// Describe counts a data set that is not cut by holding out and reads up to sample of
// its images for their sizes.
func Describe(ctx context.Context, source string, set *Dataset, sample int, progress func(done, total int)) (Info, error) {
	info := Info{Source: source, Digest: set.Digest, Channels: set.Channels, Train: set.Train.Len(), HeldOut: set.HeldOut.Len(), Test: set.Test.Len()}
	for _, name := range set.Classes {
		info.Classes = append(info.Classes, ClassInfo{Name: name})
	}
	for i := range info.Train {
		info.Classes[set.Train.Label(i)].Train++
	}
	for i := range info.HeldOut {
		info.Classes[set.HeldOut.Label(i)].HeldOut++
	}
	for i := range info.Test {
		info.Classes[set.Test.Label(i)].Test++
	}
	all := whole(set)
	n := min(sample, all.Len())
	var widths, heights []int
	for i, read := range ordered(ctx, n, 0, func(i int) reading { return read(all, i*all.Len()/n, sizeOf) }) {
		var damaged *DamagedImage
		switch {
		case read.err == nil:
			widths, heights = append(widths, read.image.Width), append(heights, read.image.Height)
		case errors.As(read.err, &damaged):
			info.Sizes.Damaged++
		default:
			return info, read.err
		}
		if progress != nil {
			progress(i+1, n)
		}
	}
	info.Sizes.Images, info.Sizes.Width, info.Sizes.Height = n, spreadOf(widths), spreadOf(heights)
	return info, ctx.Err()
}

// Check reads every image of a data set that is not cut by holding out and lists the
// damaged ones, by name.
func Check(ctx context.Context, set *Dataset, workers int, progress func(done, total int)) (images int, damaged []SkippedImage, err error) {
	all := whole(set)
	var found Skipped
	for i, why := range ordered(ctx, all.Len(), workers, func(i int) error { return read(all, i, sizeOf).err }) {
		var bad *DamagedImage
		if errors.As(why, &bad) {
			found.Add(bad)
		} else if why != nil {
			return i, nil, why
		}
		if progress != nil {
			progress(i+1, all.Len())
		}
	}
	return all.Len(), found.List(), ctx.Err()
}

// chain is splits one after the other.
type chain []Split

func whole(set *Dataset) chain { return chain{set.Train, set.HeldOut, set.Test} }

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

// reading is what came of reading an image.
type reading struct {
	image Image
	err   error
}

// read keeps of image i what keep makes of it.
func read(s Split, i int, keep func(Image) Image) (r reading) {
	r.err = Whole(s, i, func(img Image) error {
		r.image = keep(img)
		return nil
	})
	return r
}

// sizeOf an image, without its pixels.
func sizeOf(img Image) Image { return Image{Height: img.Height, Width: img.Width} }
