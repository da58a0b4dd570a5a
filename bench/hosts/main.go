// Command hosts measures what several ranks gain on this machine, and what their sums of gradients cost: for each number of
// ranks it starts prenas train --dry-run under mpirun, which measures a rank's share of an update while all others do
// theirs, and the sum of an update's gradients. The ranks are held to be on one host, on two, and each on its own, where the
// sum is flat.
//
//	go run ./bench/hosts
//	go run ./bench/hosts -space tiny -batch 64 -ranks 1,2,4 -mpirun mpirun.mpich
//
// Ranks on one machine share its cores and its memory: how much faster two hosts are than one is not to be seen here, nor
// what it takes to send bytes between them. How many there are to send is.
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
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"prenas/internal/program"
	"prenas/internal/ranks"
	"prenas/internal/train"
	"prenas/pkg/space"
)

func main() {
	b := bench{}
	numbers := flag.String("ranks", "1,2", "numbers of ranks to measure, each a divisor of -accumulate or a multiple")
	flag.StringVar(&b.space, "space", "quickstart", "built-in space or YAML file; its largest architecture is trained")
	flag.IntVar(&b.batch, "batch", 64, "images of one program run")
	flag.IntVar(&b.accumulate, "accumulate", 4, "batches of one update")
	flag.IntVar(&b.rounds, "rounds", 3, "times that each number is measured, in turns; the best counts")
	flag.StringVar(&b.mpirun, "mpirun", "mpirun", "the launcher")
	flag.Parse()
	program.Main("hosts", func(ctx context.Context) error { return b.run(ctx, strings.Split(*numbers, ",")) })
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
	var cases []layout
	for _, text := range numbers {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("-ranks %q: it must be a number above 0", text)
		}
		for _, hosts := range slices.Compact([]int{1, min(2, n), n}) {
			cases = append(cases, layout{n, hosts})
		}
	}
	best := make([]train.Plan, len(cases))
	for round := range b.rounds {
		for i, l := range cases {
			p, err := b.plan(ctx, l, s)
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
	fmt.Fprintln(t, "ranks\thosts\timages/s before sums\tsum of an update ms\ta host sends MB\timages/s\tto the first\t")
	rate := func(p train.Plan) float64 { return float64(p.Updates*p.Images) / p.Seconds }
	for i, p := range best {
		a := p.Archs[0]
		fmt.Fprintf(t, "%d\t%d\t%.3g\t%.3g\t%.3g\t%.3g\t%.2f\t\n", cases[i].ranks, cases[i].hosts, a.Rate, 1e3*a.Sum, float64(a.HostBytes)/1e6, rate(p), rate(p)/rate(best[0]))
	}
	return t.Flush()
}

// layout is a number of ranks that are held to be on so many hosts, as even as can be.
type layout struct{ ranks, hosts int }

func (l layout) env() string {
	var hosts []string
	for rank := range l.ranks {
		hosts = append(hosts, strconv.Itoa(rank*l.hosts/l.ranks))
	}
	return ranks.HostsEnv + "=" + strings.Join(hosts, ",")
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

// plan is what a dry run on ranks says.
func (b *bench) plan(ctx context.Context, l layout, s *space.Space) (p train.Plan, err error) {
	images := 10 * b.batch * b.accumulate
	args := []string{"train", "--dry-run", "--within", "0", "--json", "--quiet", "--candidates", "candidates.json", "--space", b.space,
		"--recipe", "recipe.yaml", "--data", fmt.Sprintf("synthetic:%dx%dx%d", s.Model.NumClasses, images, s.Model.ImageSize)}
	program := filepath.Join(b.dir, "prenas")
	c := exec.CommandContext(ctx, program, args...)
	if l.ranks > 1 {
		c = exec.CommandContext(ctx, b.mpirun, append([]string{"-n", strconv.Itoa(l.ranks), program}, args...)...)
		c.Env = append(os.Environ(), l.env())
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
