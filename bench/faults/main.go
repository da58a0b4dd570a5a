//go:build linux && amd64

// Command faults lets system calls of prenas fail, or kills it there, and checks that
// nothing is lost: whatever fails, no file is half there, the next attempt ends, and its
// files are equal, byte for byte, to those of a run that nothing disturbed. And it turns
// bits of the files that a command reads, or cuts them: it says so, or ends as without.
//
//	go run ./bench/faults                                    everything; hours
//	go run ./bench/faults --sample 300                       a few of everything; minutes
//	go run ./bench/faults --command train,search --kind kill,full --every 10
//	go run ./bench/faults --command train --kind kill --at 37 --keep failed
//
// With --out a campaign that was stopped goes on. It makes its own inputs, and works on
// the pure-Go engine, so it needs neither a network nor a plug-in; it needs Linux on
// x86-64, and the right to trace its own processes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"prenas/internal/faults"
)

func main() {
	faults.BecomeTraced()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed, err := run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
	}
	if failed > 0 || err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context) (failed int, err error) {
	var names []string
	for _, command := range faults.Commands {
		names = append(names, command.Name)
	}
	commands := flag.String("command", "", "commands to disturb, of "+strings.Join(names, ",")+" (default: all; of a sample, those that are not slow)")
	kinds := flag.String("kind", strings.Join(faults.AllKinds, ","), "kinds of faults; kind+kind are two, in two attempts that follow each other")
	c := faults.Campaign{Progress: progress()}
	flag.IntVar(&c.Every, "every", 1, "try each so many-th operation")
	flag.IntVar(&c.Sample, "sample", 0, "try so many operations, drawn, of all")
	flag.Uint64Var(&c.Seed, "seed", 0, "seed of the sample")
	flag.IntVar(&c.At, "at", -1, "try only the operation of this number")
	flag.IntVar(&c.Workers, "workers", 0, "trials at once (default: one per core)")
	flag.StringVar(&c.Out, "out", "", "file of results, a line each; those that are there are not tried again")
	flag.StringVar(&c.Keep, "keep", "", "folder that keeps what failed trials left")
	flag.StringVar(&c.Program, "program", "", "prenas to disturb (default: built from ./cmd/prenas)")
	flag.Parse()
	c.Kinds = strings.Split(*kinds, ",")
	if *commands != "" {
		c.Commands = strings.Split(*commands, ",")
	}
	if c.Program == "" {
		dir, err := os.MkdirTemp("", "prenas-faults-program-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		c.Program = filepath.Join(dir, "prenas")
		build := exec.CommandContext(ctx, "go", "build", "-o", c.Program, "./cmd/prenas")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return 0, fmt.Errorf("go build ./cmd/prenas: %w", err)
		}
	} else if c.Program, err = filepath.Abs(c.Program); err != nil {
		return 0, err
	}
	return c.Run(ctx, os.Stdout)
}

// progress tells how far the trials are, every few seconds.
func progress() func(done, all, failed int) {
	const between = 10 * time.Second
	last := time.Now()
	return func(done, all, failed int) {
		if time.Since(last) >= between || done == all {
			last = time.Now()
			fmt.Fprintf(os.Stderr, "%d of %d trials, %d failed\n", done, all, failed)
		}
	}
}
