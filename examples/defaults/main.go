// Command defaults measures what a newcomer reaches who changes nothing: it takes some images of a
// source, as many of each class, writes them as a folder of images, and goes the README's way with
// the defaults alone, for both families: spaces suggest, search, train, eval. It prints a row for
// each number of images and family:
//
//	images    of them are held out by the recipe
//	top-1     of the largest architecture on all test images of the source, with its 95 % interval,
//	          and balanced accuracy
//	took      the training on this machine, as busy as it was, and the processor time that it
//	          had of it, which other work changes little
//
// Runs that are in the folder already are taken as they are, so a stopped measurement goes on. A
// row whose run is not there yet is left out with -table.
//
//	go run ./examples/defaults -data fashion-mnist -out defaults
//	go run ./examples/defaults -data tar:cifar10 -images 50,200,1000,5000 -out defaults
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"prenas/examples/internal/experiment"
	"prenas/internal/data"
	"prenas/internal/data/source"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/job"
	"prenas/internal/machine"
	"prenas/internal/recipe"
	"prenas/internal/rng"
	"prenas/pkg/search"
)

func main() {
	var x measurement
	var images, families string
	flag.StringVar(&x.out, "out", "defaults", "folder of images and runs")
	flag.StringVar(&x.data, "data", "fashion-mnist", "images, SRC")
	flag.StringVar(&images, "images", "50,200,1000,5000,50000", "numbers of training images, with commas between them")
	flag.StringVar(&families, "families", strings.Join(job.Families, ","), "families of networks, with commas between them")
	flag.StringVar(&x.params, "params", "", "parameters from..to, millions; empty: those that spaces suggest takes")
	flag.IntVar(&x.test, "test", 0, "test images; 0: all")
	flag.IntVar(&x.epochs, "epochs", 0, "epochs of each training; 0: the default")
	flag.IntVar(&x.seeds, "seeds", 1, "seeds to train with, from 1 on")
	flag.StringVar(&x.backend, "backend", "auto", "as in prenas --help")
	flag.BoolVar(&x.table, "table", false, "measure nothing: print the rows that there are")
	experiment.Main("defaults", func(ctx context.Context) error {
		for _, text := range strings.Split(images, ",") {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return fmt.Errorf("-images %q: %q is no number of images", images, text)
			}
			x.images = append(x.images, n)
		}
		x.families = strings.Split(families, ",")
		return x.run(ctx)
	})
}

type measurement struct {
	out, data, params, backend string
	images                     []int
	families                   []string
	test, seeds, epochs        int
	table                      bool

	engine *engine.Engine
}

// row is what a run reached; the file of it is written when it has ended.
type row struct {
	Images   int     `json:"images"`
	Family   string  `json:"family"`
	Seed     uint64  `json:"seed"`
	Updates  int     `json:"updates"`   // of the training
	Chosen   int     `json:"chosen"`    // update whose weights were taken
	Params   int64   `json:"params"`    // of the largest architecture
	MACs     int64   `json:"macs"`      // of it
	Top1     float64 `json:"top1"`      // of it
	Balanced float64 `json:"balanced"`  // of it
	Of       int     `json:"of"`        // test images
	Seconds  float64 `json:"seconds"`   // of the training
	CPU      float64 `json:"cpu"`       // processor seconds of it
	HeldTop1 float64 `json:"held_top1"` // mean over the architectures, when it was chosen
	Held     int     `json:"held"`
}

func (x measurement) run(ctx context.Context) error {
	if err := os.MkdirAll(x.out, 0o755); err != nil {
		return err
	}
	fmt.Println("| images | held out | family | parameters | MACs | updates | top-1 | 95 % interval | balanced | training took | processor time |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, n := range x.images {
		for _, family := range x.families {
			for seed := range uint64(x.seeds) {
				r, err := x.row(ctx, n, family, seed+1)
				if x.table && os.IsNotExist(err) {
					continue
				}
				if err != nil {
					return err
				}
				fmt.Printf("| %d | %d | %s | %.2f M | %.1f M | %d, that of %d taken | %.1f %% | %s | %.1f %% | %s | %s |\n", r.Images, r.Held, r.Family, float64(r.Params)/1e6, float64(r.MACs)/1e6,
					r.Updates, r.Chosen, 100*r.Top1, evaluate.Range(r.Top1, r.Of), 100*r.Balanced, span(r.Seconds), span(r.CPU))
			}
		}
	}
	return nil
}

func span(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second)
}

