// Command hosts measures what several ranks gain on this machine, and what their sums of gradients cost: for each number of
// ranks it starts prenas train --dry-run under mpirun, which measures a rank's share of an update while all others do
// theirs, and the sum of an update's gradients.
//
//	go run ./bench/hosts
//	go run ./bench/hosts -space tiny -batch 64 -ranks 1,2,4 -mpirun mpirun.mpich
//
// Ranks on one machine share its cores and its memory: how much faster two hosts are than one is not to be seen here.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"prenas/internal/train"
	"prenas/pkg/space"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := bench{}
	ranks := flag.String("ranks", "1,2", "numbers of ranks to measure, each a divisor of -accumulate or a multiple")
	flag.StringVar(&b.space, "space", "quickstart", "built-in space or YAML file; its largest architecture is trained")
	flag.IntVar(&b.batch, "batch", 64, "images of one program run")
	flag.IntVar(&b.accumulate, "accumulate", 4, "batches of one update")
	flag.IntVar(&b.rounds, "rounds", 3, "times that each number is measured, in turns; the best counts")
	flag.StringVar(&b.mpirun, "mpirun", "mpirun", "the launcher")
	flag.Parse()
	if err := b.run(ctx, strings.Split(*ranks, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "hosts:", err)
		os.Exit(1)
	}
}

type bench struct {
	space, mpirun             string
	batch, accumulate, rounds int
	dir                       string // of the program, the recipe and the candidates
}

func (b *bench) run(ctx context.Context, numbers []string) error {
	dir, err := os.MkdirTemp("", "prenas-hosts-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	s, err := space.Load(b.space)
	if err != nil {
		return err
	}
	if err := b.prepare(ctx, s); err != nil {
		return err
	}
	best := make([]train.Plan, len(numbers))
	for round := range b.rounds {
		for i, text := range numbers {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return fmt.Errorf("-ranks %q: it must be a number above 0", text)
			}
			p, err := b.plan(ctx, n, s)
			if err != nil {
				return err
			}
			if round == 0 || p.Seconds < best[i].Seconds {
				best[i] = p
			}
		}
	}
	fmt.Printf("%s, largest of %s, %d batches of %d images an update, %s; the best of %d rounds\n",
		best[0].Archs[0].Arch, b.space, b.accumulate, b.batch, best[0].Precision, b.rounds)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "ranks\timages/s before sums\tsum of an update ms\timages/s\tto the first\t")
	rate := func(p train.Plan) float64 { return float64(p.Updates*p.Images) / p.Seconds }
	for i, p := range best {
		fmt.Fprintf(t, "%s\t%.3g\t%.3g\t%.3g\t%.2f\t\n", numbers[i], p.Archs[0].Rate, 1e3*p.Archs[0].Sum, rate(p), rate(p)/rate(best[0]))
	}
	return t.Flush()
}

// prepare builds prenas, and writes a recipe and candidates: the largest architecture.
func (b *bench) prepare(ctx context.Context, s *space.Space) error {
	if text, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(b.dir, "prenas"), "./cmd/prenas").CombinedOutput(); err != nil {
		return fmt.Errorf("build prenas: %w\n%s", err, text)
	}
	recipe := fmt.Sprintf("epochs: 1\nbatch: %d\naccumulate: %d\n", b.batch, b.accumulate)
	if err := os.WriteFile(filepath.Join(b.dir, "recipe.yaml"), []byte(recipe), 0o644); err != nil {
		return err
	}
	largest := s.Largest()
	params := s.Model.Params(largest)
	c := space.Candidates{{Key: space.BinKey(math.Ceil(float64(params)/1e6 + 1e-3)), Candidates: []space.Candidate{{Arch: largest, Params: params}}}}
	text, err := c.MarshalText()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, "candidates.json"), text, 0o644)
}

// plan is what a dry run on n ranks says.
func (b *bench) plan(ctx context.Context, n int, s *space.Space) (p train.Plan, err error) {
	images := 10 * b.batch * b.accumulate
	args := []string{"train", "--dry-run", "--within", "0", "--json", "--quiet", "--candidates", "candidates.json", "--space", b.space,
		"--recipe", "recipe.yaml", "--data", fmt.Sprintf("synthetic:%dx%dx%d", s.Model.NumClasses, images, s.Model.ImageSize)}
	program := filepath.Join(b.dir, "prenas")
	c := exec.CommandContext(ctx, program, args...)
	if n > 1 {
		c = exec.CommandContext(ctx, b.mpirun, append([]string{"-n", strconv.Itoa(n), program}, args...)...)
	}
	c.Dir = b.dir
	var said bytes.Buffer
	c.Stderr = &said
	text, err := c.Output()
	if err != nil {
		return p, fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, said.String())
	}
	return p, json.Unmarshal(text, &p)
}
