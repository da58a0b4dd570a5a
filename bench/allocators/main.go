// Command allocators measures a train step and an evaluation under several implementations of malloc:
// the pool of prenas, glibc's as it comes and with its settings, and those of others that are installed.
//
//	apt-get install libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4
//	go run ./bench/allocators -space tiny -batch 16 -precision bf16
//
// It builds bench/step, with the pool and without, and runs what that runs for our side. Every run is a
// process of its own, and the allocators take turns.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"prenas/bench/child"
	"prenas/internal/program"
)

// allocator is one of those that take turns.
type allocator struct {
	name    string
	pool    bool     // the build with the pool
	library string   // that is loaded before all others; empty: none
	env     []string // settings

	steps, evals, gigabytes []float64 // of each round
}

func allocators() []*allocator {
	const glibc = "GLIBC_TUNABLES=glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=999999999999" +
		":glibc.malloc.top_pad=268435456:glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"
	return []*allocator{
		{name: "pool of prenas", pool: true},
		{name: "glibc"},
		{name: "glibc, one arena, nothing given back, huge pages", env: []string{glibc}},
		{name: "jemalloc", library: "libjemalloc.so"},
		{name: "jemalloc, nothing given back, huge pages", library: "libjemalloc.so",
			env: []string{"MALLOC_CONF=thp:always,dirty_decay_ms:-1,muzzy_decay_ms:-1,oversize_threshold:0"}},
		{name: "mimalloc", library: "libmimalloc.so"},
		{name: "tcmalloc", library: "libtcmalloc_minimal.so"},
		{name: "tcmalloc, nothing given back", library: "libtcmalloc_minimal.so",
			env: []string{"TCMALLOC_RELEASE_RATE=0", "TCMALLOC_AGGRESSIVE_DECOMMIT=f"}},
	}
}

func main() { program.Main("allocators", run) }

func run(ctx context.Context) error {
	space := flag.String("space", "tiny", "built-in space or YAML file")
	batch := flag.Int("batch", 16, "images of a step")
	steps := flag.Int("steps", 5, "steps of a round, after warm-up")
	precision := flag.String("precision", "bf16", "precision of products")
	rounds := flag.Int("rounds", 3, "turns of each allocator")
	flag.Parse()

	dir, err := os.MkdirTemp("", "allocators-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	builds := map[bool]string{true: filepath.Join(dir, "pool"), false: filepath.Join(dir, "system")}
	for pool, path := range builds {
		args := []string{"build", "-o", path}
		if !pool {
			args = append(args, "-tags", "systemmalloc")
		}
		if out, err := exec.CommandContext(ctx, "go", append(args, "./bench/step")...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	libraries, err := installed(ctx)
	if err != nil {
		return err
	}
	sides := slices.DeleteFunc(allocators(), func(a *allocator) bool {
		missing := a.library != "" && libraries[a.library] == ""
		if missing {
			fmt.Fprintf(os.Stderr, "%s is left out: %s is not installed\n", a.name, a.library)
		}
		return missing
	})
	job := map[string]any{"space": *space, "batch": *batch, "steps": *steps, "precision": *precision, "backend": "auto", "devices": 1}
	for round := range *rounds {
		for _, a := range sides {
			env := a.env
			if a.library != "" {
				env = append([]string{"LD_PRELOAD=" + libraries[a.library]}, env...)
			}
			if err := a.measure(ctx, builds[a.pool], env, job); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			fmt.Fprintf(os.Stderr, "round %d  %-46s %.3f s a step\n", round+1, a.name, a.steps[round])
		}
	}

	fmt.Printf("%s, the largest architecture, batch %d, %s; times are medians of %d rounds, and what they are of the pool's\n",
		*space, *batch, *precision, *rounds)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "malloc\ts a step\tof the pool's\ts an evaluation\tof the pool's\tpeak GB")
	pool := sides[0]
	for _, a := range sides {
		fmt.Fprintf(w, "%s\t%.3f\t%.2f\t%.3f\t%.2f\t%.2f\n", a.name, child.Median(a.steps), child.Median(a.steps)/child.Median(pool.steps),
			child.Median(a.evals), child.Median(a.evals)/child.Median(pool.evals), child.Median(a.gigabytes))
	}
	return w.Flush()
}

// measure adds a round.
func (a *allocator) measure(ctx context.Context, program string, env []string, job any) error {
	var m struct {
		Seconds     []float64 `json:"seconds"`
		EvalSeconds []float64 `json:"eval_seconds"`
		PeakBytes   float64   `json:"peak_bytes"`
	}
	if err := child.Other(ctx, program, env, job, &m); err != nil {
		return err
	}
	a.steps, a.evals = append(a.steps, child.Median(m.Seconds)), append(a.evals, child.Median(m.EvalSeconds))
	a.gigabytes = append(a.gigabytes, m.PeakBytes/1e9)
	return nil
}

// installed maps the names of libraries, without versions, to their paths.
func installed(ctx context.Context) (map[string]string, error) {
	out, err := exec.CommandContext(ctx, "ldconfig", "-p").Output()
	if err != nil {
		return nil, fmt.Errorf("ldconfig -p: %w", err)
	}
	paths := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\s*(\S+?\.so)\S* .*x86-64.* => (\S+)$`).FindAllStringSubmatch(string(out), -1) {
		paths[m[1]] = m[2]
	}
	return paths, nil
}
