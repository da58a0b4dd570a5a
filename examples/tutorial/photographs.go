package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
	_ "image/png"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"

	"prenas/internal/rng"
)

// photograph is one of those in the wheel of scikit-image, which anybody may use: the licences
// are in its module skimage.data. A class of the tutorial is what is cut out of one.
type photograph struct{ class, file, sum string }

var photographs = []photograph{
	{"brick", "brick.png", "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf"},             // CC0
	{"fur", "chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"},             // CC0, a cat
	{"grass", "grass.png", "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"},             // CC0
	{"gravel", "gravel.png", "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12"},           // CC0
	{"stars", "hubble_deep_field.jpg", "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4"}, // public domain, NASA
	{"tissue", "ihc.png", "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef"},              // no known restrictions
}

// wheel is what pip is asked for. The files in it are the same for every system and Python; those of
// one are asked for so that any pip gets it.
var wheel = []string{"scikit-image==0.25.2", "--no-deps", "--only-binary=:all:", "--python-version=3.12", "--platform=manylinux2014_x86_64"}

// photos writes dir/train and dir/test: so many cuttings of each photograph, those to train on from its left
// part and those to test on from its right one, so that none shows a pixel of the other's.
func photos(ctx context.Context, dir string, train, test int) error {
	temp, err := os.MkdirTemp("", "prenas-tutorial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	pip := exec.CommandContext(ctx, "python3", append([]string{"-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", temp}, wheel...)...)
	pip.Stderr = os.Stderr
	if err := pip.Run(); err != nil {
		return fmt.Errorf("pip, for the photographs of %s: %w", wheel[0], err)
	}
	found, err := filepath.Glob(filepath.Join(temp, "*.whl"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("pip wrote %d wheels of %s: %w", len(found), wheel[0], err)
	}
	archive, err := zip.OpenReader(found[0])
	if err != nil {
		return err
	}
	defer archive.Close()
	for _, p := range photographs {
		img, err := p.read(archive)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", p.file, wheel[0], err)
		}
		if err := p.cut(img, dir, train, test); err != nil {
			return err
		}
	}
	return nil
}

func (p photograph) read(archive *zip.ReadCloser) (image.Image, error) {
	file, err := archive.Open(path.Join("skimage/data", p.file))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != p.sum {
		return nil, fmt.Errorf("its SHA-256 is %x, not %s", sum, p.sum)
	}
	img, _, err := image.Decode(bytes.NewReader(text))
	return img, err
}

// cut writes cuttings of 48 to 80 pixels a side.
func (p photograph) cut(img image.Image, dir string, train, test int) error {
	whole := img.Bounds()
	middle := whole.Min.X + whole.Dx()*5/8
	left, right := whole, whole
	left.Max.X, right.Min.X = middle, middle
	for _, split := range []struct {
		name  string
		part  image.Rectangle
		count int
	}{{"train", left, train}, {"test", right, test}} {
		folder := filepath.Join(dir, split.name, p.class)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		r := rng.New(1, "tutorial "+p.class+" "+split.name)
		for i := range split.count {
			width, height := 48+r.IntN(33), 48+r.IntN(33)
			corner := split.part.Min.Add(image.Pt(r.IntN(split.part.Dx()-width+1), r.IntN(split.part.Dy()-height+1)))
			cutting := image.NewRGBA(image.Rect(0, 0, width, height))
			draw.Draw(cutting, cutting.Bounds(), img, corner, draw.Src)
			var text bytes.Buffer
			if err := jpeg.Encode(&text, cutting, &jpeg.Options{Quality: 90}); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%03d.jpg", i)), text.Bytes(), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
