// Command shrink measures what prenas shrink gains: a pretrained vision transformer is shrunk to
// some budgets of multiply-accumulates, by one training, beside
//
//	Torch-Pruning  one run for each budget: the same original pruned by Taylor importance (peer.py), then
//	               fine-tuned
//	from scratch   the same architectures in the same way, from fresh weights and with labels alone
//
// All of a row's budgets together see the same number of images, so each run of Torch-Pruning sees
// its part. A second row of it has as many images for each budget as the others for all.
//
// Test top-1 goes to standard output as a table. Rows that are in the folder already are taken as
// they are, and a training that was cut goes on, so that a stopped measurement is gone on with by
// the same command.
//
//	pip install -r examples/shrink/requirements.txt
//	go run ./examples/shrink -model dinov2.safetensors -norm-eps 1e-6 -image-size 56 -data folder:cifar -epochs 4 -out shrink
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"prenas/examples/internal/experiment"
	"prenas/internal/engine"
	"prenas/internal/evaluate"
	"prenas/internal/fsys"
	"prenas/internal/job"
	"prenas/internal/pretrained"
	"prenas/internal/recipe"
	"prenas/internal/rundir"
)

func main() {
	var x comparison
	var budgets string
	flag.StringVar(&x.model, "model", "", "weights of a vision transformer, as prenas shrink takes them")
	flag.Float64Var(&x.hints.NormEps, "norm-eps", 0, "as in prenas shrink --help")
	flag.IntVar(&x.size, "image-size", 0, "as in prenas shrink --help")
	flag.StringVar(&x.data, "data", "", "images, SRC; Torch-Pruning takes a folder with train and test")
	flag.StringVar(&budgets, "budgets", "75%,50%,25%", "shares of the original's multiply-accumulates")
	flag.IntVar(&x.epochs, "epochs", 0, "epochs of all budgets together; 0: the recipe's")
	flag.IntVar(&x.first, "first", 1, "first seed")
	flag.IntVar(&x.seeds, "seeds", 3, "how many seeds")
	flag.StringVar(&x.rates, "peer-lr", "3e-5,1e-4", "learning rates of Torch-Pruning's fine-tuning, a row for each")
	flag.StringVar(&x.python, "python", "python3", "interpreter with the packages of examples/shrink/requirements.txt; empty: without Torch-Pruning")
	flag.StringVar(&x.out, "out", "shrink", "folder of the runs")
	flag.StringVar(&x.backend, "backend", "auto", "as in prenas --help")
	experiment.Main("shrink", func(ctx context.Context) error { return x.run(ctx, budgets) })
}

type comparison struct {
	model, data, rates, python, out, backend string
	hints                                    pretrained.Hints
	size, epochs, first, seeds               int
	shares                                   []float64

	engine *engine.Engine
}

// row of the table: what each budget reached, the largest first.
type row struct {
	Name    string    `json:"name"`
	Seed    uint64    `json:"seed"`
	Images  int       `json:"images"` // seen in training, by all budgets
	MACs    []float64 `json:"macs"`   // millions
	Top1    []float64 `json:"top1"`
	Of      int       `json:"of"`      // test images
	Seconds float64   `json:"seconds"` // of all that it took
}

func (x *comparison) run(ctx context.Context, budgets string) (err error) {
	for text := range strings.SplitSeq(budgets, ",") {
		v, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
		if err != nil || !strings.HasSuffix(text, "%") {
			return fmt.Errorf("-budgets %s: %q is no percentage", budgets, text)
		}
		x.shares = append(x.shares, v/100)
	}
	if x.model == "" || x.data == "" {
		return errors.New("-model and -data are needed")
	}
	if x.engine, err = engine.Open(ctx, engine.Options{Backend: x.backend, Devices: 1, Log: experiment.Say}); err != nil {
		return err
	}
	defer x.engine.Close()
	for seed := range x.seeds {
		seed := uint64(x.first + seed)
		folder := filepath.Join(x.out, fmt.Sprintf("seed-%d", seed))
		if err := fsys.OS.MkdirAll(folder); err != nil {
			return err
		}
		measures := []struct {
			name    string
			measure func() (row, error)
		}{
			{"shrunk", func() (row, error) { return x.shrink(ctx, folder, seed) }},
			{"scratch", func() (row, error) { return x.scratch(ctx, folder, seed) }},
		}
		if x.python != "" {
			for rate := range strings.SplitSeq(x.rates, ",") {
				for _, each := range []bool{false, true} {
					name := map[bool]string{false: "peer-" + rate, true: "peer-each-" + rate}[each]
					measures = append(measures, struct {
						name    string
						measure func() (row, error)
					}{name, func() (row, error) { return x.peer(ctx, folder, seed, rate, each) }})
				}
			}
		}
		var rows []row
		for _, m := range measures {
			r, err := kept(filepath.Join(folder, m.name+".row.json"), m.measure)
			if err != nil {
				return fmt.Errorf("%s, seed %d: %w", m.name, seed, err)
			}
			rows = append(rows, r)
		}
		x.print(folder, seed, rows)
	}
	return nil
}

