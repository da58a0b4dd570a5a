package data

import (
	"fmt"
	"image"
	"image/color"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// FromImage copies a decoded image as RGB; transparency is dropped.
func FromImage(from image.Image) Image {
	b := from.Bounds()
	img := Image{Pixels: make([]uint8, 0, 3*b.Dx()*b.Dy()), Height: b.Dy(), Width: b.Dx(), Channels: 3}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := color.NRGBAModel.Convert(from.At(x, y)).(color.NRGBA)
			img.Pixels = append(img.Pixels, c.R, c.G, c.B)
		}
	}
	return img
}

// ReadImage reads an image file as RGB. Errors name the file.
func ReadImage(path string) (Image, error) { return readImage(path) }

// ListImages lists the image files below a folder, by their endings, in order.
func ListImages(dir string) ([]string, error) {
	var list []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && slices.Contains(imageEndings, strings.ToLower(filepath.Ext(path))) {
			list = append(list, path)
		}
		return err
	})
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%w in %s: images end in %s", ErrEmpty, dir, strings.Join(imageEndings, " "))
	}
	return list, err
}