// row measures, or finds what was measured.
func (x *measurement) row(ctx context.Context, n int, family string, seed uint64) (r row, err error) {
	name := fmt.Sprintf("%d-%s-%d", n, family, seed)
	file := filepath.Join(x.out, name+".row.json")
	text, err := os.ReadFile(file)
	if err == nil {
		return r, json.Unmarshal(text, &r)
	}
	if x.table {
		return r, err
	}
	if x.engine == nil {
		if x.engine, err = engine.Open(ctx, engine.Options{Backend: x.backend, Devices: 1, Log: experiment.Say}); err != nil {
			return r, err
		}
	}
	folder := filepath.Join(x.out, fmt.Sprintf("images-%d", n))
	if err := x.take(ctx, n, folder); err != nil {
		return r, err
	}
	r, err = x.measure(ctx, "folder:"+folder, family, seed, filepath.Join(x.out, name))
	if err != nil {
		return r, err
	}
	r.Images = n
	if text, err = json.Marshal(r); err != nil {
		return r, err
	}
	return r, fsys.WriteAtomic(fsys.OS, file, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// take writes n training images of the source, the same number of each class, and its test images,
// as a folder of images.
func (x measurement) take(ctx context.Context, n int, folder string) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	set, err := source.Open(ctx, x.data, source.Options{Log: experiment.Say})
	if err != nil {
		return err
	}
	if set.Train.Len() < n {
		return fmt.Errorf("%s has %d training images, fewer than %d", x.data, set.Train.Len(), n)
	}
	part := folder + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	each := make([]int, len(set.Classes)) // images still to take of each class
	for i := range n {
		each[i%len(each)]++
	}
	write := func(split string, images data.Split, order []int, wanted func(label int) bool) error {
		for _, i := range order {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !wanted(images.Label(i)) {
				continue
			}
			if err := writePNG(images, i, filepath.Join(part, split, strings.ReplaceAll(set.Classes[images.Label(i)], "/", "-"))); err != nil {
				return err
			}
		}
		return nil
	}
	err = write("train", set.Train, rng.New(1, "defaults").Perm(set.Train.Len()), func(label int) bool {
		each[label]--
		return each[label] >= 0
	})
	if err != nil {
		return err
	}
	test := rng.New(2, "defaults").Perm(set.Test.Len())
	if x.test > 0 {
		test = test[:min(x.test, len(test))]
	}
	if err := write("test", set.Test, test, func(int) bool { return true }); err != nil {
		return err
	}
	return os.Rename(part, folder)
}

// writePNG writes an image into the folder of its class.
func writePNG(images data.Split, i int, folder string) error {
	img, err := images.Image(i)
	if err != nil {
		return err
	}
	out := image.NewNRGBA(image.Rect(0, 0, img.Width, img.Height))
	for y := range img.Height {
		for x := range img.Width {
			p := img.Pixels[(y*img.Width+x)*img.Channels:]
			c := color.NRGBA{p[0], p[0], p[0], 255}
			if img.Channels == 3 {
				c.G, c.B = p[1], p[2]
			}
			out.SetNRGBA(x, y, c)
		}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(folder, fmt.Sprintf("%06d.png", i)))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := png.Encode(file, out); err != nil {
		return err
	}
	return file.Close()
}

// measure goes the README's way.
func (x measurement) measure(ctx context.Context, source, family string, seed uint64, run string) (r row, err error) {
	r = row{Family: family, Seed: seed}
	o := job.SuggestOptions{Data: source, Family: family, Params: job.Range{Min: math.NaN(), Max: math.NaN()}, Latency: math.NaN(), Name: "suggested", Log: experiment.Say}
	if x.params != "" {
		if _, err := fmt.Sscanf(x.params, "%f..%f", &o.Params.Min, &o.Params.Max); err != nil {
			return r, fmt.Errorf("-params %q: want from..to: %w", x.params, err)
		}
	}
	suggested, err := job.Suggest(ctx, o)
	if err != nil {
		return r, err
	}
	candidates := run + ".candidates.json"
	_, _, err = job.Search(ctx, job.SearchOptions{
		Engine: x.engine, Space: suggested.Space, Scoring: job.Scoring{Seed: seed, Data: source, Batches: 1, Log: experiment.Say}, Search: search.Options{Interval: suggested.Space.Interval}, Out: candidates, Log: experiment.Say,
	})
	if err != nil {
		return r, err
	}
	options := job.TrainOptions{Engine: x.engine, Candidates: candidates, Data: source, Seed: seed, Out: run, Log: experiment.Say, Override: recipe.Override{Epochs: x.epochs}}
	if options.Recipe, err = options.DefaultRecipe(); err != nil {
		return r, err
	}
	if _, err := os.Stat(filepath.Join(run, "manifest.json")); err == nil {
		if options, err = job.Resumed(run); err != nil {
			return r, err
		}
		options.Engine, options.Log = x.engine, experiment.Say
	}
	options.Progress = experiment.Progress(run)
	began, cpu := time.Now(), machine.ProcessorTime()
	trained, err := job.Train(ctx, options)
	if err != nil {
		return r, err
	}
	r.CPU = (machine.ProcessorTime() - cpu).Seconds()
	r.Seconds, r.Updates, r.Chosen, r.Held = time.Since(began).Seconds(), trained.Step, trained.BestStep, trained.HeldOut
	if trained.BestTop1 != nil {
		r.HeldTop1 = *trained.BestTop1
	}
	results, err := job.Evaluate(ctx, job.EvaluateOptions{Engine: x.engine, Run: run, Batch: 100, Log: experiment.Say})
	if err != nil {
		return r, err
	}
	r.Of = results.Images
	for _, a := range results.Archs {
		if a.Params > r.Params {
			r.Params, r.MACs, r.Top1, r.Balanced = a.Params, a.MACs, a.Top1, a.Balanced
		}
	}
	return r, nil
}
