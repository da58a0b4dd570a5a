// Command data measures how fast images become a model's input, on one core, beside
// torchvision with PIL in the same run: the same JPEG files, the same crops and mirrors,
// the same filter, normalised float32 at the end.
//
//	pip install -r bench/data/requirements.txt
//	go run ./bench/data
//
// Our sides are the usual build, one with the tag turbojpeg, and the images packed at
// their full size. All take turns, so that what else the machine does falls on each. The
// sums of their results are compared: a side that leaves work out is an error.
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"prenas/internal/augment"
	"prenas/internal/data/pack"
	"prenas/internal/data/source"
	"prenas/internal/rng"
)

const (
	size = 224
	seed = 1
)

var (
	scale = [2]float64{0.08, 1}
	ratio = [2]float64{3.0 / 4, 4.0 / 3}
)

func main() {
	images := flag.Int("images", 300, "JPEG files of 500x375 pixels, the most common size in ImageNet")
	photos := flag.Int("photos", 30, "JPEG files of 2000x1500 pixels, of which the tag turbojpeg decodes some smaller")
	rounds := flag.Int("rounds", 5, "turns of each side")
	python := flag.String("python", "python3", "interpreter with the packages of bench/data/requirements.txt; empty: no peer")
	worker := flag.Bool("worker", false, "be one of the sides: read work from standard input (the program starts itself so)")
	flag.Parse()
	err := error(nil)
	if *worker {
		err = workFor(os.Stdin, os.Stdout)
	} else {
		err = run(*images, *photos, *rounds, *python)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "data:", err)
		os.Exit(1)
	}
}

func run(images, photos, rounds int, python string) error {
	dir, err := os.MkdirTemp("", "prenas-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var sides []*side
	defer func() {
		for _, s := range sides {
			s.stop()
		}
	}()
	for _, build := range []struct{ name, tags string }{{"prenas", ""}, {"prenas, tag turbojpeg", "turbojpeg"}} {
		program := filepath.Join(dir, "worker"+build.tags)
		if text, err := exec.Command("go", "build", "-tags", build.tags, "-o", program, "./bench/data").CombinedOutput(); err != nil {
			return fmt.Errorf("go build -tags %q: %w: %s", build.tags, err, strings.TrimSpace(string(text)))
		}
		s, err := start(build.name, program, "-worker")
		if err != nil {
			return err
		}
		sides = append(sides, s)
	}
	packed := *sides[0] // the same process
	packed.name, packed.packed = "prenas, packed", true
	sides = append(sides, &packed)
	if python != "" {
		peer, err := startPeer(python)
		if err != nil {
			return err
		}
		sides = append(sides, peer)
	}
	for _, pictures := range []struct{ count, height, width int }{{images, 375, 500}, {photos, 1500, 2000}} {
		if pictures.count == 0 {
			continue
		}
		in := filepath.Join(dir, fmt.Sprint(pictures.width))
		files, bytes, err := writePictures(filepath.Join(in, "train", "class"), pictures.count, pictures.height, pictures.width)
		if err != nil {
			return err
		}
		fmt.Printf("\n%d JPEG files of %dx%d pixels, %d bytes in the mean; one core; images/s, best and median of %d turns,\n"+
			"and the median of the ratio to %s in the same turn\n", pictures.count, pictures.width, pictures.height, bytes/pictures.count, rounds, sides[len(sides)-1].name)
		w := work{Folder: "folder:" + in, Pack: "pack:" + filepath.Join(in, "pack"), Size: size, Files: files}
		set, err := source.Open(context.Background(), w.Folder, source.Options{})
		if err != nil {
			return err
		}
		if _, err := pack.Write(context.Background(), set, filepath.Join(in, "pack"), pack.Options{Source: w.Folder}); err != nil {
			return err
		}
		for i := range files {
			r := stream(i)
			part := augment.DrawCrop(pictures.height, pictures.width, scale, ratio, r)
			w.Crops = append(w.Crops, [4]int{part.Min.Y, part.Min.X, part.Dy(), part.Dx()})
			w.Flips = append(w.Flips, r.Float64() < 0.5)
		}
		for _, w.Filter = range []string{"bilinear", "bicubic"} {
			if err := compare(sides, w, rounds); err != nil {
				return err
			}
		}
	}
	return nil
}

func stream(i int) *rand.Rand { return rng.New(seed, "augment", 0, uint64(i)) }

// compare lets all sides take turns and prints a line for each. Ratios are to the last one: the
// peer, if there is one.
func compare(sides []*side, w work, rounds int) error {
	speeds := make([][]float64, len(sides))
	for range rounds {
		var first float64
		for k, s := range sides {
			t, err := s.turn(w)
			if err != nil {
				return err
			}
			if k == 0 {
				first = t.Sum
			}
			if apart := math.Abs(t.Sum-first) / float64(len(w.Files)*3*size*size); apart > 0.01 {
				return fmt.Errorf("%s: the values of %s and %s are %v apart in the mean", w.Filter, sides[0].name, s.name, apart)
			}
			speeds[k] = append(speeds[k], float64(len(w.Files))/t.Seconds)
		}
	}
	last := speeds[len(sides)-1]
	for k, s := range sides {
		ratios := make([]float64, rounds)
		for i := range ratios {
			ratios[i] = speeds[k][i] / last[i]
		}
		fmt.Printf("%-9s %-22s %6.0f %6.0f %7.2f\n", w.Filter, s.name, slices.Max(speeds[k]), median(speeds[k]), median(ratios))
	}
	return nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
