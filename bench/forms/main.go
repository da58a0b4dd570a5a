// Command forms trains the small quickstart on Fashion-MNIST kept in every form that
// holds image files, and packed, and compares what comes out.
//
//	go run ./bench/forms
//
// The images are made JPEG files once. The folder, the tar shards, the Parquet files and
// the packed form hold the same ones in the same order, so their runs must end with the
// same accuracy to the last digit: it is an error if they do not. The original, which no JPEG
// has touched, is there to compare with.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"prenas/internal/data"
	"prenas/internal/data/pack"
	"prenas/internal/data/source"
	"prenas/internal/program"
)

func main() {
	most := flag.Int("images", 60000, "training images to use, at most")
	keep := flag.String("out", "", "folder for the forms and the runs (default: a temporary one)")
	flag.Parse()
	program.Main("forms", func(ctx context.Context) error { return run(ctx, *most, *keep) })
}

func run(ctx context.Context, most int, dir string) error {
	if dir == "" {
		temporary, err := os.MkdirTemp("", "prenas-forms-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		dir = temporary
	}
	program := filepath.Join(dir, "prenas")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/prenas")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build ./cmd/prenas: %w", err)
	}
	if err := write(ctx, most, dir); err != nil {
		return err
	}
	var want []float64
	for _, source := range []string{"folder:" + filepath.Join(dir, "folder"), "tar:" + filepath.Join(dir, "tar"),
		"parquet:" + filepath.Join(dir, "parquet"), "pack:" + filepath.Join(dir, "pack"), "fashion-mnist"} {
		kind, _, _ := strings.Cut(source, ":")
		began := time.Now()
		top1, err := quickstart(ctx, program, source, filepath.Join(dir, "run-"+kind))
		if err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
		fmt.Printf("%-14s test top-1 %% %.2f  (%.0f s)\n", kind, top1, time.Since(began).Seconds())
		if want == nil {
			want = top1
		}
		if kind != "fashion-mnist" && !slices.Equal(top1, want) {
			return fmt.Errorf("%s: its accuracies are not those of the folder", source)
		}
	}
	return nil
}

// quickstart returns the test accuracy of each architecture in percent.
func quickstart(ctx context.Context, program, source, out string) (top1 []float64, err error) {
	c := exec.CommandContext(ctx, program, "quickstart", "--small", "--quiet", "--json", "--data", source, "--out", out)
	c.Stderr = os.Stderr
	text, err := c.Output()
	if err != nil {
		return nil, err
	}
	var results struct {
		Architectures []struct {
			Top1 float64 `json:"top1"`
		} `json:"architectures"`
	}
	if err := json.Unmarshal(text, &results); err != nil {
		return nil, err
	}
	for _, a := range results.Architectures {
		top1 = append(top1, 100*a.Top1)
	}
	return top1, nil
}

// write writes Fashion-MNIST in all forms, by class, as a folder lists it.
func write(ctx context.Context, most int, dir string) error {
	set, err := source.Open(ctx, "fashion-mnist", source.Options{})
	if err != nil {
		return err
	}
	for _, split := range []struct {
		name string
		data.Split
	}{{"train", set.Train}, {"test", set.Test}} {
		n := split.Len()
		if split.name == "train" {
			n = min(n, most)
		}
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return split.Label(a) - split.Label(b) })
		var images []picture
		for k, i := range order {
			one, err := encode(split.Split, i, k)
			if err != nil {
				return err
			}
			images = append(images, one)
		}
		for _, form := range []func(string, string, []picture) error{writeFolder, writeTars, writeParquet} {
			if err := form(dir, split.name, images); err != nil {
				return err
			}
		}
	}
	if set, err = source.Open(ctx, "folder:"+filepath.Join(dir, "folder"), source.Options{}); err != nil {
		return err
	}
	_, err = pack.Write(ctx, set, filepath.Join(dir, "pack"), pack.Options{Source: "folder"})
	return err
}
