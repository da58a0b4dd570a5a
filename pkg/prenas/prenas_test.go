package prenas_test

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"io/fs"
	"log"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
	model, err := prenas.Load(context.Background(), "testdata/shapes.safetensors", prenas.Options{Backend: "go"})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	// Any image.Image does: one from image.Decode, or one that was drawn.
	classes, err := model.Classify(context.Background(), picture(color.NRGBA{60, 60, 230, 255}), 1)
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
	model, err := prenas.Load(t.Context(), file, o)
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
			all, err := load(t, file, o).ClassifyAll(t.Context(), images, 0)
			if err != nil {
				t.Fatal(err)
			}
			if len(all) != len(images) {
				t.Fatalf("%s, %+v: %d results of %d images", file, o, len(all), len(images))
			}
			for i, img := range images {
				one, err := alone.Classify(t.Context(), img, 0)
				if err != nil {
					t.Fatal(err)
				}
				sum := 0.0
				for k := range one {
					sum += all[i][k].Probability
					if one[k].Index != all[i][k].Index || !(math.Abs(one[k].Probability-all[i][k].Probability) <= 1e-5) {
						t.Errorf("%s, %+v: image %d: %+v, alone %+v", file, o, i, all[i], one)
					}
				}
				if !(math.Abs(sum-1) <= 1e-9) {
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
		whole, err := load(t, file, prenas.Options{Backend: "go"}).Classify(t.Context(), picture(blue), 0)
		if err != nil {
			t.Fatal(err)
		}
		rounded, err := load(t, file, prenas.Options{Backend: "go", Precision: "bf16"}).Classify(t.Context(), picture(blue), 0)
		if err != nil {
			t.Fatal(err)
		}
		d := math.Abs(whole[0].Probability - rounded[0].Probability)
		if whole[0].Index != rounded[0].Index || !(d > 0 && d <= 0.02) {
			t.Errorf("%s: %+v in float32 and %+v in bf16", file, whole, rounded)
		}
	}
	if _, err := prenas.Load(t.Context(), shapes, prenas.Options{Precision: "half"}); err == nil || !strings.Contains(err.Error(), `precision is "half"`) {
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
			classes, err := model.Classify(t.Context(), picture(c), 0)
			if err != nil || classes[0].Name != want {
				t.Errorf("%v (%v), want %s", classes, err, want)
			}
		})
	}
	wait.Wait()
}

// Where a context has ended a call returns its error; others go on.
func TestContext(t *testing.T) {
	ended, end := context.WithCancel(t.Context())
	end()
	model := load(t, shapes, prenas.Options{Backend: "go"})
	if _, err := model.Classify(ended, picture(red), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	// Two images need a program, which is compiled, so the context ends first.
	soon, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	many := slices.Repeat([]image.Image{picture(red)}, 500)
	if _, err := model.ClassifyAll(soon, many, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("an end in the middle: %v", err)
	}
	if classes, err := model.Classify(t.Context(), picture(red), 1); err != nil || len(classes) != 1 || classes[0].Name != "circle" {
		t.Errorf("another call: %v, %v", classes, err)
	}
	if err := model.Close(); err != nil {
		t.Error(err)
	}
	if _, err := model.Classify(t.Context(), picture(red), 1); !errors.Is(err, prenas.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

//go:embed testdata/shapes.safetensors
var embedded embed.FS

// A model in the program itself is the one in the file.
func ExampleLoadFS() {
	// //go:embed testdata/shapes.safetensors
	// var embedded embed.FS
	model, err := prenas.LoadFS(context.Background(), embedded, "testdata/shapes.safetensors", prenas.Options{Backend: "go"})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	width, height := model.InputSize()
	classes, err := model.Classify(context.Background(), picture(color.NRGBA{230, 60, 60, 255}), 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(classes[0].Name, "of", width, "x", height, "pixels")
	// Output: circle of 16 x 16 pixels
}

func TestLoadFS(t *testing.T) {
	for _, c := range []struct {
		path string
		want error
	}{{"testdata/none.safetensors", fs.ErrNotExist}, {"testdata/shapes.onnx", prenas.ErrKind}, {"testdata", prenas.ErrKind}} {
		if _, err := prenas.LoadFS(t.Context(), embedded, c.path, prenas.Options{Backend: "go"}); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v", c.path, err)
		}
	}
}

// The best k classes are the first of all, and logits are what probabilities are made of.
func TestTopAndLogits(t *testing.T) {
	model := load(t, shapes, prenas.Options{Backend: "go"})
	all, err := model.Classify(t.Context(), picture(blue), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []int{1, 2, 9} {
		top, err := model.Classify(t.Context(), picture(blue), k)
		if err != nil || !slices.Equal(top, all[:min(k, len(all))]) {
			t.Errorf("the best %d are %v (%v), all are %v", k, top, err, all)
		}
	}
	rows, err := model.Logits(t.Context(), []image.Image{picture(blue)})
	if err != nil || len(rows) != 1 || len(rows[0]) != len(all) {
		t.Fatal(rows, err)
	}
	sum := 0.0
	for _, v := range rows[0] {
		sum += math.Exp(float64(v))
	}
	for _, c := range all {
		if p := math.Exp(float64(rows[0][c.Index])) / sum; !(math.Abs(p-c.Probability) <= 1e-6) {
			t.Errorf("%s has probability %v, by its logits %v", c.Name, c.Probability, p)
		}
	}
}

func TestBadInput(t *testing.T) {
	model := load(t, shapes, prenas.Options{Backend: "go"})
	if _, err := model.Classify(t.Context(), nil, 0); !errors.Is(err, prenas.ErrNoImage) {
		t.Errorf("nil image: %v", err)
	}
	if _, err := model.Classify(t.Context(), image.NewGray(image.Rectangle{}), 0); !errors.Is(err, prenas.ErrNoImage) {
		t.Errorf("empty image: %v", err)
	}
	for _, path := range []string{"missing.safetensors", "prenas_test.go", "testdata"} {
		if _, err := prenas.Load(t.Context(), path, prenas.Options{}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("load %s: %v", path, err)
		}
	}
	if _, err := prenas.Load(t.Context(), shapes, prenas.Options{Backend: "abacus"}); err == nil || !strings.Contains(err.Error(), "abacus") {
		t.Errorf("unknown backend: %v", err)
	}
}
