package main

import (
	"context"
	"fmt"
	"image"
	"image/jpeg"
	_ "image/png"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/image/draw"
)

// pictures of the page: what a command wrote, and its width in the page.
var pictures = []struct {
	file, from string
	width      int // pixels at most
}{
	{"tutorial-sheet.jpg", "sheet.png", 900},
	{"tutorial-augmented.jpg", "run/augmented.png", 700},
	{"tutorial-report.jpg", "report.png", 900},
}

// pictures writes them beside the page, as JPEG, so that they are small.
func (t tutorial) pictures(ctx context.Context) error {
	shot := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,1500",
		"--screenshot="+filepath.Join(t.out, "report.png"), "file://"+filepath.Join(t.out, "run", "report.html"))
	if text, err := shot.CombinedOutput(); err != nil {
		return fmt.Errorf("chromium, for a picture of the report: %w: %s", err, text)
	}
	for _, p := range pictures {
		if err := shrink(filepath.Join(t.out, p.from), filepath.Join(filepath.Dir(t.page), p.file), p.width); err != nil {
			return err
		}
	}
	return nil
}

func shrink(from, to string, width int) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	img, _, err := image.Decode(in)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	size := img.Bounds()
	width = min(width, size.Dx())
	small := image.NewRGBA(image.Rect(0, 0, width, size.Dy()*width/size.Dx()))
	draw.CatmullRom.Scale(small, small.Bounds(), img, size, draw.Src, nil)
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := jpeg.Encode(out, small, &jpeg.Options{Quality: 75}); err != nil {
		return err
	}
	return out.Close()
}