// kept is what a file has of an earlier run of this program, or else what is measured now, which the file gets.
func kept(file string, measure func() (row, error)) (r row, err error) {
	text, err := os.ReadFile(file)
	if err == nil {
		return r, json.Unmarshal(text, &r)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	began := time.Now()
	if r, err = measure(); err != nil {
		return r, err
	}
	r.Seconds = time.Since(began).Seconds()
	if text, err = json.Marshal(r); err != nil {
		return r, err
	}
	return r, fsys.WriteAtomic(fsys.OS, file, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// print the rows of a seed, the original's before them.
func (x *comparison) print(folder string, seed uint64, rows []row) {
	original, err := evaluate.ReadOriginal(fsys.OS, filepath.Join(folder, "family", evaluate.OriginalFile))
	if err != nil {
		experiment.Say(err.Error())
		return
	}
	var head, line []string
	for _, share := range x.shares {
		head, line = append(head, fmt.Sprintf("%.4g %%", 100*share)), append(line, "---")
	}
	fmt.Printf("| seed %d | images | time | %s |\n| --- | --- | --- | %s |\n", seed, strings.Join(head, " | "), strings.Join(line, " | "))
	whole := original.Result()
	fmt.Printf("| the original, %.1f M MACs: %.2f | | | %s |\n", float64(whole.MACs)/1e6, 100*whole.Top1, strings.Repeat("| ", len(x.shares)-1))
	for _, r := range rows {
		var values []string
		for i, v := range r.Top1 {
			values = append(values, fmt.Sprintf("%.2f (%.1f M)", 100*v, r.MACs[i]))
		}
		fmt.Printf("| %s | %d | %s | %s |\n", r.Name, r.Images, time.Duration(r.Seconds*float64(time.Second)).Round(time.Second), strings.Join(values, " | "))
	}
	fmt.Println()
}

func (x *comparison) shrink(ctx context.Context, folder string, seed uint64) (r row, err error) {
	r = row{Name: "shrunk", Seed: seed}
	by, err := recipe.Load("shrink")
	if err != nil {
		return r, err
	}
	quiet := func(int, int) {}
	family := filepath.Join(folder, "family")
	s, err := job.Shrink(ctx, job.ShrinkOptions{
		Open: func(ctx context.Context) (*engine.Engine, error) {
			return engine.Open(ctx, engine.Options{Backend: x.backend, Devices: 1, Log: experiment.Say})
		},
		File: x.model, Hints: x.hints, Data: x.data, ImageSize: x.size, Budgets: job.Budgets{Shares: x.shares}, Recipe: by,
		Override: recipe.Override{Epochs: x.epochs}, Seed: seed, Out: family, Command: strings.Join(os.Args, " "), Log: experiment.Say,
		Fetch: func(int64, int64) {}, Features: quiet, Gradients: quiet, Measuring: quiet, Training: experiment.Progress(family), Evaluating: quiet,
	})
	if err != nil {
		return r, err
	}
	r.take(s.Family)
	r.Images, err = seen(family)
	return r, err
}

// scratch trains the family's architectures from fresh weights.
func (x *comparison) scratch(ctx context.Context, folder string, seed uint64) (r row, err error) {
	r = row{Name: "from scratch", Seed: seed}
	run, family := filepath.Join(folder, "scratch"), filepath.Join(folder, "family")
	o := job.TrainOptions{}
	if _, err := os.Stat(filepath.Join(run, rundir.ManifestFile)); err == nil {
		if o, err = job.Resumed(run); err != nil {
			return r, err
		}
	} else {
		o = job.TrainOptions{Candidates: filepath.Join(family, "search", "candidates.json"), Data: x.data, Seed: seed, Out: run, Override: recipe.Override{Epochs: x.epochs}}
		if o.Recipe, err = recipe.Load("images"); err != nil {
			return r, err
		}
		if x.epochs == 0 {
			if o.Override.Epochs, err = epochs(family); err != nil {
				return r, err
			}
		}
	}
	o.Engine, o.Log, o.Progress = x.engine, experiment.Say, experiment.Progress(run)
	if _, err := job.Train(ctx, o); err != nil {
		return r, err
	}
	results, err := job.Evaluate(ctx, job.EvaluateOptions{Engine: x.engine, Run: run, Batch: 100, Log: experiment.Say})
	if err != nil {
		return r, err
	}
	r.take(results)
	r.Images, err = seen(run)
	return r, err
}

// peer prunes and fine-tunes a model for each budget. each: every one sees as many images as the
// family does in all.
func (x *comparison) peer(ctx context.Context, folder string, seed uint64, rate string, each bool) (r row, err error) {
	r = row{Name: "Torch-Pruning, learning rate " + rate, Seed: seed}
	images, found := strings.CutPrefix(x.data, "folder:")
	if !found {
		return r, fmt.Errorf("-data %s: Torch-Pruning takes a folder; give -python \"\" to leave it out", x.data)
	}
	family := filepath.Join(folder, "family")
	original, err := evaluate.ReadOriginal(fsys.OS, filepath.Join(family, evaluate.OriginalFile))
	if err != nil {
		return r, err
	}
	m, err := rundir.ReadManifest(fsys.OS, family)
	if err != nil {
		return r, err
	}
	all, err := seen(family)
	if err != nil {
		return r, err
	}
	own := all / len(x.shares)
	if each {
		r.Name, own = r.Name+", for all images each", all
	}
	for i, share := range x.shares {
		file := filepath.Join(folder, fmt.Sprintf("peer-%s-%d-%d.json", rate, own, i))
		if _, err := os.Stat(file); err != nil {
			experiment.Say(fmt.Sprintf("Torch-Pruning to %.4g %%, learning rate %s, %d images", 100*share, rate, own))
			c := exec.CommandContext(ctx, x.python, filepath.Join("examples", "shrink", "peer.py"), filepath.Join(family, "original", "model.safetensors"),
				images, fmt.Sprint(share*float64(original.Result().MACs)/1e6), fmt.Sprint(own), rate, fmt.Sprint(m.Recipe.Batch), fmt.Sprint(seed), file)
			c.Stdout, c.Stderr = os.Stderr, os.Stderr
			if err := c.Run(); err != nil {
				return r, fmt.Errorf("%s %s: %w", x.python, "examples/shrink/peer.py", err)
			}
		}
		var reached struct{ MACs, Top1 float64 }
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &reached)
		}
		if err != nil {
			return r, fmt.Errorf("%s: %w", file, err)
		}
		r.MACs, r.Top1, r.Of = append(r.MACs, reached.MACs), append(r.Top1, reached.Top1), original.Results.Images
		r.Images += own
	}
	return r, nil
}

// take what architectures reached, the largest first.
func (r *row) take(of evaluate.Results) {
	list := slices.SortedFunc(slices.Values(of.Archs), func(a, b evaluate.Result) int { return cmp.Compare(b.MACs, a.MACs) })
	for _, a := range list {
		r.MACs, r.Top1 = append(r.MACs, float64(a.MACs)/1e6), append(r.Top1, a.Top1)
	}
	r.Of = of.Images
}

// seen are the images that the updates of a run were shown.
func seen(run string) (int, error) {
	m, err := rundir.ReadManifest(fsys.OS, run)
	if err != nil {
		return 0, err
	}
	return m.Recipe.Epochs * m.Recipe.PerEpoch(m.Data.Train) * m.Recipe.Batch * m.Recipe.Accumulate, nil
}

// epochs of a run's training.
func epochs(run string) (int, error) {
	m, err := rundir.ReadManifest(fsys.OS, run)
	return m.Recipe.Epochs, err
}
