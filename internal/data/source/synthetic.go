package source

import (
	"context"
	"fmt"
	"strconv"

	"prenas/internal/data"
	"prenas/internal/rng"
)

// Limits of synthetic images.
const (
	maxSyntheticSide   = 4096
	maxSyntheticImages = 1 << 30
	syntheticNoise     = 96 // of 256 levels, around the class's colour
)

// openSynthetic makes images up: CLASSESxCOUNTxSIZE are COUNT training images of
// SIZE x SIZE pixels in CLASSES classes, and a tenth as many test images, one of
// each class at least. They cost no disk and little time, so a benchmark of them
// is one of all that comes after the source.
func openSynthetic(_ context.Context, path string, _ Options) (*data.Dataset, error) {
	classes, count, side, err := parseSynthetic(path)
	if err != nil {
		return nil, err
	}
	d := &data.Dataset{
		Train:  synthetic{purpose: "synthetic train", classes: classes, count: count, side: side},
		Test:   synthetic{purpose: "synthetic test", classes: classes, count: max(count/10, classes), side: side},
		Digest: fmt.Sprintf("synthetic %dx%dx%d", classes, count, side), Channels: 3,
	}
	for i := range classes {
		d.Classes = append(d.Classes, strconv.Itoa(i))
	}
	return d, nil
}

func parseSynthetic(path string) (classes, count, side int, err error) {
	var rest string
	n, _ := fmt.Sscanf(path+" .", "%dx%dx%d %s", &classes, &count, &side, &rest)
	if n != 4 || rest != "." || classes < 1 || count < classes || count > maxSyntheticImages || side < 1 || side > maxSyntheticSide {
		return 0, 0, 0, fmt.Errorf("%w %q: want synthetic:CLASSESxCOUNTxSIZE, as synthetic:10x5000x224, with at least an image a class and a SIZE up to %d", data.ErrSource, "synthetic:"+path, maxSyntheticSide)
	}
	return classes, count, side, nil
}

// synthetic is a split of images that are made when they are asked for.
type synthetic struct {
	purpose              string
	classes, count, side int
}

func (s synthetic) Len() int        { return s.count }
func (s synthetic) Label(i int) int { return i % s.classes }

// Image is noise around the colour of its class, a pure function of the split
// and i.
func (s synthetic) Image(i int) (data.Image, error) {
	colour, noise := rng.New(0, "synthetic class", uint64(s.Label(i))), rng.New(0, s.purpose, uint64(i))
	var base [3]uint8
	for c := range base {
		base[c] = uint8(colour.IntN(256 - syntheticNoise))
	}
	img := data.Image{Pixels: make([]uint8, 3*s.side*s.side), Height: s.side, Width: s.side, Channels: 3}
	for at := 0; at < len(img.Pixels); {
		for bits, k := noise.Uint64(), 0; k < 8 && at < len(img.Pixels); k, bits, at = k+1, bits>>8, at+1 {
			img.Pixels[at] = base[at%3] + uint8(bits&255*syntheticNoise>>8)
		}
	}
	return img, nil
}
