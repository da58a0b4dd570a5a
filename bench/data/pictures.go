package main

import (
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"os"
	"path/filepath"

	"prenas/internal/rng"
)

// writePictures writes JPEG files, quality 90, with about as many bytes as photographs of
// their size have: waves at several scales, an edge here and there, some noise.
func writePictures(dir string, count, height, width int) (files []string, bytes int, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, 0, err
	}
	for n := range count {
		path := filepath.Join(dir, fmt.Sprintf("%05d.jpg", n))
		file, err := os.Create(path)
		if err != nil {
			return nil, 0, err
		}
		if err := jpeg.Encode(file, picture(uint64(n), height, width), &jpeg.Options{Quality: 90}); err != nil {
			return nil, 0, err
		}
		info, err := file.Stat()
		if err != nil {
			return nil, 0, err
		}
		if err := file.Close(); err != nil {
			return nil, 0, err
		}
		files, bytes = append(files, path), bytes+int(info.Size())
	}
	return files, bytes, nil
}

func picture(n uint64, height, width int) image.Image {
	r := rng.New(n, "picture")
	var waves [12][4]float64 // per wave: across, down, phase, height
	for i := range waves {
		length := 2 * math.Pi / (200 / math.Pow(1.5, float64(i)))
		angle := 2 * math.Pi * r.Float64()
		waves[i] = [4]float64{length * math.Cos(angle), length * math.Sin(angle), 6 * r.Float64(), 45 / math.Pow(1.25, float64(i))}
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			v := 120.0
			for _, w := range waves {
				v += w[3] * math.Sin(w[0]*float64(x)+w[1]*float64(y)+w[2])
			}
			if (x/97+y/71)%3 == 0 {
				v += 40
			}
			level := func(shift float64) uint8 { return uint8(min(max(v+shift+6*r.NormFloat64(), 0), 255)) }
			img.SetRGBA(x, y, color.RGBA{level(20), level(0), level(-20 + 0.1*float64(x)), 255})
		}
	}
	return img
}
