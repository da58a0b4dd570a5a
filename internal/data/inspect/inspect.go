package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"prenas/internal/ahead"
	"prenas/internal/data"
	"prenas/internal/printable"
)

// Info is what a data set holds.
type Info struct {
	Source   string `json:"source"`
	Digest   string `json:"digest"`
	Channels int    `json:"channels"`
	Train    int    `json:"train"`
	// Imbalance is how many times the training images of the smallest class with any the
	// largest has; 0 where none is trained on.
	Imbalance float64      `json:"imbalance,omitempty"`
	HeldOut   int          `json:"held_out"` // the source's own validation split beside a test split
	Test      int          `json:"test"`
	Classes   []ClassInfo  `json:"classes"`
	Sizes     SizeInfo     `json:"sizes"`
	Values    ValueInfo    `json:"values"`
	Twins     *Twins       `json:"twins,omitempty"` // nil: not looked for
	LeftOut   data.LeftOut `json:"left_out"`
	Notes     []string     `json:"notes,omitempty"` // how the source was understood, where that may surprise
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

// ValueInfo is about the values, 0 to 255, of the same images.
type ValueInfo struct {
	Lowest    Spread        `json:"lowest"`  // of an image
	Highest   Spread        `json:"highest"` // of an image
	OneColour OneColourInfo `json:"one_colour"`
}

// OneColourInfo counts images in which no channel's values are further apart than a few
// levels: there is nothing to see in them.
type OneColourInfo struct {
	Images int    `json:"images"`
	Black  int    `json:"black"`           // of them, those near 0
	White  int    `json:"white"`           // and near 255
	First  string `json:"first,omitempty"` // the name of the first one
}

// oneColour is how far apart the values of a channel may be, and from 0 and 255, to be taken for
// one colour.
const oneColour = 8

func (o *OneColourInfo) add(seen seen, name string) {
	if !seen.flat {
		return
	}
	if o.Images++; o.Images == 1 {
		o.First = name
	}
	if seen.highest <= oneColour {
		o.Black++
	}
	if seen.lowest >= 255-oneColour {
		o.White++
	}
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
func Describe(ctx context.Context, source string, set *data.Dataset, sample int, progress func(done, total int)) (Info, error) {
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
	info.Imbalance = data.Imbalance(set)
	all := set.All()
	n := min(sample, all.Len())
	var widths, heights, lowest, highest []int
	for i, one := range ahead.Range(ctx, n, 0, func(i int) seen { return see(all, i*all.Len()/n) }) {
		var damaged *data.DamagedImage
		switch {
		case one.err == nil:
			widths, heights = append(widths, one.width), append(heights, one.height)
			lowest, highest = append(lowest, one.lowest), append(highest, one.highest)
			info.Values.OneColour.add(one, data.NameOf(all, i*all.Len()/n))
		case errors.As(one.err, &damaged):
			info.Sizes.Damaged++
		default:
			return info, one.err
		}
		if progress != nil {
			progress(i+1, n)
		}
	}
	info.Sizes.Images, info.Sizes.Width, info.Sizes.Height = n, spreadOf(widths), spreadOf(heights)
	info.Values.Lowest, info.Values.Highest = spreadOf(lowest), spreadOf(highest)
	info.LeftOut, info.Notes = set.LeftOut, set.Notes
	return info, ctx.Err()
}

// Checked is what reading every image of a data set found.
type Checked struct {
	Images    int                 `json:"images"`
	Damaged   []data.SkippedImage `json:"damaged"` // by name
	OneColour OneColourInfo       `json:"one_colour"`
	LeftOut   data.LeftOut        `json:"left_out"`
}

// Check reads every image of a data set that is not cut by holding out.
func Check(ctx context.Context, set *data.Dataset, workers int, progress func(done, total int)) (Checked, error) {
	all := set.All()
	var found data.Skipped
	c := Checked{Images: all.Len(), LeftOut: set.LeftOut}
	for i, one := range ahead.Range(ctx, all.Len(), workers, func(i int) seen { return see(all, i) }) {
		var bad *data.DamagedImage
		switch {
		case one.err == nil:
			c.OneColour.add(one, data.NameOf(all, i))
		case errors.As(one.err, &bad):
			found.Add(bad)
		default:
			return c, one.err
		}
		if progress != nil {
			progress(i+1, all.Len())
		}
	}
	c.Damaged = append([]data.SkippedImage{}, found.List()...)
	return c, ctx.Err()
}

// seen is what is kept of an image that was looked at.
type seen struct {
	width, height   int
	lowest, highest int
	flat            bool // of nearly one colour
	err             error
}

// see looks at image i.
func see(s data.Split, i int) (one seen) {
	one.err = data.Whole(s, i, func(img data.Image) error {
		one = seen{width: img.Width, height: img.Height, lowest: 255, flat: true}
		for c := range img.Channels {
			low, high := uint8(255), uint8(0)
			for k := c; k < len(img.Pixels); k += img.Channels {
				low, high = min(low, img.Pixels[k]), max(high, img.Pixels[k])
			}
			one.lowest, one.highest = min(one.lowest, int(low)), max(one.highest, int(high))
			one.flat = one.flat && high-low <= oneColour
		}
		return nil
	})
	return one
}

// OneColour says if there is nothing to see in most of some training images, spread evenly; else
// it is empty.
func OneColour(ctx context.Context, d *data.Dataset) string {
	const some = 32
	n := min(some, d.Train.Len())
	if n == 0 {
		return ""
	}
	var flat OneColourInfo
	for i, one := range ahead.Range(ctx, n, 0, func(i int) seen { return see(d.Train, i*d.Train.Len()/n) }) {
		if one.err == nil { // else it is told when it is its turn
			flat.add(one, data.NameOf(d.Train, i*d.Train.Len()/n))
		}
	}
	if 2*flat.Images <= n {
		return ""
	}
	return fmt.Sprintf("%d of %s that were looked at are %s", flat.Images, printable.Count(n, "training image"), flat)
}

// String is what the images are, as a sentence goes on.
func (o OneColourInfo) String() string {
	return fmt.Sprintf("of nearly one colour (%d black, %d white), the first %s; grey of 16 bits with small values and pictures that are in the transparency alone become black", o.Black, o.White, o.First)
}
