package prenas_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"log"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"prenas/pkg/prenas"
)

var (
	shapes = filepath.Join("testdata", "shapes.safetensors")
	conv   = filepath.Join("testdata", "shapes_conv.safetensors") // the same as a convolutional network
	red    = color.NRGBA{230, 60, 60, 255}
	blue   = color.NRGBA{60, 60, 230, 255}
)

// picture has a coloured square on a dark ground.
func picture(c color.Color) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, 24, 24))
	draw.Draw(img, img.Bounds(), image.NewUniform(color.NRGBA{30, 40, 50, 255}), image.Point{}, draw.Src)
	draw.Draw(img, image.Rect(4, 4, 20, 20), image.NewUniform(c), image.Point{}, draw.Src)
	return img
}

func Example() {
	model, err := prenas.Load("testdata/shapes.safetensors", prenas.Options{Backend: "go"})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	// Any image.Image does: one from image.Decode, or one that was drawn.
	classes, err := model.Classify(picture(color.NRGBA{60, 60, 230, 255}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("it is a", classes[0].Name)
	fmt.Println("it could have been any of", model.Classes())
	// Output:
	// it is a square
	// it could have been any of [circle square]
}

func load(t *testing.T, file string, o prenas.Options) *prenas.Model {
	t.Helper()
	model, err := prenas.Load(file, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := model.Close(); err != nil {
			t.Error(err)
		}
	})
	return model
}

// Alone, in batches that are filled up, and on both backends, an image has the same
// classes and, but for rounding, the same probabilities.
func TestClassifyAllIsClassify(t *testing.T) {
	images := []image.Image{picture(red), picture(blue), picture(red), picture(color.White), picture(blue)}
	for _, file := range []string{shapes, conv} {
		alone := load(t, file, prenas.Options{Backend: "go"})
		for _, o := range []prenas.Options{{Backend: "go", Batch: 2}, {Backend: "go", Batch: 8}, {Batch: 3}} {
			all, err := load(t, file, o).ClassifyAll(images)
			if err != nil {
				t.Fatal(err)
			}
			if len(all) != len(images) {
				t.Fatalf("%s, %+v: %d results of %d images", file, o, len(all), len(images))
			}
			for i, img := range images {
				one, err := alone.Classify(img)
				if err != nil {
					t.Fatal(err)
				}
				sum := 0.0
				for k := range one {
					sum += all[i][k].Probability
					if d := math.Abs(one[k].Probability - all[i][k].Probability); one[k].Index != all[i][k].Index || d > 1e-5 {
						t.Errorf("%s, %+v: image %d: %+v, alone %+v", file, o, i, all[i], one)
					}
				}
				if math.Abs(sum-1) > 1e-9 {
					t.Errorf("%s, %+v: image %d: probabilities add up to %v", file, o, i, sum)
				}
			}
			if all[0][0].Name != "circle" || all[1][0].Name != "square" {
				t.Errorf("%s, %+v: %s and %s, want circle and square", file, o, all[0][0].Name, all[1][0].Name)
			}
		}
	}
}

// Products in bf16 move probabilities by rounding only.
func TestPrecision(t *testing.T) {
	for _, file := range []string{shapes, conv} {
		whole, err := load(t, file, prenas.Options{Backend: "go"}).Classify(picture(blue))
		if err != nil {
			t.Fatal(err)
		}
		rounded, err := load(t, file, prenas.Options{Backend: "go", Precision: "bf16"}).Classify(picture(blue))
		if err != nil {
			t.Fatal(err)
		}
		d := math.Abs(whole[0].Probability - rounded[0].Probability)
		if whole[0].Index != rounded[0].Index || d == 0 || d > 0.02 {
			t.Errorf("%s: %+v in float32 and %+v in bf16", file, whole, rounded)
		}
	}
	if _, err := prenas.Load(shapes, prenas.Options{Precision: "half"}); err == nil || !strings.Contains(err.Error(), `precision is "half"`) {
		t.Errorf("unknown precision: %v", err)
	}
}

func TestManyGoroutinesMayClassify(t *testing.T) {
	model := load(t, shapes, prenas.Options{Backend: "go"})
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			want, c := "circle", color.Color(red)
			if i%2 == 1 {
				want, c = "square", blue
			}
			classes, err := model.Classify(picture(c))
			if err != nil || classes[0].Name != want {
				t.Errorf("%v (%v), want %s", classes, err, want)
			}
		})
	}
	wait.Wait()
}

// A model that is stopped compiles nothing more, says so, and can be closed.
func TestStop(t *testing.T) {
	stop := make(chan struct{})
	model := load(t, shapes, prenas.Options{Backend: "go", Stop: stop})
	if _, err := model.Classify(picture(red)); err != nil {
		t.Fatal(err)
	}
	close(stop)
	if _, err := model.ClassifyAll([]image.Image{picture(red), picture(blue)}); !errors.Is(err, context.Canceled) {
		t.Errorf("a batch that needs a program of its own, after the stop: %v", err)
	}
	if classes, err := model.Classify(picture(red)); err != nil || classes[0].Name != "circle" {
		t.Errorf("an image whose program there is: %v, %v", classes, err)
	}
}

func TestBadInput(t *testing.T) {
	model := load(t, shapes, prenas.Options{Backend: "go"})
	if _, err := model.Classify(nil); !errors.Is(err, prenas.ErrNoImage) {
		t.Errorf("nil image: %v", err)
	}
	if _, err := model.Classify(image.NewGray(image.Rectangle{})); !errors.Is(err, prenas.ErrNoImage) {
		t.Errorf("empty image: %v", err)
	}
	for _, path := range []string{"missing.safetensors", "prenas_test.go", "testdata"} {
		if _, err := prenas.Load(path, prenas.Options{}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("load %s: %v", path, err)
		}
	}
	if _, err := prenas.Load(shapes, prenas.Options{Backend: "abacus"}); err == nil || !strings.Contains(err.Error(), "abacus") {
		t.Errorf("unknown backend: %v", err)
	}
}
